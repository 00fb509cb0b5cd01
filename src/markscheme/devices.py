"""What computes: the device at hand, as measured, and others by their data sheets."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

from markscheme.machine import gemm_peak, machine

GIB = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A GPU, or a machine without one."""

    name: str
    kind: str
    """cuda or cpu."""
    memory: int
    """Bytes, those of what runs on it already included."""
    bandwidth: float
    """Bytes a second that it reads from its memory."""
    flops: dict[str, float]
    """Floating-point operations a second of matrix products, by dtype, without sparsity."""
    link: float
    """Bytes a second that it sends to another such device of its machine."""


def _sheet(name: str, gib: float, terabytes: float, bfloat16: float, float32: float, link_gb: float) -> Device:
    return Device(
        name=name,
        kind="cuda",
        memory=int(gib * GIB),
        bandwidth=terabytes * 1e12,
        flops={"bfloat16": bfloat16 * 1e12, "float32": float32 * 1e12},
        link=link_gb * 1e9,
    )


SHEETS = {
    "a100": _sheet("A100 80GB SXM", 79.2, 2.039, 312, 19.5, 300),
    "h100": _sheet("H100 SXM", 79.2, 3.35, 989, 67, 450),
    "h200": _sheet("H200 SXM", 139.8, 4.8, 989, 67, 450),
    "b200": _sheet("B200", 178.4, 7.7, 2_250, 75, 900),
    "l40s": _sheet("L40S", 44.5, 0.864, 362, 91.6, 32),
    "rtx4090": _sheet("RTX 4090", 23.5, 1.008, 165, 82.6, 32),
}
"""From NVIDIA's data sheets: bandwidth, dense bfloat16 with float32 sums, float32 outside the tensor cores, and one way
of NVLink or PCIe. Of the memory, what the driver leaves."""


def device_here() -> Device:
    """The GPU of this process, else this machine without one; speeds are measured, in a second or two."""
    import torch

    if torch.cuda.is_available():
        flops = {dtype: gemm_peak("cuda", dtype) for dtype in ("bfloat16", "float32")}
        memory = torch.cuda.mem_get_info()[1]
        bandwidth = _copied_per_second("cuda", memory // 64)
        name = torch.cuda.get_device_name()
        return Device(name=name, kind="cuda", memory=memory, bandwidth=bandwidth, flops=flops, link=SHEETS["l40s"].link)
    rate = gemm_peak() * torch.get_num_threads()
    bandwidth = _copied_per_second("cpu", 1 << 28)
    flops = {"bfloat16": rate, "float32": rate}
    return Device(name=machine(), kind="cpu", memory=_memory(), bandwidth=bandwidth, flops=flops, link=bandwidth)


def _memory() -> int:
    """Bytes that this process may have: the machine's, or what its control group is given."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = Path("/sys/fs/cgroup/memory.max")
    text = limit.read_text().strip() if limit.is_file() else "max"
    return memory if text == "max" else min(memory, int(text))


def _copied_per_second(kind: str, size: int) -> float:
    """Bytes read and written of the fastest of some copies."""
    import torch

    source = torch.zeros(size, dtype=torch.uint8, device=kind)
    target = torch.zeros_like(source)
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        target.copy_(source)
        if kind == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return 2 * size / min(seconds)
