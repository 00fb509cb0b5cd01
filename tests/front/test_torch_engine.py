import gc
import weakref
from unittest.mock import patch

import pytest
import torch
from torch import tensor
from transformers import Gemma3ForCausalLM, Gemma3TextConfig, PreTrainedModel, PreTrainedTokenizerBase

from markscheme.files import InputError
from markscheme.generation import FinishReason, Request, Sampling, generate
from markscheme.models import fingerprint
from markscheme.torch_engine import MARGIN, TorchEngine, _RowCache

PROMPTS = ("Mia has 3 eggs.", "How many?", "There are 12 boxes in the room, and 7 of them are red.")
SAMPLING = Sampling(max_completion_tokens=12)


@pytest.fixture
def engine(tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> TorchEngine:
    return TorchEngine(tiny_model, tokenizer)


@pytest.fixture
def requests(tokenizer: PreTrainedTokenizerBase) -> list[Request]:
    return [
        Request(prompt_ids=tuple(tokenizer.encode(text)), seeds=tuple(range(10 * i, 10 * i + 4)))
        for i, text in enumerate(PROMPTS)
    ]


def test_logprobs_are_those_of_the_model_without_a_cache(engine: TorchEngine, requests: list[Request]) -> None:
    for request, group in zip(requests, generate(engine, requests, SAMPLING), strict=True):
        for completion in group:
            ids = tensor([request.prompt_ids + completion.ids])
            with torch.no_grad():
                logprobs = engine.model(ids).logits[0].log_softmax(-1)
            first = len(request.prompt_ids) - 1
            expected = [float(logprobs[first + i, token]) for i, token in enumerate(completion.ids)]
            assert completion.logprobs == pytest.approx(expected, abs=1e-5)


def test_temperature_is_part_of_the_logprobs(engine: TorchEngine, requests: list[Request]) -> None:
    request = requests[0]
    completion = generate(engine, [request], Sampling(max_completion_tokens=1, temperature=0.5))[0][0]
    with torch.no_grad():
        logits = engine.model(tensor([request.prompt_ids])).logits[0, -1]
    assert completion.logprobs[0] == pytest.approx(float((logits / 0.5).log_softmax(-1)[completion.ids[0]]), abs=1e-5)


def test_greedy_equals_the_librarys_own_greedy_decoding(engine: TorchEngine, requests: list[Request]) -> None:
    for request in requests:
        ours = generate(engine, [request], Sampling(temperature=0, max_completion_tokens=12))[0][0]
        theirs = engine.model.generate(tensor([request.prompt_ids]), max_new_tokens=12, do_sample=False)
        assert ours.ids == tuple(theirs[0, len(request.prompt_ids) :].tolist())


@pytest.mark.parametrize("max_rows", [1, 3, 5, 256])
def test_a_completion_does_not_depend_on_its_batch(engine: TorchEngine, requests: list[Request], max_rows: int) -> None:
    alone = [
        [generate(engine, [Request(prompt_ids=r.prompt_ids, seeds=(s,))], SAMPLING)[0][0] for s in r.seeds]
        for r in requests
    ]
    engine.max_rows = max_rows
    together = generate(engine, requests, SAMPLING)
    assert [[c.ids for c in group] for group in together] == [[c.ids for c in group] for group in alone]


def test_rounding_that_depends_on_the_batch_decides_nothing(
    tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
) -> None:
    """A model whose tokens come in pairs that are all but equally likely, on a machine whose logits are off by a few
    millionths, otherwise in each size of batch."""
    head = tiny_model.get_output_embeddings().weight
    with torch.no_grad():
        head[1::2] = head[::2]
    requests = [Request(prompt_ids=tuple(range(3, 5 + n)), seeds=(0,)) for n in range(40)]

    class Rounding(TorchEngine):
        def _logits(self, hidden_BH: torch.Tensor) -> torch.Tensor:
            logits = super()._logits(hidden_BH)
            return logits + 4e-6 * torch.rand(logits.shape, generator=torch.Generator().manual_seed(len(logits)))

    greedy = Sampling(temperature=0, max_completion_tokens=12)

    def written(max_rows: int, margin: float = MARGIN) -> list[tuple[tuple[int, ...], tuple[float, ...]]]:
        groups = generate(Rounding(tiny_model, tokenizer, max_rows, margin), requests, greedy)
        return [(completion.ids, completion.logprobs) for group in groups for completion in group]

    def ids(written: list[tuple[tuple[int, ...], tuple[float, ...]]]) -> list[tuple[int, ...]]:
        return [ids for ids, _ in written]

    assert written(40) == written(16) == written(7)  # every token is a close call: the logprobs are settled with it
    assert ids(written(40, margin=0)) != ids(written(7, margin=0))
    assert TorchEngine(tiny_model, tokenizer, margin=MARGIN).batch_invariant
    assert not TorchEngine(tiny_model, tokenizer).batch_invariant


def test_seeds_differ_and_repeat(engine: TorchEngine, requests: list[Request]) -> None:
    first, again = generate(engine, requests, SAMPLING), generate(engine, requests, SAMPLING)
    assert first == again
    assert len({completion.ids for completion in first[0]}) == 4


def test_rows_that_finish_at_different_times(
    engine: TorchEngine, requests: list[Request], monkeypatch: pytest.MonkeyPatch
) -> None:
    # About a third of the vocabulary ends a completion, so rows leave the batch all the time.
    long = {c.ids for group in generate(engine, requests, SAMPLING) for c in group}
    monkeypatch.setattr(engine, "end_ids", frozenset(range(0, 635, 3)))
    groups = generate(engine, requests, SAMPLING)
    for completion in (completion for group in groups for completion in group):
        *before, last = completion.ids
        assert not any(token % 3 == 0 for token in before)
        assert (completion.finish_reason is FinishReason.STOP) == (last % 3 == 0)
        assert any(ids[: len(completion.ids)] == completion.ids for ids in long)  # the same stream, only cut


def test_length_is_the_samplers_word_not_the_last_tokens(engine: TorchEngine, requests: list[Request]) -> None:
    engine.end_ids = frozenset()
    groups = generate(engine, requests, Sampling(max_completion_tokens=5))
    assert {(len(c.ids), c.finish_reason) for group in groups for c in group} == {(5, FinishReason.LENGTH)}


def test_end_token_on_the_last_allowed_place_is_a_stop(engine: TorchEngine, requests: list[Request]) -> None:
    engine.end_ids = frozenset(range(700))
    groups = generate(engine, requests, Sampling(max_completion_tokens=1))
    assert {c.finish_reason for group in groups for c in group} == {FinishReason.STOP}
    assert {c.text for group in groups for c in group} == {""}  # the end token is no text


def test_stop_string_ends_the_text_before_it(
    engine: TorchEngine, requests: list[Request], tokenizer: PreTrainedTokenizerBase
) -> None:
    free = generate(engine, requests[:1], SAMPLING)[0][0]
    stop = free.text[4:6]
    stopped = generate(engine, requests[:1], Sampling(max_completion_tokens=12, stop=(stop,)))[0][0]
    assert stopped.text == free.text[: free.text.index(stop)]
    assert stopped.finish_reason is FinishReason.STOP
    assert free.ids[: len(stopped.ids)] == stopped.ids
    assert stop in tokenizer.decode(stopped.ids)


def test_a_prompt_without_room_is_refused(engine: TorchEngine) -> None:
    with pytest.raises(InputError, match="prompt 0 has 2040 tokens: with max_completion_tokens 12"):
        generate(engine, [Request(prompt_ids=(5,) * 2040, seeds=(0,))], SAMPLING)
    with pytest.raises(InputError, match="prompt 0 is empty"):
        generate(engine, [Request(prompt_ids=(), seeds=(0,))], SAMPLING)


def test_new_weights_are_used_at_once(engine: TorchEngine, requests: list[Request]) -> None:
    before = generate(engine, requests, SAMPLING)
    torch.manual_seed(1)
    changed = {name: tensor + 0.3 * torch.randn_like(tensor) for name, tensor in engine.model.state_dict().items()}
    engine.load_weights(changed.items())
    assert generate(engine, requests, SAMPLING) != before


def test_training_mode_is_given_back(engine: TorchEngine, requests: list[Request]) -> None:
    engine.model.train()
    generate(engine, requests, SAMPLING)
    assert engine.model.training


def test_sliding_window_models_are_refused(tokenizer: PreTrainedTokenizerBase) -> None:
    config = Gemma3TextConfig(
        vocab_size=64, hidden_size=16, intermediate_size=16, num_hidden_layers=6, num_attention_heads=1,
        num_key_value_heads=1, head_dim=16,
    )  # fmt: skip
    with pytest.raises(InputError, match="sliding_attention"):
        TorchEngine(Gemma3ForCausalLM(config), tokenizer)


@pytest.mark.parametrize(
    "wrong", [{"temperature": -1.0}, {"top_p": 0.0}, {"top_p": 1.5}, {"max_completion_tokens": 0}, {"stop": ("",)}]
)
def test_senseless_sampling_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must"):
        Sampling(**wrong)  # type: ignore[arg-type]


def test_keys_and_values_are_gone_when_the_last_completion_is_there(
    tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
) -> None:
    """Without the collector of cycles, which comes when it likes."""
    made: list[weakref.ref[_RowCache]] = []
    plain = _RowCache.__init__

    def noting(self: _RowCache, num_layers: int) -> None:
        plain(self, num_layers)
        made.append(weakref.ref(self))

    gc.disable()
    try:
        with patch.object(_RowCache, "__init__", noting):
            request = Request(prompt_ids=(1, 2, 3), seeds=(0, 1))
            generate(TorchEngine(tiny_model, tokenizer), [request], Sampling(max_completion_tokens=4))
        assert len(made) == 1
        assert made[0]() is None
    finally:
        gc.enable()


def test_its_fingerprint_is_that_of_the_weights_of_now(
    tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
) -> None:
    engine = TorchEngine(tiny_model, tokenizer)
    before = engine.fingerprint()
    assert before == fingerprint(tiny_model, tokenizer)
    with torch.no_grad():
        next(tiny_model.parameters()).mul_(1.5)
    assert engine.fingerprint() != before
