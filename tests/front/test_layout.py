"""Packed rows: by hand, and every hidden state as in a row of its own."""

from unittest.mock import patch

import pytest
import torch
from hypothesis import given, settings
from hypothesis.strategies import integers, lists
from transformers import MistralConfig, MistralForCausalLM, PreTrainedModel, Qwen2Config, Qwen2ForCausalLM

from markscheme.grpo.head import completion_head, score
from markscheme.packing.attention import attend_packed, packing_for
from markscheme.packing.layout import BUCKET_WASTE, Block, pack_rows
from markscheme.packing.sequences import TokenSequence, pack
from markscheme.packing.trunk import hidden_states

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


def model_of(**settings: object) -> PreTrainedModel:
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    return Qwen2ForCausalLM(Qwen2Config(vocab_size=100, **{**sizes, "num_key_value_heads": 4, **settings}))


def test_one_row_by_hand() -> None:
    sequences = [
        TokenSequence(prompt_ids=(1, 2), completion_ids=(3, 4, 5)),
        TokenSequence(prompt_ids=(6,), completion_ids=(7,)),
        TokenSequence(prompt_ids=(1, 2), completion_ids=(8, 9)),
    ]
    (row,) = pack_rows(sequences, token_budget=100)
    assert row.sequences == (2, 0, 1)  # of one prompt the shortest first
    assert row.input_ids_T.tolist() == [1, 2, 8, 3, 4, 6]  # each prompt once, and no last tokens
    assert row.position_ids_T.tolist() == [0, 1, 2, 2, 3, 0]
    assert row.positions_M.tolist() == [1, 2, 1, 3, 4, 5]  # the prompt's last place says both first tokens
    assert row.targets_M.tolist() == [8, 9, 3, 4, 5, 7]
    assert row.lengths == (2, 3, 1)
    assert row.owner_T.tolist() == [0, 0, 2, 3, 3, 5]
    assert row.prompt_T.tolist() == [0, 0, 0, 0, 0, 5]
    assert row.blocks == (Block(2, ((1, 1), (1, 2))), Block(1, ()))
    assert row.places_S is row.kept_T is None  # nothing is padded


def test_completions_of_like_length_attend_together() -> None:
    sequences = [
        TokenSequence(prompt_ids=(1, 2), completion_ids=tuple(range(10, 10 + length))) for length in (5, 6, 2)
    ]  # so that 4, 5 and 1 of their tokens are in the row
    (row,) = pack_rows(sequences, token_budget=100)
    assert row.input_ids_T.tolist() == [1, 2, 10, *range(10, 14), *range(10, 15)]
    assert row.blocks == (Block(2, ((1, 1), (2, 5))),)
    assert row.places_S is not None
    assert row.kept_T is not None
    assert row.places_S.tolist() == [0, 1, 2, 3, 4, 5, 6, 3, *range(7, 12)]  # the fourth one's padding is its first
    assert row.kept_T.tolist() == [*range(7), *range(8, 13)]


@given(GROUPS, integers(1, 120))
def test_every_completion_is_packed_once_within_the_budget(groups: list[list[int]], budget: int) -> None:
    sequences = sequences_of(groups)
    rows = pack_rows(sequences, budget)
    assert sorted(index for row in rows for index in row.sequences) == list(range(len(sequences)))
    for row in rows:
        assert len(row.sequences) == 1 or len(row.input_ids_T) <= budget
        assert row.targets_M.tolist() == [t for index in row.sequences for t in sequences[index].completion_ids]
        prompts = sum(block.prompt_length for block in row.blocks)
        padded = sum(num * width for block in row.blocks for num, width in block.buckets)
        assert padded <= BUCKET_WASTE * (len(row.input_ids_T) - prompts)
        if row.places_S is not None and row.kept_T is not None:
            assert len(row.places_S) == prompts + padded > len(row.input_ids_T)
            assert row.places_S[row.kept_T].tolist() == list(range(len(row.input_ids_T)))
        else:
            assert prompts + padded == len(row.input_ids_T)


@settings(max_examples=25, deadline=None)
@given(GROUPS, integers(1, 120))
def test_neighbours_do_not_change_a_logprob(groups: list[list[int]], budget: int) -> None:
    model, sequences = model_of(num_key_value_heads=2), sequences_of(groups)
    expected = {
        index: score(hidden_states(model, batch), completion_head(model), batch.targets_M, 1.0)
        for index, sequence in enumerate(sequences)
        for batch in pack([sequence], 1)
    }
    attend_packed(model)
    for row in pack_rows(sequences, budget):
        scored = score(hidden_states(model, row), completion_head(model), row.targets_M, 1.0)
        found = scored.split(list(row.lengths))
        for index, logprobs in zip(row.sequences, found, strict=True):
            torch.testing.assert_close(logprobs, expected[index], atol=1e-5, rtol=1e-5)


def test_scoring_some_rows_at_a_time_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of()
    attend_packed(model)
    (row,) = pack_rows(sequences_of([[3, 9], [20]]), 1_000)
    logprobs = (completion_head(model)(hidden_states(model, row)) / 0.6).log_softmax(-1)
    expected = logprobs.gather(-1, row.targets_M[:, None])[:, 0].detach()
    monkeypatch.setattr("markscheme.grpo.head.chunk_rows", lambda head: 7)
    found = score(hidden_states(model, row), completion_head(model), row.targets_M, 0.6)
    torch.testing.assert_close(found, expected)


def test_generation_is_as_before(tiny_model: PreTrainedModel) -> None:
    ids = torch.tensor([[5, 6, 7, 8], [9, 10, 0, 0]])
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])
    before = tiny_model(input_ids=ids, attention_mask=mask).logits
    attend_packed(tiny_model)
    assert torch.equal(tiny_model(input_ids=ids, attention_mask=mask).logits, before)


def test_a_model_that_takes_packed_rows_gets_them(tiny_model: PreTrainedModel) -> None:
    assert packing_for(tiny_model) is pack_rows


@pytest.mark.parametrize("window", [8, 1_000])
def test_a_model_that_sees_a_window_only_gets_padded_rows(window: int) -> None:
    model = model_of(use_sliding_window=True, sliding_window=window, max_window_layers=0)
    with pytest.warns(UserWarning, match=r"Qwen2ForCausalLM cannot take packed rows \(its layers see a window only\)"):
        assert packing_for(model) is pack
    assert model.config._attn_implementation == "sdpa"


def test_a_model_of_another_make_that_sees_a_window_only_gets_padded_rows() -> None:
    sizes = {"num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1, "intermediate_size": 16}
    model = MistralForCausalLM(MistralConfig(vocab_size=50, hidden_size=16, sliding_window=1_000, **sizes))
    with pytest.warns(UserWarning, match=r"its layers see a window only"):
        assert packing_for(model) is pack
    model = MistralForCausalLM(MistralConfig(vocab_size=50, hidden_size=16, sliding_window=None, **sizes))
    assert packing_for(model) is pack_rows


def test_a_model_whose_hidden_states_would_differ_gets_padded_rows(tiny_model: PreTrainedModel) -> None:
    with (
        patch(
            "markscheme.packing.attention.mask_of", lambda prompt, width, device: torch.ones(width, prompt + width) > 0
        ),
        pytest.warns(UserWarning, match=r"Qwen2ForCausalLM cannot take packed rows \(hidden states differ by"),
    ):
        assert packing_for(tiny_model) is pack


def test_a_model_whose_forward_takes_no_packed_row_gets_padded_rows(
    tiny_model: PreTrainedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = tiny_model.base_model.forward

    def strict(input_ids: object, position_ids: object = None, attention_mask: object = None, use_cache: bool = True):  # type: ignore[no-untyped-def]
        return forward(
            input_ids=input_ids, position_ids=position_ids, attention_mask=attention_mask, use_cache=use_cache
        )

    monkeypatch.setattr(tiny_model.base_model, "forward", strict)
    with pytest.warns(UserWarning, match="unexpected keyword argument 'packed'"):
        assert packing_for(tiny_model) is pack
