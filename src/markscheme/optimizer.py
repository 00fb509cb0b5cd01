"""What all training here shares: AdamW, its schedule, and a step that refuses a gradient that is no number."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch.optim import AdamW

from markscheme.schedule import learning_rate_share


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimizerConfig:
    """Settings of the optimizer."""

    learning_rate: float
    """Of AdamW, at its peak."""
    betas: tuple[float, float] = (0.9, 0.98)
    """Of AdamW: memory of the gradient's mean and of its square."""
    weight_decay: float = 0.0
    """Of AdamW, on every weight."""
    warmup_steps: int = 0
    """Steps in which the learning rate rises to its peak."""
    decay_share: float = 0.4
    """The learning rate falls linearly to 0 over this last share of the steps."""
    max_grad_norm: float = 1.0
    """A longer gradient is scaled down to this norm."""
    token_budget: int = 4_096
    """Tokens in a micro-batch, padding included. It changes memory and speed, never the gradient."""
    checkpoint_every: int = 500
    """Steps between checkpoints."""
    seed: int = 0
    """Of the order of the examples, and of everything that is drawn."""

    def __post_init__(self) -> None:
        check_settings(
            self,
            positive=("learning_rate", "max_grad_norm", "token_budget", "checkpoint_every"),
            not_negative=("weight_decay", "warmup_steps"),
        )
        if not 0 <= self.decay_share <= 1:
            raise ValueError(f"decay_share must be 0 to 1, got {self.decay_share}")


def check_settings(config: Any, *, positive: Iterable[str] = (), not_negative: Iterable[str] = ()) -> None:
    """Checks fields by their name.

    Raises:
        ValueError: naming the first that is too small.
    """
    for name in positive:
        if getattr(config, name) <= 0:
            raise ValueError(f"{name} must be above 0, got {getattr(config, name)}")
    for name in not_negative:
        if getattr(config, name) < 0:
            raise ValueError(f"{name} must be at least 0, got {getattr(config, name)}")


def make_optimizer(model: torch.nn.Module, config: OptimizerConfig) -> AdamW:
    """AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101) for all parameters."""
    return AdamW(model.parameters(), lr=config.learning_rate, betas=config.betas, weight_decay=config.weight_decay)


def take_step(
    model: torch.nn.Module, optimizer: torch.optim.Optimizer, config: OptimizerConfig, step: int, num_steps: int
) -> dict[str, float]:
    """Clips the gradient and moves the parameters; returns the gradient's norm and the learning rate as metrics.

    Raises:
        FloatingPointError: if the gradient is not finite. Nothing has moved then.
    """
    grad_norm = float(torch.nn.utils.clip_grad_norm_(model.parameters(), config.max_grad_norm))
    if not math.isfinite(grad_norm):
        raise FloatingPointError(f"the gradient is {grad_norm} at step {step + 1}: lower learning_rate")
    rate = config.learning_rate * learning_rate_share(step, num_steps, config.warmup_steps, config.decay_share)
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.step()
    optimizer.zero_grad()
    return {"grad_norm": grad_norm, "learning_rate": rate}
