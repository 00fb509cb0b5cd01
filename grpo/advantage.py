"""Advantages: how much better a completion, or a token of it, is than its group. Rewards are never overwritten.

A reward of None ("could not tell") stays out of every mean and spread, and its advantage is 0; the loss leaves it out.
Where rewards are compared within their group, and those that are known are all equal, exactly, or fewer than two, all
advantages are 0: nothing is to be learned there.

Shapes: P problems, G completions of each, T tokens of a completion.
"""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

STD_EPS = 1e-4
"""Keeps the advantages of a group with almost equal rewards finite."""

Rewards = Sequence[float | None]
Estimator = Literal["grpo", "no_std", "rloo", "opo", "remax", "reinforce", "reinforce_baseline", "raw", "gae"]
"""How completions are compared: see `outcome_advantages`."""
ALONE: tuple[Estimator, ...] = ("remax", "reinforce", "raw", "gae")
"""Those that do not compare a completion with others of its problem."""
NOT_BY_PARTS: tuple[Estimator, ...] = ("opo", "remax", "gae")
"""Those that need more than rewards, so that `summed_advantages` does not know them."""


def outcome_advantages(
    rewards_PG: Sequence[Rewards],
    estimator: Estimator = "grpo",
    *,
    lengths_PG: Sequence[Sequence[int]] | None = None,
    greedy_P: Rewards | None = None,
) -> list[list[float]]:
    """One advantage for each completion, for all of its tokens.

    - grpo: (r - mean) / std, std with n - 1 (DeepSeekMath, arXiv:2402.03300, section 4.1.2)
    - no_std: r - mean (Dr. GRPO, arXiv:2503.20783)
    - rloo: r - the mean of the others, which is n / (n - 1) (r - mean) (RLOO, arXiv:2402.14740)
    - opo: r - the mean weighted by length (OPO, arXiv:2505.23585)
    - remax: r - the reward of the greedy completion (ReMax, arXiv:2310.10505)
    - reinforce: r, brought to mean 0 and std 1 over the batch (REINFORCE++, arXiv:2501.03262)
    - reinforce_baseline: r - mean of the group, brought to std 1 over the batch (ibid.)
    - gae: by a critic, see `generalised_advantages`, not here
    - raw: r itself, which of a verdict is I(o) of online rejection sampling (DeepSeekMath, section 5.2)

    Args:
        lengths_PG: tokens of each completion, which opo needs.
        greedy_P: the reward of the greedy completion of each problem, which remax needs.

    Raises:
        ValueError: if what the estimator needs is missing.

    >>> outcome_advantages([[1.0, 0.0, None, 0.0, 1.0]], "no_std")
    [[0.5, -0.5, 0.0, -0.5, 0.5]]
    """
    if estimator == "gae":
        raise ValueError("gae needs the values of a critic: see generalised_advantages")
    if estimator == "raw":
        return [_plain(group) for group in rewards_PG]
    if estimator == "reinforce":
        return _whitened(rewards_PG)
    if estimator == "reinforce_baseline":
        return _whitened([_of_known(group, _centred) for group in rewards_PG])
    if estimator == "opo":
        if lengths_PG is None:
            raise ValueError("opo weighs its baseline by length: lengths_PG is missing")
        return [
            _plain(_of_known(group, _less_weighted_mean(group, lengths)))
            for group, lengths in zip(rewards_PG, lengths_PG, strict=True)
        ]
    if estimator == "remax":
        if greedy_P is None:
            raise ValueError("remax compares with the greedy completion: greedy_P is missing")
        return [
            [0.0 if reward is None or greedy is None else reward - greedy for reward in group]
            for group, greedy in zip(rewards_PG, greedy_P, strict=True)
        ]
    compare = {"grpo": _standardised, "no_std": _centred, "rloo": _less_the_others}[estimator]
    return [_plain(_of_known(group, compare)) for group in rewards_PG]


def process_advantages(
    steps_G: Sequence[Sequence[tuple[int, float]] | None], lengths_G: Sequence[int]
) -> list[list[float]]:
    """One advantage for each token of a group, from rewards at the ends of steps (process supervision).

    All step rewards of the group are brought to mean 0 and std 1 together, std with n - 1; a token's advantage is the
    sum of those at or behind it (arXiv:2402.03300, section 4.1.3). Tokens behind the last step have 0. A completion of
    many steps weighs more in mean and std, and its sums are larger: so the paper has it.

    Args:
        steps_G: of each completion, (index of the last token of the step, reward) in order; None if it has no score.
        lengths_G: tokens of each completion.

    Raises:
        ValueError: if a step ends outside of its completion, or before the one in front of it; at the same token is
            allowed.
    """
    known = [reward for steps in steps_G for _, reward in steps or ()]
    if len(set(known)) < 2:
        return [[0.0] * length for length in lengths_G]
    mean, std = statistics.fmean(known), statistics.stdev(known)
    advantages_GT: list[list[float]] = []
    for steps, length in zip(steps_G, lengths_G, strict=True):
        ends = [end for end, _ in steps or ()]
        if ends != sorted(ends) or any(not 0 <= end < length for end in ends):
            raise ValueError(f"steps end at the tokens {ends} of {length}: they must rise and be inside")
        advantages_T = [0.0] * length
        rest, behind = 0.0, length
        for end, reward in reversed(steps or ()):
            advantages_T[end + 1 : behind] = [rest] * (behind - end - 1)  # none, if two steps end here
            rest, behind = rest + (reward - mean) / (std + STD_EPS), end + 1
        advantages_T[:behind] = [rest] * behind
        advantages_GT.append(advantages_T)
    return advantages_GT


def summed_advantages(
    rewards_by_name: Mapping[str, Sequence[Rewards]], weights: Mapping[str, float], estimator: Estimator = "grpo"
) -> list[list[float]]:
    """Several rewards, each compared within its group before they are added with their weights: no one of them is
    drowned by another that varies more. To add first, compare the rewards of a `compose.WeightedSum`.

    Raises:
        ValueError: if the estimator needs more than rewards.
    """
    parts = [(weights[name], outcome_advantages(rewards, estimator)) for name, rewards in rewards_by_name.items()]
    first = parts[0][1]
    return [
        [sum(weight * part[p][g] for weight, part in parts) for g in range(len(group))] for p, group in enumerate(first)
    ]


def generalised_advantages(
    rewards_T: Sequence[float], values_T: Sequence[float], *, gamma: float = 1.0, lam: float = 1.0
) -> tuple[list[float], list[float]]:
    """Advantages and returns of one completion for PPO (GAE: Schulman et al., arXiv:1506.02438, eq. 11 and 16).

    delta_t = r_t + gamma V_{t+1} - V_t and A_t = delta_t + gamma lam A_{t+1}, with nothing behind the last token; the
    return is A_t + V_t.
    """
    advantages_T = [0.0] * len(rewards_T)
    following, advantage = 0.0, 0.0
    for t in reversed(range(len(rewards_T))):
        delta = rewards_T[t] + gamma * following - values_T[t]
        advantage = delta + gamma * lam * advantage
        advantages_T[t], following = advantage, values_T[t]
    return advantages_T, [a + v for a, v in zip(advantages_T, values_T, strict=True)]


Compare = Callable[[list[float]], list[float]]


def _of_known(rewards_G: Rewards, compare: Compare) -> list[float | None]:
    """Compares the known rewards of a group; the others stay None, and equal ones are 0."""
    known = [reward for reward in rewards_G if reward is not None]
    compared = iter(compare(known) if len(set(known)) > 1 else [0.0] * len(known))
    return [None if reward is None else next(compared) for reward in rewards_G]


def _plain(advantages_G: Sequence[float | None]) -> list[float]:
    return [0.0 if advantage is None else advantage for advantage in advantages_G]


def _standardised(known: list[float]) -> list[float]:
    mean, std = statistics.fmean(known), statistics.stdev(known)
    return [(reward - mean) / (std + STD_EPS) for reward in known]


def _centred(known: list[float]) -> list[float]:
    mean = statistics.fmean(known)
    return [reward - mean for reward in known]


def _less_the_others(known: list[float]) -> list[float]:
    return [len(known) / (len(known) - 1) * reward for reward in _centred(known)]


def _less_weighted_mean(rewards_G: Rewards, lengths_G: Sequence[int]) -> Compare:
    lengths = [length for reward, length in zip(rewards_G, lengths_G, strict=True) if reward is not None]

    def compare(known: list[float]) -> list[float]:
        mean = math.fsum(reward * length for reward, length in zip(known, lengths, strict=True)) / sum(lengths)
        return [reward - mean for reward in known]

    return compare


def _whitened(values_PG: Sequence[Sequence[float | None]]) -> list[list[float]]:
    """Mean 0 and std 1 over the whole batch, those that are not known left out."""
    known = [value for group in values_PG for value in group if value is not None]
    if len(set(known)) < 2:
        return [[0.0] * len(group) for group in values_PG]
    mean, std = statistics.fmean(known), statistics.stdev(known)
    return [[0.0 if value is None else (value - mean) / (std + STD_EPS) for value in group] for group in values_PG]
