import json
import tomllib
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from markscheme.files import InputError
from markscheme.run_log import RunLog, to_toml, versions

CONFIG = {"command": "grpo", "model": {"name": "tiny"}, "grpo": {"steps": 3, "betas": (0.9, 0.95), "stop": ()}}


def test_a_folder_takes_the_same_run_again_and_no_other(tmp_path: Path) -> None:
    RunLog(tmp_path / "run", CONFIG)
    RunLog(tmp_path / "run", CONFIG)
    before = (tmp_path / "run" / "config.toml").read_bytes()
    other = {**CONFIG, "grpo": {**CONFIG["grpo"], "steps": 4}}  # type: ignore[dict-item]
    with pytest.raises(InputError, match=r"other settings \(grpo.steps was 3, is 4\): choose another --out"):
        RunLog(tmp_path / "run", other)
    with pytest.raises(InputError, match=r"\(dev.split was None, is 'dev'\)"):
        RunLog(tmp_path / "run", {**CONFIG, "dev": {"split": "dev"}})
    another = {**other, "task": {"problems": 2, "sha256": "b"}}
    with pytest.raises(InputError, match=r"\(grpo.steps was 3, is 4; task.problems was None, is 2\)"):
        RunLog(tmp_path / "run", another)
    with pytest.raises(InputError, match=r"\(a0 was None, is 0; .*a3 was None, is 3; and 2 more\)"):
        RunLog(tmp_path / "run", {**CONFIG, **{f"a{number}": number for number in range(6)}})
    assert (tmp_path / "run" / "config.toml").read_bytes() == before


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="is not empty and holds no run: choose another --out"):
        RunLog(tmp_path, CONFIG)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    (tmp_path / "empty").mkdir()
    RunLog(tmp_path / "empty", CONFIG)


def test_metrics_and_timings_are_kept_apart(tmp_path: Path) -> None:
    log = RunLog(tmp_path / "run", CONFIG)
    assert log.read() == []
    log.write(1, {"loss": 0.5}, {"cpu_s": 2.0})
    assert log.read() == [{"step": 1, "loss": 0.5}]
    assert log.read("timings.jsonl") == [{"step": 1, "cpu_s": 2.0}]


def test_rewind_drops_what_came_after_and_a_torn_line(tmp_path: Path) -> None:
    log = RunLog(tmp_path / "run", CONFIG)
    for step in (1, 2, 3):
        log.write(step, {"loss": step / 10}, {})
        log.append("completions.jsonl", {"step": step, "completion": "\ud800"})
    whole = (tmp_path / "run" / "metrics.jsonl").read_bytes()
    with (tmp_path / "run" / "metrics.jsonl").open("ab") as file:
        file.write(b'{"step": 4, "lo')  # as a kill leaves it
    log.rewind(3)
    assert (tmp_path / "run" / "metrics.jsonl").read_bytes() == whole
    log.rewind(2)
    assert [record["step"] for record in log.read()] == [1, 2]
    assert [record["step"] for record in log.read("completions.jsonl")] == [1, 2]
    log.write(3, {"loss": 0.3}, {})
    assert (tmp_path / "run" / "metrics.jsonl").read_bytes() == whole  # the same bytes as without the interruption
    log.rewind(0)
    assert log.read() == log.read("completions.jsonl") == []


PLAIN = st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False) | st.text()
NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True)


@given(st.dictionaries(NAMES, PLAIN | st.lists(PLAIN, max_size=3) | st.dictionaries(NAMES, PLAIN, max_size=3)))
def test_settings_are_toml(config: dict[str, Any]) -> None:
    assert tomllib.loads(to_toml(config)) == config


def test_tables_inside_of_tables_stay_where_they_are() -> None:
    config = {
        "grpo": {"steps": 1, "objective": {"kl_coef": 0.1}},
        "objective": {"kl_coef": 2},
        "x": {"y": {"z": {"k": 3}}},
    }
    assert tomllib.loads(to_toml(config)) == config


def test_settings_can_be_dataclasses_paths_and_nothing() -> None:
    @dataclass
    class Settings:
        steps: int = 3
        limit: int | None = None

    text = to_toml({"grpo": Settings(), "data": Path("a/b"), "revision": None})
    assert tomllib.loads(text) == {"data": "a/b", "grpo": {"steps": 3}}


def test_going_on_with_other_software_is_said(tmp_path: Path) -> None:
    RunLog(tmp_path / "run", {"seed": 0})
    path = tmp_path / "run" / "versions.json"
    began_with = json.loads(path.read_text())
    assert began_with == versions()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        RunLog(tmp_path / "run", {"seed": 0})  # the same software: nothing to say
    path.write_text(json.dumps(began_with | {"torch": "1.0"}))
    with pytest.warns(UserWarning, match=r"goes on with other software \(torch 1.0 -> "):
        RunLog(tmp_path / "run", {"seed": 0})
    assert json.loads(path.read_text())["torch"] == "1.0"


def test_a_run_that_was_killed_while_it_wrote_its_settings_can_begin_again(tmp_path: Path) -> None:
    (tmp_path / ".config.toml.partial").write_text("seed")
    assert RunLog(tmp_path, {"seed": 0}).read() == []
    assert (tmp_path / "config.toml").read_text() == "seed = 0\n"
    assert not (tmp_path / ".config.toml.partial").exists()
