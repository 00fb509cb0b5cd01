"""How often a scorer prefers the chosen completion, beside what its length alone would tell."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from markscheme.files import InputError
from markscheme.reward_models.preferences import PreferencePair
from markscheme.scoring import Sample, Scorer

TAIL = 0.025  # on each side of a 95 % interval
NUM_RESAMPLES = 10_000
SAMPLES_AT_ONCE = 512  # enough to fill micro-batches of like length, small enough to show progress
RESAMPLES_AT_ONCE = 500  # keeps the bootstrap of 5,000 questions below 40 MB


@dataclass(frozen=True, slots=True, kw_only=True)
class PairAccuracy:
    """Share of pairs ranked rightly, a tie counting one half, with its 95 % interval over questions."""

    accuracy: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PairEvaluation:
    """What a scorer is worth on preference pairs. All figures but `pessimistic` are over the scored pairs."""

    num_pairs: int
    num_unscored: int
    """Pairs of which a completion got no value, such as an over-long one."""
    num_questions: int
    """Questions with a scored pair."""
    num_ties: int
    scorer: PairAccuracy
    pessimistic: float
    """The scorer's accuracy if each unscored pair were ranked wrongly."""
    longer_is_better: PairAccuracy
    """Preferring the completion with more characters."""
    shorter_is_better: PairAccuracy


def evaluate_pairs(
    scorer: Scorer,
    pairs: Sequence[PreferencePair],
    seed: int = 0,
    progress: Callable[[int], None] = lambda done: None,
) -> PairEvaluation:
    """Scores both completions of every pair and compares them. `progress` is told the number of pairs done.

    Raises:
        InputError: if no pair could be scored.
    """
    samples = [
        Sample(prompt=pair.prompt, completion=completion, id=pair.id, group=pair.group)
        for pair in pairs
        for completion in (pair.chosen, pair.rejected)
    ]
    values: list[float | None] = []
    for start in range(0, len(samples), SAMPLES_AT_ONCE):
        values += [score.value for score in scorer.score(samples[start : start + SAMPLES_AT_ONCE])]
        progress(len(values) // 2)
    return evaluate_rewards(pairs, values[::2], values[1::2], seed)


def evaluate_rewards(
    pairs: Sequence[PreferencePair],
    chosen: Sequence[float | None],
    rejected: Sequence[float | None],
    seed: int = 0,
) -> PairEvaluation:
    """Compares the rewards of the chosen and the rejected completions; None where there is none.

    Raises:
        InputError: if no pair has both rewards.
    """
    scored = [
        (pair, credit(better, worse))
        for pair, better, worse in zip(pairs, chosen, rejected, strict=True)
        if better is not None and worse is not None
    ]
    if not scored:
        raise InputError(f"none of the {len(pairs)} pairs could be scored: see the evidence of their scores")
    groups = [pair.group for pair, _ in scored]
    credits = [share for _, share in scored]
    longer = [credit(len(pair.chosen), len(pair.rejected)) for pair, _ in scored]
    return PairEvaluation(
        num_pairs=len(pairs),
        num_unscored=len(pairs) - len(scored),
        num_questions=len(set(groups)),
        num_ties=credits.count(0.5),
        scorer=pair_accuracy(credits, groups, seed),
        pessimistic=sum(credits) / len(pairs),
        longer_is_better=pair_accuracy(longer, groups, seed),
        shorter_is_better=pair_accuracy([1 - share for share in longer], groups, seed),
    )


def credit(chosen: float, rejected: float) -> float:
    """1 if the chosen one is ahead, one half for a tie, else 0."""
    return 0.5 if chosen == rejected else float(chosen > rejected)


def pair_accuracy(credits: Sequence[float], groups: Sequence[str], seed: int = 0) -> PairAccuracy:
    """Mean credit over pairs; its interval is a percentile bootstrap that draws questions with all their pairs.

    Where every credit is the same the bootstrap would claim certainty. Then the interval is what n questions can
    exclude: questions of another kind may still be the share 1 - 0.025^(1/n) (Clopper-Pearson for 0 of n).
    """
    place = {group: index for index, group in enumerate(dict.fromkeys(groups))}
    question_of_pair = np.array([place[group] for group in groups])
    sums = np.bincount(question_of_pair, weights=credits).astype(np.float64)
    counts = np.bincount(question_of_pair)
    accuracy = float(sums.sum() / counts.sum())
    if len(set(credits)) == 1 or len(place) == 1:
        unseen = 1 - TAIL ** (1 / len(place))
        return PairAccuracy(
            accuracy=accuracy, low=accuracy - unseen * accuracy, high=accuracy + unseen * (1 - accuracy)
        )
    low, high = np.quantile(_resampled(sums, counts, seed), [TAIL, 1 - TAIL])
    return PairAccuracy(accuracy=accuracy, low=float(low), high=float(high))


def _resampled(sums: NDArray[np.float64], counts: NDArray[np.intp], seed: int) -> NDArray[np.float64]:
    """The accuracy in each of `NUM_RESAMPLES` draws of as many questions."""
    rng = np.random.default_rng(seed)
    accuracies = []
    for _ in range(NUM_RESAMPLES // RESAMPLES_AT_ONCE):
        drawn = rng.integers(len(sums), size=(RESAMPLES_AT_ONCE, len(sums)))
        accuracies.append(sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1))
    return np.concatenate(accuracies)
