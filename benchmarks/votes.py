"""What each of several answers to a problem votes for: equal answers vote for the same, however they are written."""

import re
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, combinations

from markscheme.scoring import GoldError, Outcome, Sample, Score, Scorer

MAX_SPELLINGS = 40  # of wrong answers to a problem; more are told apart by their text: 40 are 1,560 comparisons
MAX_DIGITS = 50
_PLAIN_NUMBER = re.compile(rf"-?[0-9]{{1,{MAX_DIGITS}}}(?:\.[0-9]{{1,{MAX_DIGITS}}})?")

Vote = Hashable | None
"""None for no answer; True for a right one; else a text, the same for all answers that are equal."""


@dataclass(frozen=True, slots=True)
class _Question:
    """Two spellings of an answer to one problem, of which the second is to be the gold."""

    group: int
    answer: str
    gold: str


def votes_of(scorer: Scorer, prompts: Sequence[str], scores: Sequence[Sequence[Score]]) -> list[list[Vote]]:
    """
    Args:
        scorer: a verifier, which is asked whether one wrong answer equals another as if that were the gold.
        prompts: the question of each problem.
        scores: of the samples of each problem.

    Returns:
        For each problem, what each of its samples votes for. It does not depend on the order of the samples.
    """
    spellings = [
        sorted({_spelling(score.answer) for score in of_one if not score.correct and score.answer is not None})
        for of_one in scores
    ]
    questions = [
        question
        for group, texts in enumerate(spellings)
        if len(texts) <= MAX_SPELLINGS
        for one, other in combinations(texts, 2)
        if not (_PLAIN_NUMBER.fullmatch(one) and _PLAIN_NUMBER.fullmatch(other))
        for question in (_Question(group, one, other), _Question(group, other, one))
    ]
    golds = {(question.group, question.gold) for question in questions}
    readable = {(group, gold) for group, gold in golds if _is_gold(scorer, prompts[group], gold)}
    questions = [question for question in questions if (question.group, question.gold) in readable]
    verdicts = scorer.score(
        [
            Sample(prompt=prompts[one.group], completion=f"\\boxed{{{one.answer}}}", gold=one.gold, id=str(one.group))
            for one in questions
        ]
    )
    classes = [_Classes(texts) for texts in spellings]
    for question, verdict in zip(questions, verdicts, strict=True):
        if verdict.correct:
            classes[question.group].join(question.answer, question.gold)
    return [
        [_vote(score, k, of_problem) for k, score in enumerate(of_one)]
        for of_one, of_problem in zip(scores, classes, strict=True)
    ]


def votes_in_order(
    scorer: Scorer, problems: Sequence[Hashable], prompts: Sequence[str], scores: Sequence[Score]
) -> list[Vote]:
    """As `votes_of`, for samples of several problems in any order.

    Args:
        problems: the problem of each sample.
        prompts: its question.
        scores: one a sample.
    """
    places: dict[Hashable, list[int]] = {}
    for place, problem in enumerate(problems):
        places.setdefault(problem, []).append(place)
    by_problem = votes_of(
        scorer,
        [prompts[of_one[0]] for of_one in places.values()],
        [[scores[place] for place in of_one] for of_one in places.values()],
    )
    votes = dict(zip(chain.from_iterable(places.values()), chain.from_iterable(by_problem), strict=True))
    return [votes[place] for place in range(len(scores))]


def _vote(score: Score, k: int, classes: "_Classes") -> Vote:
    if score.outcome is Outcome.NO_ANSWER:
        return None
    if score.correct:
        return True
    if score.answer is None:
        return f"unnamed {k}"  # wrong, and nobody knows what: it agrees with no other
    return classes.first(_spelling(score.answer))


def _spelling(answer: str) -> str:
    return " ".join(answer.split())


def _is_gold(scorer: Scorer, prompt: str, text: str) -> bool:
    try:
        scorer.score([Sample(prompt=prompt, completion="", gold=text)])
    except GoldError:
        return False
    return True


class _Classes:
    """Union-find over the spellings of a problem; a class goes by the first of its members in the order of texts."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._above = {text: text for text in texts}
        by_value: dict[Fraction, str] = {}
        for text in texts:
            if _PLAIN_NUMBER.fullmatch(text):
                self.join(text, by_value.setdefault(Fraction(text), text))

    def first(self, text: str) -> str:
        while self._above[text] != text:
            text = self._above[text]
        return text

    def join(self, one: str, other: str) -> None:
        low, high = sorted((self.first(one), self.first(other)))
        self._above[high] = low
