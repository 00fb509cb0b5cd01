"""Adapters under GRPO: packed rows, the reference, the sampler and the run all see the one model they are in."""

import copy
import dataclasses
from pathlib import Path

import pytest
import torch
import torch.distributed.checkpoint as dcp
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from markscheme.checkpoint import load_checkpoint, save_checkpoint
from markscheme.generation import Request, Sampling
from markscheme.grpo.config import GRPOConfig
from markscheme.grpo.head import check_head, completion_head, score, score_and_backward
from markscheme.models import adapter_off, add_lora, fingerprint, load_policy, save_policy
from markscheme.optimizer import make_optimizer, take_step
from markscheme.packing.attention import Packing, packing_for
from markscheme.packing.layout import PackedRow, pack_rows
from markscheme.packing.sequences import MicroBatch, TokenSequence, pack
from markscheme.packing.trunk import hidden_states
from markscheme.policy.make import make_model
from markscheme.torch_engine import TorchEngine

SEQUENCES = [
    TokenSequence(prompt_ids=tuple(prompt), completion_ids=tuple(completion))
    for prompt, completion in [
        (range(5, 12), range(20, 29)),
        (range(5, 12), range(40, 43)),
        (range(5, 12), [50]),
        (range(7, 10), range(60, 75)),
    ]
]
CONFIG = GRPOConfig(learning_rate=1e-2, decay_share=0.0)


@pytest.fixture
def policy(tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    """A model whose adapter says something."""
    model = make_model(len(tokenizer), width=32, layers=2, seed=0)
    add_lora(model, rank=3, seed=0)
    stream = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad:
                weight.add_(torch.randn(weight.shape, generator=stream), alpha=0.05)
    return model


def weights_of(batch: PackedRow | MicroBatch) -> torch.Tensor:
    """A coefficient for each token, the same however the sequences are packed."""
    return torch.cat(
        [torch.sin(torch.arange(length) + 3.0 * k) for k, length in zip(batch.sequences, batch.lengths, strict=True)]
    )


def gradients(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    found = {name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None}
    model.zero_grad()
    return found


def backward(model: PreTrainedModel, packing: Packing) -> None:
    for row in packing(SEQUENCES, 30):
        hidden_MH, head, by_logprob_M = hidden_states(model, row), completion_head(model), weights_of(row)

        def by_logprob(rows: slice, _: torch.Tensor, by_logprob_M: torch.Tensor = by_logprob_M) -> torch.Tensor:
            return by_logprob_M[rows]

        score_and_backward(hidden_MH, head, row.targets_M, 0.7, by_logprob)


def test_only_adapters_get_a_gradient_and_it_is_that_of_padded_rows(policy: PreTrainedModel) -> None:
    for batch in pack(SEQUENCES, 1_000):
        logprobs_MV = (completion_head(policy)(hidden_states(policy, batch)) / 0.7).log_softmax(-1)
        logprobs_M = logprobs_MV.gather(-1, batch.targets_M[:, None])[:, 0]
        (weights_of(batch) * logprobs_M).sum().backward()
    expected = gradients(policy)
    check_head(policy)
    packing = packing_for(policy)
    assert packing is pack_rows
    backward(policy, packing)
    found = gradients(policy)
    assert found.keys() == expected.keys() == {n for n, weight in policy.named_parameters() if weight.requires_grad}
    assert all(".lora_" in name for name in found)
    for name in found:
        torch.testing.assert_close(found[name], expected[name], atol=1e-5, rtol=1e-5)


def test_with_the_adapter_off_packed_rows_are_the_initial_models(
    policy: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
) -> None:
    initial = make_model(len(tokenizer), width=32, layers=2, seed=0)
    for model in (initial, policy):
        packing_for(model)
    for row in pack_rows(SEQUENCES, 30):
        expected = score(hidden_states(initial, row), completion_head(initial), row.targets_M, 1.0)
        with torch.no_grad(), adapter_off(policy):
            found = score(hidden_states(policy, row), completion_head(policy), row.targets_M, 1.0)
        assert torch.equal(found, expected)
        trained = score(hidden_states(policy, row), completion_head(policy), row.targets_M, 1.0)
        assert (trained - expected).abs().max() > 1e-3


def test_a_pass_of_the_reference_leaves_the_gradient_as_it_is(policy: PreTrainedModel) -> None:
    packing = packing_for(policy)
    backward(policy, packing)
    expected = gradients(policy)
    with torch.no_grad(), adapter_off(policy):
        hidden_states(policy, packing(SEQUENCES, 1_000)[0])
    backward(policy, packing)
    found = gradients(policy)
    for name in expected:
        assert torch.equal(found[name], expected[name]), name


def test_a_step_moves_the_adapter_only(policy: PreTrainedModel) -> None:
    before = copy.deepcopy(policy.state_dict())
    optimizer = make_optimizer(policy, CONFIG)
    backward(policy, packing_for(policy))
    take_step(policy, optimizer, CONFIG, 0, 10)
    for name, tensor in policy.state_dict().items():
        assert torch.equal(tensor, before[name]) == (".lora_" not in name), name


def test_the_sampler_writes_with_the_adapter_as_it_is_now(
    policy: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    engine = TorchEngine(policy, tokenizer)
    requests = [Request(prompt_ids=(5, 6, 7), seeds=(0, 1, 2))]
    sampling = Sampling(temperature=0, max_completion_tokens=12)

    def merged() -> list[tuple[int, ...]]:
        save_policy(policy, tokenizer, tmp_path / "policy")
        return written(TorchEngine(*load_policy(str(tmp_path / "policy"))))

    def written(engine: TorchEngine) -> list[tuple[int, ...]]:
        return [completion.ids for _, _, completion in engine.stream(requests, sampling)]

    first = written(engine)
    assert first == merged()
    optimizer = make_optimizer(policy, CONFIG)
    for _ in range(3):
        backward(policy, packing_for(policy))
        take_step(policy, optimizer, CONFIG, 0, 10)
    engine.load_weights(policy.state_dict().items())  # the loop's call; the model is one
    after = written(engine)
    assert after == merged()
    with adapter_off(policy):
        initial = written(engine)
    assert len({tuple(first), tuple(after), tuple(initial)}) == 3


def test_a_resumed_run_of_adapters_is_the_same_bit_for_bit(policy: PreTrainedModel, tmp_path: Path) -> None:
    whole, broken, resumed = policy, copy.deepcopy(policy), copy.deepcopy(policy)
    config = dataclasses.replace(CONFIG, learning_rate=1e-3)

    def steps(model: PreTrainedModel, optimizer: torch.optim.Optimizer, which: range) -> None:
        for step in which:
            backward(model, packing_for(model))
            take_step(model, optimizer, config, step, 10)

    steps(whole, make_optimizer(whole, config), range(5))
    optimizer = make_optimizer(broken, config)
    steps(broken, optimizer, range(2))
    save_checkpoint(tmp_path, 2, broken, optimizer)
    (written,) = tmp_path.glob("step-*")
    learns = {f"model.{name}" for name, weight in broken.named_parameters() if weight.requires_grad}
    kept = dcp.FileSystemReader(written).read_metadata().state_dict_metadata
    assert {name for name in kept if name.startswith("model.")} == learns  # what is frozen is the initial model's
    optimizer = make_optimizer(resumed, config)
    assert load_checkpoint(tmp_path, resumed, optimizer) == (2, None)
    steps(resumed, optimizer, range(2, 5))
    for name, tensor in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], tensor), name


def test_adapters_of_one_seed_have_one_fingerprint(tokenizer: PreTrainedTokenizerBase) -> None:
    models = [make_model(len(tokenizer), width=32, layers=2, seed=0) for _ in range(3)]
    for model, seed in zip(models, (0, 0, 1), strict=True):
        add_lora(model, rank=2, seed=seed)
    first, again, other = (fingerprint(model, tokenizer) for model in models)
    assert first == again != other
