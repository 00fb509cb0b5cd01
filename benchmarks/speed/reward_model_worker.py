"""The child's side of the reward model benchmark: one trainer on given token ids, its processor time and its memory."""

import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from markscheme.packing.sequences import TokenSequence
from markscheme.reward_models.config import RewardModelConfig
from markscheme.reward_models.evaluation import evaluate_rewards
from markscheme.reward_models.examples import Example, encode_all
from markscheme.reward_models.formats import load_pairs
from markscheme.reward_models.model import RewardNetwork
from markscheme.reward_models.preferences import compared
from markscheme.reward_models.training import ComparisonObjective, fit
from markscheme.run_log import RunLog

PAIRS_IN_A_FORWARD = 8  # TRL's default
ROWS_AT_ONCE = 16  # when rewards are read for TRL

Rewards = list[float]


def run(contender: str, start: Path, train: Path, held_out: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """Trains the model in the folder `start`, and measures it on held-out pairs."""
    network = RewardNetwork.load(start)
    examples, _ = encode_all(network, compared(load_pairs(train)))
    pairs = load_pairs(held_out)
    sequences = [network.encode(pair.prompt, text) for pair in pairs for text in (pair.chosen, pair.rejected)]
    trainer = ours if contender == "ours" else trl
    started, before = time.process_time(), _peak_mb()
    read, seen = trainer(network, examples, settings)
    seconds, peak = time.process_time() - started, _peak_mb()
    rewards = read(sequences)
    found = evaluate_rewards(pairs, rewards[::2], rewards[1::2])
    return {
        "seconds": seconds,
        "pairs": seen,
        "peak_mb": peak,
        "added_mb": peak - before,
        "accuracy": found.scorer.accuracy,
        "balanced": found.by_writer.accuracy.accuracy if found.by_writer else None,
    }


def ours(
    network: RewardNetwork, examples: Sequence[Example], settings: dict[str, Any]
) -> tuple[Callable[[Sequence[TokenSequence]], Rewards], float]:
    """This trainer: a batch is of questions, so many that it has TRL's number of pairs on average."""
    num_pairs = sum(len(example.comparison.pairs) for example in examples)
    config = RewardModelConfig(
        learning_rate=settings["learning_rate"],
        warmup_steps=settings["warmup_steps"],
        batch_size=max(1, round(settings["batch_size"] * len(examples) / num_pairs)),
        epochs=settings["epochs"],
        seed=settings["seed"],
    )
    with tempfile.TemporaryDirectory() as folder:
        log = RunLog(Path(folder) / "run", {})
        fit(network, examples, ComparisonObjective(network, config), config, log, on_step=lambda *_: None)
    return lambda sequences: network.rewards(sequences, config.token_budget), num_pairs * settings["epochs"]


def trl(
    network: RewardNetwork, examples: Sequence[Example], settings: dict[str, Any]
) -> tuple[Callable[[Sequence[TokenSequence]], Rewards], float]:
    """TRL's trainer, in float32 and without gradient checkpointing, which its defaults have and which cost time."""
    from datasets import Dataset
    from trl import RewardConfig, RewardTrainer

    rows = []
    for example in examples:
        ids = [[*one.prompt_ids, *one.completion_ids] for one in example.sequences]
        rows += [
            {"chosen_ids": ids[better], "rejected_ids": ids[worse]} for better, worse in example.comparison.places()
        ]
    num_steps = max(1, int(len(rows) * settings["epochs"] / settings["batch_size"]))
    with tempfile.TemporaryDirectory() as folder:
        config = RewardConfig(
            output_dir=folder,
            max_steps=num_steps,
            per_device_train_batch_size=PAIRS_IN_A_FORWARD,
            gradient_accumulation_steps=settings["batch_size"] // PAIRS_IN_A_FORWARD,
            learning_rate=settings["learning_rate"],
            lr_scheduler_type="warmup_stable_decay",
            lr_scheduler_kwargs={"num_decay_steps": int(0.4 * num_steps), "decay_type": "linear"},
            warmup_steps=settings["warmup_steps"],
            adam_beta2=0.98,
            max_length=None,
            bf16=False,
            gradient_checkpointing=False,
            use_cpu=True,
            seed=settings["seed"],
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            logging_steps=10_000,
        )
        network.train()  # as TRL begins; it takes dropout out itself
        RewardTrainer(
            network.model, config, train_dataset=Dataset.from_list(rows), processing_class=network.tokenizer
        ).train()
    network.eval()
    return lambda sequences: _padded_rewards(network.model, sequences), float(num_steps * settings["batch_size"])


@torch.no_grad()
def _padded_rewards(model: PreTrainedModel, sequences: Sequence[TokenSequence]) -> Rewards:
    rewards: Rewards = []
    for first in range(0, len(sequences), ROWS_AT_ONCE):
        rows = [[*one.prompt_ids, *one.completion_ids] for one in sequences[first : first + ROWS_AT_ONCE]]
        width = max(map(len, rows))
        ids_BL = torch.tensor([row + [model.config.pad_token_id] * (width - len(row)) for row in rows])
        mask_BL = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
        rewards += model(input_ids=ids_BL, attention_mask=mask_BL).logits[:, 0].tolist()
    return rewards


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1_024


if __name__ == "__main__":
    name, start, train, held_out, settings = sys.argv[1:]
    print(json.dumps(run(name, Path(start), Path(train), Path(held_out), json.loads(settings))))
