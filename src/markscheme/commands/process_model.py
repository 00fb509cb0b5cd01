"""What `markscheme train-reward-model` and `evaluate-reward-model` do for a model that values steps."""

from dataclasses import asdict
from pathlib import Path

from rich.table import Table

from markscheme.commands.options import TrainedModelOptions
from markscheme.commands.reward_network import (
    basis_of,
    say_calibration,
    say_not_better,
    say_overlap,
    say_where,
    start_network,
)
from markscheme.commands.shared import console, say, shown_steps
from markscheme.files import sha256_of, write_json
from markscheme.machine import origin
from markscheme.progress import progress_bar
from markscheme.reward_models import ProcessRewardModel, RewardModelConfig, RewardNetwork, load_steps
from markscheme.reward_models.bootstrap import Figure
from markscheme.reward_models.examples import OverLong
from markscheme.reward_models.first_error import FirstErrorEvaluation
from markscheme.reward_models.model import MODEL_FOLDER
from markscheme.reward_models.preferences import split_by_question
from markscheme.reward_models.process import step_values
from markscheme.reward_models.process_evaluation import StepEvaluation, evaluate_values
from markscheme.reward_models.process_training import OF_PREFERENCES, check_process, encode_steps, train_on_steps
from markscheme.run_log import RunLog

TOKEN_BUDGET = 8_192
"""Tokens that are read at a time in an evaluation, as in scoring."""


def train_process(
    steps: Path, out: Path, model: TrainedModelOptions, over_long: OverLong, settings: RewardModelConfig
) -> None:
    """Trains a process model into a run folder, and says what it is worth on held-out questions."""
    solutions = load_steps(steps)
    network, weights = start_network(model, settings, "process")
    check_process(network, settings)
    examples, counts = encode_steps(network, solutions, over_long)
    train, _ = split_by_question(examples, settings.held_out_share)
    _, held_out = split_by_question(solutions, settings.held_out_share)
    if counts["too_long"]:
        say(
            f"{counts['too_long']} solutions are longer than {network.max_tokens} tokens: {counts['truncated']} cut, "
            f"{counts['left_out']} left out, with {counts['steps_left_out']} steps in all"
        )
    record = {
        "command": "train-reward-model",
        "kind": "process",
        "model": {**asdict(model), "fingerprint": weights},
        "steps": {
            "file": steps.name,
            "sha256": sha256_of(steps),
            "train_steps": sum(len(one.labels) for one in train),
            "over_long": over_long,
            **counts,
        },
        "reward_model": {name: value for name, value in asdict(settings).items() if name not in OF_PREFERENCES},
    }
    log = RunLog(out, record)
    with shown_steps(out, settings.num_steps(len(train))) as tell:
        evaluation = train_on_steps(
            network, train, held_out, settings, log, on_step=lambda done, _, loss: tell(done, loss)
        )
    network.save(out / MODEL_FOLDER)
    write_json(out / "evaluation.json", {**origin("markscheme"), "threshold": network.threshold, **asdict(evaluation)})
    print_step_evaluation(evaluation, "held-out steps")
    say(f"a step is taken for wrong below a probability of {network.threshold:.3f}, the best one for these solutions")
    say_where(out)


def evaluate_process(model: Path, steps: Path, out: Path | None, seed: int) -> None:
    """Measures a process model on labelled steps."""
    version = ProcessRewardModel(model).version
    network = RewardNetwork.load(model)
    solutions = load_steps(steps)
    with progress_bar(console, "solutions", len(solutions)) as bar:
        values = step_values(network, solutions, TOKEN_BUDGET, bar.update)
    evaluation = evaluate_values(solutions, values, network.threshold, seed)
    seen = say_overlap(model, solutions, "solution")
    print_step_evaluation(evaluation, f"{model} on {steps.name}")
    if out is not None:
        record = {
            **origin("markscheme"),
            "reward_model": {"folder": str(model), "version": version},
            "steps": {"file": steps.name, "sha256": sha256_of(steps), "solutions_of_training_questions": seen},
            "seed": seed,
            **asdict(evaluation),
        }
        write_json(out, record)
        say(f"figures: {out}")


def print_step_evaluation(evaluation: StepEvaluation, title: str) -> None:
    """Each figure with its interval, and beside it what can be known more simply."""
    table = Table(title=f"{title}, n = {evaluation.num_steps}", title_justify="left")
    table.add_column(f"{evaluation.num_questions} questions")
    for column in ("step accuracy", "95 % interval"):
        table.add_column(column, justify="right")
    others = {"always good": evaluation.always_good, "by its place alone": evaluation.by_position}
    table.add_row("process model", *_shown(evaluation.accuracy))
    for name, one in others.items():
        table.add_row(name, *_shown(one), style="dim")
    console.print(table)
    num_valued = evaluation.num_steps - evaluation.num_unscored
    say_not_better(evaluation.accuracy, others, basis_of(num_valued, "step", evaluation.num_questions))
    if evaluation.auc is not None:
        value, interval = _shown(evaluation.auc)
        say(f"a good step has a higher value than a wrong one: {value} ({interval}; 0.5 by chance)")
    say_calibration(evaluation.calibration, num_valued)
    if evaluation.num_unscored:
        say(f"{evaluation.num_unscored} steps are too long to be read, and are left out above")
    if evaluation.first_errors is not None:
        _print_first_errors(evaluation.first_errors)


def _print_first_errors(found: FirstErrorEvaluation) -> None:
    num_solutions = found.num_wrong + found.num_right
    table = Table(
        title=f"first errors of solutions, n = {num_solutions}, {found.num_wrong} with an error", title_justify="left"
    )
    table.add_column(f"{found.num_questions} questions")
    for column in ("F1", "95 % interval", "found", "spared"):
        table.add_column(column, justify="right")
    cut = "of others" if found.threshold is None else f"{found.threshold:.3f}"
    rows = {f"model, threshold {cut}": found.model, "model, threshold 0.5": found.at_half}
    for name, one in (rows | {"by the place alone": found.by_position}).items():
        shares = f"{one.found:.3f}", f"{one.spared:.3f}"
        table.add_row(name, *_shown(one.f1), *shares, style=None if name in rows else "dim")
    table.add_row('always "no error"', "0.000", "", "0.000", "1.000", style="dim")
    console.print(table)
    basis = basis_of(num_solutions, "solution", found.num_questions)
    say_not_better(found.model.f1, {"by the place alone": found.by_position.f1}, basis)
    if found.model.num_undecided:
        say(f"{found.model.num_undecided} solutions are too long to tell, and count as missed")


def _shown(one: Figure) -> tuple[str, str]:
    return f"{one.value:.3f}", f"{one.low:.3f} to {one.high:.3f}"
