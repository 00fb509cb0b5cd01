"""`markscheme train-reward-model`: a reward model from preferences, or from labelled steps."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from rich.markup import escape
from rich.table import Table

from markscheme.commands.options import TrainedModelOptions
from markscheme.commands.process_model import train_process
from markscheme.commands.reward_network import (
    basis_of,
    say_calibration,
    say_not_better,
    say_where,
    start_network,
)
from markscheme.commands.shared import console, say, shown_steps
from markscheme.files import noun_of, sha256_of, write_json
from markscheme.reward_models import PairAccuracy, PairEvaluation, RewardModelConfig, load_comparisons
from markscheme.reward_models.bootstrap import Figure
from markscheme.reward_models.evaluation import baselines
from markscheme.reward_models.examples import OverLong, encode_all
from markscheme.reward_models.model import MODEL_FOLDER
from markscheme.reward_models.preferences import split_by_question
from markscheme.reward_models.training import train_encoded
from markscheme.run_log import RunLog

FEW_PAIRS = 20
"""Of a cell: below, a figure balanced over cells rests on them more than a reader would think."""


def train_reward_model(
    pairs: Path,
    /,
    *,
    out: Path,
    kind: Literal["outcome", "process"] = "outcome",
    model: Annotated[TrainedModelOptions | None, Parameter(name="*")] = None,
    over_long: OverLong = "refuse",
    config: Path | None = None,
    settings: Annotated[RewardModelConfig | None, Parameter(name="*")] = None,
) -> None:
    """Train a reward model on preferences, or on labelled steps; killed and called again, it goes on from its last
    checkpoint.

    Parameters
    ----------
    pairs
        .jsonl or .jsonl.gz with prompt (or problem, question), chosen and rejected; or prompt, responses and scores,
        ranks or labels; or prompt, completion and label. For --kind process: steps with labels, in the form of TRL,
        PRM800K, ProcessBench, MR-GSM8K or Math-Shepherd.
    out
        Run folder: config.toml, metrics.jsonl, checkpoints, and at the end model and evaluation.json.
    kind
        outcome: a value for a whole completion; process: one for each of its steps.
    over_long
        What is done with completions that are longer than the model can read.
    config
        TOML file of options.
    """
    model, settings = model or TrainedModelOptions(), settings or RewardModelConfig()
    if kind == "process":
        train_process(pairs, out, model, over_long, settings)
        return
    loaded = load_comparisons(pairs)
    for reason, count in loaded.left_out.items():
        if count:
            say(f"left out {count} completions: {reason}")
    network, weights = start_network(model, settings)
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
    with shown_steps(out, settings.num_steps(len(train))) as tell:
        evaluation = train_encoded(
            network, train, held_out, settings, log, on_step=lambda done, _, loss: tell(done, loss)
        )
    network.save(out / MODEL_FOLDER)
    others = baselines(
        [pair for one in train for pair in one.comparison.pairs],
        [pair for one in held_out for pair in one.comparison.pairs],
    )
    record = {name: asdict(other) for name, other in others.items()}
    write_json(out / "evaluation.json", {**asdict(evaluation), "baselines": record})
    print_pair_evaluation(evaluation, "held-out pairs", others)
    say_where(out)


def print_pair_evaluation(evaluation: PairEvaluation, title: str, beside: Mapping[str, PairEvaluation]) -> None:
    """The accuracy with its interval, and beside it what can be known more simply."""
    table = Table(title=f"{title}, n = {evaluation.num_pairs}", title_justify="left")
    table.add_column(f"{evaluation.num_questions} questions, 95 % interval", no_wrap=True)
    table.add_column("pair accuracy", justify="right", no_wrap=True)
    if evaluation.by_writer is not None:
        table.add_column("balanced by writer", justify="right", no_wrap=True)

    def add(name: str, *figures: PairAccuracy, style: str | None = "dim") -> None:
        cells = [f"{one.accuracy:.3f} [{one.low:.3f}, {one.high:.3f}]" for one in figures]
        table.add_row(name, *map(escape, cells), style=style)

    add("reward model", *_figures(evaluation), style=None)
    add("  balanced by length", evaluation.by_length.accuracy, style=None)
    for name, other in beside.items():
        add(name, *_figures(other))
    lengths = {
        "always the longer one": evaluation.longer_is_better,
        "always the shorter one": evaluation.shorter_is_better,
    }
    for name, figure in lengths.items():
        add(name, figure)
    console.print(table)
    lengths_of = [cell.num_pairs for cell in evaluation.by_length.cells.values()]
    if len(lengths_of) > 1 and min(lengths_of) < FEW_PAIRS:
        few = f"the rarest of {min(lengths_of)} {noun_of(min(lengths_of), 'pair')} counts as much as the others"
        say(f"balanced by length is the mean over {len(lengths_of)} ranges of lengths: {few}")
    num_scored = evaluation.num_pairs - evaluation.num_unscored
    basis = basis_of(num_scored, "pair", evaluation.num_questions)
    simple = {name: other.scorer for name, other in beside.items()} | lengths
    _say_not_better(evaluation.scorer, simple, basis)
    if evaluation.by_writer is not None:
        balanced = {name: other.by_writer.accuracy for name, other in beside.items() if other.by_writer}
        _say_not_better(evaluation.by_writer.accuracy, balanced, f"{basis}, balanced by writer")
    say_calibration(evaluation.calibration, num_scored)
    if evaluation.num_ties:
        say(f"{evaluation.num_ties} ties, each counted as one half")
    if evaluation.num_unscored:
        say(
            f"{evaluation.num_unscored} pairs without a score are left out; "
            f"counted as wrong, the accuracy is {evaluation.pessimistic:.3f}"
        )


def _say_not_better(model: PairAccuracy, others: Mapping[str, PairAccuracy], basis: str) -> None:
    say_not_better(_figure(model), {name: _figure(one) for name, one in others.items()}, basis)


def _figure(one: PairAccuracy) -> Figure:
    return Figure(value=one.accuracy, low=one.low, high=one.high)


def _figures(evaluation: PairEvaluation) -> list[PairAccuracy]:
    return [evaluation.scorer, *([evaluation.by_writer.accuracy] if evaluation.by_writer else [])]
