"""Paired comparison, on evaluations written out by hand."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from markscheme.benchmarks.comparison import compare
from markscheme.benchmarks.outcomes import Evaluation, GradedCompletion, Kind, ProblemOutcome
from markscheme.benchmarks.wording import measured, sensitivity, worst_group
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
        (evaluation({"a": "+++++"}, top_p=0.9), "not recorded before: top_p"),
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


def seed_of(marks: Mapping[str, str], number: int, **protocol: Any) -> Evaluation:
    """As another training seed would have made it."""
    one = evaluation(marks, **protocol)
    return Evaluation(outcomes=one.outcomes, summary={**one.summary, "fingerprint": f"seed {number}"})


def test_training_seeds_are_averaged() -> None:
    before = evaluation({"a": "-----", "b": "+++++"})
    seeds = [seed_of({"a": "+++++", "b": "+++++"}, 0), seed_of({"a": "-+---", "b": "-----"}, 1)]
    comparison = compare(before, *seeds)
    by_name = {change.metric: change for change in comparison.changes}
    # greedy after: (1 + 0) / 2 on a, (1 + 0) / 2 on b; pass@1: (1 + 1/4) / 2 and (1 + 0) / 2
    assert (by_name["greedy"].after, by_name["greedy"].difference.seeds) == (0.5, 2)
    assert by_name["pass@1"].after == pytest.approx((0.625 + 0.5) / 2)
    assert (comparison.gained, comparison.lost) == (("a",), ("b",))
    with pytest.raises(InputError, match="two of the training seeds have the same weights"):
        compare(before, seeds[0], seeds[0])


def test_different_settings_are_allowed_when_asked_for_and_named() -> None:
    before, after = evaluation({"a": "-----"}), evaluation({"a": "+++++"}, temperature=0.6)
    comparison = compare(before, after, different_settings=True)
    assert comparison.differences == ("temperature 1.0 before, 0.6 after",)
    assert comparison.to_dict()["differences"] == ["temperature 1.0 before, 0.6 after"]


def test_protocols_are_the_same_by_their_hash() -> None:
    same = {"hash": "1f", "name": "few-shot:2"}
    before = evaluation({"a": "-----"}, **same, form={"source": "here"}, note="")
    compare(before, evaluation({"a": "+++++"}, **same, form={"source": "there"}, note="moved"))
    with pytest.raises(InputError, match=r"protocol few-shot:2 \(1f\) before, few-shot:2 \(2e\) after"):
        compare(before, evaluation({"a": "+++++"}, hash="2e", name="few-shot:2", form={"source": "here"}, note=""))
    with pytest.raises(InputError, match="max_completion_tokens"):
        compare(before, evaluation({"a": "+++++"}, **same, form={"source": "here"}, note="", max_completion_tokens=9))


def test_levels_and_subjects_by_hand() -> None:
    places = {"a": ("Level 1", "Algebra"), "b": ("Level 1", "Geometry"), "c": ("Level 2", "Algebra")}

    def placed(marks: Mapping[str, str], number: int) -> Evaluation:
        one = seed_of(marks, number)
        outcomes = tuple(
            replace(
                outcome,
                problem=replace(
                    outcome.problem, meta=dict(zip(("level", "type"), places[outcome.problem.id], strict=True))
                ),
            )
            for outcome in one.outcomes
        )
        return Evaluation(outcomes=outcomes, summary=one.summary)

    comparison = compare(
        placed({"a": "-----", "b": "-++--", "c": "+++++"}, 0), placed({"a": "+++++", "b": "-++--", "c": "++++-"}, 1)
    )
    found = {(one.level, one.subject): (one.difference.n, one.difference.mean) for one in comparison.groups}
    assert found == {
        ("Level 1", None): (2, 0.5),  # 0 -> 1 and 1/2 -> 1/2
        ("Level 2", None): (1, -0.25),
        (None, "Algebra"): (2, 0.375),
        (None, "Geometry"): (1, 0.0),
        ("Level 1", "Algebra"): (1, 1.0),
        ("Level 1", "Geometry"): (1, 0.0),
        ("Level 2", "Algebra"): (1, -0.25),
    }
    assert all(one.adjusted_p == 1 for one in comparison.groups)  # so few problems show nothing
    assert worst_group(comparison).startswith("Lost most: Level 2, −25.0 points")


def test_without_levels_and_subjects_there_are_no_groups() -> None:
    comparison = compare(BEFORE, AFTER)
    assert comparison.groups == ()
    assert worst_group(comparison) == ""


def test_what_is_not_a_number_is_no_json() -> None:
    one = compare(evaluation({"a": "-----"}), evaluation({"a": "+++++"}))
    assert json.loads(json.dumps(one.to_dict(), allow_nan=False))["changes"][0]["difference"]["standard_error"] is None
    assert "nan" not in sensitivity(one)


def test_everything_gained_says_nothing_of_pairing() -> None:
    all_gained = compare(evaluation({"a": "-----", "b": "-----"}), evaluation({"a": "+++++", "b": "+++++"}))
    assert "Without pairing" not in sensitivity(all_gained)


def test_gained_and_lost_mind_no_rounding() -> None:
    # 3 of 5 before; 4 of 5 and 2 of 5 after, whose mean is 0.6 but for rounding
    before = evaluation({"a": " +++--"}, greedy=False, num_samples=5)
    seeds = [seed_of({"a": f" {marks}"}, k, greedy=False, num_samples=5) for k, marks in enumerate(("++++-", "++---"))]
    comparison = compare(before, *seeds)
    assert (comparison.gained, comparison.lost) == ((), ())


def test_levels_are_in_the_order_of_numbers() -> None:
    def leveled(number: int) -> Evaluation:
        one = seed_of({str(k): "+++++" for k in (10, 9, 1)}, number)
        outcomes = tuple(
            replace(outcome, problem=replace(outcome.problem, meta={"level": int(outcome.problem.id), "subject": None}))
            for outcome in one.outcomes
        )
        return Evaluation(outcomes=outcomes, summary=one.summary)

    assert [one.level for one in compare(leveled(0), leveled(1)).groups] == ["1", "9", "10"]


def test_problems_are_left_out_on_request() -> None:
    comparison = compare(BEFORE, AFTER, leave_out=["b", "d", "elsewhere"])
    assert [outcome.problem.id for outcome in comparison.before.outcomes] == ["a", "c"]
    assert (comparison.set_aside, comparison.left_out, comparison.lost) == (2, 0, ())
    assert "Left out on request: 2 problems." in measured(comparison)
    with pytest.raises(InputError, match="none of the 1 problems to leave out is in the evaluations"):
        compare(BEFORE, AFTER, leave_out=["z"])
    with pytest.raises(InputError, match="nothing remains to compare"):
        compare(BEFORE, AFTER, leave_out=["a", "b", "c", "d"])


def test_what_a_log_does_not_record_is_one_line() -> None:
    log, own = (
        evaluation({"a": "-----"}, name="log"),
        evaluation({"a": "+++++"}, name="plain", hash="1f", note="", form={}),
    )
    assert compare(log, own, different_settings=True).differences == (
        "name 'log' before, 'plain' after",
        "not recorded before: hash, form",
    )
    assert compare(own, log, different_settings=True).differences == (
        "name 'plain' before, 'log' after",
        "not recorded after: hash, form",
    )


def test_groups_are_corrected_among_their_own_kind() -> None:
    # 12 problems of each of 3 levels; by flipping signs p is 2/2^12 on the first, 2/2^6 on the second, 1 on the third.
    def leveled(marks: Sequence[Callable[[int], str]], number: int) -> Evaluation:
        one = seed_of({f"{level}/{k}": marks[level](k) for level in range(3) for k in range(12)}, number)
        outcomes = tuple(
            replace(outcome, problem=replace(outcome.problem, meta={"level": int(outcome.problem.id[0])}))
            for outcome in one.outcomes
        )
        return Evaluation(outcomes=outcomes, summary=one.summary)

    wrong, right = "-----", "+++++"
    before = leveled([lambda _: wrong, lambda _: wrong, lambda _: wrong], 0)
    after = leveled([lambda _: right, lambda k: right if k < 6 else wrong, lambda _: wrong], 1)
    first, second, third = compare(before, after).groups
    assert first.difference.permutation_p == pytest.approx(2 / 2**12)
    assert first.adjusted_p == pytest.approx(3 * 2 / 2**12)  # Holm: the least of three, times three
    assert second.adjusted_p == pytest.approx(2 * 2 / 2**6)
    assert third.adjusted_p == 1


def test_what_pairing_is_worth_by_hand() -> None:
    # 40 problems: 20 right on both sides, 10 wrong on both, 10 gained. Var of before 0.25 * 40/39, of after
    # 0.1875 * 40/39, of the difference 0.1875 * 40/39: (0.25 + 0.1875) / 0.1875 = 2.333 times as many problems.
    marks = {"both": ("+", "+", 20), "neither": ("-", "-", 10), "gained": ("-", "+", 10)}
    sides = [
        seed_of({f"{name}{k}": mark[side] for name, mark in marks.items() for k in range(mark[2])}, side, num_samples=0)
        for side in (0, 1)
    ]
    text = sensitivity(compare(*sides))
    assert "10 problems got better and 0 got worse (exact McNemar test: p = 0.002)" in text
    assert "Without pairing that would take 2.3 times as many problems." in text


def test_a_comparison_prints_its_table_and_its_sentence() -> None:
    comparison = compare(BEFORE, AFTER)
    lines = str(comparison).splitlines()
    [row] = [line for line in lines if "pass@1 " in line and "│" in line]
    assert [cell.strip() for cell in row.split("│")][1:5] == ["pass@1", "0.438", "0.750", "+31.2"]
    assert lines[-1].startswith("pass@1 ")
    assert lines[-1].endswith("n = 4, one training seed.")
    assert "\x1b" not in str(comparison)
    assert repr(comparison).startswith("<Comparison on 4 problems: greedy 0.500 -> 0.750, pass@1 0.438 -> 0.750")
    assert "\n" not in repr(comparison)


def test_problems_that_one_side_lacks_are_said_to_be_left_out() -> None:
    comparison = compare(BEFORE, evaluation({"a": "+++--", "c": "+--++"}))
    below = str(comparison).rpartition("┘\n")[2].splitlines()
    assert below[0] == "Left out: 2 problems that not all sides have."  # before what the figures say
    assert "Left out" not in str(compare(BEFORE, AFTER))
