"""Figures of process models, worked out by hand."""

import math
from collections.abc import Sequence
from pathlib import Path
from zlib import crc32

import pytest

from markscheme.files import InputError
from markscheme.reward_models import LabelledSteps, load_steps
from markscheme.reward_models.bootstrap import figure
from markscheme.reward_models.first_error import (
    NONE,
    JudgedSolution,
    best_guess,
    best_threshold,
    evaluate_first_errors,
)
from markscheme.reward_models.process_evaluation import evaluate_values
from markscheme.reward_models.steps import whole_solutions


def judged(error: int, *good: float | None, num_steps: int | None = None, group: str = "a") -> JudgedSolution:
    return JudgedSolution(group=group, error=error, num_steps=num_steps or len(good), good=good)


def test_the_first_step_below_the_threshold_is_named() -> None:
    assert judged(1, 0.9, 0.2, 0.1).named(0.5) == 1
    assert judged(1, 0.9, 0.5).named(0.5) == NONE
    assert judged(1, 0.9, None, 0.1).named(0.5) is None, "the second one may be wrong"
    assert judged(1, 0.2, None).named(0.5) == 0


# At 0.5: the first is found, the second is not; the third is spared, the fourth is blamed for its first step.
FOUR = [judged(1, 0.9, 0.2), judged(0, 0.8), judged(NONE, 0.9, 0.7), judged(NONE, 0.4)]


def test_f1_by_hand() -> None:
    # 0.5: one of two found, one of two spared, F1 = 2 * 0.5 * 0.5 / (0.5 + 0.5) = 0.5
    # 0.3: one found, two spared: 2 * 0.5 * 1 / 1.5 = 2/3; 0.85: both found, none spared: 0
    for threshold, found, spared, f1 in ((0.5, 0.5, 0.5, 0.5), (0.3, 0.5, 1.0, 2 / 3), (0.85, 1.0, 0.0, 0.0)):
        evaluation = evaluate_first_errors(FOUR, threshold)
        assert evaluation is not None
        model = evaluation.model
        assert (model.found, model.spared, model.f1.value) == pytest.approx((found, spared, f1))
        assert (evaluation.num_wrong, evaluation.num_right, evaluation.num_questions) == (2, 2, 1)
        assert evaluation.at_half.f1.value == 0.5


def test_what_is_too_long_to_tell_counts_as_missed() -> None:
    evaluation = evaluate_first_errors([*FOUR, judged(NONE, 0.9, None)], 0.3)
    assert evaluation is not None
    assert (evaluation.model.num_undecided, evaluation.at_half.num_undecided) == (1, 1)
    assert evaluation.model.spared == pytest.approx(2 / 3)


def test_one_who_says_the_same_of_all_has_no_f1() -> None:
    wrong, right = judged(0, 0.9), judged(NONE, 0.9)
    for threshold in (0.0, 1.0):
        evaluation = evaluate_first_errors([wrong, right], threshold)
        assert evaluation is not None
        assert evaluation.model.f1.value == 0
    assert evaluate_first_errors([right, right]) is None
    assert evaluate_first_errors([wrong, wrong]) is None


def test_the_best_threshold_lies_between_wrong_and_right() -> None:
    several = [judged(1, 0.98, 0.9), judged(0, 0.91), judged(NONE, 0.97, 0.96), judged(NONE, 0.95, 0.99)]
    assert 0.91 < best_threshold(several) <= 0.95
    assert best_threshold(several[:2]) == 0.5, "without right ones there is nothing to choose by"
    assert best_threshold([judged(0, None), judged(NONE, None)]) == 0.5


def test_the_best_guess_knows_places_and_lengths_only() -> None:
    long = [judged(2, 0.5, 0.5, 0.5, num_steps=5) for _ in range(3)]
    short = [judged(NONE, 0.5, 0.5) for _ in range(3)]
    named = best_guess([*long, *short])
    assert [named(one) for one in [*long, *short]] == [2, 2, 2, NONE, NONE, NONE]
    last = [judged(k - 1, 0.5, num_steps=k) for k in (4, 5, 6)]
    assert [best_guess([*last, *short])(one) for one in (*last, *short)] == [3, 4, 5, NONE, NONE, NONE]


def test_the_threshold_is_learned_from_other_questions() -> None:
    # In one half of the questions 0.7 parts wrong from right, in the other 0.07. Each half's own threshold would be
    # right about all; the other's blames every solution of the one half, and spares every one of the other.
    solutions = []
    for group in map(str, range(40)):
        scale = 0.1 if crc32(group.encode()) % 2 else 1.0
        solutions += [judged(0, 0.5 * scale, group=group), judged(NONE, 0.9 * scale, group=group)]
    evaluation = evaluate_first_errors(solutions)
    assert evaluation is not None
    num_low = sum(crc32(group.encode()) % 2 for group in map(str, range(40)))
    assert evaluation.threshold is None
    assert (evaluation.model.found, evaluation.model.spared) == pytest.approx((num_low / 40, 1 - num_low / 40))


def test_an_interval_is_over_questions() -> None:
    """The same answers twice in a question say no more than once."""
    once = [judged(0, 0.2 + 0.6 * (k % 2), group=f"q{k}") for k in range(20)]
    once += [judged(NONE, 0.8 - 0.6 * (k % 3 == 0), group=f"q{k}") for k in range(20)]
    one, two = evaluate_first_errors(once, 0.5), evaluate_first_errors([*once, *once], 0.5)
    assert one is not None
    assert two is not None
    assert one.model.f1 == two.model.f1
    assert one.model.f1.low < one.model.f1.value < one.model.f1.high


def test_where_all_resamples_agree_the_interval_is_what_so_many_questions_can_exclude() -> None:
    # 1 - 0.025^(1/10) = 0.3085
    found = figure(10, lambda times_RQ: times_RQ[:, 0] * 0 + 1.0)
    assert (found.value, found.high) == (1.0, 1.0)
    assert found.low == pytest.approx(0.6915, abs=1e-4)


def solution(labels: Sequence[float | None], question: str = "q?", steps: Sequence[str] = "abcdefg") -> LabelledSteps:
    return LabelledSteps(prompt=question, steps=tuple(steps[: len(labels)]), labels=tuple(labels), id="x")


def test_step_figures_by_hand() -> None:
    # Five steps have a label, four of them a value: good ones 2 and 1, wrong ones -1 and 1. On the right side of 0 are
    # all but the last. A good one is above a wrong one in 2 > -1, 2 > 1 and 1 > -1, and 1 = 1 counts one half.
    solutions = [solution([1.0, 0.0]), solution([0.75, 0.25], "r?"), solution([None, 1.0], "s?")]
    evaluation = evaluate_values(solutions, [[2.0, -1.0], [1.0, 1.0], [3.0, None]], threshold=0.5)
    assert (evaluation.num_steps, evaluation.num_unscored, evaluation.num_questions) == (5, 1, 2)
    assert evaluation.accuracy.value == 0.75
    assert evaluation.always_good.value == 0.5
    assert evaluation.auc is not None
    assert evaluation.auc.value == 3.5 / 4
    assert evaluation.accuracy.low <= 0.75 <= evaluation.accuracy.high
    log = math.log1p
    expected = (log(math.exp(-2)) + log(math.exp(-1)) + log(math.exp(-1)) + log(math.exp(1))) / 4
    assert evaluation.calibration.as_trained.nll == pytest.approx(expected)


def test_places_are_learned_from_other_questions() -> None:
    """In each place all steps are alike, so that places tell everything."""
    solutions = [solution([1.0, 1.0, 0.0], f"q{k}?") for k in range(30)]
    evaluation = evaluate_values(solutions, [[0.0, 0.0, 0.0]] * 30, threshold=0.5)
    assert evaluation.by_position.value == 1.0
    assert evaluation.always_good.value == pytest.approx(2 / 3)
    assert evaluation.auc is not None
    assert evaluation.auc.value == 0.5
    assert evaluation.first_errors is None, "all of them have an error"


def test_steps_of_which_none_was_read_are_no_figure() -> None:
    with pytest.raises(InputError, match="none of the 2 labelled steps could be read"):
        evaluate_values([solution([1.0, 0.0])], [[None, None]])


def test_labels_of_other_rows_make_solutions_whole() -> None:
    rows = [
        solution([1.0]),
        solution([None, 1.0]),
        solution([None, None, 0.0]),
        solution([None, None, 1.0], steps="abx"),
        solution([None, 1.0], steps="yz"),  # of the first step nothing is known
        solution([1.0, 0.0, None], "r?"),
        solution([None, 1.0], "r?"),  # its first step is known, but it is a beginning of the one before
    ]
    assert [(one.steps, one.labels) for one in whole_solutions(rows)] == [
        (("a", "b", "c"), (1.0, 1.0, 0.0)),
        (("a", "b", "x"), (1.0, 1.0, 1.0)),
        (("a", "b", "c"), (1.0, 0.0, None)),
    ]
    # and so the probabilities of other rows are those of a whole one's steps: 0.5, 0.73, 0.27
    evaluation = evaluate_values(rows[:4], [[0.0], [None, 1.0], [None, None, -1.0], [None, None, 4.0]], threshold=0.4)
    assert evaluation.first_errors is not None
    assert (evaluation.first_errors.model.found, evaluation.first_errors.model.spared) == (1.0, 1.0)


@pytest.mark.parametrize(("name", "num", "num_right"), [("gsm8k", 400, 193), ("math", 1000, 406)])
def test_process_bench_is_whole(shared_data: Path, name: str, num: int, num_right: int) -> None:
    whole = whole_solutions(load_steps(shared_data / "processbench" / f"{name}.jsonl.gz"))
    assert (len(whole), sum(one.first_error is None for one in whole)) == (num, num_right)
