"""What commands need that take logs of evaluations, some of them beside rows as `markscheme score` takes them."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from markscheme.benchmarks.logs import LoggedSample, read_log
from markscheme.benchmarks.logs.read import PARQUET, ZIP
from markscheme.benchmarks.logs.rows import first_line
from markscheme.benchmarks.logs.values import listed
from markscheme.benchmarks.outcomes import SUMMARY, Kind
from markscheme.files import noun_of

OWN_GOLDS = ("gold", "answer")
"""Where rows have theirs that are read row by row; `read_log` reads those of other projects."""


def is_log(path: Path, is_row: Callable[[Mapping[str, Any]], bool]) -> bool:
    """Whether to read a path by `read_log`, and not row by row.

    Args:
        path: a folder is a log; what is not there, or not JSON, is left to the reader of rows, which says so.
        is_row: whether the file's first row is one of those that the command has a reader of its own for.

    Raises:
        InputError: if it cannot be unpacked.
    """
    if not path.is_file():
        return path.is_dir()
    with path.open("rb") as file:
        start = file.read(4)
    if start == PARQUET or start.startswith(ZIP):
        return True
    line = first_line(path).strip()
    if line == b"{" or line.startswith(b"["):  # one value in several lines
        return True
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return False
    return isinstance(row, dict) and not is_row(row)


def is_unjudged_row(row: Mapping[str, Any]) -> bool:
    """Whether a row has one completion, as text, and a gold under our own names for them."""
    completion_is_one = "completion" in row and not isinstance(row["completion"], list)
    return completion_is_one and any(name in row for name in OWN_GOLDS)


def samples_of_one_policy(
    path: Path, *, filter: str | None = None, verdict: str | None = None, keep: Mapping[str, str] | None = None
) -> list[LoggedSample]:
    """As `read_log`; but of an evaluation of ours, without a `filter`, the samples alone where there are any, else what
    is greedy: the two together would be no K samples of one policy.

    Raises:
        InputError: as `read_log`.
    """
    samples = read_log(path, filter=filter, verdict=verdict, keep=keep)
    if filter is not None or not is_evaluation(path):
        return samples
    kind: Kind = "sampled" if any(one.row["kind"] == "sampled" for one in samples) else "greedy"
    return read_log(path, filter=kind)


def what_was_taken(path: Path, samples: Sequence[LoggedSample]) -> str:
    """What `samples_of_one_policy` takes without a `filter` of a log that has several, or of an evaluation of ours that
    has both kinds of completions, and how to choose; empty for whatever else.
    """
    if is_evaluation(path):
        counts = Counter(one.row["kind"] for one in read_log(path))
        taken = samples[0].row["kind"]
        left = next((kind for kind in counts if kind != taken), None)
        if left is None:
            return ""
        completions = f"{counts[taken]:,} {taken} {noun_of(counts[taken], 'completion')}"
        return f"judged are the {completions}, not the {counts[left]:,} {left}: --filter {left} takes the other kind"
    first_lines: dict[str, int] = {}
    for line, row in chain.from_iterable(one.rows for one in samples):
        if isinstance(name := row.get("filter"), str):
            first_lines[name] = min(line, first_lines.get(name, line))
    first, *others = sorted(first_lines, key=lambda name: first_lines[name]) or [""]
    if not others:
        return ""
    return f"the log's verdicts are those of its filter {first!r}, the first; --filter takes another: {listed(others)}"


def is_evaluation(path: Path) -> bool:
    """Whether `markscheme evaluate` or `regrade` wrote this folder."""
    return (path / SUMMARY).is_file()


def completions_hash(samples: Sequence[LoggedSample]) -> str:
    """Names what was written, by whichever log it is told."""
    texts = sorted(json.dumps([one.problem, one.k, one.completion]) for one in samples)
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()
