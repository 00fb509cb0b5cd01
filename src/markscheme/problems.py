"""A problem: a question and its gold answer."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A question with its gold answer."""

    id: str
    question: str
    gold: str
    """The answer itself, never a text to search for one."""
    solution: str | None = None
    """A worked solution that ends in the answer, where the source has one."""
    source: str
    split: str
    meta: Mapping[str, Any] = field(default_factory=dict)
    """What the source knows beside: level, subject, number of steps."""


def question_hash(question: str) -> str:
    """Names a question by its words alone: case and white space do not count. Half a surrogate pair is read too."""
    words = " ".join(question.lower().split())
    return hashlib.sha256(words.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def problems_hash(problems: Sequence[Problem]) -> str:
    """Names a list of problems by its content."""
    digest = hashlib.sha256()
    for problem in problems:
        digest.update(repr((problem.id, problem.question, problem.gold, problem.solution)).encode())
    return digest.hexdigest()[:16]
