"""A scorer on another machine, asked by HTTP.

GET {url}/version answers {"name": ..., "version": ...}; POST {url}/score takes {"samples": [...]} and answers
{"scores": [...]}, a score a sample in their order, both as their `to_dict` writes them. A gold that cannot be read is
answered by 422 and {"error": "gold", "message": ...}.
"""

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from typing import Any

from markscheme.files import InputError
from markscheme.http_json import MAX_REASON_CHARS, JSONClient, RequestFailedError, base_url, read_key
from markscheme.scoring import GoldError, Outcome, Sample, Score

UNPROCESSABLE = 422
TYPES = {
    "value": float | int | None,
    "outcome": str,
    "answer": str | None,
    "steps": list,
    "parts": dict,
    "evidence": dict,
}
"""Of the fields of a score in JSON."""


@dataclass(frozen=True)
class RemoteScorer:
    """Has a server score. What it cannot be had to score is FAILED, with the reason in `evidence`.

    Raises:
        ValueError: if a setting makes no sense.
    """

    url: str
    """Such as http://localhost:8000."""
    _: KW_ONLY
    chunk_size: int = 64
    """Samples that are sent at a time."""
    concurrency: int = 4
    """Requests at a time."""
    timeout_s: float = 300.0
    """Seconds that a try may take to connect, until its answer begins, and until that is whole."""
    tries: int = 4
    """Of a request that fails in transport, or with 408, 429 or 5xx."""
    api_key_variable: str | None = None
    """The environment variable with the key that is sent as a bearer token; it is read when it is needed."""

    def __post_init__(self) -> None:
        base_url(self.url)
        for name in ("chunk_size", "concurrency", "tries"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not self.timeout_s > 0:
            raise ValueError(f"timeout_s must be above 0, got {self.timeout_s}")

    @property
    def name(self) -> str:
        """The server's scorer's name. Raises as `version` does."""
        return self._identity[0]

    @property
    def version(self) -> str:
        """The server's scorer's version, as it was when it was first asked for.

        Raises:
            InputError: if the server does not say.
        """
        return self._identity[1]

    @cached_property
    def _identity(self) -> tuple[str, str]:
        url = f"{base_url(self.url)}/version"
        with self._client() as client:
            try:
                answer = client.get(url)
            except RequestFailedError as error:
                raise InputError(f"{url} does not answer ({error}): start a scoring server there") from error
        match answer:
            case {"name": str(name), "version": str(version)} if name and version:
                return name, version
        raise InputError(f"{url} names no scorer and version: give the URL of a scoring server")

    def score(self, samples: Sequence[Sample]) -> list[Score]:
        """One score a sample, in order. What JSON cannot hold of a sample's `meta` is left out.

        Raises:
            GoldError: if the server cannot read a gold.
            InputError: if the key is not there.
        """
        scores: dict[int, Score] = {}
        fit: list[tuple[int, dict[str, Any]]] = []
        for index, sample in enumerate(samples):
            record = sample.to_dict()
            if not _is_json(record):  # of a data set the meta may hold anything, such as pictures
                record["meta"] = {name: value for name, value in sample.meta.items() if _is_json({name: value})}
            if _is_json(record):
                fit.append((index, record))
            else:
                scores[index] = _failed("the sample cannot be written as JSON")
        chunks = [fit[start : start + self.chunk_size] for start in range(0, len(fit), self.chunk_size)]
        if chunks:
            with self._client() as client, ThreadPoolExecutor(min(self.concurrency, len(chunks))) as pool:
                for chunk, found in zip(chunks, pool.map(lambda chunk: self._ask(client, chunk), chunks), strict=True):
                    scores.update(zip((index for index, _ in chunk), found, strict=True))
        return [scores[index] for index in range(len(samples))]

    def _client(self) -> JSONClient:
        return JSONClient(timeout_s=self.timeout_s, tries=self.tries, key=read_key(self.api_key_variable))

    def _ask(self, client: JSONClient, chunk: Sequence[tuple[int, dict[str, Any]]]) -> list[Score]:
        try:
            answer = client.post(f"{base_url(self.url)}/score", {"samples": [record for _, record in chunk]})
        except RequestFailedError as error:
            if error.status == UNPROCESSABLE and isinstance(error.body, dict) and error.body.get("error") == "gold":
                raise GoldError(str(error.body.get("message") or error)) from error
            if error.is_refusal and len(chunk) > 1:  # one bad sample must not cost the others
                return [score for one in chunk for score in self._ask(client, [one])]
            return [_failed(str(error))] * len(chunk)
        records = answer.get("scores") if isinstance(answer, dict) else None
        if not isinstance(records, list):
            return [_failed("the server's answer has no list of scores")] * len(chunk)
        if len(records) != len(chunk):
            return [_failed(f"the server gave {len(records)} scores for {len(chunk)} samples")] * len(chunk)
        return [_score(record) for record in records]


def _score(record: Any) -> Score:
    """What a server calls a score; FAILED if it is none."""
    try:
        _check(record)
        json.dumps(record, ensure_ascii=False).encode()  # raises for half a surrogate pair, which no file can hold
        return Score.from_dict(record)
    except (ValueError, OverflowError, RecursionError) as error:
        return _failed(f"the server's score is malformed: {error}")


def _check(record: Any) -> None:
    """
    Raises:
        ValueError: if a field that `Score.from_dict` reads is missing or has another type.
    """
    if not isinstance(record, dict):
        raise ValueError(f"an object is needed, got {type(record).__name__}")
    for name in ("value", "outcome"):
        if name not in record:
            raise ValueError(f"there is no {name}")
    for name, type_ in TYPES.items():
        if name in record and (not isinstance(record[name], type_) or isinstance(record[name], bool)):
            raise ValueError(f"{name} must not be of the type {type(record[name]).__name__}")
    for step in record.get("steps", ()):
        match step:
            case [int(), int() | float()]:
                pass
            case _:
                raise ValueError("a step must be a pair of its end and its value")
    for part in record.get("parts", {}).values():
        _check(part)


def _failed(reason: str) -> Score:
    return Score(value=None, outcome=Outcome.FAILED, evidence={"reason": reason[:MAX_REASON_CHARS]})


def _is_json(value: Any) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return False
    return True
