"""One sample of another harness's log, in one neutral form."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

NumberedRow = tuple[int, Mapping[str, Any]]
"""The number of a line, from 1, and the row that stands on it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedSample:
    """One completion of a problem, as a log holds it."""

    problem: str
    """Names the question within its log: the log's own id, else made from the question's words."""
    question: str
    """The question where the log has it apart, else the prompt; empty where it has neither."""
    completion: str
    """What the model wrote, before any filter."""
    gold: str | tuple[str, ...]
    """The answer as a verifier wants it; several where the log says that each of them is right."""
    verdict: bool | None
    """The log's own; None where it has none for this very sample."""
    k: int
    """Number of the sample among those of its problem, from 0, in the order of the log."""
    tokens: int | None = None
    """Tokens of the completion, where the log counts them."""
    truncated: bool | None = None
    """Whether the completion was cut at its length limit, where the log says so."""
    value: float | None = None
    """A scorer's number that the log carries, such as a reward model's."""
    row: Mapping[str, Any]
    """The log's row. Samples of one row share it."""
    rows: tuple[NumberedRow, ...] = ()
    """Of an lm-evaluation-harness log: all rows of the problem, one a filter. Samples of one problem share them."""
    where: str
    """`file:line`, or the file and the place in it, for messages."""
