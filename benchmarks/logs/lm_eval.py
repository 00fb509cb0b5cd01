"""Reading the sample logs of lm-evaluation-harness: `samples_TASK_DATE.jsonl`, written with `--log_samples`.

The harness writes one row for each filter and document, all documents of the first filter first. The raw responses
are the same in each of these rows, so they are one sample here, or several where the task repeats its request.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from markscheme.benchmarks.logs.rows import log_rows
from markscheme.benchmarks.logs.sample import LoggedSample, NumberedRow
from markscheme.benchmarks.logs.values import answer_of, answers_of, gold_of, id_of, listed, verdict_of
from markscheme.files import InputError, kind_of
from markscheme.solutions import last_box

METRICS = ("exact_match", "math_verify", "acc", "correct")
"""Which metric is the verdict: the first of these that the log has; without any, the only one that is 0 or 1."""
VERDICTS = "verdicts"
"""A column that this package adds where it writes a row for several responses: the verdict of each."""
SCHEMA = (
    *("doc_id", "doc", "target", "arguments", "resps", "filtered_resps", "filter", "metrics"),
    *("doc_hash", "prompt_hash", "target_hash", VERDICTS),
)
"""The columns that are no metric."""
QUESTIONS = ("question", "problem", "Question", "Problem")  # tasks take the names of their data sets
SHARED = ("doc", "target", "arguments", "resps")  # the same in each row of a document


@dataclass(slots=True)
class _Document:
    where: str
    texts: list[str]
    rows: list[NumberedRow] = field(default_factory=list)
    by_filter: dict[str, Mapping[str, Any]] = field(default_factory=dict)


def read_lm_eval(path: Path, *, filter: str | None = None, verdict: str | None = None) -> list[LoggedSample]:
    """The samples of a log, in the order of its first filter.

    A row has one number for all responses of a repeated request: the first one's, a majority vote's, whatever the
    filter makes of them, which the row does not say. So a sample among several has no verdict of the log's own,
    unless all of them are the same text, or the row has the column VERDICTS.

    Args:
        path: The file.
        filter: The filter whose numbers are the verdicts; None takes the first one in the file.
        verdict: The metric that is the verdict; None chooses as METRICS says.

    Raises:
        InputError: if a row is not of this format, or there is no such filter or metric.
    """
    documents = _documents(path)
    filters = _filters(documents.values())
    if filter is not None and filter not in filters:
        raise InputError(f"{path}: no filter {filter!r} in it; it has {listed(filters)}")
    chosen = filters[0] if filter is None else filter
    graded = [row for document in documents.values() if (row := document.by_filter.get(chosen)) is not None]
    metric = _metric(graded, verdict, path)
    samples: list[LoggedSample] = []
    for doc_id, document in documents.items():
        row = document.by_filter.get(chosen)  # a log that was cut off may lack it
        verdicts = _verdicts(row, metric, document.texts)
        first = document.rows[0][1] if row is None else row
        question, gold, rows = _question(first), _gold(first, document.where), tuple(document.rows)
        samples.extend(
            LoggedSample(
                problem=doc_id,
                question=question,
                completion=text,
                gold=gold,
                verdict=verdicts[k],
                k=k,
                row=first,
                rows=rows,
                where=document.where,
            )
            for k, text in enumerate(document.texts)
        )
    return samples


def lm_eval_filters(path: Path) -> tuple[str, ...]:
    """The names of a log's filters, in the order of the file.

    Raises:
        InputError: if a row is not of this format.
    """
    return _filters(_documents(path).values())


def _documents(path: Path) -> dict[str, _Document]:
    documents: dict[str, _Document] = {}
    for line, row in log_rows(path):
        where = f"{path}:{line}"
        if "doc_id" not in row:
            raise InputError(f"{where}: no column 'doc_id'; it has {listed(row)}; correct or remove that line")
        doc_id = id_of(row["doc_id"], where, name="doc_id")
        texts = responses_of(row, where)
        if (document := documents.get(doc_id)) is None:
            document = documents[doc_id] = _Document(where=where, texts=texts)
        elif texts != document.texts:
            raise InputError(
                f"{where}: doc_id {doc_id} has other responses than at {document.where}; give one log at a time"
            )
        else:
            _share(row, document.rows[0][1])
        # Old versions do not name their filters: then the first row of a document is of the first filter, and so on.
        name = row.get("filter", f"unnamed {len(document.rows) + 1}")
        if not isinstance(name, str):
            raise InputError(f"{where}: 'filter' must be text, got {kind_of(name)}; correct or remove that line")
        if name in document.by_filter:
            raise InputError(f"{where}: doc_id {doc_id} has filter {name!r} twice; give one log at a time")
        document.rows.append((line, row))
        document.by_filter[name] = row
    return documents


def _filters(documents: Iterable[_Document]) -> tuple[str, ...]:
    first_lines: dict[str, int] = {}
    for document in documents:
        for (line, _), name in zip(document.rows, document.by_filter, strict=True):
            first_lines[name] = min(line, first_lines.get(name, line))
    return tuple(sorted(first_lines, key=lambda name: first_lines[name]))


def _share(row: dict[str, Any], first: Mapping[str, Any]) -> None:
    """What a row has in common with the document's first is kept once."""
    for name in SHARED:
        if name in row and row[name] == first.get(name):
            row[name] = first[name]


def responses_of(row: Mapping[str, Any], where: str) -> list[str]:
    """The responses of a row: `[[text, ...]]`, or `[text, ...]` in older logs.

    Raises:
        InputError: if there are none, or they are no texts.
    """
    if "resps" not in row:
        raise InputError(f"{where}: no column 'resps'; it has {listed(row)}; correct or remove that line")
    responses = row["resps"]
    if isinstance(responses, list) and len(responses) == 1 and isinstance(responses[0], list):
        responses = responses[0]
    if isinstance(responses, list) and responses and all(isinstance(response, str) for response in responses):
        return responses
    if isinstance(responses, list) and responses and all(isinstance(response, list) for response in responses):
        raise InputError(
            f"{where}: 'resps' holds likelihoods or several requests; a log of a generate_until task is needed"
        )
    raise InputError(f"{where}: 'resps' must be a list with a list of texts in it; correct or remove that line")


def _metric(rows: Sequence[Mapping[str, Any]], name: str | None, path: Path) -> str | None:
    metrics = tuple(dict.fromkeys(metric for row in rows for metric in row if metric not in SCHEMA))
    if name is not None:
        if name not in metrics:
            raise InputError(f"{path}: no metric {name!r} in it; it has {listed(metrics)}")
        return name
    for known in METRICS:
        if known in metrics:
            return known
    binary = [metric for metric in metrics if all(verdict_of(row.get(metric, 0)) is not None for row in rows)]
    return binary[0] if len(binary) == 1 else None


def _verdicts(row: Mapping[str, Any] | None, metric: str | None, texts: Sequence[str]) -> list[bool | None]:
    if row is None or metric is None:
        return [None] * len(texts)
    each = row.get(VERDICTS)
    if isinstance(each, list) and len(each) == len(texts):
        return [verdict_of(one) for one in each]
    same = len(set(texts)) == 1
    return [verdict_of(row.get(metric)) if same else None] * len(texts)


def _question(row: Mapping[str, Any]) -> str:
    document = row.get("doc")
    if isinstance(document, Mapping):
        for name in QUESTIONS:
            if isinstance(document.get(name), str):
                return str(document[name])
    return _prompt(row.get("arguments"))


def _prompt(arguments: Any) -> str:
    """The prompt in `{"gen_args_0": {"arg_0": prompt, ...}}`, or in `[[prompt, ...]]`, as older logs have it."""
    prompt = arguments
    while not isinstance(prompt, str):
        if isinstance(prompt, Mapping):
            prompt = prompt.get("gen_args_0", prompt.get("arg_0"))
        elif isinstance(prompt, list) and prompt:
            prompt = prompt[0]
        else:
            return ""
    return prompt


def _gold(row: Mapping[str, Any], where: str) -> str | tuple[str, ...]:
    document, target = row.get("doc"), row.get("target")
    if not isinstance(document, Mapping):
        raise InputError(f"{where}: 'doc' must be an object, got {kind_of(document)}; correct or remove that line")
    answer, solution = document.get("answer"), document.get("solution")
    for text in (target, answer):
        if isinstance(text, str) and "####" in text and gold_of(text):
            return gold_of(text)
    # The solution before the answer: the minerva tasks put an answer into the document that their normaliser has
    # been through, and that has lost rows of matrices, left sides of equations, degree signs.
    box = last_box(solution) if isinstance(solution, str) else None
    if box is not None and box.strip():
        return box.strip()
    if isinstance(solution, str) and answer is not None:
        return answer_of(answer, where, name="answer")
    if isinstance(answer, list) and target == str(answer):  # each of several is right
        return answers_of(answer, where, name="answer")
    return answer_of(target, where, name="target")
