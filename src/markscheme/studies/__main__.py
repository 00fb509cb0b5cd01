"""`python -m markscheme.studies STUDY --out FOLDER`: training methods side by side, with paired intervals."""

import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cyclopts
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from markscheme.benchmarks.findings import values_by_metric
from markscheme.benchmarks.outcomes import Evaluation, load_evaluation
from markscheme.benchmarks.paired import PairedDifference, paired_difference
from markscheme.benchmarks.plots import curves_figure
from markscheme.files import InputError, write_json
from markscheme.grpo.config import PRESETS
from markscheme.machine import origin
from markscheme.own_process import run_module
from markscheme.progress import progress_bar
from markscheme.run_log import RunLog
from markscheme.studies.methods import METHODS
from markscheme.studies.run import BEFORE, TRL

METRICS = ("greedy", "pass@1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """Methods that are compared."""

    about: str
    methods: tuple[str, ...]
    steps: int
    base: str = BEFORE
    """What each is compared with."""


STUDIES: Mapping[str, Study] = {
    "paradigm": Study(
        about="the unified paradigm: as many problems and completions for each",
        methods=("sft", "rft", "online-rft", "dpo", "ppo", "rloo", "grpo"),
        steps=50,
    ),
    "learning": Study(
        about="this loop and TRL's, the same data and settings", methods=(TRL, "plain"), steps=80, base=TRL
    ),
    "process": Study(about="process supervision beside outcome supervision", methods=("plain", "process"), steps=50),
    "iterative": Study(about="iterative GRPO with a reward model", methods=("iterative",), steps=40),
    "rollouts": Study(
        about="rollouts by the torch engine and by vLLM", methods=("plain", "vllm"), steps=50, base="plain"
    ),
    "presets": Study(about="every preset", methods=tuple(f"preset-{name}" for name in PRESETS), steps=160),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A method over all seeds."""

    method: str
    data: str
    reward: str
    coefficient: str
    """Of the gradient, as `methods.Method` has it."""
    before: Mapping[str, float]
    after: Mapping[str, float]
    change: Mapping[str, PairedDifference]
    """Over the problems of all seeds together; the base's own has none."""
    change_by_seed: Mapping[int, Mapping[str, PairedDifference]]
    train_cpu_s: tuple[float, ...]
    """Of each seed, evaluations on the dev part apart."""
    added_mb: tuple[float, ...]
    """At the peak of training, over what the process held before."""
    trained_mb: tuple[float, ...]
    """Of that, weights, gradients and moments of all models that learn: PPO's value model is one more."""


def run_study(study: Study, seeds: Sequence[int], runs: Path, jobs: int, console: Console) -> list[Row]:
    """Runs what is missing in the folder `runs`, and compares.

    A run that was cut off begins again: its processor time and its peak of memory are those of one process.

    Raises:
        InputError: if a run fails.
    """
    methods = list(dict.fromkeys((study.base, *study.methods)))
    every = [(method, seed) for seed in seeds for method in methods]
    missing = [one for one in every if not (folder_of(runs, one[0], study.steps, one[1]) / "result.json").exists()]
    with progress_bar(console, "runs", len(missing)) as bar, ThreadPoolExecutor(jobs) as executor:
        pending = [executor.submit(_run, method, study.steps, seed, runs) for method, seed in missing]
        for done, one in enumerate(pending, 1):
            one.result()
            bar.update(done)
    return [_row(method, study, seeds, runs) for method in study.methods]


def folder_of(runs: Path, method: str, steps: int, seed: int) -> Path:
    return runs / f"{method}-{steps}-{seed}"


def _run(method: str, steps: int, seed: int, runs: Path) -> None:
    folder = folder_of(runs, method, steps, seed)
    if folder.exists():
        shutil.rmtree(folder)
    try:
        run_module("markscheme.studies.run", method, steps, seed, folder)
    except InputError as error:
        raise InputError(f"{method} with seed {seed} failed: {error}") from None


def _row(method: str, study: Study, seeds: Sequence[int], runs: Path) -> Row:
    pairs = {
        seed: tuple(
            _values(load_evaluation(folder_of(runs, name, study.steps, seed) / "evaluation"))
            for name in (study.base, method)
        )
        for seed in seeds
    }
    results = [
        json.loads((folder_of(runs, method, study.steps, seed) / "result.json").read_text(encoding="utf-8"))
        for seed in seeds
    ]
    together = {
        metric: [
            (before[metric][id_], after[metric][id_])
            for before, after in pairs.values()
            for id_ in before[metric]
            if id_ in after[metric]
        ]
        for metric in METRICS
    }
    about = METHODS.get(method)
    return Row(
        method=method,
        data=about.data if about else "",
        reward=about.reward if about else "",
        coefficient=about.coefficient if about else "",
        before={metric: sum(b for b, _ in values) / len(values) for metric, values in together.items()},
        after={metric: sum(a for _, a in values) / len(values) for metric, values in together.items()},
        change={metric: _difference(values) for metric, values in together.items()},
        change_by_seed={
            seed: {
                metric: _difference(
                    [(before[metric][i], after[metric][i]) for i in before[metric] if i in after[metric]]
                )
                for metric in METRICS
            }
            for seed, (before, after) in pairs.items()
        },
        train_cpu_s=tuple(one["train_cpu_s"] for one in results),
        added_mb=tuple(one["added_mb"] for one in results),
        trained_mb=tuple(one["trained_mb"] for one in results),
    )


def _values(evaluation: Evaluation) -> dict[str, dict[str, float]]:
    return values_by_metric(evaluation.outcomes, evaluation.num_samples)


def _difference(values: Sequence[tuple[float, float]]) -> PairedDifference:
    before, after = zip(*values, strict=True)
    return paired_difference(before, after)


def table_of(study: Study, rows: Sequence[Row], seeds: Sequence[int]) -> Table:
    """A row for each method."""
    about = (
        f"{study.about}; {study.steps} steps, seeds {', '.join(map(str, seeds))}; points [95 %] against {study.base}"
    )
    table = Table(title=about, box=SIMPLE_HEAD)
    for name in ("method", "data", "reward", "coefficient"):
        table.add_column(name)
    for name in ("greedy", "change", "pass@1", "change", "CPU-s", "+MB", "models"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        figures = [
            text
            for metric in METRICS
            for text in (
                f"{row.after[metric]:.1%}",
                "" if row.method == study.base else _points(row.change[metric]),
            )
        ]
        cost = (f"{_mean(row.train_cpu_s):.0f}", f"{_mean(row.added_mb):.0f}", f"{_mean(row.trained_mb):.1f}")
        table.add_row(row.method, row.data, row.reward, row.coefficient, *figures, *cost)
    return table


def _points(change: PairedDifference) -> str:
    return f"{100 * change.mean:+.1f} [{100 * change.low:+.1f}, {100 * change.high:+.1f}]"


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def curves_of(study: Study, seeds: Sequence[int], runs: Path) -> dict[str, list[list[dict[str, Any]]]]:
    """The metrics of each method's runs, as far as it has any by step."""
    found = {
        method: [
            RunLog(folder_of(runs, method, study.steps, seed) / "train", {}).read()
            for seed in seeds
            if (folder_of(runs, method, study.steps, seed) / "train").exists()
        ]
        for method in study.methods
    }
    return {
        method.removeprefix("preset-"): lines
        for method, lines in found.items()
        if any("reward" in line for run in lines for line in run)
    }


def main(study: str, *, out: Path, seeds: tuple[int, ...] = (0, 1, 2), runs: Path | None = None, jobs: int = 1) -> None:
    """Compare training methods on the embedded policy; killed and called again, it goes on.

    Parameters
    ----------
    study
        paradigm, learning (TRL must be installed), process, iterative, rollouts (vLLM must be) or presets.
    out
        Folder for STUDY.json and STUDY.png.
    seeds
        Each is a run of every method, on test problems of its own.
    runs
        Folder of the runs, by default runs/STUDY.
    jobs
        Runs at a time.
    """
    if study not in STUDIES:
        raise InputError(f"no study {study!r}; there are {', '.join(STUDIES)}")
    chosen, folder = STUDIES[study], runs or Path("runs") / study
    rows = run_study(chosen, seeds, folder, jobs, Console(stderr=True))
    write_json(
        out / f"{study}.json",
        {
            "schema": "markscheme study 1",
            **origin("markscheme.studies", "trl"),
            "seeds": seeds,
            **asdict(chosen),
            "rows": [asdict(row) for row in rows],
        },
    )
    curves = curves_of(chosen, seeds, folder)
    if curves:
        curves_figure(curves).savefig(out / f"{study}.png", dpi=150)
    Console(width=200, highlight=False).print(table_of(chosen, rows, seeds))
    print(f"in {out}: {study}.json" + (f", {study}.png" if curves else ""))


if __name__ == "__main__":
    try:
        cyclopts.run(main)
    except InputError as error:
        print(f"markscheme: {error}", file=sys.stderr)
        sys.exit(2)
