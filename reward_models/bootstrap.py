"""Figures with their intervals: questions are drawn again and again, each with all that belongs to it.

Shapes: Q questions, R resamples.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

TAIL = 0.025  # on each side of a 95 % interval
NUM_RESAMPLES = 10_000
Numbers = NDArray[np.float64]
NUMBERS_AT_ONCE = 4_000_000  # 32 MB


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A figure and its 95 % interval over questions."""

    value: float
    low: float
    high: float


def figure(num_questions: int, figure_of: Callable[[Numbers], Numbers], seed: int = 0, width: int = 0) -> Figure:
    """A percentile bootstrap over questions.

    Where every resample gives the same, the bootstrap would claim certainty: then the interval is what so many
    questions can exclude, as in `evaluation.pair_accuracy`.

    Args:
        figure_of: from how often each question counts [R, Q] to a figure of 0 to 1 for each row [R], NaN for none.
        width: numbers that it needs for a row, if they are more than the questions.
    """
    value = float(figure_of(np.ones((1, num_questions)))[0])
    found = resampled(num_questions, figure_of, seed, width)
    found = found[~np.isnan(found)]
    if len(found) == 0 or found.min() == found.max():
        unseen = 1 - TAIL ** (1 / num_questions)
        return Figure(value=value, low=value - unseen * value, high=value + unseen * (1 - value))
    low, high = np.quantile(found, [TAIL, 1 - TAIL])
    return Figure(value=value, low=float(low), high=float(high))


def resampled(num_questions: int, figure_of: Callable[[Numbers], Numbers], seed: int = 0, width: int = 0) -> Numbers:
    """The figure in each of `NUM_RESAMPLES` draws of as many questions [R]; the arguments are those of `figure`."""
    rng = np.random.default_rng(seed)
    at_once = max(1, min(NUM_RESAMPLES, NUMBERS_AT_ONCE // max(width, num_questions)))
    drawn: list[Numbers] = []
    for start in range(0, NUM_RESAMPLES, at_once):
        size = min(at_once, NUM_RESAMPLES - start)
        times_RQ = rng.multinomial(num_questions, np.full(num_questions, 1 / num_questions), size=size)
        drawn.append(figure_of(times_RQ.astype(np.float64)))
    return np.concatenate(drawn)
