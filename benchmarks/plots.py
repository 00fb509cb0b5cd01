"""The figures of a report. Each function makes one figure; none touches matplotlib's global state."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from textwrap import fill
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.ticker import FuncFormatter, MaxNLocator
from matplotlib.transforms import offset_copy

from markscheme.benchmarks.comparison import GroupChange, Values
from markscheme.benchmarks.findings import group_names
from markscheme.benchmarks.metrics import bootstrap_interval
from markscheme.benchmarks.outcomes import Evaluation

# Grey against blue differ in lightness too, so they stay apart for the colour-blind and in a grey print.
BEFORE_COLOUR, AFTER_COLOUR, LOSS_COLOUR = "#8b8f97", "#0b5fa5", "#c2571a"
CURVE_COLOURS = ("#0b5fa5", "#c2571a", "#4f8a5b", "#a33b6b", "#b59a2a", "#6b5bb0", "#3b9aa3", "#777777", "#26282c")
INK, RULE = "#26282c", "#d9d9d4"

WIDTH_INCHES = 5.6  # a phone shows the figure at two thirds of this width: the letters stay legible
SMOOTHED_STEPS = 10
NUM_LENGTH_BINS = 24
INTERVAL_POINTS = 3  # between an interval at k and the next beside it
MAX_NAME = 36  # characters of a level or subject: three lines below the map


def pass_at_k_figure(values: Sequence[Values]) -> Figure:
    """pass@k and maj@k against k, pass@k with 95 % intervals over problems; thin lines are single training seeds.

    Args:
        values: Before, then after, one for each training seed.
    """
    figure = Figure(figsize=(WIDTH_INCHES, 3.4), layout="constrained")
    axes = new_axes(figure)
    for side, colour, label, shift in (
        (values[:1], BEFORE_COLOUR, "before", -1),
        (values[1:], AFTER_COLOUR, "after", 1),
    ):
        for kind, style, inside in (("pass", "-", colour), ("maj", "--", "white")):
            curves = [_curve(of_one, kind) for of_one in side]
            shared = [k for k in curves[0] if all(k in curve for curve in curves)]
            if not shared:
                continue
            means = [fmean(fmean(curve[k]) for curve in curves) for k in shared]
            dots: dict[str, Any] = {"marker": "o", "markersize": 4, "markerfacecolor": inside}
            axes.plot(shared, means, style, color=colour, label=f"{kind}@k {label}", **dots)
            if len(curves) > 1:
                for curve in curves:
                    axes.plot(shared, [fmean(curve[k]) for k in shared], style, color=colour, linewidth=0.7, alpha=0.6)
            elif kind == "pass":
                intervals = [bootstrap_interval(curves[0][k]) for k in shared]
                draw_intervals(figure, axes, shared, intervals, colour, shift)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda k, _: f"{k:g}"))
    axes.set_xlabel("k, samples per problem")
    axes.set_ylabel("share of problems")
    room_above(axes)
    new_legend(figure, columns=2)
    return figure


def draw_intervals(
    figure: Figure, axes: Axes, ks: Sequence[int], intervals: Sequence[tuple[float, float]], colour: str, shift: int
) -> None:
    """A thin line for each interval, beside its k: those of several curves stand side by side where bands would lie on
    one another. `shift` says how far from k, and on which side.
    """
    lows, highs = zip(*intervals, strict=True)
    beside = offset_copy(axes.transData, figure, x=shift * INTERVAL_POINTS, units="points")
    axes.vlines(ks, lows, highs, color=colour, linewidth=1.4, alpha=0.55, transform=beside)
    axes.update_datalim([(k, end) for k, interval in zip(ks, intervals, strict=True) for end in interval])


def _curve(values: Values, kind: str) -> dict[int, list[float]]:
    """k -> the values of pass@k or maj@k, one a problem."""
    names = [name for name in values if name.startswith(f"{kind}@")]
    return {int(name.partition("@")[2]): list(values[name].values()) for name in names}


def training_figure(metrics: Sequence[Mapping[str, Any]]) -> Figure:
    """Reward and dev accuracy against the training step, one above the other."""
    rewards, accuracies = _points(metrics, "reward"), _points(metrics, "dev_accuracy")
    panels = [panel for panel in (("reward", rewards), ("dev accuracy", accuracies)) if panel[1]]
    figure = Figure(figsize=(WIDTH_INCHES, 0.6 + 1.9 * len(panels)), layout="constrained")
    first: Axes | None = None
    for row, (name, points) in enumerate(panels, 1):
        axes = new_axes(figure, (len(panels), 1, row), sharex=first)
        first = first or axes
        steps, values = zip(*points, strict=True)
        if name == "reward" and len(values) > 2 * SMOOTHED_STEPS:
            axes.plot(steps, values, color=BEFORE_COLOUR, linewidth=0.8, alpha=0.7, label="each step")
            smooth = np.convolve(values, np.ones(SMOOTHED_STEPS) / SMOOTHED_STEPS, mode="valid")
            label = f"mean of the last {SMOOTHED_STEPS} steps"
            axes.plot(steps[SMOOTHED_STEPS - 1 :], smooth, color=AFTER_COLOUR, label=label)
            axes.legend(frameon=False, fontsize=8.5, loc="lower right", labelcolor=INK)
        else:
            axes.plot(steps, values, color=AFTER_COLOUR, marker="o", markersize=3.5)
        axes.set_ylabel(name)
        axes.tick_params(labelbottom=row == len(panels))
        room_above(axes)
    if first:
        figure.axes[-1].set_xlabel("training step")
        first.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


def lengths_figure(before: Evaluation, afters: Sequence[Evaluation]) -> Figure:
    """How long the completions are, in tokens; those of all training seeds together."""
    lengths = [
        [
            c.completion_tokens or 0
            for evaluation in side
            for outcome in evaluation.outcomes
            for c in (*outcome.of_kind("greedy"), *outcome.sampled)
        ]
        for side in ([before], afters)
    ]
    shortest, longest = min(map(min, lengths)), max(map(max, lengths))
    width = 1 + (longest - shortest) // NUM_LENGTH_BINS  # in whole tokens, so that bins hold as many lengths each
    bins = list(range(shortest - shortest % width, longest + width + 1, width))
    figure = Figure(figsize=(WIDTH_INCHES, 2.4), layout="constrained")
    axes = new_axes(figure)
    for of_one, colour, name in zip(lengths, (BEFORE_COLOUR, AFTER_COLOUR), ("before", "after"), strict=True):
        share = np.full(len(of_one), 100 / len(of_one))
        axes.hist(of_one, bins, weights=share, histtype="stepfilled", color=colour, alpha=0.25, linewidth=0)
        axes.hist(of_one, bins, weights=share, histtype="step", color=colour, linewidth=1.6, label=name)
    axes.set_xlabel("completion tokens")
    axes.set_ylabel("% of completions")
    axes.margins(x=0.02)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    new_legend(figure, columns=2)
    return figure


def group_map_figure(groups: Sequence[GroupChange]) -> Figure:
    """The change in points of each level (rows) and subject (columns): a star where it is more than chance."""
    cells = {(one.level, one.subject): one for one in groups if one.level is not None and one.subject is not None}
    levels, subjects = (group_names([place[side] for place in cells]) for side in (0, 1))
    shown = np.full((len(levels), len(subjects)), np.nan)
    for (level, subject), one in cells.items():
        shown[levels.index(level), subjects.index(subject)] = 100 * one.difference.mean
    most = max(1.0, float(np.nanmax(abs(shown))))
    figure = Figure(figsize=(WIDTH_INCHES, 1.6 + 0.45 * len(levels)), layout="constrained")
    axes = figure.add_subplot()
    colours = LinearSegmentedColormap.from_list("change", (LOSS_COLOUR, "#ffffff", AFTER_COLOUR))
    axes.imshow(shown, cmap=colours, vmin=-most, vmax=most, aspect="auto")
    for (level, subject), one in cells.items():
        row, column = levels.index(level), subjects.index(subject)
        star = "*" if one.adjusted_p is not None and one.adjusted_p < 0.05 else ""
        dark = abs(shown[row, column]) > 0.6 * most
        text = f"{shown[row, column]:+.0f}{star}\nn {one.difference.n}"
        axes.text(column, row, text, ha="center", va="center", fontsize=7.5, color="white" if dark else INK)
    places = [fill(_drawn(subject, place), 12) for place, subject in enumerate(subjects, 1)]
    axes.set_xticks(range(len(subjects)), places, fontsize=7, parse_math=False)
    rows = [_drawn(level, place) for place, level in enumerate(levels, 1)]
    axes.set_yticks(range(len(levels)), rows, fontsize=8, parse_math=False)
    axes.tick_params(length=0, colors=INK)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return figure


def _drawn(name: str, place: int) -> str:
    """The name, or the row of its table where it is long or the font lacks a character of it."""
    signs = get_font(findfont(FontProperties())).get_charmap()
    return name if len(name) <= MAX_NAME and all(ord(character) in signs for character in name) else f"row {place}"


def curves_figure(curves: Mapping[str, Sequence[Sequence[Mapping[str, Any]]]]) -> Figure:
    """Mean reward and dev accuracy against the training step: a colour for each method, a thin line for each of its
    runs and a thick one for their mean.
    """
    shown = [
        name
        for name in ("reward", "dev_accuracy")
        if any(_points(run, name) for runs in curves.values() for run in runs)
    ]
    figure = Figure(figsize=(WIDTH_INCHES, 0.9 + 2.2 * len(shown)), layout="constrained")
    for row, name in enumerate(shown, 1):
        axes = new_axes(figure, (len(shown), 1, row))
        for k, (method, runs) in enumerate(curves.items()):
            colour, style = CURVE_COLOURS[k % len(CURVE_COLOURS)], ("-", "--")[k // len(CURVE_COLOURS) % 2]
            by_run = [_smoothed(_points(run, name)) for run in runs]
            for points in by_run:
                axes.plot(*zip(*points, strict=True), color=colour, linewidth=0.7, alpha=0.45)
            means = [
                (at_step[0][0], sum(value for _, value in at_step) / len(at_step))
                for at_step in zip(*by_run, strict=False)
            ]
            width = 2 if len(curves) <= 4 else 1.2
            label = method if row == 1 else None
            axes.plot(*zip(*means, strict=True), color=colour, linestyle=style, linewidth=width, label=label)
        axes.set_ylabel(name.replace("_", " "))
        room_above(axes)
    axes.set_xlabel("training step")
    new_legend(figure, columns=max(1, min(5, 80 // (max(map(len, curves)) + 9))))  # characters of a line
    return figure


def hacking_figure(
    runs: Mapping[str, Sequence[Mapping[str, Any]]], alarms: Mapping[str, Sequence[Mapping[str, Any]]]
) -> Figure:
    """What the reward says of the dev problems, and what the verifier says of the same completions, by step; a cross
    where an alarm was given.
    """
    figure = Figure(figsize=(WIDTH_INCHES, 4.8), layout="constrained")
    for row, (name, label) in enumerate((("dev_proxy", "reward on dev"), ("dev_accuracy", "accuracy on dev")), 1):
        axes = new_axes(figure, (2, 1, row))
        for k, (run, metrics) in enumerate(runs.items()):
            points = dict(_points(metrics, name))
            axes.plot(
                list(points),
                list(points.values()),
                color=CURVE_COLOURS[k],
                marker="o",
                markersize=3.5,
                label=run if row == 1 else None,
            )
            given = [alarm["step"] for alarm in alarms.get(run, ()) if alarm["step"] in points]
            crosses = [points[step] for step in given]
            axes.plot(given, crosses, "x", color=INK, markersize=8, label="alarm" if row == 1 and given else None)
        axes.set_ylabel(label)
        axes.tick_params(labelbottom=row == 2)
        room_above(axes)
    axes.set_xlabel("training step")
    new_legend(figure, columns=3)
    return figure


def _smoothed(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Each value with those of the steps before it, as many as `SMOOTHED_STEPS`, where there are far more."""
    if len(points) <= 2 * SMOOTHED_STEPS:
        return list(points)
    values = [value for _, value in points]
    return [
        (step, sum(values[max(0, k + 1 - SMOOTHED_STEPS) : k + 1]) / min(k + 1, SMOOTHED_STEPS))
        for k, (step, _) in enumerate(points)
    ]


def new_axes(figure: Figure, place: tuple[int, int, int] = (1, 1, 1), sharex: Axes | None = None) -> Axes:
    axes = figure.add_subplot(*place, sharex=sharex)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(INK)
    axes.grid(axis="y", color=RULE, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(colors=INK, labelsize=9)
    axes.xaxis.label.set_color(INK)
    axes.yaxis.label.set_color(INK)
    return axes


def room_above(axes: Axes) -> None:
    """Starts the axis at 0, for a curve that is cut off below looks steeper than it is."""
    low, high = axes.dataLim.y0, axes.dataLim.y1
    axes.set_ylim(min(0.0, low), max(high, 0.0) + 0.08 * max(high - min(0.0, low), 0.01))


def new_legend(figure: Figure, columns: int) -> None:
    figure.legend(loc="outside upper left", ncols=columns, frameon=False, fontsize=9, labelcolor=INK)


def _points(metrics: Sequence[Mapping[str, Any]], name: str) -> list[tuple[float, float]]:
    """(step, value) of the steps that have a value of this name."""
    return [(float(line["step"]), float(line[name])) for line in metrics if line.get(name) is not None]
