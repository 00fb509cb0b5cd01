"""Checkpoints that appear whole or not at all, and hold everything a run needs to go on bit by bit."""

import os
import shutil
from pathlib import Path
from typing import Any

import torch
from torch.optim import Optimizer
from transformers import PreTrainedModel


def save_checkpoint(folder: Path, step: int, model: PreTrainedModel, optimizer: Optimizer, extra: Any = None) -> None:
    """Writes `folder/step-N`, then drops the older ones. Random numbers need no place in it: every draw
    is a pure function of (seed, step)."""
    target = folder / f"step-{step:07d}"
    partial = folder / f".{target.name}"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    state = {"step": step, "model": model.state_dict(), "optimizer": optimizer.state_dict(), "extra": extra}
    with (partial / "state.pt").open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    shutil.rmtree(target, ignore_errors=True)
    partial.rename(target)
    for older in _checkpoints(folder)[:-1]:
        shutil.rmtree(older)


def load_checkpoint(folder: Path, model: PreTrainedModel, optimizer: Optimizer) -> tuple[int, Any]:
    """Puts the newest checkpoint into model and optimizer; returns its step and extra, or (0, None) without one."""
    found = _checkpoints(folder)
    if not found:
        return 0, None
    state = torch.load(found[-1] / "state.pt", map_location=model.device, weights_only=True)
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    return int(state["step"]), state["extra"]


def _checkpoints(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*"))
