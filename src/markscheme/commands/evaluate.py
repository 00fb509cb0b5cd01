"""`markscheme evaluate`: measure a policy on a task."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from markscheme.benchmarks.evaluation import EvaluationConfig, check_finished
from markscheme.benchmarks.evaluation import evaluate as run_evaluation
from markscheme.benchmarks.outcomes import PROBLEMS, RECORDS, Evaluation
from markscheme.benchmarks.paired import minimum_detectable_effect
from markscheme.benchmarks.protocols import BOXED_TOKENS, EvaluationProtocol, protocol_named
from markscheme.benchmarks.shown import evaluation_remarks, evaluation_table
from markscheme.benchmarks.tasks.generated import SOURCE
from markscheme.commands.options import (
    MODEL_GROUP,
    PROBLEMS_GROUP,
    SAMPLING_GROUP,
    GeneratorOptions,
    ModelOptions,
    TaskOptions,
)
from markscheme.commands.shared import check_golds, console, say, verifier_by_name
from markscheme.files import InputError
from markscheme.models import fingerprint, load_policy
from markscheme.progress import progress_bar
from markscheme.prompting import check_room

DISCORDANCES = (0.1, 0.3)  # a checkpoint and what training made of it differ on about so many problems


@dataclass(frozen=True, slots=True, kw_only=True)
class TestOptions(TaskOptions):
    """Problems to measure on."""

    split: str = "test"
    """Part of the task: train, dev, test; the generated task also has sft and unseen."""


def evaluate(
    *,
    task: Annotated[TestOptions, Parameter(name="*", group=PROBLEMS_GROUP)],
    out: Path,
    model: Annotated[ModelOptions | None, Parameter(name="*", group=MODEL_GROUP)] = None,
    engine: Annotated[GeneratorOptions | None, Parameter(name="*", group=SAMPLING_GROUP)] = None,
    protocol: str | None = None,
    exemplars: Path | None = None,
    max_completion_tokens: int | None = None,
    stop: tuple[str, ...] | None = None,
    scorer: str = "math",
    lenient: bool = False,
    dtype: str = "float32",
    config: Path | None = None,
    settings: Annotated[EvaluationConfig | None, Parameter(name="*", group=SAMPLING_GROUP)] = None,
) -> None:
    """Measure a policy on a task; run again, it generates only what is missing.

    Parameters
    ----------
    out
        Folder for records, scores and summary.
    protocol
        How questions are put: boxed-chat-0shot, plain, few-shot:K (worked solutions of the train split), or
        lm-eval:TASK (the exemplars of an installed lm_eval); +chat after the last two shows exemplars as turns. By
        default boxed-chat-0shot, and plain for generated problems.
    exemplars
        For few-shot:K, a file of problems with solutions in place of the train split.
    max_completion_tokens
        A longer completion is cut off, and counted as truncated; by default the protocol's own limit.
    stop
        A completion ends before the first of these strings; by default the protocol's own.
    scorer
        math, gsm8k or cmath.
    lenient
        Without a stated answer, take the last number of the last line.
    dtype
        float32, bfloat16 or float16.
    config
        TOML file of options.
    """
    model, settings, engine = model or ModelOptions(), settings or EvaluationConfig(), engine or GeneratorOptions()
    judge = verifier_by_name(scorer, lenient)
    problems = task.problems()
    check_golds(judge, problems)
    check_folder(out)
    chosen = protocol_of(task, protocol, exemplars, max_completion_tokens, stop)
    say(sensitivity(len(problems)))
    policy, tokenizer = load_policy(model.model, model.revision, dtype)
    tokens = check_room(
        policy, problems, lambda one: chosen.prompt_ids(one.question, tokenizer), chosen.max_completion_tokens
    )  # fmt: skip
    weights = fingerprint(policy, tokenizer)
    check_finished(problems, tokenizer, chosen, settings, out, fingerprint=weights, engine=engine.kind)
    total = len(problems) * len(settings.completions_per_problem())
    with progress_bar(console, "completions", total) as bar:
        evaluation = run_evaluation(
            engine.start(policy, tokenizer, tokens, out / "for-servers", batch_invariant=True),
            judge,
            problems,
            out,
            protocol=chosen,
            config=settings,
            fingerprint=weights,
            progress=lambda stage, done, _: bar.update(done, stage),
        )
    print_evaluation(evaluation, f"{model.model} on {task.task}")
    say(f"in {out}: summary.json, scores.jsonl, records.jsonl")


def protocol_of(
    task: TaskOptions, name: str | None, exemplars: Path | None, limit: int | None, stop: tuple[str, ...] | None
) -> EvaluationProtocol:
    """The protocol that the options name.

    Raises:
        InputError: if there is none of that name, or two options say how a question is put.
    """
    if name is not None and task.instruction is not None:
        raise InputError(f"--protocol {name} and --instruction both say how a question is put: leave one out")
    if name is None and task.instruction is not None:
        chosen = EvaluationProtocol(name="own", form=task.prompt_format(), max_completion_tokens=BOXED_TOKENS)
    else:
        chosen = protocol_named(
            name or ("plain" if task.task == SOURCE else "boxed-chat-0shot"),
            task=task.task,
            data=task.data,
            difficulty=task.difficulty,
            problem_seed=task.problem_seed,
            exemplars=exemplars,
        )
    changes: dict[str, Any] = {}
    if limit is not None:
        changes |= {"max_completion_tokens": limit, "note": ""}  # which says where the protocol's own limit comes from
    if stop is not None:
        changes["stop"] = stop
    return replace(chosen, **changes)


def sensitivity(num_problems: int) -> str:
    """What so many problems could show, before they are paid for."""
    few, many = (minimum_detectable_effect(num_problems, share) for share in DISCORDANCES)
    rarely, often = (f"{100 * share:.0f}" for share in DISCORDANCES)
    if many is None:
        return (
            f"n = {num_problems:,} problems are too few to show any gain four times in five, even if {often} % of the "
            "verdicts change"
        )
    begin = f"with n = {num_problems:,} problems you will see gains above"
    if few is None:
        return (
            f"{begin} {100 * many:.1f} points (four times in five, if {often} % of the verdicts change; if {rarely} % "
            "do, no gain is told from chance so often)"
        )
    return (
        f"{begin} {100 * few:.1f} to {100 * many:.1f} points (four times in five, if {rarely} to {often} % of the "
        "verdicts change)"
    )


def check_folder(out: Path) -> None:
    """
    Raises:
        InputError: if `out` holds something else than an evaluation.
    """
    begun = {PROBLEMS, f".{PROBLEMS}.partial"}  # by an evaluation that was killed before its first record
    others = {found.name for found in out.iterdir()} - begun if out.is_dir() else set()
    if others and not (out / RECORDS).exists():
        raise InputError(f"{out} is not empty and holds no evaluation: choose another --out")


def print_evaluation(evaluation: Evaluation, title: str) -> None:
    """The figures with their intervals, and what to know about them."""
    console.print(evaluation_table(evaluation, title))
    for line in evaluation_remarks(evaluation):
        say(line)
