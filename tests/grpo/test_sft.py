"""Supervised fine-tuning: its loss worked out by hand, that it learns, and that it goes on bit by bit."""

import dataclasses
import math
from pathlib import Path

import pytest
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from markscheme.files import InputError
from markscheme.grpo.baselines.sft import SFTConfig, train_sft
from markscheme.packing.attention import Packing, attend_packed
from markscheme.packing.layout import pack_rows
from markscheme.packing.sequences import TokenSequence, pack
from markscheme.policy.make import make_model
from markscheme.run_log import RunLog
from markscheme.schedule import batch_indices

EXAMPLES = [
    TokenSequence(prompt_ids=(5, 6, 7)[: 1 + i % 3], completion_ids=tuple(10 + i + j for j in range(1 + i % 4)))
    for i in range(10)
]
CONFIG = SFTConfig(
    learning_rate=1e-2, warmup_steps=2, batch_size=4, epochs=3, checkpoint_every=2, log_every=1, token_budget=20
)


class InterruptionError(Exception):
    pass


def train(
    model: PreTrainedModel,
    folder: Path,
    config: SFTConfig = CONFIG,
    on_step=lambda done, loss: None,  # type: ignore[no-untyped-def]
) -> list[dict[str, float]]:
    log = RunLog(folder, {"sft": dataclasses.asdict(config)})
    train_sft(model, EXAMPLES, config, log, on_step)
    return log.read()


def fresh(tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    return make_model(len(tokenizer), width=32, layers=1, seed=0)


def test_a_model_that_knows_nothing_loses_the_log_of_the_vocabulary(
    tiny_model: PreTrainedModel, tmp_path: Path
) -> None:
    # With the output embeddings at 0 every one of V tokens has probability 1 / V: the loss is log V, whatever
    # the tokens are, and however they are spread over the micro-batches.
    head = tiny_model.get_output_embeddings()
    assert isinstance(head, torch.nn.Linear)
    head.weight = torch.nn.Parameter(torch.zeros_like(head.weight))  # which the input embeddings keep out of
    first, *_ = train(tiny_model, tmp_path / "run")
    assert first["loss"] == pytest.approx(math.log(tiny_model.config.vocab_size), rel=1e-6)


def test_the_loss_is_the_mean_over_the_completion_tokens_of_the_batch(
    tiny_model: PreTrainedModel, tmp_path: Path
) -> None:
    total, num_tokens = 0.0, 0
    for index in batch_indices(len(EXAMPLES), CONFIG.batch_size, 0, CONFIG.seed):
        example = EXAMPLES[index]
        with torch.no_grad():
            logprobs = tiny_model(torch.tensor([example.prompt_ids + example.completion_ids])).logits[0].log_softmax(-1)
        first = len(example.prompt_ids) - 1  # the prompt's last token predicts the completion's first
        total += sum(float(logprobs[first + j, token]) for j, token in enumerate(example.completion_ids))
        num_tokens += len(example.completion_ids)
    line = train(tiny_model, tmp_path / "run")[0]
    assert line["loss"] == pytest.approx(-total / num_tokens, rel=1e-5)
    assert line["tokens"] == num_tokens
    assert line["learning_rate"] == CONFIG.learning_rate / 2  # the first of two warm-up steps


@pytest.mark.parametrize(("packing", "token_budget"), [(pack_rows, 1), (pack_rows, 8), (pack_rows, 4_096), (pack, 8)])
def test_the_gradient_is_that_of_plain_rows(
    tiny_model: PreTrainedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packing: Packing, token_budget: int
) -> None:
    batch = [EXAMPLES[i] for i in batch_indices(len(EXAMPLES), CONFIG.batch_size, 0, CONFIG.seed)]
    total = torch.zeros(())
    for example in batch:
        logits = tiny_model(torch.tensor([example.prompt_ids + example.completion_ids])).logits[0]
        logprobs = logits[len(example.prompt_ids) - 1 : -1].log_softmax(-1)
        total = total - logprobs.gather(-1, torch.tensor(example.completion_ids)[:, None]).sum()
    (total / sum(len(example.completion_ids) for example in batch)).backward()
    expected = {name: weight.grad.clone() for name, weight in tiny_model.named_parameters() if weight.grad is not None}
    tiny_model.zero_grad()

    def caught(model: PreTrainedModel, *_: object) -> dict[str, float]:
        for name, weight in model.named_parameters():
            assert weight.grad is not None
            assert float((weight.grad - expected[name]).norm()) <= 1e-5 * float(expected[name].norm()), name
        raise InterruptionError

    attend_packed(tiny_model)
    monkeypatch.setattr("markscheme.grpo.baselines.sft.packing_for", lambda model: packing)
    monkeypatch.setattr("markscheme.grpo.baselines.sft.take_step", caught)
    with pytest.raises(InterruptionError):
        train(tiny_model, tmp_path / "run", dataclasses.replace(CONFIG, token_budget=token_budget))


@pytest.mark.parametrize("token_budget", [1, 8, 4_096])
def test_micro_batches_cannot_change_the_gradient(
    tokenizer: PreTrainedTokenizerBase, tmp_path: Path, token_budget: int
) -> None:
    config = dataclasses.replace(CONFIG, epochs=0.4)  # one step
    whole = train(fresh(tokenizer), tmp_path / "whole", config)
    parts = train(fresh(tokenizer), tmp_path / "parts", dataclasses.replace(config, token_budget=token_budget))
    assert len(whole) == 1
    for name in ("loss", "grad_norm"):
        assert parts[0][name] == pytest.approx(whole[0][name], rel=1e-5)


def test_it_learns_the_completions_by_heart(tiny_model: PreTrainedModel, tmp_path: Path) -> None:
    one = [TokenSequence(prompt_ids=(5, 6), completion_ids=(10, 11, 12, 0))]
    config = dataclasses.replace(CONFIG, epochs=40, batch_size=1)
    log = RunLog(tmp_path / "run", {})
    train_sft(tiny_model, one, config, log)
    assert log.read()[-1]["loss"] < 0.05
    ids = [5, 6]
    for _ in range(4):
        ids.append(int(tiny_model(torch.tensor([ids])).logits[0, -1].argmax()))
    assert ids[2:] == [10, 11, 12, 0]


@pytest.mark.parametrize("stop_after", [1, 2, 5, 7])
def test_an_interrupted_run_goes_on_bit_by_bit(
    tokenizer: PreTrainedTokenizerBase, tmp_path: Path, stop_after: int
) -> None:
    def stop(done: int, loss: float) -> None:
        if done == stop_after:
            raise InterruptionError

    undisturbed, resumed = fresh(tokenizer), fresh(tokenizer)
    assert len(train(undisturbed, tmp_path / "a")) == CONFIG.num_steps(len(EXAMPLES)) == 7  # 10 * 3 / 4, cut
    with pytest.raises(InterruptionError):
        train(fresh(tokenizer), tmp_path / "b", on_step=stop)
    train(resumed, tmp_path / "b")
    assert (tmp_path / "a" / "metrics.jsonl").read_bytes() == (tmp_path / "b" / "metrics.jsonl").read_bytes()
    for name, tensor in undisturbed.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], tensor), name
    assert [path.name for path in (tmp_path / "b" / "checkpoints").iterdir()] == ["step-0000007"]


@pytest.mark.parametrize(
    ("name", "value"),
    [("learning_rate", 0.0), ("batch_size", 0), ("epochs", -1.0), ("log_every", 0), ("decay_share", 2)],
)
def test_senseless_settings_are_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"{name} must be .*, got {value}"):
        SFTConfig(**{name: value})  # type: ignore[arg-type]


def test_a_run_has_at_least_one_step() -> None:
    assert SFTConfig(batch_size=16).num_steps(3) == 1
    assert SFTConfig(batch_size=16, epochs=1.5).num_steps(64) == 6


def test_a_run_is_not_gone_on_with_as_another(tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    """Also where a script gives the log no settings to compare."""

    def go_on(config: SFTConfig, examples: list[TokenSequence] = EXAMPLES) -> None:
        train_sft(fresh(tokenizer), examples, config, RunLog(tmp_path, {}))

    go_on(CONFIG)
    written = (tmp_path / "metrics.jsonl").read_bytes()
    for config, examples, what in (
        (dataclasses.replace(CONFIG, learning_rate=0.1), EXAMPLES, "learning_rate was 0.01, is 0.1"),
        (dataclasses.replace(CONFIG, seed=5, epochs=6), EXAMPLES, "epochs was 3, is 6"),
        (CONFIG, EXAMPLES[::-1], "examples was [0-9a-f]{16}, is [0-9a-f]{16}"),
    ):
        with pytest.raises(InputError, match=rf"holds a run with other settings \(.*{what}.*\): give another folder"):
            go_on(config, examples)
    go_on(dataclasses.replace(CONFIG, checkpoint_every=5, log_every=3, token_budget=50))
    assert (tmp_path / "metrics.jsonl").read_bytes() == written
