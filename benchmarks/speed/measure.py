"""The parent's side of a measurement: cases go to a grader's own process under a wall cap, figures come back.

A grader that hangs, crashes or fills its memory loses its process and that item, and nobody else's.
"""

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from markscheme.benchmarks.metrics import wilson_interval
from markscheme.benchmarks.speed.suites import Case
from markscheme.workers import WorkerPool, WorkerResult, WorkerStatus

WORKER = "markscheme.benchmarks.speed.worker"
MEMORY_MB = 8_192
"""Address space, not use: torch alone maps four gigabytes of it."""
CHUNK = 100
"""Cases in one message, as a batch of training has hundreds.

Hostile ones go one by one, so that each has its cap and its payload to itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What one grader made of one case."""

    case: Case
    accepted: bool | None
    """None where the grader gave no verdict."""
    ending: str
    """answered, raised, timed_out or died."""
    wall_s: float
    cpu_s: float
    """Of the whole process tree. A killed item counts with the time it was given."""
    message: str = ""
    shown: dict[str, Any] = field(default_factory=dict)
    executed: bool = False
    """Whether a payload of the case ran."""

    @property
    def miss(self) -> str:
        """What is wrong with the verdict; empty if it is right."""
        if self.case.right is None or self.accepted is self.case.right:
            return ""
        if self.accepted is None:
            return "unscored"
        return "false positive" if self.accepted else "false negative"


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """What a grader costs before its first item."""

    import_cpu_s: float = 0.0
    import_mb: float = 0.0
    peak_mb: float = 0.0
    """The most memory its process tree held in any suite, the hostile one apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """So many of n."""

    count: int
    n: int

    @property
    def value(self) -> float | None:
        return self.count / self.n if self.n else None

    def to_dict(self) -> dict[str, Any]:
        low, high = wilson_interval(self.count, self.n) if self.n else (None, None)
        return {"value": self.value, "low": low, "high": high, "count": self.count, "n": self.n}


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """One grader on one suite."""

    n: int
    recall: Share
    """Right answers that it accepts."""
    false_positive_rate: Share
    """Wrong answers that it accepts."""
    unscored: int
    raised: int
    killed: int
    """Items over the wall cap, and items that ended the process."""
    over_1_s: int
    executed: int
    items_per_cpu_second: float
    wall_ms_p50: float
    wall_ms_p99: float
    wall_ms_max: float
    slowest: str
    """The case that took so long."""
    wrong_to_right_cost: float | None
    """Mean processor time of a wrong answer over that of a right one."""

    def to_dict(self) -> dict[str, Any]:
        shares = {"recall": self.recall.to_dict(), "false_positive_rate": self.false_positive_rate.to_dict()}
        return {**asdict(self), **shares}


def judge(
    grader: str, cases: Sequence[Case], *, cap_s: float, marker: Path, update: Callable[[int], None], chunk: int = CHUNK
) -> tuple[list[Judged], Start]:
    """Gives the cases to the grader in a process of its own, some at a time.

    Where some together take longer than the cap, or end the process, they are given one by one to a new process.

    Raises:
        WorkerError: if what the grader stands on cannot be imported.
    """
    judged: list[Judged] = []
    start = Start()
    with WorkerPool(function=f"{WORKER}:{grader}", processes=1, deadline_s=cap_s, memory_limit_mb=MEMORY_MB) as pool:
        for first in range(0, len(cases), chunk):
            together = cases[first : first + chunk]
            result = _run(pool, together)
            singly = len(together) > 1 and result.status is not WorkerStatus.DONE
            results = [(_run(pool, [case]), [case]) for case in together] if singly else [(result, together)]
            for one, its_cases in results:
                judged += _judged(one, its_cases, cap_s, executed=marker.exists())
                start = _started(start, one)
            marker.unlink(missing_ok=True)
            update(len(together))
    return judged, start


def _run(pool: WorkerPool, cases: Sequence[Case]) -> WorkerResult:
    (result,) = pool.run([[asdict(case) for case in cases]])
    return result


def _judged(result: WorkerResult, cases: Sequence[Case], cap_s: float, *, executed: bool) -> list[Judged]:
    if result.status is not WorkerStatus.DONE:
        return [
            Judged(
                case=case,
                accepted=None,
                ending=result.status.value,
                wall_s=cap_s,
                cpu_s=cap_s,
                message=result.message,
                executed=executed,
            )
            for case in cases
        ]
    return [
        Judged(
            case=case,
            accepted=item["accepted"],
            ending="raised" if item["raised"] else "answered",
            wall_s=item["wall_s"],
            cpu_s=item["cpu_s"],
            message=item["raised"],
            shown=item["shown"],
            executed=executed,
        )
        for case, item in zip(cases, result.value["items"], strict=True)
    ]


def _started(start: Start, result: WorkerResult) -> Start:
    if result.status is not WorkerStatus.DONE:
        return start
    value = result.value
    return Start(
        import_cpu_s=value["import_cpu_s"],
        import_mb=value["import_mb"],
        peak_mb=max(start.peak_mb, value["peak_mb"]),
    )


def figures_of(judged: Sequence[Judged]) -> Figures:
    """The figures of a suite that one grader judged."""
    right = [one for one in judged if one.case.right is True]
    wrong = [one for one in judged if one.case.right is False]
    walls = [one.wall_s for one in judged]
    costs = [statistics.fmean(one.cpu_s for one in part) if part else None for part in (wrong, right)]
    return Figures(
        n=len(judged),
        recall=Share(count=sum(one.accepted is True for one in right), n=len(right)),
        false_positive_rate=Share(count=sum(one.accepted is True for one in wrong), n=len(wrong)),
        unscored=sum(one.accepted is None for one in judged),
        raised=sum(one.ending == "raised" for one in judged),
        killed=sum(one.ending in ("timed_out", "died") for one in judged),
        over_1_s=sum(one.wall_s > 1 for one in judged),
        executed=sum(one.executed for one in judged),
        items_per_cpu_second=len(judged) / sum(one.cpu_s for one in judged),
        wall_ms_p50=1_000 * statistics.median(walls),
        wall_ms_p99=1_000 * percentile(walls, 0.99),
        wall_ms_max=1_000 * max(walls),
        slowest=max(judged, key=lambda one: one.wall_s).case.id,
        wrong_to_right_cost=costs[0] / costs[1] if costs[0] is not None and costs[1] else None,
    )


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of the values does not exceed.

    >>> percentile([1.0, 2.0, 3.0, 4.0], 0.5)
    2.0
    """
    ordered = sorted(values)
    return ordered[math.ceil(share * len(ordered)) - 1]
