"""What a measurement looks like on a terminal and in a figure."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from markscheme.benchmarks.speed.measure import Figures, Share, Start
from markscheme.benchmarks.speed.suites import Suite

if TYPE_CHECKING:
    from matplotlib.figure import Figure

OURS_COLOUR = "#0b5fa5"
PEER_COLOURS = ("#c2571a", "#8b8f97", "#4f8a5b", "#a33b6b", "#b59a2a", "#6b5bb0", "#3b9aa3", "#777777", "#26282c")
INK = "#26282c"

Results = Mapping[str, Mapping[str, Figures]]
"""Suite -> grader -> figures."""


def verdict_table(suites: Sequence[Suite], results: Results) -> Table | None:
    """Recall, false positives and speed, a block for each suite."""
    table = _table("% accepted of right and of wrong answers, [95 % intervals]; w:r is their cost, wrong to right")
    for name in ("suite", "right+wrong", "grader"):
        table.add_column(name, no_wrap=True)
    measures = ("recall", "false positives", "unscored", "items/CPU-s", "ms p50", "p99", "max", "w:r")
    for name in measures:
        table.add_column(name, justify="right", no_wrap=True)
    for suite in suites:
        by_grader = results.get(suite.name, {})
        if suite.hostile or not by_grader:
            continue
        for grader, figures in by_grader.items():
            is_first = grader == next(iter(by_grader))
            table.add_row(
                suite.name if is_first else "",
                f"{figures.recall.n}+{figures.false_positive_rate.n}" if is_first else "",
                grader,
                _percent(figures.recall),
                _percent(figures.false_positive_rate),
                str(figures.unscored or ""),
                f"{figures.items_per_cpu_second:,.0f}",
                _ms(figures.wall_ms_p50),
                _ms(figures.wall_ms_p99),
                _ms(figures.wall_ms_max),
                "" if figures.wrong_to_right_cost is None else f"{figures.wrong_to_right_cost:.1f}",
            )
        table.add_section()
    return table if table.row_count else None


def hostile_table(suites: Sequence[Suite], results: Results, cap_s: float) -> Table | None:
    """What hostile input does to each grader."""
    table = _table(f"hostile input, killed after {cap_s:g} s")
    for name in ("suite", "grader"):
        table.add_column(name, no_wrap=True)
    for name in ("n", "executed", "raised", "killed", "over 1 s", "unscored", "ms p50", "worst"):
        table.add_column(name, justify="right", no_wrap=True)
    for suite in suites:
        if suite.hostile:
            for grader, figures in results.get(suite.name, {}).items():
                numbers = (figures.executed, figures.raised, figures.killed, figures.over_1_s, figures.unscored)
                times = (_ms(figures.wall_ms_p50), _ms(figures.wall_ms_max))
                table.add_row(suite.name, grader, str(figures.n), *map(str, numbers), *times)
    return table if table.row_count else None


def grader_table(starts: Mapping[str, Start], notes: Mapping[str, str]) -> Table:
    """What each grader is, and what it costs before its first item."""
    table = Table(
        title="graders, each in a process of its own", title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0)
    )
    table.add_column("grader", no_wrap=True)
    for name in ("import CPU-s", "import MB", "peak MB"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("how it is called")
    for grader, start in starts.items():
        numbers = (f"{start.import_cpu_s:.2f}", f"{start.import_mb:.0f}", f"{start.peak_mb:.0f}")
        table.add_row(grader, *numbers, notes[grader])
    return table


def verdict_figure(suites: Sequence[Suite], results: Results) -> "Figure":
    """Errors and speed side by side: a dot for each grader on each suite."""
    from matplotlib.figure import Figure

    shown = [suite for suite in suites if not suite.hostile and suite.name in results]
    graders = list(dict.fromkeys(grader for suite in shown for grader in results[suite.name]))
    colours = dict(zip(graders, (OURS_COLOUR, *PEER_COLOURS), strict=False))
    figure = Figure(figsize=(11, 1.4 + 0.36 * len(shown)), layout="constrained")
    panels = figure.subplots(1, 3, sharey=True)
    titles = ("right answers accepted, %", "wrong answers accepted, %", "items per CPU-second")
    for axes, title in zip(panels, titles, strict=True):
        axes.set_title(title, fontsize=10, color=INK, loc="left")
        axes.grid(axis="y", color="#e6e6e2", linewidth=0.7)
        axes.tick_params(colors=INK, labelsize=8.5)
        for side in ("top", "right", "left"):
            axes.spines[side].set_visible(False)
    for row, suite in enumerate(shown):
        for grader, figures in results[suite.name].items():
            values = (_value(figures.recall), _value(figures.false_positive_rate), figures.items_per_cpu_second)
            for axes, value in zip(panels, values, strict=True):
                if value is not None:
                    axes.scatter(value, row, color=colours[grader], **_mark(grader == graders[0]))
            for axes, share in zip(panels, (figures.recall, figures.false_positive_rate), strict=False):
                if share.n:
                    ends = share.to_dict()
                    low, high = 100 * ends["low"], 100 * ends["high"]
                    axes.plot([low, high], [row, row], color=colours[grader], linewidth=1, alpha=0.4)
    panels[0].set_yticks(range(len(shown)), [suite.name for suite in shown])
    panels[0].invert_yaxis()
    panels[0].set_xlim(-2, 102)
    panels[1].set_xlim(left=-0.5)
    panels[2].set_xscale("log")
    handles = [
        panels[0].scatter([], [], color=colours[grader], label=grader, **_mark(grader == graders[0]))
        for grader in graders
    ]
    figure.legend(handles=handles, loc="outside upper left", ncols=5, frameon=False, fontsize=9, labelcolor=INK)
    return figure


def _mark(is_ours: bool) -> dict[str, Any]:
    """A diamond in front for ours, dots for the others."""
    return {"marker": "D", "s": 34, "zorder": 3} if is_ours else {"marker": "o", "s": 22, "zorder": 2, "alpha": 0.75}


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))


def _value(share: Share) -> float | None:
    return None if share.value is None else 100 * share.value


def _percent(share: Share) -> str:
    if share.value is None:
        return ""
    ends = share.to_dict()
    return f"{100 * share.value:.1f} [{100 * ends['low']:.1f}, {100 * ends['high']:.1f}]"


def _ms(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.2f}"
