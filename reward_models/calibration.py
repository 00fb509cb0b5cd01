"""Whether sigmoid(r_chosen - r_rejected) is the probability that it seems to be."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

NUM_BINS = 15  # as usual since Guo et al. 2017
LARGEST_LOG_TEMPERATURE = 7.0  # a thousand: where rewards tell nothing, the best temperature has no end


@dataclass(frozen=True, slots=True, kw_only=True)
class Errors:
    """How far predicted probabilities are off; 0 is right and certain."""

    ece: float
    """Expected calibration error (Guo et al. 2017, arXiv:1706.04599, eq. 3): mean over pairs of |confidence - accuracy|
    in 15 bins of the confidence max(p, 1 - p)."""
    brier: float
    """Mean of (1 - p)^2, p of the chosen one: 0.25 for one who never knows."""
    nll: float
    """Mean of -log p, in nats: 0.693 for one who never knows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Probabilities sigmoid(lead / temperature) of pairs."""

    as_trained: Errors
    temperature: float | None
    """The one with the least nll on all pairs. None where there is none: where no lead is wrong, the lower the better;
    where leads tell nothing, the higher the better, and as trained the nll is log 2 or more."""
    scaled: Errors
    """With temperatures that were found on other questions: those of one half are for the other."""


def calibration_of(leads: Sequence[float], groups: Sequence[str]) -> Calibration:
    """
    Args:
        leads: r_chosen - r_rejected of each pair.
        groups: the question of each pair.
    """
    leads_N = np.array(leads, dtype=np.float64)
    half_N = np.array([zlib.crc32(group.encode()) % 2 for group in groups])
    scaled_N = leads_N.copy()
    for half in (0, 1):
        others = leads_N[half_N != half]
        scaled_N[half_N == half] /= temperature_of(others) if len(others) else 1.0
    has_best = leads_N.mean() > 0 > leads_N.min()  # the nll is convex in 1 / T and begins with the slope -mean / 2
    return Calibration(
        as_trained=errors_of(leads_N),
        temperature=temperature_of(leads_N) if has_best else None,
        scaled=errors_of(scaled_N),
    )


def temperature_of(leads_N: NDArray[np.float64]) -> float:
    """The T with the least mean of -log sigmoid(lead / T)."""

    def nll(log_temperature: float) -> float:
        return float(np.logaddexp(0, -leads_N / np.exp(log_temperature)).mean())

    bounds = (-LARGEST_LOG_TEMPERATURE, LARGEST_LOG_TEMPERATURE)
    return float(np.exp(minimize_scalar(nll, bounds=bounds, method="bounded").x))


def errors_of(leads_N: NDArray[np.float64]) -> Errors:
    """Of the probabilities sigmoid(lead) that the chosen one is better."""
    p_N = 1 / (1 + np.exp(-np.clip(leads_N, -500, 500)))
    confidence_N = np.maximum(p_N, 1 - p_N)
    credit_N = np.where(leads_N == 0, 0.5, leads_N > 0)
    bin_N = np.minimum((confidence_N * NUM_BINS).astype(int), NUM_BINS - 1)
    gaps = np.bincount(bin_N, weights=confidence_N - credit_N, minlength=NUM_BINS)
    return Errors(
        ece=float(np.abs(gaps).sum() / len(leads_N)),
        brier=float(np.square(1 - p_N).mean()),
        nll=float(np.logaddexp(0, -leads_N).mean()),
    )
