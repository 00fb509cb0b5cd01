"""One token for each row, and how close the call was.

Shapes: B rows, V vocabulary.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from markscheme.generation import Sampling


class Drawn(NamedTuple):
    """What was drawn."""

    tokens_B: Tensor
    logprobs_B: Tensor
    """Log-probability of each token under the distribution it was drawn from (greedy: temperature 1)."""
    gaps_B: Tensor
    """Logits that are off by less than this would have given the same token."""


def draw(logits_BV: Tensor, uniform_B: Tensor, sampling: Sampling) -> Drawn:
    """One token for each row.

    Drawn by inverting the distribution function at `uniform_B`, a number in [0, 1) a row; greedy rows take the
    likeliest token.
    """
    if sampling.temperature == 0:
        logprobs_BV = logits_BV.log_softmax(-1)
        tokens_B = logits_BV.argmax(-1)
        best_B2 = logits_BV.topk(min(2, logits_BV.shape[-1])).values
        gaps_B = (best_B2[:, 0] - best_B2[:, -1]) / 2  # the one may be too high while the other is too low
        return Drawn(tokens_B, logprobs_BV.gather(-1, tokens_B[:, None])[:, 0], gaps_B)
    logprobs_BV = (logits_BV / sampling.temperature).log_softmax(-1)
    border_B = share_B = None
    if sampling.top_p < 1:
        logprobs_BV, border_B, share_B = nucleus(logprobs_BV, sampling.top_p)
    cumulative_BV = logprobs_BV.double().exp().cumsum(-1)
    wanted_B1 = uniform_B[:, None] * cumulative_BV[:, -1:]
    tokens_B1 = torch.searchsorted(cumulative_BV, wanted_B1, right=True).clamp(max=logits_BV.shape[-1] - 1)
    end_B1 = cumulative_BV.gather(-1, tokens_B1)
    logprobs_B1 = logprobs_BV.gather(-1, tokens_B1)
    start_B1 = end_B1 - logprobs_B1.double().exp()
    edges_B2 = torch.cat([start_B1, end_B1], -1) / cumulative_BV[:, -1:]
    reach_B2 = (edges_B2 - uniform_B[:, None]).abs()
    gap_B = _gap(edges_B2, reach_B2)
    if border_B is not None and share_B is not None:
        # A token that comes into the nucleus or falls out of it moves the distribution function by its share at most.
        beyond_B = _gap(edges_B2, reach_B2 - share_B[:, None])
        gap_B = torch.minimum(gap_B, torch.maximum(border_B, beyond_B))
    return Drawn(tokens_B1[:, 0], logprobs_B1[:, 0], gap_B * sampling.temperature)


def _gap(edges_B2: Tensor, reach_B2: Tensor) -> Tensor:
    """How far off the logits must be to carry one of two steps of the distribution function so far: a step at F moves
    by 2 F (1 - F) d, if the logits of the tokens before it are too high by d and the others too low.
    """
    return (reach_B2 / (2 * edges_B2 * (1 - edges_B2)).clamp(min=1e-12)).amin(-1)


def nucleus(logprobs_BV: Tensor, top_p: float) -> tuple[Tensor, Tensor, Tensor]:
    """Keeps the likeliest tokens that together reach `top_p` (Holtzman et al. 2020, arXiv:1904.09751).

    Returns:
        The log-probabilities of what is left, by how much those given may be off until other tokens are kept, and the
        share of the last one that is kept.
    """
    sorted_BV, order_BV = logprobs_BV.sort(-1, descending=True)
    before_BV = sorted_BV.exp().cumsum(-1) - sorted_BV.exp()
    kept_BV = before_BV < top_p
    last_B = sorted_BV.masked_fill(~kept_BV, torch.inf).amin(-1)
    first_out_B = sorted_BV.masked_fill(kept_BV, -torch.inf).amax(-1)
    gap_B = torch.minimum((before_BV - top_p).abs().amin(-1), (last_B - first_out_B) / 2)
    kept_mass_B = (sorted_BV.exp() * kept_BV).sum(-1)
    kept_BV = torch.empty_like(kept_BV).scatter(-1, order_BV, kept_BV)
    return logprobs_BV.masked_fill(~kept_BV, -torch.inf).log_softmax(-1), gap_B, last_B.exp() / kept_mass_B
