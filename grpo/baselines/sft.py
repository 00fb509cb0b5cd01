"""Supervised fine-tuning: log-likelihood of given completions (coefficient 1 in the unified paradigm,
DeepSeekMath, arXiv:2402.03300, section 5.2), and the loop over batches of examples that DPO shares.

Shapes: M completion tokens of a micro-batch, K of a chunk of it.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel

from markscheme.checkpoint import CHECKPOINTS, load_checkpoint, save_checkpoint, settings_of
from markscheme.generation import seed_of
from markscheme.grpo.head import check_head, completion_head, score_and_backward
from markscheme.optimizer import OptimizerConfig, check_settings, make_optimizer, take_step
from markscheme.packing.attention import packing_for
from markscheme.packing.sequences import TokenSequence
from markscheme.packing.trunk import hidden_states
from markscheme.run_log import RunLog
from markscheme.schedule import batch_indices

OnStep = Callable[[int, float], None]
"""Is told (steps done, loss)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SFTConfig(OptimizerConfig):
    """Settings of supervised fine-tuning."""

    learning_rate: float = 1e-5
    """Of AdamW, at its peak."""
    warmup_steps: int = 50
    """Steps in which the learning rate rises to its peak."""
    batch_size: int = 16
    """Examples in an optimizer step."""
    epochs: float = 1.0
    """Passes over the examples."""
    log_every: int = 50
    """Steps between lines of metrics."""

    def __post_init__(self) -> None:
        OptimizerConfig.__post_init__(self)  # super() does not know a class with slots
        check_settings(self, positive=("batch_size", "epochs", "log_every"))

    def num_steps(self, num_examples: int) -> int:
        """Optimizer steps in the run."""
        return max(1, int(num_examples * self.epochs / self.batch_size))


def train_sft(
    model: PreTrainedModel,
    examples: Sequence[TokenSequence],
    config: SFTConfig,
    log: RunLog,
    on_step: OnStep = lambda done, loss: None,
) -> None:
    """Trains `model` in place on the completions of `examples`; goes on from the run folder's last checkpoint.

    The loss of a step is the mean over the completion tokens of its batch. `on_step` is told (steps done, loss).

    Raises:
        InputError: if the model cannot be trained through its output embeddings alone, or the folder holds a run with
            other settings or examples.
        FloatingPointError: if the gradient is not finite.
    """
    check_head(model)
    packing = packing_for(model)

    def backward(indices: Sequence[int]) -> dict[str, float]:
        batch = [examples[index] for index in indices]
        num_tokens = sum(len(example.completion_ids) for example in batch)

        def by_logprob(rows: slice, logprobs_K: Tensor) -> Tensor:
            return torch.full_like(logprobs_K, -1 / num_tokens)

        total = 0.0
        for row in packing(batch, config.token_budget):
            hidden_MH = hidden_states(model, row)
            logprobs_M, _ = score_and_backward(hidden_MH, completion_head(model), row.targets_M, 1.0, by_logprob)
            total += float(logprobs_M.sum())
        return {"loss": -total / num_tokens, "tokens": num_tokens}

    train_on_batches(model, examples, backward, config, log, on_step)


def train_on_batches(
    model: PreTrainedModel,
    examples: Sequence[object],
    backward: Callable[[Sequence[int]], dict[str, float]],
    config: SFTConfig,
    log: RunLog,
    on_step: OnStep,
) -> None:
    """Optimizer steps on batches of examples in an order that the seed determines; goes on from the last checkpoint.

    Args:
        backward: adds the gradient of a batch, given as indices of examples, to the model's parameters, and returns
            its metrics, `loss` among them.

    Raises:
        InputError: if the folder holds a run with other settings or examples.
        FloatingPointError: if the gradient is not finite.
    """
    optimizer = make_optimizer(model, config)
    num_steps = config.num_steps(len(examples))
    checkpoints = log.folder / CHECKPOINTS
    settings = settings_of(config, examples=examples)
    first_step, _ = load_checkpoint(checkpoints, model, optimizer, settings=settings)
    log.rewind(first_step)
    model.train()
    for step in range(first_step, num_steps):
        started = time.process_time()
        torch.manual_seed(seed_of("dropout", config.seed, step))
        metrics = backward(batch_indices(len(examples), config.batch_size, step, config.seed))
        metrics |= take_step(model, optimizer, config, step, num_steps)
        done = step + 1
        if done % config.log_every == 0 or done == num_steps:
            log.write(done, metrics, {"cpu_seconds": time.process_time() - started})
        if done % config.checkpoint_every == 0 or done == num_steps:
            save_checkpoint(checkpoints, done, model, optimizer, settings=settings)
        on_step(done, metrics["loss"])
