"""`markscheme evaluate-reward-model`: how often a reward model prefers the chosen completion, or tells good steps."""

from dataclasses import asdict
from pathlib import Path

from markscheme.commands.process_model import evaluate_process
from markscheme.commands.reward_network import say_overlap
from markscheme.commands.shared import console, say
from markscheme.commands.train_reward_model import print_pair_evaluation
from markscheme.files import InputError, sha256_of, write_json
from markscheme.progress import progress_bar
from markscheme.reward_models import RewardModel, evaluate_pairs, load_pairs
from markscheme.reward_models.evaluation import baselines
from markscheme.reward_models.model import kind_of


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
    """Measure a reward model on preference pairs, or a process model on labelled steps.

    Parameters
    ----------
    model
        Folder of a reward model.
    pairs
        .jsonl or .jsonl.gz with prompt (or problem, question), chosen and rejected, or any other format of preferences;
        for a process model, labelled steps such as ProcessBench's.
    out
        JSON file for the figures; without it nothing is written.
    train_pairs
        What the model was trained on: a linear model on n-grams learns from it too, and is set beside.
    seed
        Of the bootstrap behind the intervals.
    config
        TOML file of options.
    """
    if kind_of(model) == "process":
        if train_pairs is not None:
            raise InputError("no model on n-grams is made for steps: leave out --train-pairs")
        evaluate_process(model, pairs, out, seed)
        return
    scorer = RewardModel(model)
    preferences = load_pairs(pairs)
    known = load_pairs(train_pairs) if train_pairs else []
    with progress_bar(console, "pairs", len(preferences)) as bar:
        evaluation = evaluate_pairs(scorer, preferences, seed, bar.update)
    seen = say_overlap(model, preferences, "pair")
    groups = {pair.group for pair in known}
    shared = len({pair.group for pair in preferences} & groups)
    if shared:
        say(f"{shared} of the questions are in {train_pairs} too: those are no measure of what was learned")
    others = baselines(known, preferences, seed) if known else {}
    print_pair_evaluation(evaluation, f"{model} on {pairs.name}", others)
    if out is not None:
        record = {
            "reward_model": {"folder": str(model), "version": scorer.version},
            "pairs": {"file": pairs.name, "sha256": sha256_of(pairs), "pairs_of_training_questions": seen},
            "seed": seed,
            **asdict(evaluation),
            "baselines": {name: asdict(one) for name, one in others.items()},
        }
        write_json(out, record)
        say(f"figures: {out}")
