"""Losses on rewards. Shapes: B pairs or completions, K completions of one prompt, T tokens or steps."""

import torch.nn.functional as F
from torch import Tensor


def bradley_terry_loss(
    chosen_B: Tensor, rejected_B: Tensor, *, margin_B: Tensor | float = 0.0, certainty_B: Tensor | float = 1.0
) -> Tensor:
    """-p log sigmoid(d - m) - (1 - p) log sigmoid(-d + m) of each pair, d = r_chosen - r_rejected: [B].

    With margin m = 0 and certainty p = 1 the loss of Ouyang et al. 2022 (arXiv:2203.02155, eq. 1); the margin is that
    of Touvron et al. 2023 (arXiv:2307.09288, eq. 2). A certainty below 1 is a soft label, or a smoothed one.

    Two rewards that tie cost log 2:

    >>> import torch
    >>> round(bradley_terry_loss(torch.tensor([1.5]), torch.tensor([1.5])).item(), 4)
    0.6931
    """
    lead_B = chosen_B - rejected_B - margin_B
    return -certainty_B * F.logsigmoid(lead_B) - (1 - certainty_B) * F.logsigmoid(-lead_B)


def smoothed(certainty_B: Tensor, label_smoothing: float) -> Tensor:
    """The certainty if a label is the wrong way round with probability `label_smoothing`: p (1 - e) + (1 - p) e."""
    return certainty_B * (1 - label_smoothing) + (1 - certainty_B) * label_smoothing


def centring_loss(chosen_B: Tensor, rejected_B: Tensor) -> Tensor:
    """(r_chosen + r_rejected)^2 of each pair: [B]. A pair's loss leaves the sum of its rewards open; this draws it to 0
    (Eisenstein et al. 2023, arXiv:2312.09244).
    """
    return (chosen_B + rejected_B).square()


def plackett_luce_loss(rewards_K: Tensor) -> Tensor:
    """-log of the probability of a ranking, best first: sum over k of logsumexp(r_k, ..., r_K) - r_k (Plackett 1975).

    Two completions are a pair of Bradley and Terry's; three that tie are one of six orders, log 6:

    >>> import torch
    >>> round(plackett_luce_loss(torch.zeros(3)).item(), 4)
    1.7918
    """
    return (rewards_K.flip(0).logcumsumexp(0).flip(0) - rewards_K).sum()


def pointwise_loss(rewards_B: Tensor, ratings_B: Tensor) -> Tensor:
    """Cross entropy of sigmoid(r) and a rating of 0 to 1: [B]."""
    return F.binary_cross_entropy_with_logits(rewards_B, ratings_B, reduction="none")


def token_level_loss(values_T: Tensor, rating: float) -> Tensor:
    """Mean of (v_t - y)^2 over the tokens of a completion, each of which predicts whether it will be right
    (Cobbe et al. 2021, arXiv:2110.14168).
    """
    return (values_T - rating).square().mean()
