"""`markscheme quickstart`: the whole story on the embedded policy."""

from pathlib import Path
from statistics import fmean
from typing import Annotated

import torch
from cyclopts import Parameter

from markscheme.commands.compare import print_comparison
from markscheme.commands.shared import console, say
from markscheme.quickstart import QuickstartConfig, reward_curve
from markscheme.quickstart import quickstart as run_quickstart


def quickstart(
    *,
    out: Path = Path("runs/quickstart"),
    config: Path | None = None,
    settings: Annotated[QuickstartConfig | None, Parameter(name="*")] = None,
) -> None:
    """Evaluate the embedded policy, train it by GRPO, evaluate it again: minutes on a CPU.

    Stopped with Ctrl-C, the same command goes on where it was.

    Parameters
    ----------
    out
        Folder for everything.
    config
        TOML file of options.
    """
    torch.set_num_threads(1)  # so small a policy gains nothing from a second one, which costs processor time
    settings = settings or QuickstartConfig()
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
