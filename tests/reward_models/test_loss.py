import math

import torch
from torch import tensor
from torch.testing import assert_close

from markscheme.reward_models import bradley_terry_loss
from markscheme.reward_models.loss import (
    centring_loss,
    plackett_luce_loss,
    pointwise_loss,
    smoothed,
    token_level_loss,
)


def test_loss_of_one_pair() -> None:
    # lead = 3 - 1 = 2; sigmoid(2) = 1 / (1 + e^-2) = 1 / 1.135335 = 0.880797; -log 0.880797 = 0.126928
    assert_close(bradley_terry_loss(tensor([3.0]), tensor([1.0])), tensor([0.126928]))


def test_only_the_difference_counts() -> None:
    assert_close(bradley_terry_loss(tensor([103.0]), tensor([101.0])), tensor([0.126928]))


def test_each_pair_has_its_loss() -> None:
    # leads 2, 0, -1: 0.126928, log 2 = 0.693147, log(1 + e) = 1.313262
    found = bradley_terry_loss(tensor([3.0, 1.0, 0.0]), tensor([1.0, 1.0, 1.0]))
    assert_close(found, tensor([0.126928, 0.693147, 1.313262]))


def test_a_margin_is_what_the_lead_must_exceed() -> None:
    # lead 2, margin 3: -log sigmoid(2 - 3) = log(1 + e^1) = 1.313262; margin 2: log 2
    assert_close(bradley_terry_loss(tensor([3.0]), tensor([1.0]), margin_B=tensor([3.0])), tensor([1.313262]))
    assert_close(bradley_terry_loss(tensor([3.0]), tensor([1.0]), margin_B=tensor([2.0])), tensor([math.log(2)]))


def test_a_certainty_below_one_costs_both_ways() -> None:
    # lead 2, p 0.75: 0.75 * 0.126928 + 0.25 * log(1 + e^2) = 0.095196 + 0.25 * 2.126928 = 0.626928
    found = bradley_terry_loss(tensor([3.0]), tensor([1.0]), certainty_B=tensor([0.75]))
    assert_close(found, tensor([0.626928]))
    # with a margin of 1 both see a lead of 1: 0.75 * 0.313262 + 0.25 * 1.313262 = 0.563262
    found = bradley_terry_loss(tensor([3.0]), tensor([1.0]), margin_B=tensor([1.0]), certainty_B=tensor([0.75]))
    assert_close(found, tensor([0.563262]))


def test_smoothing_turns_labels_round() -> None:
    # e = 0.1: 1 -> 0.9; 0.75 -> 0.75 * 0.9 + 0.25 * 0.1 = 0.7; 0.5 stays
    assert_close(smoothed(tensor([1.0, 0.75, 0.5]), 0.1), tensor([0.9, 0.7, 0.5]))
    # so that a certain pair of lead 2 costs 0.9 * 0.126928 + 0.1 * 2.126928 = 0.326928
    found = bradley_terry_loss(tensor([3.0]), tensor([1.0]), certainty_B=smoothed(tensor([1.0]), 0.1))
    assert_close(found, tensor([0.326928]))


def test_gradient() -> None:
    # d/dr_chosen = -(1 - sigmoid(lead)): -(1 - 0.880797) = -0.119203; opposite for the rejected one
    chosen, rejected = tensor([3.0], requires_grad=True), tensor([1.0], requires_grad=True)
    bradley_terry_loss(chosen, rejected).sum().backward()
    assert_close(chosen.grad, tensor([-0.119203]))
    assert_close(rejected.grad, tensor([0.119203]))


def test_a_hopeless_pair_costs_its_lead_and_stays_finite() -> None:
    # -log sigmoid(-1000) = log(1 + e^1000) = 1000 in float32
    assert_close(bradley_terry_loss(tensor([0.0]), tensor([1000.0])), tensor([1000.0]))
    assert torch.isfinite(bradley_terry_loss(tensor([1e30]), tensor([-1e30]))).all()


def test_centring_draws_the_sum_to_nothing() -> None:
    # (3 + 1)^2 = 16; (2 - 2)^2 = 0
    assert_close(centring_loss(tensor([3.0, 2.0]), tensor([1.0, -2.0])), tensor([16.0, 0.0]))


def test_plackett_luce_is_a_product_of_choices() -> None:
    # best first, rewards 2, 1, 0: e^2 = 7.389056, e = 2.718282, 1; chosen first of 11.107338, then of 3.718282:
    # -log(7.389056 / 11.107338) - log(2.718282 / 3.718282) = 0.407606 + 0.313262 = 0.720868
    assert_close(plackett_luce_loss(tensor([2.0, 1.0, 0.0])), tensor(0.720868))
    assert_close(plackett_luce_loss(tensor([3.0, 1.0])), tensor(0.126928))  # two are a pair


def test_pointwise_is_cross_entropy() -> None:
    # sigmoid(2) = 0.880797: right -log 0.880797 = 0.126928, wrong -log 0.119203 = 2.126928, a half the mean of both
    found = pointwise_loss(tensor([2.0, 2.0, 2.0]), tensor([1.0, 0.0, 0.5]))
    assert_close(found, tensor([0.126928, 2.126928, 1.126928]))


def test_token_level_is_a_square_at_each_token() -> None:
    # (0.5 - 1)^2 = 0.25, (1 - 1)^2 = 0, (0.2 - 1)^2 = 0.64: mean 0.89 / 3 = 0.296667
    assert_close(token_level_loss(tensor([0.5, 1.0, 0.2]), 1.0), tensor(0.296667))
