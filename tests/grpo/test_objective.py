"""Objectives: each by hand, against finite differences, and by what it is known to do."""

import dataclasses

import pytest
import torch
from torch import Tensor, tensor
from torch.testing import assert_close

from markscheme.grpo.config import PRESETS
from markscheme.grpo.objective import (
    Objective,
    Tokens,
    correction_weights,
    divergence,
    token_losses,
    weights_of,
)

OLD = tensor([0.5]).log()


def losses(
    objective: Objective,
    new: list[float],
    advantages: list[float],
    old: list[float] | None = None,
    lengths: list[int] | None = None,
    reference: list[float] | None = None,
    sampler: list[float] | None = None,
) -> tuple[Tensor, Tensor]:
    """The losses of tokens with these probabilities, and their derivatives by the log-probabilities."""
    logprobs = tensor(new, dtype=torch.float64).log().requires_grad_()
    tokens = Tokens(
        old_logprobs_M=logprobs.detach() if old is None else tensor(old, dtype=torch.float64).log(),
        advantages_M=tensor(advantages, dtype=torch.float64),
        lengths_S=tensor(lengths or [len(new)]),
        reference_logprobs_M=None if reference is None else tensor(reference, dtype=torch.float64).log(),
        sampler_logprobs_M=None if sampler is None else tensor(sampler, dtype=torch.float64).log(),
    )
    found = token_losses(objective, logprobs, tokens)
    (gradient,) = torch.autograd.grad(found.sum(), logprobs)
    return found.detach(), gradient


@pytest.mark.parametrize(
    ("new", "advantage", "loss", "moves", "reason"),
    [
        (0.5, 2.0, -2.0, True, "ratio 1: the loss is minus the advantage"),
        (0.9, 2.0, -2.4, False, "ratio 1.8, clipped to 1.2: min(3.6, 2.4)"),
        (0.3, 2.0, -1.2, True, "ratio 0.6 below the range, but a good token may still gain: min(1.2, 1.6)"),
        (0.9, -2.0, 3.6, True, "ratio 1.8 of a bad token is not clipped: min(-3.6, -2.4)"),
        (0.3, -2.0, 1.6, False, "ratio 0.6 of a bad token, clipped to 0.8: min(-1.2, -1.6)"),
    ],
)
def test_the_clipped_surrogate_by_hand(new: float, advantage: float, loss: float, moves: bool, reason: str) -> None:
    found, gradient = losses(Objective(), [new], [advantage], old=[0.5])
    assert found.item() == pytest.approx(loss), reason
    assert bool(gradient.any()) is moves, reason


def test_clip_higher_by_hand() -> None:
    # DAPO: ratio 1.25 is below 1.28, so a good token still gains 1.25 * 2; at 1.3 it is held at 1.28 * 2
    found, gradient = losses(PRESETS["dapo"].objective, [0.625, 0.65], [2.0, 2.0], old=[0.5, 0.5])
    assert_close(found, tensor([-2.5, -2.56], dtype=torch.float64))
    assert (gradient != 0).tolist() == [True, False]


def test_the_cap_of_the_ratio_by_hand() -> None:
    # ratio 1.8 of a bad token, capped at 1.5: min(-3.0, -2.4) instead of min(-3.6, -2.4)
    found, gradient = losses(Objective(ratio_cap=1.5), [0.9], [-2.0], old=[0.5])
    assert found.item() == pytest.approx(3.0)
    assert not gradient.any()


def test_the_ratio_of_a_sequence_by_hand() -> None:
    # GSPO: ratios 2 and 0.5 have the geometric mean 1, which clips neither; then 2 and 2: 2, above 1 + 4e-4
    found, gradient = losses(PRESETS["gspo"].objective, [0.8, 0.2, 0.8, 0.8], [1.0] * 4, old=[0.4] * 4, lengths=[2, 2])
    assert_close(found, tensor([-1.0, -1.0, -1.0004, -1.0004], dtype=torch.float64))
    assert_close(gradient, tensor([-1.0, -1.0, 0.0, 0.0], dtype=torch.float64))


def test_the_clipped_weight_by_hand() -> None:
    # CISPO: ratio 2 weighs 2, ratio 8 weighs 5 = 1 + 4; the gradient is -weight * A and never stops
    _, gradient = losses(PRESETS["cispo"].objective, [0.4, 0.8], [1.0, -3.0], old=[0.2, 0.1])
    assert_close(gradient, tensor([-2.0, 15.0], dtype=torch.float64))


def test_the_soft_gate_by_hand() -> None:
    # SAPO: f(rho) = 4 / tau * sigma(tau (rho - 1)). At rho = 1 it is 2 / tau with slope 1; at rho = 2, tau = 1:
    # 4 * 0.731059 = 2.924234, and its derivative by log rho is 2 * 4 * 0.731059 * 0.268941 = 1.572896
    found, gradient = losses(PRESETS["sapo"].objective, [0.5, 0.8], [1.0, 1.0], old=[0.5, 0.4])
    assert_close(found, tensor([-2.0, -2.924234], dtype=torch.float64), rtol=1e-6, atol=0)
    assert_close(gradient, tensor([-1.0, -1.572896], dtype=torch.float64), rtol=1e-6, atol=0)


def test_plain_policy_gradient_is_the_log_likelihood_weighed() -> None:
    found, gradient = losses(Objective(surrogate="plain"), [0.25], [3.0])
    assert found.item() == pytest.approx(3 * 1.3862944)
    assert gradient.item() == -3


@pytest.mark.parametrize("name", PRESETS)
def test_on_policy_the_coefficient_is_the_advantage(name: str) -> None:
    """DeepSeekMath, eq. 21: GC = A + beta (pi_ref / pi - 1); to first order all surrogates are one."""
    objective = dataclasses.replace(PRESETS[name].objective, kl="k3", kl_coef=0.1)
    _, gradient = losses(objective, [0.5, 0.25], [2.0, -1.0], reference=[0.25, 0.5])
    # 2 + 0.1 (0.5 - 1) = 1.95 and -1 + 0.1 (2 - 1) = -0.9
    assert_close(gradient, tensor([-1.95, 0.9], dtype=torch.float64))


@pytest.mark.parametrize("name", [name for name in PRESETS if name != "cispo"])  # whose weight is a constant
@pytest.mark.parametrize("kl", ["k1", "k2", "k3", "k3_ratio"])
def test_derivatives_are_finite_differences(name: str, kl: str) -> None:
    objective = dataclasses.replace(PRESETS[name].objective, kl=kl, kl_coef=0.3, clip_low=0.2, clip_high=0.2)
    new, old, reference = [0.5, 0.3, 0.42], [0.45, 0.35, 0.4], [0.4, 0.5, 0.3]
    advantages = [1.0, -2.0, 0.5]
    _, gradient = losses(objective, new, advantages, old=old, reference=reference)
    if objective.sequence_ratio:  # GSPO-token: the sum over the completion is that of the sequence's ratio
        gradient = gradient.sum()[None]
    step = 1e-6
    for k in range(len(gradient)):
        moved = [
            [p * (2.718281828459045 ** (sign * step) if j == k or objective.sequence_ratio else 1)
             for j, p in enumerate(new)]
            for sign in (1, -1)
        ]  # fmt: skip
        high, low = (losses(objective, p, advantages, old=old, reference=reference)[0].sum() for p in moved)
        assert float((high - low) / (2 * step)) == pytest.approx(float(gradient[k]), rel=1e-5)


def test_k3_by_hand() -> None:
    # pi = 0.5, pi_ref = 0.25: ratio 0.5, k3 = 0.5 - ln 0.5 - 1 = 0.193147
    assert_close(divergence("k3", OLD, tensor([0.25]).log(), OLD), tensor([0.193147]), rtol=1e-5, atol=0)


POLICY, REFERENCE = tensor([0.7, 0.2, 0.1], dtype=torch.float64), tensor([0.4, 0.4, 0.2], dtype=torch.float64)


def expected_gradient(kind: str, sampled_from: Tensor) -> tuple[float, Tensor]:
    """Value and gradient by the logits of a categorical policy, in exact expectation over the tokens drawn."""
    logits = POLICY.log().requires_grad_()
    logprobs = logits.log_softmax(-1)
    found = (sampled_from * divergence(kind, logprobs, REFERENCE.log(), sampled_from.log())).sum()  # type: ignore[arg-type]
    (gradient,) = torch.autograd.grad(found, logits)
    return float(found.detach()), gradient


def true_gradient(forward: bool) -> tuple[float, Tensor]:
    logits = POLICY.log().requires_grad_()
    logprobs = logits.log_softmax(-1)
    if forward:
        kl = (REFERENCE * (REFERENCE.log() - logprobs)).sum()
    else:
        kl = (logprobs.exp() * (logprobs - REFERENCE.log())).sum()
    (gradient,) = torch.autograd.grad(kl, logits)
    return float(kl.detach()), gradient


@pytest.mark.parametrize("kind", ["k1", "k3"])
def test_k1_and_k3_are_unbiased_values(kind: str) -> None:
    assert expected_gradient(kind, POLICY)[0] == pytest.approx(true_gradient(forward=False)[0])


def test_what_the_estimators_move_on_policy() -> None:
    nothing = torch.zeros(3, dtype=torch.float64)
    assert_close(expected_gradient("k1", POLICY)[1], nothing)
    for kind in ("k2", "k2_ratio", "k3_ratio"):
        assert_close(expected_gradient(kind, POLICY)[1], true_gradient(forward=False)[1])
    assert_close(expected_gradient("k3", POLICY)[1], true_gradient(forward=True)[1])


@pytest.mark.parametrize("kind", ["k2_ratio", "k3_ratio"])
def test_the_ratio_forms_hold_off_policy(kind: str) -> None:
    drawn_from = tensor([0.3, 0.3, 0.4], dtype=torch.float64)
    assert_close(expected_gradient(kind, drawn_from)[1], true_gradient(forward=False)[1])
    assert not torch.allclose(expected_gradient("k2", drawn_from)[1], true_gradient(forward=False)[1], rtol=1e-2)


@pytest.mark.parametrize(
    ("kind", "weights", "reason"),
    [
        ("token", [2.0, 0.5, 1.0], "4 is cut down to 2"),
        ("token_mask", [0.0, 0.0, 1.0], "4 is above 2, 0.5 below 0.6"),
        ("sequence", [2.0, 2.0, 1.0], "4 * 0.5 = 2"),
        ("sequence_mask", [2.0, 2.0, 1.0], "2 is inside"),
        ("geometric_mask", [1.0, 1.0, 1.0], "the root of 2 is inside"),
    ],
)
def test_corrections_for_the_sampler_by_hand(kind: str, weights: list[float], reason: str) -> None:
    objective = Objective(correction=kind, correction_low=0.6, correction_high=2.0)  # type: ignore[arg-type]
    log_ratio = tensor([4.0, 0.5, 1.0], dtype=torch.float64).log()
    found = correction_weights(objective, log_ratio, tensor([2, 1]))
    assert_close(found, tensor(weights, dtype=torch.float64), msg=reason)


def test_a_correction_weighs_the_gain_and_not_the_divergence() -> None:
    objective = Objective(correction="token", correction_high=2.0, kl="k2", kl_coef=1.0)
    found, _ = losses(objective, [0.5], [1.0], reference=[0.25], sampler=[0.4])
    # 0.5 / 0.4 = 1.25 times the gain of 1, and k2 = ln(2)^2 / 2 = 0.240227
    assert found.item() == pytest.approx(-1.25 + 0.240227, rel=1e-5)


def test_completions_that_drifted_are_dropped_where_they_were_bad() -> None:
    # mean log(old / new) = ln 2 = 0.69 is above 0.5, for the first two; only the bad one of them is dropped
    objective = Objective(off_policy_limit=0.5, clip_low=0.9)
    found, _ = losses(objective, [0.2, 0.2, 0.4], [-1.0, 1.0, -1.0], old=[0.4] * 3, lengths=[1, 1, 1])
    assert_close(found, tensor([0.0, -0.5, 1.0], dtype=torch.float64))


def test_the_bonus_for_entropy() -> None:
    tokens = Tokens(old_logprobs_M=OLD, advantages_M=tensor([1.0]), lengths_S=tensor([1]))
    assert token_losses(Objective(entropy_coef=0.1), OLD, tokens, tensor([2.0])).item() == pytest.approx(-1.2)


def test_what_is_missing_is_named() -> None:
    tokens = Tokens(old_logprobs_M=OLD, advantages_M=tensor([1.0]), lengths_S=tensor([1]))
    for objective, message in [
        (Objective(kl_coef=0.1), "reference"),
        (Objective(correction="token"), "sampler"),
        (Objective(entropy_coef=0.1), "entropy"),
    ]:
        with pytest.raises(ValueError, match=message):
            token_losses(objective, OLD, tokens)


def test_weights_by_hand() -> None:
    lengths = [[2, 4, 0], [1, 1, 2]]  # one completion is in no loss
    completion = weights_of("completion", lengths, 8)
    assert completion == [[1 / 8, 1 / 16, 0.0], [1 / 6, 1 / 6, 1 / 12]]  # 1 / (2 problems * trained * tokens)
    assert weights_of("token", lengths, 8) == [[0.1, 0.1, 0.0], [0.1, 0.1, 0.1]]  # 10 tokens in all
    assert weights_of("constant", lengths, 8) == [[1 / 40, 1 / 40, 0.0], [1 / 40] * 3]  # 5 completions of 8


@pytest.mark.parametrize("average", ["completion", "token", "constant"])
def test_nothing_trained_weighs_nothing(average: str) -> None:
    assert weights_of(average, [[0, 0]], 8) == [[0.0, 0.0]]  # type: ignore[arg-type]
    assert weights_of(average, [[0, 0], [3, 0]], 8)[0] == [0.0, 0.0]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("field", "value"), [("clip_low", 0.0), ("kl_coef", -1.0), ("correction_low", 3.0), ("gate_negative", 0.0)]
)
def test_senseless_settings_are_refused(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=field):
        Objective(**{field: value})
