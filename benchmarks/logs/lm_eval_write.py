"""Writing samples as lm-evaluation-harness logs them."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from markscheme.benchmarks.logs.lm_eval import SCHEMA, VERDICTS, responses_of
from markscheme.benchmarks.logs.sample import LoggedSample
from markscheme.files import InputError, StrPath, write_lines

NO_FILTER = "none"  # what the harness calls it when nothing is filtered
Row = Mapping[str, Any]


def write_lm_eval(
    samples: Sequence[LoggedSample],
    path: StrPath,
    *,
    verdicts: Sequence[bool | None] | None = None,
    filter: str = "markscheme",
) -> None:
    """Writes a log of lm-evaluation-harness, one JSON object a line; whole or not at all.

    Samples from such a log are written as the rows they came from, all filters, in the same order: nothing is lost.
    From other logs documents are made, numbered in the order of their problems; they keep question, gold, responses
    and the log's own verdicts.

    Args:
        samples: Of one log, all that `read_log` gave, or all those of some problems.
        path: The file.
        verdicts: One a sample; they become the last row of each document, whose filter is called `filter`. The log's
            own rows stay as they are. An undecided one is null, and left out of the row's mean.
        filter: A name that the log does not use.

    Raises:
        InputError: if the log has such a filter, or samples come from several logs.
        ValueError: if there are not as many verdicts as samples.
    """
    if verdicts is not None and len(verdicts) != len(samples):
        raise ValueError(f"{len(verdicts)} verdicts for {len(samples)} samples")
    groups: dict[Any, list[int]] = {}
    for index, sample in enumerate(samples):
        # Some data sets ask one question twice, with another gold.
        groups.setdefault((sample.problem, sample.gold), []).append(index)
    _check_one_log(samples)
    own: list[tuple[int, Row]] = []
    added: list[Row] = []
    for number, indices in enumerate(groups.values()):
        group = [samples[index] for index in indices]
        numbered = group[0].rows or ((number, _document_row(number, group)),)
        own.extend(numbered)
        if verdicts is not None:
            if any(row.get("filter") == filter for _, row in numbered):
                raise InputError(f"{group[0].where}: it has a filter {filter!r} already; give ours another name")
            base = group[0].row if group[0].rows else numbered[0][1]
            added.append(_verdict_row(base, group, [verdicts[index] for index in indices], filter))
    own.sort(key=lambda numbered: numbered[0])
    write_lines(Path(path), _lines([row for _, row in own], added))


def _lines(*parts: Sequence[Row]) -> Iterator[str]:
    for rows in parts:
        for row in rows:
            try:
                yield json.dumps(row)  # ASCII: a completion may hold half a surrogate pair
            except RecursionError as error:
                raise InputError(
                    f"doc_id {row['doc_id']} holds values in hundreds of brackets; leave it out"
                ) from error


def _check_one_log(samples: Sequence[LoggedSample]) -> None:
    logs = dict.fromkeys(sample.where.rpartition(":")[0] if sample.rows else "" for sample in samples)
    if len(logs) > 1:
        named = " and ".join(log or "a log of another harness" for log in list(logs)[:2])
        raise InputError(f"samples of several logs ({named}) do not go into one file; write one for each")


def _document_row(number: int, group: Sequence[LoggedSample]) -> Row:
    """The row of a problem that comes from another harness's log, hashed as lm-evaluation-harness does it."""
    first = group[0]
    gold: Any = first.gold if isinstance(first.gold, str) else list(first.gold)
    document = {"id": first.problem, "question": first.question, "answer": gold}
    texts = [sample.completion for sample in group]
    own = [sample.verdict for sample in group]
    row: dict[str, Any] = {
        "doc_id": number,
        "doc": document,
        "target": str(gold),
        "arguments": {"gen_args_0": {"arg_0": first.question, "arg_1": {}}},
        "resps": [texts],
        "filtered_resps": _filtered(texts),
        "filter": NO_FILTER,
        "metrics": [],
        "doc_hash": hash_of(json.dumps(document, indent=2, ensure_ascii=False)),
        "prompt_hash": hash_of(first.question),
        "target_hash": hash_of(str(gold)),
    }
    return row if all(verdict is None for verdict in own) else row | _graded(own)


def _verdict_row(base: Row, group: Sequence[LoggedSample], verdicts: Sequence[bool | None], filter: str) -> Row:
    """A document's row under one more filter; `base` is one of those it has."""
    texts = responses_of(base, group[0].where)
    each: list[bool | None] = [None] * len(texts)
    for place, (sample, verdict) in enumerate(zip(group, verdicts, strict=True)):
        each[sample.k if sample.rows else place] = verdict
    row = {name: base[name] for name in SCHEMA if name in base}
    return row | {"filtered_resps": _filtered(texts), "filter": filter} | _graded(each)


def _filtered(texts: Sequence[str]) -> list[Any]:
    """The harness writes a text where there is one response, and a list where a filter leaves several."""
    return [texts[0] if len(texts) == 1 else list(texts)]


def _graded(verdicts: Sequence[bool | None]) -> dict[str, Any]:
    decided = [float(verdict) for verdict in verdicts if verdict is not None]
    mean = sum(decided) / len(decided) if decided else None
    return {"metrics": ["exact_match"], "exact_match": mean, VERDICTS: list(verdicts)}


def hash_of(text: str) -> str:
    """How lm-evaluation-harness names a text; of a document it is the text of its JSON, indented by two."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
