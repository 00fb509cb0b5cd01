"""`markscheme quickstart`: the whole story on the embedded policy."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from markscheme.benchmarks.compare import compare
from markscheme.benchmarks.outcomes import load_evaluation
from markscheme.commands.compare import print_comparison
from markscheme.commands.shared import console
from markscheme.files import read_jsonl
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
    summary = run_quickstart(out, settings or QuickstartConfig(), console)
    console.print()
    print_comparison(compare(load_evaluation(out / "before"), load_evaluation(out / "after")))
    rewards = [line["reward"] for _, line in read_jsonl(out / "grpo" / "metrics.jsonl")]
    console.print(f"reward {rewards[0]:.2f} {reward_curve(rewards)} {rewards[-1]:.2f} in {len(rewards)} steps")
    console.print(f"training took {summary['train_cpu_seconds']:.0f} CPU-seconds")
    console.print(f"report: {out / 'report.html'}   numbers: {out / 'summary.json'}   policy: {out / 'policy'}")
