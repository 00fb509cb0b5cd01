"""What `train-reward-model` and `evaluate-reward-model` say beside the figures."""

import json
from pathlib import Path

import pytest

from markscheme import cli
from markscheme.commands.reward_network import basis_of, say_calibration, say_not_better
from markscheme.reward_models import LabelledSteps, PreferencePair, RewardNetwork
from markscheme.reward_models.bootstrap import Figure
from markscheme.reward_models.calibration import Calibration, calibration_of
from markscheme.reward_models.model import TRAINED_ON_FILE, questions_trained_on
from markscheme.reward_models.preferences import split_by_question

TRAIN = ["--batch-size", "8", "--epochs", "0.1"]


def write(path: Path, *rows: dict[str, object]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_a_model_knows_what_it_learned_from(
    policy_folder: Path, lemon_pairs: list[PreferencePair], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"prompt": one.prompt, "chosen": one.chosen, "rejected": one.rejected} for one in lemon_pairs[:40]]
    pairs, run = write(tmp_path / "pairs.jsonl", *rows), tmp_path / "run"
    assert cli.run(["train-reward-model", pairs, "--model", str(policy_folder), "--out", str(run), *TRAIN]) == 0
    train, held_out = split_by_question(lemon_pairs[:40], 0.1)
    model = run / "model"
    assert questions_trained_on(model) == {one.group for one in train}
    assert RewardNetwork.load(model).trained_on == RewardNetwork.from_pretrained(str(model)).trained_on != frozenset()
    capsys.readouterr()

    # In another order, and with other words around the same question: it is the question that counts.
    other = write(tmp_path / "other.jsonl", *({**row, "prompt": f" {row['prompt']}\n".upper()} for row in rows[::-1]))
    figures = tmp_path / "figures.json"
    assert cli.run(["evaluate-reward-model", str(model), other, "--out", str(figures)]) == 0
    notice = f"{len(train)} of these 40 pairs are of questions that {model} was given to learn from"
    assert notice in capsys.readouterr().out
    assert json.loads(figures.read_text())["pairs"]["pairs_of_training_questions"] == len(train)

    new = write(tmp_path / "new.jsonl", *(row for row in rows if row["prompt"] in {one.prompt for one in held_out}))
    assert cli.run(["evaluate-reward-model", str(model), new]) == 0
    (model / TRAINED_ON_FILE).unlink()  # as of an older version
    assert cli.run(["evaluate-reward-model", str(model), pairs, "--out", str(figures)]) == 0
    assert "given to learn from" not in capsys.readouterr().out
    assert json.loads(figures.read_text())["pairs"]["pairs_of_training_questions"] is None


def test_trained_further_it_knows_both(policy_folder: Path, lemon_pairs: list[PreferencePair], tmp_path: Path) -> None:
    known: list[frozenset[str]] = []
    model = str(policy_folder)
    for number, part in enumerate((lemon_pairs[:30], lemon_pairs[30:60])):
        rows = [{"prompt": one.prompt, "chosen": one.chosen, "rejected": one.rejected} for one in part]
        pairs, run = write(tmp_path / f"{number}.jsonl", *rows), tmp_path / f"run{number}"
        assert cli.run(["train-reward-model", pairs, "--model", model, "--out", str(run), *TRAIN]) == 0
        model = str(run / "model")
        known.append(questions_trained_on(Path(model)))
    assert known[0]
    assert known[0] < known[1]


def test_a_process_model_knows_it_too(
    policy_folder: Path, lemon_steps: list[LabelledSteps], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = [one for one in lemon_steps if None not in one.labels][:40]
    rows = [
        {"prompt": one.prompt, "completions": list(one.steps), "labels": [label == 1 for label in one.labels]}
        for one in whole
    ]
    steps, run = write(tmp_path / "steps.jsonl", *rows), tmp_path / "run"
    assert (
        cli.run(
            ["train-reward-model", steps, "--kind", "process", "--model", str(policy_folder), "--out", str(run), *TRAIN]
        )
        == 0
    )
    train, _ = split_by_question(whole, 0.1)
    capsys.readouterr()
    assert cli.run(["evaluate-reward-model", str(run / "model"), steps]) == 0
    assert f"{len(train)} of these {len(whole)} solutions are of questions that" in capsys.readouterr().out


def test_what_a_few_pairs_do_not_show_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    # 3 of 3 is 1.0 [0.292, 1.0], 0 of 3 is 0.0 [0.0, 0.708]
    model = Figure(value=1.0, low=0.292, high=1.0)
    beside = {
        "n-grams": Figure(value=0.0, low=0.0, high=0.708),
        "one far off": Figure(value=0.1, low=0.0, high=0.29),
        "one as good": Figure(value=1.0, low=0.292, high=1.0),
    }
    say_not_better(model, beside, basis_of(3, "pair", 1))
    assert capsys.readouterr().out.splitlines() == [
        "no better than one as good: 1.000 against 1.000, with 3 pairs of 1 question",
        "not shown to be better than n-grams: the intervals overlap, with 3 pairs of 1 question",
    ]
    say_not_better(model, {"one far off": beside["one far off"]}, "")
    assert capsys.readouterr().out == ""
    say_not_better(model, {"one that touches": Figure(value=0.1, low=0.0, high=0.292)}, "3 pairs")
    assert capsys.readouterr().out.startswith("not shown to be better than one that touches")


def calibrated(leads: list[float]) -> Calibration:
    return calibration_of(leads, [str(k) for k in range(len(leads))])


def test_a_temperature_is_said_where_there_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    found = calibrated([2.0, 1.0, -1.0] * 100)
    say_calibration(found, 149)
    assert capsys.readouterr().out == ""  # too few to tell
    say_calibration(found, 300)
    assert f"; at temperature {found.temperature:.2f}: " in capsys.readouterr().out
    say_calibration(calibrated([1.0, 2.0] * 100), 200)
    assert capsys.readouterr().out.endswith("; no temperature is too low: none is on the wrong side\n")
    say_calibration(calibrated([1.0, -1.0] * 100), 200)
    assert capsys.readouterr().out.endswith("; no temperature mends it: best is to call each an even chance\n")
