"""Reading the details of lighteval: `details_TASK_DATE.parquet`, written with `--save-details`."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from markscheme.benchmarks.logs.sample import LoggedSample
from markscheme.benchmarks.logs.values import answers_of, id_of, listed, verdict_of
from markscheme.files import InputError, kind_of
from markscheme.problems import question_hash

ROWS_AT_ONCE = 256  # a row may carry thousands of token ids, which are not kept
LEFT_OUT = ("input_tokens", "output_tokens", "cont_tokens", "logits", "logprobs", "pred_logits", "prediction_logits")
"""Token ids and their numbers: most of a row's memory, and nothing that a verifier asks for."""


def read_lighteval(path: Path, *, verdict: str | None = None) -> list[LoggedSample]:
    """The samples of a details file, of version 0.11 on (`doc`, `model_response`, `metric`) or before (`full_prompt`,
    `predictions`, `gold`, `metrics`). A row has one number for all samples of a document, so a sample among several
    has no verdict of the log's own, unless all of them are the same text.

    Args:
        path: The file.
        verdict: The metric that is the verdict; None takes the first one that is 0 or 1 in each row.

    Raises:
        InputError: if the file cannot be read or is of another format, or there is no such metric.
    """
    rows = [(f"{path}: row {index}", row) for index, row in enumerate(_rows(path))]
    metric = _metric([_metrics(row) for _, row in rows], verdict, path)
    counts: Counter[str] = Counter()
    samples: list[LoggedSample] = []
    for where, row in rows:
        question, texts = _question(row), _texts(row, where)
        problem = _problem(row, question, where)
        gold = answers_of(_golds(row, where), where, name="gold")
        own = verdict_of(_metrics(row).get(metric)) if metric is not None and len(set(texts)) == 1 else None
        for text in texts:
            samples.append(
                LoggedSample(
                    problem=problem,
                    question=question,
                    completion=text,
                    gold=gold,
                    verdict=own,
                    k=counts[problem],
                    row=row,
                    where=where,
                )
            )
            counts[problem] += 1
    return samples


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    try:
        import pyarrow  # heavy, and not needed for other logs
        from pyarrow import parquet
    except ImportError as error:
        raise InputError(f"{path}: a parquet file; pip install pyarrow to read it") from error
    found = False
    try:
        with parquet.ParquetFile(path) as file:
            names = file.schema_arrow.names
            if not ({"doc", "model_response"} <= {*names} or {"predictions", "gold"} <= {*names}):
                raise InputError(
                    f"{path}: columns {listed(names)}; those of lighteval's details are needed: doc, model_response"
                )
            for batch in file.iter_batches(ROWS_AT_ONCE):
                for row in batch.to_pylist():
                    found = True
                    yield _slim(row)
    except InputError:
        raise
    except (pyarrow.ArrowException, OSError, ValueError) as error:  # ValueError: text that is not UTF-8
        raise InputError(f"{path}: not readable as parquet ({_one_line(error)}); give it whole again") from error
    if not found:
        raise InputError(f"{path}: no rows in it; the details of a finished run are needed")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def _slim(row: dict[str, Any]) -> dict[str, Any]:
    """The row without its token ids. They could not even be counted: some back ends pad them."""
    response = row.get("model_response")
    holder = response if isinstance(response, dict) else row
    for name in LEFT_OUT:
        holder.pop(name, None)
    return row


def _texts(row: Mapping[str, Any], where: str) -> list[str]:
    response = row.get("model_response")
    texts = response.get("text") if isinstance(response, Mapping) else row.get("predictions")
    if isinstance(texts, list) and texts and all(isinstance(text, str) for text in texts):
        return texts
    raise InputError(
        f"{where}: no generated texts but {kind_of(texts)}; the details of a generative task are needed, "
        "of lighteval 0.8 or newer"
    )


def _question(row: Mapping[str, Any]) -> str:
    document = row.get("doc")
    if not isinstance(document, Mapping):
        texts = (row.get("example"), row.get("full_prompt"))
    else:
        texts = (document.get("original_query"), document.get("query"))
    return next((text for text in texts if isinstance(text, str) and text), "")


def _problem(row: Mapping[str, Any], question: str, where: str) -> str:
    """Lighteval counts its documents in `id`; without one, the question's words name it."""
    document = row.get("doc")
    named = document.get("id") if isinstance(document, Mapping) else None
    return question_hash(question) if named is None or named == "" else id_of(named, where, name="doc.id")


def _golds(row: Mapping[str, Any], where: str) -> Any:
    document = row.get("doc")
    if not isinstance(document, Mapping):
        return row.get("gold")
    choices, index = document.get("choices"), document.get("gold_index")
    indices: list[Any] = index if isinstance(index, list) else [index]
    if not isinstance(choices, list) or not all(isinstance(i, int) and 0 <= i < len(choices) for i in indices):
        raise InputError(f"{where}: gold_index {index!r} names no choice; correct or remove the row")
    return [choices[i] for i in indices]


def _metrics(row: Mapping[str, Any]) -> Mapping[str, Any]:
    metrics = row.get("metric", row.get("metrics"))
    return metrics if isinstance(metrics, Mapping) else {}


def _metric(metrics: Sequence[Mapping[str, Any]], name: str | None, path: Path) -> str | None:
    names = tuple(dict.fromkeys(name for row in metrics for name in row))
    if name is not None and name not in names:
        raise InputError(f"{path}: no metric {name!r} in it; it has {listed(names)}")
    for candidate in names if name is None else ():
        if all(verdict_of(row.get(candidate)) is not None for row in metrics):
            return candidate
    return name
