"""Activations that are worked out again: the same gradients, less kept, generation as before."""

import pytest
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from markscheme.generation import Request, Sampling
from markscheme.grpo.head import completion_head, score_and_backward
from markscheme.models import add_lora, checkpoint_gradients
from markscheme.packing.attention import packing_for
from markscheme.packing.layout import PackedRow
from markscheme.packing.sequences import MicroBatch, TokenSequence, pack
from markscheme.packing.trunk import hidden_states
from markscheme.torch_engine import TorchEngine

SEQUENCES = [
    TokenSequence(prompt_ids=tuple(range(5, 25)), completion_ids=tuple(range(30 + k, 60 + 3 * k))) for k in range(4)
]


def kept_bytes_and_gradient(model: PreTrainedModel, row: PackedRow | MicroBatch) -> tuple[int, dict[str, torch.Tensor]]:
    kept: dict[int, int] = {}
    weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        hidden_MH = hidden_states(model, row)
    by_logprob_M = torch.linspace(-1, 1, len(row.targets_M))
    score_and_backward(hidden_MH, completion_head(model), row.targets_M, 1.0, lambda rows, _: by_logprob_M[rows])
    found = {name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None}
    model.zero_grad()
    return sum(kept.values()), found


@pytest.mark.parametrize("lora_rank", [0, 3])
def test_the_gradients_are_the_same_and_less_is_kept(tiny_model: PreTrainedModel, lora_rank: int) -> None:
    if lora_rank:
        add_lora(tiny_model, lora_rank, seed=0)
    packing = packing_for(tiny_model)
    (row,) = packing(SEQUENCES, 1_000)
    tiny_model.train()
    kept, expected = kept_bytes_and_gradient(tiny_model, row)
    checkpoint_gradients(tiny_model)
    assert packing_for(tiny_model) is packing
    kept_now, found = kept_bytes_and_gradient(tiny_model, row)
    assert isinstance(row, PackedRow)
    inputs = 2 * len(row.input_ids_T) * 32 * 4  # of both layers, which no hook sees: float32 of width 32
    assert kept_now + inputs < kept / 3
    assert found.keys() == expected.keys()
    for name in expected:
        assert torch.equal(found[name], expected[name]), name


def test_padded_rows_have_the_same_gradients_too(tiny_model: PreTrainedModel) -> None:
    (batch,) = pack(SEQUENCES, 1_000)
    tiny_model.train()
    _, expected = kept_bytes_and_gradient(tiny_model, batch)
    checkpoint_gradients(tiny_model)
    _, found = kept_bytes_and_gradient(tiny_model, batch)
    for name in expected:
        assert torch.equal(found[name], expected[name]), name


def test_generation_is_as_before(tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    def written() -> dict[tuple[int, int], tuple[tuple[int, ...], tuple[float, ...]]]:
        requests = [Request(prompt_ids=(5, 6, 7), seeds=(0, 1)), Request(prompt_ids=(8, 9), seeds=(2,))]
        stream = TorchEngine(tiny_model, tokenizer).stream(requests, Sampling(max_completion_tokens=10))
        return {(index, k): (completion.ids, completion.logprobs) for index, k, completion in stream}

    before = written()
    checkpoint_gradients(tiny_model)
    tiny_model.train()
    assert written() == before
    assert tiny_model.training
