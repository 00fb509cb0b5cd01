"""The worker's side of a measurement: one grader in a process of its own, with its clock.

`WorkerPool` looks up its function when a worker starts. Here that makes the grader, imports what it stands on and warms
it up, so that no item pays for it; a grader that cannot be imported shows then.
"""

import os
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from markscheme.benchmarks.speed.graders import Case, Grade, grade_by

WARM_UP = (  # grammars build their tables, and pools their workers, at first use
    (r"\frac{1}{2}", r"\boxed{0.5}"),
    (r"x^2+1", r"\boxed{1+x^2}"),
    (r"(-\infty, 3]", r"\boxed{(-\infty, 2]}"),
    (r"\int_0^1 x\,dx", r"\boxed{\frac{1}{2}}"),
    ("7", "So 3 + 4 = <<3+4=7>>7.\n#### 7"),
    ("7", "The answer is $7$."),
    ("7", "So x = 3, and the answer is 7 apples."),
    ("7", "So there are **7** of them, $x = 7$.\n\nThat makes 7."),
    ("7", "所以答案是7个。"),
)
_CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


def __getattr__(name: str) -> Callable[[Any], Any]:
    if name.startswith("__"):
        raise AttributeError(name)
    started_s = own_cpu_s()
    try:
        grade = grade_by(name)
    except Exception as error:  # whatever keeps a peer from starting, it is not there to be measured
        raise ImportError(f"{type(error).__name__}: {error}") from error
    timed = Timed(grade, import_cpu_s=own_cpu_s() - started_s, import_mb=peak_mb())
    timed([_case(gold, completion, profile) for profile in ("math", "gsm8k") for gold, completion in WARM_UP])
    return timed


def _case(gold: str, completion: str, profile: str) -> dict[str, Any]:
    return {"gold": gold, "completion": completion, "prompt": "", "profile": profile, "lenient": False, "id": "-"}


class Timed:
    """A grader that says of each item how long it took; what it raises is an answer too.

    Items come some at a time, because between two messages a processor forgets what it has in its caches.
    """

    def __init__(self, grade: Grade, *, import_cpu_s: float, import_mb: float) -> None:
        self._grade = grade
        self._start = {"import_cpu_s": import_cpu_s, "import_mb": import_mb}

    def __call__(self, cases: Any) -> Any:
        others_before_s = cpu_of_others_s()
        items = [self._judge(case) for case in cases]
        _share_out(cpu_of_others_s() - others_before_s, items)
        return {"items": items, "peak_mb": peak_mb(), **self._start}

    def _judge(self, case: Case) -> dict[str, Any]:
        accepted, shown, raised = None, {}, ""
        cpu_before_s, wall_before_s = own_cpu_s(), time.perf_counter()
        try:
            accepted, said = self._grade(case)
            shown = dict(said)
        except MemoryError:  # the pool's to handle: the worker ends
            raise
        except Exception as error:  # a grader that raises is measured like one that answers
            raised = f"{type(error).__name__}: {error}"[:300]
        wall_s, cpu_s = time.perf_counter() - wall_before_s, own_cpu_s() - cpu_before_s
        return {"accepted": accepted, "raised": raised, "shown": shown, "wall_s": wall_s, "cpu_s": cpu_s}


def _share_out(others_s: float, items: Sequence[dict[str, Any]]) -> None:
    """Adds the processor time of other processes to the items that waited for them."""
    waited_s = [max(1e-9, item["wall_s"] - item["cpu_s"]) for item in items]
    for item, wait_s in zip(items, waited_s, strict=True):
        item["cpu_s"] += max(0.0, others_s) * wait_s / sum(waited_s)


def own_cpu_s() -> float:
    """Processor time of this process, all threads.

    Not time.process_time(): where a limit of processor time is set, as workers do, Linux counts that one in ticks.
    """
    own = resource.getrusage(resource.RUSAGE_SELF)
    return own.ru_utime + own.ru_stime


def cpu_of_others_s() -> float:
    """Processor time of the children that ended and (on Linux) of the descendants that run."""
    reaped = resource.getrusage(resource.RUSAGE_CHILDREN)
    total = reaped.ru_utime + reaped.ru_stime
    for pid in descendants(os.getpid()):
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:  # it ended
            continue
        total += sum(map(int, fields[11:15])) / _CLOCK_TICKS  # its own and its reaped children's
    return total


def peak_mb() -> float:
    """The most memory that this process and its descendants held, each at its own peak."""
    pids = [os.getpid(), *descendants(os.getpid())]
    peaks = [peak for pid in pids if (peak := _peak_of(pid))]
    # getrusage would say what the parent held at the fork, if that was more.
    return sum(peaks) / 1024 if peaks else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _peak_of(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), 0)


def descendants(pid: int) -> Iterator[int]:
    """The processes below one, as far as /proc tells."""
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        children = [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except OSError:
        return
    for child in children:
        yield child
        yield from descendants(child)
