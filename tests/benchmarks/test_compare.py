"""Paired comparison, on evaluations written out by hand."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from markscheme.benchmarks.compare import compare
from markscheme.benchmarks.outcomes import Evaluation, GradedCompletion, Kind, ProblemOutcome
from markscheme.files import InputError
from markscheme.generation import FinishReason
from markscheme.problems import Problem
from markscheme.scoring import Outcome, Score

PROTOCOL: Mapping[str, Any] = {"greedy": True, "num_samples": 4, "temperature": 1.0, "scorer": "math 1"}
MARKS = {"+": Outcome.CORRECT, "-": Outcome.INCORRECT, "0": Outcome.NO_ANSWER, "?": Outcome.UNDECIDED}


def graded(mark: str, kind: Kind, k: int) -> GradedCompletion:
    outcome = MARKS[mark]
    value = float(outcome is Outcome.CORRECT) if outcome.has_value else None
    answer = {"+": "right", "-": "wrong"}.get(mark)
    return GradedCompletion(
        kind=kind,
        k=k,
        completion=f"so it is {answer}",
        completion_tokens=4,
        finish_reason=FinishReason.STOP,
        score=Score(value=value, outcome=outcome, answer=answer),
        vote={"+": True, "-": "wrong"}.get(mark),
    )


def evaluation(marks: Mapping[str, str], **protocol: Any) -> Evaluation:
    """`marks`: problem id -> one mark for the greedy completion, then one a sample."""
    outcomes = tuple(
        ProblemOutcome(
            problem=Problem(id=id_, question=f"What is {id_}?", gold="right", source="-", split="-"),
            greedy=None if line[0] == " " else graded(line[0], "greedy", 0),
            sampled=tuple(graded(mark, "sampled", k) for k, mark in enumerate(line[1:])),
        )
        for id_, line in marks.items()
    )
    return Evaluation(outcomes=outcomes, summary={"protocol": {**PROTOCOL, **protocol}, "fingerprint": "f"})


BEFORE = evaluation({"a": "-+---", "b": "+++--", "c": "----0", "d": "+++++"})
AFTER = evaluation({"a": "+++--", "b": "-++++", "c": "+--++", "d": "+++++"})


def changes(before: Evaluation, after: Evaluation) -> dict[str, tuple[float, float, float]]:
    return {
        change.metric: (change.before, change.after, change.difference.mean)
        for change in compare(before, after).changes
    }


def test_changes_by_hand() -> None:
    found = changes(BEFORE, AFTER)
    # pass@1 before: 1/4, 2/4, 0, 1: 1.75 / 4; after: 2/4, 1, 2/4, 1: 3 / 4
    assert found["greedy"] == (0.5, 0.75, 0.25)
    assert found["pass@1"] == pytest.approx((0.4375, 0.75, 0.3125))
    # pass@2 before: 1 - C(3,2)/C(4,2) = 1/2, 1 - 1/6, 0, 1; after: 1 - 1/6, 1, 1 - 1/6, 1
    assert found["pass@2"] == pytest.approx((7 / 12, 11 / 12, 1 / 3))
    assert found["pass@4"] == (0.75, 1.0, 0.25)
    # maj@4 before: 1:3 loses, 2:2 ties 1/2, nothing right, wins; after: tie, wins, tie, wins
    assert found["maj@4"] == pytest.approx((1.5 / 4, 3 / 4, 1.5 / 4))


def test_gained_and_lost_follow_the_greedy_verdicts() -> None:
    comparison = compare(BEFORE, AFTER)
    assert (comparison.gained, comparison.lost, comparison.verdict_metric) == (("a", "c"), ("b",), "greedy")
    assert comparison.changes[0].difference.mcnemar_p == 1  # 2 gained, 1 lost: 2 * (1 + 3) / 8, at most 1
    assert comparison.headline.metric == "pass@1"


def test_without_greedy_the_samples_tell() -> None:
    before = evaluation({"a": " +---", "b": " ++--"}, greedy=False)
    after = evaluation({"a": " ++--", "b": " +---"}, greedy=False)
    comparison = compare(before, after)
    assert (comparison.gained, comparison.lost, comparison.verdict_metric) == (("a",), ("b",), "pass@1")


def test_greedy_alone() -> None:
    before, after = evaluation({"a": "-"}, num_samples=0), evaluation({"a": "+"}, num_samples=0)
    comparison = compare(before, after)
    assert [change.metric for change in comparison.changes] == ["greedy"]
    assert comparison.headline.metric == "greedy"


def test_only_shared_problems_count() -> None:
    comparison = compare(BEFORE, evaluation({"d": "-----", "new": "+++++"}))
    assert [outcome.problem.id for outcome in comparison.before.outcomes] == ["d"]
    assert comparison.changes[0].difference.n == 1
    assert comparison.left_out == 4  # a, b, c before and new after


def test_problems_unscored_on_either_side_are_not_paired() -> None:
    comparison = compare(evaluation({"a": "?++++", "b": "-++++"}), evaluation({"a": "+++++", "b": "+++?+"}))
    by_name = {change.metric: change.difference for change in comparison.changes}
    assert by_name["greedy"].n == 1
    assert by_name["pass@1"].n == 2
    assert by_name["pass@4"].n == 1
    assert comparison.gained == ("b",)


@pytest.mark.parametrize(
    ("after", "message"),
    [
        (evaluation({"a": "+++++"}, temperature=0.7), r"temperature 1\.0 before, 0\.7 after"),
        (evaluation({"a": "+++++"}, scorer="math 2"), "'math 1' before, 'math 2' after"),
        (evaluation({"a": "+++++"}, top_p=0.9), r"top_p None before, 0\.9 after"),
        (evaluation({"z": "+++++"}), "share no problem"),
        (evaluation({"a": "?????"}), "no problem was scored in both"),
    ],
)
def test_what_cannot_be_compared_is_refused(after: Evaluation, message: str) -> None:
    with pytest.raises(InputError, match=message):
        compare(evaluation({"a": "+++++"}), after)


def test_one_id_for_two_problems_is_refused() -> None:
    outcome = AFTER.outcomes[0]
    other = Problem(id="a", question="Another?", gold="right", source="-", split="-")
    swapped: Sequence[ProblemOutcome] = (
        ProblemOutcome(problem=other, greedy=outcome.greedy, sampled=outcome.sampled),
        *AFTER.outcomes[1:],
    )
    with pytest.raises(InputError, match="a is not one problem in both"):
        compare(BEFORE, Evaluation(outcomes=tuple(swapped), summary=AFTER.summary))


def test_the_record_of_a_comparison_is_json() -> None:
    record = compare(BEFORE, AFTER).to_dict()
    assert record["num_problems"] == 4
    assert record["changes"][0]["difference"]["gained"] == 2
    assert record["constant_guess"] == {"answer": "right", "accuracy": 1.0}
