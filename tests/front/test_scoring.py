import json
import math
import pickle
from collections.abc import Sequence
from typing import Any

import pytest

from markscheme.scoring import Message, Outcome, Sample, Score, Scorer, StepScore, check_scorer
from markscheme.verifiers import MathVerifier


class ExactMatch:
    name = version = "exact"

    def score(self, samples: Sequence[Sample]) -> list[Score]:
        raise NotImplementedError


DECIDED = [Outcome.CORRECT, Outcome.INCORRECT, Outcome.NO_ANSWER, Outcome.RATED]
MISSING = [Outcome.UNDECIDED, Outcome.FAILED]


@pytest.mark.parametrize("outcome", DECIDED)
def test_a_decided_outcome_needs_a_value(outcome: Outcome) -> None:
    assert Score(value=0.0, outcome=outcome).value == 0.0
    with pytest.raises(ValueError, match="cannot have the value None"):
        Score(value=None, outcome=outcome)


@pytest.mark.parametrize("outcome", MISSING)
def test_could_not_tell_is_never_a_number(outcome: Outcome) -> None:
    assert Score(value=None, outcome=outcome).value is None
    with pytest.raises(ValueError, match="cannot have the value 0"):
        Score(value=0.0, outcome=outcome)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_value_is_finite(value: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        Score(value=value, outcome=Outcome.RATED)


@pytest.mark.parametrize(
    ("outcome", "correct"),
    [
        (Outcome.CORRECT, True),
        (Outcome.INCORRECT, False),
        (Outcome.NO_ANSWER, False),
        (Outcome.RATED, None),
        (Outcome.UNDECIDED, None),
        (Outcome.FAILED, None),
    ],
)
def test_correct_is_none_without_a_verdict(outcome: Outcome, correct: bool | None) -> None:
    assert Score(value=0.5 if outcome in DECIDED else None, outcome=outcome).correct is correct


@pytest.mark.parametrize(
    "score",
    [
        Score(value=1.0, outcome=Outcome.CORRECT),
        Score(value=None, outcome=Outcome.FAILED, evidence={"error": "server down"}),
        Score(
            value=0.25,
            outcome=Outcome.RATED,
            answer="😀 7",
            steps=(StepScore(end=3, value=0.5), StepScore(end=9, value=0.25)),
            parts={"rule": Score(value=0.0, outcome=Outcome.INCORRECT, answer="7")},
            evidence={"tier": "number", "seconds": 0.1},
        ),
    ],
)
def test_json_round_trip(score: Score) -> None:
    record: dict[str, Any] = json.loads(json.dumps(score.to_dict()))
    assert Score.from_dict(record) == score


def test_empty_fields_are_not_written() -> None:
    assert Score(value=1.0, outcome=Outcome.CORRECT).to_dict() == {"value": 1.0, "outcome": "correct"}


def test_whatever_has_name_version_and_score_is_a_scorer() -> None:
    assert isinstance(MathVerifier(), Scorer)
    assert not isinstance(object(), Scorer)


@pytest.mark.parametrize(
    "sample",
    [
        Sample(prompt="", completion=""),
        Sample(prompt="3 + 4?", completion="7 \ud800", gold="7", id="a", group="b", meta={"completion_tokens": 2}),
        Sample(prompt="Half?", completion="", gold=("1/2", "0.5")),
        Sample(prompt=(Message(role="system", content="Be brief."), Message(role="user", content="?")), completion="7"),
    ],
)
def test_json_round_trip_of_a_sample(sample: Sample) -> None:
    assert Sample.from_dict(json.loads(json.dumps(sample.to_dict()))) == sample


def test_several_golds_may_be_a_list() -> None:
    sample: Any = {"prompt": "1/2?", "completion": r"\boxed{0.5}", "gold": ["1/2", "0.5"]}
    assert MathVerifier().score([Sample(**sample)])[0].outcome is Outcome.CORRECT


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"completion": None}, "a sample's completion must be text, got None"),
        (
            {"completion": [{"role": "assistant", "content": "7"}]},
            "completion must be text, got [{'role': 'assistant',",
        ),
        ({"gold": 4}, "a sample's gold must be text, a tuple of texts or None, got 4"),
        ({"gold": ("4", 5)}, "a sample's gold must be text, a tuple of texts or None, got ('4', 5)"),
        ({"gold": {"4"}}, "a sample's gold must be text, a tuple of texts or None, got {'4'}"),
        ({"prompt": 3}, "a sample's prompt must be text or a tuple of messages, each with role and content, got 3"),
        ({"prompt": ("3 + 4?",)}, "each with role and content, got ('3 + 4?',)"),
        ({"prompt": ({"role": "user", "content": None},)}, "each with role and content, got ({'role': 'user', "),
    ],
)
def test_a_sample_of_another_type_is_refused_where_it_is_made(change: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError) as raised:
        Sample(**{"prompt": "3 + 4?", "completion": "7", "gold": "7", **change})
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_sample_is_pickled() -> None:
    sample = Sample(prompt=(Message(role="user", content="?"),), completion="7", gold=("7", "8"))
    assert pickle.loads(pickle.dumps(sample)) == sample


def test_empty_fields_of_a_sample_are_not_written() -> None:
    assert Sample(prompt="3 + 4?", completion="").to_dict() == {"prompt": "3 + 4?", "completion": ""}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"completion": None}, "completion must be text, got nothing"),
        ({"completion": 7}, "completion must be text, got a number"),
        ({"prompt": None}, "prompt must be text, got nothing"),
        ({"prompt": ["3 + 4?"]}, "prompt must be text, or a list of objects"),
        ({"prompt": [{"role": "user"}]}, "content must be text, got nothing"),
        ({"gold": 7}, "gold must be text, got a number"),
        ({"gold": ["7", None]}, "gold must be text, got nothing"),
        ({"id": 3}, "id must be text, got a number"),
        ({"group": []}, "group must be text, got a list"),
        ({"meta": [1]}, "meta must be an object, got a list"),
    ],
)
def test_a_sample_from_elsewhere_is_checked(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Sample.from_dict({"prompt": "3 + 4?", "completion": "7", **change})


@pytest.mark.parametrize("given", [ExactMatch, [ExactMatch()], len, None, "math"])
def test_what_is_no_scorer_is_known(given: Any) -> None:
    with pytest.raises(TypeError, match="a scorer is needed, got"):
        check_scorer(given)
    check_scorer(ExactMatch())
