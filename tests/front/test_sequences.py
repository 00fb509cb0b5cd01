import pytest
import torch
from hypothesis import given, settings
from hypothesis.strategies import integers, lists, tuples
from torch import tensor
from transformers import PreTrainedModel

from markscheme.files import InputError
from markscheme.grpo.head import check_head, completion_head, score
from markscheme.packing.sequences import TokenSequence, pack
from markscheme.packing.trunk import hidden_states

LENGTHS = lists(tuples(integers(1, 30), integers(1, 30)), min_size=1, max_size=12)


def sequences_of(lengths: list[tuple[int, int]]) -> list[TokenSequence]:
    return [
        TokenSequence(
            prompt_ids=tuple((7 * i + j) % 600 for j in range(prompt)),
            completion_ids=tuple((11 * i + 3 * j + 1) % 600 for j in range(completion)),
        )
        for i, (prompt, completion) in enumerate(lengths)
    ]


def test_one_batch_by_hand() -> None:
    short = TokenSequence(prompt_ids=(1,), completion_ids=(2, 3))
    long = TokenSequence(prompt_ids=(4, 5), completion_ids=(6, 7))
    (batch,) = pack([long, short], token_budget=6)
    assert batch.sequences == (1, 0)  # the short one first
    assert batch.input_ids_BL.tolist() == [[1, 2, 0], [4, 5, 6]]  # the last token predicts nothing
    assert batch.positions_M.tolist() == [0, 1, 4, 5]  # where 2, 3 and 6, 7 are predicted
    assert batch.targets_M.tolist() == [2, 3, 6, 7]
    assert batch.lengths == (2, 2)


@given(LENGTHS, integers(1, 200))
def test_every_sequence_is_packed_once_within_the_budget(lengths: list[tuple[int, int]], budget: int) -> None:
    sequences = sequences_of(lengths)
    batches = pack(sequences, budget)
    assert sorted(index for batch in batches for index in batch.sequences) == list(range(len(sequences)))
    for batch in batches:
        assert len(batch.sequences) == 1 or batch.input_ids_BL.numel() <= budget
        targets = [token for index in batch.sequences for token in sequences[index].completion_ids]
        assert batch.targets_M.tolist() == targets


@settings(max_examples=10)
@given(LENGTHS)
def test_padding_and_neighbours_do_not_change_a_logprob(lengths: list[tuple[int, int]]) -> None:
    from markscheme.policy.make import make_model

    model = make_model(635, width=32, layers=1, seed=0)
    sequences = sequences_of(lengths)
    found: dict[int, torch.Tensor] = {}
    for batch in pack(sequences, token_budget=120):
        scored = score(hidden_states(model, batch), completion_head(model), batch.targets_M, 1.0)
        logprobs = scored.split(list(batch.lengths))
        found |= dict(zip(batch.sequences, logprobs, strict=True))
    for index, sequence in enumerate(sequences):
        ids = tensor([sequence.prompt_ids + sequence.completion_ids])
        logits = model(ids).logits[0, len(sequence.prompt_ids) - 1 : -1]
        expected = logits.log_softmax(-1).gather(-1, tensor(sequence.completion_ids)[:, None])[:, 0]
        torch.testing.assert_close(found[index], expected, atol=1e-5, rtol=1e-5)


def test_a_sequence_needs_a_prompt_and_a_completion() -> None:
    with pytest.raises(ValueError, match="at least one token each"):
        TokenSequence(prompt_ids=(), completion_ids=(1,))


def test_models_that_change_their_logits_are_refused(
    tiny_model: PreTrainedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_head(tiny_model)
    forward = tiny_model.forward

    def capped(*args: object, **kwargs: object) -> object:
        output = forward(*args, **kwargs)
        output.logits = 0.5 * (output.logits / 0.5).tanh()
        return output

    monkeypatch.setattr(tiny_model, "forward", capped)
    with pytest.raises(InputError, match="changes its logits"):
        check_head(tiny_model)
