"""Votes by what an answer says, not by how it is written."""

import json
import random
from collections.abc import Sequence
from itertools import combinations, permutations, product
from pathlib import Path
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from markscheme.benchmarks.metrics import consensus as consensus_of
from markscheme.benchmarks.metrics import majority_at_k
from markscheme.benchmarks.votes import MAX_SPELLINGS, Vote, votes_in_order, votes_of
from markscheme.files import read_jsonl
from markscheme.scoring import GoldError, Outcome, Sample, Score
from markscheme.verifiers import MathVerifier


def scored(*completions: str, gold: str = "7") -> list[Score]:
    return MathVerifier().score([Sample(prompt="?", completion=text, gold=gold) for text in completions])


def votes(*answers: str) -> list[Vote]:
    return votes_of(MathVerifier(), ["?"], [scored(*(rf"\boxed{{{answer}}}" for answer in answers))])[0]


def wrong(*answers: str | None) -> list[Score]:
    return [Score(value=0.0, outcome=Outcome.INCORRECT, answer=answer) for answer in answers]


class Told:
    """Says CORRECT where it was told so of (prompt, answer, gold), else one thing, and remembers what it was asked."""

    name, version = "told", "1"

    def __init__(self, *equal: tuple[str, str, str], otherwise: Outcome = Outcome.INCORRECT) -> None:
        self.equal = {(prompt, rf"\boxed{{{answer}}}", gold) for prompt, answer, gold in equal}
        self.otherwise = otherwise
        self.asked: list[Sample] = []

    def score(self, samples: Sequence[Sample]) -> list[Score]:
        self.asked += samples
        other = Score(value=0.0 if self.otherwise.has_value else None, outcome=self.otherwise)
        return [
            Score(value=1.0, outcome=Outcome.CORRECT)
            if (sample.prompt, sample.completion, sample.gold) in self.equal
            else other
            for sample in samples
        ]


@pytest.mark.parametrize(
    ("answers", "same"),
    [
        ((r"\frac{1}{2}", "0.5"), True),
        (("1/2", r"\frac12"), True),
        (("3", "3.0"), True),
        (("3", "4"), False),
        (("x+1", "1+x"), True),
        (("x+1", "x-1"), False),
        (("(1, 2)", r"\left(1,2\right)"), True),
        (("blue", "green"), False),
    ],
)
def test_equal_answers_vote_for_the_same(answers: tuple[str, str], same: bool) -> None:
    one, other = votes(*answers)
    assert (one == other) is same


def test_what_is_right_votes_as_one_and_no_answer_not_at_all() -> None:
    found = votes_of(MathVerifier(), ["?"], [scored(r"\boxed{7}", r"\boxed{\frac{14}{2}}", "who knows", r"\boxed{8}")])
    assert found == [[True, True, None, "8"]]


def test_many_ways_to_write_one_number_are_one_vote() -> None:
    assert len(set(votes("0.5", r"\frac{1}{2}", "2/4", "1/2"))) == 1


@pytest.mark.parametrize("answers", list(permutations(["50", r"50\%", "0.5"])))
def test_what_equals_two_that_differ_does_not_bring_them_together(answers: Sequence[str]) -> None:
    # 50\% is equal to both; of the pairs in the order of texts (0.5, 50), (0.5, 50\%), (50, 50\%) it joins the second
    found = dict(zip(answers, votes(*answers), strict=True))
    assert found == {"50": "50", r"50\%": "0.5", "0.5": "0.5"}


@given(st.sets(st.sampled_from(list(combinations("abcdef", 2)))), st.permutations("aabcdeff"))
def test_classes_are_cliques_that_cannot_be_joined(equal: set[tuple[str, str]], answers: list[str]) -> None:
    found = votes_of(Told(*(("?", *pair) for pair in equal)), ["?"], [wrong(*answers)])[0]
    in_order = votes_of(Told(*(("?", *pair) for pair in equal)), ["?"], [wrong(*sorted(answers))])[0]
    classes: dict[Vote, set[str]] = {}
    for answer, vote in zip(answers, found, strict=True):
        classes.setdefault(vote, set()).add(answer)
    assert dict(zip(answers, found, strict=True)) == dict(zip(sorted(answers), in_order, strict=True))
    assert all(equal.issuperset(combinations(sorted(members), 2)) for members in classes.values())
    for ours, theirs in combinations(classes.values(), 2):
        assert not equal.issuperset(tuple(sorted(pair)) for pair in product(ours, theirs))


@pytest.mark.parametrize(("answer", "gold"), [("a", "b"), ("b", "a")])
def test_one_direction_is_enough(answer: str, gold: str) -> None:
    assert votes_of(Told(("?", answer, gold)), ["?"], [wrong("b", "a")]) == [["a", "a"]]


def test_answers_are_compared_under_the_question_of_their_own_problem() -> None:
    scorer = Told(("in dollars", "a", "b"))
    problems = ["in cents", "in dollars"]
    assert votes_of(scorer, problems, [wrong("a", "b"), wrong("a", "b")]) == [["a", "b"], ["a", "a"]]
    assert votes_of(scorer, problems[::-1], [wrong("a", "b"), wrong("a", "b")]) == [["a", "a"], ["a", "b"]]
    mixed = votes_in_order(scorer, [1, 0, 1, 0], [problems[place] for place in (1, 0, 1, 0)], wrong("b", "b", "a", "a"))
    assert mixed == ["a", "b", "a", "a"]


@pytest.mark.parametrize("outcome", [Outcome.UNDECIDED, Outcome.FAILED])
def test_a_pair_that_is_undecided_is_not_equal(outcome: Outcome) -> None:
    scorer = Told(("?", "b", "c"), otherwise=outcome)
    assert votes_of(scorer, ["?"], [wrong("a", "b", "c")]) == [["a", "b", "b"]]


@pytest.mark.parametrize("outcome", [Outcome.UNDECIDED, Outcome.FAILED])
def test_what_was_not_scored_is_not_compared(outcome: Outcome) -> None:
    hard = [Score(value=None, outcome=outcome, answer=answer) for answer in ("a", "b", "d ", None, None)]
    scorer = Told(("?", "a", "b"), ("?", "a", "c"), ("?", "b", "c"), ("?", "b", "d"))
    found = votes_of(scorer, ["?"], [[*hard, *wrong("c", "d")]])[0]
    assert {sample.gold for sample in scorer.asked} == {"c", "d"}
    assert found[:3] + found[5:] == ["a", "b", "d", "c", "d"]  # the same text is the same vote
    assert len(set(found)) == 6


def test_a_text_votes_with_its_class_though_one_sample_was_not_scored() -> None:
    undecided = Score(value=None, outcome=Outcome.UNDECIDED, answer="b")
    assert votes_of(Told(("?", "a", "b")), ["?"], [[undecided, *wrong("a", "b")]]) == [["a", "a", "a"]]


def test_answers_that_nobody_can_read_vote_by_their_text() -> None:
    class Fussy:
        """Reads golds of digits only."""

        name, version = "fussy", "1"

        def score(self, samples: Sequence[Sample]) -> list[Score]:
            for sample in samples:
                if not str(sample.gold).isdigit():
                    raise GoldError(f"no digits: {sample.gold}")
            return [Score(value=0.0, outcome=Outcome.INCORRECT, answer="?") for _ in samples]

    answers = wrong("cat", "cat ", "dog", "5")
    assert votes_of(Fussy(), ["?"], [answers]) == [["cat", "cat", "dog", "5"]]


NAMES = st.none() | st.sampled_from(["unnamed", "unnamed 0", "unnamed 1", " unnamed 1", "unnamed  2", "0", "1", ""])


@given(st.lists(NAMES, max_size=6))
def test_wrong_answers_without_a_name_agree_with_none(answers: list[str | None]) -> None:
    found = votes_of(Told(), ["?"], [wrong(*answers)])[0]
    named = {" ".join(answer.split()) for answer in answers if answer is not None}
    assert all(isinstance(vote, str) for vote in found)
    assert len(set(found)) == len(named) + answers.count(None)
    assert {vote for answer, vote in zip(answers, found, strict=True) if answer is not None} == named


def test_votes_go_through_json() -> None:
    scores = [*scored(r"\boxed{7}", "who knows", r"\boxed{8}", r"\boxed{True}"), *wrong(None, "null", "true")]
    found = votes_of(Told(), ["?"], [scores])[0]
    assert json.loads(json.dumps(found)) == found
    assert len(set(found)) == 7  # nothing that reads alike is taken for the same


def test_plain_numbers_are_compared_by_value_alone() -> None:
    scorer = Told(("?", "3", "4"))
    assert votes_of(scorer, ["?"], [wrong("3", "4", "3.0", "-3", "03")]) == [["03", "4", "03", "-3", "03"]]
    assert not scorer.asked


def test_many_spellings_are_told_apart_by_their_text() -> None:
    answers = [f"x+{k}" for k in range(60)]
    assert len(set(votes(*answers, "x + 3"))) == 61  # would be 60 if they were compared
    assert len(set(votes(*(str(k) for k in range(10, 70)), "12.0"))) == 60  # plain numbers cost nothing
    names = [f"x{k}" for k in range(MAX_SPELLINGS + 1)]
    scorer = Told(*(("?", *pair) for pair in combinations(names, 2)))
    assert len(set(votes_of(scorer, ["?"], [wrong(*names[:-1])])[0])) == 1
    scorer.asked.clear()
    assert votes_of(scorer, ["?"], [wrong(*names)]) == [names]
    assert not scorer.asked


@pytest.mark.parametrize(
    ("column", "majority", "consensus"),
    # Of 100 problems three tie at 8 votes: shared, each counts 1/2. Given to the answer that was sampled first, as the
    # published 0.930 has it, two are right. By the reviewed labels one problem more is won.
    [("label", 0.925, 0.930), ("label_reviewed", 0.935, 0.940)],
)
@pytest.mark.parametrize("shuffled", [False, True])
def test_majorities_of_real_outputs(
    shared_data: Path, column: str, majority: float, consensus: float, shuffled: bool
) -> None:
    rows = [row for _, row in read_jsonl(shared_data / "model_outputs/math_test_100x8.jsonl.gz")]
    if shuffled:
        random.Random(0).shuffle(rows)
        rows.sort(key=lambda row: int(row["id"].rpartition("-")[2]))  # the number of the sample is not lost
    problems: dict[str, list[Score]] = {}
    for row in rows:
        outcome = Outcome.CORRECT if row[column] else Outcome.INCORRECT
        score = Score(value=float(row[column]), outcome=outcome, answer=row["pred"])
        problems.setdefault(row["problem"], []).append(score)
    votes = votes_of(MathVerifier(), list(problems), list(problems.values()))
    rights = [[bool(score.correct) for score in of_one] for of_one in problems.values()]
    assert fmean(map(majority_at_k, votes, rights, [8] * 100)) == pytest.approx(majority, abs=1e-12)
    assert fmean(map(consensus_of, votes, rights)) == pytest.approx(consensus, abs=1e-12)
