"""Whether a GRPO run fits, and how long a step of it will take."""

import copy
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from transformers import AutoModelForCausalLM, PretrainedConfig, PreTrainedModel

from markscheme.devices import GIB, Device
from markscheme.files import InputError
from markscheme.grpo.footprint import Footprint, cached_tokens, causal, footprint
from markscheme.grpo.pace import ROWS, Clock, Engine, Seconds, measured, worked_out
from markscheme.grpo.workload import Workload, rows_in_batch
from markscheme.models import add_lora, checkpoint_gradients

RUNTIME = {"cpu": 0.45 * GIB, "cuda": 1.5 * GIB}
"""Of a process that has done nothing yet but load its libraries; on a GPU its context and their kernels."""
KEPT = {"cpu": 0.25, "cuda": 0.1}
"""What the allocator keeps beside what is in use, as a share of it."""
KEPT_BY_ADAPTERS = 0.9
"""On a CPU: their small tensors lie between the large ones, and what is freed around them is not joined."""
ENGINE_RUNTIME = 2 * GIB
"""What vLLM takes beside weights and cache."""
SERVER_SHARE = 0.92
"""Of a server's GPU, what vLLM takes by default."""
COPIES = 3
"""Caches of one layer that are there beside all of them: it is copied when it grows, and where heads share it."""
OVERHEAD = "libraries and allocator"
MOST_DOUBLINGS = 8
LORA_RANK = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """A run that is thought of."""

    model_config: PretrainedConfig
    workload: Workload
    device: Device
    is_here: bool
    """Whether the device is that of this process, so that it can be measured."""
    processes: int = 1
    """Each on a device of its own, or all of them on the one machine without a GPU."""
    dtype: str = "float32"
    lora_rank: int = 0
    gradient_checkpointing: bool = False
    engine: Engine = "torch"
    gpu_share: float = 0.4
    """Of a device, what vLLM may take where it shares it with the trainer."""
    servers: int = 0
    ahead: bool = False

    @property
    def layers(self) -> int:
        return int(self.model_config.get_text_config().num_hidden_layers)

    @property
    def memory(self) -> float:
        """Bytes that a process may take."""
        return self.device.memory / (self.processes if self.device.kind == "cpu" else 1)

    @property
    def sampler_share(self) -> float:
        """Of a device, what vLLM has."""
        return self.gpu_share if self.engine == "vllm" else SERVER_SHARE

    def make_model(self, layers: int) -> PreTrainedModel:
        """A model of this kind with so many layers, in the way it is trained."""
        config = copy.deepcopy(self.model_config)
        text = config.get_text_config()
        text.num_hidden_layers = layers
        if getattr(text, "layer_types", None):
            text.layer_types = text.layer_types[:layers]
        model: PreTrainedModel = AutoModelForCausalLM.from_config(config, dtype=getattr(torch, self.dtype))
        if self.lora_rank:
            add_lora(model, self.lora_rank, seed=0)
        if self.gradient_checkpointing:
            checkpoint_gradients(model)
        return model

    def make_model_here(self, layers: int) -> PreTrainedModel:
        model = self.make_model(layers)
        torch.nn.Module.to(model, self.device.kind)
        return model


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Bytes of one process by what they are for, in the two halves of a step."""

    rollout: Mapping[str, float]
    update: Mapping[str, float]

    @property
    def most(self) -> float:
        return max(sum(self.rollout.values()), sum(self.update.values()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a run needs."""

    setup: Setup
    parameters: int
    memory: Memory
    seconds: Seconds | None
    """Of a step; None if it does not fit."""
    instead: tuple[str, ...] = ()
    """If it does not fit: changes with which it would."""

    @property
    def fits(self) -> bool:
        return self.memory.most <= self.setup.memory


def make_plan(setup: Setup, clock: Clock = time.perf_counter) -> Plan:
    """
    Args:
        clock: by which seconds are measured, where the device is at hand.

    Raises:
        InputError: if the model has fewer positions than a prompt and its completion may have tokens, or layers that do
            more than attend, or vLLM's share of a device does not hold the weights, or there is a critic.
    """
    workload = setup.workload
    room = getattr(setup.model_config.get_text_config(), "max_position_embeddings", None)
    longest = workload.prompt_tokens + workload.config.max_completion_tokens
    if room is not None and longest > room:
        raise InputError(
            f"{workload.prompt_tokens} tokens of a prompt and max_completion_tokens "
            f"{workload.config.max_completion_tokens} are more than the model's {room} positions"
        )
    if workload.config.estimator == "gae":
        raise InputError("PPO's value model cannot be planned for: take another preset, and reckon with a second model")
    kinds = set(getattr(setup.model_config.get_text_config(), "layer_types", None) or ["full_attention"])
    if kinds != {"full_attention"}:
        raise InputError(f"layers of {', '.join(sorted(kinds))} cannot be planned for: only those that attend to all")
    whole = _footprint(setup)
    if setup.engine != "torch" and _room(setup, whole) < whole.cache * longest:
        raise InputError(
            f"vLLM has {setup.sampler_share} of {setup.device.memory / GIB:.0f} GiB: that does not hold the weights "
            f"({whole.weights / GIB:.1f} GiB), {ENGINE_RUNTIME / GIB:.0f} GiB for itself and one completion: "
            "give it a larger --gpu-share, or servers of several GPUs each"
        )
    memory = _memory(setup, whole)
    with torch.device("meta"):
        model = setup.make_model(setup.layers)
    parameters = sum(weight.numel() for weight in model.parameters())
    plan = Plan(setup=setup, parameters=parameters, memory=memory, seconds=None)
    if not plan.fits:
        return replace(plan, instead=tuple(_ways_out(setup)))
    if setup.is_here and setup.engine == "torch":
        return replace(plan, seconds=measured(workload, setup.make_model_here, setup.layers, setup.processes, clock))
    samplers = setup.servers or setup.processes
    seconds = worked_out(
        workload, model, whole, setup.device, setup.processes, setup.engine, samplers, _room(setup, whole)
    )
    return replace(plan, seconds=replace(seconds, ahead=setup.ahead))


def _footprint(setup: Setup) -> Footprint:
    workload, config = setup.workload, setup.workload.config
    row = max(workload.rows(), key=lambda row: len(row.input_ids_T))
    width = len(workload.lengths_of_one(setup.processes)[:ROWS])
    prompts = -(-width // config.group_size), workload.prompt_tokens
    return footprint(
        setup.make_model, setup.layers, causal(row) if setup.device.kind == "cuda" else row, prompts, width
    )


def _room(setup: Setup, whole: Footprint) -> float:
    """Bytes that vLLM has for keys and values on a device."""
    return setup.sampler_share * setup.device.memory - whole.weights - ENGINE_RUNTIME


def _memory(setup: Setup, whole: Footprint) -> Memory:
    workload, config, shares = setup.workload, setup.workload.config, setup.processes
    kind = setup.device.kind
    states = {"weights": whole.weights / shares, "optimizer": (whole.masters + whole.moments) / shares}
    if config.objective.kl_coef and (not setup.lora_rank or config.iteration_steps):
        states["reference"] = whole.weights / shares
    update = {"gradients": whole.gradients / shares}
    if shares > 1:  # a layer and the one before it are whole while they work, and what lies outside of layers always
        outside = whole.weights - setup.layers * whole.layer_weights
        update["whole layers"] = 2 * (outside + 2 * whole.layer_weights)
    update["activations"] = whole.activations
    if kind == "cuda":
        update["activations"] += config.token_budget**2  # the mask over a row
        update["activations"] = max(update["activations"], whole.trained / shares)  # AdamW's temporaries
    rollout: dict[str, float] = {}
    if setup.engine == "vllm":
        rollout["vLLM"] = setup.gpu_share * setup.device.memory
    elif setup.engine == "torch":
        lengths = workload.lengths_of_one(setup.processes)
        batches = [list(rows_in_batch(lengths[first : first + ROWS])) for first in range(0, len(lengths), ROWS)]
        tokens = max(cached_tokens(batch, workload.prompt_tokens) for batch in batches)
        if shares > 1:
            rollout["sampler's weights"] = whole.weights
        rollout["keys and values"] = whole.cache * tokens * (1 + COPIES / setup.layers)
        rollout["activations"] = max(whole.prefill, whole.sampling)
    return Memory(rollout=_with_overhead(states | rollout, setup), update=_with_overhead(states | update, setup))


def _with_overhead(parts: Mapping[str, float], setup: Setup) -> dict[str, float]:
    kind = setup.device.kind
    share = KEPT_BY_ADAPTERS if setup.lora_rank and kind == "cpu" else KEPT[kind]
    kept = share * sum(size for name, size in parts.items() if name != "vLLM")
    return {**parts, OVERHEAD: RUNTIME[kind] + kept}


def _ways_out(setup: Setup) -> Iterator[str]:
    """Up to three changes with which it would fit, the smallest first; of numbers of GPUs the least."""
    found = 0
    for changes in _changes(setup):
        for options, changed in changes:
            need = _memory(changed, _footprint(changed)).most
            if need <= changed.memory and found < 3:
                yield f"{options} ({need / GIB:.1f} GiB)"
                found += 1
                break


Change = tuple[str, Setup]
"""Options, and the setup with them."""


def _changes(setup: Setup) -> Iterator[Iterable[Change]]:
    """Those that change the run least come first; of several in one place, the first that fits is enough."""
    workload = setup.workload
    options, frugal = [], setup
    longest = workload.prompt_tokens + workload.config.max_completion_tokens
    if longest < workload.config.token_budget:
        options.append(f"--token-budget {longest}")
        config = replace(workload.config, token_budget=longest)
        frugal = replace(frugal, workload=replace(workload, config=config))
        yield [(options[-1], frugal)]
    if not setup.gradient_checkpointing:
        options.append("--gradient-checkpointing")
        frugal = replace(frugal, gradient_checkpointing=True)
        yield [(options[-1], replace(setup, gradient_checkpointing=True)), (" ".join(options), frugal)]
    if setup.dtype == "float32":
        options.append("--dtype bfloat16")
        frugal = replace(frugal, dtype="bfloat16")
        yield [(" ".join(options), frugal)]
    if setup.device.kind == "cuda":
        if setup.engine == "torch":
            yield [(" ".join([*options, "--engine vllm"]), replace(frugal, engine="vllm"))]
        more = [setup.processes << k for k in range(1, MOST_DOUBLINGS + 1)]
        yield ((" ".join([*options, f"--gpus {n}"]), replace(frugal, processes=n)) for n in more)
    if not setup.lora_rank:
        yield [(" ".join([*options, f"--lora-rank {LORA_RANK}"]), replace(frugal, lora_rank=LORA_RANK))]
