"""What a figure was measured on, and what it could have been."""

import contextlib
import ctypes
import datetime
import math
import os
import platform
import shlex
import sys
import time
from functools import lru_cache
from pathlib import Path
from typing import Any

from markscheme.run_log import versions


def origin(module: str, *packages: str) -> dict[str, Any]:
    """What every record of figures begins with: the command (`module` with the arguments of this process), date,
    machine, and versions, also of `packages`, as far as they are installed.
    """
    return {
        "command": shlex.join([Path(sys.executable).name, "-m", module, *sys.argv[1:]]),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "versions": versions(*packages),
    }


def machine() -> str:
    """The processor and how many of its cores may be used."""
    name = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), name)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{name}, {cores} cores, {platform.system()} {platform.machine()}"


def give_back_memory() -> None:
    """Has glibc hand freed memory back to the system, which it does not do by itself where pieces are left between.

    Without it, a training process on a CPU grows from step to step to several times what it uses.
    """
    if platform.libc_ver()[0] == "glibc":
        _glibc().malloc_trim(0)


@lru_cache
def _glibc() -> ctypes.CDLL:
    return ctypes.CDLL("libc.so.6")


@lru_cache
def gemm_peak(device: str = "cpu", dtype: str = "float32") -> float:
    """Floating-point operations a second of the best of some square products; on a CPU a second of one core."""
    import torch  # here, because who asks for the machine's name need not have it

    size, repeats = (1_024, 20) if device == "cpu" else (8_192, 10)

    def now() -> float:
        if device == "cpu":
            return time.process_time()
        torch.cuda.synchronize()
        return time.perf_counter()

    a, b = (torch.randn(size, size, device=device, dtype=getattr(torch, dtype)) for _ in range(2))
    best = math.inf
    for _ in range(repeats):
        start = now()
        a @ b
        best = min(best, now() - start)
    return 2 * size**3 / best
