"""`markscheme compare`: what changed between two evaluations."""

import json
from pathlib import Path

from markscheme.benchmarks.comparison import Comparison
from markscheme.benchmarks.comparison import compare as compare_evaluations
from markscheme.benchmarks.examples import sides
from markscheme.benchmarks.outcomes import load_evaluation
from markscheme.benchmarks.report import write_report
from markscheme.benchmarks.shown import comparison_remarks, comparison_table
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
    title: str | None = None,
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
        Heading of the report; by default the folders.
    config
        TOML file of options.
    """
    evaluations = [load_evaluation(folder) for folder in (before, after, *seeds)]
    unwanted = _ids(leave_out) if leave_out else ()
    comparison = compare_evaluations(*evaluations, different_settings=different_settings, leave_out=unwanted)
    print_comparison(comparison)
    if out is not None:
        folders = [before, after, *seeds]
        origins = {f"folder {name}": str(folder) for (name, _), folder in zip(sides(comparison), folders, strict=True)}
        to = f"{len(seeds) + 1} training seeds" if seeds else after
        report = write_report(comparison, out, title or f"From {before} to {to}", provenance=origins)
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
    console.print(comparison_table(comparison))
    for line in comparison_remarks(comparison):
        say(line)
