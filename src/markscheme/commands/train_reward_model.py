"""`markscheme train-reward-model`: a reward model from preferences."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.table import Table

from markscheme.commands.shared import TrainedModelOptions, console, say
from markscheme.files import sha256_of, write_json
from markscheme.models import fingerprint
from markscheme.progress import progress_bar
from markscheme.reward_models import PairAccuracy, PairEvaluation, RewardModelConfig, RewardNetwork, load_comparisons
from markscheme.reward_models.evaluation import baseline_accuracy
from markscheme.reward_models.examples import OverLong, encode_all
from markscheme.reward_models.model import MODEL_FOLDER
from markscheme.reward_models.preferences import split_by_question
from markscheme.reward_models.training import train_encoded
from markscheme.run_log import RunLog

NGRAMS = "linear model on n-grams"


def train_reward_model(
    pairs: Path,
    /,
    *,
    out: Path,
    model: Annotated[TrainedModelOptions | None, Parameter(name="*")] = None,
    over_long: OverLong = "refuse",
    config: Path | None = None,
    settings: Annotated[RewardModelConfig | None, Parameter(name="*")] = None,
) -> None:
    """Train a reward model on preferences; killed and called again, it goes on from its last checkpoint.

    Parameters
    ----------
    pairs
        .jsonl or .jsonl.gz with prompt (or problem, question), chosen and rejected; or prompt, responses and scores,
        ranks or labels; or prompt, completion and label.
    out
        Run folder: config.toml, metrics.jsonl, checkpoints, and at the end model and evaluation.json.
    over_long
        What is done with completions that are longer than the model can read.
    config
        TOML file of options.
    """
    model, settings = model or TrainedModelOptions(), settings or RewardModelConfig()
    loaded = load_comparisons(pairs)
    for reason, count in loaded.left_out.items():
        if count:
            say(f"left out {count} completions: {reason}")
    network = RewardNetwork.from_pretrained(model.model, model.revision, seed=settings.seed, dtype=model.dtype)
    weights = fingerprint(network.model.base_model, network.tokenizer)  # the head is new
    network.prepare(model.lora_rank, settings.seed, gradient_checkpointing=model.gradient_checkpointing)
    examples, counts = encode_all(network, loaded.comparisons, over_long)
    train, held_out = split_by_question(examples, settings.held_out_share)
    if counts["too_long"]:
        say(
            f"{counts['too_long']} completions are longer than {network.max_tokens} tokens: {counts['truncated']} cut, "
            f"{counts['left_out']} left out with {counts['pairs_left_out']} pairs"
        )
    record = {
        "command": "train-reward-model",
        "model": {**asdict(model), "fingerprint": weights},
        "pairs": {
            "file": pairs.name,
            "sha256": sha256_of(pairs),
            "pairs": sum(len(one.comparison.pairs) for one in examples),
            "over_long": over_long,
            **counts,
        },
        "reward_model": asdict(settings),
    }
    log = RunLog(out, record)
    with progress_bar(console, "steps", settings.num_steps(len(train))) as bar:
        evaluation = train_encoded(
            network,
            train,
            held_out,
            settings,
            log,
            on_step=lambda done, _, loss: bar.update(done, f"loss {loss:.3f}"),
        )
    network.save(out / MODEL_FOLDER)
    ngrams = baseline_accuracy(
        [pair for one in train for pair in one.comparison.pairs],
        [pair for one in held_out for pair in one.comparison.pairs],
    )
    write_json(out / "evaluation.json", {**asdict(evaluation), "baselines": {NGRAMS: asdict(ngrams)}})
    print_pair_evaluation(evaluation, "held-out pairs", {NGRAMS: ngrams})
    say(f"in {out}: {MODEL_FOLDER}, evaluation.json, metrics.jsonl")
    say(f"to score with it: markscheme score FILE.jsonl --scorer {out / MODEL_FOLDER}")


def print_pair_evaluation(
    evaluation: PairEvaluation, title: str, baselines: dict[str, PairAccuracy] | None = None
) -> None:
    """The accuracy with its interval, and beside it what can be known more simply."""
    table = Table(title=f"{title}, n = {evaluation.num_pairs}", title_justify="left")
    table.add_column(f"{evaluation.num_questions} questions")
    table.add_column("pair accuracy", justify="right")
    table.add_column("95 % interval", justify="right")

    def add(name: str, one: PairAccuracy, style: str | None = None) -> None:
        table.add_row(name, f"{one.accuracy:.3f}", f"{one.low:.3f} to {one.high:.3f}", style=style)

    add("reward model", evaluation.scorer)
    add("  balanced by length", evaluation.by_length.accuracy)
    if evaluation.by_writer is not None:
        add("  balanced by who wrote them", evaluation.by_writer.accuracy)
    others = {
        **(baselines or {}),
        "always the longer one": evaluation.longer_is_better,
        "always the shorter one": evaluation.shorter_is_better,
    }
    for name, one in others.items():
        add(name, one, "dim")
    console.print(table)
    for name, one in others.items():
        if one.accuracy >= evaluation.scorer.accuracy:
            say(f"no better than: {name} ({one.accuracy:.3f})")
    before, after = evaluation.calibration.as_trained, evaluation.calibration.scaled
    say(
        f"calibration: error {before.ece:.3f}, Brier {before.brier:.3f}; at temperature "
        f"{evaluation.calibration.temperature:.2f}: {after.ece:.3f}, {after.brier:.3f}"
    )
    if evaluation.num_ties:
        say(f"{evaluation.num_ties} ties, each counted as one half")
    if evaluation.num_unscored:
        say(
            f"{evaluation.num_unscored} pairs without a score are left out; "
            f"counted as wrong, the accuracy is {evaluation.pessimistic:.3f}"
        )
