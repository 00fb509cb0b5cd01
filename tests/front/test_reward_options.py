"""`markscheme grpo --reward-model`: how a reward model counts, what the record says of it, and what is refused."""

import dataclasses
import json
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedTokenizerBase

from markscheme import cli
from markscheme.adapters import as_scorer
from markscheme.commands.reward_options import RewardOptions
from markscheme.grpo.monitor import HackingMonitor, Verdict
from markscheme.models import save_policy
from markscheme.policy.make import make_model
from markscheme.reward_models import RewardModel, RewardNetwork
from markscheme.scoring import Sample

TINY = "grpo --task generated --model policy --max-completion-tokens 4 --prompts-per-step 2 --group-size 2 --steps 2"
DEV = "--dev-split dev --dev-limit 3 --dev-every 1 --checkpoint-every 1"
MODEL = f"{TINY} --reward-model reward"
WATCHED = f"{MODEL} {DEV}"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerBase) -> Path:
    """A folder with a tiny policy, and a tiny reward model for which most rewards are unusual."""
    folder = tmp_path_factory.mktemp("rewards")
    model = make_model(len(tokenizer), width=32, layers=1, seed=0)
    model.config.max_position_embeddings = 512
    save_policy(model, tokenizer, folder / "policy")
    network = RewardNetwork.from_pretrained(str(folder / "policy"), seed=1)
    network.low, network.high = 1e-3, 2e-3
    network.save(folder / "reward")
    return folder


@pytest.fixture
def here(made: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of `made`, as the current one."""
    monkeypatch.chdir(made)
    return made


def run(command: str) -> int:
    return cli.run(shlex.split(command))


def complaint(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line on stderr."""
    error = capsys.readouterr().err
    assert error.count("\n") == 1, error
    assert error.startswith("markscheme: ")
    return error


def record_of(out: Path) -> dict[str, Any]:
    return tomllib.loads((out / "config.toml").read_text())


def metrics_of(out: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


RIGHT = as_scorer(lambda sample: sample.completion.startswith("right"), name="verifier")
RATED = as_scorer(lambda sample: float(sample.completion.split()[1]), name="rating")


@pytest.mark.parametrize(
    ("options", "completion", "value"),
    [
        ({}, "right 2", 2.0),
        ({}, "right -1", -1.0),
        ({}, "right -9", -4.0),  # held within 4 standard deviations
        ({}, "right 9", 4.0),
        ({}, "wrong 9", -4.0),  # below every right one
        ({"reward": "gate"}, "right 2", 2.0),
        ({"reward": "shaped"}, "right 0", 0.5),
        ({"reward": "shaped"}, "wrong 0", -0.5),
        ({"reward": "sum"}, "right 2", 3.0),
        ({"reward": "sum"}, "wrong -9", -9.0),
        ({"reward": "sum", "reward_weight": 0.5}, "right 2", 2.0),
        ({"reward": "sum", "reward_weight": 0.0}, "right 2", 1.0),
        ({"reward": "model"}, "right 2", 2.0),
        ({"reward": "model"}, "wrong 9", 9.0),
    ],
)
def test_how_a_reward_model_counts(options: dict[str, Any], completion: str, value: float) -> None:
    reward = RewardOptions(reward_model=Path("any"), **options).combined(RIGHT, RATED)
    assert reward.score([Sample(prompt="", completion=completion)])[0].value == pytest.approx(value)


@pytest.mark.parametrize(
    ("options", "how", "name"),
    [
        ("", "gate", "gate(math, clip(reward_model))"),
        ("--reward gate", "gate", "gate(math, clip(reward_model))"),
        ("--reward shaped", "shaped", "shaped(math, reward_model)"),
        ("--reward sum --reward-weight 0.5 --supervision parts", "sum", "sum(verifier, reward_model)"),
        ("--reward model --scorer gsm8k", "model", "reward_model"),
    ],
)
def test_the_record_names_all_that_decides_and_the_verifier_judges_the_dev_problems(
    options: str, how: str, name: str, here: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    assert run(f"{WATCHED} {options} --out {out}") == 0
    record = record_of(out)
    verifier = "gsm8k" if "gsm8k" in options else "math"
    assert record["scorer"]["name"] == name
    assert record["reward"].pop("verifier")["name"] == verifier
    assert record["reward"].pop("reward_model") == {
        "name": "reward_model",
        "version": RewardModel(here / "reward").version,
    }
    assert record["reward"] == {"how": how} | ({"weight": 0.5} if how == "sum" else {})
    assert record["monitor"] == {"probes": 2, "significance": 0.01}
    lines = metrics_of(out)
    assert all(line["dev_accuracy"] == line["dev_reward"] == 0 for line in lines), "a random policy is never right"
    assert all("dev_proxy" in line for line in lines)
    # behind a gate that nothing passes, the reward model is not asked
    assert [line.get("out_of_range_share") for line in lines[1:]] == [None if how == "gate" else 1.0] * 2
    assert len((out / "probes.jsonl").read_text().splitlines()) == 3


def test_without_dev_problems_there_is_no_monitor(here: Path, tmp_path: Path) -> None:
    assert run(f"{MODEL} --out {tmp_path / 'run'}") == 0
    assert "monitor" not in record_of(tmp_path / "run")
    assert not any("out_of_range_share" in line for line in metrics_of(tmp_path / "run"))


@pytest.mark.parametrize("scorer", ["math", "reward"])
def test_without_a_reward_model_beside_it_all_is_as_it_was(scorer: str, here: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert run(f"{TINY} {DEV} --scorer {scorer} --out {out}") == 0
    assert not {"reward", "monitor"} & record_of(out).keys()
    assert not any("dev_proxy" in line or "hacking_alarm" in line for line in metrics_of(out))
    assert all(("dev_accuracy" in line) == (scorer == "math") for line in metrics_of(out))
    assert not (out / "probes.jsonl").exists()


def test_settings_can_be_in_a_file(here: Path, tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text(
        'reward_model = "reward"\nreward = "sum"\nreward_weight = 2.0\n[monitor]\naction = "stop"\nprobes = 3\n'
    )
    assert run(f"{TINY} {DEV} --config {tmp_path / 'run.toml'} --out {tmp_path / 'run'}") == 0
    record = record_of(tmp_path / "run")
    assert (record["reward"]["weight"], record["monitor"]["probes"]) == (2.0, 3)


def test_an_alarm_that_stops_is_one_line_and_the_run_goes_on_with_warn(
    here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def alarmed(self: HackingMonitor, *windows: Any) -> Verdict:
        return dataclasses.replace(compare(self, *windows), is_alarm=True)

    compare = HackingMonitor._compare
    monkeypatch.setattr(HackingMonitor, "_compare", alarmed)
    out = tmp_path / "run"
    watched = f"{WATCHED} --monitor.probes 1 --out {out}"
    assert run(f"{watched} --monitor.action stop") == 2
    error = complaint(capsys)
    assert error.startswith("markscheme: stopped: reward ")
    assert "gate it by the verifier (--reward gate)" in error
    assert "--monitor.action warn" in error
    assert [line["step"] for line in metrics_of(out)] == [0, 1]
    assert run(f"{watched} --monitor.action stop") == 2, "until something changes"
    capsys.readouterr()
    assert run(watched) == 0
    assert [line["step"] for line in metrics_of(out)] == [0, 1, 2]
    assert run(f"{WATCHED} --monitor.probes 2 --out {out}") == 2
    assert "monitor.probes was 1, is 2" in capsys.readouterr().err


def test_the_reward_model_beside_a_verifier_is_trained_further(
    here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A policy with random weights is never right, so there is nothing to pair: the model of before goes on."""
    out = tmp_path / "run"
    command = f"{WATCHED} --reward model --labeller math --iteration-steps 2 --out {out}".replace("--steps 2", "")
    assert run(f"{command} --steps 4") == 0
    assert "iteration 1: no pairs to train on" in capsys.readouterr().err
    assert record_of(out)["refresh"]["labeller"] == "math"
    rows = [json.loads(line) for line in (out / "completions.jsonl").read_text().splitlines()]
    assert [row["iteration"] for row in rows] == [0] * 8 + [1] * 8
    assert json.loads((out / "reward-models" / "1" / "refresh.json").read_text())["trained"] is False


BAD = [
    (f"{TINY} --reward-model reward --supervision process", "learns from steps, and --reward gate has none"),
    (f"{TINY} --reward gate", "--reward and --reward-weight say how a reward model counts: give --reward-model too"),
    (f"{TINY} --reward-weight 2", "give --reward-model too"),
    (f"{MODEL} --reward-weight 2", "--reward-weight is of a sum, not of gate: give --reward sum too"),
    (f"{MODEL} --reward shaped --reward-weight 2", "--reward-weight is of a sum, not of shaped"),
    (f"{MODEL} --reward sum --reward-weight inf", "reward_weight must be a finite number, got inf"),
    (f"{MODEL} --reward best", "best"),
    (f"{MODEL} --scorer reward", "beside --reward-model, --scorer is a verifier: math, gsm8k"),
    (f"{MODEL} --scorer choice", "beside --reward-model, --scorer is a verifier: math, gsm8k"),
    (f"{TINY} --reward-model missing", "--reward-model missing: no such folder"),
    (f"{TINY} --reward-model math", "--reward-model math: no such folder"),
    (f"{TINY} --reward-model policy", "policy: no reward model in it"),
    (f"{MODEL} --monitor.action stop", "--monitor watches a reward model on dev problems: give --reward-model and"),
    (f"{TINY} {DEV} --monitor.action stop", "give --reward-model and --dev-split too"),
    (f"{WATCHED} --monitor.action panic", "panic"),
    (f"{WATCHED} --monitor.probes 0", "probes must be at least 1, got 0"),
    (f"{WATCHED} --monitor.significance 2", "significance must be above 0 and below 1, got 2"),
    (f"{WATCHED} --supervision parts", "--reward gate has none: give --reward sum"),
    (f"{WATCHED} --labeller math", "give --iteration-steps too"),
    (f"{WATCHED} --labeller math --iteration-steps 1", "with --dev-every 1, give --iteration-steps 2 or more, got 1"),
    (f"{WATCHED} --refresh.replay-share 0.1", "give the --labeller too"),
]


@pytest.mark.parametrize(("command", "named"), BAD, ids=[command.removeprefix(TINY) for command, _ in BAD])
def test_bad_combinations_cost_one_line_and_leave_nothing(
    command: str, named: str, here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(f"{command} --out {tmp_path / 'out'}") == 2
    assert named in complaint(capsys)
    assert not (tmp_path / "out").exists()
