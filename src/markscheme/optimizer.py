"""What all training here shares: AdamW, its schedule, and a step that refuses a gradient that is no number."""

import math
import weakref
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW

from markscheme.parallel import whole
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


class MasterAdamW(AdamW):
    """AdamW on float32 copies, the masters, of weights of fewer bits (Micikevicius et al. 2018, arXiv:1710.03740, 3.1).

    A step of 1e-6 is lost in a bfloat16 weight, which has not three digits. Backward hands the gradient of each weight
    to its master, which adds them up in float32; after a step the weights are the masters rounded. A model has one
    such optimizer at a time: a new one takes the gradients from the one before.
    """

    def __init__(self, weights: Iterable[nn.Parameter], **settings: Any) -> None:
        """`settings` are those of AdamW; a weight of 32 bits or more is its own master."""
        self.weights = list(weights)
        self.masters = [w.detach().float() if _is_coarse(w) else w for w in self.weights]
        super().__init__(self.masters, **settings)
        for k, (weight, master) in enumerate(zip(self.weights, self.masters, strict=True)):
            # A head may get its gradient without autograd, which calls no hook then: it is seen to when the model's
            # first weight is, once in every backward pass.
            hook = partial(_hand_over, master=master) if k else partial(_gather, weakref.ref(self))
            if hasattr(weight, "to_master"):
                weight.to_master.remove()
            weight.to_master = weight.register_post_accumulate_grad_hook(hook)  # type: ignore[attr-defined]

    def gather(self) -> list[Tensor]:
        """Hands over the gradients that the weights still have, and returns the masters."""
        for weight, master in zip(self.weights, self.masters, strict=True):
            _hand_over(weight, master)
        return self.masters

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        self.gather()
        loss = super().step(closure)
        for weight, master in zip(self.weights, self.masters, strict=True):
            weight.copy_(master)
        return loss

    def zero_grad(self, set_to_none: bool = True) -> None:
        self.gather()
        super().zero_grad(set_to_none)

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"masters": [master.detach() for master in self.masters]}

    @torch.no_grad()
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        for weight, master, saved in zip(self.weights, self.masters, state_dict["masters"], strict=True):
            master.copy_(saved)
            weight.copy_(master)


def _gather(optimizer: weakref.ref[MasterAdamW], weight: Tensor) -> None:
    """Weakly, since no collector finds a cycle through a hook."""
    alive = optimizer()
    if alive is not None:
        alive.gather()


def _is_coarse(weight: Tensor) -> bool:
    return weight.dtype.itemsize < torch.float32.itemsize


def _hand_over(weight: Tensor, master: Tensor) -> None:
    """Adds a weight's gradient to its master's, and frees it."""
    if weight is master or weight.grad is None:
        return
    if master.grad is None:
        master.grad = weight.grad.float()
    else:
        master.grad += weight.grad
    weight.grad = None


def make_optimizer(model: nn.Module, config: OptimizerConfig) -> AdamW:
    """AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101) for all parameters that are trained; on float32 copies of
    them where they have fewer bits."""
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    kind = MasterAdamW if any(map(_is_coarse, weights)) else AdamW
    return kind(weights, lr=config.learning_rate, betas=config.betas, weight_decay=config.weight_decay)


def take_step(
    model: nn.Module, optimizer: torch.optim.Optimizer, config: OptimizerConfig, step: int, num_steps: int
) -> dict[str, float]:
    """Clips the gradient and moves the parameters; returns the gradient's norm and the learning rate as metrics.

    Raises:
        FloatingPointError: if the gradient is not finite. Nothing has moved then.
    """
    moved = optimizer.gather() if isinstance(optimizer, MasterAdamW) else model.parameters()
    grad_norm = float(whole(nn.utils.clip_grad_norm_(moved, config.max_grad_norm)))
    if not math.isfinite(grad_norm):
        raise FloatingPointError(f"the gradient is {grad_norm} at step {step + 1}: lower learning_rate")
    rate = config.learning_rate * learning_rate_share(step, num_steps, config.warmup_steps, config.decay_share)
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.step()
    optimizer.zero_grad()
    return {"grad_norm": grad_norm, "learning_rate": rate}
