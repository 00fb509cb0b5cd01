"""Statistics of graded samples: pure functions of numbers, one equation each.

n questions, K graded samples of each, c of them right. The unit of chance is the question: every standard error
and interval is over questions, since the K samples of one question are not independent of each other.
"""

import math
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import scipy.stats

CONFIDENCE = 0.95
NUM_RESAMPLES = 10_000  # the ends of a 95 % interval then vary by some hundredths of their distance
NEARLY = 1e-9  # sums of the same numbers in another order differ by less


def pass_at_k(num_samples: int, num_correct: int, k: int) -> float:
    """Chance that of k samples, drawn without replacement from n of which c are right, at least one is right.

    1 - C(n - c, k) / C(n, k)  (Chen et al. 2021, arXiv:2107.03374, eq. 1), unbiased for the policy's pass@k.
    NaN where there are fewer than k samples.

    >>> pass_at_k(num_samples=4, num_correct=1, k=2)
    0.5
    """
    if not 0 <= num_correct <= num_samples or k < 1:
        raise ValueError(f"needs 0 <= num_correct <= num_samples and k >= 1, got {num_correct}, {num_samples}, {k}")
    if num_samples < k:
        return math.nan
    return 1 - math.comb(num_samples - num_correct, k) / math.comb(num_samples, k)


def majority_at_k(labels: Sequence[Hashable | None], correct: Sequence[bool], k: int) -> float:
    """Chance that the commonest answer among k samples, drawn without replacement, is right.

    Equal answers have the same label. Answers that tie for the most votes share the win equally. None stands
    for no answer: it takes a place among the k but has no vote, so a subset without any answer loses.
    (Majority vote of Wang et al. 2022, arXiv:2203.11171, averaged over all subsets of size k.)
    NaN where there are fewer than k samples.

    >>> majority_at_k(["4", "4", "5", None], [True, True, False, False], k=3)
    0.75
    """
    if len(labels) != len(correct) or k < 1:
        raise ValueError(f"needs as many labels as verdicts and k >= 1, got {len(labels)}, {len(correct)}, {k}")
    if len(labels) < k:
        return math.nan
    sizes = Counter(labels)
    unanswered = sizes.pop(None, 0)
    rights = Counter(label for label, right in zip(labels, correct, strict=True) if right)
    share = 0.0
    for label, right in rights.items():
        others = tuple(sorted(size for other, size in sizes.items() if other != label))
        if label is not None:
            share += _win_probability(sizes[label], others, unanswered, k) * right / sizes[label]
    return round(share, 13)  # what is certain is then exactly 1


def consensus(labels: Sequence[Hashable | None], correct: Sequence[bool]) -> float:
    """Whether the commonest answer of all samples is right; of equals the one that was sampled first.

    What a system that asks once would give, and what other harnesses call maj@k or cons@k; `majority_at_k` is its mean
    over all choices and orders of the samples. No answer has no vote. NaN without samples.

    >>> consensus(["4", "5", "5", "4"], [True, False, False, True])
    1.0
    """
    if len(labels) != len(correct):
        raise ValueError(f"needs as many labels as verdicts, got {len(labels)}, {len(correct)}")
    if not labels:
        return math.nan
    votes = Counter(label for label in labels if label is not None)
    if not votes:
        return 0.0
    winner = votes.most_common(1)[0][0]  # of equals the first that was counted
    rights = [right for label, right in zip(labels, correct, strict=True) if label == winner]
    return sum(rights) / len(rights)


def best_of_k(values: Sequence[float], correct: Sequence[bool], k: int) -> float:
    """Chance that the sample of the highest value among k, drawn without replacement, is right.

    Samples that tie for it share the win equally. With the samples in the order of their values, the i-th of n is the
    best of C(i - 1, k - 1) of the C(n, k) subsets (Cobbe et al. 2021, arXiv:2110.14168, rank one such subset; this is
    the mean over all). NaN where there are fewer than k samples.

    >>> best_of_k([0.1, 0.9, 0.5], [True, False, True], k=2)  # of 2 subsets out of 3 the wrong one is the best
    0.3333333333333333
    """
    if len(values) != len(correct) or k < 1:
        raise ValueError(f"needs as many values as verdicts and k >= 1, got {len(values)}, {len(correct)}, {k}")
    n = len(values)
    if n < k:
        return math.nan
    wins, below = 0.0, 0
    for value in sorted(set(values)):
        rights = [right for one, right in zip(values, correct, strict=True) if one == value]
        subsets = math.comb(below + len(rights), k) - math.comb(below, k)  # whose highest value is this one
        wins += subsets * sum(rights) / len(rights)
        below += len(rights)
    return wins / math.comb(n, k)


def best_of_k_divergence(k: int) -> float:
    """KL divergence in nats of the best of k from one sample, at most: log k - (k - 1) / k (Stiennon et al. 2020,
    arXiv:2009.01325, appendix G.3; an upper bound by Beirami et al. 2024, arXiv:2401.01879).
    """
    return math.log(k) - (k - 1) / k


@lru_cache(maxsize=1_024)
def _win_probability(size: int, others: tuple[int, ...], unanswered: int, k: int) -> float:
    """Chance that the label of `size` samples has the most votes among k, ties shared; `others` are the other labels'.

    sum_m sum_t w_mt / (1 + t) over C(K, k), with w_mt the number of subsets in which it has m votes, t others have m
    and the rest fewer: the coefficient of x^k y^t in

        C(size, m) x^m (1 + x)^unanswered prod_i (sum_{v < m} C(s_i, v) x^v + y C(s_i, m) x^m).

    Each C(s, v) is scaled to the binomial probability of v of s at p = k / K, so that nothing overflows.
    """
    total = size + sum(others) + unanswered
    chances = {s: scipy.stats.binom.pmf(np.arange(k + 1), s, k / total) for s in {size, *others, total}}
    wins = 0.0
    for m in range(1, min(k, size) + 1):
        rivals = [s for s in others if s >= m]  # the others have fewer votes, whatever happens: one factor for all
        rest = k - m
        weights_TV = scipy.stats.binom.pmf([np.arange(rest + 1)], total - size - sum(rivals), k / total)
        for s in rivals:
            ties = len(weights_TV)
            grown = np.zeros((ties + 1, rest + 1))
            for v in range(min(m, rest) + 1):
                tied = int(v == m)
                grown[tied : tied + ties, v:] += chances[s][v] * weights_TV[:, : rest + 1 - v]
            weights_TV = grown
        wins += chances[size][m] * float((weights_TV[:, rest] / np.arange(1, len(weights_TV) + 1)).sum())
    return float(wins / chances[total][k])


def mean_and_standard_error(values: Sequence[float]) -> tuple[float, float]:
    """Mean over questions and its standard error sd(s_i) / sqrt(n), sd with n - 1 (Miller 2024, arXiv:2411.00640).

    s_i is the mean of question i's samples, so the samples of a question count as one cluster.
    The error of a single question is NaN.

    >>> mean_and_standard_error([0.0, 1.0])
    (0.5, 0.5)
    """
    if not values:
        return math.nan, math.nan
    array = np.asarray(values, dtype=float)
    standard_error = float(array.std(ddof=1)) / math.sqrt(len(array)) if len(array) > 1 else math.nan
    return float(array.mean()), standard_error


def sampling_share(shares: Sequence[float], num_samples: Sequence[int]) -> float:
    """Of the squared standard error of a mean over questions, the part that drawing only K_i samples of each makes up.

    Var(s_i) = Var(mu_i) + E[mu_i (1 - mu_i) / K_i], and s_i (1 - s_i) / (K_i - 1) is an unbiased estimate of what is
    within the last brackets. More samples of the same questions can take away this part and no more. NaN where nothing
    varies, or a K_i is below 2.

    >>> sampling_share([0.5, 0.5, 0.0, 1.0], [2, 2, 2, 2])  # (1/4 + 1/4) / 4 of the variance 1/6
    0.75
    """
    if len(shares) != len(num_samples):
        raise ValueError(f"needs as many shares as numbers of samples, got {len(shares)} and {len(num_samples)}")
    if len(shares) < 2 or min(num_samples) < 2 or np.ptp(shares) < NEARLY:
        return math.nan
    array = np.asarray(shares, dtype=float)
    within = float((array * (1 - array) / (np.asarray(num_samples) - 1)).mean())
    return min(1.0, within / float(array.var(ddof=1)))


def wilson_interval(num_correct: int, num_total: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927): (p + z^2/2n ± z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n).

    >>> tuple(round(end, 4) for end in wilson_interval(9, 10))
    (0.5958, 0.9821)
    """
    if not 0 <= num_correct <= num_total or num_total == 0:
        raise ValueError(f"needs 0 <= num_correct <= num_total and num_total >= 1, got {num_correct} and {num_total}")
    z = normal_quantile((1 + CONFIDENCE) / 2)
    p = num_correct / num_total
    middle = p + z**2 / (2 * num_total)
    reach = z * math.sqrt(p * (1 - p) / num_total + z**2 / (4 * num_total**2))
    scale = 1 + z**2 / num_total
    low = (middle - reach) / scale if num_correct else 0.0  # exactly, in spite of rounding
    high = (middle + reach) / scale if num_correct < num_total else 1.0
    return low, high


def bootstrap_interval(
    values: Sequence[float], *, bounds: tuple[float, float] = (0.0, 1.0), seed: int = 0
) -> tuple[float, float]:
    """95 % interval of the mean over questions: BCa bootstrap (Efron 1987, with the acceleration of a mean),
    10,000 seeded resamples.

    Where all n values are equal the bootstrap would claim certainty. Then the interval is what n questions can
    exclude: questions of another kind, with any value within `bounds`, may still be the share 1 - 0.025^(1/n)
    (Clopper-Pearson for 0 of n).

    >>> tuple(round(end, 3) for end in bootstrap_interval([0.0] * 100))
    (0.0, 0.036)
    """
    if not values:
        return math.nan, math.nan
    array = np.asarray(values, dtype=float)
    if np.ptp(array) < NEARLY:
        unseen = 1 - ((1 - CONFIDENCE) / 2) ** (1 / len(array))
        mean = float(array[0])
        return mean + unseen * (bounds[0] - mean), mean + unseen * (bounds[1] - mean)
    # Questions of equal values are alike: how many of each value a resample has is all that matters, and quick to draw.
    distinct, counts = np.unique(array, return_counts=True)
    drawn = np.random.default_rng(seed).multinomial(len(array), counts / len(array), size=NUM_RESAMPLES)
    means = drawn @ distinct / len(array)
    around = array - array.mean()
    acceleration = float((around**3).sum() / (6 * (around**2).sum() ** 1.5))
    below = ((means < array.mean() - NEARLY).mean() + (means <= array.mean() + NEARLY).mean()) / 2
    bias = normal_quantile(float(below))
    ends = []
    for tail in ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2):
        shifted = bias + normal_quantile(tail)
        ends.append(scipy.stats.norm.cdf(bias + shifted / (1 - acceleration * shifted)))
    low, high = np.quantile(means, ends)
    return float(low), float(high)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConstantGuess:
    """What always giving one and the same answer would score."""

    answer: str
    accuracy: float


def constant_guess_floor(golds: Sequence[str]) -> ConstantGuess:
    """The commonest gold, by its text, and the share of questions it is right on; of equals the first.

    >>> constant_guess_floor(["4", "7", "4", "1"])
    ConstantGuess(answer='4', accuracy=0.5)
    """
    if not golds:
        raise ValueError("needs at least one gold")
    answer, count = Counter(gold.strip() for gold in golds).most_common(1)[0]
    return ConstantGuess(answer=answer, accuracy=count / len(golds))


def normal_quantile(probability: float) -> float:
    """z with this probability below it, of the standard normal distribution."""
    return float(scipy.stats.norm.ppf(probability))
