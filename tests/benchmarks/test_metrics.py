"""Metrics against hand-worked cases, properties, and the fixture of real model outputs."""

import doctest
import gzip
import json
import math
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

import markscheme.benchmarks.metrics
from markscheme.benchmarks.metrics import (
    bootstrap_interval,
    constant_guess_floor,
    majority_at_k,
    mean_and_standard_error,
    pass_at_k,
    wilson_interval,
)

FIXTURE = Path(__file__).parents[3] / "shared/data/model_outputs/math_test_100x8.jsonl.gz"


def test_docstring_examples() -> None:
    assert doctest.testmod(markscheme.benchmarks.metrics).failed == 0


def test_pass_at_k_by_hand() -> None:
    # 5 samples, 2 right. Of the C(5,3) = 10 subsets of 3, only the C(3,3) = 1 of the three wrong ones fails.
    assert pass_at_k(5, 2, 3) == 1 - 1 / 10
    assert pass_at_k(5, 2, 1) == pytest.approx(2 / 5)
    assert pass_at_k(5, 0, 5) == 0
    assert pass_at_k(5, 3, 3) == 1  # two wrong ones cannot fill a subset of 3
    assert math.isnan(pass_at_k(4, 2, 5))


@pytest.mark.parametrize(("samples", "correct", "k"), [(4, 5, 1), (4, -1, 1), (4, 2, 0)])
def test_pass_at_k_refuses_impossible_counts(samples: int, correct: int, k: int) -> None:
    with pytest.raises(ValueError, match="needs 0 <= num_correct"):
        pass_at_k(samples, correct, k)


@given(st.integers(1, 12).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(1, n))))
def test_pass_at_k_is_the_share_of_subsets_with_a_right_one(case: tuple[int, int, int]) -> None:
    n, c, k = case
    subsets = list(combinations([True] * c + [False] * (n - c), k))
    assert pass_at_k(n, c, k) == pytest.approx(sum(map(any, subsets)) / len(subsets))


MAJORITY_CASES = [
    (["4", "4", "5"], [True, True, False], 3, 1.0, "two votes against one"),
    (["5", "5", "4"], [False, False, True], 3, 0.0, "outvoted"),
    (["4", "5"], [True, False], 2, 0.5, "a tie is shared"),
    (["4", "5", "6", "6", None], [True, False, False, False, False], 5, 0.0, "6 has two votes, 4 and 5 one each"),
    ([None, None, None, "4"], [False, False, False, True], 4, 1.0, "no answer has no vote: 4 wins alone"),
    ([None, None, "4"], [False, False, True], 2, 2 / 3, "the subset {None, None} of the three loses"),
    ([None, None], [False, False], 2, 0.0, "nothing answered"),
    # Subsets of 2 of {4, 4, 5}: {4,4} wins, {4,5} twice ties: (1 + 1/2 + 1/2) / 3.
    (["4", "4", "5"], [True, True, False], 2, 2 / 3, "average over the subsets"),
]


@pytest.mark.parametrize(("labels", "correct", "k", "expected", "reason"), MAJORITY_CASES)
def test_majority_at_k(labels: list[str | None], correct: list[bool], k: int, expected: float, reason: str) -> None:
    assert majority_at_k(labels, correct, k) == pytest.approx(expected), reason


def _majority_by_enumeration(labels: list[str | None], right: str, k: int) -> float:
    total, subsets = 0.0, list(combinations(labels, k))
    for subset in subsets:
        answers = [label for label in subset if label is not None]
        most = max((answers.count(answer) for answer in answers), default=0)
        winners = {answer for answer in answers if answers.count(answer) == most}
        total += (right in winners) / len(winners) if winners else 0
    return total / len(subsets)


LABELS = st.lists(st.sampled_from(["4", "5", "6", None]), min_size=1, max_size=8)


@given(LABELS, st.data())
def test_majority_at_k_is_the_mean_over_all_subsets(labels: list[str | None], data: st.DataObject) -> None:
    k = data.draw(st.integers(1, len(labels)))
    correct = [label == "4" for label in labels]
    assert majority_at_k(labels, correct, k) == pytest.approx(_majority_by_enumeration(labels, "4", k))


@given(LABELS)
def test_majority_of_one_is_the_mean(labels: list[str | None]) -> None:
    correct = [label == "4" for label in labels]
    assert majority_at_k(labels, correct, 1) == pytest.approx(sum(correct) / len(correct))


def test_majority_by_random_subsets_is_near_the_exact_one_and_repeatable() -> None:
    labels = [str(i % 9) for i in range(32)]
    correct = [label == "3" for label in labels]
    exact = majority_at_k(labels, correct, 8)
    drawn = majority_at_k(labels, correct, 8, max_tallies=5_000)
    assert drawn == majority_at_k(labels, correct, 8, max_tallies=5_000)
    assert 0 < abs(drawn - exact) < 0.02  # 3 standard errors of a share: 3 * 0.5 / sqrt(5000) = 0.021


def test_standard_error_by_hand() -> None:
    # mean 2/3; squared distances 1/9, 1/9, 4/9 sum to 6/9; sd = sqrt(6/9 / 2) = 0.577; se = 0.577 / sqrt(3) = 1/3
    mean, standard_error = mean_and_standard_error([1.0, 1.0, 0.0])
    assert mean == pytest.approx(2 / 3)
    assert standard_error == pytest.approx(1 / 3)
    assert math.isnan(mean_and_standard_error([1.0])[1])


def test_wilson_interval_by_hand() -> None:
    # 0 of 10: middle = reach = z^2/20, so the low end is 0 and the high end z^2/10 / (1 + z^2/10), z^2 = 3.8415
    low, high = wilson_interval(0, 10)
    assert low == 0
    assert high == pytest.approx(0.38415 / 1.38415, abs=1e-4)


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n))))
def test_wilson_interval_holds_the_share(case: tuple[int, int]) -> None:
    n, c = case
    low, high = wilson_interval(c, n)
    assert 0 <= low <= c / n + 1e-12
    assert c / n - 1e-12 <= high <= 1


@pytest.mark.parametrize("shape", ["shares", "rare", "both signs"])
def test_bootstrap_interval_is_that_of_scipy(shape: str) -> None:
    stream = np.random.default_rng(0)
    values = {
        "shares": stream.integers(0, 9, 300) / 8,
        "rare": (stream.random(300) < 0.02).astype(float),
        "both signs": stream.choice([-1.0, 0.0, 0.0, 0.0, 1.0, 1.0], 300),
    }[shape]
    theirs = scipy.stats.bootstrap((values,), np.mean, n_resamples=20_000, random_state=0).confidence_interval
    ours = bootstrap_interval(values.tolist(), bounds=(-1.0, 1.0))
    assert ours == pytest.approx((theirs.low, theirs.high), abs=0.05 * (theirs.high - theirs.low))


@settings(max_examples=25)
@given(st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), min_size=1, max_size=30))
def test_bootstrap_interval_holds_the_mean_and_stays_within_bounds(values: list[float]) -> None:
    low, high = bootstrap_interval(values)
    assert 0 <= low <= np.mean(values) + 1e-9
    assert np.mean(values) - 1e-9 <= high <= 1
    assert (low, high) == bootstrap_interval(values)


def test_constant_guess_floor() -> None:
    floor = constant_guess_floor(["12", " 7", "7 ", "3"])
    assert (floor.answer, floor.accuracy) == ("7", 0.5)


@given(st.lists(st.sampled_from("123"), min_size=1))
def test_no_constant_guess_beats_the_floor(golds: list[str]) -> None:
    floor = constant_guess_floor(golds)
    assert floor.accuracy == golds.count(floor.answer) / len(golds)
    assert all(golds.count(guess) / len(golds) <= floor.accuracy for guess in "1234")


@pytest.mark.skipif(not FIXTURE.exists(), reason="needs ../shared/data (100 MATH test problems, 8 samples each)")
def test_metrics_of_real_outputs() -> None:
    questions: dict[str, list[dict[str, object]]] = {}
    with gzip.open(FIXTURE, "rt", encoding="utf-8") as lines:
        for row in map(json.loads, lines):
            questions.setdefault(row["problem"], []).append(row)
    verdicts = [[bool(row["label"]) for row in rows] for rows in questions.values()]
    answers = [[str(row["pred"]) or None for row in rows] for rows in questions.values()]

    assert np.mean([question[0] for question in verdicts]) == pytest.approx(0.900)
    assert mean_and_standard_error([float(np.mean(question)) for question in verdicts])[0] == pytest.approx(0.910)
    for k, expected in ((1, 0.9100), (2, 0.932857), (4, 0.9510), (8, 0.9600)):
        assert np.mean([pass_at_k(8, sum(question), k) for question in verdicts]) == pytest.approx(expected, abs=1e-6)

    # Three questions tie at 8 votes (4:4, 2:2 and 4:4). Shared, each counts 1/2: 91 + 3/2 = 92.5 of 100. The
    # published 0.930 gives a tie to the answer that was sampled first, which is the right one in two of the three.
    votes = [majority_at_k(labels, rights, 8) for labels, rights in zip(answers, verdicts, strict=True)]
    assert np.mean(votes) == pytest.approx(0.925)
    assert votes.count(0.5) == 3
    first_of_the_tied = [
        rights[labels.index(max(labels, key=labels.count))] for labels, rights in zip(answers, verdicts, strict=True)
    ]
    assert np.mean(first_of_the_tied) == pytest.approx(0.930)
