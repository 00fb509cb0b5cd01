"""`markscheme grpo`: train a policy on the scores of any scorer."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from markscheme.benchmarks.tasks.generated import SOURCE
from markscheme.commands.shared import (
    ModelOptions,
    TaskOptions,
    check_golds,
    check_room,
    console,
    room_of,
    say,
    scorer_by_name,
)
from markscheme.files import InputError
from markscheme.grpo.baselines.ppo import Critic, CriticConfig
from markscheme.grpo.config import GRPOConfig
from markscheme.grpo.head import check_head
from markscheme.grpo.rollout import UnscoredError
from markscheme.grpo.training import train_grpo
from markscheme.grpo.update import MismatchError
from markscheme.models import fingerprint, load_policy, save_policy
from markscheme.progress import progress_bar
from markscheme.run_log import RunLog
from markscheme.torch_engine import TorchEngine


def grpo(
    *,
    task: Annotated[TaskOptions, Parameter(name="*")],
    out: Path,
    model: Annotated[ModelOptions | None, Parameter(name="*")] = None,
    dev_split: str | None = None,
    dev_limit: int = 200,
    scorer: str = "math",
    preset: str | None = None,
    config: Path | None = None,
    settings: Annotated[GRPOConfig | None, Parameter(name="*")] = None,
    critic: CriticConfig | None = None,
) -> None:
    """Train a policy by GRPO; killed and called again, it goes on from its last checkpoint.

    Parameters
    ----------
    out
        Run folder: config.toml, metrics.jsonl, completions.jsonl, checkpoints, and at the end policy.
    dev_split
        Part of the task for the greedy evaluations during training; none by default.
    dev_limit
        The first so many dev problems only.
    scorer
        math, gsm8k or cmath, or the folder of a reward model.
    preset
        Settings of a paper: ppo, deepseekmath, dapo, dr-grpo, gspo, cispo, sapo, rloo, reinforce++ or online-rft; other
        options overrule it.
    config
        TOML file of options.
    critic
        The value model, which the estimator gae (PPO) needs.
    """
    model, settings = model or ModelOptions(), settings or GRPOConfig()
    reward = scorer_by_name(scorer)
    if task.task == SOURCE and task.limit is None:  # it has no end: take as many as the run uses
        task = replace(task, limit=settings.steps * settings.prompts_per_step)
    problems = task.problems()
    dev = replace(task, split=dev_split, limit=dev_limit) if dev_split else None
    dev_problems = dev.problems() if dev else []
    check_golds(reward, [*problems, *dev_problems])
    policy, tokenizer = load_policy(model.model, model.revision)
    form = task.prompt_format()
    record = {
        "command": "grpo",
        "model": {"name": model.model, "fingerprint": fingerprint(policy, tokenizer)},
        "task": task.record(problems),
        "dev": dev.record(dev_problems) if dev else {},
        "scorer": {"name": reward.name, "version": reward.version},
        "prompt_format": asdict(form),
        "grpo": asdict(settings),
    }
    value_model = None
    if settings.estimator == "gae":
        critic = critic or CriticConfig(learning_rate=settings.learning_rate, token_budget=settings.token_budget)
        record["critic"] = asdict(critic)
        value_model = Critic(policy, critic)
    elif critic is not None:
        raise InputError(f"the estimator {settings.estimator} has no critic: leave out --critic, or take --preset ppo")
    engine = TorchEngine(policy, tokenizer)
    check_head(policy)
    check_room(room_of(policy), tokenizer, form, [*problems, *dev_problems], settings.max_completion_tokens)
    log = RunLog(out, record)

    def decode(ids: Sequence[int]) -> str:
        return str(tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False))

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
                dev_problems=dev_problems,
                decode=decode,
                critic=value_model,
                on_step=lambda done, metrics: bar.update(done, step_note(metrics)),
            )
    except UnscoredError as error:
        raise InputError(f"stopped, since the reward cannot be trusted: {error}") from error
    except MismatchError as error:
        raise InputError(f"stopped, since the rollouts cannot be trusted: {error}") from error
    save_policy(policy, tokenizer, out / "policy")
    say(f"in {out}: policy, metrics.jsonl, completions.jsonl")


def step_note(metrics: Mapping[str, Any]) -> str:
    """What to watch in a step, in a few words."""
    note = f"reward {metrics['reward']:.3f}"
    return note + (f", dev accuracy {metrics['dev_accuracy']:.3f}" if "dev_accuracy" in metrics else "")
