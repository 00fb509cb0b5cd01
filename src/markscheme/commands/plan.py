"""`markscheme plan`: what a GRPO run needs, before it is begun."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.table import Table

from markscheme.commands.options import MODEL_GROUP, SAMPLING_GROUP, TRAINING_GROUP, EngineOptions, TrainedModelOptions
from markscheme.commands.shared import console, say
from markscheme.devices import GIB, SHEETS, device_here
from markscheme.files import InputError
from markscheme.grpo.config import GRPOConfig
from markscheme.grpo.pace import SHARE_OF_BANDWIDTH, SHARE_OF_FLOPS
from markscheme.grpo.plan import OVERHEAD, Plan, Setup, make_plan
from markscheme.grpo.workload import Workload
from markscheme.models import load_config


def plan(
    *,
    model: Annotated[TrainedModelOptions | None, Parameter(name="*", group=MODEL_GROUP)] = None,
    engine: Annotated[EngineOptions | None, Parameter(name="*", group=SAMPLING_GROUP)] = None,
    gpus: int = 1,
    gpu: str = "here",
    prompt_tokens: int = 256,
    completion_tokens: int | None = None,
    preset: str | None = None,
    config: Path | None = None,
    settings: Annotated[GRPOConfig | None, Parameter(name="*", group=TRAINING_GROUP)] = None,
) -> None:
    """What a GRPO run needs: the memory of its processes and the seconds of a step.

    It takes the options of `markscheme grpo`, and of the model its config.json only. Exit code 2 if the run does not
    fit; then it says what would.

    Parameters
    ----------
    gpus
        Processes, each with a GPU of its own; on a machine without one they share it.
    gpu
        here: this machine, where slices of the model are run and timed; or a100, h100, h200, b200, l40s or rtx4090.
    prompt_tokens
        Of each prompt.
    completion_tokens
        Of the completions, on average; by default all are as long as they may be.
    preset
        Settings of a paper: deepseekmath, dapo, dr-grpo, gspo, cispo, sapo, rloo, reinforce++ or online-rft; other
        options overrule it.
    config
        TOML file of options.
    """
    model, settings, engine = model or TrainedModelOptions(), settings or GRPOConfig(), engine or EngineOptions()
    if gpus < 1:
        raise InputError(f"gpus must be at least 1, got {gpus}")
    if gpu != "here" and gpu not in SHEETS:
        raise InputError(f"no GPU {gpu!r}; there are here, {', '.join(SHEETS)}")
    setup = Setup(
        model_config=load_config(model.model, model.revision),
        workload=Workload(
            config=settings,
            prompt_tokens=prompt_tokens,
            completion_tokens=settings.max_completion_tokens if completion_tokens is None else completion_tokens,
        ),
        device=device_here() if gpu == "here" else SHEETS[gpu],
        is_here=gpu == "here",
        processes=gpus,
        dtype=model.dtype,
        lora_rank=model.lora_rank,
        gradient_checkpointing=model.gradient_checkpointing,
        engine=engine.kind,
        gpu_share=engine.gpu_share,
        servers=len(engine.urls) if engine.kind == "vllm servers" else 0,
        ahead=bool(engine.async_depth),
    )
    made = make_plan(setup)
    _show(made)
    if not made.fits:
        need, room = made.memory.most / GIB, setup.memory / GIB
        instead = f"it would with {'; or '.join(made.instead)}" if made.instead else "nor with less of what can be less"
        raise InputError(f"this does not fit: a process needs {need:.1f} GiB and has {room:.1f}; {instead}")


def _show(plan: Plan) -> None:
    setup, memory, workload = plan.setup, plan.memory, plan.setup.workload
    config = workload.config
    say(
        f"{plan.parameters / 1e6:,.1f} M parameters in {setup.dtype}, {setup.processes} x {setup.device.name} "
        f"({setup.memory / GIB:.1f} GiB each)"
    )
    say(
        f"a step: {config.prompts_per_step} x {config.group_size} completions of {workload.completion_tokens} tokens "
        f"(at most {config.max_completion_tokens}) after prompts of {workload.prompt_tokens}"
    )
    table = Table(box=None, pad_edge=False)
    table.add_column("GiB of a process")
    table.add_column("rollouts", justify="right")
    table.add_column("update", justify="right")
    names = list(dict.fromkeys([*memory.rollout, *memory.update]))
    names.append(names.pop(names.index(OVERHEAD)))
    for name in names:
        table.add_row(name, *(_gib(half.get(name)) for half in (memory.rollout, memory.update)))
    table.add_row("in all", *(_gib(sum(half.values())) for half in (memory.rollout, memory.update)))
    console.print(table)
    if plan.seconds is None:
        return
    seconds = plan.seconds
    parts = {"rollouts": seconds.rollout, "forward and backward": seconds.update, "optimizer": seconds.optimizer}
    if seconds.sync:
        parts["weights to the sampler"] = seconds.sync
    say(f"seconds of a step: {seconds.step:.3g} (" + ", ".join(f"{name} {s:.3g}" for name, s in parts.items()) + ")")
    say(f"memory by a dry run of the update on tensors without content; times {_origin(setup)}")


def _origin(setup: Setup) -> str:
    if setup.is_here and setup.engine == "torch":
        return "measured here, on slices of the model"
    return (
        f"not measured, but worked out for {SHARE_OF_FLOPS:.0%} of the device's operations and "
        f"{SHARE_OF_BANDWIDTH:.0%} of its bandwidth"
    )


def _gib(size: float | None) -> str:
    return "" if size is None else f"{size / GIB:.2f}"
