"""What changed on the same questions: differences, their intervals, and tests of whether there is one.

n questions, S training seeds; a value is in [0, 1].
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.optimize
import scipy.stats
from numpy.typing import NDArray

from markscheme.benchmarks.metrics import (
    CONFIDENCE,
    NEARLY,
    NUM_RESAMPLES,
    bootstrap_interval,
    mean_and_standard_error,
)

NUM_PATTERNS = 20_000  # a p of 0.05 is then off by some 0.0015
RESAMPLE_BATCH = 500  # keeps resamples of 5,000 questions below 40 MB
UNLIKELY = 1e-9  # chance of the numbers of changed verdicts that a power leaves out


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedDifference:
    """What changed on the same questions, after minus before."""

    n: int
    seeds: int
    """Training seeds, over which the values after are means."""
    mean: float
    low: float
    high: float
    """Ends of the 95 % bootstrap interval of `mean`: over questions, and over seeds where there are several."""
    standard_error: float
    """Of `mean`: over questions, and over seeds where there are several."""
    unpaired_standard_error: float
    """What it would be on other questions before than after: as many as its square over that of `standard_error` more
    questions would be needed."""
    gained: int
    """Questions that are better after."""
    lost: int
    """Questions that are worse after."""
    mcnemar_p: float | None
    """Exact McNemar p of gained against lost; None where a question's value is not 0 or 1."""
    permutation_p: float | None
    """Of the mean, by flipping signs; None with several seeds, whose spread it would not know."""


def paired_difference(before: Sequence[float], *afters: Sequence[float], seed: int = 0) -> PairedDifference:
    """Mean difference over paired questions; `afters` has one sequence for each training seed.

    >>> difference = paired_difference([0, 0, 0, 1], [1, 1, 1, 1])
    >>> difference.mean, difference.gained, difference.lost, difference.mcnemar_p
    (0.75, 3, 0, 0.25)
    """
    if not afters or not before or any(len(after) != len(before) for after in afters):
        counts = " and ".join(str(len(after)) for after in afters) or "none"
        raise ValueError(f"needs as many values after as before, and at least one, got {counts} and {len(before)}")
    old, new_SN = np.asarray(before, dtype=float), np.asarray(afters, dtype=float)
    differences_SN = new_SN - old
    differences = differences_SN.mean(axis=0).tolist()
    mean, standard_error = mean_and_standard_error(differences)
    if len(afters) == 1 or np.ptp(differences_SN) < NEARLY:
        low, high = _mirrored_interval(differences, seed)
    else:
        standard_error, reach = two_level_error(differences_SN, seed=seed)
        low, high = max(-1.0, mean - reach), min(1.0, mean + reach)
    gained = sum(difference > NEARLY for difference in differences)
    lost = sum(difference < -NEARLY for difference in differences)
    alone = [mean_and_standard_error(values.tolist())[1] for values in (old, new_SN.mean(axis=0))]
    one = len(afters) == 1
    return PairedDifference(
        n=len(differences),
        seeds=len(afters),
        mean=mean,
        low=low,
        high=high,
        standard_error=standard_error,
        unpaired_standard_error=math.hypot(*alone),
        gained=gained,
        lost=lost,
        mcnemar_p=mcnemar_exact(gained, lost) if one and {*before, *afters[0]} <= {0, 1} else None,
        permutation_p=sign_flip_p(differences, seed=seed) if one else None,
    )


def _mirrored_interval(differences: Sequence[float], seed: int) -> tuple[float, float]:
    """Before and after exchanged, the same draws give the same interval with the other sign."""
    turned = [-difference for difference in differences]
    if sorted(turned) > sorted(differences):
        low, high = bootstrap_interval(turned, bounds=(-1.0, 1.0), seed=seed)
        return -high, -low
    return bootstrap_interval(differences, bounds=(-1.0, 1.0), seed=seed)


def two_level_error(differences_SN: NDArray[np.float64], *, seed: int = 0) -> tuple[float, float]:
    """Standard error of the mean over seeds and questions, and half of its 95 % interval: t times the error that a
    bootstrap finds that draws both with replacement, 10,000 times (Owen 2007, "The pigeonhole bootstrap", Annals of
    Applied Statistics 1(2)).

    So few seeds are spread too little by drawing from them alone: what sets each apart is scaled by sqrt(S / (S - 1)),
    and t has the degrees of freedom of Satterthwaite (1946) for the two variances.
    """
    num_seeds, n = differences_SN.shape
    mean = float(differences_SN.mean())
    apart_S1 = differences_SN.mean(axis=1, keepdims=True) - mean
    spread_SN = differences_SN + apart_S1 * (math.sqrt(num_seeds / (num_seeds - 1)) - 1)
    stream = np.random.default_rng(seed)
    means = []
    for _ in range(NUM_RESAMPLES // RESAMPLE_BATCH):
        seeds_BS = stream.multinomial(num_seeds, np.full(num_seeds, 1 / num_seeds), size=RESAMPLE_BATCH)
        questions_BN = stream.multinomial(n, np.full(n, 1 / n), size=RESAMPLE_BATCH)
        means.append(((seeds_BS @ spread_SN) * questions_BN).sum(axis=1) / (num_seeds * n))
    error = float(np.concatenate(means).std())
    of_seeds = float(apart_S1.var(ddof=1)) / num_seeds
    of_questions = float(differences_SN.mean(axis=0).var(ddof=1)) / n if n > 1 else 0.0
    parts = of_seeds**2 / (num_seeds - 1) + of_questions**2 / max(1, n - 1)
    freedom = (of_seeds + of_questions) ** 2 / parts if parts else float(num_seeds - 1)
    return error, float(scipy.stats.t.ppf((1 + CONFIDENCE) / 2, freedom)) * error


def mcnemar_exact(gained: int, lost: int) -> float:
    """Two-sided p that gained and lost are equally likely: min(1, 2 sum_{i <= min(b, c)} C(b + c, i) / 2^(b + c)).

    >>> mcnemar_exact(gained=5, lost=0)
    0.0625
    """
    return float(scipy.stats.binomtest(gained, gained + lost, 0.5).pvalue) if gained + lost else 1.0


def sign_flip_p(differences: Sequence[float], *, seed: int = 0) -> float:
    """Two-sided p that each difference could as well have had the other sign: the share of sign patterns whose mean is
    at least as far from 0 (Fisher 1935). Exact where all are of one size, as for right and wrong (McNemar's test), and
    where there are few; else by 20,000 random patterns and the one seen.

    >>> sign_flip_p([1.0, 1.0, 1.0, 1.0])  # 2 of 16 patterns
    0.125
    """
    moved = np.array([difference for difference in differences if abs(difference) > NEARLY])
    n, seen = len(moved), abs(moved.sum()) - NEARLY * (1 + len(moved))
    _, group, counts = np.unique(abs(moved).round(9), return_inverse=True, return_counts=True)
    sizes = np.bincount(group, abs(moved)) / counts if n else np.empty(0)  # a third is no number of nine places
    if len(sizes) <= 1:
        return mcnemar_exact(int((moved > 0).sum()), int((moved < 0).sum()))
    if 2**n <= NUM_RESAMPLES:
        signs = 1 - 2 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)
        return float((abs(signs @ moved) >= seen).mean())
    # Differences of one size are alike: how many of them are positive is all that matters.
    positive = np.random.default_rng(seed).binomial(counts, 0.5, size=(NUM_PATTERNS, len(sizes)))
    extreme = int((abs((2 * positive - counts) @ sizes) >= seen).sum())
    return (1 + extreme) / (1 + NUM_PATTERNS)


def holm(p_values: Sequence[float]) -> list[float]:
    """p values that may be read one by one: the i-th smallest of m times m - i + 1, never falling (Holm 1979).

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, p_values[index] * (len(p_values) - rank)))
        adjusted[index] = highest
    return adjusted


def minimum_detectable_effect(n: int, discordance: float, *, power: float = 0.8) -> float | None:
    """The least true gain d that the exact two-sided McNemar test at 5 % finds on n questions with this power.

    Of the n verdicts M ~ Binomial(n, psi) change, and of those Binomial(M, (1 + d / psi) / 2) for the better; found is
    a gain with p < 0.05. None where not even d = psi, every change a gain, is found so often. (A normal approximation,
    too small for few questions: Connor 1987, Biometrics 43(1); Miller 2024, arXiv:2411.00640, section 5.)

    >>> round(minimum_detectable_effect(n=500, discordance=0.1), 3)
    0.041
    """
    if n < 1 or not 0 <= discordance <= 1:
        raise ValueError(f"needs n >= 1 and a discordance from 0 to 1, got {n} and {discordance}")
    if not 0.5 <= power < 1:
        raise ValueError(f"power must be at least 0.5 and below 1, got {power}")
    if discordance == 0:
        return None
    changed = scipy.stats.binom(n, discordance)
    sizes = np.arange(changed.ppf(UNLIKELY / 2), changed.isf(UNLIKELY / 2) + 1)
    weights = changed.pmf(sizes)
    most_by_chance = scipy.stats.binom.isf((1 - CONFIDENCE) / 2, sizes, 0.5)  # no more than these gained: p >= 0.05

    def missing_power(gain: float) -> float:
        found = scipy.stats.binom.sf(most_by_chance, sizes, (1 + gain / discordance) / 2)
        return power - float(weights @ found)

    if missing_power(discordance) > 0:
        return None
    return float(scipy.optimize.brentq(missing_power, 0.0, discordance, xtol=1e-6))
