"""Checkpoints that appear whole or not at all, and hold everything a run needs to go on bit by bit."""

import os
import shutil
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from markscheme.files import whole_folder


def save_checkpoint(folder: Path, step: int, model: nn.Module, optimizer: Optimizer, extra: Any = None) -> None:
    """Writes `folder/step-N`, then drops the older ones.

    Frozen weights need no place in it, since they are the initial model's, and random numbers neither: every draw is
    a pure function of (seed, step).
    """
    frozen = _frozen(model)
    moved = {name: value for name, value in model.state_dict().items() if name not in frozen}
    state = {"step": step, "model": moved, "optimizer": optimizer.state_dict(), "extra": extra}
    with whole_folder(folder / f"step-{step:07d}") as partial, (partial / "state.pt").open("wb") as file:
        try:
            torch.save(state, file)
        except RuntimeError as error:
            if isinstance(error.__context__, OSError):  # torch hides a full disk behind an error of its own
                raise error.__context__ from None
            raise
        file.flush()
        os.fsync(file.fileno())
    for older in _checkpoints(folder)[:-1]:
        shutil.rmtree(older)


def load_checkpoint(folder: Path, model: nn.Module, optimizer: Optimizer) -> tuple[int, Any]:
    """Puts the newest checkpoint into model and optimizer; returns its step and extra, or (0, None) without one."""
    found = _checkpoints(folder)
    if not found:
        return 0, None
    device = next(model.parameters()).device
    state = torch.load(found[-1] / "state.pt", map_location=device, weights_only=True)
    model.load_state_dict(model.state_dict() | state["model"])
    optimizer.load_state_dict(state["optimizer"])
    return int(state["step"]), state["extra"]


def _frozen(model: nn.Module) -> set[str]:
    """Names of the weights that do not learn, whatever other names tied ones have."""
    return {name for name, weight in model.named_parameters(remove_duplicate=False) if not weight.requires_grad}


def _checkpoints(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*"))
