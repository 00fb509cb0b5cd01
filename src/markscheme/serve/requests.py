"""What stands in the body of a request: JSON in, samples out."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from markscheme.adapters.reading import completion_in
from markscheme.files import kind_of
from markscheme.http_json import decode_json
from markscheme.scoring import Sample


class RefusedError(Exception):
    """A request that is not answered as it asks. The message is one line."""

    def __init__(
        self, status: int, error: str, message: str, *, index: int | None = None, wait_s: int | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        """Of the HTTP answer."""
        self.body = {"error": error, "message": message} | ({} if index is None else {"index": index})
        """`error` is one word; `index` the place of the sample that is to blame."""
        self.wait_s = wait_s
        """Seconds after which it may be asked again."""


def read_json(body: bytes) -> Any:
    """The JSON of a body.

    Raises:
        RefusedError: if it is none (400), or holds a number that is not finite (422).
    """
    try:
        return decode_json(body)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise RefusedError(400, "json", f"the body is not JSON: {error}") from error
    except RecursionError as error:
        raise RefusedError(400, "json", "the body is nested too deep") from error
    except ValueError as error:
        raise RefusedError(422, "json", f"the body holds what JSON does not have: {error}") from error


def samples_of(body: Any) -> list[Sample]:
    """The samples of {"samples": [...]}.

    Raises:
        RefusedError: naming the first that is none.
    """
    if not isinstance(body, dict) or not isinstance(body.get("samples"), list):
        raise RefusedError(422, "request", 'the body must be an object with a list: {"samples": [...]}')
    return [_sample(record, index, "samples") for index, record in enumerate(body["samples"])]


def samples_of_list(body: Any) -> list[Sample]:
    """The samples of a list. Raises as `samples_of` does."""
    if not isinstance(body, list):
        raise RefusedError(422, "request", 'the body must be a list of samples: [{"completion": ...}, ...]')
    return [_sample(record, index, "") for index, record in enumerate(body)]


def samples_of_queries(body: Any) -> list[Sample]:
    """The samples of OpenRLHF's {"query": [...], "prompts": [...], "labels": [...]}, of which the last two may be
    missing: a query is a prompt and its completion, a label is a gold. Raises as `samples_of` does.
    """
    if not isinstance(body, dict) or not isinstance(body.get("query"), list):
        raise RefusedError(422, "request", 'the body must be an object with a list: {"query": [...]}')
    queries = body["query"]
    prompts, labels = (_column(body, name, len(queries)) for name in ("prompts", "labels"))
    rows = zip(queries, prompts, labels, strict=True)
    return [_query(query, prompt, label, index) for index, (query, prompt, label) in enumerate(rows)]


def _column(body: Mapping[str, Any], name: str, length: int) -> Sequence[Any]:
    values = body.get(name)
    if values is None:
        return [None] * length
    if not isinstance(values, list) or len(values) != length:
        count = len(values) if isinstance(values, list) else type(values).__name__
        raise RefusedError(422, "request", f"{name} must be a list as long as query, which has {length}; got {count}")
    return values


def _query(query: Any, prompt: Any, label: Any, index: int) -> Sample:
    prompt = "" if prompt is None else prompt
    completion = completion_in(query, prompt) if isinstance(query, str) and isinstance(prompt, str) else query
    gold = str(label) if isinstance(label, int | float) and not isinstance(label, bool) else label
    return _sample({"prompt": prompt, "completion": completion, "gold": gold}, index, "query")


def _sample(record: Any, index: int, name: str) -> Sample:
    place = f"{name}[{index}]"
    if not isinstance(record, dict):
        raise RefusedError(422, "sample", f"{place}: a sample must be an object, got {kind_of(record)}", index=index)
    try:
        return Sample.from_dict({"prompt": "", **record})
    except ValueError as error:
        raise RefusedError(422, "sample", f"{place}: {error}", index=index) from error
