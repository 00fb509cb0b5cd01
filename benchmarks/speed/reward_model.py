"""Measures the reward model trainer beside TRL's: same model, pairs, token ids and batches, each in its own process.

`python -m markscheme.benchmarks.speed.reward_model`, or `make bench-reward-model`. TRL must be installed. Speed is ours
over TRL's (2 is twice as many pairs a second), memory ours over TRL's (0.5 is half of it).
"""

import json
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import cyclopts
from cyclopts import Parameter
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from markscheme.benchmarks.paired import PairedDifference, paired_difference
from markscheme.benchmarks.tasks.generated import generated_problems
from markscheme.files import InputError, sha256_of, write_json, write_lines
from markscheme.generation import Sampling
from markscheme.machine import origin
from markscheme.models import EMBEDDED, load_policy
from markscheme.own_process import run_module
from markscheme.progress import progress_bar
from markscheme.prompting import PromptFormat
from markscheme.reward_models import PreferencePair, RewardNetwork, load_pairs
from markscheme.reward_models.preferences import is_held_out
from markscheme.torch_engine import TorchEngine
from markscheme.verdict_pairs import initial_pairs
from markscheme.verifiers import MathVerifier

WORKER = "markscheme.benchmarks.speed.reward_model_worker"
CONTENDERS = ("ours", "trl")
HELD_OUT_SHARE = 0.2
DIFFICULTY = 4  # the embedded policy is right on some two in five: most problems give pairs
MAX_COMPLETION_TOKENS = 100  # its solutions have up to 75


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What is measured, and how."""

    pairs: Path = Path("../shared/data/preferences/gsm8k_test_pairs.jsonl.gz")
    """File of pairs."""
    generated: int = 0
    """Instead of a file: pairs of eight completions of each of so many generated problems by the embedded policy."""
    model: str = "embedded"
    """"embedded", or the folder of a language model or encoder."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Each draws a new head and another order of the pairs."""
    learning_rate: float = 1e-4
    """Of both."""
    batch_size: int = 32
    """Pairs in an optimizer step; of ours, so many questions as have that many on average."""
    epochs: float = 1.0
    """Passes over the pairs."""
    warmup_steps: int = 5
    """Of the learning rate."""
    max_pairs: int | None = None
    """The first so many pairs only."""

    def __post_init__(self) -> None:
        if self.batch_size % 8:
            raise InputError(f"batch_size must be a multiple of 8, TRL's pairs in a forward, got {self.batch_size}")
        if not self.generated and not self.pairs.exists():
            way_out = "give --pairs FILE.jsonl with prompt, chosen and rejected, or --generated NUMBER"
            raise InputError(f"{self.pairs}: no such file; {way_out}")


Found = dict[str, list[dict[str, Any]]]
"""Contender -> what each seed gave."""


def measure(settings: Settings, console: Console) -> tuple[Found, dict[str, int]]:
    """Runs every contender once a seed, in turn; also how many pairs there are.

    Raises:
        InputError: if a contender cannot run.
    """
    found: Found = {contender: [] for contender in CONTENDERS}
    counts: dict[str, int] = {}
    with (
        tempfile.TemporaryDirectory() as name,
        progress_bar(console, "measuring", len(settings.seeds) * len(CONTENDERS)) as bar,
    ):
        folder = Path(name)
        pairs = _generated_pairs(settings.generated, folder) if settings.generated else load_pairs(settings.pairs)
        for seed in settings.seeds:
            network = RewardNetwork.from_pretrained(settings.model, seed=seed)
            network.save(folder / "start")
            if not counts:
                counts = _write_pairs(network, pairs[: settings.max_pairs], folder)
            shared = {key: getattr(settings, key) for key in ("learning_rate", "batch_size", "epochs", "warmup_steps")}
            for contender in CONTENDERS:
                paths = (folder / "start", folder / "train.jsonl", folder / "held_out.jsonl")
                try:
                    found[contender].append(run_module(WORKER, contender, *paths, json.dumps({**shared, "seed": seed})))
                except InputError as error:
                    raise InputError(f"{contender} failed: {error}") from None
                bar.update(sum(map(len, found.values())), f"{contender}, seed {seed}")
    return found, counts


def _generated_pairs(num_problems: int, folder: Path) -> list[PreferencePair]:
    """Right against wrong completions of the embedded policy, which the verifier told apart."""
    policy, tokenizer = load_policy(EMBEDDED)
    form, path = PromptFormat(instruction=""), folder / "pairs.jsonl"
    problems = list(islice(generated_problems("train", DIFFICULTY), num_problems))
    initial_pairs(
        TorchEngine(policy, tokenizer),
        MathVerifier(),
        problems,
        lambda problem: form.prompt_ids(problem.question, tokenizer),
        path,
        sampling=Sampling(max_completion_tokens=MAX_COMPLETION_TOKENS),
    )
    return load_pairs(path)


def _write_pairs(network: RewardNetwork, pairs: Sequence[PreferencePair], folder: Path) -> dict[str, int]:
    """Writes the pairs that the model has room for, in two parts, by question; all weigh the same, as in TRL."""
    fitting = [replace(pair, weight=1.0) for pair in pairs if _fits(network, pair)]
    parts = {
        "train": [pair for pair in fitting if not is_held_out(pair, HELD_OUT_SHARE)],
        "held_out": [pair for pair in fitting if is_held_out(pair, HELD_OUT_SHARE)],
    }
    for name, part in parts.items():
        if not part:
            raise InputError(f"no pair is left for the part {name}: give more")
        write_lines(folder / f"{name}.jsonl", (json.dumps(asdict(pair)) for pair in part))
    return {**{name: len(part) for name, part in parts.items()}, "too_long": len(pairs) - len(fitting)}


def _fits(network: RewardNetwork, pair: PreferencePair) -> bool:
    return all(network.fits(network.encode(pair.prompt, text)) for text in (pair.chosen, pair.rejected))


def headlines(found: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, float]:
    """Ours against TRL's: ratios of means over seeds, and the mean difference of held-out pair accuracy."""
    speed = {name: statistics.fmean(run["pairs"] / run["seconds"] for run in runs) for name, runs in found.items()}
    memory = {name: statistics.fmean(run["peak_mb"] for run in runs) for name, runs in found.items()}
    return {
        "pairs_per_cpu_second": round(speed["ours"] / speed["trl"], 2),
        "memory": round(memory["ours"] / memory["trl"], 2),
        "accuracy_delta": round(accuracy_difference(found).mean, 4),
    }


def accuracy_difference(found: Mapping[str, Sequence[Mapping[str, Any]]]) -> PairedDifference:
    """Ours minus TRL's held-out pair accuracy, paired by seed."""
    before, after = ([run["accuracy"] for run in found[name]] for name in ("trl", "ours"))
    return paired_difference(before, after)


def table_of(found: Mapping[str, Sequence[Mapping[str, Any]]], counts: Mapping[str, int]) -> Table:
    """A row for each contender and seed."""
    table = Table(
        title=f"{counts['train']} pairs to train on, {counts['held_out']} held out; processor seconds, peak memory",
        box=SIMPLE_HEAD,
    )
    for name in ("contender", "seed"):
        table.add_column(name)
    for name in ("pairs/s", "s", "peak MB", "added MB", "accuracy", "balanced"):
        table.add_column(name, justify="right")
    for name, runs in found.items():
        for seed, run in enumerate(runs):
            balanced = "" if run["balanced"] is None else f"{run['balanced']:.3f}"
            table.add_row(
                name,
                str(seed),
                f"{run['pairs'] / run['seconds']:.1f}",
                f"{run['seconds']:.0f}",
                f"{run['peak_mb']:,.0f}",
                f"{run['added_mb']:,.0f}",
                f"{run['accuracy']:.3f}",
                balanced,
            )
    return table


def main(*, settings: Annotated[Settings | None, Parameter(name="*")] = None, out: Path | None = None) -> None:
    """Measure the reward model trainer beside TRL's.

    Parameters
    ----------
    out
        Folder for reward-model-speed.json.
    """
    chosen = settings or Settings()
    found, counts = measure(chosen, Console(stderr=True))
    ratios = headlines(found)
    if out:
        record = {
            "schema": "markscheme reward model benchmark 1",
            **origin(__spec__.name, "trl"),
            "settings": {**asdict(chosen), "pairs": None if chosen.generated else chosen.pairs.name},
            "pairs": {"sha256": None if chosen.generated else sha256_of(chosen.pairs), **counts},
            "contenders": found,
            "ratios": ratios,
        }
        write_json(out / "reward-model-speed.json", record)
    Console(width=120, highlight=False).print(table_of(found, counts))
    print(json.dumps(ratios))


if __name__ == "__main__":
    try:
        cyclopts.run(main)
    except InputError as error:
        print(f"markscheme: {error}", file=sys.stderr)
        sys.exit(2)
