"""`markscheme evaluate-reward-model`: how often a reward model prefers the chosen completion."""

from dataclasses import asdict
from pathlib import Path

from markscheme.commands.shared import console, say
from markscheme.commands.train_reward_model import print_pair_evaluation
from markscheme.files import sha256_of, write_json
from markscheme.progress import progress_bar
from markscheme.reward_models import RewardModel, evaluate_pairs, load_pairs


def evaluate_reward_model(
    model: Path, pairs: Path, /, *, out: Path | None = None, seed: int = 0, config: Path | None = None
) -> None:
    """Measure a reward model on preference pairs.

    Parameters
    ----------
    model
        Folder of a reward model.
    pairs
        .jsonl or .jsonl.gz with prompt (or problem, question), chosen and rejected.
    out
        JSON file for the figures; without it nothing is written.
    seed
        Of the bootstrap behind the intervals.
    config
        TOML file of options.
    """
    scorer = RewardModel(model)
    preferences = load_pairs(pairs)
    with progress_bar(console, "pairs", len(preferences)) as bar:
        evaluation = evaluate_pairs(scorer, preferences, seed, bar.update)
    print_pair_evaluation(evaluation, f"{model} on {pairs.name}")
    if out is not None:
        record = {
            "reward_model": {"folder": str(model), "version": scorer.version},
            "pairs": {"file": pairs.name, "sha256": sha256_of(pairs)},
            "seed": seed,
            **asdict(evaluation),
        }
        write_json(out, record)
        say(f"figures: {out}")
