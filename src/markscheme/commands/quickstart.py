"""`markscheme quickstart`: the whole story on the embedded policy."""

from pathlib import Path
from statistics import fmean
from typing import Annotated, Literal

import torch
from cyclopts import Parameter
from rich.table import Table

from markscheme.commands.compare import print_comparison
from markscheme.commands.shared import console, say
from markscheme.quickstart import QuickstartConfig, reward_curve
from markscheme.quickstart import quickstart as run_quickstart


def quickstart(
    *,
    out: Path | None = None,
    reward: Literal["verifier", "model"] = "verifier",
    config: Path | None = None,
    settings: Annotated[QuickstartConfig | None, Parameter(name="*")] = None,
) -> None:
    """Evaluate the embedded policy, train it by GRPO, evaluate it again: minutes on a CPU.

    Stopped with Ctrl-C, the same command goes on where it was.

    Parameters
    ----------
    out
        Folder for everything; by default runs/quickstart, or runs/quickstart-reward-model.
    reward
        verifier; or model: a reward model learns from the policy's judged completions, and one policy learns from it
        with the verifier beside, another from it alone, which ends badly.
    config
        TOML file of options.
    """
    torch.set_num_threads(1)  # so small a policy gains nothing from a second one, which costs processor time
    settings = settings or QuickstartConfig()
    if reward == "model":
        _with_reward_model(out or Path("runs/quickstart-reward-model"), settings)
    else:
        _with_verifier(out or Path("runs/quickstart"), settings)


def _with_verifier(out: Path, settings: QuickstartConfig) -> None:
    say(
        f"A policy of 0.4 million parameters, {settings.num_test} word problems before and after {settings.steps} steps"
    )
    say(f"of GRPO. Everything goes to {out}; Ctrl-C keeps what was done, the same command goes on.")
    story = run_quickstart(out, settings, console)
    console.print()
    print_comparison(story.comparison)
    first, last = fmean(story.rewards[:10]), fmean(story.rewards[-10:])
    say(f"mean reward of ten steps: {first:.2f} {reward_curve(story.rewards)} {last:.2f} in {len(story.rewards)} steps")
    say(f"training took {story.summary['train_cpu_seconds']:.0f} CPU-seconds")
    say(f"report: {out / 'report.html'}   numbers: {out / 'summary.json'}   policy: {out / 'policy'}")


def _with_reward_model(out: Path, settings: QuickstartConfig) -> None:
    from markscheme.quickstart_reward_model import probes_of, quickstart_reward_model

    say("A reward model learns from the policy's own judged completions. Then two policies of 0.4 million parameters")
    say(f"learn for {settings.steps} steps: one with the verifier in its reward, one from the reward model alone.")
    say(f"Everything goes to {out}; Ctrl-C keeps what was done, the same command goes on.")
    chapter = quickstart_reward_model(out, settings, console)
    console.print()
    pairs = chapter.pairs
    say(
        f"reward model: {pairs.scorer.accuracy:.3f} of {pairs.num_pairs} held-out pairs right "
        f"(95 % interval {pairs.scorer.low:.3f} to {pairs.scorer.high:.3f})"
    )
    table = Table(title=f"{settings.num_dev} dev problems, greedy: first, (best,) last", title_justify="left")
    for name in ("run", "reward is"):
        table.add_column(name, no_wrap=True)
    for name in ("reward", "accuracy", "alarms"):
        table.add_column(name, justify="right", no_wrap=True)
    for name, metrics in chapter.runs.items():
        probes = probes_of(metrics)
        ratings, accuracies = ([line[key] for line in probes] for key in ("dev_proxy", "dev_accuracy"))
        table.add_row(
            name,
            "verifier, model" if name == "careful" else "model alone",
            f"{ratings[0]:+.2f} → {ratings[-1]:+.2f}",
            " → ".join(f"{value:.3f}" for value in (accuracies[0], max(accuracies), accuracies[-1])),
            str(len(chapter.alarms[name])),
        )
    console.print(table)
    for name, alarms in chapter.alarms.items():
        say(f"{name}, step {alarms[0]['step']}: {alarms[0]['line']}" if alarms else f"{name}: no alarm")
    say(f"picture: {out / 'hacking.png'}   numbers: {out / 'summary.json'}")
