"""What a figure was measured on."""

import contextlib
import math
import os
import platform
import time
from pathlib import Path

import torch


def machine() -> str:
    """The processor and how many of its cores may be used."""
    name = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), name)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{name}, {cores} cores, {platform.system()} {platform.machine()}"


def gemm_peak(size: int = 1_024, repeats: int = 40) -> float:
    """Floating-point operations a CPU-second of the best of some square products in float32, on one thread."""
    torch.set_num_threads(1)
    a, b = torch.randn(size, size), torch.randn(size, size)
    best = math.inf
    for _ in range(repeats):
        start = time.process_time()
        a @ b
        best = min(best, time.process_time() - start)
    return 2 * size**3 / best
