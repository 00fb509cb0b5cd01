"""Training a reward model, from preferences or from labelled steps."""

import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import torch
from torch import Tensor
from torch.optim import Optimizer

from markscheme.checkpoint import CHECKPOINTS, load_checkpoint, save_checkpoint, settings_of
from markscheme.files import InputError
from markscheme.machine import give_back_memory
from markscheme.optimizer import make_optimizer, take_step
from markscheme.packing.sequences import TokenSequence
from markscheme.reward_models.config import RewardModelConfig
from markscheme.reward_models.evaluation import PairEvaluation, evaluate_rewards
from markscheme.reward_models.examples import Example, OverLong, encode_all
from markscheme.reward_models.model import RewardNetwork
from markscheme.reward_models.objective import check_examples, loss_of, weight_of
from markscheme.reward_models.preferences import Comparison, split_by_question
from markscheme.run_log import RunLog
from markscheme.schedule import batch_indices

OnStep = Callable[[int, int, float], None]
"""Is told (steps done, steps in all, loss)."""


class Readable(Protocol):
    """What a network can be trained on."""

    @property
    def sequences(self) -> tuple[TokenSequence, ...]: ...


E = TypeVar("E", bound=Readable, contravariant=True)


class Objective(Protocol, Generic[E]):
    """What is learned from examples."""

    def weight(self, example: E) -> float:
        """How much of a batch's loss the example is; known before any forward."""

    def loss(self, batch: Sequence[E]) -> tuple[Tensor, dict[str, list[float]]]:
        """The loss of a micro-batch, summed by weight, and what is to be logged the mean of."""


class ComparisonObjective:
    """A loss over comparisons."""

    def __init__(self, network: RewardNetwork, config: RewardModelConfig) -> None:
        self.network, self.config = network, config

    def weight(self, example: Example) -> float:
        return weight_of(example, self.config.loss)

    def loss(self, batch: Sequence[Example]) -> tuple[Tensor, dict[str, list[float]]]:
        loss, leads = loss_of(self.network, batch, self.config)
        return loss, {"accuracy": [0.5 if lead == 0 else float(lead > 0) for lead in leads], "margin": leads}


def train_reward_model(
    network: RewardNetwork,
    comparisons: Sequence[Comparison],
    config: RewardModelConfig,
    log: RunLog,
    *,
    over_long: OverLong = "refuse",
    on_step: OnStep = lambda done, num_steps, loss: None,
) -> PairEvaluation:
    """Trains `network` in place; goes on from the run folder's last checkpoint.

    Afterwards its centre, spread and range are those of the held-out rewards, and the held-out accuracy is returned.

    Raises:
        InputError: if a completion is longer than the network can read and `over_long` refuses it, if no question is
            left to train on or to hold out, if they are not what the loss needs, or if the folder holds a run with
            other settings or comparisons.
        FloatingPointError: if the gradient is not finite.
    """
    examples, _ = encode_all(network, comparisons, over_long)
    train, held_out = split_by_question(examples, config.held_out_share)
    return train_encoded(network, train, held_out, config, log, on_step=on_step)


def train_encoded(
    network: RewardNetwork,
    examples: Sequence[Example],
    held_out: Sequence[Example],
    config: RewardModelConfig,
    log: RunLog,
    *,
    on_step: OnStep = lambda done, num_steps, loss: None,
    continues: Path | None = None,
) -> PairEvaluation:
    """`train_reward_model` for comparisons that are encoded already; `continues` as in `fit`."""
    telling = check_examples(examples, network, config.loss)
    fit(network, telling, ComparisonObjective(network, config), config, log, on_step=on_step, continues=continues)
    network.trained_on |= {one.group for one in telling}
    return measure(network, held_out, config.token_budget)


def fit(
    network: RewardNetwork,
    examples: Sequence[E],
    objective: Objective[E],
    config: RewardModelConfig,
    log: RunLog,
    *,
    on_step: OnStep,
    continues: Path | None = None,
) -> None:
    """Runs all optimizer steps, or those that are left.

    Where the folder `continues` holds the last checkpoint of the training that `network` comes from, the optimizer
    begins with its state, AdamW's two means of each weight; the schedule of the learning rate begins anew.

    Raises:
        InputError: if the folder holds a run with other settings or examples, or `continues` a checkpoint of other
            weights.
        FloatingPointError: if the gradient is not finite.
    """
    optimizer = make_optimizer(network, config)
    num_steps = config.num_steps(len(examples))
    checkpoints = log.folder / CHECKPOINTS
    settings = settings_of(config, examples=examples)
    first_step, _ = load_checkpoint(checkpoints, network, optimizer, settings=settings)
    if not first_step and continues is not None:
        _take_over(continues, network, optimizer, config)
    log.rewind(first_step)
    for step in range(first_step, num_steps):
        started = time.process_time()
        batch = [examples[index] for index in batch_indices(len(examples), config.batch_size, step, config.seed)]
        metrics = _backward(network, batch, objective, config.token_budget)
        metrics |= take_step(network, optimizer, config, step, num_steps)
        give_back_memory()
        done = step + 1
        if done % config.log_every == 0 or done == num_steps:
            log.write(done, metrics, {"cpu_seconds": time.process_time() - started})
        if done % config.checkpoint_every == 0 or done == num_steps:
            save_checkpoint(checkpoints, done, network, optimizer, settings=settings)
        on_step(done, num_steps, metrics["loss"])


def _backward(
    network: RewardNetwork, batch: Sequence[E], objective: Objective[E], token_budget: int
) -> dict[str, float]:
    """Adds the gradient of the batch's loss; returns the loss, and the means of what is logged beside."""
    total_weight = sum(map(objective.weight, batch))
    loss, seen = 0.0, dict[str, list[float]]()
    for indices in network.batches([one.sequences for one in batch], token_budget):
        part, numbers = objective.loss([batch[index] for index in indices])
        part = part / total_weight
        part.backward()
        loss += float(part.detach())
        for name, values in numbers.items():
            seen.setdefault(name, []).extend(values)
    return {"loss": loss, **{name: statistics.fmean(values) for name, values in seen.items() if values}}


def _take_over(checkpoints: Path, network: RewardNetwork, optimizer: Optimizer, config: RewardModelConfig) -> None:
    """Puts the optimizer state of a finished training into `optimizer`, all but its settings."""
    weights = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    load_checkpoint(checkpoints, network, optimizer)
    if not all(torch.equal(tensor, weights[name]) for name, tensor in network.state_dict().items()):
        raise InputError(f"{checkpoints} is not of the training that this reward model comes from: move it away")
    for group in optimizer.param_groups:
        group.update(betas=config.betas, weight_decay=config.weight_decay)


def measure(network: RewardNetwork, held_out: Sequence[Example], token_budget: int) -> PairEvaluation:
    """Evaluates on held-out pairs; the network's centre, spread and range are then those of their rewards."""
    rewards = iter(network.rewards([one for example in held_out for one in example.sequences], token_budget))
    by_example = [[next(rewards) for _ in example.sequences] for example in held_out]
    every = [reward for rewards_K in by_example for reward in rewards_K]
    network.centre = statistics.fmean(every)
    network.spread = statistics.pstdev(every) or 1.0  # rewards that are all the same stay the same
    cuts = statistics.quantiles(map(network.standardise, every), n=200, method="inclusive")
    network.low, network.high = cuts[0], cuts[-1]  # at 0.5 and 99.5 %
    pairs = [pair for example in held_out for pair in example.comparison.pairs]
    both = [
        (rewards_K[better], rewards_K[worse])
        for example, rewards_K in zip(held_out, by_example, strict=True)
        for better, worse in example.comparison.places()
    ]
    return evaluate_rewards(pairs, [better for better, _ in both], [worse for _, worse in both])
