"""What a batch of comparisons costs: each loss, and what it is divided by, which is known before the forward.

Shapes: N pairs, K completions of one prompt.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from markscheme.files import InputError
from markscheme.reward_models.config import Loss, RewardModelConfig
from markscheme.reward_models.examples import Example
from markscheme.reward_models.loss import (
    bradley_terry_loss,
    centring_loss,
    plackett_luce_loss,
    pointwise_loss,
    smoothed,
    token_level_loss,
)
from markscheme.reward_models.model import RewardNetwork


def weight_of(example: Example, loss: Loss) -> float:
    """How much of a batch's loss an example is; the loss of a batch is a mean by these weights."""
    comparison = example.comparison
    if loss == "bradley-terry":
        return sum(pair.weight for pair in comparison.pairs)
    if loss == "plackett-luce":
        return float(len(set(comparison.ratings)) > 1)
    return float(len(comparison.ratings))


def check_examples(examples: Sequence[Example], network: RewardNetwork, loss: Loss) -> list[Example]:
    """The examples that say something to this loss.

    Raises:
        InputError: if there are none, or they are not what the loss needs.
    """
    if loss == "token-level" and network.is_encoder:
        raise InputError("the loss token-level reads a value at each token, and an encoder has none: take pointwise")
    if loss in ("pointwise", "token-level"):
        for example in examples:
            for rating in example.comparison.ratings:
                if rating is None or not 0 <= rating <= 1:
                    raise InputError(
                        f"the loss {loss} needs completions that are rated 0 to 1 each, and one of the question "
                        f"{str(example.comparison.prompt)[:60]!r} is rated {rating}: take bradley-terry"
                    )
    if loss == "plackett-luce":
        for example in examples:
            if None in example.comparison.ratings or len(set(example.comparison.ratings)) < len(example.sequences):
                raise InputError(
                    "the loss plackett-luce needs rankings without ties, and the completions of the question "
                    f"{str(example.comparison.prompt)[:60]!r} are none: take bradley-terry"
                )
    telling = [example for example in examples if weight_of(example, loss)]
    if not telling:
        raise InputError(f"the questions have nothing to say to the loss {loss}: {len(examples)} without a pair")
    return telling


def loss_of(network: RewardNetwork, batch: Sequence[Example], config: RewardModelConfig) -> tuple[Tensor, list[float]]:
    """The loss of a micro-batch, summed by weight, and by how much the chosen one of each pair leads."""
    sequences = [one for example in batch for one in example.sequences]
    if config.loss == "token-level":
        each = network.read_tokens(sequences)
        rewards = torch.stack([values_T[-1] for values_T in each])
    else:
        rewards = network.read(sequences)
    by_example = rewards.split([len(example.sequences) for example in batch])
    known = iter(rewards.detach().tolist())
    leads: list[float] = []
    for example in batch:
        values_K = [next(known) for _ in example.sequences]
        leads += [values_K[better] - values_K[worse] for better, worse in example.comparison.places()]
    if config.loss == "bradley-terry":
        return _pairs_loss(by_example, batch, config), leads
    if config.loss == "plackett-luce":
        return _rankings_loss(by_example, batch), leads
    ratings = [float(rating or 0) for example in batch for rating in example.comparison.ratings]
    if config.loss == "pointwise":
        return pointwise_loss(rewards, torch.tensor(ratings, device=rewards.device)).sum(), leads
    return torch.stack([token_level_loss(one, rating) for one, rating in zip(each, ratings, strict=True)]).sum(), leads


def _pairs_loss(by_example: Sequence[Tensor], batch: Sequence[Example], config: RewardModelConfig) -> Tensor:
    chosen, rejected = [], []
    for rewards_K, example in zip(by_example, batch, strict=True):
        places = torch.tensor(example.comparison.places(), device=rewards_K.device)
        chosen.append(rewards_K[places[:, 0]])
        rejected.append(rewards_K[places[:, 1]])
    chosen_N, rejected_N = torch.cat(chosen), torch.cat(rejected)
    pairs = [pair for example in batch for pair in example.comparison.pairs]
    columns = [[pair.weight, pair.margin, pair.certainty] for pair in pairs]
    weight_N, margin_N, certainty_N = torch.tensor(columns, device=chosen_N.device).unbind(1)
    certainty_N = smoothed(certainty_N, config.label_smoothing)
    losses_N = bradley_terry_loss(chosen_N, rejected_N, margin_B=margin_N, certainty_B=certainty_N)
    if config.centring:
        losses_N = losses_N + config.centring * centring_loss(chosen_N, rejected_N)
    return (weight_N * losses_N).sum()


def _rankings_loss(by_example: Sequence[Tensor], batch: Sequence[Example]) -> Tensor:
    losses = []
    for rewards_K, example in zip(by_example, batch, strict=True):
        ratings = [float(rating or 0) for rating in example.comparison.ratings]
        best_first = sorted(range(len(ratings)), key=lambda index: -ratings[index])
        losses.append(plackett_luce_loss(rewards_K[best_first]))
    return torch.stack(losses).sum()
