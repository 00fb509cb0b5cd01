"""The value model of PPO (Schulman et al. 2017, arXiv:1707.06347; DeepSeekMath, arXiv:2402.03300, eq. 1 and 2).

Shapes: M completion tokens of a micro-batch.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from markscheme.optimizer import OptimizerConfig, check_settings, make_optimizer, take_step
from markscheme.packing.attention import packing_for
from markscheme.packing.layout import PackedRow
from markscheme.packing.sequences import MicroBatch, TokenSequence
from markscheme.packing.trunk import hidden_states

Values = Sequence[Sequence[float]]
"""Of completions, of tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CriticConfig(OptimizerConfig):
    """Settings of the value model."""

    learning_rate: float = 1e-5
    """Of AdamW, at its peak."""
    value_clip: float = 0.2
    """How far a value may move from what it was when the completions were drawn, and still gain by it."""

    gamma: float = 1.0
    """What a reward is worth a token earlier."""
    gae_lambda: float = 1.0
    """1 compares with the whole return, 0 with the next value: see `advantage.generalised_advantages`."""

    def __post_init__(self) -> None:
        OptimizerConfig.__post_init__(self)  # super() does not know a class with slots
        check_settings(self, positive=("value_clip",))
        for name in ("gamma", "gae_lambda"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be 0 to 1, got {getattr(self, name)}")


class Critic:
    """What a prompt and tokens so far are worth: a copy of the policy's trunk, and a linear layer that begins at 0."""

    def __init__(self, policy: PreTrainedModel, config: CriticConfig) -> None:
        self.config = config
        trunk = copy.deepcopy(policy.base_model)
        assert isinstance(trunk, PreTrainedModel), "transformers promises any module"
        self.trunk = trunk
        self.head = nn.Linear(policy.config.get_text_config().hidden_size, 1, device=trunk.device, dtype=trunk.dtype)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self.network = nn.ModuleDict({"trunk": self.trunk, "head": self.head})
        self.packing = packing_for(self.trunk)
        self.optimizer = make_optimizer(self.network, config)

    @torch.no_grad()
    def values(self, sequences: Sequence[TokenSequence]) -> list[list[float]]:
        """For each completion token, the value of what stands before it."""
        self.network.eval()
        found: list[list[float]] = [[] for _ in sequences]
        for row in self.packing(sequences, self.config.token_budget):
            for index, values in zip(row.sequences, self._values(row).split(list(row.lengths)), strict=True):
                found[index] = values.tolist()
        return found

    def update(
        self, sequences: Sequence[TokenSequence], returns: Values, old_values: Values, step: int, num_steps: int
    ) -> dict[str, float]:
        """One optimizer step on the mean clipped loss over all completion tokens; returns its metrics.

        Args:
            returns: what the values should have been, see `advantage.generalised_advantages`.
            old_values: what they were when the completions were drawn.
            step: of `num_steps`, which sets the learning rate.

        Raises:
            ValueError: if there is not one return and one old value for each completion token.
            FloatingPointError: if the gradient is not finite.
        """
        for sequence, *numbers in zip(sequences, returns, old_values, strict=True):
            found, tokens = [len(one) for one in numbers], len(sequence.completion_ids)
            if found != [tokens, tokens]:
                raise ValueError(f"{found[0]} returns and {found[1]} old values for {tokens} completion tokens")
        self.network.train()
        num_tokens = sum(map(len, returns))
        loss = clipped = 0.0
        for row in self.packing(sequences, self.config.token_budget):
            values_M, returns_M, old_M = self._values(row), self._of_row(returns, row), self._of_row(old_values, row)
            losses_M = value_losses(values_M, returns_M, old_M, self.config.value_clip)
            (losses_M.sum() / num_tokens).backward()
            loss += float(losses_M.detach().sum())
            clipped += float((losses_M > (values_M - returns_M).square() / 2).sum())
        seen = take_step(self.network, self.optimizer, self.config, step, num_steps)
        metrics = {"loss": loss / num_tokens, "clipped_share": clipped / num_tokens, **seen}
        return {f"value_{name}": number for name, number in metrics.items()}

    def state_dict(self) -> dict[str, Any]:
        """Weights and optimizer, for a checkpoint's `extra`."""
        return {"network": self.network.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])

    def _values(self, row: PackedRow | MicroBatch) -> Tensor:
        """Read where the policy's head reads the log-probability of the same token: [M], float32."""
        values_M: Tensor = self.head(hidden_states(self.trunk, row))[:, 0].float()
        return values_M

    def _of_row(self, numbers: Values, row: PackedRow | MicroBatch) -> Tensor:
        return torch.tensor([one for index in row.sequences for one in numbers[index]], device=self.trunk.device)


def value_losses(values_M: Tensor, returns_M: Tensor, old_values_M: Tensor, value_clip: float) -> Tensor:
    """max((V - R)^2, (clip(V, V_old - c, V_old + c) - R)^2) / 2 for each token: [M] (PPO2 of OpenAI's baselines).

    A value that has moved by more than c has no gradient as long as it is nearer to its return than the clipped one.
    """
    clipped_M = values_M.clamp(old_values_M - value_clip, old_values_M + value_clip)
    return torch.maximum((values_M - returns_M).square(), (clipped_M - returns_M).square()) / 2
