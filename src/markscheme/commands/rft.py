"""`markscheme rft`: fine-tune a model on its own correct completions."""

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
from markscheme.grpo.baselines.rft import rft_examples
from markscheme.grpo.baselines.samples import SampledConfig
from markscheme.grpo.baselines.sft import train_sft
from markscheme.models import save_policy


def rft(
    *,
    task: Annotated[TaskOptions, Parameter(name="*", group=PROBLEMS_GROUP)],
    out: Path,
    model: Annotated[TrainedModelOptions | None, Parameter(name="*", group=MODEL_GROUP)] = None,
    engine: Annotated[GeneratorOptions | None, Parameter(name="*", group=SAMPLING_GROUP)] = None,
    scorer: str = "math",
    config: Path | None = None,
    settings: Annotated[SampledConfig | None, Parameter(name="*", group=TRAINING_GROUP)] = None,
) -> None:
    """Fine-tune a model on its own correct completions of a task; killed and called again, it goes on.

    Parameters
    ----------
    out
        Run folder: config.toml, rollouts.jsonl, samples.json, metrics.jsonl, checkpoints, and at the end policy.
    scorer
        math, gsm8k or cmath, or the folder of a reward model (with a threshold).
    config
        TOML file of options.
    """
    settings = settings or SampledConfig()
    sampled = sample("rft", task, out, model, engine, scorer, settings)
    examples = rft_examples(sampled.groups)
    say(f"{len(examples)} different correct completions to learn from")
    with shown_steps(out, settings.num_steps(len(examples))) as on_step:
        train_sft(sampled.policy, examples, settings, sampled.log, on_step)
    save_policy(sampled.policy, sampled.tokenizer, out / "policy")
    say(f"in {out}: policy, metrics.jsonl, rollouts.jsonl")
