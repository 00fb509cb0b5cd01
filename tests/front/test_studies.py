"""Studies: that every method runs and is compared with its base; not how well any of them does."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from markscheme.models import EMBEDDED, fingerprint, load_policy
from markscheme.scoring import Outcome, Sample
from markscheme.studies import __main__ as studies
from markscheme.studies import methods, run, setting
from markscheme.studies.worked_steps import WorkedSteps

SOLUTION = r"Mia has 4*3=12 eggs. Mia has 12-5=7 eggs left. The answer is \boxed{7}."


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = {
        "PROBLEMS_A_STEP": 6,
        "GROUP_SIZE": 4,
        "NUM_TEST": 6,
        "NUM_DEV": 2,
        "NUM_SAMPLES": 2,
        "REWARD_MODEL_PROBLEMS": 30,
    }
    for module in (setting, methods):
        for name, size in sizes.items():
            if hasattr(module, name):
                monkeypatch.setattr(module, name, size)


@pytest.mark.parametrize(
    ("completion", "verdict", "steps"),
    [
        (SOLUTION, 1.0, [(21, 1.0), (47, 1.0), (71, 1.0)]),
        (SOLUTION.replace("4*3=12", "4+3=7"), 1.0, [(20, 0.0), (46, 1.0), (70, 1.0)]),
        (r"Mia has 12-5=7 eggs left. The answer is \boxed{8}.", 0.0, [(26, 0.0), (50, 0.0)]),
        (r"The answer is \boxed{7}.", 1.0, [(24, 1.0)]),
        ("", 0.0, [(0, 0.0)]),
    ],
)  # fmt: skip
def test_a_step_is_right_where_the_worked_solution_has_it(
    completion: str, verdict: float, steps: list[tuple[int, float]]
) -> None:
    sample = Sample(prompt="", completion=completion, gold="7", id="a")
    (score,) = WorkedSteps({"a": SOLUTION}).score([sample])
    assert score.value == verdict
    assert [(step.end, step.value) for step in score.steps] == steps


def test_a_step_too_many_is_wrong() -> None:
    longer = SOLUTION.replace("The answer", "Mia has 7+0=7 eggs. The answer")
    (score,) = WorkedSteps({"a": SOLUTION}).score([Sample(prompt="", completion=longer, gold="7", id="a")])
    assert [step.value for step in score.steps] == [1.0, 1.0, 0.0, 1.0]
    assert score.outcome is Outcome.CORRECT


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    "method",
    [
        pytest.param(name, marks=[pytest.mark.vllm] if name == "vllm" else [])
        for name in (run.BEFORE, *methods.METHODS)
        if not name.startswith("preset-")
    ],
)
def test_every_method_trains_and_is_evaluated(method: str, tmp_path: Path) -> None:
    result = run.run(method, 2, 3, tmp_path / "run")
    assert result["metrics"]["greedy"]["n"] == 6
    evaluated = json.loads((tmp_path / "run" / "evaluation" / "summary.json").read_text(encoding="utf-8"))
    assert (evaluated["fingerprint"] == fingerprint(*load_policy(EMBEDDED))) == (method == run.BEFORE)
    assert json.loads((tmp_path / "run" / "result.json").read_text(encoding="utf-8")) == result


def test_what_is_trained_counts_weights_gradients_and_both_moments_of_the_models_of_a_time() -> None:
    trained = run.TrainedState()
    bytes_of = []
    for widths in ((3,), (5, 2)):  # one model, then two at once
        optimizers = [torch.optim.AdamW([torch.nn.Parameter(torch.ones(width))]) for width in widths]
        for optimizer in optimizers:
            for parameter in optimizer.param_groups[0]["params"]:
                parameter.sum().backward()
            optimizer.step()
        bytes_of.append(trained.peak_bytes)
        del optimizer, optimizers
    trained.close()
    count = torch.zeros(()).nbytes  # of steps, for each parameter
    assert bytes_of == [4 * 3 * 4 + count, 4 * (5 + 2) * 4 + 2 * count]


@pytest.mark.usefixtures("small")
def test_a_study_says_what_changed_against_its_base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def in_this_process(method: str, steps: int, seed: int, runs: Path) -> None:
        run.run(method, steps, seed, studies.folder_of(runs, method, steps, seed))

    monkeypatch.setattr(studies, "_run", in_this_process)
    monkeypatch.setitem(studies.STUDIES, "process", studies.Study(about="a study", methods=("rft", "plain"), steps=1))
    studies.main("process", out=tmp_path / "out", seeds=(0, 1), runs=tmp_path / "runs")
    record = json.loads((tmp_path / "out" / "process.json").read_text(encoding="utf-8"))
    assert [row["method"] for row in record["rows"]] == ["rft", "plain"]
    for row in record["rows"]:
        assert row["change"]["greedy"]["n"] == 12
        assert [one["greedy"]["n"] for one in row["change_by_seed"].values()] == [6, 6]
        assert row["after"]["greedy"] - row["before"]["greedy"] == pytest.approx(row["change"]["greedy"]["mean"])
    assert (tmp_path / "out" / "process.png").exists()


def test_a_run_that_was_cut_off_begins_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = studies.Study(about="", methods=("plain",), steps=1, base="plain")
    folders = [studies.folder_of(tmp_path, "plain", 1, seed) for seed in (0, 1)]
    for folder in folders:
        (folder / "train").mkdir(parents=True)
    (folders[0] / "result.json").write_text("{}", encoding="utf-8")
    ran: list[list[str]] = []

    def pretend(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        ran.append(command)
        return subprocess.CompletedProcess(command, 1, "", "stopped")

    monkeypatch.setattr(subprocess, "run", pretend)
    with pytest.raises(studies.InputError, match="plain with seed 1 failed: stopped"):
        studies.run_study(study, [0, 1], tmp_path, 1, Console())
    assert [command[-2:] for command in ran] == [["1", str(folders[1])]]
    assert (folders[0] / "train").exists()
    assert not folders[1].exists()


def test_a_run_that_fails_ends_the_study_with_its_reason(tmp_path: Path) -> None:
    with pytest.raises(studies.InputError, match=r"no-method with seed 0 failed: KeyError: 'no-method'"):
        studies.run_study(
            studies.Study(about="", methods=("no-method",), steps=1, base="no-method"), [0], tmp_path, 1, Console()
        )
