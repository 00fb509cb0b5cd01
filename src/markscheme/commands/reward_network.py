"""What the commands that train and measure reward models of either kind share."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from markscheme.commands.options import TrainedModelOptions
from markscheme.commands.shared import say
from markscheme.files import noun_of
from markscheme.models import fingerprint
from markscheme.reward_models import RewardModelConfig, RewardNetwork
from markscheme.reward_models.bootstrap import Figure
from markscheme.reward_models.calibration import NUM_BINS, Calibration
from markscheme.reward_models.model import MODEL_FOLDER, Kind, questions_trained_on
from markscheme.reward_models.preferences import Grouped

LEAST_FOR_CALIBRATION = 10 * NUM_BINS
"""Ten a bin: of fewer, the error says more about how they fell into the bins."""


def start_network(
    model: TrainedModelOptions, settings: RewardModelConfig, kind: Kind = "outcome"
) -> tuple[RewardNetwork, str]:
    """A network that is ready to be trained, and the fingerprint of the weights that it comes from: its head is new."""
    network = RewardNetwork.from_pretrained(
        model.model, model.revision, seed=settings.seed, dtype=model.dtype, kind=kind
    )
    weights = fingerprint(network.model.base_model, network.tokenizer)
    network.prepare(model.lora_rank, settings.seed, gradient_checkpointing=model.gradient_checkpointing)
    return network, weights


def say_overlap(model: Path, measured: Sequence[Grouped], what: str) -> int | None:
    """How many of what a model is measured on are of questions that it was given to learn from, which is said; None if
    its folder does not know them.
    """
    known = questions_trained_on(model)
    if not known:
        return None
    seen = sum(one.group in known for one in measured)
    if seen:
        say(
            f"{seen:,} of these {len(measured):,} {noun_of(len(measured), what)} are of questions that {model} was "
            "given to learn from: they do not show what it is worth on others"
        )
    return seen


def basis_of(number: int, noun: str, num_questions: int) -> str:
    """What a figure rests on, in words."""
    return f"{number:,} {noun_of(number, noun)} of {num_questions:,} {noun_of(num_questions, 'question')}"


def say_not_better(model: Figure, others: Mapping[str, Figure], basis: str) -> None:
    """What a model is no better than, and what it is not shown to be better than; `basis` says on what."""
    unclear = []
    for name, one in others.items():
        if one.value >= model.value:
            say(f"no better than {name}: {model.value:.3f} against {one.value:.3f}, with {basis}")
        elif one.high >= model.low:
            unclear.append(name)
    if unclear:
        say(f"not shown to be better than {', '.join(unclear)}: the intervals overlap, with {basis}")


def say_calibration(found: Calibration, num_values: int) -> None:
    """Whether probabilities are what they seem; nothing where there are too few of them to tell."""
    if num_values < LEAST_FOR_CALIBRATION:
        return
    before, after = found.as_trained, found.scaled
    text = f"calibration: error {before.ece:.3f}, Brier {before.brier:.3f}"
    if found.temperature is not None:
        say(f"{text}; at temperature {found.temperature:.2f}: {after.ece:.3f}, {after.brier:.3f}")
    elif before.nll >= math.log(2):
        say(f"{text}; no temperature mends it: best is to call each an even chance")
    else:
        say(f"{text}; no temperature is too low: none is on the wrong side")


def say_where(out: Path) -> None:
    """The last words: where everything is, and how to use it."""
    say(f"in {out}: {MODEL_FOLDER}, evaluation.json, metrics.jsonl")
    say(f"to score with it: markscheme score FILE.jsonl --scorer {out / MODEL_FOLDER}")
