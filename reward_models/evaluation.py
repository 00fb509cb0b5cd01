"""How often a scorer prefers the chosen completion, beside what its length or its writer alone would tell.

Shapes: Q questions, C cells, R resamples.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from markscheme.files import InputError
from markscheme.reward_models.bootstrap import NUM_RESAMPLES, TAIL, Numbers, resampled
from markscheme.reward_models.calibration import Calibration, calibration_of
from markscheme.reward_models.ngrams import NGramModel
from markscheme.reward_models.preferences import PreferencePair
from markscheme.scoring import Sample, Scorer

SAMPLES_AT_ONCE = 512  # enough to fill micro-batches of like length, small enough to show progress
RESAMPLES_AT_ONCE = 500  # keeps the bootstrap of 5,000 questions below 40 MB


@dataclass(frozen=True, slots=True, kw_only=True)
class PairAccuracy:
    """Share of pairs ranked rightly, a tie counting one half, with its 95 % interval over questions."""

    accuracy: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """Pairs of one kind."""

    num_pairs: int
    accuracy: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Balanced:
    """Mean of the accuracies of all cells: what the cell gives away is worth nothing here."""

    accuracy: PairAccuracy
    cells: Mapping[str, Cell] = field(default_factory=dict)


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
    calibration: Calibration
    by_writer: Balanced | None
    """Cells are (who wrote the chosen one, who the rejected one): knowing the writer alone predicts 0.5. None where the
    pairs do not say."""
    by_length: Balanced
    """Cells are fifths of the pairs by how much longer the chosen one is."""


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
    leads = [
        better - worse
        for better, worse in zip(chosen, rejected, strict=True)
        if better is not None and worse is not None
    ]
    lengths = [float(len(pair.chosen) - len(pair.rejected)) for pair, _ in scored]
    writers = [f"{pair.chosen_by} > {pair.rejected_by}" for pair, _ in scored]
    is_signed = all(pair.chosen_by and pair.rejected_by for pair, _ in scored)
    return PairEvaluation(
        num_pairs=len(pairs),
        num_unscored=len(pairs) - len(scored),
        num_questions=len(set(groups)),
        num_ties=credits.count(0.5),
        scorer=pair_accuracy(credits, groups, seed),
        pessimistic=sum(credits) / len(pairs),
        longer_is_better=pair_accuracy(longer, groups, seed),
        shorter_is_better=pair_accuracy([1 - share for share in longer], groups, seed),
        calibration=calibration_of(leads, groups),
        by_writer=balanced(credits, writers, groups, seed) if is_signed else None,
        by_length=balanced(credits, fifths(lengths), groups, seed),
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


def baselines(
    train: Sequence[PreferencePair], held_out: Sequence[PreferencePair], seed: int = 0
) -> dict[str, PairEvaluation]:
    """What can be known more simply, learned from the same pairs: by a linear model on n-grams, and, where the pairs
    say who wrote them, by the writers alone, of whom the one is better that won more often against the other.
    """
    if not train:
        return {}
    model = NGramModel(train)
    chosen = model.rewards([pair.chosen for pair in held_out])
    rejected = model.rewards([pair.rejected for pair in held_out])
    found = {"linear model on n-grams": evaluate_rewards(held_out, chosen, rejected, seed)}
    if found["linear model on n-grams"].by_writer is not None:
        wins = Counter((pair.chosen_by, pair.rejected_by) for pair in train)
        chosen = [float(wins[pair.chosen_by, pair.rejected_by]) for pair in held_out]
        rejected = [float(wins[pair.rejected_by, pair.chosen_by]) for pair in held_out]
        found["knowing only who wrote them"] = evaluate_rewards(held_out, chosen, rejected, seed)
    return found


def fifths(values: Sequence[float]) -> list[str]:
    """The fifth that each value lies in, named by its ends; equal values share one.

    >>> fifths([1, 2, 3, 4, 5, 5])
    ['1 to 2', '1 to 2', '3 to 3', '4 to 4', '5 to 5', '5 to 5']
    """
    edges = np.quantile(np.array(values), [0.2, 0.4, 0.6, 0.8])
    bins = np.searchsorted(edges, np.array(values), side="left")
    ends = {bin_: [v for v, b in zip(values, bins, strict=True) if b == bin_] for bin_ in set(bins.tolist())}
    return [f"{min(ends[bin_]):g} to {max(ends[bin_]):g}" for bin_ in bins.tolist()]


def balanced(credits: Sequence[float], cells: Sequence[str], groups: Sequence[str], seed: int = 0) -> Balanced:
    """The mean of the accuracies of all cells; its interval is a percentile bootstrap that draws questions. In a
    resample in which a cell is empty, the mean is that of the others.
    """
    names = sorted(set(cells))
    cell_of = np.array([names.index(cell) for cell in cells])
    place = {group: index for index, group in enumerate(dict.fromkeys(groups))}
    sums_QC, counts_QC = np.zeros((len(place), len(names))), np.zeros((len(place), len(names)))
    question_of = np.array([place[group] for group in groups])
    np.add.at(sums_QC, (question_of, cell_of), credits)
    np.add.at(counts_QC, (question_of, cell_of), 1)
    sums_C, counts_C = sums_QC.sum(axis=0), counts_QC.sum(axis=0)
    accuracy = float(np.mean(sums_C / counts_C))

    def mean_of_cells(times_RQ: Numbers) -> Numbers:
        drawn_RC = times_RQ @ counts_QC
        with np.errstate(invalid="ignore"):
            means_R: Numbers = np.nanmean(np.where(drawn_RC > 0, times_RQ @ sums_QC / drawn_RC, np.nan), axis=1)
        return means_R

    low, high = np.quantile(resampled(len(place), mean_of_cells, seed), [TAIL, 1 - TAIL])
    figure = PairAccuracy(accuracy=accuracy, low=float(low), high=float(high))
    return Balanced(
        # Where every credit is the same, the bootstrap would claim certainty here too.
        accuracy=pair_accuracy(credits, groups, seed) if len(set(credits)) == 1 else figure,
        cells={
            name: Cell(num_pairs=int(count), accuracy=float(total / count))
            for name, total, count in zip(names, sums_C, counts_C, strict=True)
        },
    )
