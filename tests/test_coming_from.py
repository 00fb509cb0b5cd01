"""Tables of settings for those who come from another trainer: each name exists on its side, with that default."""

import dataclasses
import inspect
import os
import re
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
import yaml

from markscheme.commands.grpo import grpo
from markscheme.commands.options import EngineOptions, TrainedModelOptions
from markscheme.grpo.config import GRPOConfig

HOW_TO = Path(__file__).resolve().parents[1] / "docs" / "how-to"
OURS = {
    **{name: parameter.default for name, parameter in inspect.signature(grpo).parameters.items()},
    **dataclasses.asdict(EngineOptions()),
    **dataclasses.asdict(TrainedModelOptions()),
    **dataclasses.asdict(GRPOConfig()),
    **{f"objective.{name}": value for name, value in dataclasses.asdict(GRPOConfig().objective).items()},
}


def rows_of(page: str) -> list[tuple[str, str, str, str]]:
    """(name there, default there, option here, default here)"""
    text = (HOW_TO / page).read_text(encoding="utf-8")
    return re.findall(r"^\| `([^`]+)` \((\S+)\) \| `--([^`]+)`(?: \((.*?)\))? \|.*\|$", text, re.MULTILINE)


@pytest.mark.parametrize("page", ["from-trl.md", "from-verl.md"])
def test_our_side(page: str) -> None:
    rows = rows_of(page)
    assert len(rows) >= 25
    for _, _, option, default in rows:
        value = OURS[option.replace("-", "_")]
        assert default == ("" if value is inspect.Parameter.empty else str(value)), option


def test_the_side_of_trl() -> None:
    trl = pytest.importorskip("trl")
    fields = {field.name: field.default for field in dataclasses.fields(trl.GRPOConfig)}
    for name, default, _, _ in rows_of("from-trl.md"):
        value = fields[name]
        assert default == str(value.value if isinstance(value, Enum) else value), name


@pytest.mark.peers
def test_the_side_of_verl() -> None:
    if "MARKSCHEME_PEERS" not in os.environ:
        pytest.skip("the environment of verl is made by make test-peers")
    [path] = Path(os.environ["MARKSCHEME_PEERS"]).glob(
        "verl/lib/python3*/site-packages/verl/trainer/config/_generated_ppo_trainer.yaml"
    )
    settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    for name, default, _, _ in rows_of("from-verl.md"):
        value: Any = settings
        for key in re.sub(r"^(actor|rollout)\.", r"actor_rollout_ref.\1.", name).split("."):
            value = value[key]
        assert default == str(value) or float(default) == float(value), name
