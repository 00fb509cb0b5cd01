import pytest
import torch
from torch import tensor
from torch.testing import assert_close

from markscheme.grpo.objective import grpo_loss, k3

OLD = tensor([0.5]).log()


@pytest.mark.parametrize(
    ("new", "advantage", "loss", "reason"),
    [
        (0.5, 2.0, -2.0, "ratio 1: the loss is minus the advantage"),
        (0.9, 2.0, -2.4, "ratio 1.8, clipped to 1.2: min(3.6, 2.4)"),
        (0.3, 2.0, -1.2, "ratio 0.6 below the range, but a good token may still gain: min(1.2, 1.6)"),
        (0.9, -2.0, 3.6, "ratio 1.8 of a bad token is not clipped: min(-3.6, -2.4)"),
        (0.3, -2.0, 1.6, "ratio 0.6 of a bad token, clipped to 0.8: min(-1.2, -1.6)"),
    ],
)
def test_the_clipped_surrogate_by_hand(new: float, advantage: float, loss: float, reason: str) -> None:
    result = grpo_loss(tensor([new]).log(), OLD, tensor([advantage]), clip_eps=0.2)
    assert_close(result, tensor([loss]), msg=reason)


@pytest.mark.parametrize(("new", "advantage", "moves"), [(0.9, 2.0, False), (0.3, 2.0, True), (0.3, -2.0, False)])
def test_a_clipped_token_has_no_gradient(new: float, advantage: float, moves: bool) -> None:
    logprobs = tensor([new]).log().requires_grad_()
    grpo_loss(logprobs, OLD, tensor([advantage]), clip_eps=0.2).sum().backward()
    assert logprobs.grad is not None
    assert bool(logprobs.grad.any()) is moves


def test_k3_by_hand() -> None:
    # pi = 0.5, pi_ref = 0.25: ratio 0.5, k3 = 0.5 - ln 0.5 - 1 = 0.193147
    assert_close(k3(tensor([0.5]).log(), tensor([0.25]).log()), tensor([0.193147]), rtol=1e-5, atol=0)


def test_k3_is_an_unbiased_kl() -> None:
    policy, reference = tensor([0.7, 0.2, 0.1]), tensor([0.4, 0.4, 0.2])
    kl = (policy * (policy / reference).log()).sum()
    assert_close((policy * k3(policy.log(), reference.log())).sum(), kl)


def test_gradient_coefficient_is_equation_21() -> None:
    # On-policy, d(-loss)/d(logprob) = A + beta (pi_ref / pi - 1): 2 + 0.1 (0.25 / 0.5 - 1) = 1.95
    logprobs = tensor([0.5]).log().requires_grad_()
    loss = grpo_loss(
        logprobs, logprobs.detach(), tensor([2.0]), clip_eps=0.2, reference_logprobs_M=tensor([0.25]).log(), kl_coef=0.1
    )
    loss.sum().backward()
    assert_close(logprobs.grad, tensor([-1.95]))


def test_kl_is_left_out_without_a_reference() -> None:
    assert_close(grpo_loss(OLD, OLD, tensor([1.0]), clip_eps=0.2, kl_coef=5.0), tensor([-1.0]))
    assert torch.equal(grpo_loss(OLD, OLD, tensor([0.0]), clip_eps=0.2), tensor([-0.0]))
