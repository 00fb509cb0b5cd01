"""The engine on real vLLM: `make test-vllm` installs its CPU build and runs these."""

import copy
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from markscheme.adapters import as_scorer
from markscheme.files import InputError
from markscheme.generation import Completion, FinishReason, Request, Sampling, generate
from markscheme.grpo.config import GRPOConfig
from markscheme.grpo.training import train_grpo
from markscheme.grpo.update import MismatchError
from markscheme.models import add_lora, plain_weights
from markscheme.policy.make import make_model
from markscheme.problems import Problem
from markscheme.run_log import RunLog
from markscheme.torch_engine import TorchEngine
from markscheme.vllm_engine import VLLMEngine

pytestmark = pytest.mark.vllm

TEXT = "There are 12 boxes in the room, and 7 of them are red. "
PROMPTS = ("Mia has 3 eggs.", TEXT, TEXT * 8)  # the last fills several blocks of the cache
SAMPLING = Sampling(max_completion_tokens=12)


@pytest.fixture(scope="module")
def model(tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    return make_model(len(tokenizer), width=96, layers=2, seed=0)


@pytest.fixture(scope="module")
def shared_engine(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> VLLMEngine:
    """To start one takes ten seconds."""
    return VLLMEngine(model, tokenizer, max_model_len=512, kv_cache_memory_bytes=64 << 20)


@pytest.fixture
def engine(shared_engine: VLLMEngine, model: PreTrainedModel) -> Iterator[VLLMEngine]:
    """With the model's weights, whatever was loaded before."""
    shared_engine.load_weights(plain_weights(model))
    yield shared_engine
    assert not shared_engine.llm.llm_engine.has_unfinished_requests()


@pytest.fixture
def requests(tokenizer: PreTrainedTokenizerBase) -> list[Request]:
    return [
        Request(prompt_ids=tuple(tokenizer.encode(text)), seeds=tuple(range(10 * i, 10 * i + 4)))
        for i, text in enumerate(PROMPTS)
    ]


def moved(model: PreTrainedModel, seed: int) -> PreTrainedModel:
    """The model after an update that shows."""
    torch.manual_seed(seed)
    changed = copy.deepcopy(model)
    with torch.no_grad():
        for weight in changed.parameters():
            weight.add_(0.05 * torch.randn_like(weight))
    return changed


def mismatch(
    model: PreTrainedModel, requests: list[Request], groups: list[list[Completion]], temperature: float = 1.0
) -> float:
    """The largest difference between the sampler's log-probabilities and the model's own."""
    differences = [0.0]
    for request, group in zip(requests, groups, strict=True):
        for completion in group:
            with torch.no_grad():
                logits = model(tensor([request.prompt_ids + completion.ids])).logits[
                    0, len(request.prompt_ids) - 1 : -1
                ]
            logprobs = (logits / temperature).log_softmax(-1).gather(-1, tensor(completion.ids)[:, None])[:, 0]
            differences.append(float((logprobs - tensor(completion.logprobs)).abs().max()))
    return max(differences)


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_logprobs_are_transformers_own_before_and_after_an_update(
    engine: VLLMEngine, model: PreTrainedModel, requests: list[Request], temperature: float
) -> None:
    sampling = Sampling(max_completion_tokens=12, temperature=temperature)
    assert mismatch(model, requests, generate(engine, requests, sampling), temperature) < 1e-4
    changed = moved(model, seed=1)
    engine.load_weights(plain_weights(changed))
    assert mismatch(changed, requests, generate(engine, requests, sampling), temperature) < 1e-4


def test_greedy_is_the_torch_engines(
    engine: VLLMEngine, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, requests: list[Request]
) -> None:
    greedy = Sampling(max_completion_tokens=12, temperature=0)
    expected = generate(TorchEngine(model, tokenizer), requests, greedy)
    for mine, theirs in zip(generate(engine, requests, greedy), expected, strict=True):
        for one, other in zip(mine, theirs, strict=True):
            assert (one.ids, one.text, one.finish_reason) == (other.ids, other.text, other.finish_reason)
            assert one.logprobs == pytest.approx(other.logprobs, abs=1e-4)


def test_no_completion_comes_from_what_old_weights_left_in_the_cache(
    engine: VLLMEngine, model: PreTrainedModel, requests: list[Request], monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in range(3):
        generate(engine, requests, SAMPLING)  # whose prompts are kept
        changed = moved(model, seed)
        engine.load_weights(plain_weights(changed))
        assert mismatch(changed, requests, generate(engine, requests, SAMPLING)) < 1e-4
    monkeypatch.setattr(engine.llm, "reset_prefix_cache", lambda: None)
    changed = moved(model, seed=3)
    engine.load_weights(plain_weights(changed))
    assert mismatch(changed, requests, generate(engine, requests, SAMPLING)) > 1e-2  # so the reset was what did it


def test_the_head_of_tied_embeddings_is_the_new_one(
    engine: VLLMEngine, model: PreTrainedModel, requests: list[Request]
) -> None:
    changed = moved(model, seed=1)
    without_alias = ((name, weight) for name, weight in plain_weights(changed) if name != "lm_head.weight")
    engine.load_weights(without_alias)
    assert mismatch(changed, requests, generate(engine, requests, SAMPLING)) < 1e-4


def test_a_seeded_completion_is_the_same_in_any_batch(engine: VLLMEngine, requests: list[Request]) -> None:
    together = generate(engine, requests, SAMPLING)
    for request, group in zip(requests, together, strict=True):
        for seed, completion in zip(request.seeds, group, strict=True):
            ((alone,),) = generate(engine, [Request(prompt_ids=request.prompt_ids, seeds=(seed,))], SAMPLING)
            assert alone.ids == completion.ids
    many = [Request(prompt_ids=request.prompt_ids, seeds=tuple(range(60))) for request in requests]
    for request, group in zip(requests, generate(engine, many, SAMPLING), strict=True):
        places = [seed for seed in request.seeds if seed < 60]
        expected = {seed: one.ids for seed, one in zip(request.seeds, together[requests.index(request)], strict=True)}
        assert {seed: group[seed].ids for seed in places} == expected


def test_more_prompts_than_fit_into_a_batch(engine: VLLMEngine, model: PreTrainedModel) -> None:
    """Some would be prefilled by halves, and the seed of such a one be rewound, which a CPU cannot."""
    many = [Request(prompt_ids=(*range(5, 305), 5 + k), seeds=(k, k + 100)) for k in range(40)]
    assert sum(len(request.prompt_ids) for request in many) > 2 * 4_096
    groups = generate(engine, many, SAMPLING)
    assert mismatch(model, many, groups) < 1e-4
    ((one,),) = generate(engine, [Request(prompt_ids=many[30].prompt_ids, seeds=(130,))], SAMPLING)
    assert one.ids == groups[30][1].ids


def test_seeds_differ(engine: VLLMEngine, requests: list[Request]) -> None:
    seeds = tuple((1 << 62) + k for k in range(16))  # as large as `seed_of` makes them
    (group,) = generate(engine, [Request(prompt_ids=requests[0].prompt_ids, seeds=seeds)], SAMPLING)
    assert len({completion.ids for completion in group}) == 16


def test_length_and_end_tokens(engine: VLLMEngine, requests: list[Request], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "end_ids", frozenset(range(0, 635, 3)))
    for completion in (one for group in generate(engine, requests, SAMPLING) for one in group):
        *before, last = completion.ids
        assert not any(token % 3 == 0 for token in before)
        assert (completion.finish_reason is FinishReason.STOP) == (last % 3 == 0)
        assert completion.finish_reason is FinishReason.STOP or len(completion.ids) == 12
        assert len(completion.ids) == len(completion.logprobs)


def test_a_stop_string_ends_the_text_before_it(
    engine: VLLMEngine, requests: list[Request], tokenizer: PreTrainedTokenizerBase
) -> None:
    free = generate(engine, requests[:1], SAMPLING)[0][0]
    stop = free.text[4:6]
    stopped = generate(engine, requests[:1], Sampling(max_completion_tokens=12, stop=(stop,)))[0][0]
    assert stopped.text == free.text[: free.text.index(stop)]
    assert stopped.finish_reason is FinishReason.STOP
    assert free.ids[: len(stopped.ids)] == stopped.ids
    assert stop in tokenizer.decode(stopped.ids)


def test_a_stream_that_is_closed_leaves_nothing_behind(engine: VLLMEngine, requests: list[Request]) -> None:
    stream = engine.stream(requests, Sampling(max_completion_tokens=100))
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert not engine.llm.llm_engine.has_unfinished_requests()
    assert len(generate(engine, requests, SAMPLING)) == len(requests)


def test_a_prompt_without_room_is_refused(engine: VLLMEngine) -> None:
    with pytest.raises(InputError, match="prompt 0 has 505 tokens: with max_completion_tokens 12"):
        generate(engine, [Request(prompt_ids=(5,) * 505, seeds=(0,))], SAMPLING)
    with pytest.raises(InputError, match="prompt 0 is empty"):
        generate(engine, [Request(prompt_ids=(), seeds=(0,))], SAMPLING)


def test_adapters_come_merged(engine: VLLMEngine, model: PreTrainedModel, requests: list[Request]) -> None:
    adapted = copy.deepcopy(model)
    add_lora(adapted, 2, seed=0)
    with torch.no_grad():
        for name, weight in adapted.named_parameters():
            if "lora_B" in name:
                weight.add_(0.1)
    engine.load_weights(plain_weights(adapted))
    groups = generate(engine, requests, SAMPLING)
    assert mismatch(adapted, requests, groups) < 1e-4
    assert mismatch(model, requests, groups) > 1e-2


def train(
    engine: Any, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path, **settings: Any
) -> list[dict[str, Any]]:
    """A short run; returns its metrics."""
    problems = [
        Problem(id=f"p{k}", question=f"{TEXT}What is {k}?", gold="1", source="test", split="train") for k in range(4)
    ]
    defaults = {
        "steps": 3,
        "prompts_per_step": 2,
        "group_size": 4,
        "learning_rate": 1e-2,
        "max_completion_tokens": 8,
        "warmup_steps": 1,
    }
    log = RunLog(folder, {})
    train_grpo(
        model,
        engine,
        as_scorer(lambda sample: float(len(sample.completion))),
        problems,
        lambda problem: tuple(tokenizer.encode(problem.question)),
        GRPOConfig(**{**defaults, **settings}),
        log,
    )
    return log.read()


@pytest.mark.parametrize("lora_rank", [0, 2])
def test_grpo_samples_from_the_policy_as_it_is(
    engine: VLLMEngine, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, tmp_path: Path, lora_rank: int
) -> None:
    policy = copy.deepcopy(model)
    if lora_rank:
        add_lora(policy, lora_rank, seed=0)
    metrics = train(engine, policy, tokenizer, tmp_path)
    assert [line["step"] for line in metrics] == [1, 2, 3]
    assert all(line["sampler_mismatch"] < 1e-4 for line in metrics)
    assert all(line["grad_norm"] > 0 for line in metrics)


class Corrupted:
    """An engine that gets one tensor wrong when it takes over weights, once."""

    def __init__(self, engine: VLLMEngine, at: int, name: str) -> None:
        self.engine, self.at, self.name, self.loads = engine, at, name, 0

    def load_weights(self, named_tensors: Iterable[tuple[str, Tensor]]) -> None:
        self.loads += 1
        wrong = self.name if self.loads == self.at else None
        self.engine.load_weights((name, weight.flip(0) if name == wrong else weight) for name, weight in named_tensors)

    def stream(self, requests: list[Request], sampling: Sampling) -> Iterator[tuple[int, int, Completion]]:
        return self.engine.stream(requests, sampling)

    def release(self) -> None:
        self.engine.release()


def test_a_tensor_that_arrives_wrong_is_noticed(
    engine: VLLMEngine, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    corrupted = Corrupted(engine, at=2, name="model.layers.0.mlp.down_proj.weight")
    with pytest.raises(MismatchError, match=r"stale|other weights"):
        train(corrupted, copy.deepcopy(model), tokenizer, tmp_path)
    assert [line["step"] for line in RunLog(tmp_path, {}).read()] == [1]
