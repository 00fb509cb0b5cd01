"""Training a process model: the value of a step is learned from the labels of steps."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor

from markscheme.files import InputError
from markscheme.packing.sequences import TokenSequence
from markscheme.reward_models.config import RewardModelConfig
from markscheme.reward_models.examples import OverLong
from markscheme.reward_models.loss import pointwise_loss
from markscheme.reward_models.model import RewardNetwork
from markscheme.reward_models.preferences import split_by_question
from markscheme.reward_models.process import StepSequence, read_steps, readable, render, step_values
from markscheme.reward_models.process_evaluation import StepEvaluation, best_threshold, evaluate_values
from markscheme.reward_models.steps import LabelledSteps
from markscheme.reward_models.training import OnStep, fit
from markscheme.run_log import RunLog

OF_PREFERENCES = ("loss", "label_smoothing", "centring")
"""Settings that say nothing to a process model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepExample:
    """Labelled steps that are read together: of a decoder all that go on from one beginning, of an encoder one."""

    read: tuple[StepSequence, ...]
    labels: tuple[float, ...]
    """Of the steps that are valued, one sequence after another."""
    group: str
    """Names the question."""

    @property
    def sequences(self) -> tuple[TokenSequence, ...]:
        return tuple(one.tokens for one in self.read)


def encode_steps(
    network: RewardNetwork, solutions: Sequence[LabelledSteps], over_long: OverLong = "refuse"
) -> tuple[list[StepExample], dict[str, int]]:
    """The steps that the network can read, and counts of the solutions that were too long for it.

    Args:
        over_long: what is done with a solution that has labelled steps beyond what the network can read: "refuse" all,
            "leave-out" the solution, or "truncate" it, so that these steps lose their labels. Scoring never cuts.

    Raises:
        InputError: if there is one that is too long, and it is to be refused, or if nothing is left.
    """
    by_beginning: dict[tuple[str, int | tuple[int, ...]], list[tuple[StepSequence, list[float]]]] = {}
    counts = dict.fromkeys(("too_long", "truncated", "left_out", "steps_left_out"), 0)
    longest = 0
    for solution in solutions:
        rendered = render(network, solution.prompt, solution.steps, solution.labelled)
        read = readable(network, rendered)
        if missing := _num_valued(rendered) - _num_valued(read):
            if over_long != "truncate":
                read, missing = [], len(solution.labelled)
            counts["too_long"] += 1
            counts["truncated" if read else "left_out"] += 1
            counts["steps_left_out"] += missing
            longest = max(longest, *(len(one.tokens) for one in rendered))
        labels = (label for label in solution.labels if label is not None)
        for one in read:
            beginning = len(by_beginning) if network.is_encoder else one.tokens.prompt_ids
            its_labels = list(islice(labels, len(one.ends)))
            by_beginning.setdefault((solution.group, beginning), []).append((one, its_labels))
    if counts["too_long"] and over_long == "refuse":
        raise InputError(
            f"{counts['too_long']} of {len(solutions)} solutions are longer than the model's {network.max_tokens} "
            f"tokens (the longest has {longest}): --over-long leave-out or truncate, or a model with more room"
        )
    if not by_beginning:
        raise InputError(f"no solution has at most the model's {network.max_tokens} tokens: --over-long truncate")
    examples = [
        StepExample(
            read=tuple(one for one, _ in together),
            labels=tuple(label for _, labels in together for label in labels),
            group=group,
        )
        for (group, _), together in by_beginning.items()
    ]
    return examples, counts


def _num_valued(read: Sequence[StepSequence]) -> int:
    return sum(len(one.ends) for one in read)


class ProcessObjective:
    """Mean over labelled steps of the cross entropy of sigmoid(value) and the label (Lightman et al. 2023,
    arXiv:2305.20050), which may be a share (Wang et al. 2023, arXiv:2312.08935).
    """

    def __init__(self, network: RewardNetwork) -> None:
        self.network = network

    def weight(self, example: StepExample) -> float:
        return float(len(example.labels))

    def loss(self, batch: Sequence[StepExample]) -> tuple[Tensor, dict[str, list[float]]]:
        values_N = read_steps(self.network, [one for example in batch for one in example.read])
        labels = [label for example in batch for label in example.labels]
        hits = [float((value >= 0) == (label >= 0.5)) for value, label in zip(values_N.tolist(), labels, strict=True)]
        losses_N = pointwise_loss(values_N, torch.tensor(labels, device=values_N.device))
        return losses_N.sum(), {"step_accuracy": hits}


def train_process_model(
    network: RewardNetwork,
    solutions: Sequence[LabelledSteps],
    config: RewardModelConfig,
    log: RunLog,
    *,
    over_long: OverLong = "refuse",
    on_step: OnStep = lambda done, num_steps, loss: None,
) -> StepEvaluation:
    """Trains `network`, of kind process, in place; goes on from the run folder's last checkpoint.

    Afterwards its threshold is the best one for the held-out solutions, and what it is worth on them is returned.

    Raises:
        InputError: if a solution is longer than the network can read and `over_long` refuses it, if no question is left
            to train on or to hold out, if the network or the settings are for preferences, or if the folder holds a run
            with other settings or solutions.
        FloatingPointError: if the gradient is not finite.
    """
    examples, _ = encode_steps(network, solutions, over_long)
    train, _ = split_by_question(examples, config.held_out_share)
    _, held_out = split_by_question(solutions, config.held_out_share)
    return train_on_steps(network, train, held_out, config, log, on_step=on_step)


def train_on_steps(
    network: RewardNetwork,
    examples: Sequence[StepExample],
    held_out: Sequence[LabelledSteps],
    config: RewardModelConfig,
    log: RunLog,
    *,
    on_step: OnStep = lambda done, num_steps, loss: None,
) -> StepEvaluation:
    """`train_process_model` for steps that are encoded and split already."""
    check_process(network, config)
    fit(network, examples, ProcessObjective(network), config, log, on_step=on_step)
    network.trained_on |= {one.group for one in examples}
    values = step_values(network, held_out, config.token_budget)
    network.threshold = best_threshold(held_out, values)
    return evaluate_values(held_out, values)


def check_process(network: RewardNetwork, config: RewardModelConfig) -> None:
    """
    Raises:
        InputError: if the network, or a setting, is for preferences.
    """
    if network.kind != "process":
        raise InputError(f"the network is of kind {network.kind}, and what values steps is of kind process")
    default = RewardModelConfig()
    if any(getattr(config, name) != getattr(default, name) for name in OF_PREFERENCES):
        raise InputError(
            "a process model learns labels by their cross entropy: leave out loss, label_smoothing and centring"
        )
