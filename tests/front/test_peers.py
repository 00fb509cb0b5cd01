"""Other trainers and harnesses, each installed apart, with our verifier as their judge (`make test-peers`)."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

PEERS = Path(__file__).resolve().parents[1] / "peers"
pytestmark = pytest.mark.peers


def found(environment: str, script: str, out: Path) -> Any:
    """What a script prints in its last line, in one of the environments that `make test-peers` makes."""
    if "MARKSCHEME_PEERS" not in os.environ:
        pytest.skip("the environments of the peers are made by make test-peers")
    python = Path(os.environ["MARKSCHEME_PEERS"]) / environment / "bin" / "python"
    result = subprocess.run([python, PEERS / script, out], capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, result.stderr[-4_000:]
    return json.loads(result.stdout.splitlines()[-1])


def test_harnesses(tmp_path: Path) -> None:
    """Of four completions one is right, one wrong, one cannot be judged and one gives no answer."""
    judged = found("harnesses", "harnesses.py", tmp_path)
    third = pytest.approx(1 / 3)
    assert judged["by_lm_eval"] == {"correct": third, "unscored": 0.25}
    assert judged["by_inspect"] == {
        "name": "math",
        "scored": 3,
        "unscored": 1,
        "accuracy": third,
        "levels": [0, 1, 2, 3],
        "reasons": [None, None, "scoring_failed", "no_response"],
        "values": ["C", "I", None, "I"],
        "answers": ["2", "5"],
    }
    assert judged["by_evaluate"]["one"] == {"accuracy": third, "n": 3, "unscored": 1}
    assert judged["by_evaluate"]["lists"]["accuracy"] == 1.0
    right, wrong, unknown, silent = judged["by_verifiers"]
    assert (right["ok"], right["reward"]) == (True, 1.0)
    assert (wrong["ok"], wrong["reward"], silent["reward"]) == (True, 0.0, 0.0)
    assert (unknown["ok"], unknown["reward"]) == (False, None)
    assert "verifiers knows no missing reward" in unknown["errors"][0]


def test_verl(tmp_path: Path) -> None:
    judged = found("verl", "verl_rewards.py", tmp_path)
    for manager in ("naive", "dapo"):
        # the reward stands at the last token of the response, before the padding
        assert judged[manager]["rewards"] == [[0.0, 1.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
        assert [one["outcome"] for one in judged[manager]["extra"]] == ["correct", "incorrect", "no_answer"]
    unknown = judged["unscored as 0"]["extra"][3]
    assert (unknown["score"], unknown["acc"], unknown["unscored"]) == (0.0, None, 1.0)
    assert judged["not known"].startswith("UnscoredError: the scorer math could not tell")
