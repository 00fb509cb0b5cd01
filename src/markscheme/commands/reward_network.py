"""What training a reward model of either kind begins and ends with."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from markscheme.commands.shared import TrainedModelOptions, console, say
from markscheme.models import fingerprint
from markscheme.progress import progress_bar
from markscheme.reward_models import RewardModelConfig, RewardNetwork
from markscheme.reward_models.model import MODEL_FOLDER, Kind
from markscheme.reward_models.training import OnStep


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


@contextmanager
def shown_steps(settings: RewardModelConfig, num_examples: int) -> Iterator[OnStep]:
    """A progress bar of the optimizer steps, and what to tell it."""
    with progress_bar(console, "steps", settings.num_steps(num_examples)) as bar:
        yield lambda done, _, loss: bar.update(done, f"loss {loss:.3f}")


def say_where(out: Path) -> None:
    """The last words: where everything is, and how to use it."""
    say(f"in {out}: {MODEL_FOLDER}, evaluation.json, metrics.jsonl")
    say(f"to score with it: markscheme score FILE.jsonl --scorer {out / MODEL_FOLDER}")
