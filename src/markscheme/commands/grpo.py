"""`markscheme grpo`: train a policy on the scores of any scorer."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from markscheme.benchmarks.tasks import task_problems
from markscheme.commands.shared import check_golds, check_room, console, prompt_format, room_of, say, scorer_by_name
from markscheme.files import InputError
from markscheme.grpo.head import check_head
from markscheme.grpo.rollout import UnscoredError
from markscheme.grpo.training import GRPOConfig, train_grpo
from markscheme.models import EMBEDDED, fingerprint, load_policy, save_policy
from markscheme.progress import progress_bar
from markscheme.run_log import RunLog
from markscheme.torch_engine import TorchEngine


def grpo(
    *,
    task: str,
    out: Path,
    model: str = EMBEDDED,
    revision: str | None = None,
    split: str = "train",
    data: Path | None = None,
    limit: int | None = None,
    dev_split: str | None = None,
    dev_limit: int = 200,
    difficulty: int = 4,
    scorer: str = "math",
    instruction: str | None = None,
    config: Path | None = None,
    settings: Annotated[GRPOConfig | None, Parameter(name="*")] = None,
) -> None:
    """Train a policy by GRPO; killed and called again, it goes on from its last checkpoint.

    Parameters
    ----------
    task
        gsm8k, math, cmath, generated, or a .jsonl[.gz] file with question and gold.
    out
        Run folder: config.toml, metrics.jsonl, completions.jsonl, checkpoints, and at the end policy.
    model
        "embedded", a model folder, or a hub id.
    revision
        Commit of a hub model.
    split
        Part of the task to train on.
    data
        Local file or folder to read the task from instead of the hub.
    limit
        The first so many problems only.
    dev_split
        Part of the task for the greedy evaluations during training; none by default.
    dev_limit
        The first so many dev problems only.
    difficulty
        Of generated problems, 1 to 5.
    scorer
        math, gsm8k or cmath, or the folder of a reward model.
    instruction
        Follows each question; by default the task's own.
    config
        TOML file of options.
    """
    settings = settings or GRPOConfig()
    reward = scorer_by_name(scorer)
    if task == "generated" and limit is None:
        limit = settings.steps * settings.prompts_per_step
    problems = task_problems(task, split, data=data, limit=limit, difficulty=difficulty)
    dev_problems = (
        task_problems(task, dev_split, data=data, limit=dev_limit, difficulty=difficulty) if dev_split else []
    )
    check_golds(reward, [*problems, *dev_problems])
    policy, tokenizer = load_policy(model, revision)
    form = prompt_format(task, instruction)
    record = {
        "command": "grpo",
        "model": {"name": model, "fingerprint": fingerprint(policy, tokenizer)},
        "task": {"name": task, "split": split, "problems": len(problems), "difficulty": difficulty},
        "dev": {"split": dev_split, "problems": len(dev_problems)},
        "scorer": {"name": reward.name, "version": reward.version},
        "prompt_format": asdict(form),
        "grpo": asdict(settings),
    }
    engine = TorchEngine(policy, tokenizer)
    check_head(policy)
    check_room(room_of(policy), tokenizer, form, [*problems, *dev_problems], settings.max_completion_tokens)
    log = RunLog(out, record)
    try:
        with progress_bar(console, "steps", settings.steps) as bar:
            train_grpo(
                policy,
                engine,
                reward,
                problems,
                lambda problem: form.prompt_ids(problem.question, tokenizer),
                settings,
                log,
                dev_problems,
                on_step=lambda done, metrics: bar.update(done, step_note(metrics)),
            )
    except UnscoredError as error:
        raise InputError(f"stopped, since the reward cannot be trusted: {error}") from error
    save_policy(policy, tokenizer, out / "policy")
    say(f"in {out}: policy, metrics.jsonl, completions.jsonl")


def step_note(metrics: Mapping[str, Any]) -> str:
    """What to watch in a step, in a few words."""
    note = f"reward {metrics['reward']:.3f}"
    return note + (f", dev accuracy {metrics['dev_accuracy']:.3f}" if "dev_accuracy" in metrics else "")
