"""What is served is what was trained: in training, in evaluation, as a file's scorer and as a reward of GRPO."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from markscheme.grpo.config import GRPOConfig
from markscheme.grpo.training import train_grpo
from markscheme.models import load_policy
from markscheme.problems import Problem
from markscheme.prompting import PromptFormat
from markscheme.reward_models import (
    PreferencePair,
    RewardModel,
    RewardModelConfig,
    RewardNetwork,
    compared,
    evaluate_pairs,
    split_by_question,
    train_reward_model,
)
from markscheme.reward_models.examples import encode
from markscheme.reward_models.objective import loss_of
from markscheme.run_log import RunLog
from markscheme.scoring import Sample
from markscheme.torch_engine import TorchEngine

CONFIG = RewardModelConfig(learning_rate=3e-3, warmup_steps=2, batch_size=16, epochs=1, held_out_share=0.25)
TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def trained(policy_folder: Path, lemon_pairs: list[PreferencePair], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a reward model that learned a little."""
    folder = tmp_path_factory.mktemp("served")
    network = RewardNetwork.from_pretrained(str(policy_folder), seed=1)
    train_reward_model(network, compared(lemon_pairs), CONFIG, RunLog(folder / "run", {}))
    network.save(folder / "model")
    return folder / "model"


def test_the_leads_in_training_are_the_differences_of_served_scores(
    trained: Path, lemon_pairs: list[PreferencePair]
) -> None:
    network, scorer = RewardNetwork.load(trained), RewardModel(trained)
    _, leads = loss_of(network, [encode(network, one) for one in compared(lemon_pairs[:20])], CONFIG)
    for pair, lead in zip(lemon_pairs[:20], leads, strict=True):
        both = [Sample(prompt=pair.prompt, completion=text) for text in (pair.chosen, pair.rejected)]
        better, worse = (float(score.evidence["reward"]) for score in scorer.score(both))
        assert better - worse == pytest.approx(lead, abs=TOLERANCE)


def test_the_evaluation_after_training_is_the_evaluation_of_the_scorer(
    policy_folder: Path, lemon_pairs: list[PreferencePair], tmp_path: Path
) -> None:
    network = RewardNetwork.from_pretrained(str(policy_folder), seed=1)
    after_training = train_reward_model(network, compared(lemon_pairs), CONFIG, RunLog(tmp_path / "run", {}))
    network.save(tmp_path / "model")
    _, held_out = split_by_question(lemon_pairs, CONFIG.held_out_share)
    served = evaluate_pairs(RewardModel(tmp_path / "model"), held_out)
    # The scorer's leads are in standard deviations: only the probabilities of them differ.
    assert replace(served, calibration=after_training.calibration) == after_training


def test_a_reward_of_grpo_is_the_reward_of_the_question_and_the_text(
    trained: Path, policy_folder: Path, tmp_path: Path
) -> None:
    policy, tokenizer = load_policy(str(policy_folder))
    form = PromptFormat(instruction="")
    log = RunLog(tmp_path / "run", {})
    problems = [
        Problem(id=f"p{k}", question=f"Ada has {k} apples?", gold="1", source="test", split="train") for k in range(4)
    ]
    train_grpo(
        policy,
        TorchEngine(policy, tokenizer),
        RewardModel(trained, token_budget=64),
        problems,
        lambda problem: form.prompt_ids(problem.question, tokenizer),
        GRPOConfig(steps=2, prompts_per_step=4, group_size=4, max_completion_tokens=12, logged_groups=4),
        log,
    )
    rows = log.read("completions.jsonl")
    assert len(rows) == 2 * 4 * 4
    network = RewardNetwork.load(trained)
    expected = network.rewards([network.encode(row["question"], row["completion"]) for row in rows], 10_000)
    assert [row["score"]["evidence"]["reward"] for row in rows] == pytest.approx(expected, abs=TOLERANCE)
    # And as another library reads the saved model, one text at a time: prompt, completion, end token.
    model = AutoModelForSequenceClassification.from_pretrained(trained)
    other = AutoTokenizer.from_pretrained(trained)
    for row, reward in zip(rows[:6], expected, strict=False):
        text = form.render(row["question"], other) + row["completion"] + other.eos_token
        ids = other(text, add_special_tokens=False, return_tensors="pt")
        with torch.no_grad():
            assert float(model(**ids).logits[0, 0]) == pytest.approx(reward, abs=TOLERANCE)
