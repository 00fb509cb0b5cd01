"""The one scoring interface: a Sample goes in, a Score comes out, and whatever judges is a Scorer."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol, TypedDict, runtime_checkable

from markscheme.files import kind_of


class GoldError(ValueError):
    """The gold answer of a problem cannot be read: the data is wrong, so stop."""


class Outcome(StrEnum):
    """What happened when a completion was judged, kept apart from how much it is worth."""

    CORRECT = "correct"
    """The answer is the gold."""
    INCORRECT = "incorrect"
    """It is another."""
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
    """One completion to judge, with what is needed to judge it.

    Raises:
        TypeError: if the prompt, the completion or the gold is of another type.
    """

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

    def __post_init__(self) -> None:
        # One look where all are plain texts, as nearly always: a sample is made for every completion.
        if type(self.prompt) is type(self.completion) is type(self.gold) is str:
            return
        if not isinstance(self.completion, str):
            raise TypeError(f"a sample's completion must be text, got {_shown(self.completion)}")
        if self.gold is not None and not isinstance(self.gold, str) and not _are(self.gold, _is_text):
            raise TypeError(f"a sample's gold must be text, a tuple of texts or None, got {_shown(self.gold)}")
        if not isinstance(self.prompt, str) and not _are(self.prompt, _is_message):
            needed = "text or a tuple of messages, each with role and content"
            raise TypeError(f"a sample's prompt must be {needed}, got {_shown(self.prompt)}")

    def to_dict(self) -> dict[str, Any]:
        """The sample as JSON values, as far as `meta` is made of those; empty fields are left out."""
        prompt = self.prompt if isinstance(self.prompt, str) else [dict(message) for message in self.prompt]
        record: dict[str, Any] = {"prompt": prompt, "completion": self.completion}
        if self.gold is not None:
            record["gold"] = self.gold if isinstance(self.gold, str) else list(self.gold)
        if self.id is not None:
            record["id"] = self.id
        if self.group is not None:
            record["group"] = self.group
        if self.meta:
            record["meta"] = dict(self.meta)
        return record

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> "Sample":
        """The inverse of `to_dict`, for what came from elsewhere.

        Raises:
            ValueError: naming the field that is missing or has another type.
        """
        gold, meta = record.get("gold"), record.get("meta", {})
        if not isinstance(meta, Mapping):
            raise ValueError(f"a sample's meta must be an object, got {kind_of(meta)}")
        return cls(
            prompt=_prompt(record.get("prompt")),
            completion=_text(record.get("completion"), "completion"),
            gold=tuple(_text(one, "gold") for one in gold) if isinstance(gold, list) else _text_or_none(gold, "gold"),
            id=_text_or_none(record.get("id"), "id"),
            group=_text_or_none(record.get("group"), "group"),
            meta=meta,
        )


def _are(values: object, is_one: Callable[[object], bool]) -> bool:
    """Lists are taken too: nothing depends on which it is."""
    return isinstance(values, tuple | list) and all(map(is_one, values))


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_message(value: object) -> bool:
    return isinstance(value, Mapping) and isinstance(value.get("role"), str) and isinstance(value.get("content"), str)


def _shown(value: object) -> str:
    return " ".join(repr(value).split())[:200]


def _prompt(value: Any) -> str | tuple[Message, ...]:
    if not isinstance(value, list):
        return _text(value, "prompt")
    if not all(isinstance(message, Mapping) for message in value):
        raise ValueError("a sample's prompt must be text, or a list of objects with role and content")
    return tuple(
        Message(role=_text(message.get("role"), "role"), content=_text(message.get("content"), "content"))
        for message in value
    )


def _text_or_none(value: Any, field: str) -> str | None:
    return None if value is None else _text(value, field)


def _text(value: Any, field: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"a sample's {field} must be text, got {'nothing' if value is None else kind_of(value)}")
    return value


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


def check_scorer(scorer: Scorer) -> None:
    """Tells what is no scorer before it is asked for scores.

    Raises:
        TypeError: if it is none, such as a plain function, a class or a list.
    """
    if isinstance(scorer, type) or not callable(getattr(scorer, "score", None)):
        way_out = "as_scorer makes one of a function, WeightedSum one of several"
        if isinstance(scorer, type):
            way_out = f"call the class, as in {scorer.__name__}()"
        raise TypeError(f"a scorer is needed, got {scorer!r:.100}: {way_out}")
