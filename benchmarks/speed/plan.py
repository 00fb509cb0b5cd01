"""The planner against what it predicts: `python -m markscheme.benchmarks.speed.plan [--out FILE] [--cases NAMES]`.

Of each case, in processes of their own: the plan, and three steps of training on a model of those sizes with random
weights. Every completion is written to its end, and every step has something to learn.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from markscheme.benchmarks.speed.whole_steps import train_ours
from markscheme.benchmarks.speed.workloads import (
    DEVICE,
    MIDDLE,
    SMALL,
    WIDE_VOCABULARY,
    Model,
    Workload,
    tokenizer_of,
)
from markscheme.devices import GIB, device_here
from markscheme.files import write_json
from markscheme.grpo.config import GRPOConfig
from markscheme.grpo.objective import Objective
from markscheme.grpo.plan import Setup, make_plan
from markscheme.grpo.workload import Workload as PlannedWorkload
from markscheme.machine import origin
from markscheme.models import add_lora, checkpoint_gradients
from markscheme.torch_engine import TorchEngine

BAR = 0.25
CLOCK = time.process_time if DEVICE == "cpu" else time.perf_counter
"""On a CPU with one thread a second of its work, which others on the machine do not stretch."""
STEPS = 3
LARGE = Model(vocabulary=16_384, width=768, layers=12, heads=12, kv_heads=4, inner=3_072)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    model: Model
    problems: int = 8
    prompt_tokens: int = 137
    completion_tokens: int = 128
    token_budget: int = 2_120
    kl_coef: float = 0.0
    lora_rank: int = 0
    checkpointing: bool = False

    def config(self) -> GRPOConfig:
        return GRPOConfig(
            steps=STEPS,
            prompts_per_step=self.problems,
            group_size=8,
            learning_rate=1e-6,
            max_completion_tokens=self.completion_tokens,
            objective=Objective(kl_coef=self.kl_coef),
            token_budget=self.token_budget,
            checkpoint_every=1_000,
        )

    def setup(self) -> Setup:
        return Setup(
            model_config=self.model.config(),
            workload=PlannedWorkload(
                config=self.config(), prompt_tokens=self.prompt_tokens, completion_tokens=self.completion_tokens
            ),
            device=device_here(),
            is_here=True,
            lora_rank=self.lora_rank,
            gradient_checkpointing=self.checkpointing,
            dtype=self.model.dtype,
        )

    def workload(self) -> Workload:
        return Workload(
            about="",
            model=self.model,
            problems=self.problems,
            prompt_tokens=self.prompt_tokens,
            completion_tokens=self.completion_tokens,
        )


CASES = {
    "small": Case(model=SMALL, problems=16),
    "middle": Case(model=MIDDLE),
    "long prompts": Case(model=MIDDLE, problems=4, prompt_tokens=512, token_budget=4_096),
    "long completions": Case(model=SMALL, completion_tokens=512, token_budget=4_096),
    "reference": Case(model=MIDDLE, kl_coef=0.04),
    "adapters": Case(model=MIDDLE, lora_rank=8),
    "checkpointing": Case(model=LARGE, problems=4, checkpointing=True),
    "large": Case(model=LARGE, problems=4),
    "wide vocabulary": Case(model=WIDE_VOCABULARY, problems=4),
}


def planned(case: Case) -> dict[str, float]:
    """What the planner says."""
    plan = make_plan(case.setup(), CLOCK)
    assert plan.seconds is not None
    seconds = plan.seconds
    return {
        "gib": plan.memory.most / GIB,
        "rollout_s": seconds.rollout,
        "update_s": seconds.update + seconds.optimizer,
        "step_s": seconds.step,
    }


def measured(case: Case) -> dict[str, float]:
    """The same of a run; its first step, in which things are loaded, is left out of the times."""
    model, workload = case.model.make(), case.workload()
    if case.lora_rank:
        add_lora(model, case.lora_rank, seed=0)
    if case.checkpointing:
        checkpoint_gradients(model)
    seen: list[dict[str, Any]] = []
    engine = TorchEngine(model, tokenizer_of(workload))
    train_ours(engine, workload, case.config(), lambda done, metrics: seen.append(dict(metrics)))
    peak = torch.cuda.max_memory_allocated() if DEVICE == "cuda" else _peak()
    seconds = {
        f"{part}_s": statistics.median(one[f"{part}_cpu_s" if DEVICE == "cpu" else f"{part}_s"] for one in seen[1:])
        for part in ("rollout", "update")
    }
    return {"gib": peak / GIB, **seconds, "step_s": sum(seconds.values())}


def _peak() -> int:
    """The most memory of this process so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _in_own_process(what: str, case: str) -> dict[str, float]:
    command = [sys.executable, "-m", "markscheme.benchmarks.speed.plan", "--worker", what, "--cases", case]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--worker", choices=("planned", "measured"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        torch.set_num_threads(1)
        print(json.dumps({"planned": planned, "measured": measured}[options.worker](CASES[options.cases])))
        return
    console = Console()
    table = Table(box=None)
    for heading in ("case", "GiB", "measured", "rollout s", "measured", "update s", "measured", "step s", "measured"):
        table.add_column(heading, justify="left" if heading == "case" else "right")
    cases: dict[str, Any] = {}
    for name in options.cases.split(","):
        found = {what: _in_own_process(what, name) for what in ("planned", "measured")}
        off = {key: found["planned"][key] / value - 1 for key, value in found["measured"].items()}
        cases[name] = {**found, "off": off}
        columns = [f"{found[what][key]:.3g}" for key in off for what in ("planned", "measured")]
        table.add_row(name, *columns)
        console.print(name, {key: f"{value:+.0%}" for key, value in off.items()})
    console.print(table)
    worst = {key: max(abs(case["off"][key]) for case in cases.values()) for key in ("gib", "step_s")}
    record = {**origin("markscheme.benchmarks.speed.plan"), "steps": STEPS, "bar": BAR, "worst": worst, "cases": cases}
    if options.out:
        write_json(options.out / "plan.json", record)
    print(json.dumps({"worst_memory": worst["gib"], "worst_step": worst["step_s"], "bar": BAR}))


if __name__ == "__main__":
    main()
