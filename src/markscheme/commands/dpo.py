"""`markscheme dpo`: train a model to prefer its own correct completions to its incorrect ones."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from markscheme.commands.options import (
    MODEL_GROUP,
    PROBLEMS_GROUP,
    SAMPLING_GROUP,
    TRAINING_GROUP,
    GeneratorOptions,
    TaskOptions,
    TrainedModelOptions,
)
from markscheme.commands.sampled import sample
from markscheme.commands.shared import say, shown_steps
from markscheme.grpo.baselines.dpo import DPOConfig, train_dpo
from markscheme.grpo.baselines.pairs import preference_pairs
from markscheme.models import save_policy


def dpo(
    *,
    task: Annotated[TaskOptions, Parameter(name="*", group=PROBLEMS_GROUP)],
    out: Path,
    model: Annotated[TrainedModelOptions | None, Parameter(name="*", group=MODEL_GROUP)] = None,
    engine: Annotated[GeneratorOptions | None, Parameter(name="*", group=SAMPLING_GROUP)] = None,
    scorer: str = "math",
    config: Path | None = None,
    settings: Annotated[DPOConfig | None, Parameter(name="*", group=TRAINING_GROUP)] = None,
) -> None:
    """Train a model by DPO on pairs of its own completions of a task, one correct and one not; killed and called
    again, it goes on.

    Parameters
    ----------
    out
        Run folder: config.toml, rollouts.jsonl, samples.json, metrics.jsonl, checkpoints, and at the end policy.
    scorer
        math, gsm8k or cmath, or the folder of a reward model (with a threshold).
    config
        TOML file of options.
    """
    settings = settings or DPOConfig()
    sampled = sample("dpo", task, out, model, engine, scorer, settings)
    pairs = preference_pairs(sampled.groups, settings.pairs_per_problem, settings.seed)
    say(f"{len(pairs)} pairs to learn from")
    with shown_steps(out, settings.num_steps(len(pairs))) as on_step:
        train_dpo(sampled.policy, pairs, settings, sampled.log, on_step)
    save_policy(sampled.policy, sampled.tokenizer, out / "policy")
    say(f"in {out}: policy, metrics.jsonl, rollouts.jsonl")
