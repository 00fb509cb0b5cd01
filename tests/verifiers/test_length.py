from typing import Any

import pytest
from hypothesis import given
from hypothesis.strategies import integers

from markscheme.adapters import as_scorer
from markscheme.compose import WeightedSum
from markscheme.scoring import Outcome, Sample, Scorer
from markscheme.verifiers import Conciseness, LengthPenalty


def sample(**meta: Any) -> Sample:
    return Sample(prompt="", completion="...", meta=meta)


def value(scorer: Scorer, tokens: int) -> float:
    (score,) = scorer.score([sample(completion_tokens=tokens)])
    assert score.outcome is Outcome.RATED
    assert score.value is not None
    return score.value


@pytest.mark.parametrize(
    ("tokens", "penalty", "reason"),
    [
        (0, 0.0, "short"),
        (80, 0.0, "the buffer starts behind max - buffer = 100 - 20"),
        (81, -0.05, "one token into a buffer of 20"),
        (95, -0.75, "15 of 20"),
        (100, -1.0, "the buffer is used up"),
        (5_000, -1.0, "too long"),
    ],
)
def test_the_soft_overlong_punishment(tokens: int, penalty: float, reason: str) -> None:
    assert value(LengthPenalty(max_tokens=100, buffer_tokens=20), tokens) == pytest.approx(penalty), reason


def test_a_penalty_is_added_to_a_reward_by_a_weighted_sum() -> None:
    right = as_scorer(lambda sample: True, name="right")
    reward = WeightedSum({"right": (right, 1.0), "length": (LengthPenalty(max_tokens=100, buffer_tokens=20), 1.0)})
    (score,) = reward.score([sample(completion_tokens=95)])
    assert score.value == pytest.approx(1 - 15 / 20)
    assert score.outcome is Outcome.CORRECT


@pytest.mark.parametrize(
    ("tokens", "reward", "reason"),
    [
        (0, 1.0, "short"),
        (100, 1.0, "at the target"),
        (101, 0.99, "one of the 100 tokens between target and limit"),
        (150, 0.5, "half of them"),
        (200, 0.0, "at the limit"),
        (10**9, 0.0, "beyond"),
    ],
)
def test_conciseness_falls_from_the_target_to_the_limit(tokens: int, reward: float, reason: str) -> None:
    assert value(Conciseness(target_tokens=100, limit_tokens=200), tokens) == pytest.approx(reward), reason


@given(integers(1, 10**6), integers(0, 10**6), integers(0, 10**7), integers(0, 10**7))
def test_a_longer_completion_is_never_worth_more(size: int, start: int, tokens: int, more: int) -> None:
    penalty = LengthPenalty(max_tokens=start + size, buffer_tokens=size)
    assert -1 <= value(penalty, tokens + more) <= value(penalty, tokens) <= 0
    conciseness = Conciseness(target_tokens=start, limit_tokens=start + size)
    assert 0 <= value(conciseness, tokens + more) <= value(conciseness, tokens) <= 1


@pytest.mark.parametrize(
    "meta", [{}, {"completion_tokens": None}, {"completion_tokens": "90"}, {"completion_tokens": True}]
)
@pytest.mark.parametrize(
    "scorer", [LengthPenalty(max_tokens=100, buffer_tokens=20), Conciseness(target_tokens=10, limit_tokens=20)]
)
def test_without_a_length_it_failed(scorer: Scorer, meta: dict[str, Any]) -> None:
    (score,) = scorer.score([sample(**meta)])
    assert (score.value, score.outcome) == (None, Outcome.FAILED)
    assert "completion_tokens" in score.evidence["error"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LengthPenalty(max_tokens=10, buffer_tokens=11), r"buffer_tokens must be in 1..max_tokens=10, got 11"),
        (lambda: LengthPenalty(max_tokens=10, buffer_tokens=0), "buffer_tokens"),
        (
            lambda: Conciseness(target_tokens=10, limit_tokens=10),
            r"target_tokens must be in 0..limit_tokens-1=9, got 10",
        ),
        (lambda: Conciseness(target_tokens=-1, limit_tokens=10), "target_tokens"),
    ],
)
def test_bad_settings_are_named(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
