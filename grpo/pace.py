"""The time that a GRPO step will take: measured on slices of the model where the device is at hand, else worked out
from what the device can do (Williams et al. 2009, "Roofline": the slower of computing and of reading memory).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean, median
from typing import Any, Literal

import torch
from transformers import PreTrainedModel

from markscheme.devices import Device
from markscheme.generation import Request, Sampling
from markscheme.grpo.flops import update_flops
from markscheme.grpo.footprint import Footprint, MakeModel
from markscheme.grpo.head import completion_head, score, score_and_backward
from markscheme.grpo.workload import Workload, rows_in_batch
from markscheme.optimizer import make_optimizer, take_step
from markscheme.packing.attention import attend_packed, attention_on
from markscheme.packing.layout import PackedRow
from markscheme.packing.trunk import hidden_states
from markscheme.torch_engine import TorchEngine

Engine = Literal["torch", "vllm", "vllm servers"]
Clock = Callable[[], float]
"""Seconds since any beginning."""
SLICES = (2, 4)
"""Layers; with fewer, what one layer keeps is still in the processor's cache when it is needed again."""
REPEATS = 3
DECODED = 24
"""Tokens for each row of a measured batch."""
ROWS = 256
"""That an engine writes at a time."""
SHARE_OF_FLOPS = 0.4
"""What training gets of a GPU's peak, by what is reported of good loops."""
SHARE_OF_BANDWIDTH = 0.6
EAGER_LAYER_S = 5e-4
"""A decoding step of one layer takes a GPU no less where its kernels are launched one by one."""
FOLDER_BYTES_S = 1e9
"""Weights go to servers through a folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seconds:
    """Of the parts of a step."""

    rollout: float
    update: float
    """Forward and backward, the reference's pass included."""
    optimizer: float
    sync: float
    """Until the sampler has the new weights."""
    ahead: bool = False
    """Whether the next rollouts are drawn meanwhile."""

    @property
    def step(self) -> float:
        learning = self.update + self.optimizer
        return (max(self.rollout, learning) if self.ahead else self.rollout + learning) + self.sync


def measured(workload: Workload, make_model: MakeModel, layers: int, processes: int, clock: Clock) -> Seconds:
    """Of a step with the torch engine, from slices of a few layers on the device at hand."""
    config = workload.config
    mine = workload.lengths_of_one(processes)
    width = min(ROWS, len(mine))
    few, more = (_slice(make_model(min(depth, layers)), workload, width, clock) for depth in SLICES)
    by_layer = {name: max(0.0, more[name] - few[name]) / (SLICES[1] - SLICES[0]) for name in few}
    cost = {name: more[name] + max(0, layers - SLICES[1]) * by_layer[name] for name in more}
    by_row = max(0.0, cost["wide"] - cost["narrow"]) / max(1, width - _narrow(width))
    fixed = max(0.0, cost["wide"] - by_row * width)
    batches = [rows_in_batch(mine[first : first + ROWS]) for first in range(0, len(mine), ROWS)]
    tokens = sum(len(row.input_ids_T) for row in workload.rows()) / processes
    return Seconds(
        rollout=cost["prompt"] * len(mine) / config.group_size
        + sum(fixed + by_row * alive for batch in batches for alive in batch),
        update=config.updates_per_batch * cost["token"] * tokens,
        optimizer=config.optimizer_steps * cost["optimizer"] / processes,
        sync=0.0,
    )


def _narrow(width: int) -> int:
    return max(1, width // 4)


def _slice(model: PreTrainedModel, workload: Workload, width: int, clock: Clock) -> dict[str, float]:
    """Seconds of a token of the update, of an optimizer step, of a prompt, and of decoding many and few rows."""
    config = workload.config
    attend_packed(model, attention_on(model.device))
    rows = workload.rows()
    row = rows[len(rows) // 2]
    optimizer = make_optimizer(model, config)
    seconds: dict[str, list[float]] = {}

    def timed(name: str, function: Callable[[], Any], divided_by: float = 1.0) -> None:
        start = clock()
        function()
        if model.device.type == "cuda":
            torch.cuda.synchronize()
        seconds.setdefault(name, []).append((clock() - start) / divided_by)

    model.train()
    for _ in range(REPEATS):
        timed("token", lambda: _learn(model, row, workload), len(row.input_ids_T))
        timed("optimizer", lambda: take_step(model, optimizer, config, 0, 1))
    engine = TorchEngine(model, _NoText())  # type: ignore[arg-type]
    context = workload.prompt_tokens + workload.completion_tokens // 2
    for name, count in (("wide", width), ("narrow", _narrow(width))):
        write = partial(_write, engine, context, count, config.group_size)
        for _ in range(REPEATS):
            timed(f"{name} first", partial(write, 1))
            timed(f"{name} all", partial(write, 1 + DECODED))
    usual = {name: median(found) for name, found in seconds.items()}
    prompts = math.ceil(width / config.group_size)
    return {
        "token": usual["token"],
        "optimizer": usual["optimizer"],
        "prompt": usual["wide first"] / prompts * workload.prompt_tokens / context,
        "wide": (usual["wide all"] - usual["wide first"]) / DECODED,
        "narrow": (usual["narrow all"] - usual["narrow first"]) / DECODED,
    }


def _learn(model: PreTrainedModel, row: PackedRow, workload: Workload) -> None:
    """Forward and backward of a micro-batch in which every token has an advantage."""
    head, temperature = completion_head(model), workload.config.temperature
    if workload.config.objective.kl_coef:
        with torch.no_grad():
            score(hidden_states(model, row), head, row.targets_M.to(model.device), temperature)
    score_and_backward(hidden_states(model, row), head, row.targets_M, temperature, lambda rows, new_K: -new_K.exp())


def _write(engine: TorchEngine, prompt_tokens: int, rows: int, group_size: int, tokens: int) -> None:
    sizes = [min(group_size, rows - first) for first in range(0, rows, group_size)]
    requests = [
        Request(prompt_ids=(1 + p % 2,) * prompt_tokens, seeds=tuple(range(size))) for p, size in enumerate(sizes)
    ]
    for _ in engine.stream(requests, Sampling(max_completion_tokens=tokens)):
        pass


class _NoText:
    """In a tokenizer's place where nobody reads: every completion is written to its end."""

    eos_token_id = None

    def decode(self, ids: Sequence[int], **options: Any) -> str:
        return ""


def worked_out(
    workload: Workload,
    model: PreTrainedModel,
    footprint: Footprint,
    device: Device,
    processes: int,
    engine: Engine,
    samplers: int,
    cache_bytes: float,
) -> Seconds:
    """Of a step, from what the device can do.

    Args:
        model: on the meta device will do.
        samplers: devices that draw rollouts.
        cache_bytes: that each of them has for keys and values.
    """
    config, dtype = workload.config, str(model.dtype).removeprefix("torch.")
    flops, bandwidth = SHARE_OF_FLOPS * device.flops[dtype], SHARE_OF_BANDWIDTH * device.bandwidth
    layers = model.config.get_text_config().num_hidden_layers
    plain = footprint.weights / model.dtype.itemsize
    lengths = workload.lengths_of_one(samplers)

    def decoding(rows: float, context: float) -> float:
        reading = (footprint.weights + rows * footprint.cache * context) / bandwidth
        computing = 2 * plain * rows / flops
        launching = layers * EAGER_LAYER_S if engine == "torch" and device.kind == "cuda" else 0.0
        return max(reading, computing, launching)

    context = workload.prompt_tokens + fmean(lengths) / 2
    if engine == "torch":
        batches = [rows_in_batch(lengths[first : first + ROWS]) for first in range(0, len(lengths), ROWS)]
        decode = sum(decoding(alive, context) for batch in batches for alive in batch)
    else:  # a row that ends makes room for another
        rows = min(len(lengths), ROWS, max(1.0, cache_bytes / footprint.cache / context))
        full = sum(lengths) / rows
        decode = full * decoding(rows, context) + max(0.0, max(lengths) - full) * decoding(1, context)
    prompts = len(lengths) / config.group_size
    prefill = 2 * plain * prompts * workload.prompt_tokens / flops
    needed = update_flops(model, workload.groups(), with_reference=False)
    forward = update_flops(model, workload.groups(), with_reference=True) - needed
    needed += forward * (int(bool(config.objective.kl_coef)) + int(model.is_gradient_checkpointing))
    rows = len(workload.rows()) / processes
    carried = 3 * footprint.weights * (processes - 1) / processes * math.ceil(rows) / device.link
    moved = footprint.weights * 2 + footprint.masters * 2 + footprint.gradients + 2 * footprint.moments
    folder = engine == "vllm servers"
    return Seconds(
        rollout=prefill + decode,
        update=config.updates_per_batch * max(needed / processes / flops, carried),
        optimizer=config.optimizer_steps * moved / processes / bandwidth,
        sync=0.0 if engine == "torch" else footprint.weights / (FOLDER_BYTES_S if folder else bandwidth / 2),
    )
