"""`markscheme train-reward-model`: a reward model from preference pairs."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.table import Table

from markscheme.commands.shared import ModelOptions, console, say
from markscheme.files import sha256_of, write_json
from markscheme.models import fingerprint, load_policy
from markscheme.progress import progress_bar
from markscheme.reward_models import PairEvaluation, RewardModelConfig, RewardNetwork, load_pairs
from markscheme.reward_models.model import MODEL_FOLDER
from markscheme.reward_models.training import encode_pairs, train_encoded
from markscheme.run_log import RunLog


def train_reward_model(
    pairs: Path,
    /,
    *,
    out: Path,
    model: Annotated[ModelOptions | None, Parameter(name="*")] = None,
    skip_long: bool = False,
    config: Path | None = None,
    settings: Annotated[RewardModelConfig | None, Parameter(name="*")] = None,
) -> None:
    """Train a reward model on preference pairs; killed and called again, it goes on from its last checkpoint.

    Parameters
    ----------
    pairs
        .jsonl or .jsonl.gz with prompt (or problem, question), chosen and rejected; weight where there is one.
    out
        Run folder: config.toml, metrics.jsonl, checkpoints, and at the end model and evaluation.json.
    skip_long
        Leave out pairs that are longer than the model can read, instead of stopping.
    config
        TOML file of options.
    """
    model, settings = model or ModelOptions(), settings or RewardModelConfig()
    preferences = load_pairs(pairs)
    language_model, tokenizer = load_policy(model.model, model.revision)
    weights = fingerprint(language_model, tokenizer)
    network = RewardNetwork.from_language_model(language_model, tokenizer, settings.seed)
    train, held_out = encode_pairs(network, preferences, settings.held_out_share, skip_long=skip_long)
    num_pairs = len(train) + len(held_out)
    if num_pairs < len(preferences):
        left_out = len(preferences) - num_pairs
        say(f"left out {left_out} of {len(preferences)} pairs: longer than {network.max_tokens} tokens")
    record = {
        "command": "train-reward-model",
        "model": {"name": model.model, "fingerprint": weights},
        "pairs": {"file": pairs.name, "sha256": sha256_of(pairs), "pairs": num_pairs, "skip_long": skip_long},
        "reward_model": asdict(settings),
    }
    log = RunLog(out, record)
    with progress_bar(console, "steps", settings.num_steps(len(train))) as bar:
        evaluation = train_encoded(
            network, train, held_out, settings, log, lambda done, _, loss: bar.update(done, f"loss {loss:.3f}")
        )
    network.save(out / MODEL_FOLDER)
    write_json(out / "evaluation.json", asdict(evaluation))
    print_pair_evaluation(evaluation, "held-out pairs")
    say(f"in {out}: {MODEL_FOLDER}, evaluation.json, metrics.jsonl")
    say(f"to score with it: markscheme score FILE.jsonl --scorer {out / MODEL_FOLDER}")


def print_pair_evaluation(evaluation: PairEvaluation, title: str) -> None:
    """The accuracy with its interval, and beside it what the length alone would tell."""
    table = Table(title=f"{title}, n = {evaluation.num_pairs}", title_justify="left")
    table.add_column(f"{evaluation.num_questions} questions")
    table.add_column("pair accuracy", justify="right")
    table.add_column("95 % interval", justify="right")
    for name, accuracy, style in (
        ("reward model", evaluation.scorer, None),
        ("always the longer one", evaluation.longer_is_better, "dim"),
        ("always the shorter one", evaluation.shorter_is_better, "dim"),
    ):
        table.add_row(name, f"{accuracy.accuracy:.3f}", f"{accuracy.low:.3f} to {accuracy.high:.3f}", style=style)
    console.print(table)
    if evaluation.num_ties:
        say(f"{evaluation.num_ties} ties, each counted as one half")
    if evaluation.num_unscored:
        say(
            f"{evaluation.num_unscored} pairs without a score are left out; "
            f"counted as wrong, the accuracy is {evaluation.pessimistic:.3f}"
        )
