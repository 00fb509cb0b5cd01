"""The chapter on reward models in small; docs/reward-models.md has it at its full length."""

import json
import shutil
from pathlib import Path

import pytest
from rich.console import Console

import markscheme.quickstart_reward_model as chapter_module
from markscheme.cli import run
from markscheme.files import InputError
from markscheme.quickstart import QuickstartConfig
from markscheme.quickstart_reward_model import probes_of, quickstart_reward_model

SMALL = QuickstartConfig(num_dev=6, steps=3, prompts_per_step=4, group_size=4)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("chapter") / "run"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(chapter_module, "REWARD_MODEL_PROBLEMS", 40)
        quickstart_reward_model(folder, SMALL, Console(quiet=True))
    return folder


def test_it_leaves_what_it_promises(out: Path) -> None:
    names = {path.name for path in out.iterdir()}
    assert names >= {"pairs.jsonl", "reward-model", "careful", "careless", "summary.json", "hacking.png"}
    assert (out / "reward-model" / "model" / "reward_model.json").exists()
    summary = json.loads((out / "summary.json").read_text())
    assert summary["runs"].keys() == {"careful", "careless"}
    for one in summary["runs"].values():
        assert len(one["accuracy"]) == len(one["reward"]) == 2  # before, and after the last step
        assert one["alarms"] == []  # in three steps nothing is to be seen
    assert 0 <= summary["reward_model"]["low"] <= summary["reward_model"]["accuracy"] <= 1


def test_both_runs_begin_with_the_same_policy_and_problems(out: Path) -> None:
    careful, careless = (
        [json.loads(line) for line in (out / name / "completions.jsonl").read_text().splitlines()]
        for name in ("careful", "careless")
    )
    first = [[row["completion"] for row in rows if row["step"] == 1] for rows in (careful, careless)]
    assert first[0] == first[1]
    assert {row["score"]["outcome"] for row in careless} == {"rated"}
    assert {row["score"]["outcome"] for row in careful} <= {"correct", "incorrect", "no_answer"}


def test_the_same_command_again_trains_nothing(out: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    shutil.copytree(out, again)
    chapter = quickstart_reward_model(again, SMALL, Console(quiet=True))
    for name in ("summary.json", "careful/metrics.jsonl", "careless/metrics.jsonl", "pairs.jsonl"):
        assert (again / name).read_bytes() == (out / name).read_bytes(), name
    assert [line["step"] for line in probes_of(chapter.runs["careful"])] == [0, 3]


def test_a_folder_of_the_other_story_is_refused(out: Path, tmp_path: Path) -> None:
    from markscheme.quickstart import quickstart

    shutil.copytree(out, tmp_path / "other")
    with pytest.raises(InputError, match="holds a run with other settings"):
        quickstart(tmp_path / "other", SMALL, Console(quiet=True))


def test_the_command_tells_the_story(out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(out, tmp_path / "told")
    options = "--num-dev 6 --steps 3 --prompts-per-step 4 --group-size 4"
    assert run(f"quickstart --reward model {options} --out {tmp_path / 'told'}".split()) == 0
    output = capsys.readouterr().out
    for words in ("held-out pairs right", "careful", "careless", "careless: no alarm", "model alone", "hacking.png"):
        assert words in output
