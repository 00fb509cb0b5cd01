"""What a process model is worth: how well it tells good steps from wrong ones, beside what their places alone tell.

A step's value is a number whose sigmoid is the probability that the step is good. Shapes: N steps, U different values,
Q questions, R resamples.
"""

import math
import zlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from markscheme.files import InputError
from markscheme.reward_models import first_error
from markscheme.reward_models.bootstrap import Figure, Numbers, figure
from markscheme.reward_models.calibration import Calibration, calibration_of
from markscheme.reward_models.evaluation import pair_accuracy
from markscheme.reward_models.first_error import FirstErrorEvaluation, JudgedSolution, evaluate_first_errors
from markscheme.reward_models.steps import LabelledSteps, whole_solutions

Values = Sequence[Sequence[float | None]]
"""Of each step of each solution; None where it has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepEvaluation:
    """What a process model is worth on labelled steps. A label of one half or more counts as good.

    The first five figures are over the steps that were valued.
    """

    num_steps: int
    """With a label."""
    num_unscored: int
    """Labelled steps without a value, being too long to be read."""
    num_questions: int
    """With a step that was valued."""
    accuracy: Figure
    """Share of the steps whose value is on the right side of 0: probability one half."""
    always_good: Figure
    """The accuracy of one who calls each step good; one who calls each wrong has the rest."""
    by_position: Figure
    """The accuracy of calling a step good if most steps in its place are, in the other half of the questions."""
    auc: Figure | None
    """How often a good step has a higher value than a wrong one, a tie counting one half; None without both."""
    calibration: Calibration
    """Of sigmoid(value), as the probability of the label: what is said of pairs there is said of steps here."""
    first_errors: FirstErrorEvaluation | None
    """Over the solutions that are labelled as far as their first wrong step; None without both kinds of them."""


@dataclass(frozen=True, slots=True)
class _Step:
    """A labelled step that was valued."""

    group: str
    place: int
    is_good: bool
    value: float


def evaluate_values(
    solutions: Sequence[LabelledSteps], values: Values, threshold: float | None = None, seed: int = 0
) -> StepEvaluation:
    """Compares values with labels.

    Args:
        solutions: labelled steps.
        values: of each step of them; only those of labelled steps matter.
        threshold: below this probability a step is taken for wrong; None finds the best one for the other half of the
            questions.
        seed: of the bootstrap behind the intervals.

    Raises:
        InputError: if no labelled step has a value.
    """
    steps, num_steps = [], 0
    for solution, its_values in zip(solutions, values, strict=True):
        group = solution.group
        for place, (label, value) in enumerate(zip(solution.labels, its_values, strict=True)):
            num_steps += label is not None
            if label is not None and value is not None:
                steps.append(_Step(group, place, label >= 0.5, value))
    if not steps:
        raise InputError(f"none of the {num_steps} labelled steps could be read: take a model with more room")
    groups = [step.group for step in steps]
    is_good = [step.is_good for step in steps]
    guesses = _by_position(steps)

    def accuracy(said_good: Sequence[bool]) -> Figure:
        hits = [float(said == truth) for said, truth in zip(said_good, is_good, strict=True)]
        found = pair_accuracy(hits, groups, seed)
        return Figure(value=found.accuracy, low=found.low, high=found.high)

    return StepEvaluation(
        num_steps=num_steps,
        num_unscored=num_steps - len(steps),
        num_questions=len(set(groups)),
        accuracy=accuracy([step.value >= 0 for step in steps]),
        always_good=accuracy([True] * len(steps)),
        by_position=accuracy(guesses),
        auc=_auc(steps, seed),
        calibration=calibration_of([step.value if step.is_good else -step.value for step in steps], groups),
        first_errors=evaluate_first_errors(_judged(solutions, values), threshold, seed),
    )


def best_threshold(solutions: Sequence[LabelledSteps], values: Values) -> float:
    """The threshold that finds the first errors of these solutions best; 0.5 where there is nothing to choose by."""
    return first_error.best_threshold(_judged(solutions, values))


def probability(value: float) -> float:
    """sigmoid(value), which never overflows.

    >>> probability(0.0), probability(-1000.0), probability(1000.0)
    (0.5, 0.0, 1.0)
    """
    return 1 / (1 + math.exp(-value)) if value >= 0 else math.exp(value) / (1 + math.exp(value))


def _judged(solutions: Sequence[LabelledSteps], values: Values) -> list[JudgedSolution]:
    """The solutions that are labelled as far as their first wrong step, with what is thought of these steps."""
    good = {
        beginning: probability(value)
        for solution, its_values in zip(solutions, values, strict=True)
        for beginning, value in zip(solution.beginnings(), its_values, strict=True)
        if value is not None
    }
    judged = []
    for one in whole_solutions(solutions):
        error = first_error.NONE if one.first_error is None else one.first_error
        told = one.beginnings()[: len(one.steps) if one.first_error is None else error + 1]
        its_good = tuple(good.get(beginning) for beginning in told)
        judged.append(JudgedSolution(group=one.group, error=error, num_steps=len(one.steps), good=its_good))
    return judged


def _by_position(steps: Sequence[_Step]) -> list[bool]:
    """Whether most steps in the place of each are good, in the other half of the questions; else whether most are."""
    known: dict[tuple[int, int | None], list[bool]] = defaultdict(list)
    halves = [zlib.crc32(step.group.encode()) % 2 for step in steps]
    for step, half in zip(steps, halves, strict=True):
        known[1 - half, step.place].append(step.is_good)
        known[1 - half, None].append(step.is_good)
    found = []
    for step, half in zip(steps, halves, strict=True):
        seen = known.get((half, step.place)) or known.get((half, None)) or [True]
        found.append(2 * sum(seen) >= len(seen))
    return found


def _auc(steps: Sequence[_Step], seed: int) -> Figure | None:
    """Mann and Whitney's: each question counts as often as it was drawn."""
    if len({step.is_good for step in steps}) < 2:
        return None
    ordered = sorted(steps, key=lambda step: step.value)
    place = {group: index for index, group in enumerate(dict.fromkeys(step.group for step in steps))}
    question_N = np.array([place[step.group] for step in ordered])
    good_N = np.array([float(step.is_good) for step in ordered])
    first_U = np.flatnonzero(np.diff([step.value for step in ordered], prepend=-np.inf))  # of each different value

    def auc_of(times_RQ: Numbers) -> Numbers:
        times_RN = times_RQ[:, question_N]
        good_RU = np.add.reduceat(times_RN * good_N, first_U, axis=1)
        wrong_RU = np.add.reduceat(times_RN * (1 - good_N), first_U, axis=1)
        wins_R = (good_RU * (wrong_RU.cumsum(axis=1) - wrong_RU / 2)).sum(axis=1)
        with np.errstate(invalid="ignore"):
            auc_R: Numbers = wins_R / (good_RU.sum(axis=1) * wrong_RU.sum(axis=1))
        return auc_R

    return figure(len(place), auc_of, seed, width=len(steps))
