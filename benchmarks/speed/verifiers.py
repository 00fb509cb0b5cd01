"""Measures a verifier against its peers: the same cases for all, each grader in a process of its own, in one run.

`python -m markscheme.benchmarks.speed.verifiers --data ../shared/data`, or `make bench-verifiers`. A peer that is not
installed, and a suite whose data are not there, are left out with a line that says so.
"""

import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import cyclopts
from cyclopts import Parameter
from rich.console import Console

from markscheme.benchmarks.speed.graders import LENIENT, PEERS
from markscheme.benchmarks.speed.measure import CHUNK, Figures, Judged, Start, figures_of, judge
from markscheme.benchmarks.speed.suites import SUITES, Case, Sources, Suite, cases_of
from markscheme.benchmarks.speed.tables import grader_table, hostile_table, verdict_figure, verdict_table
from markscheme.files import InputError, write_json, write_lines
from markscheme.machine import origin
from markscheme.progress import Bar, progress_bar
from markscheme.workers import WorkerError

OURS, OURS_LENIENT = "markscheme", "markscheme-lenient"
QUICK_MOST = 8
SHOWN_CHARS = 400
TABLE_WIDTH = 150


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What is measured, and how."""

    data: Path = Path("../shared/data")
    """Folder of data sets; suites that need what is not there are left out."""
    verdicts: Path = Path("tests/data/verdicts.jsonl")
    """The table of verdicts."""
    scorer: str = "markscheme.verifiers.MathVerifier"
    """Ours: `package.module.Name` of what makes a scorer from a `profile` and `lenient`."""
    graders: tuple[str, ...] = (OURS, OURS_LENIENT, *PEERS)
    """By name; those that are not installed are left out."""
    suites: tuple[str, ...] = tuple(suite.name for suite in SUITES)
    """By name."""
    seed: int = 0
    """Draws the cases; another seed draws others."""
    most: int | None = None
    """Cases of a suite, if it has so many; by default each suite's own number, which keeps a run short."""
    cap_s: float = 6.0
    """A grader that has not answered an item by then is killed and started again. Most give up after 5 s themselves."""
    jobs: int = 1
    """Graders that are measured at once."""

    def __post_init__(self) -> None:
        for name, chosen, known in (
            ("grader", self.graders, (OURS, OURS_LENIENT, *PEERS)),
            ("suite", self.suites, tuple(suite.name for suite in SUITES)),
        ):
            for one in chosen:
                if one not in known:
                    raise InputError(f"no {name} {one!r}; there are {', '.join(known)}")
        if self.cap_s <= 0 or self.jobs < 1 or (self.most is not None and self.most < 1):
            raise InputError(f"cap_s must be above 0, jobs and most at least 1: {self.cap_s}, {self.jobs}, {self.most}")

    def path_of(self, grader: str) -> str:
        """What the worker makes a grader of."""
        return {OURS: self.scorer, OURS_LENIENT: self.scorer + LENIENT}.get(grader, grader)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """All that a run found."""

    judged: Mapping[str, Mapping[str, Sequence[Judged]]]
    """Suite -> grader -> what it made of each case."""
    starts: Mapping[str, Start]
    skipped: Sequence[str]

    @property
    def figures(self) -> dict[str, dict[str, Figures]]:
        return {
            suite: {grader: figures_of(judged) for grader, judged in by_grader.items()}
            for suite, by_grader in self.judged.items()
        }


def measure(settings: Settings, console: Console) -> Measurement:
    """Every suite on every grader."""
    skipped: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        sources = Sources(
            data=settings.data, verdicts=settings.verdicts, marker=Path(folder) / "ran", seed=settings.seed
        )
        suites = _with_their_sources([suite for suite in SUITES if suite.name in settings.suites], sources, skipped)
        cases = {suite.name: cases_of(suite, sources, settings.most) for suite in suites}
        work = [_work_of(grader, suites, cases, settings, sources) for grader in settings.graders]
        total = sum(len(part) for parts in work for part in parts.values())
        judged: dict[str, dict[str, Sequence[Judged]]] = {suite.name: {} for suite in suites}
        starts: dict[str, Start] = {}
        with progress_bar(console, "judging", total) as bar, ThreadPoolExecutor(settings.jobs) as executor:
            counter = _Counter(bar)
            jobs = [
                executor.submit(_judge_all, grader, parts, settings, Path(folder), counter)
                for grader, parts in zip(settings.graders, work, strict=True)
            ]
            for grader, parts, job in zip(settings.graders, work, jobs, strict=True):
                try:
                    found, starts[grader] = job.result()
                except WorkerError as error:
                    skipped.append(f"grader {grader}: {error}")
                    counter.add(sum(map(len, parts.values())))
                    continue
                for name, part in found.items():
                    judged[name][grader] = part
    return Measurement(judged=judged, starts=starts, skipped=skipped)


class _Counter:
    """Items done by all graders together."""

    def __init__(self, bar: Bar) -> None:
        self._bar, self._done = bar, 0

    def add(self, count: int) -> None:
        self._done += count
        self._bar.update(self._done)


def _with_their_sources(suites: Sequence[Suite], sources: Sources, skipped: list[str]) -> list[Suite]:
    found: list[Suite] = []
    for suite in suites:
        try:
            next(suite.cases(sources), None)
        except InputError as error:
            skipped.append(f"suite {suite.name}: {error}")
        else:
            found.append(suite)
    return found


def _work_of(
    grader: str, suites: Sequence[Suite], cases: Mapping[str, list[Case]], settings: Settings, sources: Sources
) -> dict[str, list[Case]]:
    """A grader's cases by suite; payloads name a marker of its own, for others may run beside it."""
    only = PEERS[grader].only if grader in PEERS else ()
    own = replace(sources, marker=sources.marker.with_name(f"ran-{grader}"))
    return {
        suite.name: cases_of(suite, own, settings.most) if suite.hostile else cases[suite.name]
        for suite in suites
        if not only or suite.name in only
    }


def _judge_all(
    grader: str, work: Mapping[str, list[Case]], settings: Settings, folder: Path, counter: _Counter
) -> tuple[dict[str, list[Judged]], Start]:
    """All suites in one process, so that it warms up once; hostile input in another."""
    found: dict[str, list[Judged]] = {}
    starts: list[Start] = []
    hostile = {suite.name for suite in SUITES if suite.hostile}
    for names in ([name for name in work if name not in hostile], [name for name in work if name in hostile]):
        if not names:
            continue
        judged, start = judge(
            settings.path_of(grader),
            [case for name in names for case in work[name]],
            cap_s=settings.cap_s,
            marker=folder / f"ran-{grader}",
            update=counter.add,
            chunk=1 if names[0] in hostile else CHUNK,
        )
        starts.append(start)
        rest = iter(judged)
        found |= {name: [next(rest) for _ in work[name]] for name in names}
    return found, starts[0] if starts else Start()


def summary_line(measurement: Measurement) -> str:
    """One line of JSON: ours in each suite, and beside it every other grader. Shares from 0 to 1."""
    suites = []
    for name, by_grader in measurement.figures.items():
        others = dict(by_grader)
        ours = others.pop(OURS, None)
        if ours is not None:
            peers = {grader: _in_short(figures) for grader, figures in others.items()}
            suites.append({"suite": name, "n": ours.n, **_in_short(ours), "peer": peers})
    return json.dumps(suites)


def _in_short(figures: Figures) -> dict[str, float | None]:
    return {
        "recall": _rounded(figures.recall.value),
        "false_positive_rate": _rounded(figures.false_positive_rate.value),
        "items_per_cpu_second": round(figures.items_per_cpu_second, 1),
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def record(measurement: Measurement, settings: Settings) -> dict[str, Any]:
    """Every figure, with what it takes to get it again."""
    about = {suite.name: suite.about for suite in SUITES}
    packages = sorted({package for one in measurement.starts if one in PEERS for package in PEERS[one].packages})
    return {
        "schema": "markscheme verifiers benchmark 1",
        **origin(__spec__.name, *packages),
        "settings": {name: _plain(value) for name, value in asdict(settings).items()},
        "graders": {
            grader: {"called": note_of(grader, settings)} | asdict(start)
            for grader, start in measurement.starts.items()
        },
        "suites": [
            {"suite": name, "about": about[name], "graders": {grader: f.to_dict() for grader, f in by_grader.items()}}
            for name, by_grader in measurement.figures.items()
        ],
        "skipped": list(measurement.skipped),
    }


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value


def note_of(grader: str, settings: Settings) -> str:
    """How a grader is called."""
    if grader in PEERS:
        return PEERS[grader].note
    kind = "lenient everywhere" if grader == OURS_LENIENT else "strict, but where a suite says lenient"
    return f"{settings.scorer}(profile=the suite's), {kind}"


def miss_lines(measurement: Measurement) -> list[str]:
    """Each verdict of ours that the suite calls wrong, with what ours says about it."""
    return [
        json.dumps(
            {
                "suite": suite,
                "grader": grader,
                "miss": one.miss,
                "gold": one.case.gold,
                "completion_tail": one.case.completion[-SHOWN_CHARS:],
                "ending": one.ending,
                **{name: value[:SHOWN_CHARS] if isinstance(value, str) else value for name, value in one.shown.items()},
                "message": one.message,
                "reason": one.case.reason,
                "id": one.case.id,
                "profile": one.case.profile,
                "lenient": one.case.lenient,
            }
        )
        for suite, by_grader in measurement.judged.items()
        for grader in (OURS, OURS_LENIENT)
        for one in by_grader.get(grader, ())
        if one.miss
    ]


def main(
    *,
    settings: Annotated[Settings | None, Parameter(name="*")] = None,
    quick: bool = False,
    out: Path | None = None,
    misses: Path | None = None,
) -> None:
    """Measure our verifier against its peers.

    Parameters
    ----------
    quick
        A few cases of each suite: whether it runs, not how well.
    out
        Folder for verifiers.json and verifiers.png.
    misses
        File for the verdicts of ours that are wrong, a JSON object a line.
    """
    chosen = settings or Settings()
    if quick:
        chosen = replace(chosen, most=min(QUICK_MOST, chosen.most or QUICK_MOST))
    measurement = measure(chosen, Console(stderr=True))
    figures = measurement.figures
    suites = [suite for suite in SUITES if figures.get(suite.name)]
    if misses:
        write_lines(misses, miss_lines(measurement))
    if out:
        write_json(out / "verifiers.json", record(measurement, chosen))
        verdict_figure(suites, figures).savefig(out / "verifiers.png", dpi=150)
    console = Console(width=TABLE_WIDTH, highlight=False)
    for line in measurement.skipped:
        console.print(f"left out: {line}", markup=False, soft_wrap=True)
    for table in (verdict_table(suites, figures), hostile_table(suites, figures, chosen.cap_s)):
        if table:
            console.print(table)
    notes = {grader: note_of(grader, chosen) for grader in measurement.starts}
    console.print(grader_table(measurement.starts, notes))
    print(summary_line(measurement))


if __name__ == "__main__":
    try:
        cyclopts.run(main)
    except InputError as error:
        print(f"markscheme: {error}", file=sys.stderr)
        sys.exit(2)
