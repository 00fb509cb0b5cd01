"""Objectives: functions of log-probabilities that give a loss for each token.

A loss is -(gain) + kl_coef * KL - entropy_coef * entropy for each token; the loop weighs and adds them up
(`weights_of`). Its derivative by a token's log-probability is the negative of the gradient coefficient of
DeepSeekMath's unified paradigm (arXiv:2402.03300, eq. 5 and 21).

Shapes: M completion tokens, one completion after another; S completions. Everything here is a vector.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from markscheme.optimizer import check_settings

Surrogate = Literal["clip", "cispo", "sapo", "plain"]
Average = Literal["completion", "token", "constant"]
Divergence = Literal["k1", "k2", "k3", "k2_ratio", "k3_ratio", "k1_reward"]
Correction = Literal["none", "token", "token_mask", "sequence", "sequence_mask", "geometric_mask"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """What is maximised. The defaults are GRPO's as DeepSeekMath has it, on one update a batch."""

    surrogate: Surrogate = "clip"
    """clip: min(rho A, clip(rho) A) (PPO, arXiv:1707.06347, eq. 7); cispo: the clipped ratio as a constant weight
    (arXiv:2506.13585); sapo: a sigmoid gate in place of the clip (arXiv:2511.20347); plain: A log pi."""
    sequence_ratio: bool = False
    """Whether all tokens of a completion share the geometric mean of their ratios (GSPO, arXiv:2507.18071)."""
    clip_low: float = 0.2
    """A ratio below 1 - clip_low has no more gain, with a negative advantage."""
    clip_high: float = 0.2
    """A ratio above 1 + clip_high has no more gain, with a positive advantage (0.28 in DAPO, arXiv:2503.14476)."""
    ratio_cap: float = 0.0
    """The unclipped ratio is capped here too, which bounds the loss at a negative advantage; 0 is no cap."""
    gate_positive: float = 1.0
    """Temperature of sapo's gate at a positive advantage."""
    gate_negative: float = 1.05
    """And at a negative one."""
    average: Average = "completion"
    """completion: each completion weighs the same; token: each token does (DAPO); constant: a token weighs
    1 / (completions * max_completion_tokens) (Dr. GRPO, arXiv:2503.20783)."""
    kl: Divergence = "k3"
    """Estimator of KL(pi || pi_ref), see `divergence`; k1_reward takes it off the reward instead."""
    kl_coef: float = 0.0
    """Its weight; 0 needs no reference model."""
    entropy_coef: float = 0.0
    """Weight of a bonus for the entropy of each token's distribution."""
    correction: Correction = "none"
    """For a sampler whose probabilities differ from the trainer's: see `correction_weights`."""
    correction_low: float = 0.0
    """Lowest ratio that a mask leaves in."""
    correction_high: float = 2.0
    """Highest ratio: larger ones are cut down to it, or masked."""
    off_policy_limit: float = 0.0
    """Drops a completion with a negative advantage whose mean log(old / new) is above this (DeepSeek-V3.2,
    arXiv:2512.02556); 0 drops none."""

    def __post_init__(self) -> None:
        check_settings(
            self,
            positive=("clip_low", "clip_high", "gate_positive", "gate_negative", "correction_high"),
            not_negative=("ratio_cap", "kl_coef", "entropy_coef", "correction_low", "off_policy_limit"),
        )
        if self.correction_low > self.correction_high:
            raise ValueError(f"correction_low must not be above correction_high, got {self.correction_low}")

    @property
    def needs_whole_completions(self) -> bool:
        """Whether a token's loss depends on the other tokens of its completion."""
        by_sequence = self.correction in ("sequence", "sequence_mask", "geometric_mask")
        return self.sequence_ratio or self.off_policy_limit > 0 or by_sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """What an objective may look at besides the log-probabilities that it moves."""

    old_logprobs_M: Tensor
    """Of the policy before the first update on these completions."""
    advantages_M: Tensor
    lengths_S: Tensor
    """Tokens of each completion; they add up to M."""
    reference_logprobs_M: Tensor | None = None
    sampler_logprobs_M: Tensor | None = None
    """As the engine reported them, which may differ from the old ones."""


def token_losses(objective: Objective, logprobs_M: Tensor, tokens: Tokens, entropy_M: Tensor | None = None) -> Tensor:
    """The loss of each token: [M].

    Raises:
        ValueError: if the objective needs something that `tokens` does not have.
    """
    gain_M = surrogate_gain(objective, logprobs_M, tokens)
    if objective.correction != "none":
        if tokens.sampler_logprobs_M is None:
            raise ValueError("a correction for the sampler needs its log-probabilities")
        log_ratio_M = tokens.old_logprobs_M - tokens.sampler_logprobs_M
        gain_M = gain_M * correction_weights(objective, log_ratio_M, tokens.lengths_S)
    loss_M = -gain_M
    if objective.kl_coef and objective.kl != "k1_reward":
        if tokens.reference_logprobs_M is None:
            raise ValueError("a KL term needs the log-probabilities of the reference")
        kl_M = divergence(objective.kl, logprobs_M, tokens.reference_logprobs_M, tokens.old_logprobs_M)
        loss_M = loss_M + objective.kl_coef * kl_M
    if objective.entropy_coef:
        if entropy_M is None:
            raise ValueError("an entropy bonus needs the entropy of each token's distribution")
        loss_M = loss_M - objective.entropy_coef * entropy_M
    return loss_M


def surrogate_gain(objective: Objective, logprobs_M: Tensor, tokens: Tokens) -> Tensor:
    """What is to be gained by each token, to first order its advantage times its ratio to the old policy: [M]."""
    advantages_M = tokens.advantages_M
    if objective.surrogate == "plain":
        return advantages_M * logprobs_M
    log_ratio_M = logprobs_M - tokens.old_logprobs_M
    if objective.sequence_ratio:
        mean_M = mean_by_completion(log_ratio_M, tokens.lengths_S)
        log_ratio_M = mean_M.detach() + logprobs_M - logprobs_M.detach()  # GSPO-token: its gradient token by token
    ratio_M = log_ratio_M.exp()
    low, high = 1 - objective.clip_low, 1 + objective.clip_high
    if objective.surrogate == "cispo":
        gain_M = ratio_M.detach().clamp(low, high) * advantages_M * logprobs_M
    elif objective.surrogate == "sapo":
        gates = advantages_M.new_tensor(objective.gate_positive), advantages_M.new_tensor(objective.gate_negative)
        temperature_M = torch.where(advantages_M > 0, *gates)
        gain_M = 4 / temperature_M * torch.sigmoid(temperature_M * (ratio_M - 1)) * advantages_M
    else:
        unclipped_M = ratio_M.clamp(max=objective.ratio_cap) if objective.ratio_cap else ratio_M
        gain_M = torch.minimum(unclipped_M * advantages_M, ratio_M.clamp(low, high) * advantages_M)
    if objective.off_policy_limit:
        drift_M = mean_by_completion((tokens.old_logprobs_M - logprobs_M).detach(), tokens.lengths_S)
        gain_M = gain_M * ~((advantages_M < 0) & (drift_M > objective.off_policy_limit))
    return gain_M


def divergence(kind: Divergence, logprobs_M: Tensor, reference_logprobs_M: Tensor, old_logprobs_M: Tensor) -> Tensor:
    """Estimates of KL(pi || pi_ref) from the tokens that were drawn (Schulman 2020, joschu.net/blog/kl-approx.html).

    With r = pi_ref / pi: k1 = -log r, k2 = (log r)^2 / 2, k3 = r - log r - 1 (arXiv:2402.03300, eq. 4). As a loss on
    policy, k1 has no gradient on average, k2 has that of the reverse KL, k3 that of the forward KL(pi_ref || pi). The
    ratio forms weigh with pi / pi_old, and have the reverse KL's gradient off policy too.
    """
    log_r_M = reference_logprobs_M - logprobs_M
    if kind in ("k1", "k1_reward"):
        return -log_r_M
    if kind == "k2":
        return log_r_M.square() / 2
    if kind == "k3":
        return log_r_M.exp() - log_r_M - 1
    ratio_M = (logprobs_M - old_logprobs_M).exp()
    if kind == "k2_ratio":
        return ratio_M.detach() * log_r_M.square() / 2
    return ratio_M * (log_r_M.exp() - log_r_M - 1)


def correction_weights(objective: Objective, log_ratio_M: Tensor, lengths_S: Tensor) -> Tensor:
    """Importance weights old / sampler for each token, as constants: [M].

    token: min(ratio, high); token_mask: the ratio, 0 outside of [low, high] (IcePop); sequence and sequence_mask: the
    same for the product over a completion; geometric_mask: 1, 0 where the geometric mean is outside.
    """
    low, high = objective.correction_low, objective.correction_high
    kind = objective.correction
    if kind.startswith("sequence"):
        log_ratio_M = sum_by_completion(log_ratio_M, lengths_S)
    elif kind == "geometric_mask":
        log_ratio_M = mean_by_completion(log_ratio_M, lengths_S)
    ratio_M = log_ratio_M.detach().exp()
    if not kind.endswith("mask"):
        return ratio_M.clamp(max=high)
    inside_M = (ratio_M >= low) & (ratio_M <= high)
    return inside_M.to(ratio_M.dtype) if kind == "geometric_mask" else ratio_M * inside_M


def sum_by_completion(values_M: Tensor, lengths_S: Tensor) -> Tensor:
    """The sum over its completion, for each token: [M]."""
    owner_M = torch.arange(len(lengths_S), device=values_M.device).repeat_interleave(lengths_S)
    return values_M.new_zeros(len(lengths_S)).index_add(0, owner_M, values_M)[owner_M]


def mean_by_completion(values_M: Tensor, lengths_S: Tensor) -> Tensor:
    """The mean over its completion, for each token: [M]."""
    return sum_by_completion(values_M, lengths_S) / lengths_S.repeat_interleave(lengths_S)


def weights_of(average: Average, lengths_PG: Sequence[Sequence[int]], max_completion_tokens: int) -> list[list[float]]:
    """What a token of each completion weighs in the loss of an optimizer step, known before any forward pass.

    Args:
        lengths_PG: trained tokens of each completion; 0 for one that is in no loss.

    Lengths of the whole step are needed, so that neither micro-batches nor ranks nor what is not forwarded can change
    the gradient.
    """
    if average == "completion":
        trained_P = [sum(length > 0 for length in group) for group in lengths_PG]
        return [
            [1 / (len(lengths_PG) * trained * length) if length else 0.0 for length in group]
            for group, trained in zip(lengths_PG, trained_P, strict=True)
        ]
    if average == "token":
        total = sum(map(sum, lengths_PG))
    else:
        total = max_completion_tokens * sum(length > 0 for group in lengths_PG for length in group)
    return [[1 / total if length else 0.0 for length in group] for group in lengths_PG]
