"""The loop: its gradient against a plain one, its bookkeeping, and that it goes on bit by bit."""

import copy
import dataclasses
import math
import random
import re
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast, get_args
from unittest.mock import patch

import pytest
import torch
from torch.distributed.checkpoint.format_utils import dcp_to_torch_save
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from markscheme.adapters import as_scorer
from markscheme.compose import WeightedSum
from markscheme.files import InputError
from markscheme.generation import Completion, FinishReason, Generator, Request, Sampling
from markscheme.grpo.advantage import Estimator, outcome_advantages
from markscheme.grpo.baselines.ppo import Critic, CriticConfig
from markscheme.grpo.batch import Draw, by_critic, update_critic
from markscheme.grpo.config import PRESETS, GRPOConfig
from markscheme.grpo.objective import Objective
from markscheme.grpo.rollout import Rollout, UnscoredError, score_metrics, step_rewards
from markscheme.grpo.training import _warn_of_silence, train_grpo
from markscheme.grpo.update import MismatchError, _Batch, trained_of, update_policy
from markscheme.models import add_lora
from markscheme.optimizer import take_step
from markscheme.packing.attention import attend_packed
from markscheme.packing.layout import pack_rows
from markscheme.problems import Problem
from markscheme.prompting import PromptFormat
from markscheme.run_log import RunLog
from markscheme.scoring import Outcome, Sample, Score, Scorer, StepScore
from markscheme.torch_engine import TorchEngine, _Writer

PROBLEMS = [
    Problem(id=f"p{i}", question=f"Mia has {i} eggs. How many eggs?", gold=str(i), source="test", split="train")
    for i in range(20)
]
CONFIG = GRPOConfig(
    steps=6,
    prompts_per_step=3,
    group_size=4,
    learning_rate=1e-2,
    max_completion_tokens=8,
    checkpoint_every=2,
    dev_every=3,
)


def digits(sample: Sample) -> float:
    """A reward that a random model sometimes earns: the share of digits among what was written."""
    return sum(character.isdigit() for character in sample.completion) / max(1, len(sample.completion))


def train(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    config: GRPOConfig = CONFIG,
    reward=digits,  # type: ignore[no-untyped-def]
    on_step=lambda step, metrics: None,  # type: ignore[no-untyped-def]
    **options: Any,
) -> list[dict[str, float]]:
    log = RunLog(folder, {"grpo": dataclasses.asdict(config)})
    form = PromptFormat(instruction="")
    train_grpo(
        model,
        TorchEngine(model, tokenizer),
        reward if isinstance(reward, Scorer) else as_scorer(reward),
        PROBLEMS,
        lambda problem: form.prompt_ids(problem.question, tokenizer),
        config,
        log,
        dev_problems=PROBLEMS[:4],
        decode=lambda ids: str(
            tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)
        ),
        critic=Critic(model, CriticConfig(learning_rate=1e-3)) if config.estimator == "gae" else None,
        on_step=on_step,
        **options,
    )
    return log.read()


def rollout(completion_ids: Sequence[int], reward: float | None) -> Rollout:
    outcome = Outcome.RATED if reward is not None else Outcome.FAILED
    return Rollout(
        problem=PROBLEMS[0],
        prompt_ids=(5, 6, 7),
        completion=Completion(
            text="", ids=tuple(completion_ids), logprobs=(0.0,) * len(completion_ids), finish_reason=FinishReason.STOP
        ),
        score=Score(value=reward, outcome=outcome),
    )


GROUPS = [
    [rollout([10, 11], 1.0), rollout([12, 13, 14, 15], 0.0), rollout([16], 0.0)],
    [rollout([20], 1.0), rollout([21], 1.0), rollout([22], 1.0)],  # nothing to compare: never forwarded
    [rollout([30, 31, 32], 0.5), rollout([33], None), rollout([34, 35], 0.0)],
]


ANY_SAMPLER = patch.dict("markscheme.grpo.update.MISMATCH", {torch.float32: (math.inf, math.inf)})
"""The log-probabilities of these rollouts are made up."""
ADVANTAGES = outcome_advantages([[r.score.value for r in group] for group in GROUPS])


def token_advantages() -> list[list[list[float]]]:
    return [
        [[a] * len(r.completion.ids) for a, r in zip(advantages, group, strict=True)]
        for advantages, group in zip(ADVANTAGES, GROUPS, strict=True)
    ]


def gradient_of(model: PreTrainedModel, config: GRPOConfig, reference: PreTrainedModel | None = None) -> torch.Tensor:
    """The gradient that a step's update sees, caught where it is clipped."""
    caught: list[torch.Tensor] = []
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)

    def catch(*_: object) -> None:
        caught.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))

    optimizer.register_step_pre_hook(catch)
    attend_packed(model)
    advantages = token_advantages()
    still = dataclasses.replace(config, learning_rate=1e-30)  # the weights must not move
    with ANY_SAMPLER:
        update_policy(model, reference, optimizer, GROUPS, advantages, still, 0, pack_rows)
    return caught[0]


def plain_logprobs(model: PreTrainedModel, one: Rollout) -> torch.Tensor:
    ids = torch.tensor([one.prompt_ids + one.completion.ids])
    logprobs = model(ids).logits[0, 2:-1].log_softmax(-1)
    return logprobs.gather(-1, torch.tensor(one.completion.ids)[:, None])[:, 0]


def plain_gradient(model: PreTrainedModel, loss: torch.Tensor) -> torch.Tensor:
    model.zero_grad()
    loss.backward()
    found = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
    model.zero_grad()
    return found


def assert_equal_gradients(found: torch.Tensor, expected: torch.Tensor) -> None:
    assert float((found - expected).norm()) <= 1e-5 * float(expected.norm())


SCORED = [
    (one, advantage, len([r for r in group if r.score.value is not None]))
    for group, advantages in zip(GROUPS, ADVANTAGES, strict=True)
    for one, advantage in zip(group, advantages, strict=True)
    if one.score.value is not None
]


@pytest.mark.parametrize("token_budget", [1, 8, 10, 4_096])
def test_the_gradient_is_equation_3_written_plainly(tiny_model: PreTrainedModel, token_budget: int) -> None:
    total = torch.zeros(())
    for one, advantage, scored in SCORED:
        chosen = plain_logprobs(tiny_model, one)
        ratio = (chosen - chosen.detach()).exp()
        total = total - (ratio * advantage).mean() / scored / len(GROUPS)
    expected = plain_gradient(tiny_model, total)
    config = GRPOConfig(max_grad_norm=1e9, token_budget=token_budget)
    assert_equal_gradients(gradient_of(tiny_model, config), expected)


def test_the_gradient_of_the_token_mean_with_a_divergence_written_plainly(tokenizer: PreTrainedTokenizerBase) -> None:
    from markscheme.policy.make import make_model

    model, reference = (make_model(len(tokenizer), width=32, layers=2, seed=seed) for seed in (0, 1))
    tokens = sum(len(one.completion.ids) for one, _, _ in SCORED)
    total = torch.zeros(())
    for one, advantage, _ in SCORED:  # those without an advantage too: the divergence moves them
        chosen = plain_logprobs(model, one)
        with torch.no_grad():
            log_ratio = plain_logprobs(reference, one) - chosen
        log_ratio = log_ratio + chosen.detach() - chosen
        ratio = (chosen - chosen.detach()).exp()
        total = total - (ratio * advantage - 0.3 * (log_ratio.exp() - log_ratio - 1)).sum() / tokens
    expected = plain_gradient(model, total)
    attend_packed(reference)
    objective = Objective(average="token", kl="k3", kl_coef=0.3)
    config = GRPOConfig(max_grad_norm=1e9, token_budget=8, objective=objective)
    assert_equal_gradients(gradient_of(model, config, reference), expected)


def test_the_divergence_in_the_reward_written_plainly(tokenizer: PreTrainedTokenizerBase) -> None:
    from markscheme.policy.make import make_model

    model, reference = (make_model(len(tokenizer), width=32, layers=2, seed=seed) for seed in (0, 1))
    total = torch.zeros(())
    for one, advantage, scored in SCORED:
        with torch.no_grad():  # the sampler says 0 for each token, so k1 is minus the reference's log-probability
            charged = -plain_logprobs(reference, one)
            to_go = torch.stack([charged[t:].sum() for t in range(len(charged))])
        total = total - ((advantage - 0.3 * to_go) * plain_logprobs(model, one)).mean() / scored / len(GROUPS)
    expected = plain_gradient(model, total)
    attend_packed(reference)
    objective = Objective(kl="k1_reward", kl_coef=0.3)
    config = GRPOConfig(max_grad_norm=1e9, token_budget=8, objective=objective)
    assert_equal_gradients(gradient_of(model, config, reference), expected)


def test_the_gradient_of_the_entropy_written_plainly(tiny_model: PreTrainedModel) -> None:
    total = torch.zeros(())
    for one, advantage, scored in SCORED:
        ids = torch.tensor([one.prompt_ids + one.completion.ids])
        logprobs = (tiny_model(ids).logits[0, 2:-1] / 0.7).log_softmax(-1)
        entropy = -(logprobs.exp() * logprobs).sum(-1)
        chosen = logprobs.gather(-1, torch.tensor(one.completion.ids)[:, None])[:, 0]
        total = total - (chosen * advantage + 0.2 * entropy).mean() / scored / len(GROUPS)
    expected = plain_gradient(tiny_model, total)
    for token_budget in (8, 4_096):
        config = GRPOConfig(
            max_grad_norm=1e9, token_budget=token_budget, temperature=0.7, objective=Objective(entropy_coef=0.2)
        )
        assert_equal_gradients(gradient_of(tiny_model, config), expected)


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("token_budget", [1, 10])
def test_rows_and_chunks_cannot_change_the_gradient(
    tiny_model: PreTrainedModel, name: str, token_budget: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    objective = dataclasses.replace(PRESETS[name].objective, kl_coef=0.0)
    whole = gradient_of(tiny_model, GRPOConfig(max_grad_norm=1e9, token_budget=100_000, objective=objective))
    monkeypatch.setattr("markscheme.grpo.head.chunk_rows", lambda head: 1)  # a token at a time
    config = GRPOConfig(max_grad_norm=1e9, token_budget=token_budget, objective=objective)
    assert_equal_gradients(gradient_of(tiny_model, config), whole)


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("ranks", [2, 3, 10])
def test_ranks_that_add_their_gradients_up_cannot_change_them(
    tiny_model: PreTrainedModel, name: str, ranks: int
) -> None:
    """Each takes some of the completions; there may be more ranks than completions."""
    objective = dataclasses.replace(PRESETS[name].objective, kl_coef=0.0)
    config = GRPOConfig(max_grad_norm=1e9, token_budget=100, objective=objective)
    whole = gradient_of(tiny_model, config)
    tiny_model.zero_grad()
    trained = trained_of(GROUPS, token_advantages(), config)
    for rank in range(ranks):
        _Batch(tiny_model, None, trained[rank::ranks], config, pack_rows, on_policy=True).backward()
    added_up = torch.cat([p.grad.flatten() for p in tiny_model.parameters() if p.grad is not None])
    assert_equal_gradients(added_up, whole)


def test_groups_without_variance_are_never_forwarded(tiny_model: PreTrainedModel) -> None:
    tokens: list[int] = []
    handle = tiny_model.base_model.register_forward_pre_hook(
        lambda module, args, kwargs: tokens.append(kwargs["input_ids"].numel()), with_kwargs=True
    )
    gradient_of(tiny_model, GRPOConfig())
    handle.remove()
    # One prompt of 3 for all; of the first group 1 + 3 + 0 tokens predict something, of the last 2 + 1.
    assert sum(tokens) == 3 + 4 + 3


def test_truncated_completions_can_be_left_out(tiny_model: PreTrainedModel) -> None:
    cut_off = dataclasses.replace(GROUPS[0][1].completion, finish_reason=FinishReason.LENGTH)
    groups = [[GROUPS[0][0], dataclasses.replace(GROUPS[0][1], completion=cut_off), GROUPS[0][2]], *GROUPS[1:]]
    config = GRPOConfig(drop_truncated=True)
    advantages = [[[a] * len(r.completion.ids) for a, r in zip(*pair, strict=True)]
                  for pair in zip(ADVANTAGES, groups, strict=True)]  # fmt: skip
    trained = trained_of(groups, advantages, config)
    assert [one.sequence.completion_ids for one in trained] == [(10, 11), (16,), (30, 31, 32), (34, 35)]
    assert [one.weight for one in trained] == pytest.approx([1 / 12, 1 / 6, 1 / 18, 1 / 12])  # of 2, 1, 3 and 2 tokens


def test_every_problem_is_in_one_mini_batch(tiny_model: PreTrainedModel) -> None:
    attend_packed(tiny_model)
    seen: list[int] = []
    optimizer = torch.optim.SGD(tiny_model.parameters(), lr=0.0)
    optimizer.register_step_post_hook(lambda *_: seen.append(1))
    advantages = [[[a] * len(r.completion.ids) for a, r in zip(*pair, strict=True)]
                  for pair in zip(ADVANTAGES, GROUPS, strict=True)]  # fmt: skip
    config = GRPOConfig(mini_batches=3, updates_per_batch=2, prompts_per_step=3)
    with ANY_SAMPLER:
        metrics = update_policy(tiny_model, None, optimizer, GROUPS, advantages, config, 0, pack_rows)
    assert len(seen) == 4  # the group without variance has no step
    assert metrics["trained_completions"] == 5


def test_an_on_policy_step_has_ratio_one(
    tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    lines = [line for line in train(tiny_model, tokenizer, tmp_path / "run") if line.get("trained_completions")]
    assert lines
    for line in lines:
        assert line["clipped_low_share"] == line["clipped_high_share"] == 0
        assert line["ratio"] == pytest.approx(1)
        assert line["sampler_mismatch"] < 1e-5


@pytest.mark.parametrize(("shift", "problem"), [(0.01, None), (0.5, MismatchError)])
def test_a_sampler_with_other_weights_is_noticed(
    tiny_model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    shift: float,
    problem: type[Exception] | None,
) -> None:
    completion = _Writer.completion

    def shifted(self: _Writer, *arguments: Any) -> Completion:
        found = completion(self, *arguments)
        return dataclasses.replace(found, logprobs=tuple(logprob - shift for logprob in found.logprobs))

    monkeypatch.setattr(_Writer, "completion", shifted)
    before = {name: weight.clone() for name, weight in tiny_model.state_dict().items()}
    config = dataclasses.replace(CONFIG, steps=1, prompts_per_step=8, mini_batches=2)
    if problem is None:
        with pytest.warns(UserWarning, match=r"off by 0\.01 a token on average"):
            lines = train(tiny_model, tokenizer, tmp_path / "run", config)
        assert lines[-1]["sampler_mismatch"] == pytest.approx(shift, rel=1e-2)
        return
    with pytest.raises(problem, match=r"off by 0\.5 a token on average: it may hold other weights"):
        train(tiny_model, tokenizer, tmp_path / "run", config)
    assert all(torch.equal(weight, before[name]) for name, weight in tiny_model.state_dict().items())


def test_it_learns(tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    config = dataclasses.replace(CONFIG, steps=25, prompts_per_step=8)
    lines = train(tiny_model, tokenizer, tmp_path / "run", config)[1:]
    assert sum(line["reward"] for line in lines[-5:]) > 3 * sum(line["reward"] for line in lines[:5])


class WordByWord:
    """Values each word: the share of digits in it."""

    name, version = "words", "1"

    def score(self, samples: Sequence[Sample]) -> list[Score]:
        return [self._score(sample.completion) for sample in samples]

    def _score(self, text: str) -> Score:
        words = list(re.finditer(r"\S+", text))
        steps = tuple(StepScore(end=word.end(), value=sum(map(str.isdigit, word[0])) / len(word[0])) for word in words)
        return Score(value=sum(step.value for step in steps), outcome=Outcome.RATED, steps=steps)


def test_process_supervision_learns(
    tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    config = dataclasses.replace(CONFIG, steps=25, prompts_per_step=8, supervision="process")
    lines = train(tiny_model, tokenizer, tmp_path / "run", config, WordByWord())[1:]
    assert sum(line["reward"] for line in lines[-5:]) > 3 * sum(line["reward"] for line in lines[:5])


def test_process_supervision_without_steps_is_outcome_supervision(
    tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    """Which is said, once."""
    from markscheme.policy.make import make_model

    def run(supervision: Any) -> list[dict[str, float]]:
        model = make_model(len(tokenizer), width=32, layers=2, seed=0)
        return train(model, tokenizer, tmp_path / supervision, dataclasses.replace(CONFIG, supervision=supervision))

    with pytest.warns(
        UserWarning, match="the scorer digits gave no completion of the first step values of its steps"
    ) as said:
        by_process = run("process")
    assert len(said) == 1
    assert by_process == run("outcome")


class NothingOfShort(WeightedSum):
    """Has no reward for completions of fewer than three characters."""

    def score(self, samples: Sequence[Sample]) -> list[Score]:
        missing = Score(value=None, outcome=Outcome.FAILED)
        scores = WeightedSum.score(self, samples)
        return [score if len(one.completion) > 2 else missing for one, score in zip(samples, scores, strict=True)]


def test_rewards_are_compared_part_by_part() -> None:
    length = as_scorer(lambda sample: 1000.0 * len(sample.completion), name="length")
    scorer = NothingOfShort({"digits": (as_scorer(digits), 1.0), "length": (length, 0.5)})
    texts = ["1 a", "22 bb", "ccc", "7"]
    groups = [
        [
            Rollout(
                problem=PROBLEMS[0],
                prompt_ids=(1,),
                completion=Completion(text=text, ids=(5,), logprobs=(0.0,), finish_reason=FinishReason.STOP),
                score=score,
            )
            for text, score in zip(
                texts, scorer.score([Sample(prompt="", completion=one, gold="") for one in texts]), strict=True
            )
        ]
    ]
    config = dataclasses.replace(CONFIG, supervision="parts")
    draw = Draw(
        generator=cast("Generator", None),
        scorer=scorer,
        problems=PROBLEMS,
        prompt_ids=lambda problem: (1,),
        config=config,
        decode=None,
        critic=None,
    )
    found = [one for (one,) in draw._compared(groups, None)[0]]
    # digits: 1/3, 2/5, 0, of mean .2444 and std .2143; length: 3000, 5000, 3000, of mean 3667 and std 1155
    assert found == pytest.approx([0.4148 - 0.5 * 0.5774, 0.7259 + 0.5 * 1.1547, -1.1407 - 0.5 * 0.5774, 0.0], abs=1e-3)
    with pytest.raises(ValueError, match="takes a WeightedSum as scorer, got 'digits'"):
        dataclasses.replace(draw, scorer=as_scorer(digits))


def test_by_parts_of_one_part_is_outcome_supervision(tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    from markscheme.policy.make import make_model

    runs = []
    for supervision in ("outcome", "parts"):
        model = make_model(len(tokenizer), width=32, layers=2, seed=0)
        config = dataclasses.replace(CONFIG, supervision=supervision)
        scorer = WeightedSum({"digits": (as_scorer(digits), 1.0)})
        runs.append(train(model, tokenizer, tmp_path / supervision, config, scorer))
    assert runs[0] == runs[1]


def test_process_supervision_needs_to_find_the_tokens(
    tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    config = dataclasses.replace(CONFIG, supervision="process")
    log = RunLog(tmp_path, {})
    engine = TorchEngine(tiny_model, tokenizer)
    with pytest.raises(ValueError, match="process supervision needs decode"):
        train_grpo(tiny_model, engine, as_scorer(digits), PROBLEMS, lambda problem: (1,), config, log)


def test_where_steps_end_in_tokens() -> None:
    def decode(ids: Sequence[int]) -> str:
        return "".join({1: "so ", 2: "2", 3: " + 2", 4: " = 4", 5: "\n", 6: ""}[one] for one in ids)

    ids = (1, 2, 3, 5, 4, 5, 6)  # "so 2 + 2\n = 4\n" and an end token
    completion = Completion(text=decode(ids), ids=ids, logprobs=(0.0,) * 7, finish_reason=FinishReason.STOP)

    def of(*steps: tuple[int, float], value: float | None = 1.0) -> list[tuple[int, float]] | None:
        score = Score(
            value=value,
            outcome=Outcome.RATED if value is not None else Outcome.FAILED,
            steps=tuple(StepScore(end=end, value=worth) for end, worth in steps),
        )
        return step_rewards(Rollout(problem=PROBLEMS[0], prompt_ids=(9,), completion=completion, score=score), decode)

    assert of((4, 0.5)) == [(1, 0.5)]  # "so 2" ends with the second token
    assert of((8, 0.5), (13, 0.2)) == [(2, 0.5), (6, 0.2)]  # what ends the text ends with the last token
    assert of((6, 0.5)) == [(2, 0.5)]  # within " + 2": the token that brings it
    assert of() == [(6, 1.0)]
    assert of(value=None) is None


def test_groups_without_variance_are_replaced(
    tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    def rare(sample: Sample) -> float:
        """Nothing is to be learned about four problems of five."""
        return digits(sample) if int((sample.id or "p0")[1:]) % 5 == 0 else 0.0

    config = dataclasses.replace(CONFIG, steps=4, prompts_per_step=4, max_completion_tokens=16, dev_every=100)
    without = train(tiny_model, tokenizer, tmp_path / "without", config, rare)[1:]
    refilled = dataclasses.replace(config, refill_rounds=6)
    lines = train(tiny_model, tokenizer, tmp_path / "refilled", refilled, rare)[1:]
    assert sum(line["refilled_groups"] for line in lines) > 0
    assert sum(line["trained_completions"] for line in lines) > 2 * sum(line["trained_completions"] for line in without)
    assert all(line["trained_completions"] <= 4 * 4 for line in lines)


@pytest.mark.parametrize("estimator", get_args(Estimator))
def test_every_estimator_trains(
    tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, tmp_path: Path, estimator: Estimator
) -> None:
    config = dataclasses.replace(CONFIG, steps=2, estimator=estimator)
    assert any(line.get("trained_completions") for line in train(tiny_model, tokenizer, tmp_path / "run", config))


def test_the_kl_term_holds_the_policy_back(tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    from markscheme.policy.make import make_model

    moved = {}
    for kl_coef in (1e-6, 10.0):
        model = make_model(len(tokenizer), width=32, layers=2, seed=0)
        config = dataclasses.replace(CONFIG, steps=8, objective=Objective(kl_coef=kl_coef), updates_per_batch=2)
        moved[kl_coef] = train(model, tokenizer, tmp_path / str(kl_coef), config)[-1]["kl"]
    assert 0 <= moved[10.0] < 0.5 * moved[1e-6]


def test_the_run_folder_tells_the_run(
    tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    lines = train(tiny_model, tokenizer, tmp_path / "run")
    assert [line["step"] for line in lines] == [0, 1, 2, 3, 4, 5, 6]
    assert [line["step"] for line in lines if "dev_reward" in line] == [0, 3, 6]
    assert all("reward" in line for line in lines[1:])
    assert {path.name for path in (tmp_path / "run").iterdir()} == {
        "config.toml", "versions.json", "metrics.jsonl", "timings.jsonl", "completions.jsonl", "checkpoints",
    }  # fmt: skip
    table = RunLog(tmp_path / "run", {"grpo": dataclasses.asdict(CONFIG)}).read("completions.jsonl")
    assert len(table) == 6 * 4
    assert table[0].keys() >= {"question", "gold", "completion", "finish_reason", "score", "advantage"}
    assert [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()] == ["step-0000006"]


def test_the_reference_is_renewed_with_each_iteration_and_so_may_be_the_reward(
    tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    config = dataclasses.replace(CONFIG, objective=Objective(kl_coef=0.01), iteration_steps=2, logged_groups=1)
    told: list[int] = []

    def next_scorer(iteration: int) -> Scorer:
        told.append(len(RunLog(tmp_path / "run", record).read("completions.jsonl")))
        return as_scorer(digits, name="digits", version=str(iteration))

    record = {"grpo": dataclasses.asdict(config)}
    reward = as_scorer(digits, name="digits", version="0")
    lines = train(tiny_model, tokenizer, tmp_path / "run", config, reward, next_scorer=next_scorer)
    kl = [line["kl"] for line in lines if "kl" in line]
    assert kl[0] == kl[2] == kl[4] == 0
    assert min(kl[1], kl[3], kl[5]) > 0
    assert told == [2 * 4, 4 * 4], "each is made once, when the iteration before is in the log"
    table = RunLog(tmp_path / "run", record).read("completions.jsonl")
    assert [(row["step"], row["iteration"], row["scorer"]) for row in table[::4]] == [
        (1, 0, "digits 0"), (2, 0, "digits 0"), (3, 1, "digits 1"), (4, 1, "digits 1"), (5, 2, "digits 2"),
        (6, 2, "digits 2"),
    ]  # fmt: skip


def test_with_a_critic_the_reward_comes_with_the_last_token(tiny_model: PreTrainedModel) -> None:
    """Values .5, .25 and a reward of 1: with gamma = lambda = 1 each token has the reward less its value."""
    critic = Critic(tiny_model, CriticConfig(learning_rate=1e-3))
    group = [rollout([1, 2], 1.0), rollout([3], None)]
    with patch.object(critic, "values", return_value=[[0.5, 0.25], [0.125]]):
        batch = by_critic([group], critic)
    assert batch.advantages_PGT == [[[0.5, 0.75], [0.0]]]
    with patch.object(critic, "update", return_value={}) as update:
        update_critic(critic, batch, CONFIG, 3)
    sequences, returns, old_values, step, num_steps = update.call_args.args
    assert [one.completion_ids for one in sequences] == [(1, 2)]
    assert (returns, old_values, step, num_steps) == ([[1.0, 1.0]], [[0.5, 0.25]], 3, CONFIG.steps)


class InterruptionError(Exception):
    pass


@pytest.mark.parametrize("stop_after", [1, 2, 3, 5])
def test_an_interrupted_run_goes_on_bit_by_bit(
    tokenizer: PreTrainedTokenizerBase, tmp_path: Path, stop_after: int
) -> None:
    from markscheme.policy.make import make_model

    undisturbed = make_model(len(tokenizer), width=32, layers=2, seed=0)
    config = dataclasses.replace(
        CONFIG, objective=Objective(kl_coef=0.01), updates_per_batch=2, mini_batches=2, refill_rounds=2
    )
    train(undisturbed, tokenizer, tmp_path / "a", config)

    def stop(step: int, metrics: object) -> None:
        if step == stop_after:
            raise InterruptionError

    with pytest.raises(InterruptionError):
        train(make_model(len(tokenizer), width=32, layers=2, seed=0), tokenizer, tmp_path / "b", config, on_step=stop)
    resumed = make_model(len(tokenizer), width=32, layers=2, seed=0)
    train(resumed, tokenizer, tmp_path / "b", config)

    for name in ("metrics.jsonl", "completions.jsonl"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    for mine, theirs in zip(undisturbed.state_dict().values(), resumed.state_dict().values(), strict=True):
        assert torch.equal(mine, theirs)


IN_STEPS: dict[str, dict[str, Any]] = {
    "several mini-batches, a reference, refilling": {
        "objective": Objective(kl_coef=0.01),
        "updates_per_batch": 2,
        "mini_batches": 2,
        "refill_rounds": 2,
    },
    "old log-probabilities of the first pass": {"updates_per_batch": 3},
    "a reference that is renewed": {
        "objective": Objective(kl_coef=0.1),
        "updates_per_batch": 2,
        "iteration_steps": 2,
    },
    "an adapter of coarse weights": {"objective": Objective(kl_coef=0.01), "updates_per_batch": 2},
    "a critic": {"estimator": "gae", "updates_per_batch": 2, "mini_batches": 2},
    "a divergence in the reward": {
        "objective": Objective(kl="k1_reward", kl_coef=0.1),
        "updates_per_batch": 2,
        "mini_batches": 3,
    },
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_reference_of_an_adapter_is_the_policy_without_it(
    tokenizer: PreTrainedTokenizerBase, tmp_path: Path, dtype: torch.dtype
) -> None:
    from markscheme.policy.make import make_model

    model = make_model(len(tokenizer), width=32, layers=2, seed=0).to(dtype)  # type: ignore[arg-type]
    add_lora(model, rank=4, seed=0)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    config = dataclasses.replace(CONFIG, objective=Objective(kl_coef=0.01))
    lines = train(model, tokenizer, tmp_path / "run", config)
    kl = [line["kl"] for line in lines if "kl" in line]
    assert kl[0] == pytest.approx(0, abs=1e-6 if dtype == torch.float32 else 1e-3)
    assert max(kl[1:]) > 1e-6
    moved = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert moved == {name for name in before if "lora_" in name}


@pytest.mark.parametrize("case", IN_STEPS)
def test_a_run_goes_on_bit_by_bit_from_any_optimizer_step(
    tokenizer: PreTrainedTokenizerBase, tmp_path: Path, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted before each of its optimizer steps in turn, with a checkpoint after each of them."""
    from markscheme.policy.make import make_model

    config = dataclasses.replace(CONFIG, steps=4, checkpoint_every=1, **IN_STEPS[case])

    def fresh() -> PreTrainedModel:
        model = make_model(len(tokenizer), width=32, layers=2, seed=0)
        if case.startswith("an adapter"):
            model = model.to(torch.bfloat16)  # type: ignore[arg-type]
            add_lora(model, rank=4, seed=0)
        return model

    drawn: list[int] = []
    plain_stream = TorchEngine.stream

    def counted(self: TorchEngine, requests: Sequence[Request], sampling: Sampling) -> Any:
        drawn.append(len(requests))
        return plain_stream(self, requests, sampling)

    monkeypatch.setattr(TorchEngine, "stream", counted)
    train(fresh(), tokenizer, tmp_path / "calm", config)
    draws = len(drawn)
    drawn.clear()
    patience = 0

    def impatient(*arguments: Any) -> dict[str, float]:
        nonlocal patience
        patience -= 1
        if patience < 0:
            raise InterruptionError
        return take_step(*arguments)

    monkeypatch.setattr("markscheme.grpo.update.take_step", impatient)
    interruptions = 0
    while True:
        patience = 1  # one optimizer step, and no more
        try:
            train(fresh(), tokenizer, tmp_path / "hasty", config)
        except InterruptionError:
            interruptions += 1
            continue
        break

    assert interruptions >= 4 * (config.optimizer_steps - 1)
    # A step whose first optimizer step fails is drawn again, one that has a checkpoint inside is not.
    assert len(drawn) <= 3 * draws
    for name in ("metrics.jsonl", "completions.jsonl"):
        assert (tmp_path / "calm" / name).read_bytes() == (tmp_path / "hasty" / name).read_bytes()
    (calm,), (hasty,) = ([*(tmp_path / name / "checkpoints").iterdir()] for name in ("calm", "hasty"))
    assert calm.name == hasty.name
    assert same(contents_of(calm), contents_of(hasty))


def contents_of(checkpoint: Path) -> list[Any]:
    """Its tensors, and what else is in it."""
    tensors = checkpoint / "tensors.pt"
    dcp_to_torch_save(checkpoint, tensors)
    return [torch.load(path, weights_only=True) for path in (tensors, checkpoint / "rest.pt")]


def same(mine: Any, theirs: Any) -> bool:
    """Whether two checkpoints hold the same, bit by bit."""
    if isinstance(mine, torch.Tensor):
        return torch.equal(mine, theirs)
    if isinstance(mine, dict):
        return mine.keys() == theirs.keys() and all(same(mine[key], theirs[key]) for key in mine)
    if isinstance(mine, list | tuple):
        return len(mine) == len(theirs) and all(map(same, mine, theirs))
    return bool(mine == theirs)


KILLED_RUN = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
import torch
torch.set_num_threads(1)
from test_training import CONFIG, train
from markscheme.policy.make import make_model, make_tokenizer
tokenizer = make_tokenizer()
model = make_model(len(tokenizer), width=32, layers=2, seed=0)
train(model, tokenizer, Path(sys.argv[1]))
torch.save(model.state_dict(), Path(sys.argv[1]) / "final.pt")
"""


def test_kill_9_at_random_moments_changes_nothing(tmp_path: Path) -> None:
    def command(folder: Path) -> list[str]:
        return [sys.executable, "-c", KILLED_RUN, str(folder), str(Path(__file__).parent)]

    subprocess.run(command(tmp_path / "calm"), check=True)
    rng = random.Random(0)
    kills = 0
    for _ in range(40):
        process = subprocess.Popen(command(tmp_path / "killed"))
        while process.poll() is None and not (tmp_path / "killed" / "metrics.jsonl").exists():
            time.sleep(0.01)  # starting up takes most of the time: wait for the first step
        time.sleep(rng.uniform(0, 0.6))
        if process.poll() is not None:
            break
        process.send_signal(signal.SIGKILL)
        process.wait()
        kills += 1
        if kills == 4:
            subprocess.run(command(tmp_path / "killed"), check=True)
            break
    for name in ("metrics.jsonl", "completions.jsonl"):
        assert (tmp_path / "calm" / name).read_bytes() == (tmp_path / "killed" / name).read_bytes()
    calm, killed = (torch.load(tmp_path / name / "final.pt") for name in ("calm", "killed"))
    assert all(torch.equal(calm[name], killed[name]) for name in calm)
    assert kills


def test_unscored_completions_are_dropped_counted_and_stop_the_run(
    tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    def sometimes(sample: Sample) -> float | None:
        return None if sample.id == "p3" else digits(sample)

    config = dataclasses.replace(CONFIG, prompts_per_step=10, steps=2)
    with pytest.warns(UserWarning, match="could not be scored"):
        lines = train(tiny_model, tokenizer, tmp_path / "some", config, sometimes)[1:]
    assert 0.1 in {line["unscored_share"] for line in lines}
    with pytest.raises(UnscoredError, match=r"12 of 12 completions could not be scored, such as p\d+: undecided"):
        train(tiny_model, tokenizer, tmp_path / "all", CONFIG, lambda sample: None)


def test_a_folder_goes_on_with_the_same_run_only(
    tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    def others(sample: Sample) -> float:
        return -digits(sample)

    def go_on(config: GRPOConfig, reward: Any = digits, problems: Sequence[Problem] = PROBLEMS) -> int:
        """From Python, where the run's record may say nothing of these."""
        model, log = copy.deepcopy(tiny_model), RunLog(tmp_path, {})
        form = PromptFormat(instruction="")
        train_grpo(
            model,
            TorchEngine(model, tokenizer),
            as_scorer(reward),
            problems,
            lambda problem: form.prompt_ids(problem.question, tokenizer),
            config,
            log,
        )
        return len(log.read())

    short = dataclasses.replace(CONFIG, steps=2)
    assert go_on(short) == 2
    written = {path.name: path.read_bytes() for path in tmp_path.glob("*.jsonl")}
    for config, reward, problems, what in (
        (dataclasses.replace(CONFIG, learning_rate=0.1), digits, PROBLEMS, "learning_rate was .*, is 0.1"),
        (dataclasses.replace(CONFIG, seed=5), digits, PROBLEMS, "seed was 0, is 5"),
        (dataclasses.replace(CONFIG, group_size=8), digits, PROBLEMS, "group_size was .*, is 8"),
        (dataclasses.replace(CONFIG, mini_batches=2), digits, PROBLEMS, "mini_batches was 1, is 2"),
        (
            dataclasses.replace(CONFIG, objective=Objective(clip_high=0.5)),
            digits,
            PROBLEMS,
            "objective was .*clip_high",
        ),
        (CONFIG, others, PROBLEMS, "scorer was digits 1, is others 1"),
        (CONFIG, digits, PROBLEMS[1:], "problems was "),
    ):
        with pytest.raises(InputError, match=rf"holds a run with other settings \(.*{what}.*\): give another folder"):
            go_on(config, reward, problems)
        assert {path.name: path.read_bytes() for path in tmp_path.glob("*.jsonl")} == written
    assert go_on(dataclasses.replace(CONFIG, steps=3, token_budget=CONFIG.token_budget // 2)) == 3


def test_what_is_no_scorer_is_refused_before_anything_is_drawn(
    tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    engine, log = TorchEngine(tiny_model, tokenizer), RunLog(tmp_path, {})
    with pytest.raises(TypeError, match=r"a scorer is needed, got <function digits.*as_scorer makes one of a function"):
        train_grpo(tiny_model, engine, digits, [], lambda problem: (1,), CONFIG, log)  # type: ignore[arg-type]


def test_a_run_that_has_nothing_to_learn_from_is_told_so(
    tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    config = dataclasses.replace(CONFIG, steps=4)
    with pytest.warns(UserWarning, match="nothing is learned") as caught:
        train(copy.deepcopy(tiny_model), tokenizer, tmp_path / "alike", config, lambda sample: 1.0)
    [told] = [str(warning.message) for warning in caught if "nothing is learned" in str(warning.message)]
    assert told.startswith("in 100% of the groups of the first 3 steps all completions got the same reward")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train(copy.deepcopy(tiny_model), tokenizer, tmp_path / "different", config, digits)


@pytest.mark.parametrize(
    ("alike", "silent", "done", "warns"),
    [(0.95, 0.0, 3, True), (0.9, 0.0, 3, False), (0.95, 0.0, 9, False), (0.95, 0.95, 9, True), (0.5, 1.0, 9, False)],
)
def test_what_is_too_little_to_learn_from(alike: float, silent: float, done: int, warns: bool) -> None:
    metrics = {"zero_variance_share": alike, "no_answer_share": silent, "truncated_share": 0.0}
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("always")
        assert _warn_of_silence([metrics] * 3, done) == warns
        assert not _warn_of_silence([metrics] * 2, 2)


def test_ratings_are_no_verdicts_and_the_unscored_are_not_wrong() -> None:
    rated = [Score(value=0.5, outcome=Outcome.RATED), Score(value=1.5, outcome=Outcome.RATED)]
    assert score_metrics(rated) == {"reward": 1.0, "unscored_share": 0.0}  # no accuracy, rather than one of 0
    right, wrong = Score(value=1.0, outcome=Outcome.CORRECT), Score(value=0.0, outcome=Outcome.NO_ANSWER)
    unscored = Score(value=None, outcome=Outcome.UNDECIDED)
    # of two verdicts one is right; a third of the completions has none
    assert score_metrics([right, wrong, unscored]) == pytest.approx(
        {"reward": 0.5, "accuracy": 0.5, "unscored_share": 1 / 3}
    )
    assert score_metrics([unscored]) == {"unscored_share": 1.0}


def test_a_run_on_ratings_logs_rewards_but_no_accuracy(
    tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    lines = train(tiny_model, tokenizer, tmp_path / "run")
    assert all("dev_reward" in line for line in (lines[0], lines[3], lines[6]))
    assert not any("accuracy" in name for line in lines for name in line)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("group_size", 1, "group_size must be at least 2 to compare rollouts, got 1"),
        ("temperature", 0.0, "temperature must be above 0"),
        ("steps", 0, "steps must be above 0, got 0"),
        ("mini_batches", 33, "mini_batches must not be above prompts_per_step, got 33"),
        ("decay_share", 2.0, "decay_share must be 0 to 1"),
    ],
)
def test_senseless_settings_are_refused(field: str, value: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GRPOConfig(**{field: value})  # type: ignore[arg-type]
