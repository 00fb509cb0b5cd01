"""`markscheme quickstart`: the whole story on the embedded policy."""

from pathlib import Path
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
    story = run_quickstart(out, settings or QuickstartConfig(), console)
    console.print()
    print_comparison(story.comparison)
    rewards = story.rewards
    say(f"reward {rewards[0]:.2f} {reward_curve(rewards)} {rewards[-1]:.2f} in {len(rewards)} steps")
    say(f"training took {story.summary['train_cpu_seconds']:.0f} CPU-seconds")
    say(f"report: {out / 'report.html'}   numbers: {out / 'summary.json'}   policy: {out / 'policy'}")
