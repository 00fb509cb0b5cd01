"""Losses and gradients beside TRL's own `GRPOTrainer._compute_loss`, on the same log-probabilities, off policy."""

import dataclasses
import importlib.util
from collections import defaultdict
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest
import torch
from torch import Tensor

from markscheme.grpo.config import PRESETS
from markscheme.grpo.objective import Objective, Tokens, token_losses, weights_of

pytestmark = pytest.mark.skipif(importlib.util.find_spec("trl") is None, reason="TRL is not installed")

LENGTHS = [3, 5, 1, 4, 2, 5]
"""Of two groups of three; the longest completion that TRL may write has 8 tokens."""
MAX_TOKENS = 8
DEFAULTS = {
    "importance_sampling_level": "token",
    "epsilon_low": 0.2,
    "epsilon_high": 0.2,
    "beta": 0.0,
    "off_policy_mask_threshold": None,
}


def drawn(seed: int) -> Tensor:
    """Log-probabilities of all tokens, some off by more than any clip."""
    generator = torch.Generator().manual_seed(seed)
    return -0.2 - 1.5 * torch.rand(sum(LENGTHS), generator=generator, dtype=torch.float64)


NEW, OLD, REFERENCE = drawn(0), drawn(1), drawn(2)
ADVANTAGES = torch.tensor([1.2, -0.7, -0.5, 0.0, 2.0, -1.5], dtype=torch.float64)


def padded(values_M: Tensor) -> Tensor:
    return torch.nn.utils.rnn.pad_sequence(values_M.split(LENGTHS), batch_first=True)


def of_trl(loss_type: str, **settings: Any) -> tuple[Tensor, Tensor]:
    from trl import GRPOTrainer

    logprobs = NEW.clone().requires_grad_()
    rows = padded(logprobs)
    chosen = DEFAULTS | settings
    arguments = SimpleNamespace(
        delta=chosen.pop("delta", None),
        use_bias_correction_kl=chosen.pop("use_bias_correction_kl", False),
        sapo_temperature_pos=1.0,
        sapo_temperature_neg=1.05,
        steps_per_generation=1,
    )
    trainer = MagicMock(
        loss_type=loss_type,
        args=arguments,
        top_entropy_quantile=1.0,
        use_vllm=False,
        aux_loss_enabled=False,
        max_completion_length=MAX_TOKENS,
        current_gradient_accumulation_steps=1.0,
        _entropy_bonus_enabled=False,
        _metrics={"train": defaultdict(list)},
        model=SimpleNamespace(training=True),
        **chosen,
    )
    trainer.accelerator.num_processes = 1
    trainer.accelerator.gather = lambda tensor: tensor
    trainer._get_per_token_logps_and_entropies.return_value = rows, torch.zeros_like(rows), None
    trainer.get_off_policy_mask = GRPOTrainer.get_off_policy_mask
    mask = padded(torch.ones(sum(LENGTHS), dtype=torch.float64))
    inputs = {
        "prompt_ids": torch.zeros(len(LENGTHS), 1, dtype=torch.long),
        "prompt_mask": torch.ones(len(LENGTHS), 1, dtype=torch.long),
        "completion_ids": torch.zeros(mask.shape, dtype=torch.long),
        "completion_mask": mask,
        "advantages": ADVANTAGES,
        "old_per_token_logps": padded(OLD),
        "ref_per_token_logps": padded(REFERENCE),
        "num_items_in_batch": mask.sum(),
    }
    loss = GRPOTrainer._compute_loss(trainer, trainer.model, inputs)
    (gradient,) = torch.autograd.grad(loss, logprobs)
    return loss.detach(), gradient


def of_ours(objective: Objective) -> tuple[Tensor, Tensor]:
    lengths = torch.tensor(LENGTHS)
    logprobs = NEW.clone().requires_grad_()
    tokens = Tokens(
        old_logprobs_M=OLD,
        advantages_M=ADVANTAGES.repeat_interleave(lengths),
        lengths_S=lengths,
        reference_logprobs_M=REFERENCE,
    )
    weights = weights_of(objective.average, [LENGTHS[:3], LENGTHS[3:]], MAX_TOKENS)
    weights_M = torch.tensor([*weights[0], *weights[1]], dtype=torch.float64).repeat_interleave(lengths)
    loss = (weights_M * token_losses(objective, logprobs, tokens)).sum()
    (gradient,) = torch.autograd.grad(loss, logprobs)
    return loss.detach(), gradient


@pytest.mark.parametrize(
    ("objective", "loss_type", "settings"),
    [
        (Objective(), "grpo", {}),
        (Objective(kl_coef=0.3), "grpo", {"beta": 0.3}),
        (Objective(kl="k3_ratio", kl_coef=0.3), "grpo", {"beta": 0.3, "use_bias_correction_kl": True}),
        (Objective(ratio_cap=1.5), "grpo", {"delta": 1.5}),
        (Objective(off_policy_limit=0.05), "grpo", {"off_policy_mask_threshold": 0.05}),
        (PRESETS["dapo"].objective, "dapo", {"epsilon_high": 0.28}),
        (PRESETS["dr-grpo"].objective, "dr_grpo", {}),
        (
            PRESETS["gspo"].objective,
            "grpo",
            {"importance_sampling_level": "sequence", "epsilon_low": 3e-4, "epsilon_high": 4e-4},
        ),
        (
            dataclasses.replace(PRESETS["gspo"].objective, clip_low=0.5, clip_high=0.5),
            "grpo",
            {"importance_sampling_level": "sequence", "epsilon_low": 0.5, "epsilon_high": 0.5},
        ),
        (PRESETS["cispo"].objective, "cispo", {"epsilon_high": 5.0}),  # TRL's is the cap itself
        (PRESETS["sapo"].objective, "sapo", {}),
    ],
)
def test_loss_and_gradient_are_those_of_trl(objective: Objective, loss_type: str, settings: dict[str, Any]) -> None:
    (loss, gradient), (theirs, their_gradient) = of_ours(objective), of_trl(loss_type, **settings)
    torch.testing.assert_close(loss, theirs, rtol=1e-6, atol=1e-7)  # TRL has SAPO's gates in single precision
    torch.testing.assert_close(gradient, their_gradient, rtol=1e-6, atol=1e-8)
    assert gradient.any()
