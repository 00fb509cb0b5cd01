"""Advantages: how much better a completion is than its group. Rewards are never overwritten."""

import statistics
from collections.abc import Sequence

STD_EPS = 1e-4  # keeps the advantages of a group with almost equal rewards finite


def group_advantages(rewards_G: Sequence[float | None]) -> list[float]:
    """(r - mean) / std of one group, std with n - 1  (outcome supervision, arXiv:2402.03300, section 4.1.2).

    A reward of None ("could not tell") stays out of mean and std and has advantage 0. So has everybody where
    all rewards are equal, exactly, or fewer than two are known.

    >>> [round(advantage, 3) for advantage in group_advantages([1.0, 0.0, None, 0.0, 1.0])]
    [0.866, -0.866, 0.0, -0.866, 0.866]
    """
    known = [reward for reward in rewards_G if reward is not None]
    if len(set(known)) < 2:
        return [0.0] * len(rewards_G)
    mean, std = statistics.fmean(known), statistics.stdev(known)
    return [0.0 if reward is None else (reward - mean) / (std + STD_EPS) for reward in rewards_G]
