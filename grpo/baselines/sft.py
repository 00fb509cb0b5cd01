"""Supervised fine-tuning: log-likelihood of given completions (coefficient 1 in the unified paradigm,
DeepSeekMath, arXiv:2402.03300, section 5.2)."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel

from markscheme.checkpoint import load_checkpoint, save_checkpoint
from markscheme.grpo.head import check_head, completion_logprobs
from markscheme.grpo.pack import TokenSequence, pack
from markscheme.run_log import RunLog
from markscheme.schedule import batch_indices, learning_rate_share


@dataclass(frozen=True, slots=True, kw_only=True)
class SFTConfig:
    """Settings of supervised fine-tuning."""

    learning_rate: float = 1e-5
    """Of AdamW, at its peak."""
    betas: tuple[float, float] = (0.9, 0.98)
    """Of AdamW: memory of the gradient's mean and of its square."""
    weight_decay: float = 0.0
    """Of AdamW."""
    warmup_steps: int = 50
    """Steps in which the learning rate rises to its peak."""
    decay_share: float = 0.4
    """The learning rate falls linearly to 0 over this last share of the steps."""
    batch_size: int = 16
    """Examples in an optimizer step."""
    epochs: float = 1.0
    """Passes over the examples."""
    token_budget: int = 4_096
    """Tokens in a micro-batch, padding included. It changes memory and speed, never the gradient."""
    max_grad_norm: float = 1.0
    """A longer gradient is scaled down to this norm."""
    checkpoint_every: int = 500
    """Steps between checkpoints."""
    log_every: int = 50
    """Steps between lines of metrics."""
    seed: int = 0
    """Of the order of the examples."""

    def __post_init__(self) -> None:
        for name in ("learning_rate", "batch_size", "epochs", "token_budget", "checkpoint_every", "log_every"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be above 0, got {getattr(self, name)}")
        if not 0 <= self.decay_share <= 1:
            raise ValueError(f"decay_share must be 0 to 1, got {self.decay_share}")

    def num_steps(self, num_examples: int) -> int:
        """Optimizer steps in the run."""
        return max(1, int(num_examples * self.epochs / self.batch_size))


def train_sft(
    model: PreTrainedModel,
    examples: Sequence[TokenSequence],
    config: SFTConfig,
    log: RunLog,
    on_step: Callable[[int, float], None] = lambda done, loss: None,
) -> None:
    """Trains `model` in place on the completions of `examples`; goes on from the run folder's last checkpoint.

    The loss of a step is the mean over the completion tokens of its batch. `on_step` is told
    (steps done, loss).
    """
    check_head(model)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=config.learning_rate, betas=config.betas, weight_decay=config.weight_decay
    )
    num_steps = config.num_steps(len(examples))
    checkpoints = log.folder / "checkpoints"
    first_step, _ = load_checkpoint(checkpoints, model, optimizer)
    log.rewind(first_step)
    model.train()
    for step in range(first_step, num_steps):
        started = time.process_time()
        batch = [examples[index] for index in batch_indices(len(examples), config.batch_size, step, config.seed)]
        num_tokens = sum(len(example.completion_ids) for example in batch)
        loss = 0.0
        for micro_batch in pack(batch, config.token_budget):
            micro_loss = -completion_logprobs(model, micro_batch).sum() / num_tokens
            micro_loss.backward()
            loss += float(micro_loss.detach())
        grad_norm = torch.nn.utils.clip_grad_norm_(model.parameters(), config.max_grad_norm)
        if not math.isfinite(grad_norm):
            raise FloatingPointError(f"the gradient is {float(grad_norm)} at step {step + 1}: lower learning_rate")
        rate = config.learning_rate * learning_rate_share(step, num_steps, config.warmup_steps, config.decay_share)
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
        optimizer.zero_grad()
        done = step + 1
        if done % config.log_every == 0 or done == num_steps:
            metrics = {"loss": loss, "grad_norm": float(grad_norm), "learning_rate": rate, "tokens": num_tokens}
            log.write(done, metrics, {"cpu_seconds": time.process_time() - started})
        if done % config.checkpoint_every == 0 or done == num_steps:
            save_checkpoint(checkpoints, done, model, optimizer)
        on_step(done, loss)
