"""Metrics against hand-worked cases, properties, and the fixture of real model outputs."""

import doctest
import gzip
import json
import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

import markscheme.benchmarks.findings
import markscheme.benchmarks.metrics
from markscheme.benchmarks.findings import LEVELS, MAX_GROUPS, findings, group_names, group_of, values_by_metric
from markscheme.benchmarks.metrics import (
    bootstrap_interval,
    constant_guess_floor,
    majority_at_k,
    mean_and_standard_error,
    pass_at_k,
    sampling_share,
    wilson_interval,
)
from markscheme.benchmarks.outcomes import GradedCompletion, ProblemOutcome
from markscheme.benchmarks.votes import Vote
from markscheme.problems import Problem
from markscheme.scoring import Outcome, Score

FIXTURE = Path(__file__).parents[3] / "shared/data/model_outputs/math_test_100x8.jsonl.gz"


def test_docstring_examples() -> None:
    assert doctest.testmod(markscheme.benchmarks.metrics).failed == 0
    assert doctest.testmod(markscheme.benchmarks.findings).failed == 0


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


def _majority_by_enumeration(labels: list[str | None], correct: list[bool], k: int) -> float:
    total, subsets = 0.0, list(combinations(labels, k))
    rights = {label: [right for one, right in zip(labels, correct, strict=True) if one == label] for label in labels}
    for subset in subsets:
        answers = [label for label in subset if label is not None]
        most = max((answers.count(answer) for answer in answers), default=0)
        winners = {answer for answer in answers if answers.count(answer) == most}
        total += sum(sum(rights[winner]) / len(rights[winner]) for winner in winners) / max(1, len(winners))
    return total / len(subsets)


LABELS = st.lists(st.sampled_from(["4", "5", "6", None]), min_size=1, max_size=8)
# Equal answers are not always judged alike: by a log's verdicts a class may be right in part.
GRADED = st.lists(st.tuples(st.sampled_from(["4", "5", "6", "7", "8", None]), st.booleans()), min_size=1, max_size=10)


@given(GRADED, st.data())
def test_majority_at_k_is_the_mean_over_all_subsets(graded: list[tuple[str | None, bool]], data: st.DataObject) -> None:
    labels, correct = map(list, zip(*graded, strict=True))
    k = data.draw(st.integers(1, len(labels)))
    expected = _majority_by_enumeration(labels, correct, k)
    assert majority_at_k(labels, correct, k) == pytest.approx(expected, rel=0, abs=1e-12)


@pytest.mark.parametrize("k", [1, 7, 64, 200, 255, 256])
def test_majority_at_k_of_many_samples(k: int) -> None:
    # Of 256 six have no vote. Of the v votes among k, "4" needs more than half, and a tie counts half.
    labels = ["4"] * 160 + ["5"] * 90 + [None] * 6
    expected = 0.0
    for v in range(max(0, k - 6), min(k, 250) + 1):
        of_4 = scipy.stats.hypergeom(250, 160, v)
        tie = of_4.pmf(v / 2) if v else 0
        expected += scipy.stats.hypergeom.pmf(v, 256, 250, k) * (of_4.sf(v // 2) + tie / 2)
    assert majority_at_k(labels, [label == "4" for label in labels], k) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("k", [2, 5, 64, 128])
def test_answers_that_are_alike_win_as_often(k: int) -> None:
    labels = [str(place % 32) for place in range(256)]
    assert majority_at_k(labels, [label == "3" for label in labels], k) == pytest.approx(1 / 32, abs=1e-12)


@given(st.integers(1, 5), st.integers(0, 4), st.data())
def test_a_certain_majority_is_exactly_one(num_wrong: int, num_silent: int, data: st.DataObject) -> None:
    # so that a metric of rights and wrongs is known for one: more than half of k are right whichever are drawn
    k = data.draw(st.integers(2 * num_wrong + num_silent + 1, 64))
    labels = [True] * 60 + ["5"] * num_wrong + [None] * num_silent
    if k <= len(labels):
        assert majority_at_k(labels, [label is True for label in labels], k) == 1
        assert majority_at_k(labels, [label == "5" for label in labels], k) == 0


@given(LABELS)
def test_majority_of_one_is_the_mean(labels: list[str | None]) -> None:
    correct = [label == "4" for label in labels]
    assert majority_at_k(labels, correct, 1) == pytest.approx(sum(correct) / len(correct))


@pytest.mark.parametrize(("labels", "k"), [(["4"], 1), (["4", "5"], 0)])
def test_majority_at_k_refuses_impossible_settings(labels: list[str], k: int) -> None:
    with pytest.raises(ValueError, match="as many labels as verdicts and k >= 1"):
        majority_at_k(labels, [True, False], k)


def test_majority_of_too_few_samples_is_not_a_number() -> None:
    assert math.isnan(majority_at_k(["4", "5"], [True, False], 3))


def test_standard_error_by_hand() -> None:
    # mean 2/3; squared distances 1/9, 1/9, 4/9 sum to 6/9; sd = sqrt(6/9 / 2) = 0.577; se = 0.577 / sqrt(3) = 1/3
    mean, standard_error = mean_and_standard_error([1.0, 1.0, 0.0])
    assert mean == pytest.approx(2 / 3)
    assert standard_error == pytest.approx(1 / 3)
    assert math.isnan(mean_and_standard_error([1.0])[1])


def test_sampling_share_by_hand() -> None:
    # within: (0.25 / 1 + 0.25 / 2 + 0 + 0) / 4 = 0.09375; the variance of the shares is (0 + 0 + 1/4 + 1/4) / 3 = 1/6
    assert sampling_share([0.5, 0.5, 0.0, 1.0], [2, 3, 8, 8]) == pytest.approx(0.5625)
    assert math.isnan(sampling_share([0.5, 0.5, 0.0, 1.0], [2, 3, 8, 1]))
    assert math.isnan(sampling_share([0.5, 0.5], [2, 3]))
    assert math.isnan(sampling_share([], []))
    with pytest.raises(ValueError, match="got 2 and 1"):
        sampling_share([0.5, 1.0], [2])


def test_sampling_share_is_what_more_samples_would_take_away() -> None:
    # mu uniform: Var(mu) = 1/12, E[mu (1 - mu)] = 1/6; half the questions have 4 samples, half 8: E[1 / K] = 3/16
    stream = np.random.default_rng(0)
    num_samples = np.array([4, 8] * 20_000)
    shares = stream.binomial(num_samples, stream.random(40_000)) / num_samples
    within = 1 / 6 * 3 / 16
    expected = within / (1 / 12 + within)
    assert sampling_share(shares.tolist(), num_samples.tolist()) == pytest.approx(expected, abs=0.01)


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


SAME: dict[bool, list[Vote]] = {True: [True], False: ["5"]}


def outcome(
    name: str, *votes: Vote, unscored: int = 0, greedy: bool | None = None, meta: dict[str, Any] | None = None
) -> ProblemOutcome:
    """A problem whose samples vote so: True is right, None no answer."""

    def completion(k: int, vote: Vote, outcome: Outcome) -> GradedCompletion:
        score = Score(value=float(outcome is Outcome.CORRECT) if outcome.has_value else None, outcome=outcome)
        return GradedCompletion(
            kind="sampled", k=k, completion="", completion_tokens=1, finish_reason=None, score=score, vote=vote
        )

    ends: dict[Vote, Outcome] = {True: Outcome.CORRECT, None: Outcome.NO_ANSWER}
    sampled = [completion(k, vote, ends.get(vote, Outcome.INCORRECT)) for k, vote in enumerate(votes)]
    sampled += [completion(len(votes) + k, f"hard {k}", Outcome.UNDECIDED) for k in range(unscored)]
    first = None
    if greedy is not None:
        first = replace(completion(0, None, Outcome.CORRECT if greedy else Outcome.INCORRECT), kind="greedy")
    return ProblemOutcome(
        problem=Problem(id=name, question=name, gold="7", source="-", split="-", meta=meta or {}),
        greedy=first,
        sampled=tuple(sampled),
    )


def test_rights_and_wrongs_have_wilsons_interval_and_shares_a_bootstrap() -> None:
    outcomes = [outcome(f"p{k}", True, *SAME[k < 6] * 3, greedy=k < 7) for k in range(9)]
    metrics = findings(outcomes, 4)["metrics"]
    assert (metrics["greedy"]["low"], metrics["greedy"]["high"]) == wilson_interval(7, 9)
    assert (metrics["pass@4"]["low"], metrics["pass@4"]["high"]) == wilson_interval(9, 9)
    assert (metrics["cons@4"]["low"], metrics["cons@4"]["high"]) == wilson_interval(6, 9)
    assert (metrics["maj@4"]["low"], metrics["maj@4"]["high"]) == wilson_interval(6, 9)
    assert (metrics["pass@1"]["low"], metrics["pass@1"]["high"]) == bootstrap_interval([1.0] * 6 + [0.25] * 3)


def test_a_consensus_is_of_all_samples() -> None:
    outcomes = [outcome("whole", True, True, "5", "5"), outcome("short", True, True, True, unscored=1)]
    values = values_by_metric(outcomes, 4)
    assert set(values["pass@2"]) == {"whole", "short"}
    assert set(values["cons@4"]) == set(values["pass@4"]) == {"whole"}
    assert "cons@4" not in findings(outcomes[1:], 4)["metrics"]


def test_no_answer_is_no_different_answer() -> None:
    outcomes = [outcome("a", True, None, None, "5"), outcome("b", None, None), outcome("c", "5", "6", "5", unscored=1)]
    assert findings(outcomes, 4)["counts"]["sampled"]["distinct_answers"] == (2 + 0 + 3) / 3


def test_the_sampling_share_counts_the_scored_samples_of_each_problem() -> None:
    outcomes = [outcome("a", True, "5", unscored=2), outcome("b", True, "5", "6", True), outcome("c", *["5"] * 4)]
    # within: (0.25 / 1 + 0.25 / 3 + 0) / 3 = 1/9 of the variance (2 (1/6)^2 + (1/3)^2) / 2 = 1/12: more than all of it
    assert findings(outcomes, 4)["metrics"]["pass@1"]["sampling_share"] == 1
    wider = [*outcomes, outcome("d", *SAME[True] * 4), outcome("e", *["5"] * 4), outcome("f", *SAME[True] * 4)]
    # within: (1/4 + 1/12) / 6 = 1/18; shares 1/2, 1/2, 0, 0, 1, 1: variance 4 / 4 / 5 = 1/5
    assert findings(wider, 4)["metrics"]["pass@1"]["sampling_share"] == pytest.approx(5 / 18)
    assert findings([*wider, outcome("g", True, unscored=3)], 4)["metrics"]["pass@1"]["sampling_share"] is None


def test_the_first_column_that_is_there_names_the_group() -> None:
    def group(**meta: Any) -> str | None:
        return group_of(outcome("a", meta=meta).problem, LEVELS)

    assert group(steps=3, grade=2, level=1) == "1"
    assert group(steps=3, grade=2, level=None) == "2"
    assert group(steps=3) == "3"
    assert group(subject="algebra") is None


def test_groups_are_in_natural_order() -> None:
    assert group_names(["10", None, "9", "10", "1"]) == ["1", "9", "10"]
    assert group_names(["Level 10", "Level 2", "algebra", "3"]) == ["3", "Level 2", "Level 10", "algebra"]
    assert group_names(["1", "01", "001", "0001"]) == ["0001", "001", "01", "1"]  # not in the order of a set
    assert group_names(["9" * 10_000, "\N{ARABIC-INDIC DIGIT THREE}" * 10_000, "\u00b2"])  # no number is too long
    assert group_names([None]) == []


def test_too_many_groups_are_none() -> None:
    def levels(number: int) -> Sequence[str]:
        outcomes = [outcome(f"p{k}", True, meta={"level": k}) for k in range(number)]
        return list(findings(outcomes, 1)["by_group"].get("level", {}))

    assert levels(MAX_GROUPS) == [str(k) for k in range(MAX_GROUPS)]
    assert levels(MAX_GROUPS + 1) == []
    assert levels(1) == []


def test_a_group_has_the_metrics_of_its_problems_alone() -> None:
    places: list[dict[str, Any]] = [{"steps": 2, "type": "x"}, {"steps": 10, "type": "y"}, {"steps": 2}, {}]
    outcomes = [
        outcome(f"p{k}", True, *SAME[k % 3 > 0] * (4 if k == 5 else 3), unscored=k == 6, meta=places[k % 4])
        for k in range(20)
    ]
    found = findings(outcomes, 5)
    assert list(found["by_group"]) == ["level", "subject"]
    assert list(found["by_group"]["level"]) == ["2", "10"]
    for name, column in (("level", "steps"), ("subject", "type")):
        for group, metrics in found["by_group"][name].items():
            alone = [one for one in outcomes if str(one.problem.meta.get(column)) == group]
            assert metrics == findings(alone, 5)["metrics"]
    assert "cons@5" in found["by_group"]["level"]["10"]  # p5 alone has five samples
    assert "cons@5" not in found["by_group"]["level"]["2"]
