"""What each of several answers to a problem votes for: equal answers vote for the same, however they are written."""

import re
from collections.abc import Hashable, Mapping, Sequence, Set
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, combinations, product
from typing import Literal

from markscheme.scoring import GoldError, Outcome, Sample, Score, Scorer

MAX_SPELLINGS = 40  # of wrong answers to a problem; more are told apart by their text: 40 are 1,560 comparisons
MAX_DIGITS = 50
_PLAIN_NUMBER = re.compile(rf"-?[0-9]{{1,{MAX_DIGITS}}}(?:\.[0-9]{{1,{MAX_DIGITS}}})?")

Vote = Literal[True] | str | None
"""True for a right answer; None for no answer; else a text, the same for all answers that are equal. JSON values."""


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
        For each problem, what each of its samples votes for. Which of them agree does not depend on their order. What
        the scorer could not decide is asked about no more: it votes by its text.
    """
    spellings = [
        sorted(
            {
                _spelling(score.answer)
                for score in of_one
                if score.outcome is Outcome.INCORRECT and score.answer is not None
            }
        )
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
    equal: list[set[tuple[str, ...]]] = [set() for _ in spellings]
    for question, verdict in zip(questions, verdicts, strict=True):
        if verdict.correct:
            equal[question.group].add(tuple(sorted((question.answer, question.gold))))
    classes = map(_classes, spellings, equal)
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


def _vote(score: Score, k: int, classes: Mapping[str, str]) -> Vote:
    if score.outcome is Outcome.NO_ANSWER:
        return None
    if score.correct:
        return True
    if score.answer is None:
        return f" unnamed {k}"  # nobody knows what: it agrees with no other, and no spelling begins with a blank
    spelling = _spelling(score.answer)
    return classes.get(spelling, spelling)


def _spelling(answer: str) -> str:
    return " ".join(answer.split())


def _is_gold(scorer: Scorer, prompt: str, text: str) -> bool:
    try:
        scorer.score([Sample(prompt=prompt, completion="", gold=text)])
    except GoldError:
        return False
    return True


def _classes(texts: Sequence[str], equal: Set[tuple[str, ...]]) -> dict[str, str]:
    """Each text's class, by the first of its members; plain numbers are of one class where their values are equal.

    Complete linkage: two classes are joined, in the order of texts, only if each text of the one equals each of the
    other. For equality is not passed on: 50% may be meant as 50 and as 0.5.
    """
    by_value: dict[Fraction | str, list[str]] = {}
    for text in texts:
        by_value.setdefault(Fraction(text) if _PLAIN_NUMBER.fullmatch(text) else text, []).append(text)
    members = {text: of_one for of_one in by_value.values() for text in of_one}
    for one, other in sorted(equal):
        ours, theirs = members[one], members[other]
        if ours is not theirs and all(tuple(sorted(pair)) in equal for pair in product(ours, theirs)):
            ours += theirs
            members |= dict.fromkeys(theirs, ours)
    return {text: min(of_one) for text, of_one in members.items()}
