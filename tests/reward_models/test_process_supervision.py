"""A process model that was really trained, as the reward of GRPO: a good step is reinforced whatever follows it."""

import copy
import itertools
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import pytest
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from markscheme.generation import Completion, FinishReason
from markscheme.grpo.advantage import outcome_advantages, process_advantages
from markscheme.grpo.baselines.sft import SFTConfig, train_sft
from markscheme.grpo.config import GRPOConfig
from markscheme.grpo.rollout import Rollout, step_rewards
from markscheme.grpo.training import train_grpo
from markscheme.packing.sequences import TokenSequence
from markscheme.policy.make import make_model, make_tokenizer
from markscheme.problems import Problem
from markscheme.prompting import PromptFormat
from markscheme.reward_models import (
    LabelledSteps,
    ProcessRewardModel,
    RewardModelConfig,
    RewardNetwork,
    train_process_model,
)
from markscheme.run_log import RunLog
from markscheme.scoring import Sample
from markscheme.torch_engine import TorchEngine

PROBLEMS = [
    Problem(id=f"p{k}", question=f"Ada has {k} apples.", gold="", source="test", split="train") for k in range(40)
]
GOOD, WRONG = "Ada has apples", "Ada has pears"
FORM = PromptFormat(instruction="")
FIRST_GOOD, SECOND_GOOD = 0.5, 0.1
"""How often the policy takes a good step."""


class Text:
    """Text as tokens and back."""

    def __init__(self) -> None:
        self.tokenizer: PreTrainedTokenizerBase = make_tokenizer()

    def ids(self, text: str) -> tuple[int, ...]:
        return tuple(self.tokenizer.encode(text, add_special_tokens=False))

    def decode(self, ids: Sequence[int]) -> str:
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def prompt_ids(self, problem: Problem) -> tuple[int, ...]:
        return FORM.prompt_ids(problem.question, self.tokenizer)


@pytest.fixture(scope="module")
def text() -> Text:
    return Text()


@pytest.fixture(scope="module")
def policy(text: Text, tmp_path_factory: pytest.TempPathFactory) -> PreTrainedModel:
    """Writes two steps."""
    rng = random.Random(0)
    examples = []
    for problem in PROBLEMS * 40:
        steps = [GOOD if rng.random() < share else WRONG for share in (FIRST_GOOD, SECOND_GOOD)]
        ids = (*text.ids("\n".join(steps)), text.tokenizer.eos_token_id)
        examples.append(TokenSequence(prompt_ids=text.prompt_ids(problem), completion_ids=ids))
    model: PreTrainedModel = make_model(len(text.tokenizer), width=32, layers=2, seed=0)
    config = SFTConfig(learning_rate=1e-2, warmup_steps=10, decay_share=0.7)
    train_sft(model, examples, config, RunLog(tmp_path_factory.mktemp("sft"), {}))
    return model


@pytest.fixture(scope="module")
def model_folder(text: Text, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A process model, trained on labelled steps of other questions."""
    folder = tmp_path_factory.mktemp("process")
    make_model(len(text.tokenizer), width=32, layers=1, seed=1).save_pretrained(folder / "before")
    text.tokenizer.save_pretrained(folder / "before")
    network = RewardNetwork.from_pretrained(str(folder / "before"), kind="process")
    solutions = [
        LabelledSteps(
            prompt=f"Ada has {100 + k} apples.", steps=steps, labels=tuple(float(one == GOOD) for one in steps), id=""
        )
        for k, steps in enumerate([*itertools.product([GOOD, WRONG], repeat=2)] * 30)
    ]
    config = RewardModelConfig(learning_rate=1e-2, warmup_steps=5, batch_size=16, epochs=4)
    evaluation = train_process_model(network, solutions, config, RunLog(folder / "run", {}))
    assert evaluation.accuracy.value == 1.0
    network.save(folder / "model")
    return folder / "model"


@pytest.mark.parametrize("aggregate", ["prod", "min"])
def test_advantages_by_hand(text: Text, model_folder: Path, aggregate: Literal["prod", "min"]) -> None:
    # Steps are worth 1 or 0, near enough: (1, 1), (1, 0), (0, 0), (0, 1). By their product or least, completions are
    # worth 1, 0, 0, 0: mean 1/4, std 1/2, advantages 1.5 and three times -0.5, for every token.
    # The eight steps have mean 1/2 and std sqrt(8 / 4 / 7) = 0.535: +-0.935 each. So the tokens of the second
    # completion have 0.935 - 0.935 = 0 in its good step, which outcome supervision punishes, and -0.935 behind it.
    completions = ["\n".join(steps) for steps in ((GOOD, GOOD), (GOOD, WRONG), (WRONG, WRONG), (WRONG, GOOD))]
    scorer = ProcessRewardModel(model_folder, aggregate)
    scores = scorer.score([Sample(prompt=PROBLEMS[0].question, completion=one) for one in completions])
    group = [
        Rollout(
            problem=PROBLEMS[0],
            prompt_ids=text.prompt_ids(PROBLEMS[0]),
            completion=Completion(
                text=one,
                ids=(*text.ids(one), text.tokenizer.eos_token_id),
                logprobs=(0.0,) * 8,
                finish_reason=FinishReason.STOP,
            ),
            score=score,
        )
        for one, score in zip(completions, scores, strict=True)
    ]
    [outcome] = outcome_advantages([[one.score.value for one in group]])
    assert outcome == pytest.approx([1.5, -0.5, -0.5, -0.5], abs=0.02)
    process = process_advantages([step_rewards(one, text.decode) for one in group], [8] * 4)
    unit = 0.935
    for found, (first, second) in zip(process, [(2, 1), (0, -1), (-2, -1), (0, 1)], strict=True):
        # three tokens to a step; the line end and the end token belong to the second
        assert found == pytest.approx([first * unit] * 3 + [second * unit] * 5, abs=0.02)


def logprob_of_the_good_step(policy: PreTrainedModel, text: Text) -> float:
    """As the first one, on average over problems."""
    ids, found = text.ids(GOOD), []
    for problem in PROBLEMS[:8]:
        prompt = text.prompt_ids(problem)
        with torch.no_grad():
            logprobs = policy(torch.tensor([[*prompt, *ids]])).logits[0, len(prompt) - 1 : -1].log_softmax(-1)
        found.append(float(logprobs.gather(-1, torch.tensor(ids)[:, None]).sum()))
    return sum(found) / len(found)


def test_a_good_first_step_gains_more_than_under_outcome_supervision(
    text: Text, policy: PreTrainedModel, model_folder: Path, tmp_path: Path
) -> None:
    # The first step is good in a = 1/2 of all completions, the second in b = 1/10. By its least step a completion is
    # worth 1 in ab = 0.05 of all cases, std 0.22: on average a good first step has an advantage of b / 0.22 = 0.46 over
    # a wrong one, and a good second step one of a / 0.22 = 2.3. The steps are worth 0.3 on average, std 0.46: under
    # process supervision it is 1 / 0.46 = 2.2 for either. AdamW makes the sizes of their gradients alike; what is left
    # is how large a part the first step has in them.
    before = logprob_of_the_good_step(policy, text)
    assert before == pytest.approx(torch.tensor(FIRST_GOOD).log().item(), abs=0.1)
    rises = {}
    for supervision in ("outcome", "process"):
        rises[supervision] = 0.0
        for seed in (0, 1):
            trained = copy.deepcopy(policy)
            train_grpo(
                trained,
                TorchEngine(trained, text.tokenizer),
                ProcessRewardModel(model_folder, "min"),
                PROBLEMS,
                text.prompt_ids,
                GRPOConfig(
                    steps=10,
                    prompts_per_step=4,
                    group_size=8,
                    learning_rate=3e-4,
                    max_completion_tokens=10,
                    supervision=supervision,  # type: ignore[arg-type]
                    seed=seed,
                ),
                RunLog(tmp_path / f"{supervision}-{seed}", {}),
                decode=text.decode,
            )
            rises[supervision] += logprob_of_the_good_step(trained, text) - before
    assert rises["process"] > 1.15 * rises["outcome"] > 0
