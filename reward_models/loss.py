"""Losses on rewards. Shapes: B pairs."""

import torch.nn.functional as F
from torch import Tensor


def bradley_terry_loss(chosen_B: Tensor, rejected_B: Tensor, weights_B: Tensor | None = None) -> Tensor:
    """Weighted mean of -log sigmoid(r_chosen - r_rejected)  (Ouyang et al. 2022, arXiv:2203.02155, eq. 1).

    Two rewards that tie cost log 2:

    >>> import torch
    >>> round(bradley_terry_loss(torch.tensor([1.5]), torch.tensor([1.5])).item(), 4)
    0.6931
    """
    losses_B = -F.logsigmoid(chosen_B - rejected_B)
    if weights_B is None:
        return losses_B.mean()
    return (weights_B * losses_B).sum() / weights_B.sum()
