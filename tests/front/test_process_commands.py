"""Process models from the command line: trained, measured, and used as a scorer and as a reward."""

import json
import shlex
import tomllib
from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerBase

from markscheme import cli
from markscheme.models import save_policy
from markscheme.policy.make import make_model

TRAIN = "train-reward-model steps.jsonl --kind process --model policy --batch-size 8 --learning-rate 3e-3 --epochs 4"
GRPO = "grpo --task generated --model policy --max-completion-tokens 6 --steps 2 --prompts-per-step 2 --group-size 4"


def row(number: int, num_steps: int = 3) -> dict[str, object]:
    """As ProcessBench has them: every other solution goes wrong in its second step."""
    label = 1 if number % 2 else -1
    steps = [f"Ada has {number} {'pears' if k == label else 'apples'}." for k in range(num_steps)]
    return {"id": f"x{number}", "problem": f"Ada has {number} apples.", "steps": steps, "label": label}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerBase) -> Path:
    """A folder with a tiny policy, files of steps, and a process model."""
    folder = tmp_path_factory.mktemp("process")
    model = make_model(len(tokenizer), width=32, layers=1, seed=0)
    model.config.max_position_embeddings = 512
    save_policy(model, tokenizer, folder / "policy")
    texts = {
        "steps.jsonl": [row(number) for number in range(120)],
        "test.jsonl": [row(number) for number in range(200, 240)],
        "long.jsonl": [*(row(number) for number in range(40)), row(40, num_steps=100)],
        "pairs.jsonl": [{"prompt": f"1 + {k}?", "chosen": f"{1 + k}", "rejected": "no"} for k in range(30)],
        "samples.jsonl": [{"prompt": "Ada has 3 apples.", "completion": c} for c in ("Ada has 3 apples.\nSo 3.", " ")],
    }
    for name, rows in texts.items():
        (folder / name).write_text("".join(json.dumps(one) + "\n" for one in rows), encoding="utf-8")
    return folder


@pytest.fixture
def here(made: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """That folder, as the current one."""
    monkeypatch.chdir(made)
    return made


@pytest.fixture
def trained(here: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """A run folder, made once; killed runs go on, and a finished one is only measured again."""
    assert run(f"{TRAIN} --out run") == 0
    return here / "run"


def run(command: str) -> int:
    return cli.run(shlex.split(command))


def complaint(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line on stderr."""
    error = capsys.readouterr().err
    assert error.count("\n") == 1, error
    return error


def test_a_process_model_is_trained_and_measured(
    trained: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    output = capsys.readouterr().out
    for words in ("held-out steps, n = ", "step accuracy", "95 % interval", "always good", "by its place alone"):
        assert words in output
    assert "threshold of others" in output
    record = tomllib.loads((trained / "config.toml").read_text())
    assert (record["kind"], record["steps"]["file"]) == ("process", "steps.jsonl")
    evaluation = json.loads((trained / "evaluation.json").read_text())
    settings = json.loads((trained / "model" / "reward_model.json").read_text())
    assert evaluation["threshold"] == settings["threshold"]
    assert evaluation["accuracy"]["value"] > 0.95

    assert run(f"evaluate-reward-model run/model test.jsonl --out {tmp_path / 'figures.json'}") == 0
    output = capsys.readouterr().out
    for words in ("first errors of solutions, n = 40, 20 with an error", "F1", "threshold 0.5", 'always "no error"'):
        assert words in output
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert (figures["num_steps"], figures["num_unscored"], figures["num_questions"]) == (100, 0, 40)
    assert figures["first_errors"]["threshold"] == settings["threshold"]
    f1 = figures["first_errors"]["model"]["f1"]
    assert f1["low"] <= f1["value"] <= f1["high"]
    assert f1["value"] > 0.9
    assert {"command", "date", "machine", "versions", "seed", "reward_model", "steps"} <= figures.keys()


def test_a_process_model_scores_and_rewards(trained: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    capsys.readouterr()
    assert run(f"score samples.jsonl --scorer run/model --out {tmp_path / 'scored.jsonl'}") == 0
    assert "2 rows by process_reward_model" in capsys.readouterr().out
    scored, empty = [json.loads(line)["score"] for line in (tmp_path / "scored.jsonl").read_text().splitlines()]
    assert [end for end, _ in scored["steps"]] == [17, 23]
    assert (empty["outcome"], empty["value"]) == ("no_answer", 0.0)
    assert run(f"{GRPO} --scorer run/model --supervision process --out {tmp_path / 'grpo'}") == 0
    rows = [json.loads(line) for line in (tmp_path / "grpo" / "completions.jsonl").read_text().splitlines()]
    assert all(one["scorer"].startswith("process_reward_model ") for one in rows)


def test_what_is_too_long_is_told(here: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    command = TRAIN.replace("steps.jsonl", "long.jsonl")
    assert run(f"{command} --out {tmp_path / 'run'}") == 2
    assert "1 of 41 solutions are longer than the model's 512 tokens" in complaint(capsys)
    assert not (tmp_path / "run").exists()
    assert run(f"{command} --out {tmp_path / 'run'} --over-long leave-out") == 0
    assert "1 solutions are longer than 512 tokens: 0 cut, 1 left out, with 100 steps in all" in capsys.readouterr().out


BAD = [
    ("train-reward-model pairs.jsonl --kind process --model policy --out out", "pairs.jsonl:1: "),
    ("train-reward-model steps.jsonl --model policy --out out", "steps.jsonl:1: "),
    (f"{TRAIN} --loss pointwise --out out", "leave out loss, label_smoothing and centring"),
    (f"{TRAIN} --centring 0.01 --out out", "leave out loss, label_smoothing and centring"),
    ("evaluate-reward-model run/model pairs.jsonl", "pairs.jsonl:1: "),
    ("evaluate-reward-model run/model test.jsonl --train-pairs pairs.jsonl", "leave out --train-pairs"),
    (f"{GRPO} --scorer run/model --labeller math --iteration-steps 1 --out out", "take ProcessRewardModel"),
]


@pytest.mark.parametrize(("command", "message"), BAD)
def test_bad_input_costs_one_line(
    trained: Path, capsys: pytest.CaptureFixture[str], command: str, message: str
) -> None:
    capsys.readouterr()
    assert run(command) == 2
    assert message in complaint(capsys)
    assert not (trained.parent / "out").exists()
