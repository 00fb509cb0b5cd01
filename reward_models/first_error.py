"""Finding the first wrong step of a solution, as ProcessBench measures it (Zheng et al. 2024, arXiv:2412.06559).

A solution has an `error`, the index of its first wrong step, or NONE; what names it says an index, NONE, or None where
it cannot tell. Shapes: S solutions, Q questions, R resamples.
"""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from markscheme.reward_models.bootstrap import Figure, Numbers, figure

NONE = -1
NUM_THRESHOLDS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedSolution:
    """A solution that is labelled as far as its first wrong step, and what a model thinks of its steps."""

    group: str
    error: int
    num_steps: int
    good: tuple[float | None, ...]
    """Probability that each step is good, as far as the first wrong one; None where it could not be read."""

    def named(self, threshold: float) -> int | None:
        """The first step that is good with a probability below the threshold."""
        for k, probability in enumerate(self.good):
            if probability is None:
                return None
            if probability < threshold:
                return k
        return NONE


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstErrors:
    """How often one way to name the first wrong step is right. Not to tell is not to be right."""

    f1: Figure
    """Harmonic mean of the two shares; 0 for one who says the same of all solutions."""
    found: float
    """Share of the solutions with a wrong step in which exactly the first one is named."""
    spared: float
    """Share of the solutions without one in which none is named."""
    num_undecided: int
    """Solutions that were too long to tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstErrorEvaluation:
    """How well a model finds first errors, beside a guess."""

    num_wrong: int
    """Solutions with a wrong step."""
    num_right: int
    num_questions: int
    threshold: float | None
    """A step is taken for wrong below this probability; None: the best one for the other half of the questions."""
    model: FirstErrors
    at_half: FirstErrors
    """The model with a threshold of 0.5."""
    by_position: FirstErrors
    """Naming the step in one place, counted from either end, of all solutions of at least so many steps: the best such
    guess for the other half of the questions."""


def evaluate_first_errors(
    solutions: Sequence[JudgedSolution], threshold: float | None = None, seed: int = 0
) -> FirstErrorEvaluation | None:
    """None if the solutions have no error, or all have one."""
    num_wrong = sum(one.error != NONE for one in solutions)
    if num_wrong in (0, len(solutions)):
        return None

    def by_model(known: Sequence[JudgedSolution]) -> Namer:
        cut = best_threshold(known) if threshold is None else threshold
        return lambda one: one.named(cut)

    return FirstErrorEvaluation(
        num_wrong=num_wrong,
        num_right=len(solutions) - num_wrong,
        num_questions=len({one.group for one in solutions}),
        threshold=threshold,
        model=_first_errors(solutions, _named_by_halves(solutions, by_model), seed),
        at_half=_first_errors(solutions, [one.named(0.5) for one in solutions], seed),
        by_position=_first_errors(solutions, _named_by_halves(solutions, best_guess), seed),
    )


def f1(found: float, spared: float) -> float:
    """
    >>> round(f1(0.5, 1.0), 3), f1(0.0, 1.0), f1(0.0, 0.0)
    (0.667, 0.0, 0.0)
    """
    return 2 * found * spared / (found + spared) if found + spared else 0.0


def best_threshold(solutions: Sequence[JudgedSolution]) -> float:
    """The threshold with the best F1, and of several the one in the middle; 0.5 where there is nothing to choose by."""
    known = [good for one in solutions for good in one.good if good is not None]
    if not known or not _both_kinds(solutions):
        return 0.5
    thresholds: list[float] = np.unique(np.quantile(known, np.linspace(0, 1, NUM_THRESHOLDS + 1)[1:-1])).tolist()
    f1_of = {cut: _f1_of(solutions, [one.named(cut) for one in solutions]) for cut in thresholds}
    highest = max(f1_of.values())
    best = [cut for cut in thresholds if f1_of[cut] == highest]
    return best[len(best) // 2]


Namer = Callable[[JudgedSolution], int | None]


def best_guess(solutions: Sequence[JudgedSolution]) -> Namer:
    """The place, from the front or (below 0) from the end, and the least number of steps, with the best F1."""
    if not _both_kinds(solutions):
        return lambda one: NONE

    def namer(place: int, least: int) -> Namer:
        def named(one: JudgedSolution) -> int:
            step = place if place >= 0 else one.num_steps + place
            return step if one.num_steps >= least and 0 <= step < one.num_steps else NONE

        return named

    places = sorted(
        {place for one in solutions if one.error != NONE for place in (one.error, one.error - one.num_steps)}
    )
    guesses = [namer(place, least) for place in places for least in sorted({one.num_steps for one in solutions})]
    return max(guesses, key=lambda named: _f1_of(solutions, [named(one) for one in solutions]))


def _both_kinds(solutions: Sequence[JudgedSolution]) -> bool:
    return len({one.error == NONE for one in solutions}) == 2


def _named_by_halves(
    solutions: Sequence[JudgedSolution], learn: Callable[[Sequence[JudgedSolution]], Namer]
) -> list[int | None]:
    """What is named by a rule that is learned from the other half of the questions."""
    half_of = [zlib.crc32(one.group.encode()) % 2 for one in solutions]
    namers = [learn([one for one, half in zip(solutions, half_of, strict=True) if half != mine]) for mine in (0, 1)]
    return [namers[half](one) for one, half in zip(solutions, half_of, strict=True)]


def _counts(solutions: Sequence[JudgedSolution], named: Sequence[int | None]) -> tuple[int, int, int, int]:
    """Solutions with a wrong step, those of them in which it is named, solutions without, those that are spared."""
    hits = [(one.error != NONE, one.error == said) for one, said in zip(solutions, named, strict=True)]
    num_wrong = sum(is_wrong for is_wrong, _ in hits)
    found = sum(is_wrong and hit for is_wrong, hit in hits)
    return num_wrong, found, len(hits) - num_wrong, sum(hit for _, hit in hits) - found


def _f1_of(solutions: Sequence[JudgedSolution], named: Sequence[int | None]) -> float:
    num_wrong, found, num_right, spared = _counts(solutions, named)
    return f1(found / num_wrong, spared / num_right)


def _first_errors(solutions: Sequence[JudgedSolution], named: Sequence[int | None], seed: int) -> FirstErrors:
    by_question: dict[str, list[int]] = {}
    for index, one in enumerate(solutions):
        by_question.setdefault(one.group, []).append(index)
    counts_Q4 = np.array(
        [_counts([solutions[k] for k in its], [named[k] for k in its]) for its in by_question.values()], dtype=float
    )

    def f1_of(times_RQ: Numbers) -> Numbers:
        num_wrong_R, found_R, num_right_R, spared_R = (times_RQ @ counts_Q4).T
        with np.errstate(invalid="ignore"):
            found_R, spared_R = found_R / num_wrong_R, spared_R / num_right_R
        return np.array([f1(found, spared) for found, spared in zip(found_R, spared_R, strict=True)])

    num_wrong, found, num_right, spared = _counts(solutions, named)
    return FirstErrors(
        f1=figure(len(by_question), f1_of, seed),
        found=found / num_wrong,
        spared=spared / num_right,
        num_undecided=named.count(None),
    )
