import gzip
import itertools
import json
import math
from pathlib import Path
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from markscheme.benchmarks.best_of_n import Choice, best_of_n, best_of_n_figure, sample_counts
from markscheme.benchmarks.metrics import best_of_k, best_of_k_divergence, pass_at_k

DATA = Path(__file__).parents[3] / "shared" / "data" / "model_outputs" / "math_test_100x8.jsonl.gz"


@pytest.mark.parametrize(
    ("values", "correct", "k", "expected", "reason"),
    [
        ([0.1, 0.9, 0.5], [True, False, True], 1, 2 / 3, "one sample: the mean"),
        ([0.1, 0.9, 0.5], [True, False, True], 2, 1 / 3, "subsets {1,3} right, {1,2} and {2,3} wrong"),
        ([0.1, 0.9, 0.5], [True, False, True], 3, 0.0, "the best of all is wrong"),
        ([1.0, 1.0], [True, False], 2, 0.5, "a tie shares the win"),
        ([1.0, 1.0, 0.0], [True, False, True], 2, 0.5, "{1,2} a tie, 0.5; {1,3} right, 1; {2,3} wrong, 0"),
        ([2.0, 1.0], [True, False], 3, math.nan, "fewer than k"),
    ],
)
def test_best_of_k_by_hand(values: list[float], correct: list[bool], k: int, expected: float, reason: str) -> None:
    assert best_of_k(values, correct, k) == pytest.approx(expected, nan_ok=True), reason


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), min_size=1, max_size=7), st.integers(1, 7))
def test_it_is_the_mean_over_all_subsets(samples: list[tuple[int, bool]], k: int) -> None:
    if k > len(samples):
        return
    shares = []
    for subset in itertools.combinations(samples, k):
        best = [right for value, right in subset if value == max(value for value, _ in subset)]
        shares.append(fmean(best))
    found = best_of_k([float(value) for value, _ in samples], [right for _, right in samples], k)
    # Ties of more samples than are in a subset: by symmetry each of them is as likely to be in it.
    assert found == pytest.approx(fmean(shares))


def test_a_perfect_scorer_reaches_the_oracle() -> None:
    correct = [True, False, False, True, False]
    for k in range(1, 6):
        assert best_of_k([float(one) for one in correct], correct, k) == pytest.approx(pass_at_k(5, 2, k))


def test_divergence_by_hand() -> None:
    # k = 4: log 4 - 3/4 = 1.386294 - 0.75
    assert best_of_k_divergence(1) == 0
    assert best_of_k_divergence(4) == pytest.approx(0.636294, abs=1e-6)


def choices(problem: str, values: list[float], correct: list[bool]) -> list[Choice]:
    return [
        Choice(problem=problem, value=value, correct=right, label=True if right else str(k))
        for k, (value, right) in enumerate(zip(values, correct, strict=True))
    ]


def test_curves_are_means_over_problems_of_the_common_size() -> None:
    found = best_of_n(
        [
            *choices("a", [3.0, 2.0, 1.0, 0.0], [True, False, False, False]),
            *choices("b", [3.0, 2.0, 1.0, 0.0], [False, False, False, True]),
            *choices("few", [1.0], [True]),
        ]
    )
    assert (found.num_problems, found.num_samples, found.left_out) == (2, 4, 1)
    # a: best of k is right whenever its first is drawn, k/4; b: only if its last is drawn alone
    assert {k: one.mean for k, one in found.best.items()} == pytest.approx({1: 0.25, 2: 0.25, 4: 0.5})
    assert {k: one.mean for k, one in found.oracle.items()} == pytest.approx({1: 0.25, 2: 0.5, 4: 1.0})
    assert found.best[4].low <= 0.5 <= found.best[4].high
    assert best_of_n_figure(found, "model").axes


def test_no_problem_with_so_many_samples_is_an_error() -> None:
    with pytest.raises(ValueError, match="none of 1 problems has 5 samples"):
        best_of_n(choices("a", [1.0, 2.0], [True, False]), num_samples=5)
    with pytest.raises(ValueError, match="none of 0 problems"):
        best_of_n([])


def test_counts_double_and_end_at_n() -> None:
    assert [sample_counts(n) for n in (1, 2, 5, 8)] == [[1], [1, 2], [1, 2, 4, 5], [1, 2, 4, 8]]


@pytest.mark.skipif(not DATA.exists(), reason="needs ../shared/data")
def test_the_figures_of_a_published_reward_model() -> None:
    rows = [json.loads(line) for line in gzip.decompress(DATA.read_bytes()).splitlines()]
    found = best_of_n(
        [
            Choice(
                problem=row["problem"],
                value=row["reward_model_score"],
                correct=row["label"],
                label=True if row["label"] else row["pred"],
            )
            for row in rows
        ]
    )
    assert (found.num_problems, found.num_samples) == (100, 8)
    assert found.best[8].mean == pytest.approx(0.94, abs=1e-12)
    assert found.oracle[1].mean == pytest.approx(0.91, abs=1e-12)
    assert found.oracle[8].mean == pytest.approx(0.96, abs=1e-12)
