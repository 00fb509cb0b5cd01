"""A bfloat16 policy: taken in packed rows, its gradient summed up in float32, the head's own included."""

import copy
import dataclasses
import warnings

import pytest
import torch
from transformers import PreTrainedModel, Qwen2Config, Qwen2ForCausalLM

from markscheme.grpo.config import GRPOConfig
from markscheme.grpo.head import check_head, completion_head, score_and_backward
from markscheme.optimizer import MasterAdamW, make_optimizer, take_step
from markscheme.packing.attention import packing_for
from markscheme.packing.layout import PackedRow, pack_rows
from markscheme.packing.sequences import TokenSequence
from markscheme.packing.trunk import hidden_states

SEQUENCES = [
    TokenSequence(prompt_ids=tuple(range(5 + k, 12 + k)), completion_ids=tuple(range(20 + k, 30 + 3 * k)))
    for k in range(6)
]
CONFIG = GRPOConfig(learning_rate=1e-2, decay_share=0.0, max_grad_norm=1e9)


def model_of(*, tied: bool) -> PreTrainedModel:
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=100,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        tie_word_embeddings=tied,
    )
    model: PreTrainedModel = Qwen2ForCausalLM(config).bfloat16()
    check_head(model)
    with warnings.catch_warnings(action="error"):
        assert packing_for(model) is pack_rows
    return model


def backward(model: PreTrainedModel, row: PackedRow) -> None:
    by_logprob_M = torch.linspace(-1, 2, len(row.targets_M))
    score_and_backward(
        hidden_states(model, row), completion_head(model), row.targets_M, 1.0, lambda rows, _: by_logprob_M[rows]
    )


@pytest.mark.parametrize("tied", [True, False])
def test_the_gradient_of_all_rows_is_their_sum_in_float32(tied: bool) -> None:
    model = model_of(tied=tied)
    rows = pack_rows(SEQUENCES, 30)
    assert len(rows) > 3
    expected = {name: torch.zeros(weight.shape) for name, weight in model.named_parameters()}
    for row in rows:  # each row's gradient is bfloat16, as it comes
        backward(model, row)
        for name, weight in model.named_parameters():
            assert weight.grad is not None
            expected[name] += weight.grad
        model.zero_grad()
    optimizer = make_optimizer(model, CONFIG)
    assert isinstance(optimizer, MasterAdamW)
    for row in rows:
        backward(model, row)
        assert all(weight.grad is None for weight in model.parameters())
    for master, (name, _) in zip(optimizer.masters, model.named_parameters(), strict=True):
        assert master.grad is not None
        assert torch.equal(master.grad, expected[name]), name


@pytest.mark.parametrize("tied", [True, False])
def test_a_step_is_that_of_float32_rounded(tied: bool) -> None:
    model = model_of(tied=tied)
    full = copy.deepcopy(model)
    optimizer = make_optimizer(model, CONFIG)
    for row in pack_rows(SEQUENCES, 30):
        backward(model, row)
    gradients = [master.grad.clone() for master in optimizer.gather()]  # type: ignore[attr-defined]
    metrics = take_step(model, optimizer, CONFIG, 0, 10)
    full = full.float()
    other = make_optimizer(full, CONFIG)
    for weight, gradient in zip(full.parameters(), gradients, strict=True):
        weight.grad = gradient
    assert metrics == take_step(full, other, CONFIG, 0, 10)
    for weight, expected in zip(model.parameters(), full.parameters(), strict=True):
        assert torch.equal(weight, expected.bfloat16())


def test_it_learns_at_a_rate_at_which_bfloat16_alone_does_not() -> None:
    full, model, plain = model_of(tied=True).float(), model_of(tied=True), model_of(tied=True)
    config = dataclasses.replace(CONFIG, learning_rate=1e-5)
    (row,) = pack_rows(SEQUENCES, 1_000)
    by_logprob_M = torch.full((len(row.targets_M),), -1 / len(row.targets_M))

    def fall(model: PreTrainedModel, optimizer: torch.optim.Optimizer) -> float:
        """Of the mean negative log-probability in 100 steps."""
        losses = []
        for step in range(100):
            hidden_MH, head = hidden_states(model, row), completion_head(model)
            logprobs_M, _ = score_and_backward(hidden_MH, head, row.targets_M, 1.0, lambda rows, _: by_logprob_M[rows])
            take_step(model, optimizer, config, step, 100)
            losses.append(-float(logprobs_M.mean()))
        return losses[0] - losses[-1]

    expected = fall(full, make_optimizer(full, config))
    lost = fall(plain, torch.optim.AdamW(plain.parameters(), lr=1e-5, betas=config.betas, weight_decay=0.0))
    assert fall(model, make_optimizer(model, config)) == pytest.approx(expected, rel=0.05)  # 0.0668 of 0.0675
    assert lost < expected / 3  # 0.0115
