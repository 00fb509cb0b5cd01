"""Paired differences and the tests of them, by hand and on published counts."""

import doctest
import math
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import markscheme.benchmarks.paired
from markscheme.benchmarks.paired import (
    holm,
    mcnemar_exact,
    minimum_detectable_effect,
    paired_difference,
    sign_flip_p,
    two_level_error,
)


def test_docstring_examples() -> None:
    assert doctest.testmod(markscheme.benchmarks.paired).failed == 0


def test_mcnemar_by_hand() -> None:
    # 6 gained, 1 lost: 2 * (C(7,0) + C(7,1)) / 2^7 = 2 * 8 / 128
    assert mcnemar_exact(6, 1) == pytest.approx(16 / 128)
    assert mcnemar_exact(1, 6) == pytest.approx(16 / 128)
    assert mcnemar_exact(0, 0) == 1


@pytest.mark.parametrize(
    ("n", "gained", "lost", "before", "low", "high", "p"),
    [
        (1319, 360, 76, 458, 0.187, 0.244, 3e-45),
        (1319, 112, 62, 1062, 0.019, 0.058, 0.00019),
        (500, 29, 42, 402, -0.060, 0.006, 0.15),
    ],
)
def test_paired_difference_on_published_counts(
    n: int, gained: int, lost: int, before: int, low: float, high: float, p: float
) -> None:
    # Counts and intervals of spec/evaluation.md, section 3 (real logs; percentile interval there, BCa here).
    old = [1] * before + [0] * (n - before)
    new = [0] * lost + [1] * (before - lost) + [1] * gained + [0] * (n - before - gained)
    difference = paired_difference(old, new)
    assert (difference.gained, difference.lost) == (gained, lost)
    assert difference.mean == pytest.approx((gained - lost) / n)
    assert difference.low == pytest.approx(low, abs=0.002)
    assert difference.high == pytest.approx(high, abs=0.002)
    assert difference.mcnemar_p == pytest.approx(p, rel=0.2)


def test_no_change_is_not_certainty() -> None:
    # Nothing changed in 100 questions: up to 1 - 0.025^(1/100) = 3.6 % of others may still change, either way.
    difference = paired_difference([1.0] * 100, [1.0] * 100)
    assert (difference.mean, difference.low, difference.high) == pytest.approx((0, -0.0362, 0.0362), abs=1e-4)
    assert difference.mcnemar_p == 1


def test_everything_gained() -> None:
    # 1 - 0.025^(1/2) = 0.8419 may be lost questions (-1): low = 1 - 2 * 0.8419
    difference = paired_difference([0, 0], [1, 1])
    assert (difference.low, difference.high) == pytest.approx((-0.6838, 1.0), abs=1e-4)


def test_shares_have_no_mcnemar_p() -> None:
    assert paired_difference([0.5, 0.25], [0.5, 0.75]).mcnemar_p is None


def test_unequal_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="as many values"):
        paired_difference([1.0], [])


@settings(max_examples=15)
@given(st.lists(st.tuples(st.sampled_from([0, 1]), st.sampled_from([0, 1])), min_size=2, max_size=30))
def test_swapping_before_and_after_swaps_gained_and_lost(pairs: list[tuple[int, int]]) -> None:
    before, after = zip(*pairs, strict=True)
    there, back = paired_difference(before, after), paired_difference(after, before)
    assert there.mean == pytest.approx(-back.mean)
    assert (there.gained, there.lost) == (back.lost, back.gained)
    assert there.mcnemar_p == pytest.approx(back.mcnemar_p)


def _power(n: int, psi: float, d: float) -> float:
    """That a gain d is found, summed over all ways in which n verdicts can stay, be gained or be lost."""
    up, down = (psi + d) / 2, (psi - d) / 2
    ways = ((gained, lost) for gained in range(n + 1) for lost in range(n + 1 - gained))
    return math.fsum(
        math.comb(n, gained) * math.comb(n - gained, lost) * up**gained * down**lost * (1 - psi) ** (n - gained - lost)
        for gained, lost in ways
        if gained > lost and mcnemar_exact(gained, lost) < 0.05
    )


@pytest.mark.parametrize("power", [0.5, 0.8, 0.9])
@pytest.mark.parametrize("psi", [0.7, 0.9, 1.0])
def test_minimum_detectable_effect_of_few_questions_by_enumeration(psi: float, power: float) -> None:
    d = minimum_detectable_effect(12, psi, power=power)
    if d is None:
        assert _power(12, psi, psi) < power
    else:
        assert d <= psi
        assert _power(12, psi, d - 1e-4) < power <= _power(12, psi, min(psi, d + 1e-4))


def test_minimum_detectable_effect_is_found_four_times_in_five() -> None:
    n, psi, num_trials = 200, 0.1, 20_000
    d = minimum_detectable_effect(n, psi)
    assert d is not None
    probabilities = [(psi + d) / 2, (psi - d) / 2, 1 - psi]
    drawn = np.random.default_rng(0).multinomial(n, probabilities, size=num_trials)
    pairs, counts = np.unique(drawn[:, :2], axis=0, return_counts=True)
    found = sum(
        count
        for (gained, lost), count in zip(pairs.tolist(), counts.tolist(), strict=True)
        if gained > lost and mcnemar_exact(gained, lost) < 0.05
    )
    assert found / num_trials == pytest.approx(0.8, abs=0.01)  # 3.5 standard errors of sqrt(0.16 / 20000) = 0.0028


def test_minimum_detectable_effect_of_many_questions_is_nearly_that_of_a_normal_distribution() -> None:
    # d = (z_0.975 + z_0.8) sqrt((psi - d^2) / n): with so many the discreteness of the test costs little
    d = minimum_detectable_effect(20_000, 0.2)
    assert d is not None
    normal = (1.959964 + 0.841621) * math.sqrt((0.2 - d**2) / 20_000)
    assert normal < d < 1.02 * normal


@pytest.mark.parametrize("psi", [0.05, 0.1, 0.3])
def test_more_questions_show_smaller_gains(psi: float) -> None:
    effects = [minimum_detectable_effect(n, psi) for n in (200, 300, 500, 1_000, 1_319, 5_000, 20_000)]
    assert None not in effects
    assert all(more < fewer for fewer, more in pairwise(filter(None, effects)))


@pytest.mark.parametrize(("n", "psi"), [(10, 0.1), (5, 1.0), (1, 0.5), (1_000, 0.0)])
def test_what_cannot_be_shown_has_no_minimum_detectable_effect(n: int, psi: float) -> None:
    assert minimum_detectable_effect(n, psi) is None  # five gains and no loss: p = 0.0625


def test_six_changes_for_the_better_are_enough() -> None:
    # p = 2 / 2^6 = 0.03; found are six of six: ((1 + d) / 2)^6 = 0.8
    assert minimum_detectable_effect(6, 1.0) == pytest.approx(2 * 0.8 ** (1 / 6) - 1, abs=1e-5)


@pytest.mark.parametrize(("n", "psi", "power"), [(0, 0.1, 0.8), (10, 1.1, 0.8), (10, -0.1, 0.8), (10, 0.1, 1.0)])
def test_an_impossible_power_is_refused(n: int, psi: float, power: float) -> None:
    with pytest.raises(ValueError, match=r"discordance from 0 to 1|power must be"):
        minimum_detectable_effect(n, psi, power=power)


@settings(max_examples=30)
@given(st.lists(st.sampled_from([-1.0, -0.25, 0.0, 0.5]), max_size=8))
def test_sign_flips_of_few_questions_are_counted_out(differences: list[float]) -> None:
    seen = abs(sum(differences)) - 1e-9
    patterns = [
        abs(sum(s * d for s, d in zip(signs, differences, strict=True))) >= seen
        for signs in product((1, -1), repeat=len(differences))
    ]
    assert sign_flip_p(differences) == pytest.approx(sum(patterns) / len(patterns))


def test_sign_flips_of_right_and_wrong_are_mcnemars_test() -> None:
    assert sign_flip_p([1.0] * 209 + [-1.0] * 152 + [0.0] * 900) == mcnemar_exact(209, 152)
    assert sign_flip_p([]) == 1


def test_random_sign_flips_are_near_the_exact_test() -> None:
    # one of 27 is a thousandth less, which decides nothing
    assert sign_flip_p([1.0] * 19 + [-1.0] * 7 + [0.999]) == pytest.approx(mcnemar_exact(20, 7), abs=0.004)
    assert sign_flip_p([1.0] * 59 + [0.5]) == pytest.approx(1 / 20_001)  # the one seen, of 20,001


def test_holm_by_hand() -> None:
    # 0.005 * 4, 0.01 * 3, max(0.03, 0.02 * 2), max(0.04, 0.5 * 1)
    assert holm([0.02, 0.005, 0.5, 0.01]) == pytest.approx([0.04, 0.02, 0.5, 0.03])
    assert holm([]) == []
    assert holm([0.7, 0.9]) == [1.0, 1.0]


def test_several_seeds_are_a_mean_with_a_wider_interval() -> None:
    stream = np.random.default_rng(0)
    before = stream.integers(0, 2, 300).astype(float).tolist()
    alike = paired_difference(before, *([1.0] * 300 for _ in range(3)))
    assert (alike.seeds, alike.mcnemar_p, alike.permutation_p) == (3, None, None)
    assert alike.mean == pytest.approx(1 - sum(before) / 300)
    one = paired_difference(before, [1.0] * 300)
    assert alike.high - alike.low == pytest.approx(one.high - one.low, rel=0.1)  # seeds that agree add nothing
    # Seeds whose gains are 0.1, 0.2 and 0.3 on every question: an error of 0.1 / sqrt(3), and t of two degrees of
    # freedom is 4.303
    difference = paired_difference([0.0] * 50, [0.1] * 50, [0.2] * 50, [0.3] * 50)
    assert (difference.low, difference.high) == pytest.approx((0.2 - 0.2484, 0.2 + 0.2484), abs=0.01)
    assert difference.standard_error == pytest.approx(0.1 / math.sqrt(3), rel=0.03)


@pytest.mark.parametrize("num_seeds", [2, 4])
def test_the_interval_over_seeds_covers_what_it_says(num_seeds: int) -> None:
    stream = np.random.default_rng(num_seeds)
    held = 0
    for trial in range(100):
        of_seed = stream.normal(0, 0.06, (num_seeds, 1))
        drawn = stream.choice([-1.0, 0.0, 1.0], p=[0.1, 0.8, 0.1], size=(1, 60)) + of_seed
        _, reach = two_level_error(drawn, seed=trial)
        held += abs(drawn.mean()) <= reach
    assert held >= 88  # of 100, 95 are expected; by drawing seeds alone some 75 of two would be


def test_pairing_is_worth_what_the_two_sides_share() -> None:
    # equal on all but one of 100 questions: alone each side has an error of 0.05
    before = [1.0, 0.0] * 50
    difference = paired_difference(before, [1.0, 1.0, *before[2:]])
    assert difference.unpaired_standard_error == pytest.approx(math.sqrt(0.25 / 99 + 0.2499 / 99), rel=1e-3)
    assert difference.standard_error == pytest.approx(0.01, rel=0.01)


def test_sign_flips_of_thirds_count_what_ties_with_what_was_seen() -> None:
    # Thirds: 10 up, 6 down, one by 3/3; seen 7 thirds. All 2^17 patterns: by convolution.
    sums = {0: 1.0}
    for size in [1] * 16 + [3]:
        sums = {
            total: sum(sums.get(total - step, 0) / 2 for step in (size, -size))
            for total in {one + step for one in sums for step in (size, -size)}
        }
    exact = sum(share for total, share in sums.items() if abs(total) >= 7)
    assert sign_flip_p([1 / 3] * 10 + [-1 / 3] * 6 + [1.0]) == pytest.approx(exact, abs=0.01)


def test_equal_steps_in_floats_are_no_certainty() -> None:
    before = [0.0, 1 / 3, 2 / 3] * 10
    difference = paired_difference(before, [value + 1 / 3 for value in before])
    assert difference.high - difference.low > 0.1


@given(st.lists(st.integers(-4, 4), min_size=1, max_size=30))
def test_exchanged_the_interval_has_the_other_sign(eighths: list[int]) -> None:
    differences = [value / 8 for value in eighths]
    nothing = [0.0] * len(differences)
    there, back = paired_difference(nothing, differences), paired_difference(differences, nothing)
    turned = [-difference for difference in differences]
    if sorted(turned) != sorted(differences):  # of symmetric ones the draws are not
        assert (there.low, there.high) == (-back.high, -back.low)
    assert (there.mean, there.permutation_p) == (-back.mean, back.permutation_p)
