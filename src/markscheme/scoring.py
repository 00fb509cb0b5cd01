"""The one scoring interface: a Sample goes in, a Score comes out, and whatever judges is a Scorer."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol, TypedDict, runtime_checkable


class GoldError(ValueError):
    """The gold answer of a problem cannot be read: the data is wrong, so stop."""


class Outcome(StrEnum):
    """What happened when a completion was judged, kept apart from how much it is worth."""

    CORRECT = "correct"
    INCORRECT = "incorrect"
    NO_ANSWER = "no_answer"
    """The completion commits to no answer."""
    RATED = "rated"
    """A number without a verdict: a reward model's rating, a length, a format mark."""
    UNDECIDED = "undecided"
    """A limit of time, memory or size was hit before a verdict."""
    FAILED = "failed"
    """The scorer itself broke: its worker died, its server was down, it has a bug."""

    @property
    def has_value(self) -> bool:
        return self not in _WITHOUT_VALUE


_WITHOUT_VALUE = (Outcome.UNDECIDED, Outcome.FAILED)


class Message(TypedDict):
    """One turn of a conversation."""

    role: str
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One completion to judge, with what is needed to judge it."""

    prompt: str | tuple[Message, ...]
    completion: str
    gold: str | tuple[str, ...] | None = None
    """The right answer, or several that are each right; None where the scorer needs none."""
    id: str | None = None
    group: str | None = None
    """Samples of one prompt share a group."""
    meta: Mapping[str, Any] = field(default_factory=dict)
    """Facts about the completion that its text does not show; the loops set `completion_tokens`
    and `finish_reason`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepScore:
    """The value of one step of a completion (process supervision)."""

    end: int
    """Offset in the completion, in characters, at which the step ends."""
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """The judgement of one sample.

    Raises:
        ValueError: if `value` is not finite, or is None without the outcome being UNDECIDED or FAILED,
            or the other way round.
    """

    value: float | None
    """Finite; None exactly when the outcome is UNDECIDED or FAILED."""
    outcome: Outcome
    answer: str | None = None
    """The answer that was extracted from the completion."""
    steps: tuple[StepScore, ...] = ()
    parts: Mapping[str, "Score"] = field(default_factory=dict)
    """What a composed score is made of."""
    evidence: Mapping[str, Any] = field(default_factory=dict)
    """Which rule decided, why not, how long it took. JSON values only."""

    def __post_init__(self) -> None:
        if (self.value is None) != (self.outcome in _WITHOUT_VALUE):
            raise ValueError(f"a score of outcome {self.outcome.value} cannot have the value {self.value!r}")
        if self.value is not None and not math.isfinite(self.value):
            raise ValueError(f"a score must be finite, got {self.value!r}")

    @property
    def correct(self) -> bool | None:
        """Whether the answer is right; None where nothing was decided about it."""
        if self.outcome is Outcome.CORRECT:
            return True
        if self.outcome in (Outcome.INCORRECT, Outcome.NO_ANSWER):
            return False
        return None

    def to_dict(self) -> dict[str, Any]:
        """The score as JSON values; empty fields are left out."""
        record: dict[str, Any] = {"value": self.value, "outcome": self.outcome.value}
        if self.answer is not None:
            record["answer"] = self.answer
        if self.steps:
            record["steps"] = [[step.end, step.value] for step in self.steps]
        if self.parts:
            record["parts"] = {name: part.to_dict() for name, part in self.parts.items()}
        if self.evidence:
            record["evidence"] = dict(self.evidence)
        return record

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> "Score":
        """The inverse of `to_dict`."""
        return cls(
            value=record["value"],
            outcome=Outcome(record["outcome"]),
            answer=record.get("answer"),
            steps=tuple(StepScore(end=end, value=value) for end, value in record.get("steps", ())),
            parts={name: cls.from_dict(part) for name, part in record.get("parts", {}).items()},
            evidence=record.get("evidence", {}),
        )


@runtime_checkable
class Scorer(Protocol):
    """Whatever judges samples: rules, a reward model, a judge, a function, a composition of those.

    `score` returns one Score a sample, in order; it never raises for a bad completion, and the score of a
    sample does not depend on its neighbours. A gold that cannot be read raises GoldError.
    """

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> str: ...

    def score(self, samples: Sequence[Sample]) -> list[Score]: ...
