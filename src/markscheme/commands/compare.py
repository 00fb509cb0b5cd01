"""`markscheme compare`: what changed between two evaluations."""

import json
from pathlib import Path

from rich.table import Table
from rich.text import Text

from markscheme.benchmarks.compare import Comparison
from markscheme.benchmarks.compare import compare as compare_evaluations
from markscheme.benchmarks.examples import readable
from markscheme.benchmarks.outcomes import load_evaluation
from markscheme.benchmarks.report import write_report
from markscheme.benchmarks.wording import headline, p_text, points, warnings_of, worst_group
from markscheme.commands.shared import console, say
from markscheme.files import InputError


def compare(
    before: Path,
    after: Path,
    /,
    *seeds: Path,
    different_settings: bool = False,
    leave_out: Path | None = None,
    out: Path | None = None,
    title: str = "Before and after",
    config: Path | None = None,
) -> None:
    """Compare two evaluations of the same problems, problem by problem.

    Parameters
    ----------
    before
        Folder of an evaluation.
    after
        Folder of another one.
    seeds
        Folders of what other training seeds made: then all are compared with `before` as one.
    different_settings
        Compare what was made under different settings; the report names them.
    leave_out
        File with ids of problems not to compare on: one a line, or what contamination --out wrote.
    out
        Folder for report.html, comparison.json and the pictures; without it nothing is written.
    title
        Heading of the report.
    config
        TOML file of options.
    """
    evaluations = [load_evaluation(folder) for folder in (before, after, *seeds)]
    unwanted = _ids(leave_out) if leave_out else ()
    comparison = compare_evaluations(*evaluations, different_settings=different_settings, leave_out=unwanted)
    print_comparison(comparison)
    if out is not None:
        report = write_report(comparison, out, title)
        say(f"report: {report}")


def _ids(path: Path) -> list[str]:
    """
    Raises:
        InputError: if the file is empty, or neither of the two.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except ValueError as error:
        raise InputError(f"{path}: not a text file ({error})") from error
    if text.lstrip().startswith("{"):
        try:
            found: list[str] = json.loads(text)["ids"]["contaminated"]
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path}: not the file of contamination --out ({error!r})") from error
        return found
    if not text.strip():
        raise InputError(f"{path}: no ids in it")
    return [line.strip() for line in text.splitlines() if line.strip()]


def print_comparison(comparison: Comparison) -> None:
    """The paired table, and what it says in one sentence."""
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
    guess = comparison.constant_guess
    floor = f"{guess.accuracy:.3f}"
    table.add_row(Text(readable(f"floor: always {guess.answer[:20]}")), floor, floor, style="dim")
    console.print(table)
    for warning in warnings_of(comparison):
        say(warning)
    say(headline(comparison))
    if worst := worst_group(comparison):
        say(worst)
