"""Training a reward model from preference pairs (Ouyang et al. 2022, arXiv:2203.02155, section 3.5)."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.optim import Optimizer

from markscheme.checkpoint import load_checkpoint, save_checkpoint
from markscheme.files import InputError
from markscheme.optimizer import OptimizerConfig, check_settings, make_optimizer, take_step
from markscheme.reward_models.evaluation import PairEvaluation, credit, evaluate_rewards
from markscheme.reward_models.loss import bradley_terry_loss
from markscheme.reward_models.model import RewardNetwork, micro_batches
from markscheme.reward_models.preferences import PreferencePair, split_pairs
from markscheme.run_log import RunLog
from markscheme.schedule import batch_indices


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardModelConfig(OptimizerConfig):
    """Settings of reward model training."""

    learning_rate: float = 1e-5
    """Of AdamW, at its peak."""
    warmup_steps: int = 20
    """Steps in which the learning rate rises to its peak."""
    batch_size: int = 32
    """Pairs in an optimizer step."""
    epochs: float = 1.0
    """Passes over the training pairs. Reward models overfit beyond one (Ouyang et al. 2022, appendix C.2)."""
    token_budget: int = 16_384
    """Tokens in a micro-batch, padding included. It changes memory and speed, never the gradient."""
    held_out_share: float = 0.1
    """Share of the questions that is kept out of training, to measure accuracy, centre and spread."""
    log_every: int = 10
    """Steps between lines of metrics."""

    def __post_init__(self) -> None:
        OptimizerConfig.__post_init__(self)  # super() does not know a class with slots
        check_settings(self, positive=("batch_size", "epochs", "log_every"))
        if not 0 < self.held_out_share < 1:
            raise ValueError(f"held_out_share must be above 0 and below 1, got {self.held_out_share}")

    def num_steps(self, num_pairs: int) -> int:
        """Optimizer steps in the run."""
        return max(1, int(num_pairs * self.epochs / self.batch_size))


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedPair:
    """A preference pair as token ids."""

    pair: PreferencePair
    chosen: tuple[int, ...]
    rejected: tuple[int, ...]

    def padded_tokens(self) -> int:
        """What the pair takes in a micro-batch."""
        return 2 * max(len(self.chosen), len(self.rejected))


def train_reward_model(
    network: RewardNetwork,
    pairs: Sequence[PreferencePair],
    config: RewardModelConfig,
    log: RunLog,
    on_step: Callable[[int, int, float], None] = lambda step, num_steps, loss: None,
) -> PairEvaluation:
    """Trains `network` in place; goes on from the run folder's last checkpoint.

    Afterwards its centre and spread are those of the held-out rewards, and the held-out accuracy is returned.
    `on_step` is told (steps done, steps in all, loss).

    Raises:
        InputError: if a pair is longer than the network can read, or no question is left to train on or to hold out.
    """
    train, held_out = encode_pairs(network, pairs, config.held_out_share)
    return train_encoded(network, train, held_out, config, log, on_step)


def train_encoded(
    network: RewardNetwork,
    examples: Sequence[EncodedPair],
    held_out: Sequence[EncodedPair],
    config: RewardModelConfig,
    log: RunLog,
    on_step: Callable[[int, int, float], None] = lambda step, num_steps, loss: None,
    continues: Path | None = None,
) -> PairEvaluation:
    """`train_reward_model` for pairs that are encoded already.

    Where the folder `continues` holds the last checkpoint of the training that `network` comes from, the optimizer
    begins with its state, AdamW's two means of each weight; the schedule of the learning rate begins anew.

    Raises:
        InputError: if `continues` holds a checkpoint of other weights.
    """
    optimizer = make_optimizer(network, config)
    num_steps = config.num_steps(len(examples))
    checkpoints = log.folder / "checkpoints"
    first_step, _ = load_checkpoint(checkpoints, network, optimizer)
    if not first_step and continues is not None:
        _take_over(continues, network, optimizer, config)
    log.rewind(first_step)
    for step in range(first_step, num_steps):
        started = time.process_time()
        batch = [examples[index] for index in batch_indices(len(examples), config.batch_size, step, config.seed)]
        loss, accuracy, margin = _backward(network, batch, config.token_budget)
        metrics = {"loss": loss, "accuracy": accuracy, "margin": margin}
        metrics |= take_step(network, optimizer, config, step, num_steps)
        done = step + 1
        if done % config.log_every == 0 or done == num_steps:
            log.write(done, metrics, {"cpu_seconds": time.process_time() - started})
        if done % config.checkpoint_every == 0 or done == num_steps:
            save_checkpoint(checkpoints, done, network, optimizer)
        on_step(done, num_steps, loss)
    return measure(network, held_out, config.token_budget)


def encode_pairs(
    network: RewardNetwork, pairs: Sequence[PreferencePair], held_out_share: float, *, skip_long: bool = False
) -> tuple[list[EncodedPair], list[EncodedPair]]:
    """(training pairs, held-out pairs) as token ids; `skip_long` leaves out those that the network cannot read.

    Raises:
        InputError: if a pair is longer than the network can read, or no question is left to train on or to hold out.
    """
    encoded = {pair: encode_pair(network, pair) for pair in pairs}
    if not skip_long:
        _check_lengths(network, [encoded[pair] for pair in pairs])
    fitting = [pair for pair in pairs if fits(network, encoded[pair])]
    train, held_out = split_pairs(fitting, held_out_share)
    return [encoded[pair] for pair in train], [encoded[pair] for pair in held_out]


def encode_pair(network: RewardNetwork, pair: PreferencePair) -> EncodedPair:
    """A pair as the network reads it."""
    return EncodedPair(
        pair=pair,
        chosen=network.encode(pair.prompt, pair.chosen),
        rejected=network.encode(pair.prompt, pair.rejected),
    )


def fits(network: RewardNetwork, pair: EncodedPair) -> bool:
    """Whether the network can read both completions."""
    return network.fits(pair.chosen) and network.fits(pair.rejected)


def _take_over(checkpoints: Path, network: RewardNetwork, optimizer: Optimizer, config: RewardModelConfig) -> None:
    """Puts the optimizer state of a finished training into `optimizer`, all but its settings."""
    weights = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    load_checkpoint(checkpoints, network, optimizer)
    if not all(torch.equal(tensor, weights[name]) for name, tensor in network.state_dict().items()):
        raise InputError(f"{checkpoints} is not of the training that this reward model comes from: move it away")
    for group in optimizer.param_groups:
        group.update(betas=config.betas, weight_decay=config.weight_decay)


def _backward(network: RewardNetwork, batch: Sequence[EncodedPair], token_budget: int) -> tuple[float, float, float]:
    """Adds the gradient of the batch's loss; returns the loss, the accuracy and the mean margin of the batch."""
    total_weight = sum(one.pair.weight for one in batch)
    loss, margins = 0.0, []
    for indices in micro_batches([pair.padded_tokens() for pair in batch], token_budget):
        micro_batch = [batch[index] for index in indices]
        both = [pair.chosen for pair in micro_batch] + [pair.rejected for pair in micro_batch]
        chosen_B, rejected_B = network.read(both).chunk(2)
        weights_B = torch.tensor([one.pair.weight for one in micro_batch], device=chosen_B.device)
        share = weights_B.sum() / total_weight
        micro_loss = bradley_terry_loss(chosen_B, rejected_B, weights_B) * share
        micro_loss.backward()
        loss += float(micro_loss.detach())
        margins += (chosen_B - rejected_B).detach().tolist()
    accuracy = statistics.fmean(credit(margin, 0.0) for margin in margins)
    return loss, accuracy, statistics.fmean(margins)


def measure(network: RewardNetwork, encoded: Sequence[EncodedPair], token_budget: int) -> PairEvaluation:
    """Evaluates on held-out pairs; the network's centre and spread are then those of their rewards."""
    chosen = network.rewards([pair.chosen for pair in encoded], token_budget)
    rejected = network.rewards([pair.rejected for pair in encoded], token_budget)
    network.centre = statistics.fmean(chosen + rejected)
    network.spread = statistics.pstdev(chosen + rejected) or 1.0  # rewards that are all the same stay the same
    return evaluate_rewards([one.pair for one in encoded], chosen, rejected)


def _check_lengths(network: RewardNetwork, encoded: Sequence[EncodedPair]) -> None:
    over_long = [pair for pair in encoded if not fits(network, pair)]
    if over_long:
        longest = max(pair.padded_tokens() for pair in over_long) // 2
        raise InputError(
            f"{len(over_long)} of {len(encoded)} pairs are longer than the model's {network.max_tokens} tokens "
            f"(the longest has {longest}): leave them out (--skip-long), or take a model with a longer context"
        )
