"""Objectives: functions of log-probabilities that give a loss for each token.

Shapes: M completion tokens, one after another; everything here is a vector of that length.
"""

import torch
from torch import Tensor


def grpo_loss(
    logprobs_M: Tensor,
    old_logprobs_M: Tensor,
    advantages_M: Tensor,
    *,
    clip_eps: float,
    reference_logprobs_M: Tensor | None = None,
    kl_coef: float = 0.0,
) -> Tensor:
    """-(min(rho A, clip(rho, 1 - eps, 1 + eps) A) - beta KL) per token  (arXiv:2402.03300, eq. 3)."""
    ratio_M = (logprobs_M - old_logprobs_M).exp()
    clipped_M = ratio_M.clamp(1 - clip_eps, 1 + clip_eps)
    gain_M = torch.minimum(ratio_M * advantages_M, clipped_M * advantages_M)
    if reference_logprobs_M is None:
        return -gain_M
    return kl_coef * k3(logprobs_M, reference_logprobs_M) - gain_M


def k3(logprobs_M: Tensor, reference_logprobs_M: Tensor) -> Tensor:
    """pi_ref/pi - log(pi_ref/pi) - 1: never negative, and unbiased for KL(pi || pi_ref)  (ibid., eq. 4)."""
    log_ratio_M = reference_logprobs_M - logprobs_M
    return log_ratio_M.exp() - log_ratio_M - 1
