"""Reading any sample log: what it is, its content says."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from markscheme.benchmarks.logs.evaluation import read_evaluation
from markscheme.benchmarks.logs.inspect_ai import (
    Place,
    inspect_scorers,
    read_inspect,
    samples_of_eval,
    samples_of_json,
)
from markscheme.benchmarks.logs.lighteval import read_lighteval
from markscheme.benchmarks.logs.lm_eval import lm_eval_filters, read_lm_eval
from markscheme.benchmarks.logs.plain import read_plain
from markscheme.benchmarks.logs.rows import GZIP_MAGIC, first_line, log_rows, whole_json
from markscheme.benchmarks.logs.sample import LoggedSample
from markscheme.benchmarks.logs.simple_evals import read_simple_evals
from markscheme.benchmarks.logs.values import listed
from markscheme.benchmarks.outcomes import KINDS, RECORDS, SUMMARY
from markscheme.files import InputError, StrPath, kind_of

PARQUET, ZIP = b"PAR1", b"PK"
FOLDER_LOGS = ("samples_*.jsonl", "samples_*.jsonl.gz", "details_*.parquet", "*.eval")
NEEDED = (
    "needed is lm-eval's samples_*.jsonl, lighteval's details_*.parquet, Inspect's .eval or .json, simple-evals' "
    "_allresults.json, or JSON lines with a completion and a gold"
)


def read_log(
    path: StrPath, *, filter: str | None = None, verdict: str | None = None, keep: Mapping[str, str] | None = None
) -> list[LoggedSample]:
    """The samples of a log of lm-evaluation-harness, lighteval, Inspect or simple-evals, of plain rows, or of a folder
    of `markscheme evaluate`.

    Args:
        path: The file, or a folder with one such log in it.
        filter: Of lm-evaluation-harness the filter, of Inspect the scorer whose numbers are the verdicts; of our own
            evaluations greedy or sampled. None takes the first one; of our own both.
        verdict: What is the verdict: of lm-evaluation-harness and lighteval a metric, of plain rows a column, of
            Inspect a key in the scorer's values. None chooses; see the readers.
        keep: Of plain rows: column -> value, to keep only the rows that have these.

    Raises:
        InputError: if it is no such log, or a row of it cannot be read.
    """
    path = Path(path)
    with _named_depth(path):
        return _read(_one_log(path), filter, verdict, keep)


def filters_of(path: StrPath) -> tuple[str, ...]:
    """What `read_log` takes as `filter`, in the order of the log; empty where the log has no such thing.

    Raises:
        InputError: if it is no such log, or a row of it cannot be read.
    """
    path = Path(path)
    with _named_depth(path):
        path = _one_log(path)
        if path.is_dir():
            return KINDS
        format_, content = _format(path)
        if format_ == "lm-eval":
            return lm_eval_filters(path)
        return inspect_scorers(_inspect_samples(path, content)) if format_ == "inspect" else ()


@contextmanager
def _named_depth(path: Path) -> Iterator[None]:
    """What the JSON parser just reads may be too deep to be compared or printed."""
    try:
        yield
    except RecursionError as error:
        raise InputError(f"{path}: holds values in hundreds of brackets; remove the row that has them") from error


def _read(path: Path, filter: str | None, verdict: str | None, keep: Mapping[str, str] | None) -> list[LoggedSample]:
    if path.is_dir():
        _refuse(path, "an evaluation of ours", verdict=verdict, keep=keep)
        return read_evaluation(path, filter=filter)
    format_, content = _format(path)
    if format_ == "lm-eval":
        _refuse(path, "a log of lm-eval", keep=keep)
        return read_lm_eval(path, filter=filter, verdict=verdict)
    if format_ == "inspect":
        _refuse(path, "a log of Inspect", keep=keep)
        return read_inspect(_inspect_samples(path, content), path, filter=filter, verdict=verdict)
    if format_ == "lighteval":
        _refuse(path, "a log of lighteval", filter=filter, keep=keep)
        return read_lighteval(path, verdict=verdict)
    if format_ == "simple-evals":
        _refuse(path, "a log of simple-evals", filter=filter, verdict=verdict, keep=keep)
        return read_simple_evals(path, content)
    _refuse(path, "a log of plain rows", filter=filter)
    return read_plain(_plain_rows(path, content), path, verdict=verdict, keep=keep)


def _one_log(path: Path) -> Path:
    """The file itself, the one log in a folder, or a folder that is an evaluation of ours."""
    if path.is_file():
        return path
    if not path.is_dir():
        raise InputError(f"{path}: no such file or folder")
    if (path / SUMMARY).exists() or (path / RECORDS).exists():
        return path
    logs = sorted({found for pattern in FOLDER_LOGS for found in path.rglob(pattern) if found.is_file()})
    if len(logs) > 1:
        raise InputError(f"{path}: {len(logs)} logs in it, {listed(log.relative_to(path) for log in logs)}; give one")
    if not logs:
        raise InputError(f"{path}: no {' or '.join(FOLDER_LOGS)} in it, nor {SUMMARY}; give the log itself")
    return logs[0]


def _format(path: Path) -> tuple[str, Any]:
    """What the file is, and what is in it where that had to be read whole."""
    with path.open("rb") as file:
        start = file.read(4)
    if start == PARQUET:
        return "lighteval", None
    if start.startswith(ZIP):
        return "inspect", None
    if start.startswith(GZIP_MAGIC) and path.suffix != ".gz":
        raise InputError(f"{path}: packed by gzip; give it a name that ends in .gz")
    line = first_line(path).strip()
    if not line:
        raise InputError(f"{path}: nothing in it; {NEEDED}")
    if line.startswith(b"[") or line == b"{":
        return _whole(path)
    if not line.startswith(b"{"):
        start_text = line[:40].decode("utf-8", "replace")
        raise InputError(f"{path}:1: begins with {start_text!r}, which is no JSON object; {NEEDED}")
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        row = next(log_rows(path))[1]  # this fails too, and names the line
    if {"eval", "version"} <= row.keys() or {"htmls", "convos"} <= row.keys():
        return _whole(path)
    return "lm-eval" if "resps" in row or {"doc_id", "doc"} <= row.keys() else "plain", None


def _whole(path: Path) -> tuple[str, Any]:
    content = whole_json(path)
    if isinstance(content, list):
        return "plain", content
    if {"eval", "version"} <= content.keys():
        return "inspect", content
    if {"htmls", "convos"} <= content.keys():
        return "simple-evals", content
    if "results" in content and ("configs" in content or "config_general" in content):
        raise InputError(f"{path}: results without samples; give the samples_*.jsonl or details_*.parquet beside it")
    raise InputError(f"{path}: a JSON object with {listed(content)}; {NEEDED}")


def _inspect_samples(path: Path, content: Any) -> Iterator[Place]:
    return samples_of_eval(path) if content is None else samples_of_json(path, content)


def _plain_rows(path: Path, content: Any) -> Iterator[Place]:
    if content is None:
        for line, row in log_rows(path):
            yield f"{path}:{line}", row
        return
    for index, row in enumerate(content):
        if not isinstance(row, dict):
            raise InputError(f"{path}: row {index}: a JSON object is needed, got {kind_of(row)}; correct or remove it")
        yield f"{path}: row {index}", row


def _refuse(path: Path, what: str, **given: Any) -> None:
    for name, value in given.items():
        if value:
            raise InputError(f"{path}: {what} has nothing that {name} could choose from; leave {name} out")
