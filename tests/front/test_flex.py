"""Packed rows in one kernel: its mask against brute force, its result against `packed_attention`, and how it is chosen.

torch has no backward of flex_attention on a CPU, so where gradients matter a dense kernel with the same mask stands in.
"""

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis.strategies import floats, integers, lists
from torch import Tensor
from torch.nn.attention.flex_attention import create_mask, flex_attention
from transformers import PreTrainedModel, Qwen2Config, Qwen2ForCausalLM

from markscheme.packing.attention import FLEX_NAME, NAME, attend_packed, attention_on, packing_for
from markscheme.packing.flex import compiled_flex_attention, row_mask
from markscheme.packing.layout import PackedRow, pack_rows
from markscheme.packing.sequences import TokenSequence, pack
from markscheme.packing.trunk import hidden_states

CPU = torch.device("cpu")
GROUPS = lists(lists(integers(1, 20), min_size=1, max_size=6), min_size=1, max_size=4)
"""Lengths of the completions of each prompt."""


def sequences_of(groups: list[list[int]]) -> list[TokenSequence]:
    return [
        TokenSequence(
            prompt_ids=tuple(3 + (7 * p + j) % 50 for j in range(2 + 3 * p)),
            completion_ids=tuple(1 + (11 * p + 5 * g + 3 * j) % 90 for j in range(length)),
        )
        for p, lengths in enumerate(groups)
        for g, length in enumerate(lengths)
    ]


def model_of(kv_heads: int = 4, **settings: Any) -> PreTrainedModel:
    torch.manual_seed(0)
    return Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=100,
            hidden_size=64,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=kv_heads,
            **settings,
        )
    )


def dense(row: PackedRow) -> Tensor:
    """The mask of a row, [T, T]."""
    tokens = len(row.input_ids_T)
    mask: Tensor = create_mask(row_mask(row, CPU).mask_mod, 1, 1, tokens, tokens, CPU)
    return mask[0, 0]


@settings(max_examples=30)
@given(GROUPS, integers(1, 120))
def test_the_mask_is_that_of_brute_force(groups: list[list[int]], budget: int) -> None:
    sequences = sequences_of(groups)
    for row in pack_rows(sequences, budget):
        tokens: list[tuple[int, int]] = []  # of each token, (its prompt, its completion or -1 for the prompt itself)
        prompt: tuple[int, ...] = ()
        for index in row.sequences:
            if sequences[index].prompt_ids != prompt:
                prompt = sequences[index].prompt_ids
                tokens += [(len(prompt), -1)] * len(prompt)
            tokens += [(len(prompt), index)] * (len(sequences[index].completion_ids) - 1)
        expected = [
            [q >= k and theirs[0] == ours[0] and theirs[1] in (-1, ours[1]) for k, theirs in enumerate(tokens)]
            for q, ours in enumerate(tokens)
        ]
        assert dense(row).tolist() == expected


def test_the_mask_of_one_row_by_hand() -> None:
    sequences = [
        TokenSequence(prompt_ids=(1, 2), completion_ids=(3, 4, 5)),
        TokenSequence(prompt_ids=(6,), completion_ids=(7, 8)),
        TokenSequence(prompt_ids=(1, 2), completion_ids=(8, 9)),
    ]
    (row,) = pack_rows(sequences, token_budget=100)
    assert row.input_ids_T.tolist() == [1, 2, 8, 3, 4, 6, 7]
    assert dense(row).int().tolist() == [
        [1, 0, 0, 0, 0, 0, 0],  # the prompt 1 2
        [1, 1, 0, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0, 0],  # 8 sees its prompt
        [1, 1, 0, 1, 0, 0, 0],  # 3 does not see 8
        [1, 1, 0, 1, 1, 0, 0],
        [0, 0, 0, 0, 0, 1, 0],  # another prompt
        [0, 0, 0, 0, 0, 1, 1],
    ]


def test_a_row_has_one_mask_for_all_layers_and_another_row_another() -> None:
    first, second = (pack_rows(sequences_of([[3, 9], [20]]), 100)[0] for _ in range(2))
    mask = row_mask(first, CPU)
    assert row_mask(first, CPU) is mask
    assert row_mask(second, CPU) is not mask


def test_it_is_compiled_once_for_all_lengths(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def compile_(function: object, **options: object) -> object:
        asked.append(options)
        return function

    monkeypatch.setattr(torch, "compile", compile_)
    compiled_flex_attention.cache_clear()
    assert compiled_flex_attention() is compiled_flex_attention() is flex_attention
    compiled_flex_attention.cache_clear()
    assert asked == [{"dynamic": True}]


@pytest.fixture
def _uncompiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("markscheme.packing.flex.compiled_flex_attention", lambda: flex_attention)


@pytest.mark.usefixtures("_uncompiled")
@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@settings(max_examples=6)
@given(GROUPS, integers(20, 120), floats(0.1, 1.0))
@torch.no_grad()
def test_the_result_is_that_of_packed_attention(groups: list[list[int]], budget: int, scale: float) -> None:
    for kv_heads in (4, 2):
        model = model_of(kv_heads)
        for layer in model.base_model.layers:  # type: ignore[union-attr]
            layer.self_attn.scaling = scale
        for row in pack_rows(sequences_of(groups), budget):
            attend_packed(model)
            expected = hidden_states(model, row)
            attend_packed(model, FLEX_NAME)
            torch.testing.assert_close(hidden_states(model, row), expected, atol=1e-5, rtol=1e-5)


def test_only_a_gpu_attends_in_one_kernel(tiny_model: PreTrainedModel) -> None:
    assert attention_on(torch.device("cuda", 1)) == FLEX_NAME
    assert attention_on(CPU) == NAME
    packing_for(tiny_model)
    assert tiny_model.config._attn_implementation == NAME


def by_mask(query: Tensor, key: Tensor, value: Tensor, packed: PackedRow, scaling: float | None) -> Tensor:
    tokens = query.shape[2]
    mask = create_mask(row_mask(packed, CPU).mask_mod, 1, 1, tokens, tokens, CPU)
    gqa = key.shape[1] != query.shape[1]
    return F.scaled_dot_product_attention(query, key, value, mask, scale=scaling, enable_gqa=gqa).transpose(1, 2)


def to_the_left(query: Tensor, key: Tensor, value: Tensor, packed: PackedRow, scaling: float | None) -> Tensor:
    """A wrong kernel: a token sees all that came before, neighbours included."""
    return F.scaled_dot_product_attention(query, key, value, is_causal=True, scale=scaling).transpose(1, 2)


def without_a_way_back(query: Tensor, key: Tensor, value: Tensor, packed: PackedRow, scaling: float | None) -> Tensor:
    """A kernel that is right on the way forward and wrong on the way back."""
    return by_mask(query, key.detach(), value, packed, scaling)


@pytest.fixture
def _on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """As far as the choice goes."""
    monkeypatch.setattr("markscheme.packing.attention.attention_on", lambda device: FLEX_NAME)


@pytest.mark.usefixtures("_on_a_gpu")
@pytest.mark.parametrize("kv_heads", [4, 2])
@pytest.mark.parametrize("frozen", [True, False])
def test_a_kernel_that_says_the_same_is_taken(monkeypatch: pytest.MonkeyPatch, kv_heads: int, frozen: bool) -> None:
    monkeypatch.setattr("markscheme.packing.attention.attend_row", by_mask)
    model = model_of(kv_heads).requires_grad_(not frozen).train()
    with warnings.catch_warnings(action="error"):
        assert packing_for(model) is pack_rows
    assert model.config._attn_implementation == FLEX_NAME
    assert model.training
    assert all(weight.grad is None for weight in model.parameters())


@pytest.mark.usefixtures("_on_a_gpu")
@pytest.mark.parametrize("kernel", [to_the_left, without_a_way_back])
def test_a_kernel_that_says_something_else_is_not_taken(
    monkeypatch: pytest.MonkeyPatch, kernel: Callable[..., Tensor]
) -> None:
    monkeypatch.setattr("markscheme.packing.attention.attend_row", kernel)
    model = model_of()
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(2)  # at first a random model hardly attends to anything
    with pytest.warns(UserWarning, match=r"goes without flex_attention \(states and gradients differ by .*\): slower"):
        assert packing_for(model) is pack_rows
    assert model.config._attn_implementation == NAME


@pytest.mark.usefixtures("_on_a_gpu")
def test_a_kernel_that_fails_is_not_taken() -> None:
    model = model_of()
    message = r"Qwen2ForCausalLM goes without flex_attention \(FlexAttention does not support backward on CPU"
    with pytest.warns(UserWarning, match=message):
        assert packing_for(model) is pack_rows
    assert model.config._attn_implementation == NAME


@pytest.mark.usefixtures("_on_a_gpu")
def test_a_model_that_cannot_take_packed_rows_gets_padded_ones_there_too() -> None:
    model = model_of(use_sliding_window=True, sliding_window=8, max_window_layers=0)
    with pytest.warns(UserWarning, match=r"cannot take packed rows \(its layers see a window only") as caught:
        assert packing_for(model) is pack
    assert len(caught) == 1
    assert model.config._attn_implementation == "sdpa"


def test_dropout_and_generation_go_the_other_way(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> Tensor:
        raise AssertionError

    monkeypatch.setattr("markscheme.packing.attention.attend_row", never)
    model = model_of(attention_dropout=0.5).train()
    attend_packed(model, FLEX_NAME)
    (row,) = pack_rows(sequences_of([[3, 9], [20]]), 100)
    hidden_states(model, row)
    ids = torch.tensor([[5, 6, 7, 8], [9, 10, 0, 0]])
    model.eval()(input_ids=ids, attention_mask=(ids > 0).long())
    with pytest.raises(AssertionError):
        hidden_states(model, row)
