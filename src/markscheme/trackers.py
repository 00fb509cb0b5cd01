"""Sending a run's metrics to an experiment tracker that the user has installed."""

import hashlib
import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from markscheme.files import InputError

Tracker = Literal["tensorboard", "wandb", "trackio"]
PROJECT = "markscheme"
Log = Callable[[int, Mapping[str, float]], None]
"""Is told (steps done, metrics); a step that is told again replaces what was told before, where the tracker can."""


def tracker(name: Tracker, folder: Path, record: Mapping[str, Any], first_step: int = 0) -> Log:
    """Where the metrics of the run in `folder` go besides its own files.

    A run that goes on stays the same run there.

    Args:
        record: the settings of the run.
        first_step: steps that are done already.

    Raises:
        InputError: if the tracker is not installed.
    """
    package = "torch.utils.tensorboard" if name == "tensorboard" else name
    try:
        module = importlib.import_module(package)
    except ImportError as error:
        raise InputError(f"the tracker {name} is not installed: pip install {name}, or leave out --tracker") from error
    if name == "tensorboard":
        writer = module.SummaryWriter(str(folder / name), purge_step=first_step + 1)

        def to_board(step: int, metrics: Mapping[str, float]) -> None:
            for key, value in metrics.items():
                writer.add_scalar(key, value, step)
            writer.flush()

        return to_board
    run_name = f"{folder.name}-{hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:8]}"
    options = {"id": run_name, "dir": str(folder)} if name == "wandb" else {}
    module.init(project=PROJECT, name=run_name, resume="allow", config=dict(record), **options)

    def to_service(step: int, metrics: Mapping[str, float]) -> None:
        module.log(dict(metrics), step=step)

    return to_service
