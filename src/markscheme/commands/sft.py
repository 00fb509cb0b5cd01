"""`markscheme sft`: fine-tune a model on worked solutions."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from markscheme.commands.options import MODEL_GROUP, PROBLEMS_GROUP, TRAINING_GROUP, TaskOptions, TrainedModelOptions
from markscheme.commands.shared import say, shown_steps
from markscheme.files import InputError
from markscheme.grpo.baselines.sft import SFTConfig, train_sft
from markscheme.grpo.head import check_head
from markscheme.models import fingerprint, load_policy, save_policy
from markscheme.packing.sequences import TokenSequence
from markscheme.problems import Problem
from markscheme.prompting import PromptFormat, room_of
from markscheme.run_log import RunLog


def sft(
    *,
    task: Annotated[TaskOptions, Parameter(name="*", group=PROBLEMS_GROUP)],
    out: Path,
    model: Annotated[TrainedModelOptions | None, Parameter(name="*", group=MODEL_GROUP)] = None,
    config: Path | None = None,
    settings: Annotated[SFTConfig | None, Parameter(name="*", group=TRAINING_GROUP)] = None,
) -> None:
    """Fine-tune a model on the worked solutions of a task; killed and called again, it goes on.

    Parameters
    ----------
    out
        Run folder: config.toml, metrics.jsonl, checkpoints, and at the end policy.
    config
        TOML file of options.
    """
    model, settings = model or TrainedModelOptions(), settings or SFTConfig()
    problems = task.problems()
    policy, tokenizer = load_policy(model.model, model.revision, model.dtype)
    form = task.prompt_format()
    examples = sft_examples(problems, tokenizer, form, room_of(policy))
    record = {
        "command": "sft",
        "model": {**asdict(model), "fingerprint": fingerprint(policy, tokenizer)},
        "task": task.record(problems),
        "prompt_format": asdict(form),
        "sft": asdict(settings),
    }
    check_head(policy)
    model.prepare(policy, settings.seed)
    log = RunLog(out, record)
    with shown_steps(out, settings.num_steps(len(examples))) as on_step:
        train_sft(policy, examples, settings, log, on_step)
    save_policy(policy, tokenizer, out / "policy")
    say(f"in {out}: policy, metrics.jsonl")


def sft_examples(
    problems: Sequence[Problem], tokenizer: Any, form: PromptFormat, room: int | None
) -> list[TokenSequence]:
    """Prompts and solutions as tokens, each solution ended by the tokenizer's end token.

    Raises:
        InputError: if the tokenizer has no end token, a problem has no solution or is longer than `room` tokens.
    """
    if tokenizer.eos_token_id is None:
        raise InputError("the model's tokenizer has no end token, so a solution cannot be ended")
    examples = []
    for problem in problems:
        if problem.solution is None:
            raise InputError(
                f"problem {problem.id} has no solution to learn from: give a file with a column 'solution'"
            )
        solution = tokenizer.encode(f" {problem.solution}", add_special_tokens=False)
        example = TokenSequence(
            prompt_ids=form.prompt_ids(problem.question, tokenizer),
            completion_ids=(*solution, tokenizer.eos_token_id),
        )
        if room is not None and len(example) > room:
            raise InputError(
                f"problem {problem.id} has {len(example)} tokens, the model has {room} positions: leave it out"
            )
        examples.append(example)
    return examples
