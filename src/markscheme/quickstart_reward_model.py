"""The chapter on reward models: one learns from the policy's judged completions, and two policies learn from it, one
with the verifier in the reward and one from the reward model alone, until that is hacked.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from markscheme.benchmarks.plots import hacking_figure
from markscheme.commands.grpo import step_note
from markscheme.compose import Shaped
from markscheme.files import write_json
from markscheme.generation import Sampling, seed_of
from markscheme.grpo.monitor import HackingMonitor, MonitorConfig
from markscheme.grpo.training import train_grpo
from markscheme.grpo.watch import ALARMS
from markscheme.models import EMBEDDED, fingerprint, load_policy, save_policy
from markscheme.progress import progress_bar
from markscheme.prompting import PromptFormat
from markscheme.quickstart import MAX_COMPLETION_TOKENS, QuickstartConfig, quickstart_problems
from markscheme.reward_models import (
    PairEvaluation,
    RewardModel,
    RewardModelConfig,
    RewardNetwork,
    compared,
    load_pairs,
    train_reward_model,
)
from markscheme.reward_models.model import MODEL_FOLDER
from markscheme.run_log import RunLog
from markscheme.scoring import Scorer
from markscheme.torch_engine import TorchEngine
from markscheme.verdict_pairs import initial_pairs
from markscheme.verifiers import MathVerifier

REWARD_MODEL_PROBLEMS = 300
"""From which the reward model learns; the policies learn from others."""
RUNS = ("careful", "careless")


@dataclass(frozen=True, slots=True, kw_only=True)
class Chapter:
    """What came out."""

    pairs: PairEvaluation
    """The reward model on held-out pairs."""
    runs: Mapping[str, Sequence[Mapping[str, Any]]]
    """The metrics of each run, careful and careless."""
    alarms: Mapping[str, Sequence[Mapping[str, Any]]]
    summary: Mapping[str, Any]
    """What `summary.json` holds."""


def quickstart_reward_model(out: Path, config: QuickstartConfig, console: Console) -> Chapter:
    """Runs what is missing of the chapter in the folder `out`.

    Raises:
        InputError: if `out` holds another run.
    """
    policy, tokenizer = load_policy(EMBEDDED)
    record = {"model": fingerprint(policy, tokenizer), "chapter": "reward model", "quickstart": asdict(config)}
    RunLog(out, record)  # refuses a folder of another run
    evaluation = _reward_model(out, record, config, console)
    rating, verifier = RewardModel(out / "reward-model" / MODEL_FOLDER), MathVerifier()
    rewards: dict[str, Scorer] = {"careful": Shaped(verifier, rating), "careless": rating}
    logs = {
        name: _train(out / name, {**record, "run": name}, rewards[name], config, console, f"{number}/3 {name:9}")
        for number, name in enumerate(RUNS, 2)
    }
    runs = {name: log.read() for name, log in logs.items()}
    alarms = {name: log.read(ALARMS) for name, log in logs.items()}
    summary = _summary(evaluation, runs, alarms, config)
    write_json(out / "summary.json", summary)
    hacking_figure(runs, alarms).savefig(out / "hacking.png", dpi=160)
    return Chapter(pairs=evaluation, runs=runs, alarms=alarms, summary=summary)


def _reward_model(out: Path, record: Mapping[str, Any], config: QuickstartConfig, console: Console) -> PairEvaluation:
    """Trains it, or measures it again where it is there: that is a matter of seconds."""
    pairs, folder = out / "pairs.jsonl", out / "reward-model"
    settings = RewardModelConfig(
        learning_rate=2e-3, warmup_steps=10, batch_size=16, epochs=3, held_out_share=0.2, seed=config.seed
    )
    if not pairs.exists():
        policy, tokenizer = load_policy(EMBEDDED)
        form = PromptFormat(instruction="")
        problems = quickstart_problems("train", REWARD_MODEL_PROBLEMS, seed_of("reward model", config.seed))
        with progress_bar(console, "1/3 pairs   ", len(problems)) as bar:
            initial_pairs(
                TorchEngine(policy, tokenizer),
                MathVerifier(),
                problems,
                lambda problem: form.prompt_ids(problem.question, tokenizer),
                pairs,
                sampling=Sampling(max_completion_tokens=MAX_COMPLETION_TOKENS),
                seed=config.seed,
                on_drawn=bar.update,
            )
    network = RewardNetwork.from_pretrained(EMBEDDED, seed=config.seed)
    evaluation = train_reward_model(
        network, compared(load_pairs(pairs)), settings, RunLog(folder, {**record, "reward_model": asdict(settings)})
    )
    if not (folder / MODEL_FOLDER).exists():
        network.save(folder / MODEL_FOLDER)
    return evaluation


def _train(
    folder: Path, record: Mapping[str, Any], reward: Scorer, config: QuickstartConfig, console: Console, title: str
) -> RunLog:
    policy, tokenizer = load_policy(EMBEDDED)
    form, settings = PromptFormat(instruction=""), config.grpo()
    log = RunLog(folder, {**record, "scorer": [reward.name, reward.version], "grpo": asdict(settings)})
    monitor = HackingMonitor(MonitorConfig())  # which warns: this is to be seen to its end
    with progress_bar(console, title, config.steps) as bar, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*the reward model is being exploited")  # told at the end
        train_grpo(
            policy,
            TorchEngine(policy, tokenizer),
            reward,
            quickstart_problems("train", config.steps * config.prompts_per_step, config.seed),
            lambda problem: form.prompt_ids(problem.question, tokenizer),
            settings,
            log,
            dev_problems=quickstart_problems("dev", config.num_dev, config.seed),
            dev_scorer=MathVerifier(),
            monitor=monitor,
            on_step=lambda done, metrics: bar.update(done, step_note(metrics)),
        )
        bar.update(config.steps)
    save_policy(policy, tokenizer, folder / "policy")
    return log


def probes_of(metrics: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The lines of a run that measured the dev problems."""
    return [line for line in metrics if "dev_proxy" in line]


def _summary(
    evaluation: PairEvaluation,
    runs: Mapping[str, Sequence[Mapping[str, Any]]],
    alarms: Mapping[str, Sequence[Mapping[str, Any]]],
    config: QuickstartConfig,
) -> dict[str, Any]:
    return {
        "seed": config.seed,
        "steps": config.steps,
        "reward_model": asdict(evaluation.scorer) | {"pairs": evaluation.num_pairs},
        "num_dev": config.num_dev,
        "runs": {
            name: {
                "reward": [probes_of(metrics)[k]["dev_proxy"] for k in (0, -1)],
                "accuracy": [line["dev_accuracy"] for line in probes_of(metrics)],
                "alarms": [alarm["step"] for alarm in alarms[name]],
            }
            for name, metrics in runs.items()
        },
    }
