"""The loops that are measured side by side: `python -m ... CONTENDER WORKLOAD SEED STEPS`, a process for each.

An update is everything from fixed rollouts to moved weights. Both loops get the same model, rollouts, advantages and
loss (DAPO's), so that their gradients must agree; TRL is called below its trainer's bookkeeping, which favours it.

Shapes: P problems, G completions of each.
"""

import gc
import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from markscheme.benchmarks.speed.workloads import (
    DEVICE,
    WORKLOADS,
    Batch,
    Workload,
    evenness,
    make_batch,
    problems_of,
    tokenizer_of,
)
from markscheme.generation import Completion, FinishReason
from markscheme.grpo.config import GRPOConfig
from markscheme.grpo.flops import update_flops
from markscheme.grpo.head import completion_head, score
from markscheme.grpo.objective import Objective
from markscheme.grpo.rollout import Rollout
from markscheme.grpo.update import update_policy
from markscheme.machine import gemm_peak
from markscheme.optimizer import make_optimizer, take_step
from markscheme.packing.attention import Packing, packing_for
from markscheme.packing.sequences import TokenSequence
from markscheme.packing.trunk import hidden_states
from markscheme.problems import Problem
from markscheme.scoring import Outcome, Score

LEARNING_RATE = 1e-6
CLIP_HIGH = 0.28
ROWS = 8
"""Completions in a micro-batch of TRL's; ours has as many tokens as that takes, padding included."""

Update = Callable[[], float]
"""One optimizer step; returns the gradient's norm before clipping."""
Contender = Callable[[Batch], Update]
"""Takes a batch in, which is not timed."""


def ours(model: PreTrainedModel, reference: PreTrainedModel | None, workload: Workload) -> Contender:
    """This project's update."""
    config = config_of(workload)
    packing = packing_for(model)
    if reference is not None:
        packing_for(reference)
    optimizer = make_optimizer(model, config)
    step = 0 if workload.entropy else 1  # the entropy is measured at every ENTROPY_EVERYth, the first included
    model.train()

    def prepared(batch: Batch) -> Update:
        sequences_PG = [
            [TokenSequence(prompt_ids=prompt, completion_ids=one) for one in completions]
            for prompt, completions in zip(batch.prompts_P, batch.completions_PG, strict=True)
        ]
        sequences = [one for group in sequences_PG for one in group]
        logprobs = dict(zip(sequences, _logprobs(model, sequences, packing, config), strict=True))
        groups_PG = [[_rollout(one, logprobs[one]) for one in group] for group in sequences_PG]
        advantages_PG = [
            [[advantage] * len(one.completion_ids) for one, advantage in zip(group, advantages, strict=True)]
            for group, advantages in zip(sequences_PG, batch.advantages_PG, strict=True)
        ]

        def update() -> float:
            metrics = update_policy(model, reference, optimizer, groups_PG, advantages_PG, config, step, packing)
            return metrics["grad_norm"]

        return update

    return prepared


def config_of(workload: Workload) -> GRPOConfig:
    return GRPOConfig(
        group_size=workload.group_size,
        prompts_per_step=workload.problems,
        learning_rate=LEARNING_RATE,
        max_completion_tokens=workload.completion_tokens,
        objective=Objective(clip_high=CLIP_HIGH, average="token", kl_coef=workload.kl_coef),
        token_budget=ROWS * (workload.prompt_tokens + workload.completion_tokens),
    )


@torch.no_grad()
def _logprobs(
    model: PreTrainedModel, sequences: Sequence[TokenSequence], packing: Packing, config: GRPOConfig
) -> list[tuple[float, ...]]:
    """What a sampler that holds the same weights would have said of each token."""
    found: dict[int, tuple[float, ...]] = {}
    for row in packing(sequences, config.token_budget):
        logprobs_M = score(hidden_states(model, row), completion_head(model), row.targets_M.to(model.device), 1.0)
        parts = logprobs_M.split(list(row.lengths))
        found |= {index: tuple(part.tolist()) for index, part in zip(row.sequences, parts, strict=True)}
    return [found[index] for index in range(len(sequences))]


def _rollout(sequence: TokenSequence, logprobs: tuple[float, ...]) -> Rollout:
    completion = Completion(
        text="", ids=sequence.completion_ids, logprobs=logprobs, finish_reason=FinishReason.STOP
    )  # fmt: skip
    return Rollout(
        problem=Problem(id="0", question="", gold="0", source="", split=""),
        prompt_ids=sequence.prompt_ids,
        completion=completion,
        score=Score(value=0.0, outcome=Outcome.RATED),
    )


def trl(model: PreTrainedModel, reference: PreTrainedModel | None, workload: Workload) -> Contender:
    """TRL's `GRPOTrainer`: its loss on micro-batches of `ROWS` completions padded to the longest of the whole batch.

    Its own training step does the same and keeps more books.
    """
    from trl.trainer.utils import add_fused_lm_head

    trainer = trl_trainer(model, workload)
    if reference is not None:
        add_fused_lm_head(reference)
    config = config_of(workload)
    optimizer = make_optimizer(model, config)

    def prepared(batch: Batch) -> Update:
        inputs = {name: value.to(model.device) for name, value in _padded(batch).items()}
        rows, longest = inputs["completion_ids"].shape
        parts = [slice(first, first + ROWS) for first in range(0, rows, ROWS)]
        trainer.current_gradient_accumulation_steps = len(parts)
        total = inputs["completion_mask"].sum()

        def update() -> float:
            extra: dict[str, Tensor] = {}
            if reference is not None:
                with torch.no_grad():
                    extra["ref_per_token_logps"], _, _ = trainer._get_per_token_logps_and_entropies(
                        reference,
                        torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], 1),
                        torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], 1),
                        longest,
                        batch_size=ROWS,
                    )
            for part in parts:
                chosen = {name: value[part] for name, value in (inputs | extra).items()}
                trainer._compute_loss(model, chosen | {"num_items_in_batch": total}).backward()
            return take_step(model, optimizer, config, 1, config.steps)["grad_norm"]

        return update

    return prepared


def trl_compact(model: PreTrainedModel, reference: PreTrainedModel | None, workload: Workload) -> Contender:
    """TRL with its head on completion positions only, as on CUDA: the fair stand-in for what it does there."""
    from trl.trainer import utils

    utils._use_triton = lambda device: True
    return trl(model, reference, workload)


def _padded(batch: Batch) -> dict[str, Tensor]:
    """As TRL's trainer makes it of its generations."""
    completions = [one for group in batch.completions_PG for one in group]
    ids_BC = torch.zeros(len(completions), max(map(len, completions)), dtype=torch.long)
    mask_BC = torch.zeros_like(ids_BC)
    for row, one in enumerate(completions):
        ids_BC[row, : len(one)] = torch.tensor(one)
        mask_BC[row, : len(one)] = 1
    prompt_BP = torch.tensor(
        [prompt for prompt, group in zip(batch.prompts_P, batch.completions_PG, strict=True) for _ in group]
    )
    return {
        "prompt_ids": prompt_BP,
        "prompt_mask": torch.ones_like(prompt_BP),
        "completion_ids": ids_BC,
        "completion_mask": mask_BC,
        "advantages": torch.tensor([one for group in batch.advantages_PG for one in group]),
    }


def trl_trainer(model: PreTrainedModel, workload: Workload, **settings: Any) -> Any:
    """TRL's, with as many of its defaults as are not about precision, memory or where things are logged."""
    from datasets import Dataset
    from trl import GRPOConfig as TRLConfig
    from trl import GRPOTrainer

    prompts = [one.question for one in problems_of(workload, 0)]
    arguments = TRLConfig(
        output_dir=tempfile.mkdtemp(),
        per_device_train_batch_size=ROWS,
        gradient_accumulation_steps=workload.group_size * workload.problems // ROWS,
        num_generations=workload.group_size,
        max_completion_length=workload.completion_tokens,
        learning_rate=LEARNING_RATE,
        loss_type="dapo",
        epsilon_high=CLIP_HIGH,
        use_cpu=not torch.cuda.is_available(),
        bf16=False,
        gradient_checkpointing=workload.model.checkpointing,
        report_to=[],
        disable_tqdm=True,
        save_strategy="no",
        **settings,
    )
    trainer = GRPOTrainer(
        model=model,
        reward_funcs=lambda completions, **_: [evenness(text) for text in completions],
        args=arguments,
        train_dataset=Dataset.from_dict({"prompt": prompts}),
        processing_class=tokenizer_of(workload),
    )
    trainer.beta = workload.kl_coef  # given as a setting, it would load a reference of its own
    model.train()
    return trainer


TINY: dict[str, Any] = {
    "problems": 4,
    "group_size": 2,
    "prompt_tokens": 8,
    "completion_tokens": 8,
    "median": None,
    "flat_groups": 0,
}
CONTENDERS = {"ours": ours, "trl": trl, "trl_compact": trl_compact}


def measure(contender: str, workload: Workload, seed: int, steps: int) -> dict[str, Any]:
    """Seconds of each update (of the processor; of the clock on a GPU), the gradient's norm at the first, and megabytes
    added at the peak.

    What is added is counted from a process that has done an update on some short completions: libraries are loaded and
    the optimizer's state is there.
    """
    model = workload.model.make()
    reference = workload.model.make().eval().requires_grad_(False) if workload.kl_coef else None
    prepare = CONTENDERS[contender](model, reference, workload)
    prepare(make_batch(replace(workload, **TINY), seed))()
    model.load_state_dict(workload.model.make().state_dict())
    gc.collect()
    before = _held_mb()
    update = prepare(make_batch(workload, seed))
    seconds, norms = [], []
    for _ in range(steps):
        start = _now()
        norms.append(update())
        seconds.append(_now() - start)
    peak = _peak_mb()
    flops = necessary_flops(model, make_batch(workload, seed), with_reference=reference is not None)
    return {
        "seconds": seconds,
        "grad_norm": norms[0],
        "added_mb": peak - before,
        "flops": flops,
        "peak_flops": gemm_peak(DEVICE, workload.model.dtype),
    }


def necessary_flops(model: PreTrainedModel, batch: Batch, *, with_reference: bool) -> float:
    """Of an update in which groups without variance are left out, if nothing but advantages moves them."""
    groups = [
        (len(prompt), [len(one) for one in completions])
        for prompt, completions, advantages in zip(
            batch.prompts_P, batch.completions_PG, batch.advantages_PG, strict=True
        )
        if with_reference or any(advantages)
    ]
    return update_flops(model, groups, with_reference=with_reference)


def _now() -> float:
    if DEVICE == "cpu":
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def _held_mb() -> float:
    if DEVICE == "cuda":
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated() / 2**20
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20


def _peak_mb() -> float:
    if DEVICE == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def run_worker(function: Callable[[str, Workload, int, int], dict[str, Any]]) -> None:
    """Prints what `function` finds as a line of JSON."""
    _, contender, workload, seed, steps = sys.argv
    torch.set_num_threads(1)
    print(json.dumps(function(contender, WORKLOADS[workload], int(seed), int(steps))))


if __name__ == "__main__":
    run_worker(measure)
