import statistics

import pytest
from hypothesis import given
from hypothesis.strategies import floats, lists, none

from markscheme.grpo.advantage import STD_EPS, group_advantages

REWARDS = lists(floats(-1e3, 1e3) | none(), min_size=2, max_size=9)


def test_outcome_supervision_by_hand() -> None:
    # mean 0.25, deviations 0.75 and three times -0.25; std with n - 1 is sqrt(0.75 / 3) = 0.5
    assert group_advantages([1, 0, 0, 0]) == pytest.approx([1.5, -0.5, -0.5, -0.5], rel=1e-3)


def test_could_not_tell_is_not_zero() -> None:
    # Without the None: mean 0.5, std sqrt(0.5) = 0.7071. With a 0 in its place the mean would be 1/3.
    assert group_advantages([1.0, None, 0.0]) == pytest.approx([0.7071, 0.0, -0.7071], rel=1e-3)


@pytest.mark.parametrize("rewards", [[0.1, 0.1, 0.1], [1.0, None], [None, None], [0.3, None, 0.3]])
def test_nothing_to_compare_is_exactly_zero(rewards: list[float | None]) -> None:
    assert group_advantages(rewards) == [0.0] * len(rewards)


def test_equality_is_exact_not_a_small_std() -> None:
    assert any(group_advantages([0.5, 0.5 + 1e-9]))


@given(REWARDS)
def test_advantages_sum_to_zero_and_keep_the_order(rewards: list[float | None]) -> None:
    advantages = group_advantages(rewards)
    known = [(r, a) for r, a in zip(rewards, advantages, strict=True) if r is not None]
    assert abs(sum(advantages)) < 1e-6
    assert all(a <= b for (_, a), (_, b) in zip(sorted(known), sorted(known)[1:], strict=False))


@given(lists(floats(-10, 10), min_size=3, max_size=8, unique=True))
def test_advantages_have_unit_spread(rewards: list[float]) -> None:
    std = statistics.stdev(rewards)
    assert statistics.stdev(group_advantages(rewards)) == pytest.approx(std / (std + STD_EPS), rel=1e-6)
