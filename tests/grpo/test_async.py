"""Rollouts that are drawn while the step before is learned from."""

import copy
import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from markscheme.adapters import as_scorer
from markscheme.generation import Completion, Request, Sampling
from markscheme.grpo.config import GRPOConfig
from markscheme.grpo.objective import Objective
from markscheme.grpo.training import train_grpo
from markscheme.policy.make import make_model
from markscheme.problems import Problem
from markscheme.run_log import RunLog
from markscheme.torch_engine import TorchEngine

CONFIG = GRPOConfig(
    steps=6,
    prompts_per_step=2,
    group_size=4,
    learning_rate=1e-3,
    warmup_steps=1,
    max_completion_tokens=8,
    updates_per_batch=2,
    checkpoint_every=1,
    objective=Objective(correction="token"),
)
PROBLEMS = [Problem(id=f"p{k}", question=f"What is {k}?", gold="1", source="test", split="train") for k in range(6)]


class Elsewhere:
    """An engine with weights of its own, which notes how often it had been given new ones when it wrote."""

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
        self.engine = TorchEngine(copy.deepcopy(model), tokenizer)
        self.loads = 0
        self.wrote_with: list[int] = []
        self.calls: list[str] = []

    def load_weights(self, named_tensors: Iterable[tuple[str, Tensor]]) -> None:
        self.engine.load_weights(named_tensors)
        self.loads += 1
        self.calls.append("load")

    def release(self) -> None:
        self.calls.append("release")

    def stream(self, requests: Sequence[Request], sampling: Sampling) -> Iterator[tuple[int, int, Completion]]:
        loads = self.loads
        self.calls.append("write")
        yield from self.engine.stream(requests, sampling)
        assert self.loads == loads, "weights changed while it wrote"
        self.wrote_with.append(loads)


@pytest.fixture
def policy(tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    return make_model(len(tokenizer), width=32, layers=2, seed=0)


def train(
    policy: PreTrainedModel,
    generator: Any,
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    config: GRPOConfig = CONFIG,
    **more: Any,
) -> list[dict[str, Any]]:
    log = RunLog(folder, {})
    train_grpo(
        policy,
        generator,
        as_scorer(lambda sample: float(len(sample.completion))),
        PROBLEMS,
        lambda problem: tuple(tokenizer.encode(problem.question)),
        config,
        log,
        **{"async_depth": 1, **more},
    )
    return log.read()


def test_each_batch_is_one_step_behind_and_from_one_policy(
    policy: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    engine = Elsewhere(policy, tokenizer)
    lines = train(policy, engine, tokenizer, tmp_path)
    assert engine.wrote_with == [1, 1, 2, 3, 4, 5]
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6]
    assert lines[0]["sampler_mismatch"] < 1e-5 < lines[1]["sampler_mismatch"]
    assert all(line["grad_norm"] > 0 for line in lines)


def test_the_generator_gives_its_memory_for_the_update_unless_it_writes_meanwhile(
    policy: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    other, two = copy.deepcopy(policy), dataclasses.replace(CONFIG, steps=2)
    engine = Elsewhere(policy, tokenizer)
    train(policy, engine, tokenizer, tmp_path / "alternating", two, async_depth=0)
    assert engine.calls == ["load", "write", "release", "load", "write", "release", "load"]
    engine = Elsewhere(other, tokenizer)
    train(other, engine, tokenizer, tmp_path / "ahead", two)
    assert engine.calls == ["load", "write", "write", "load", "release", "load"], "the last step has none after it"


def test_a_new_iteration_waits_for_its_policy(
    policy: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    """Its reward and reference are made from what was before, so nothing of it is drawn ahead."""
    engine = Elsewhere(policy, tokenizer)
    train(policy, engine, tokenizer, tmp_path, dataclasses.replace(CONFIG, iteration_steps=3))
    assert engine.wrote_with == [1, 1, 2, 4, 4, 5]


class InterruptionError(Exception):
    pass


@pytest.mark.parametrize("steps_done", [1, 3, 5])
def test_an_interrupted_run_goes_on_bit_by_bit(
    policy: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, tmp_path: Path, steps_done: int
) -> None:
    whole, broken, resumed = policy, copy.deepcopy(policy), copy.deepcopy(policy)
    expected = train(whole, Elsewhere(whole, tokenizer), tokenizer, tmp_path / "whole")

    def interrupt(done: int, metrics: Any) -> None:
        if done == steps_done:
            raise InterruptionError

    with pytest.raises(InterruptionError):
        train(broken, Elsewhere(broken, tokenizer), tokenizer, tmp_path / "broken", on_step=interrupt)
    found = train(resumed, Elsewhere(resumed, tokenizer), tokenizer, tmp_path / "broken")
    assert found == expected
    assert all(torch.equal(value, whole.state_dict()[name]) for name, value in resumed.state_dict().items())


def test_what_cannot_be_drawn_ahead_is_refused(
    policy: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    plain = dataclasses.replace(CONFIG, objective=Objective())
    with pytest.raises(ValueError, match=r"older weights wrote: choose an objective\.correction"):
        train(policy, Elsewhere(policy, tokenizer), tokenizer, tmp_path / "a", plain)
    with pytest.raises(ValueError, match="does not share the policy's weights"):
        train(policy, TorchEngine(policy, tokenizer), tokenizer, tmp_path / "b")
    with pytest.raises(ValueError, match="async_depth must be 0 or 1, got 2"):
        train(policy, Elsewhere(policy, tokenizer), tokenizer, tmp_path / "c", async_depth=2)
