"""Supervised fine-tuning: log-likelihood of given completions (coefficient 1 in the unified paradigm,
DeepSeekMath, arXiv:2402.03300, section 5.2)."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from transformers import PreTrainedModel

from markscheme.checkpoint import load_checkpoint, save_checkpoint
from markscheme.grpo.head import check_head, completion_logprobs
from markscheme.grpo.pack import TokenSequence, pack
from markscheme.optimizer import OptimizerConfig, check_settings, make_optimizer, take_step
from markscheme.run_log import RunLog
from markscheme.schedule import batch_indices


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
    on_step: Callable[[int, float], None] = lambda done, loss: None,
) -> None:
    """Trains `model` in place on the completions of `examples`; goes on from the run folder's last checkpoint.

    The loss of a step is the mean over the completion tokens of its batch. `on_step` is told
    (steps done, loss).
    """
    check_head(model)
    optimizer = make_optimizer(model, config)
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
        metrics = {"loss": loss, "tokens": num_tokens, **take_step(model, optimizer, config, step, num_steps)}
        done = step + 1
        if done % config.log_every == 0 or done == num_steps:
            log.write(done, metrics, {"cpu_seconds": time.process_time() - started})
        if done % config.checkpoint_every == 0 or done == num_steps:
            save_checkpoint(checkpoints, done, model, optimizer)
        on_step(done, loss)
