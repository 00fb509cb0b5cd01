"""A linear model on n-grams of words: what a reward model must beat to be worth its weights."""

import re
import zlib
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.sparse import csr_matrix

from markscheme.reward_models.preferences import PreferencePair

NUM_FEATURES = 2**18  # n-grams that share one of them by chance are few
LONGEST = 3
REGULARISATION = 1.0
WORD = re.compile(r"\d|[^\W\d]+|[^\w\s]")  # numbers digit by digit


class NGramModel:
    """Bradley and Terry's model (1952), linear in log(1 + count) of each n-gram of a completion, n up to 3."""

    def __init__(self, pairs: Sequence[PreferencePair]) -> None:
        """Fits it: the maximum of the pairs' weighted likelihood, with a Gaussian prior on each weight."""
        leads = _features([pair.chosen for pair in pairs]) - _features([pair.rejected for pair in pairs])
        weights = np.array([pair.weight for pair in pairs])
        weights *= len(weights) / weights.sum()

        def cost(w: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
            margins = leads @ w
            value = weights @ np.logaddexp(0, -margins) + REGULARISATION / 2 * (w @ w)
            return float(value), -leads.T @ (weights / (1 + np.exp(margins))) + REGULARISATION * w

        self.weights = minimize(cost, np.zeros(NUM_FEATURES), jac=True, method="L-BFGS-B").x

    def rewards(self, completions: Sequence[str]) -> list[float]:
        """One number a completion, higher for better."""
        values: list[float] = (_features(completions) @ self.weights).tolist()
        return values


def _features(texts: Sequence[str]) -> csr_matrix:
    rows: list[int] = []
    columns: list[int] = []
    values: list[float] = []
    for row, text in enumerate(texts):
        words = WORD.findall(text.lower())
        grams = Counter(
            zlib.crc32(" ".join(words[i : i + n]).encode("utf-8", "replace")) % NUM_FEATURES
            for n in range(1, LONGEST + 1)
            for i in range(len(words) - n + 1)
        )
        rows += [row] * len(grams)
        columns += grams.keys()
        values += map(np.log1p, grams.values())
    return csr_matrix((values, (rows, columns)), shape=(len(texts), NUM_FEATURES))
