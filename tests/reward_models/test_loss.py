import torch
from torch import tensor
from torch.testing import assert_close

from markscheme.reward_models import bradley_terry_loss


def test_loss_of_one_pair() -> None:
    # margin = 3 - 1 = 2; sigmoid(2) = 1 / (1 + e^-2) = 1 / 1.135335 = 0.880797; -log 0.880797 = 0.126928
    assert_close(bradley_terry_loss(tensor([3.0]), tensor([1.0])), tensor(0.126928))


def test_only_the_difference_counts() -> None:
    assert_close(bradley_terry_loss(tensor([103.0]), tensor([101.0])), tensor(0.126928))


def test_mean_over_pairs() -> None:
    # margins 2, 0, -1: 0.126928, log 2 = 0.693147, log(1 + e) = 1.313262; sum 2.133337, mean 0.711112
    assert_close(bradley_terry_loss(tensor([3.0, 1.0, 0.0]), tensor([1.0, 1.0, 1.0])), tensor(0.711112))


def test_weighted_mean_is_over_the_weights_not_the_pairs() -> None:
    # margins 2 and 0 with weights 1 and 3: (0.126928 + 3 * 0.693147) / 4 = 2.206370 / 4 = 0.551592
    loss = bradley_terry_loss(tensor([3.0, 1.0]), tensor([1.0, 1.0]), tensor([1.0, 3.0]))
    assert_close(loss, tensor(0.551592))


def test_gradient() -> None:
    # d/dr_chosen = -(1 - sigmoid(margin)): -(1 - 0.880797) = -0.119203; opposite for the rejected one
    chosen, rejected = tensor([3.0], requires_grad=True), tensor([1.0], requires_grad=True)
    bradley_terry_loss(chosen, rejected).backward()
    assert_close(chosen.grad, tensor([-0.119203]))
    assert_close(rejected.grad, tensor([0.119203]))


def test_a_hopeless_pair_costs_its_margin_and_stays_finite() -> None:
    # -log sigmoid(-1000) = log(1 + e^1000) = 1000 in float32
    assert_close(bradley_terry_loss(tensor([0.0]), tensor([1000.0])), tensor(1000.0))
    assert torch.isfinite(bradley_terry_loss(tensor([1e30]), tensor([-1e30])))
