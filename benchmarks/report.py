"""A report of what training changed: one HTML file that needs nothing else, and its figures as PNG."""

import base64
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
from matplotlib.figure import Figure

from markscheme.benchmarks.compare import Comparison
from markscheme.benchmarks.examples import example_groups, readable
from markscheme.benchmarks.findings import counts_of
from markscheme.benchmarks.outcomes import Kind
from markscheme.benchmarks.paired import minimum_detectable_effect
from markscheme.benchmarks.plots import lengths_figure, pass_at_k_figure, training_figure
from markscheme.files import write_text

REPORT, COMPARISON = "report.html", "comparison.json"
PNG_DPI = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A figure, ready to stand in the page."""

    uri: str
    alt: str


def write_report(
    comparison: Comparison,
    out: Path,
    title: str,
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
    out.mkdir(parents=True, exist_ok=True)
    pictures = {
        name: _picture(figure, alt, out / f"{name}.png")
        for name, alt, figure in _figures(comparison, training_metrics or ())
    }
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(metric_name=metric_name, number=number, points=points)
    template = files("markscheme.benchmarks").joinpath("report.html.jinja").read_text(encoding="utf-8")
    page = environment.from_string(template).render(
        title=readable(title),
        headline=headline(comparison),
        measured=_measured(comparison),
        comparison=comparison,
        floor_answer=readable(comparison.constant_guess.answer),
        sensitivity=_sensitivity(comparison),
        endings=_endings(comparison),
        groups=example_groups(comparison),
        pictures=pictures,
        origins=_origins(comparison, provenance or {}),
    )
    write_text(out / REPORT, page)
    write_text(out / COMPARISON, json.dumps(comparison.to_dict(), indent=2) + "\n")  # ASCII, as the records are
    return out / REPORT


def headline(comparison: Comparison) -> str:
    """What changed, in one sentence, with its interval, its n and its number of seeds."""
    change = comparison.headline
    difference = change.difference
    name = "Greedy accuracy" if change.metric == "greedy" else change.metric
    interval = f"95 % interval {points(difference.low)} to {points(difference.high)}"
    if difference.low <= 0 <= difference.high:
        verb = "went"
        interval += ", which includes no change"
    else:
        verb = "rose" if difference.mean > 0 else "fell"
    return (
        f"{name} {verb} from {number(change.before)} to {number(change.after)}: "
        f"{points(difference.mean)} points ({interval}), n = {difference.n:,}, one seed."
    )


def metric_name(metric: str) -> str:
    return "greedy accuracy" if metric == "greedy" else metric


def number(value: float) -> str:
    """A share, to three places."""
    return f"{value:.3f}"


def points(difference: float) -> str:
    """A difference of shares in percentage points, with its sign.

    >>> points(0.21), points(-0.004), points(0.0)
    ('+21.0', '−0.4', '0.0')
    """
    rounded = round(100 * difference, 1)
    return f"{rounded:+.1f}".replace("-", "−") if rounded else "0.0"


def _measured(comparison: Comparison) -> str:
    protocol = comparison.before.protocol
    kinds = ["one greedy completion"] if protocol["greedy"] else []
    if protocol["num_samples"]:
        kinds.append(f"{protocol['num_samples']} samples at temperature {protocol['temperature']:g}")
    left_out = f" Left out: {comparison.left_out:,} problems that only one side has." if comparison.left_out else ""
    return (
        f"{len(comparison.before.outcomes):,} problems; for each {' and '.join(kinds)}, of at most "
        f"{protocol['max_completion_tokens']:,} tokens; judged by {protocol['scorer']}.{left_out}"
    )


def _sensitivity(comparison: Comparison) -> str:
    """How many verdicts changed, and how small a gain these problems could have shown."""
    difference = next(one.difference for one in comparison.changes if one.metric == comparison.verdict_metric)
    gained, lost, n = difference.gained, difference.lost, difference.n
    sentence = f"By {metric_name(comparison.verdict_metric)}, {gained:,} problems got better and {lost:,} got worse"
    if difference.mcnemar_p is None or gained + lost == 0:
        return f"{sentence}."
    p = f"p = {difference.mcnemar_p:.2g}" if difference.mcnemar_p >= 1e-4 else "p < 0.0001"
    changed = (gained + lost) / n
    least = 100 * minimum_detectable_effect(n, changed)
    return (
        f"{sentence} (exact McNemar test: {p}). With {n:,} problems, {100 * changed:.0f} % of which change their "
        f"verdict, a true gain of {least:.1f} points would be found four times in five."
    )


def _endings(comparison: Comparison) -> list[tuple[str, list[tuple[str, str, str]]]]:
    """How the completions ended: (kind, rows of what, before, after)."""
    kinds: tuple[tuple[Kind, str], ...] = (("greedy", "Greedy"), ("sampled", "Sampled"))
    tables = []
    for kind, name in kinds:
        before, after = (counts_of(side.outcomes, kind) for side in (comparison.before, comparison.after))
        if before["completions"] and after["completions"]:
            tables.append((name, [(what, text(before), text(after)) for what, text in _ENDINGS]))
    return tables


def _share_of(field: str) -> Callable[[Mapping[str, float | int]], str]:
    return lambda counts: f"{counts[field]:,} ({100 * counts[field] / counts['completions']:.1f} %)"


_ENDINGS: tuple[tuple[str, Callable[[Mapping[str, float | int]], str]], ...] = (
    ("completions", lambda counts: f"{counts['completions']:,}"),
    ("no answer", _share_of("no_answer")),
    ("cut off at the token limit", _share_of("truncated")),
    ("not scored", _share_of("unscored")),
    ("accuracy if the unscored are wrong", lambda counts: number(counts["pessimistic"])),
    ("mean tokens", lambda counts: f"{counts['mean_completion_tokens']:.1f}"),
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
            pass_at_k_figure(comparison.before, comparison.after),
        )
    if any(line.get(name) is not None for line in training_metrics for name in ("reward", "dev_accuracy")):
        yield "training", "Reward and dev accuracy against the training step.", training_figure(training_metrics)
    yield "lengths", "Histogram of completion tokens.", lengths_figure(comparison.before, comparison.after)


def _picture(figure: Figure, alt: str, png: Path) -> Picture:
    """Saves the figure as PNG and returns it as SVG for the page."""
    figure.savefig(png, dpi=PNG_DPI)
    svg = io.BytesIO()
    figure.savefig(svg, format="svg", transparent=True, metadata={"Date": None})
    return Picture(uri=f"data:image/svg+xml;base64,{base64.b64encode(svg.getvalue()).decode()}", alt=alt)


def _origins(comparison: Comparison, provenance: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Where the numbers come from: what was given, then what the evaluations recorded."""
    rows: list[tuple[str, Any]] = list(provenance.items())
    for name, evaluation in (("before", comparison.before), ("after", comparison.after)):
        summary = evaluation.summary
        rows.append((f"weights {name}", summary["fingerprint"]))
        rows.append((f"evaluated {name}", f"{summary['date']}, seed {summary['seed']}"))
        rows.append((f"versions {name}", ", ".join(f"{key} {value}" for key, value in summary["versions"].items())))
    sources = sorted({outcome.problem.source for outcome in comparison.before.outcomes})
    rows.append(("problems", ", ".join(sources)))
    rows += comparison.before.protocol.items()
    return [(readable(str(name)), readable(_text(value))) for name, value in rows]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
