"""Evaluations and comparisons as they are printed: a table, and what must be said beside it."""

from collections.abc import Iterable
from io import StringIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from markscheme.benchmarks.comparison import Comparison
from markscheme.benchmarks.examples import readable
from markscheme.benchmarks.metrics import ConstantGuess
from markscheme.benchmarks.outcomes import Evaluation
from markscheme.benchmarks.wording import LOUD_SHARE, headline, left_out_of, p_text, points, warnings_of, worst_group
from markscheme.files import noun_of

WIDTH = 120  # of what is printed elsewhere than on a terminal
ENDINGS = {"no_answer": "without an answer", "truncated": "truncated", "unscored": "not scored"}


def as_text(table: Table, lines: Iterable[str]) -> str:
    """A table with lines under it, without colours."""
    text = StringIO()
    Console(file=text, width=WIDTH, color_system=None, force_jupyter=False).print(table)
    return "\n".join([*map(str.rstrip, text.getvalue().splitlines()), *lines])


def evaluation_table(evaluation: Evaluation, title: str = "") -> Table:
    """The figures with their intervals, and the floor beside them."""
    summary = evaluation.summary
    size = f"n = {summary['num_problems']:,}"
    table = Table(title=Text(readable(f"{title}, {size}" if title else size)), title_justify="left")
    table.add_column("")
    table.add_column("accuracy", justify="right")
    table.add_column("95 % interval", justify="right")
    metrics = summary["metrics"]
    unscored = any(metric["n"] != summary["num_problems"] for metric in metrics.values())
    if unscored:
        table.add_column("n", justify="right")
    for name, metric in metrics.items():
        interval = f"{metric['low']:.3f} to {metric['high']:.3f}"
        table.add_row(name, f"{metric['value']:.3f}", interval, *([f"{metric['n']:,}"] if unscored else []))
    guess = ConstantGuess(**summary["constant_guess"])
    table.add_row(floor_name(guess), f"{guess.accuracy:.3f}", style="dim")
    return table


def evaluation_remarks(evaluation: Evaluation) -> list[str]:
    """What to know about the figures, a line each."""
    summary, lines = evaluation.summary, []
    share = summary["metrics"].get("pass@1", {}).get("sampling_share")
    narrower = 0.0 if share is None else 100 * (1 - (1 - share) ** 0.5)
    if narrower >= 1:
        more = f"more samples of each problem could narrow its interval by at most {narrower:.0f} %"
        lines.append(f"pass@1: {more}; beyond that it takes more problems")
    for kind, counts in summary["counts"].items():
        if counts["completions"]:
            mean = counts["mean_completion_tokens"]  # None, as other counts, where a log does not say
            length = "" if mean is None else f" of {mean:.0f} tokens on average"
            known = {label: counts[name] for name, label in ENDINGS.items() if counts[name] is not None}
            endings = ", ".join(f"{label} {count}" for label, count in known.items())
            number = f"{counts['completions']} {noun_of(counts['completions'], 'completion')}"
            lines.append(f"{kind}: {number}{length}; {endings}")
            cut = (counts["truncated"] or 0) / counts["completions"]
            if cut > LOUD_SHARE:
                limit = summary["protocol"].get("max_completion_tokens")  # which a log does not say
                way_out = f" at {limit} tokens: give a higher --max-completion-tokens" if limit else ""
                lines.append(f"{100 * cut:.0f} % of them were cut off{way_out}")
    guess = ConstantGuess(**summary["constant_guess"])
    accuracies = [metric["value"] for name, metric in summary["metrics"].items() if name in ("greedy", "pass@1")]
    if accuracies and max(accuracies) <= guess.accuracy < 1:
        lines.append(
            f"no better than always answering {readable(guess.answer[:20])}: read some completions; does the protocol "
            "ask as the model was taught?"
        )
    if summary["batch_invariant"] is False:  # None: read from a log
        again = "does not promise the same completions again: close calls follow the batch"
        lines.append(f"the engine {summary['engine']} {again}")
    return lines


def comparison_table(comparison: Comparison) -> Table:
    """Every metric before and after, paired."""
    table = Table()
    table.add_column(f"n = {len(comparison.before.outcomes):,}")
    uneven = any(change.difference.n != len(comparison.before.outcomes) for change in comparison.changes)
    tested = any(change.difference.permutation_p is not None for change in comparison.changes)
    for heading in ("before", "after", "change in points", "95 % interval", *["p"] * tested, *["n"] * uneven):
        table.add_column(heading, justify="right")
    for change in comparison.changes:
        difference = change.difference
        table.add_row(
            change.metric,
            f"{change.before:.3f}",
            f"{change.after:.3f}",
            points(difference.mean),
            f"{points(difference.low)} to {points(difference.high)}",
            *[p_text(difference.permutation_p)] * tested,
            *[f"{difference.n:,}"] * uneven,
        )
    floor = f"{comparison.constant_guess.accuracy:.3f}"
    table.add_row(floor_name(comparison.constant_guess), floor, floor, style="dim")
    return table


def comparison_remarks(comparison: Comparison) -> list[str]:
    """What must be known before the figures, and what they say in one sentence."""
    lines = [*left_out_of(comparison), *warnings_of(comparison), headline(comparison)]
    if worst := worst_group(comparison):
        lines.append(worst)
    return lines


def floor_name(guess: ConstantGuess) -> Text:
    return Text(readable(f"floor: always {guess.answer[:20]}"))
