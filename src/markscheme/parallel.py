"""Several processes, which torchrun starts: who is who, what they tell one another, and a model in parts.

All of it works in a single process too, which then is the first of one. What all processes compute alike (advantages,
weights in the loss) each computes for itself; what each has for itself alone (rollouts, sums over its tokens) they
gather.
"""

import atexit
import os
import sys
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor

from markscheme.files import whole_folder

T = TypeVar("T")


@contextmanager
def processes() -> Iterator[None]:
    """Joins the others that torchrun has started, if it has."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield
        dist.barrier()  # nobody leaves while others still have something to ask
    finally:
        for leave in _leaving:
            leave()
        if dist.is_initialized():  # vLLM leaves it too
            dist.destroy_process_group()


_leaving: list[Callable[[], object]] = []


def before_leaving(function: Callable[[], object]) -> None:
    """Has `processes` call this while the others can still be reached."""
    _leaving.append(function)


def end(code: int) -> NoReturn:
    """Ends a process that was one of several, without the interpreter's finalization.

    gloo's threads outlive `destroy_process_group`. One that drops its last tensor during the finalization asks for the
    interpreter's lock, and the process aborts (SIGABRT) when all its work is done:
    https://github.com/pytorch/pytorch/issues/190489.
    """
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def rank() -> int:
    """Which process this is."""
    return dist.get_rank() if dist.is_initialized() else 0


def count() -> int:
    """How many processes there are."""
    return dist.get_world_size() if dist.is_initialized() else 1


def is_first() -> bool:
    """Whether this is the process that writes files and speaks."""
    return rank() == 0


def share_of(items: Sequence[T]) -> list[T]:
    """This process's share: every n-th item."""
    return list(items[rank() :: count()])


def joined(shares: Sequence[Sequence[T]]) -> list[T]:
    """The inverse: one list of the shares of all."""
    return [share[k] for k in range(max(map(len, shares), default=0)) for share in shares if k < len(share)]


def of_all(value: T) -> list[T]:
    """What each process has."""
    if count() == 1:
        return [value]
    values: list[Any] = [None] * count()
    dist.all_gather_object(values, value)
    return values


def summed(values: Mapping[str, float]) -> dict[str, float]:
    """Sums over all processes; a process that has no such value adds nothing."""
    total: dict[str, float] = {}
    for one in of_all(dict(values)):
        for name, value in one.items():
            total[name] = total.get(name, 0.0) + value
    return total


def shard(model: nn.Module, forward: Callable[..., Any]) -> None:
    """Leaves each process a part of every weight, in place (FSDP2); gradients are sums over all processes.

    Args:
        forward: a function of the model which is called as `model.sharded_forward(...)` from now on, with all weights
            whole. All processes must call it equally often, and each time go backward through it, or none.
    """
    layers = [child for child in model.modules() if isinstance(child, nn.ModuleList)]
    for layer in layers[0] if layers else ():
        fully_shard(layer)
    fully_shard(model)
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.set_gradient_divide_factor(1.0)
            module.set_force_sum_reduction_for_comms(True)  # gloo knows no other
    model.sharded_forward = types.MethodType(forward, model)  # type: ignore[assignment]
    register_fsdp_forward_method(model, "sharded_forward")


def is_sharded(model: nn.Module) -> bool:
    """Whether `shard` has been here."""
    return isinstance(model, FSDPModule)


def whole(tensor: Tensor) -> Tensor:
    """A tensor of which each process has a part; all must ask for it, in the same order."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


@contextmanager
def whole_folder_of_all(folder: Path) -> Iterator[Path]:
    """`files.whole_folder` which all processes fill together."""
    if count() == 1:
        with whole_folder(folder) as partial:
            yield partial
        return
    if is_first():
        with whole_folder(folder) as partial:
            dist.barrier()
            yield partial
            dist.barrier()
    else:
        dist.barrier()
        yield folder.with_name(f".{folder.name}.partial")
        dist.barrier()
    dist.barrier()
