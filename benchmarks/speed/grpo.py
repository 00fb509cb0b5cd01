"""Measures the GRPO loop beside TRL's: same model, rollouts and loss, each contender in a process of its own.

`python -m markscheme.benchmarks.speed.grpo`, or `make bench-grpo`. TRL must be installed. A ratio is TRL's figure over
ours: 2 is twice as fast, or half the memory. `--workloads gpu` is for a machine with a GPU.
"""

import json
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import cyclopts
from cyclopts import Parameter
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from markscheme.benchmarks.speed.contenders import CONTENDERS
from markscheme.benchmarks.speed.workloads import WHOLE, WORKLOADS, make_batch
from markscheme.files import InputError, write_json
from markscheme.machine import origin
from markscheme.own_process import run_module
from markscheme.progress import progress_bar

UPDATES, WHOLE_STEPS = "markscheme.benchmarks.speed.contenders", "markscheme.benchmarks.speed.whole_steps"
NORMS_AGREE = 1e-5
"""Largest relative difference between the norms of two contenders' gradients."""
HEADLINES = ("even", "skewed", "half_flat", "kl", "vocab_152k", WHOLE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What is measured, and how."""

    workloads: tuple[str, ...] = tuple(name for name in WORKLOADS if name != "gpu")
    """By name."""
    contenders: tuple[str, ...] = tuple(CONTENDERS)
    """By name."""
    repeats: int = 2
    """Processes for each contender and workload, taken in turn; the best step of all counts."""
    steps: int = 2
    """Steps in a process."""
    seed: int = 0
    """Draws the rollouts."""

    def __post_init__(self) -> None:
        for kind, chosen, known in (
            ("workload", self.workloads, tuple(WORKLOADS)),
            ("contender", self.contenders, tuple(CONTENDERS)),
        ):
            for one in chosen:
                if one not in known:
                    raise InputError(f"no {kind} {one!r}; there are {', '.join(known)}")
        if self.repeats < 1 or self.steps < 1:
            raise InputError(f"repeats and steps must be at least 1, got {self.repeats} and {self.steps}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """One contender on one workload."""

    seconds: float
    """Of the best step."""
    median_s: float
    steps: int
    tokens_per_s: float
    """Completion tokens."""
    peak_share: float | None
    """Of what the processor can multiply, counting necessary work only; None for whole steps."""
    added_mb: float | None
    grad_norm: float | None
    generation_s: float | None


def measure(settings: Settings, console: Console) -> dict[str, dict[str, Figures]]:
    """Workload -> contender -> figures.

    Raises:
        InputError: if a contender cannot run, or two do not compute the same gradient.
    """
    found: dict[str, dict[str, list[dict[str, Any]]]] = {}
    total = len(settings.workloads) * len(settings.contenders) * settings.repeats
    with progress_bar(console, "measuring", total) as bar:
        done = 0
        for name in settings.workloads:
            contenders = [one for one in settings.contenders if name != WHOLE or one != "trl_compact"]
            found[name] = {contender: [] for contender in contenders}
            for _ in range(settings.repeats):
                for contender in contenders:
                    found[name][contender].append(_run(settings, contender, name))
                    done += 1
                    bar.update(done, name)
            check_gradients(name, {contender: runs[0].get("grad_norm") for contender, runs in found[name].items()})
    every = [run for by_contender in found.values() for runs in by_contender.values() for run in runs]
    peak = max((run["peak_flops"] for run in every if "peak_flops" in run), default=None)
    return {
        name: {contender: _figures(runs, name, settings, peak) for contender, runs in by_contender.items()}
        for name, by_contender in found.items()
    }


def _run(settings: Settings, contender: str, workload: str) -> dict[str, Any]:
    worker = WHOLE_STEPS if workload == WHOLE else UPDATES
    try:
        return run_module(worker, contender, workload, settings.seed, settings.steps)
    except InputError as error:
        raise InputError(f"{contender} on {workload} failed: {error}") from None


def _figures(runs: Sequence[Mapping[str, Any]], name: str, settings: Settings, peak: float | None) -> Figures:
    """`peak` is the best that any process of the run saw of the processor."""
    workload = WORKLOADS[name]
    seconds = [one for run in runs for one in run["seconds"]]
    best = min(seconds)
    batch = make_batch(workload, settings.seed)
    completion_tokens = sum(len(one) for group in batch.completions_PG for one in group)
    generation = [one for run in runs for one in run.get("generation", ())]
    return Figures(
        seconds=best,
        median_s=statistics.median(seconds),
        steps=len(seconds),
        tokens_per_s=completion_tokens / best,
        peak_share=runs[0]["flops"] / best / peak if peak and "flops" in runs[0] else None,
        added_mb=min(run["added_mb"] for run in runs) if "added_mb" in runs[0] else None,
        grad_norm=runs[0].get("grad_norm"),
        generation_s=min(generation) if generation else None,
    )


def check_gradients(name: str, norms: Mapping[str, float | None]) -> None:
    """
    Raises:
        InputError: if two contenders do not compute the same gradient: then they do not do the same work.
    """
    known = [norm for norm in norms.values() if norm is not None]
    if known and max(known) - min(known) > NORMS_AGREE * max(known):
        raise InputError(f"{name}: the contenders do not compute the same gradient, its norms are {dict(norms)}")


def headlines(found: Mapping[str, Mapping[str, Figures]]) -> dict[str, float]:
    """TRL's figure over ours; `memory` is what the update adds at even lengths."""
    ratios = {
        name: round(found[name]["trl"].seconds / found[name]["ours"].seconds, 2)
        for name in HEADLINES
        if {"trl", "ours"} <= found.get(name, {}).keys()
    }
    even = found.get("even", {})
    if {"trl", "ours"} <= even.keys() and even["trl"].added_mb and even["ours"].added_mb:
        ratios["memory"] = round(even["trl"].added_mb / even["ours"].added_mb, 2)
    return ratios


def table_of(found: Mapping[str, Mapping[str, Figures]]) -> Table:
    """A block for each workload."""
    table = Table(
        title="An optimizer step: seconds (of the processor; of the clock on a GPU), and what it adds to memory",
        box=SIMPLE_HEAD,
    )
    for name in ("workload", "", "contender"):
        table.add_column(name, no_wrap=True)
    for name in ("s", "median", "generation", "tokens/s", "of peak", "+MB", "ours is"):
        table.add_column(name, justify="right", no_wrap=True)
    for name, figures in found.items():
        for contender, one in figures.items():
            is_first = contender == next(iter(figures))
            table.add_row(
                name if is_first else "",
                WORKLOADS[name].about if is_first else "",
                contender,
                f"{one.seconds:.2f}",
                f"{one.median_s:.2f}",
                "" if one.generation_s is None else f"{one.generation_s:.2f}",
                f"{one.tokens_per_s:,.0f}",
                "" if one.peak_share is None else f"{one.peak_share:.1%}",
                "" if one.added_mb is None else f"{one.added_mb:,.0f}",
                "" if is_first or "ours" not in figures else f"{one.seconds / figures['ours'].seconds:.2f} x as fast",
            )
        table.add_section()
    return table


def main(*, settings: Annotated[Settings | None, Parameter(name="*")] = None, out: Path | None = None) -> None:
    """Measure the GRPO loop beside TRL's.

    Parameters
    ----------
    out
        Folder for grpo-speed.json.
    """
    chosen = settings or Settings()
    found = measure(chosen, Console(stderr=True))
    ratios = headlines(found)
    if out:
        record = {
            "schema": "markscheme grpo benchmark 1",
            **origin(__spec__.name, "trl"),
            "settings": asdict(chosen),
            "workloads": {
                name: {
                    **asdict(WORKLOADS[name]),
                    "contenders": {contender: asdict(one) for contender, one in figures.items()},
                }
                for name, figures in found.items()
            },
            "ratios": ratios,
        }
        write_json(out / "grpo-speed.json", record)
    Console(width=190, highlight=False).print(table_of(found))
    print(json.dumps(ratios))


if __name__ == "__main__":
    try:
        cyclopts.run(main)
    except InputError as error:
        print(f"markscheme: {error}", file=sys.stderr)
        sys.exit(2)
