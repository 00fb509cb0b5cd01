import statistics

import pytest
from hypothesis import given
from hypothesis.strategies import floats, integers, lists, none

from markscheme.grpo.advantage import (
    STD_EPS,
    Rewards,
    generalised_advantages,
    outcome_advantages,
    process_advantages,
    summed_advantages,
)

REWARDS = lists(floats(-1e3, 1e3) | none(), min_size=2, max_size=9)


def of_group(rewards: Rewards) -> list[float]:
    (advantages,) = outcome_advantages([rewards])
    return advantages


def test_outcome_supervision_by_hand() -> None:
    # mean 0.25, deviations 0.75 and three times -0.25; std with n - 1 is sqrt(0.75 / 3) = 0.5
    assert of_group([1, 0, 0, 0]) == pytest.approx([1.5, -0.5, -0.5, -0.5], rel=1e-3)


def test_could_not_tell_is_not_zero() -> None:
    # Without the None: mean 0.5, std sqrt(0.5) = 0.7071. With a 0 in its place the mean would be 1/3.
    assert of_group([1.0, None, 0.0]) == pytest.approx([0.7071, 0.0, -0.7071], rel=1e-3)


@pytest.mark.parametrize("rewards", [[0.1, 0.1, 0.1], [1.0, None], [None, None], [0.3, None, 0.3]])
def test_nothing_to_compare_is_exactly_zero(rewards: list[float | None]) -> None:
    assert of_group(rewards) == [0.0] * len(rewards)


def test_equality_is_exact_not_a_small_std() -> None:
    assert any(of_group([0.5, 0.5 + 1e-9]))


@given(REWARDS)
def test_advantages_sum_to_zero_and_keep_the_order(rewards: list[float | None]) -> None:
    advantages = of_group(rewards)
    known = [(r, a) for r, a in zip(rewards, advantages, strict=True) if r is not None]
    assert abs(sum(advantages)) < 1e-6
    assert all(a <= b for (_, a), (_, b) in zip(sorted(known), sorted(known)[1:], strict=False))


@given(lists(floats(-10, 10), min_size=3, max_size=8, unique=True))
def test_advantages_have_unit_spread(rewards: list[float]) -> None:
    std = statistics.stdev(rewards)
    assert statistics.stdev(of_group(rewards)) == pytest.approx(std / (std + STD_EPS), rel=1e-6)


def test_without_the_spread_by_hand() -> None:
    # mean 0.25: Dr. GRPO leaves it at the differences
    assert outcome_advantages([[1, 0, 0, None, 0]], "no_std") == [[0.75, -0.25, -0.25, 0.0, -0.25]]


def test_leave_one_out_by_hand() -> None:
    # the others of the 1 have the mean 0; the others of a 0 have the mean 1/3
    assert outcome_advantages([[1, 0, 0, 0]], "rloo")[0] == pytest.approx([1, -1 / 3, -1 / 3, -1 / 3])


def test_the_length_weighted_baseline_by_hand() -> None:
    # OPO: (1 * 30 + 0 * 10) / 40 = 0.75; the completion without a reward has no weight
    assert outcome_advantages([[1, 0, None]], "opo", lengths_PG=[[30, 10, 99]]) == [[0.25, -0.75, 0.0]]


def test_the_greedy_baseline_by_hand() -> None:
    advantages = outcome_advantages([[1, 0, None], [1, 1, 1]], "remax", greedy_P=[1.0, None])
    assert advantages == [[0.0, -1.0, 0.0], [0.0, 0.0, 0.0]]


def test_whitening_over_the_batch_by_hand() -> None:
    # rewards 1, 0, 1, 1: mean 0.75, std sqrt((0.0625 * 3 + 0.5625) / 3) = 0.5
    assert outcome_advantages([[1, 0], [1, 1]], "reinforce") == [
        pytest.approx([0.5, -1.5], rel=1e-3),
        pytest.approx([0.5, 0.5], rel=1e-3),
    ]
    # less the mean of their group: 0.5, -0.5, 0, 0; std sqrt(0.5 / 3) = 0.40825
    assert outcome_advantages([[1, 0], [1, 1]], "reinforce_baseline") == [
        pytest.approx([1.2247, -1.2247], rel=1e-3),
        [0.0, 0.0],
    ]


def test_the_reward_itself_is_not_compared() -> None:
    assert outcome_advantages([[1, 0, None], [1, 1, 1]], "raw") == [[1, 0, 0.0], [1, 1, 1]]


@pytest.mark.parametrize("estimator", ["opo", "remax"])
def test_what_an_estimator_needs_is_named(estimator: str) -> None:
    with pytest.raises(ValueError, match=r"(lengths_PG|greedy_P) is missing"):
        outcome_advantages([[1, 0]], estimator)  # type: ignore[arg-type]


def test_several_rewards_are_compared_before_they_are_added() -> None:
    # right: 1 and 0 become +-0.7071; length: 100 and 300 become -+0.7071, however much larger they are
    rewards = {"right": [[1.0, 0.0]], "length": [[100.0, 300.0]]}
    (advantages,) = summed_advantages(rewards, {"right": 1.0, "length": 0.5})
    assert advantages == pytest.approx([0.3535, -0.3535], rel=1e-3)


def test_process_supervision_by_hand() -> None:
    # All step rewards of the group: 1, 0, 0.5. Mean 0.5, std 0.5: they become 1, -1, 0.
    advantages = process_advantages([[(1, 1.0), (3, 0.0)], [(2, 0.5)], None], [5, 3, 2])
    assert advantages == [
        pytest.approx([0, 0, -1, -1, 0], abs=1e-3),  # 1 - 1 up to token 1, then -1, and nothing behind the last step
        [0.0, 0.0, 0.0],
        [0.0, 0.0],  # no score
    ]


@given(lists(floats(-5, 5), min_size=2, max_size=6), integers(1, 7))
def test_one_step_at_the_last_token_is_outcome_supervision(rewards: list[float], length: int) -> None:
    steps = [[(length - 1, reward)] for reward in rewards]
    expected = [[advantage] * length for advantage in of_group(rewards)]
    assert process_advantages(steps, [length] * len(rewards)) == expected


def test_two_steps_that_end_at_one_token_both_count() -> None:
    # 1, 0, 0.5 as above: 1 - 1 for everybody up to token 1
    assert process_advantages([[(1, 1.0), (1, 0.0)], [(0, 0.5)]], [3, 1]) == [[0.0, 0.0, 0.0], [0.0]]


@pytest.mark.parametrize("steps", [[(3, 1.0)], [(-1, 1.0)], [(2, 1.0), (1, 0.0)]])
def test_steps_outside_of_the_completion_are_refused(steps: list[tuple[int, float]]) -> None:
    with pytest.raises(ValueError, match="they must rise and be inside"):
        process_advantages([steps, [(0, 2.0)]], [3, 1])


def test_generalised_advantages_by_hand() -> None:
    # gamma 0.9, lam 0.5. delta_2 = 1 - 0.6 = 0.4; delta_1 = 0.9 * 0.6 - 0.4 = 0.14; delta_0 = 0.9 * 0.4 - 0.5 = -0.14.
    # A_2 = 0.4; A_1 = 0.14 + 0.45 * 0.4 = 0.32; A_0 = -0.14 + 0.45 * 0.32 = 0.004
    advantages, returns = generalised_advantages([0, 0, 1], [0.5, 0.4, 0.6], gamma=0.9, lam=0.5)
    assert advantages == pytest.approx([0.004, 0.32, 0.4])
    assert returns == pytest.approx([0.504, 0.72, 1.0])


def test_without_discount_the_return_is_what_is_still_to_come() -> None:
    advantages, returns = generalised_advantages([1, 2, 3], [9, 9, 9])
    assert returns == [6, 5, 3]
    assert advantages == [-3, -4, -6]
