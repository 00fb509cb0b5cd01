"""Checkpoints that appear whole or not at all, and hold everything a run needs to go on bit by bit.

Tensors are in the format of torch.distributed.checkpoint: each process writes its parts, and any number of processes
reads them.
"""

import hashlib
import os
import shutil
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save
from torch.optim import Optimizer

from markscheme import parallel
from markscheme.files import InputError

REST = "rest.pt"
CHECKPOINTS = "checkpoints"
"""Where a run folder holds them."""
FREE = ("steps", "checkpoint_every", "dev_every", "log_every", "logged_groups", "token_budget")
"""Settings of how long a run is, what it writes when, and how much is worked out at once."""


def save_checkpoint(
    folder: Path,
    step: int,
    model: nn.Module,
    optimizer: Optimizer,
    extra: Any = None,
    others: Mapping[str, nn.Module] | None = None,
    *,
    settings: Mapping[str, str] | None = None,
) -> None:
    """Writes `folder/step-N`, then drops the older ones.

    Frozen weights need no place in it, since they are the initial model's, and random numbers neither: every draw is
    a pure function of (seed, step).

    Args:
        extra: what the first process wants kept: values and tensors, in containers.
        others: further models whose weights are kept whole.
        settings: what the run must be gone on with, of `settings_of`.
    """
    state_dict = optimizer.state_dict()
    tensors = _model_tensors(model, others or {}) | _optimizer_tensors(state_dict)
    with parallel.whole_folder_of_all(folder / f"step-{step:07d}") as partial, _plainly():
        save(tensors, checkpoint_id=partial, no_dist=parallel.count() == 1)
        if parallel.is_first():
            rest = {"step": step, "groups": state_dict["param_groups"], "extra": extra, "settings": settings}
            _save(rest, partial / REST)
    if parallel.is_first():
        for older in _checkpoints(folder)[:-1]:
            shutil.rmtree(older)


def load_checkpoint(
    folder: Path,
    model: nn.Module,
    optimizer: Optimizer,
    others: Mapping[str, nn.Module] | None = None,
    *,
    settings: Mapping[str, str] | None = None,
) -> tuple[int, Any]:
    """Puts the newest checkpoint into model, optimizer and others; returns its step and extra, or (0, None) without
    one.

    Raises:
        InputError: if it is of a run with other settings. Nothing is touched then.
    """
    found = _checkpoints(folder)
    if not found:
        return 0, None
    rest = torch.load(found[-1] / REST, map_location=next(model.parameters()).device, weights_only=True)
    if settings is not None and (before := rest.get("settings")):  # older checkpoints do not say
        _check_same(folder.parent, before, settings)
    saved = FileSystemReader(found[-1]).read_metadata().state_dict_metadata
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    masters: dict[int, Tensor] = {}
    for name, about in saved.items():  # what the optimizer is to take over: it has none of it yet
        kind, _, place = name.partition(".")
        if kind == "optimizer":
            index, _, moment = place.partition(".")
            is_number = isinstance(about, TensorStorageMetadata) and not about.size
            empty = torch.zeros(()) if is_number else torch.zeros_like(weights[int(index)])
            state.setdefault(int(index), {})[moment] = empty
        elif kind == "master":
            masters[int(place)] = torch.zeros_like(weights[int(place)])
    state_dict = {"state": state, "param_groups": rest["groups"], "masters": [masters[k] for k in sorted(masters)]}
    tensors = _model_tensors(model, others or {}) | _optimizer_tensors(state_dict)
    with _plainly():
        load(tensors, checkpoint_id=found[-1], no_dist=parallel.count() == 1)
    optimizer.load_state_dict(state_dict)
    return int(rest["step"]), rest["extra"]


def _model_tensors(model: nn.Module, others: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """What a checkpoint calls the weights, which it puts in place."""
    frozen = {name for name, weight in model.named_parameters() if not weight.requires_grad}
    tensors = {f"model.{name}": value for name, value in _once(model).items() if name not in frozen}
    for key, other in others.items():
        tensors |= {f"{key}.{name}": value for name, value in _once(other).items()}
    return tensors


def _once(model: nn.Module) -> dict[str, Tensor]:
    """Its state dict, with tied weights under their first name only."""
    once = dict(model.named_parameters()).keys()
    aliases = {name for name, _ in model.named_parameters(remove_duplicate=False)} - once
    return {name: value for name, value in model.state_dict().items() if name not in aliases}


def _optimizer_tensors(state_dict: Mapping[str, Any]) -> dict[str, Tensor]:
    """What a checkpoint calls moments and masters."""
    moments = {
        f"optimizer.{index}.{name}": value
        for index, state in state_dict["state"].items()
        for name, value in state.items()
    }
    return moments | {f"master.{k}": master for k, master in enumerate(state_dict.get("masters", ()))}


def _save(value: Any, path: Path) -> None:
    with path.open("wb") as file:
        try:
            torch.save(value, file)
        except RuntimeError as error:
            if isinstance(error.__context__, OSError):  # torch hides a full disk behind an error of its own
                raise error.__context__ from None
            raise
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def _plainly() -> Iterator[None]:
    """Without a warning that there is one process only, which is meant; and what went wrong, such as a full disk, is
    raised as it was.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled, unavailable or uninitialized")
        try:
            yield
        except CheckpointException as errors:
            error, _ = next(iter(errors.failures.values()))
            raise error from None


def newest_step(folder: Path) -> int:
    """The step that `load_checkpoint` would go on after; 0 without a checkpoint."""
    found = _checkpoints(folder)
    return int(found[-1].name.removeprefix("step-")) if found else 0


def settings_of(config: Any, **data: Iterable[object]) -> dict[str, str]:
    """What a run must be gone on with, as words for `save_checkpoint` and `load_checkpoint`.

    Args:
        config: a dataclass; its fields of the names in FREE may change on the way.
        data: what is learned from, by name; a hash stands for it.
    """
    decisive = {name: repr(value) for name, value in asdict(config).items() if name not in FREE}
    return decisive | {name: _hash_of(items) for name, items in data.items()}


def _hash_of(items: Iterable[object]) -> str:
    digest = hashlib.sha256()
    for item in items:
        digest.update(repr(item).encode())
    return digest.hexdigest()[:16]


def _check_same(run: Path, before: Mapping[str, str], now: Mapping[str, str]) -> None:
    changed = [f"{name} was {before.get(name)}, is {now[name]}" for name in now if before.get(name) != now[name]]
    if changed:
        raise InputError(f"{run} holds a run with other settings ({'; '.join(changed)}): give another folder")


def _checkpoints(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*"))
