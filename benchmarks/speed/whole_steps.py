"""Whole steps of the loops, sampling included."""

import itertools
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from markscheme.adapters import as_scorer
from markscheme.benchmarks.speed.contenders import config_of, run_worker, trl_trainer
from markscheme.benchmarks.speed.workloads import Workload, evenness, problems_of, tokenizer_of
from markscheme.generation import Completion, Request, Sampling
from markscheme.grpo.config import GRPOConfig
from markscheme.grpo.training import train_grpo
from markscheme.run_log import RunLog
from markscheme.torch_engine import TorchEngine


def measure_whole(contender: str, workload: Workload, seed: int, steps: int) -> dict[str, Any]:
    """Processor seconds of each whole step, and of its generation, every completion as long as it may be.

    The first step, in which things are loaded, is left out.
    """
    model = workload.model.make()
    ends, generation = (_whole_ours if contender == "ours" else _whole_trl)(model, workload, seed, steps + 1)
    seconds = [after - before for before, after in itertools.pairwise(ends)]
    return {"seconds": seconds, "generation": generation[1:]}


class _TimedEngine(TorchEngine):
    """Notes what each call costs."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.cpu_s: list[float] = []

    def stream(self, requests: Sequence[Request], sampling: Sampling) -> Iterator[tuple[int, int, Completion]]:
        start = time.process_time()
        yield from list(super().stream(requests, sampling))
        self.cpu_s.append(time.process_time() - start)


def _whole_ours(model: PreTrainedModel, workload: Workload, seed: int, steps: int) -> tuple[list[float], list[float]]:
    engine = _TimedEngine(model, tokenizer_of(workload))
    ends: list[float] = []
    config = replace(config_of(workload), steps=steps, seed=seed, checkpoint_every=1_000)
    train_ours(engine, workload, config, lambda done, metrics: ends.append(time.process_time()))
    return ends, engine.cpu_s


def train_ours(
    engine: TorchEngine, workload: Workload, config: GRPOConfig, on_step: Callable[[int, Mapping[str, Any]], None]
) -> None:
    """Trains the engine's model; every completion is written to its end."""
    engine.end_ids = frozenset()
    problems = problems_of(workload, config.seed)
    ids = {one.id: tuple(map(int, one.question.split())) for one in problems}
    with tempfile.TemporaryDirectory() as folder:
        train_grpo(
            engine.model,
            engine,
            as_scorer(lambda sample: evenness(sample.completion), name="evenness"),
            problems,
            lambda problem: ids[problem.id],
            config,
            RunLog(Path(folder) / "run", {}),
            on_step=on_step,
        )


def _whole_trl(model: PreTrainedModel, workload: Workload, seed: int, steps: int) -> tuple[list[float], list[float]]:
    from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

    ends: list[float] = []
    generation: list[float] = []

    class Clock(TrainerCallback):
        def on_step_end(
            self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
        ) -> None:
            ends.append(time.process_time())

    longest = workload.completion_tokens
    trainer = trl_trainer(
        model, workload, max_steps=steps, seed=seed, generation_kwargs={"min_new_tokens": longest}, logging_steps=1
    )
    trainer.add_callback(Clock())
    plain_generate = trainer._generate

    def timed_generate(*arguments: Any, **keywords: Any) -> Any:
        start = time.process_time()
        result = plain_generate(*arguments, **keywords)
        generation.append(time.process_time() - start)
        return result

    trainer._generate = timed_generate
    trainer.train()
    return ends, generation


if __name__ == "__main__":
    run_worker(measure_whole)
