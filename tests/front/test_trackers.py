"""What trackers are told; they themselves are stood in for where they are not installed."""

import importlib.util
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from markscheme.files import InputError
from markscheme.trackers import Tracker, tracker


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_a_run_that_goes_on_is_the_same_run_there(
    name: Tracker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[dict[str, Any]] = []
    told: list[tuple[dict[str, float], int]] = []
    stand_in = SimpleNamespace(init=lambda **options: begun.append(options), log=lambda m, step: told.append((m, step)))
    monkeypatch.setitem(sys.modules, name, stand_in)  # type: ignore[arg-type]
    for step in (1, 2):
        tracker(name, tmp_path, {"seed": 0}, first_step=step - 1)(step, {"reward": 0.5})
    assert begun[0] == begun[1]
    assert begun[0]["config"] == {"seed": 0}
    assert begun[0]["resume"] == "allow"
    assert told == [({"reward": 0.5}, 1), ({"reward": 0.5}, 2)]


def test_a_tracker_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(InputError, match="the tracker wandb is not installed: pip install wandb"):
        tracker("wandb", tmp_path, {})


@pytest.mark.skipif(importlib.util.find_spec("tensorboard") is None, reason="tensorboard is not installed")
def test_tensorboard_reads_what_was_written(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log = tracker("tensorboard", tmp_path, {})
    log(1, {"reward": 0.25})
    log(2, {"reward": 0.5})
    tracker("tensorboard", tmp_path, {}, first_step=1)(2, {"reward": 0.75})
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload().Scalars("reward")
    assert [(event.step, event.value) for event in events] == [(1, 0.25), (2, 0.75)]
