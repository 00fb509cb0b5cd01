"""The whole story on the embedded policy: evaluate, train by GRPO on a verifier's verdicts, evaluate again, report."""

import itertools
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from markscheme.benchmarks.comparison import Comparison, compare
from markscheme.benchmarks.evaluation import EvaluationConfig, evaluate
from markscheme.benchmarks.metrics import constant_guess_floor
from markscheme.benchmarks.outcomes import Evaluation
from markscheme.benchmarks.protocols import EvaluationProtocol
from markscheme.benchmarks.report import write_report
from markscheme.benchmarks.tasks.generated import generated_problems
from markscheme.files import InputError, write_json
from markscheme.grpo.config import GRPOConfig
from markscheme.grpo.training import train_grpo
from markscheme.models import EMBEDDED, fingerprint, load_policy, save_policy
from markscheme.problems import Problem
from markscheme.progress import progress_bar
from markscheme.prompting import PromptFormat
from markscheme.run_log import RunLog
from markscheme.torch_engine import MARGIN, TorchEngine
from markscheme.verifiers import MathVerifier

DIFFICULTY = 4  # where the embedded policy has headroom
MAX_COMPLETION_TOKENS = 100  # solutions have up to 75
METRICS = ("greedy", "pass@1", "pass@8", "maj@8")
BLOCKS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True, slots=True, kw_only=True)
class QuickstartConfig:
    """What the quickstart does; the training settings were chosen on the dev part."""

    seed: int = 0
    """Of everything: test problems, rollouts, samples. Another seed is another run on other test problems."""
    num_test: int = 500
    """Problems of the evaluations before and after."""
    num_dev: int = 200
    """Problems of the evaluations during training."""
    steps: int = 80
    """GRPO steps."""
    prompts_per_step: int = 32
    """Problems in a step."""
    group_size: int = 8
    """Rollouts of a problem."""

    def __post_init__(self) -> None:
        for name in ("num_test", "num_dev", "steps"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, got {getattr(self, name)}")
        self.grpo()  # checks the rest, before anything is generated

    def grpo(self) -> GRPOConfig:
        return GRPOConfig(
            steps=self.steps,
            prompts_per_step=self.prompts_per_step,
            group_size=self.group_size,
            learning_rate=2.5e-4,
            warmup_steps=10,
            max_completion_tokens=MAX_COMPLETION_TOKENS,
            seed=self.seed,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """What came out."""

    comparison: Comparison
    rewards: tuple[float, ...]
    """Mean reward of each training step."""
    summary: Mapping[str, Any]
    """What `summary.json` holds."""


def quickstart(out: Path, config: QuickstartConfig, console: Console) -> Story:
    """Runs what is missing of the story in the folder `out`.

    Raises:
        InputError: if `out` holds another run.
    """
    policy, tokenizer = load_policy(EMBEDDED)
    form = PromptFormat(instruction="")
    protocol = EvaluationProtocol(name="quickstart", form=form, max_completion_tokens=MAX_COMPLETION_TOKENS)
    record = {"model": fingerprint(policy, tokenizer), "quickstart": asdict(config)}
    RunLog(out, record)  # refuses a folder of another run
    scorer = MathVerifier()
    engine = TorchEngine(policy, tokenizer, margin=MARGIN)
    test = quickstart_problems("test", config.num_test, config.seed)

    def measured(name: str, title: str) -> Evaluation:
        settings = EvaluationConfig(num_samples=8, seed=config.seed)
        with progress_bar(console, title, len(test) * len(settings.completions_per_problem())) as bar:
            return evaluate(
                engine,
                scorer,
                test,
                out / name,
                protocol=protocol,
                config=settings,
                progress=lambda stage, done, total: bar.update(done if stage == "generate" else total),
            )

    before = measured("before", "1/3 before  ")
    log = RunLog(out / "grpo", {**record, "grpo": asdict(config.grpo())})
    dev = quickstart_problems("dev", config.num_dev, config.seed)
    watch = _Watch(dev)
    with progress_bar(console, "2/3 training", config.steps) as bar:
        train_grpo(
            policy,
            engine,
            scorer,
            quickstart_problems("train", config.steps * config.prompts_per_step, config.seed),
            lambda problem: form.prompt_ids(problem.question, tokenizer),
            config.grpo(),
            log,
            dev_problems=dev,
            on_step=lambda done, metrics: bar.update(done, watch.note(metrics)),
        )
        bar.update(config.steps)
    save_policy(policy, tokenizer, out / "policy")
    after = measured("after", "3/3 after   ")

    comparison = compare(before, after)
    metrics = log.read("metrics.jsonl")
    train_cpu_s = sum(line[name] for line in log.read("timings.jsonl") for name in line if name.endswith("_cpu_s"))
    summary = _summary(comparison, config, train_cpu_s)
    write_report(
        comparison,
        out,
        title="Quickstart: GRPO on generated word problems",
        training_metrics=metrics,
        provenance={
            "policy": f"the embedded policy, which learned from a careless student; fingerprint {record['model']}",
            "task": f"generated, difficulty {DIFFICULTY}, test part, problem seed {config.seed}",
            "reward": f"{scorer.name} verifier {scorer.version}",
            "training": f"{config.steps} steps of {config.prompts_per_step} x {config.group_size} rollouts, "
            f"{train_cpu_s:.0f} CPU-seconds, seed {config.seed}",
            "command": f"markscheme quickstart --out {out} --seed {config.seed}",
        },
    )
    write_json(out / "summary.json", summary)
    rewards = tuple(line["reward"] for line in metrics if "reward" in line)
    return Story(comparison=comparison, rewards=rewards, summary=summary)


def reward_curve(rewards: Sequence[float], width: int = 40) -> str:
    """The rewards of a run as one line of blocks, the lowest to the highest.

    >>> reward_curve([0.1, 0.2, 0.3, 0.4], width=2)
    '▁█'
    """
    bins = [rewards[len(rewards) * i // width : len(rewards) * (i + 1) // width] for i in range(width)]
    means = [statistics.fmean(values) for values in bins if values]
    low, span = min(means), (max(means) - min(means)) or 1.0
    return "".join(BLOCKS[round((mean - low) / span * (len(BLOCKS) - 1))] for mean in means)


class _Watch:
    """What the training bar says: the reward, the last accuracy on dev, and what a constant guess would get there."""

    def __init__(self, dev_problems: Sequence[Problem]) -> None:
        self._dev = ""
        self._floor = constant_guess_floor([problem.gold for problem in dev_problems]).accuracy

    def note(self, metrics: Mapping[str, Any]) -> str:
        if "dev_accuracy" in metrics:
            self._dev = f", dev accuracy {metrics['dev_accuracy']:.3f} (floor {self._floor:.3f})"
        return f"reward {metrics['reward']:.3f}{self._dev}"


def quickstart_problems(split: str, count: int, seed: int) -> list[Problem]:
    """The first so many of a part of the generated task."""
    return list(itertools.islice(generated_problems(split, DIFFICULTY, seed), count))


def _summary(comparison: Comparison, config: QuickstartConfig, train_cpu_s: float) -> dict[str, Any]:
    changes = {change.metric: change for change in comparison.changes}
    return {
        "n": len(comparison.before.outcomes),
        "seed": config.seed,
        "floor": comparison.constant_guess.accuracy,
        "before": {metric: changes[metric].before for metric in METRICS},
        "after": {metric: changes[metric].after for metric in METRICS},
        "paired": {
            metric: {
                "delta": changes[metric].difference.mean,
                "low": changes[metric].difference.low,
                "high": changes[metric].difference.high,
            }
            for metric in METRICS
        },
        "train_cpu_seconds": round(train_cpu_s, 1),
        "steps": config.steps,
    }
