"""TRL's own trainer with our scorers as its rewards: two steps, and what a reward that is not known does there."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from markscheme.adapters import to_trl
from markscheme.models import load_policy
from markscheme.scoring import Outcome, Sample, Score
from markscheme.verifiers import MathVerifier

trl = pytest.importorskip("trl", reason="TRL is not installed")

MARKS = [1.0, 0.0, 1.0, 0.0, 1.0, None, 0.0, 0.0, None, None, None, None, 1.0, None, None, None]
"""Of four groups of four: all known, one not known, none known, one known."""


class Marks:
    """Gives these marks in turn."""

    name, version = "marks", "1"

    def score(self, samples: Sequence[Sample]) -> list[Score]:
        assert len(samples) == len(MARKS)
        return [Score(value=mark, outcome=Outcome.UNDECIDED if mark is None else Outcome.RATED) for mark in MARKS]


def trained(reward: Any, out: Path, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> tuple[list[Any], list[Any]]:
    """The advantages of each step, one row a group, and what was logged."""
    from datasets import Dataset

    policy, tokenizer = load_policy("embedded", None, "float32")
    tokenizer.padding_side = "left"
    rows = [
        {"prompt": f"Ann has {k} apples and buys {k} more. How many apples does Ann have?", "answer": str(2 * k)}
        for k in range(2, 10)
    ]
    advantages: list[Any] = []

    class Trainer(trl.GRPOTrainer):  # type: ignore[misc]
        def _generate_and_score_completions(self, inputs: Any) -> Any:
            found = super()._generate_and_score_completions(inputs)
            advantages.append(found["advantages"].view(-1, 4).tolist())
            return found

    arguments = trl.GRPOConfig(
        output_dir=str(out),
        per_device_train_batch_size=16,
        num_generations=4,
        max_completion_length=12,
        max_steps=2,
        logging_steps=1,
        report_to=[],
        use_cpu=True,
        save_strategy="no",
        shuffle_dataset=False,
        disable_tqdm=True,
        seed=1,
        **settings,
    )
    monkeypatch.setattr(logging.getLogger("trl"), "disabled", True)
    trainer = Trainer(
        model=policy, reward_funcs=reward, args=arguments, train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
    )  # fmt: skip
    trainer.train()
    return advantages, trainer.state.log_history


@pytest.mark.parametrize("run_async", [False, True], ids=["sync", "async"])
def test_a_reward_that_is_not_known_has_the_advantage_0(
    run_async: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps, logged = trained(to_trl(Marks(), run_async=run_async), tmp_path, monkeypatch)
    assert len(steps) == 2
    for all_known, one_missing, none_known, one_known in steps:
        assert all_known == pytest.approx([0.866, -0.866, 0.866, -0.866], abs=1e-3)
        # 1, 0, 0 have the mean 1/3 and the deviation 0.577
        assert one_missing == pytest.approx([1.1547, 0.0, -0.5774, -0.5774], abs=1e-3)
        assert one_missing[1] == 0.0
        assert none_known == [0.0] * 4
        assert one_known == [0.0] * 4
    assert [line["rewards/marks/unscored"] for line in logged[:2]] == [0.5, 0.5]
    assert [line["rewards/marks/mean"] for line in logged[:2]] == pytest.approx([0.5, 0.5], abs=1e-6)


def test_the_verifier_trains_a_policy_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps, logged = trained(to_trl(MathVerifier()), tmp_path, monkeypatch)
    assert len(steps) == 2
    for line in logged[:2]:
        assert 0 <= line["rewards/math/mean"] <= 1
        assert line["rewards/math/unscored"] == 0
    assert all(torch.isfinite(torch.tensor(step)).all() for step in steps)
