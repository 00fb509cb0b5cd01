import dataclasses
import re
from pathlib import Path

import pytest

from markscheme.cli import run
from markscheme.commands.grpo import grpo
from markscheme.grpo.config import PRESETS, GRPOConfig, preset_options


def test_there_are_few_settings() -> None:
    config = GRPOConfig()
    assert len(dataclasses.fields(config)) - 1 + len(dataclasses.fields(config.objective)) <= 40


def test_a_preset_is_what_it_changes() -> None:
    assert preset_options("deepseekmath") == {"objective": {"kl_coef": 0.04}}
    assert preset_options("online-rft") == {"estimator": "raw", "objective": {"surrogate": "plain"}}
    assert preset_options("dr-grpo") == {"estimator": "no_std", "objective": {"average": "constant"}}


def test_one_rollout_is_enough_where_none_are_compared() -> None:
    assert GRPOConfig(group_size=1, estimator="raw").group_size == 1
    for estimator, message in (("rloo", "at least 2 to compare rollouts, got 1"), ("opo", "at least 2")):
        with pytest.raises(ValueError, match=message):
            GRPOConfig(group_size=1, estimator=estimator)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="group_size must be above 0, got 0"):
        GRPOConfig(group_size=0, estimator="raw")


@pytest.mark.parametrize("estimator", ["opo", "remax", "gae"])
def test_parts_are_compared_by_rewards_alone(estimator: str) -> None:
    with pytest.raises(ValueError, match=f"'{estimator}' takes the whole reward, not its parts"):
        GRPOConfig(supervision="parts", estimator=estimator)  # type: ignore[arg-type]


def test_the_command_line_has_no_parts_to_compare(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*COMMAND.split(), "--supervision", "parts", "--out", str(tmp_path / "run")]) == 2
    assert "--supervision parts compares the parts of a WeightedSum, and math has none" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


COMMAND = "grpo --task generated --steps 1 --prompts-per-step 2 --group-size 2 --max-completion-tokens 4"


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_runs_and_is_recorded(name: str, tmp_path: Path) -> None:
    assert run([*COMMAND.split(), "--preset", name, "--out", str(tmp_path)]) == 0
    recorded = (tmp_path / "config.toml").read_text()
    options = preset_options(name)
    options |= options.pop("objective", {})
    for option, value in options.items():
        shown = f'"{value}"' if isinstance(value, str) else str(value).lower()
        assert re.search(rf"^{option} = {re.escape(shown)}$", recorded, re.MULTILINE)


def test_the_command_line_overrules_a_file_and_that_a_preset(tmp_path: Path) -> None:
    options = tmp_path / "options.toml"
    options.write_text('[objective]\naverage = "completion"\nclip_low = 0.1\n')
    command = f"{COMMAND} --preset dapo --config {options} --objective.clip-low 0.3 --out {tmp_path / 'run'}"
    assert run(command.split()) == 0
    recorded = (tmp_path / "run" / "config.toml").read_text()
    assert 'average = "completion"' in recorded
    assert "clip_low = 0.3" in recorded
    assert "clip_high = 0.28" in recorded


def test_an_unknown_preset_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*COMMAND.split(), "--preset", "dpao", "--out", "nowhere"]) == 2
    assert "no preset 'dpao'; there are deepseekmath, dapo" in capsys.readouterr().err
    assert not Path("nowhere").exists()


def test_every_preset_is_named_where_users_look() -> None:
    listed = re.search(r"Settings of a paper: (.*?);", " ".join((grpo.__doc__ or "").split()))
    assert listed is not None
    assert set(re.split(r", | or ", listed[1])) == set(PRESETS)
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    (in_readme,) = re.findall(r"`--preset` takes the settings of a paper \((.*?)\)", readme)
    assert set(in_readme.split(", ")) == set(PRESETS)
