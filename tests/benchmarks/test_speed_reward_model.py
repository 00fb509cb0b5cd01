"""The reward model benchmark beside TRL: that it compares like with like, not how fast anything is."""

import importlib.util
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from markscheme.benchmarks.speed import reward_model_worker
from markscheme.benchmarks.speed.reward_model import Settings, accuracy_difference, headlines
from markscheme.files import InputError
from markscheme.models import save_policy
from markscheme.policy.make import make_model, make_tokenizer
from markscheme.reward_models import PreferencePair, RewardNetwork

SETTINGS = {"learning_rate": 3e-3, "batch_size": 8, "epochs": 3, "warmup_steps": 2, "seed": 0}


@pytest.fixture(scope="module")
def arranged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """A model with a new head, pairs to train on, and others."""
    folder = tmp_path_factory.mktemp("benchmark")
    tokenizer = make_tokenizer()
    save_policy(make_model(len(tokenizer), width=32, layers=1, seed=0), tokenizer, folder / "policy")
    RewardNetwork.from_pretrained(str(folder / "policy"), seed=1).save(folder / "start")
    for name, numbers in (("train", range(40)), ("held_out", range(40, 60))):
        pairs = [
            PreferencePair(
                prompt=f"Ada has {k % 20} apples and {k // 20} pears?",
                chosen=f" It is {k} lemons.",
                rejected=f" It is {k} melons.{' And more.' * extra}",
                id=f"{k}/{extra}",
            )
            for k in numbers
            for extra in range(1 + k % 3)
        ]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(asdict(pair)) + "\n" for pair in pairs))
    return folder / "start", folder / "train.jsonl", folder / "held_out.jsonl"


@pytest.mark.parametrize(
    "contender",
    [
        "ours",
        pytest.param(
            "trl", marks=pytest.mark.skipif(not importlib.util.find_spec("trl"), reason="TRL is not installed")
        ),
    ],
)
def test_both_learn_from_the_same_pairs(contender: str, arranged: tuple[Path, Path, Path]) -> None:
    found = reward_model_worker.run(contender, *arranged, SETTINGS)
    assert found["accuracy"] > 0.9
    assert found["pairs"] == pytest.approx(3 * 79, abs=24)  # epochs times pairs, up to a batch
    assert found["seconds"] > 0
    assert found["peak_mb"] >= found["added_mb"] >= 0


RUNS: dict[str, list[dict[str, Any]]] = {
    "ours": [
        {"pairs": 100, "seconds": 1.0, "peak_mb": 500, "accuracy": 0.6},
        {"pairs": 100, "seconds": 1.0, "peak_mb": 700, "accuracy": 0.7},
    ],
    "trl": [
        {"pairs": 100, "seconds": 4.0, "peak_mb": 2_000, "accuracy": 0.6},
        {"pairs": 100, "seconds": 2.0, "peak_mb": 1_000, "accuracy": 0.68},
    ],
}


def test_headlines_by_hand() -> None:
    # 100 pairs/s over (25 + 50) / 2 = 37.5; 600 MB over 1,500; (0 + 0.02) / 2
    assert headlines(RUNS) == {"pairs_per_cpu_second": 2.67, "memory": 0.4, "accuracy_delta": 0.01}
    assert accuracy_difference(RUNS).mean == pytest.approx(0.01)


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(InputError, match=r"nowhere.jsonl: no such file; give --pairs"):
        Settings(pairs=Path("nowhere.jsonl"))
