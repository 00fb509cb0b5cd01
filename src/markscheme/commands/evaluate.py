"""`markscheme evaluate`: measure a policy on a task."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.table import Table

from markscheme.benchmarks.evaluate import Evaluation, EvaluationConfig
from markscheme.benchmarks.evaluate import evaluate as run_evaluation
from markscheme.benchmarks.outcomes import RECORDS, SUMMARY, load_evaluation
from markscheme.commands.shared import (
    EngineOptions,
    ModelOptions,
    TaskOptions,
    check_golds,
    console,
    say,
    verifier_by_name,
)
from markscheme.files import InputError
from markscheme.models import fingerprint, load_policy
from markscheme.problems import Problem
from markscheme.progress import progress_bar
from markscheme.prompting import check_room

ENDINGS = {"no_answer": "without an answer", "truncated": "truncated", "unscored": "not scored"}


@dataclass(frozen=True, slots=True, kw_only=True)
class TestOptions(TaskOptions):
    """Problems to measure on."""

    split: str = "test"
    """Part of the task: train, dev, test; the generated task also has sft and unseen."""


def evaluate(
    *,
    task: Annotated[TestOptions, Parameter(name="*")],
    out: Path,
    model: Annotated[ModelOptions | None, Parameter(name="*")] = None,
    engine: Annotated[EngineOptions | None, Parameter(name="*")] = None,
    scorer: str = "math",
    lenient: bool = False,
    dtype: str = "float32",
    config: Path | None = None,
    settings: Annotated[EvaluationConfig | None, Parameter(name="*")] = None,
) -> None:
    """Measure a policy on a task; run again, it generates only what is missing.

    Parameters
    ----------
    out
        Folder for records, scores and summary.
    scorer
        math, gsm8k or cmath.
    lenient
        Without a stated answer, take the last number of the last line.
    dtype
        float32, bfloat16 or float16.
    config
        TOML file of options.
    """
    model, settings, engine = model or ModelOptions(), settings or EvaluationConfig(), engine or EngineOptions()
    judge = verifier_by_name(scorer, lenient)
    problems = task.problems()
    check_golds(judge, problems)
    check_folder(out)
    policy, tokenizer = load_policy(model.model, model.revision, dtype)
    form = task.prompt_format()
    tokens = check_room(
        policy, problems, lambda one: form.prompt_ids(one.question, tokenizer), settings.max_completion_tokens
    )  # fmt: skip
    weights = fingerprint(policy, tokenizer)
    check_same_evaluation(out, weights, problems)
    total = len(problems) * len(settings.completions_per_problem())
    with progress_bar(console, "completions", total) as bar:
        evaluation = run_evaluation(
            engine.start(policy, tokenizer, tokens, out / "for-servers"),
            judge,
            problems,
            tokenizer,
            form,
            settings,
            out,
            fingerprint=weights,
            progress=lambda stage, done, _: bar.update(done, stage),
        )
    print_evaluation(evaluation, f"{model.model} on {task.task}")
    say(f"in {out}: summary.json, scores.jsonl, records.jsonl")


def check_folder(out: Path) -> None:
    """
    Raises:
        InputError: if `out` holds something else than an evaluation.
    """
    if out.is_dir() and any(out.iterdir()) and not (out / RECORDS).exists():
        raise InputError(f"{out} is not empty and holds no evaluation: choose another --out")


def check_same_evaluation(out: Path, weights: str, problems: Sequence[Problem]) -> None:
    """A finished evaluation may be gone on with, but not replaced by that of another model or task.

    Raises:
        InputError: if `out` holds such a one.
    """
    if not (out / SUMMARY).exists():
        return
    finished = load_evaluation(out)
    if finished.summary["fingerprint"] != weights:
        raise InputError(
            f"{out} holds the evaluation of another model (fingerprint {finished.summary['fingerprint']}, "
            f"this one's is {weights}): choose another --out"
        )
    if not {outcome.problem.id for outcome in finished.outcomes} & {problem.id for problem in problems}:
        raise InputError(f"{out} holds an evaluation on other problems: choose another --out")


def print_evaluation(evaluation: Evaluation, title: str) -> None:
    """The figures with their intervals, and the floor beside them."""
    summary = evaluation.summary
    table = Table(title=f"{title}, n = {summary['num_problems']}", title_justify="left")
    table.add_column("")
    table.add_column("accuracy", justify="right")
    table.add_column("95 % interval", justify="right")
    for name, metric in summary["metrics"].items():
        table.add_row(name, f"{metric['value']:.3f}", f"{metric['low']:.3f} to {metric['high']:.3f}")
    guess = summary["constant_guess"]
    table.add_row(f"floor: always {guess['answer'][:20]}", f"{guess['accuracy']:.3f}", "", style="dim")
    console.print(table)
    for kind, counts in summary["counts"].items():
        if counts["completions"]:
            mean = f"{counts['mean_completion_tokens']:.0f} tokens on average"
            endings = ", ".join(f"{label} {counts[name]}" for name, label in ENDINGS.items())
            say(f"{kind}: {counts['completions']} completions of {mean}; {endings}")
