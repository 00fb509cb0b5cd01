"""`markscheme evaluate-reward-model`: how often a reward model prefers the chosen completion."""

from dataclasses import asdict
from pathlib import Path

from markscheme.commands.shared import console, say
from markscheme.commands.train_reward_model import NGRAMS, print_pair_evaluation
from markscheme.files import sha256_of, write_json
from markscheme.progress import progress_bar
from markscheme.reward_models import RewardModel, evaluate_pairs, load_pairs
from markscheme.reward_models.evaluation import baseline_accuracy


def evaluate_reward_model(
    model: Path,
    pairs: Path,
    /,
    *,
    out: Path | None = None,
    train_pairs: Path | None = None,
    seed: int = 0,
    config: Path | None = None,
) -> None:
    """Measure a reward model on preference pairs.

    Parameters
    ----------
    model
        Folder of a reward model.
    pairs
        .jsonl or .jsonl.gz with prompt (or problem, question), chosen and rejected, or any other format of preferences.
    out
        JSON file for the figures; without it nothing is written.
    train_pairs
        What the model was trained on: then a linear model on n-grams learns from it too, and its accuracy is beside.
    seed
        Of the bootstrap behind the intervals.
    config
        TOML file of options.
    """
    scorer = RewardModel(model)
    preferences = load_pairs(pairs)
    known = load_pairs(train_pairs) if train_pairs else []
    with progress_bar(console, "pairs", len(preferences)) as bar:
        evaluation = evaluate_pairs(scorer, preferences, seed, bar.update)
    groups = {pair.group for pair in known}
    shared = len({pair.group for pair in preferences} & groups)
    if shared:
        say(f"{shared} of the questions are in {train_pairs} too: those are no measure of what was learned")
    baselines = {NGRAMS: baseline_accuracy(known, preferences, seed)} if known else {}
    print_pair_evaluation(evaluation, f"{model} on {pairs.name}", baselines)
    if out is not None:
        record = {
            "reward_model": {"folder": str(model), "version": scorer.version},
            "pairs": {"file": pairs.name, "sha256": sha256_of(pairs)},
            "seed": seed,
            **asdict(evaluation),
            "baselines": {name: asdict(one) for name, one in baselines.items()},
        }
        write_json(out, record)
        say(f"figures: {out}")
