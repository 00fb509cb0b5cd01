"""A report of what training changed: one HTML file that needs nothing else, and its figures as PNG."""

import base64
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from statistics import fmean
from typing import Any

import jinja2
from matplotlib.figure import Figure

from markscheme.benchmarks.comparison import Comparison, GroupChange
from markscheme.benchmarks.examples import example_groups, readable, sides, unscored_cases
from markscheme.benchmarks.findings import LEVELS, SUBJECTS, counts_of
from markscheme.benchmarks.outcomes import LOG_ENGINE, Kind
from markscheme.benchmarks.plots import group_map_figure, lengths_figure, pass_at_k_figure, training_figure
from markscheme.benchmarks.wording import (
    column_of,
    headline,
    measured,
    metric_name,
    number,
    p_text,
    points,
    sensitivity,
    warnings_of,
    worst_group,
)
from markscheme.files import StrPath, write_text

REPORT, COMPARISON = "report.html", "comparison.json"
PNG_DPI = 200
SHOWN_UNSCORED = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A figure, ready to stand in the page."""

    uri: str
    alt: str


def write_report(
    comparison: Comparison,
    out: StrPath,
    title: str = "Before and after",
    training_metrics: Sequence[Mapping[str, Any]] | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> Path:
    """Writes report.html, comparison.json and the figures as PNG into `out`; returns the path of the report.

    Args:
        training_metrics: One mapping a step with `step` and, where measured, `reward` and `dev_accuracy`.
        provenance: Further lines for the table of origins, such as the model, the data and the command.

    Raises:
        OSError: if `out` cannot be written.
    """
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    pictures = {
        name: _picture(figure, alt, out / f"{name}.png")
        for name, alt, figure in _figures(comparison, training_metrics or ())
    }
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(metric_name=metric_name, number=number, points=points, p_text=p_text, readable=readable)
    template = files("markscheme.benchmarks").joinpath("report.html.jinja").read_text(encoding="utf-8")
    page = environment.from_string(template).render(
        title=readable(title),
        headline=headline(comparison),
        measured=measured(comparison),
        comparison=comparison,
        floor_answer=readable(comparison.constant_guess.answer),
        sensitivity=sensitivity(comparison),
        warnings=warnings_of(comparison),
        groups_of=_group_tables(comparison),
        worst=worst_group(comparison),
        costs=_costs(comparison),
        cost_note=_cost_note(comparison),
        endings=_endings(comparison),
        groups=example_groups(comparison),
        unscored=unscored_cases(comparison),
        shown_unscored=SHOWN_UNSCORED,
        tested=len(comparison.afters) == 1,
        after="after" if len(comparison.afters) == 1 else f"after, {len(comparison.afters)} seeds",
        pictures=pictures,
        origins=_origins(comparison, provenance or {}),
    )
    write_text(out / REPORT, page)
    write_text(out / COMPARISON, json.dumps(comparison.to_dict(), indent=2) + "\n")  # ASCII, as the records are
    return out / REPORT


def _group_tables(comparison: Comparison) -> list[tuple[str, list[GroupChange]]]:
    """By level and by subject, with the name of that column; both together are the map."""
    tables = (
        (LEVELS, [one for one in comparison.groups if one.subject is None]),
        (SUBJECTS, [one for one in comparison.groups if one.level is None]),
    )
    return [(column_of(comparison, names), rows) for names, rows in tables if rows]


def _costs(comparison: Comparison) -> list[tuple[str, str, str]]:
    """What the evaluations took: (what, before, after as a mean over training seeds); nothing where it was not
    measured.
    """
    costs = [evaluation.summary.get("cost", {}) for _, evaluation in sides(comparison)]
    if not all(cost.get("measured_completions") for cost in costs):
        return []
    rows: list[tuple[str, Callable[[Mapping[str, Any]], float]]] = [
        ("completion tokens", lambda cost: cost["completion_tokens"]),
        ("prompt tokens", lambda cost: cost["prompt_tokens"]),
        ("seconds", lambda cost: cost["seconds"]),
        ("completion tokens a second", lambda cost: cost["measured_completion_tokens"] / max(cost["seconds"], 1e-3)),
        ("processor seconds", lambda cost: cost["cpu_seconds"]),
        ("peak memory, MB", lambda cost: cost["peak_mb"]),
    ]
    return [(name, f"{of(costs[0]):,.0f}", f"{fmean(map(of, costs[1:])):,.0f}") for name, of in rows]


def _cost_note(comparison: Comparison) -> str:
    """Where the seconds are not those of the completions that were compared."""
    notes = []
    for name, evaluation in sides(comparison):
        cost = evaluation.summary.get("cost", {})
        timed = cost.get("measured_completions")  # which an evaluation of an earlier version does not have
        if timed is not None and timed != cost["completions"]:
            notes.append(f"{name}, {timed:,} completions in place of {cost['completions']:,}")
    sessions = "Seconds and memory are of the sessions that wrote a line of costs: "
    note = f"{sessions}{'; '.join(notes)}." if notes else ""
    if comparison.left_out or comparison.set_aside:
        note = f"Of the whole evaluations, problems that were left out included. {note}".rstrip()
    return note


def _endings(comparison: Comparison) -> list[tuple[str, list[tuple[str, str, str]]]]:
    """How the completions ended: (kind, rows of what, before, after all training seeds)."""
    kinds: tuple[tuple[Kind, str], ...] = (("greedy", "Greedy"), ("sampled", "Sampled"))
    every_after = [outcome for one in comparison.afters for outcome in one.outcomes]
    tables = []
    for kind, name in kinds:
        before, after = (counts_of(outcomes, kind) for outcomes in (comparison.before.outcomes, every_after))
        if before["completions"] and after["completions"]:
            rows = _ENDINGS if kind == "sampled" else _ENDINGS[:-1]  # one completion has one answer
            tables.append((name, [(what, text(before), text(after)) for what, text in rows]))
    return tables


def _known(mean: float | None) -> str:
    return "not recorded" if mean is None else f"{mean:.1f}"


def _share_of(field: str) -> Callable[[Mapping[str, Any]], str]:
    def text(counts: Mapping[str, Any]) -> str:
        count = counts[field]
        return "not recorded" if count is None else f"{count:,} ({100 * count / counts['completions']:.1f} %)"

    return text


_ENDINGS: tuple[tuple[str, Callable[[Mapping[str, Any]], str]], ...] = (
    ("completions", lambda counts: f"{counts['completions']:,}"),
    ("no answer", _share_of("no_answer")),
    ("cut off at the token limit", _share_of("truncated")),
    ("not scored", _share_of("unscored")),
    ("accuracy if the unscored are wrong", lambda counts: number(counts["pessimistic"])),
    ("mean tokens", lambda counts: _known(counts["mean_completion_tokens"])),
    ("different answers to a problem", lambda counts: f"{counts['distinct_answers']:.2f}"),
)


def _figures(
    comparison: Comparison, training_metrics: Sequence[Mapping[str, Any]]
) -> Iterator[tuple[str, str, Figure]]:
    """(file name without ending, what a reader who cannot see it is told, figure)."""
    if len([change for change in comparison.changes if change.metric.startswith("pass@")]) > 1:
        values = "; ".join(
            f"{change.metric} {number(change.before)} before, {number(change.after)} after"
            for change in comparison.changes
            if change.metric != "greedy"
        )
        yield (
            "pass_at_k",
            f"Curves of pass@k against k. {values}.",
            pass_at_k_figure(comparison.values),
        )
    if any(line.get(name) is not None for line in training_metrics for name in ("reward", "dev_accuracy")):
        yield "training", "Reward and dev accuracy against the training step.", training_figure(training_metrics)
    if any(one.level is not None and one.subject is not None for one in comparison.groups):
        yield (
            "groups",
            f"Map of the change in {metric_name(comparison.headline.metric)} by level and subject.",
            group_map_figure(comparison.groups),
        )
    if any(
        one.completion_tokens is None
        for side in (comparison.before, *comparison.afters)
        for outcome in side.outcomes
        for one in (*outcome.of_kind("greedy"), *outcome.sampled)
    ):
        return
    yield "lengths", "Histogram of completion tokens.", lengths_figure(comparison.before, comparison.afters)


def _picture(figure: Figure, alt: str, png: Path) -> Picture:
    """Saves the figure as PNG and returns it as SVG for the page."""
    figure.savefig(png, dpi=PNG_DPI)
    svg = io.BytesIO()
    figure.savefig(svg, format="svg", transparent=True, metadata={"Date": None})
    return Picture(uri=f"data:image/svg+xml;base64,{base64.b64encode(svg.getvalue()).decode()}", alt=alt)


def _origins(comparison: Comparison, provenance: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Where the numbers come from: what was given, then what the evaluations recorded."""
    rows: list[tuple[str, Any]] = list(provenance.items())
    for name, evaluation in sides(comparison):
        summary = evaluation.summary
        rows.append((f"weights {name}", summary["fingerprint"]))
        seed = f", seed {summary['seed']}" if summary.get("seed") is not None else ""
        engine = summary.get("engine", "unknown")
        by = "read from a log" if engine == LOG_ENGINE else f"by the engine {engine}"
        rows.append((f"evaluated {name}", f"{summary['date']}{seed}, {by}"))
        rows.append((f"versions {name}", ", ".join(f"{key} {value}" for key, value in summary["versions"].items())))
    sources = sorted({outcome.problem.source for outcome in comparison.before.outcomes})
    rows.append(("problems", ", ".join(sources)))
    rows += comparison.before.protocol.items()
    return [(readable(str(name)), readable(_text(value))) for name, value in rows]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
