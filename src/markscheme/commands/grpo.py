"""`markscheme grpo`: train a policy on the scores of any scorer."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from markscheme import parallel, trackers
from markscheme.benchmarks.tasks.generated import SOURCE
from markscheme.commands.options import (
    CRITIC_GROUP,
    HELD_OUT,
    MODEL_GROUP,
    MONITOR_GROUP,
    PROBLEMS_GROUP,
    RENEWAL_GROUP,
    REWARD_GROUP,
    SAMPLING_GROUP,
    TRAINING_GROUP,
    EngineOptions,
    TaskOptions,
    TrainedModelOptions,
    held_out,
)
from markscheme.commands.reward_options import RewardOptions
from markscheme.commands.shared import (
    RULES,
    VERIFIERS,
    check_golds,
    console,
    say,
    say_resumed,
    scorer_by_name,
    verifier_by_name,
)
from markscheme.files import InputError
from markscheme.grpo.baselines.ppo import Critic, CriticConfig
from markscheme.grpo.config import GRPOConfig
from markscheme.grpo.head import check_head
from markscheme.grpo.monitor import HackingMonitor, MonitorConfig
from markscheme.grpo.training import train_grpo
from markscheme.models import fingerprint, load_policy, save_policy
from markscheme.problems import Problem
from markscheme.progress import progress_bar
from markscheme.prompting import check_room
from markscheme.reward_refresh import RefreshConfig, RefreshedRewardModel
from markscheme.run_log import RunLog
from markscheme.scoring import Scorer
from markscheme.trackers import Tracker


def grpo(
    *,
    task: Annotated[TaskOptions, Parameter(name="*", group=PROBLEMS_GROUP)],
    out: Path,
    model: Annotated[TrainedModelOptions | None, Parameter(name="*", group=MODEL_GROUP)] = None,
    engine: Annotated[EngineOptions | None, Parameter(name="*", group=SAMPLING_GROUP)] = None,
    dev_split: str | None = None,
    dev_limit: int = 200,
    scorer: str = "math",
    rewards: Annotated[RewardOptions | None, Parameter(name="*", group=REWARD_GROUP)] = None,
    monitor: Annotated[MonitorConfig | None, Parameter(group=MONITOR_GROUP)] = None,
    preset: str | None = None,
    tracker: Tracker | None = None,
    config: Path | None = None,
    settings: Annotated[GRPOConfig | None, Parameter(name="*", group=TRAINING_GROUP)] = None,
    critic: Annotated[CriticConfig | None, Parameter(group=CRITIC_GROUP)] = None,
    labeller: str | None = None,
    refresh: Annotated[RefreshConfig | None, Parameter(group=RENEWAL_GROUP)] = None,
) -> None:
    """Train a policy by GRPO; killed and called again, it goes on from its last checkpoint.

    Parameters
    ----------
    out
        Run folder: config.toml, metrics.jsonl, completions.jsonl, checkpoints, and at the end policy.
    dev_split
        Part of the task for the greedy evaluations during training, or held-out: --dev-limit problems of --split, which
        are then not trained on. None by default.
    dev_limit
        The first so many dev problems only; of held-out ones, those that a hash puts first.
    scorer
        math, gsm8k or cmath, or the folder of a reward model, which then is the reward alone and judges the dev
        problems too.
    monitor
        What raises an alarm that the reward model is exploited, and what follows; with --reward-model and --dev-split.
    preset
        Settings of a paper: ppo, deepseekmath, dapo, dr-grpo, gspo, cispo, sapo, rloo, reinforce++ or online-rft; other
        options overrule it.
    tracker
        tensorboard, wandb or trackio, which gets the metrics too and must be installed; none by default.
    config
        TOML file of options.
    critic
        The value model, which the estimator gae (PPO) needs.
    labeller
        math, gsm8k or cmath: after each iteration (--iteration-steps), its verdicts on the policy's completions make
        the pairs on which the reward model (--reward-model, else the one that --scorer names) is trained further.
    refresh
        How it is trained further.
    """
    model, settings, engine = model or TrainedModelOptions(), settings or GRPOConfig(), engine or EngineOptions()
    rewards = rewards or RewardOptions()
    if settings.supervision == "parts" and rewards.reward != "sum":
        has_none = scorer if rewards.reward_model is None else f"--reward {rewards.reward or 'gate'}"
        raise InputError(
            f"--supervision parts compares the parts of a WeightedSum, and {has_none} has none: give --reward sum, "
            "or see train_grpo"
        )
    if settings.supervision == "process" and rewards.reward_model is not None and rewards.reward != "model":
        raise InputError(
            f"--supervision process learns from steps, and --reward {rewards.reward or 'gate'} has none: give "
            "--reward model with a process model"
        )
    if labeller is not None and parallel.count() > 1:
        raise InputError("a reward model is trained further in one process only: leave out --labeller, or torchrun")
    if settings.estimator == "gae" and parallel.count() > 1:
        raise InputError("PPO's value model works in one process only: take another preset, or leave out torchrun")
    if engine.async_depth and settings.objective.correction == "none":
        raise InputError("--async-depth 1 learns from what older weights wrote: give an --objective.correction too")
    rating = rewards.rating()
    if rating is not None and scorer not in VERIFIERS:
        raise InputError(f"beside --reward-model, --scorer is a verifier: {', '.join(VERIFIERS)}, not {scorer}")
    judge = scorer_by_name(scorer)
    reward = judge if rating is None else rewards.combined(judge, rating)
    renewal = _renewal(out, scorer, rewards, labeller, refresh, settings)
    if rating is not None and dev_split:
        monitor = monitor or MonitorConfig()
        _check_monitored(settings, is_renewed=renewal is not None)
    elif monitor is not None:
        raise InputError("--monitor watches a reward model on dev problems: give --reward-model and --dev-split too")
    if renewal is not None:
        settings = replace(settings, logged_groups=settings.prompts_per_step)  # it learns from all of them
    if task.task == SOURCE and task.limit is None:  # it has no end: take as many as the run uses
        task = replace(task, limit=settings.steps * settings.prompts_per_step)
    problems = task.problems()
    dev = replace(task, split=dev_split, limit=dev_limit) if dev_split else None
    dev_problems: list[Problem] = []
    if dev_split == HELD_OUT:
        problems, dev_problems = held_out(problems, dev_limit)
    elif dev is not None:
        dev_problems = _dev_problems(dev)
    check_golds(judge, [*problems, *dev_problems])
    policy, tokenizer = load_policy(model.model, model.revision, model.dtype)
    form = task.prompt_format()
    record = {
        "command": "grpo",
        "model": {**asdict(model), "fingerprint": fingerprint(policy, tokenizer)},
        "task": task.record(problems),
        "dev": dev.record(dev_problems) if dev else {},
        "scorer": {"name": reward.name, "version": reward.version},
        "engine": {"kind": engine.kind, "async_depth": engine.async_depth},
        "prompt_format": asdict(form),
        "grpo": asdict(settings),
    }
    if rating is not None:
        record["reward"] = rewards.record(judge, rating)
    if monitor is not None:  # what follows an alarm changes no number: under another action, a run goes on
        record["monitor"] = {name: value for name, value in asdict(monitor).items() if name != "action"}
    if renewal is not None:
        record["refresh"] = {"labeller": labeller, **asdict(renewal.config)}
    check_head(policy)
    value_model = None
    if settings.estimator == "gae":
        critic = critic or CriticConfig(learning_rate=settings.learning_rate, token_budget=settings.token_budget)
        record["critic"] = asdict(critic)
        value_model = Critic(policy, critic)
    elif critic is not None:
        raise InputError(f"the estimator {settings.estimator} has no critic: leave out --critic, or take --preset ppo")
    model.prepare(policy, settings.seed)  # behind the critic, which is a whole copy of the policy

    def prompt_ids(problem: Problem) -> tuple[int, ...]:
        return form.prompt_ids(problem.question, tokenizer)

    tokens = check_room(policy, [*problems, *dev_problems], prompt_ids, settings.max_completion_tokens)
    log = RunLog(out, record, writes=parallel.is_first())
    parallel.of_all(None)  # from here on the folder is there
    tells = tracker if parallel.is_first() else None
    track = trackers.tracker(tells, out, record, len(log.read()) - 1) if tells else lambda done, metrics: None

    def decode(ids: Sequence[int]) -> str:
        return str(tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def next_scorer(iteration: int) -> Scorer:
        assert renewal is not None
        return renewal(iteration) if rating is None else rewards.combined(judge, renewal(iteration))

    def on_step(done: int, metrics: Mapping[str, Any]) -> None:
        bar.update(done, step_note(metrics))
        track(done, metrics)

    say_resumed(out, settings.steps, checkpoints_a_step=settings.optimizer_steps)
    with progress_bar(console, "steps", settings.steps) as bar:
        train_grpo(
            policy,
            engine.start(policy, tokenizer, tokens, out / "for-servers"),
            reward,
            problems,
            prompt_ids,
            settings,
            log,
            dev_problems=dev_problems,
            decode=decode,
            critic=value_model,
            next_scorer=None if renewal is None else next_scorer,
            dev_scorer=None if rating is None else judge,
            monitor=None if monitor is None else HackingMonitor(monitor),
            async_depth=engine.async_depth,
            on_step=on_step,
        )
    save_policy(policy, tokenizer, out / "policy")
    say(f"in {out}: policy, metrics.jsonl, completions.jsonl")


def _dev_problems(dev: TaskOptions) -> list[Problem]:
    """
    Raises:
        InputError: if the task has no such split.
    """
    try:
        return dev.problems()
    except InputError as error:
        raise InputError(f"--dev-split {dev.split}: {error} (held-out takes some of the training problems)") from error


def _check_monitored(settings: GRPOConfig, *, is_renewed: bool) -> None:
    if is_renewed and settings.iteration_steps < 2 * settings.dev_every:
        raise InputError(
            f"the monitor needs two probes of each reward model: with --dev-every {settings.dev_every}, give "
            f"--iteration-steps {2 * settings.dev_every} or more, got {settings.iteration_steps}"
        )


def _renewal(
    out: Path,
    scorer: str,
    rewards: RewardOptions,
    labeller: str | None,
    refresh: RefreshConfig | None,
    settings: GRPOConfig,
) -> RefreshedRewardModel | None:
    """What trains the reward model further, if it is to be."""
    if labeller is None:
        if refresh is not None:
            raise InputError("--refresh says how the reward model is trained further: give the --labeller too")
        return None
    if rewards.reward_model is None and scorer in RULES:
        raise InputError(f"the scorer {scorer} cannot be trained further: leave out --labeller, or name a reward model")
    if not settings.iteration_steps:
        raise InputError("the reward model is trained further after each iteration: give --iteration-steps too")
    return RefreshedRewardModel(
        out,
        rewards.reward_model or Path(scorer),
        verifier_by_name(labeller),
        settings.iteration_steps,
        refresh or RefreshConfig(),
    )


def step_note(metrics: Mapping[str, Any]) -> str:
    """What to watch in a step, in a few words."""
    note = f"reward {metrics['reward']:.3f}"
    return note + (f", dev accuracy {metrics['dev_accuracy']:.3f}" if "dev_accuracy" in metrics else "")
