"""DPO: its pairs, its loss by hand and beside TRL's, its gradient against plain rows, and going on bit by bit."""

import copy
import dataclasses
import importlib.util
import math
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis.strategies import integers, lists, sampled_from, tuples
from torch import Tensor, tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from markscheme.files import InputError
from markscheme.grpo.baselines.dpo import DPOConfig, dpo_coefficients, dpo_margins, pair_logprobs, train_dpo
from markscheme.grpo.baselines.pairs import TokenPair, pair_rows, preference_pairs
from markscheme.grpo.baselines.samples import Judged
from markscheme.packing.attention import Packing, attend_packed
from markscheme.packing.layout import PackedRow, pack_rows
from markscheme.packing.sequences import TokenSequence, pack
from markscheme.policy.make import make_model
from markscheme.run_log import RunLog

PAIRS = [
    TokenPair(
        prompt_ids=(5, 6, 7)[: 1 + i % 3],
        chosen_ids=tuple(10 + i + j for j in range(1 + i % 4)),
        rejected_ids=tuple(40 + 2 * i + j for j in range(1 + (i + 2) % 3)),
    )
    for i in range(10)
]
CONFIG = DPOConfig(
    learning_rate=1e-2, warmup_steps=2, batch_size=4, epochs=3, checkpoint_every=2, log_every=1, token_budget=20
)


def judged(prompt: int, ids: tuple[int, ...], correct: bool | None, *, cut_off: bool = False) -> Judged:
    sequence = TokenSequence(prompt_ids=(prompt,), completion_ids=ids)
    return Judged(sequence=sequence, correct=correct, is_cut_off=cut_off)


GROUPS = [
    [
        judged(1, (10, 0), True),
        judged(1, (10, 0), True),  # the same again
        judged(1, (11, 0), True),
        judged(1, (12, 0), True),
        judged(1, (13, 13), True, cut_off=True),
        judged(1, (14, 0), None),
        judged(1, (20, 0), False),
        judged(1, (21, 21), False, cut_off=True),
    ],
    [judged(2, (10, 0), True), judged(2, (11, 0), True)],  # nothing to prefer them to
    [judged(3, (20, 0), False), judged(3, (21, 0), None)],
    [judged(4, (20, 0), False), judged(4, (11, 0), True), judged(4, (21, 0), False)],
]


def test_pairs_are_of_one_problem_a_correct_and_an_incorrect_one() -> None:
    pairs = preference_pairs(GROUPS, pairs_per_problem=8, seed=0)
    first, last = pairs[:3], pairs[3:]
    assert {pair.prompt_ids for pair in first} == {(1,)}
    assert sorted(pair.chosen_ids for pair in first) == [(10, 0), (11, 0), (12, 0)]
    assert {pair.rejected_ids for pair in first[:2]} == {(20, 0), (21, 21)}  # each before one comes again
    assert first[2].rejected_ids == first[0].rejected_ids
    assert [(pair.prompt_ids, pair.chosen_ids) for pair in last] == [((4,), (11, 0))]


def test_pairs_are_few_and_a_matter_of_the_seed() -> None:
    assert [pair.prompt_ids for pair in preference_pairs(GROUPS, 2, seed=0)] == [(1,), (1,), (4,)]
    assert preference_pairs(GROUPS, 8, seed=1) == preference_pairs(GROUPS, 8, seed=1)
    assert len({tuple(preference_pairs(GROUPS, 8, seed)) for seed in range(10)}) > 1


def test_no_pairs_is_said() -> None:
    with pytest.raises(InputError, match="none of 2 problems has both a correct and an incorrect completion"):
        preference_pairs(GROUPS[1:3], 4, seed=0)


def test_the_loss_by_hand() -> None:
    # chosen: -1 - (-2) = 1; rejected: -5 - (-4) = -1; beta (1 - (-1)) = 0.5 * 2 = 1; log(1 + e^-1) = 0.31326
    margins = dpo_margins(tensor([[-1.0, -5.0]]), tensor([[-2.0, -4.0]]), beta=0.5)
    torch.testing.assert_close(margins, tensor([1.0]))
    torch.testing.assert_close(-F.logsigmoid(margins), tensor([0.31326]), atol=1e-5, rtol=0)


def drawn(seed: int) -> Tensor:
    return -10 * torch.rand(6, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def loss_of(logprobs_N2: Tensor, beta: float) -> Tensor:
    return -F.logsigmoid(dpo_margins(logprobs_N2, drawn(1), beta)).sum()


@pytest.mark.parametrize("beta", [0.1, 1.0])
def test_the_coefficient_is_that_of_the_unified_paradigm_times_beta(beta: float) -> None:
    now, reference = drawn(0), drawn(1)
    # sigma(beta log pi(o-) / pi_ref(o-) - beta log pi(o+) / pi_ref(o+)), + on o+ and - on o-
    expected = torch.sigmoid(beta * (now[:, 1] - reference[:, 1]) - beta * (now[:, 0] - reference[:, 0]))
    found = dpo_coefficients(dpo_margins(now, reference, beta), beta)
    torch.testing.assert_close(found, beta * torch.stack([expected, -expected], dim=-1))

    moving = now.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss_of(moving, beta), moving)
    torch.testing.assert_close(found, -gradient)
    step = 1e-5
    for place in [(0, 0), (0, 1), (5, 0), (5, 1)]:
        up, down = now.clone(), now.clone()
        up[place] += step
        down[place] -= step
        difference = (loss_of(up, beta) - loss_of(down, beta)) / (2 * step)
        torch.testing.assert_close(found[place], -difference, rtol=1e-6, atol=1e-9)


@pytest.mark.skipif(importlib.util.find_spec("trl") is None, reason="TRL is not installed")
def test_loss_and_metrics_are_those_of_trl() -> None:
    from trl import DPOTrainer

    now, reference, beta = drawn(0), drawn(1), 0.3
    logprobs = now.clone().requires_grad_()
    rows = logprobs.T.reshape(-1, 1)  # all chosen, then all rejected ones, of one token each
    outputs = MagicMock(log_probs=rows, entropy=rows, mean_logits=rows, is_top1=torch.ones_like(rows, dtype=torch.bool))
    trainer = MagicMock(
        beta=beta, ld_alpha=None, f_divergence_type="reverse_kl", loss_types=["sigmoid"], loss_weights=[1.0],
        precompute_ref_logps=True, use_weighting=False, aux_loss_enabled=False, _tp_size=1, _total_train_tokens=0,
        _metrics={"train": defaultdict(list)}, model=SimpleNamespace(training=True),
    )  # fmt: skip
    trainer.accelerator.gather = trainer.accelerator.gather_for_metrics = lambda values: values
    mask = torch.ones(len(rows), 2, dtype=torch.long)
    inputs = {
        **{"input_ids": mask, "attention_mask": mask, "completion_mask": tensor([[0, 1]] * len(rows))},
        **{"ref_chosen_logps": reference[:, 0], "ref_rejected_logps": reference[:, 1]},
    }
    loss = DPOTrainer._compute_loss(trainer, lambda **_: outputs, inputs, return_outputs=False)
    (gradient,) = torch.autograd.grad(loss, logprobs)

    margins = dpo_margins(now, reference, beta)
    torch.testing.assert_close(-F.logsigmoid(margins).mean(), loss.detach())
    torch.testing.assert_close(-dpo_coefficients(margins, beta) / len(margins), gradient)
    metrics = trainer._metrics["train"]
    assert metrics["rewards/margins"] == [pytest.approx(float(margins.mean()))]
    assert metrics["rewards/accuracies"] == [pytest.approx(float((margins > 0).double().mean()))]


LENGTHS = lists(tuples(integers(1, 9), integers(1, 20), integers(1, 20)), min_size=1, max_size=8)


@given(LENGTHS, integers(1, 120), sampled_from([pack_rows, pack]))
def test_micro_batches_hold_whole_pairs(lengths: list[tuple[int, int, int]], budget: int, packing: Packing) -> None:
    pairs = [
        TokenPair(
            prompt_ids=tuple(range(1, 1 + prompt)),  # some share it
            chosen_ids=tuple(range(100 * i, 100 * i + chosen)),
            rejected_ids=tuple(range(100 * i + 50, 100 * i + 50 + rejected)),
        )
        for i, (prompt, chosen, rejected) in enumerate(lengths)
    ]
    rows = pair_rows(pairs, packing, budget)
    assert [k for places, _ in rows for k in range(len(pairs))[places]] == list(range(len(pairs)))
    for places, row in rows:
        size = row.input_ids_T.numel() if isinstance(row, PackedRow) else row.input_ids_BL.numel()
        assert size <= budget or len(range(len(pairs))[places]) == 1
        here = pairs[places]
        assert sorted(row.sequences) == list(range(2 * len(here)))
        written = [(here[k // 2].chosen_ids, here[k // 2].rejected_ids)[k % 2] for k in row.sequences]
        assert row.targets_M.tolist() == [token for ids in written for token in ids]


def plain_logprobs(model: PreTrainedModel, prompt_ids: tuple[int, ...], ids: tuple[int, ...]) -> Tensor:
    """log pi of a completion in a row of its own."""
    logprobs = model(tensor([prompt_ids + ids])).logits[0, len(prompt_ids) - 1 : -1].log_softmax(-1)
    return logprobs.gather(-1, tensor(ids)[:, None]).sum()


def plain_margin(model: PreTrainedModel, reference: PreTrainedModel, pair: TokenPair, beta: float) -> Tensor:
    chosen, rejected = (
        plain_logprobs(model, pair.prompt_ids, ids) - plain_logprobs(reference, pair.prompt_ids, ids).detach()
        for ids in (pair.chosen_ids, pair.rejected_ids)
    )
    return beta * (chosen - rejected)


class InterruptionError(Exception):
    pass


def train(model: PreTrainedModel, folder: Path, config: DPOConfig = CONFIG, stop: int = 0) -> list[dict[str, float]]:
    def on_step(done: int, loss: float) -> None:
        if done == stop:
            raise InterruptionError

    log = RunLog(folder, {"dpo": dataclasses.asdict(config)})
    train_dpo(model, PAIRS, config, log, on_step)
    return log.read()


@pytest.mark.parametrize(("packing", "token_budget"), [(pack_rows, 1), (pack_rows, 20), (pack_rows, 4_096), (pack, 20)])
def test_the_gradient_is_that_of_plain_padded_rows(
    tokenizer: PreTrainedTokenizerBase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packing: Packing,
    token_budget: int,
) -> None:  # fmt: skip
    model = make_model(len(tokenizer), width=32, layers=2, seed=0)
    reference = make_model(len(tokenizer), width=32, layers=2, seed=1)  # another model, so that margins are not 0
    config = dataclasses.replace(CONFIG, batch_size=len(PAIRS), epochs=1, token_budget=token_budget, beta=0.7)
    margins = torch.stack([plain_margin(model, reference, pair, config.beta) for pair in PAIRS])
    assert float(margins.detach().abs().max()) > 0.1
    (-F.logsigmoid(margins).mean()).backward()
    expected = {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}
    model.zero_grad()
    margins = margins.detach()

    def caught(model: PreTrainedModel, *_: object) -> dict[str, float]:
        for name, weight in model.named_parameters():
            assert weight.grad is not None
            assert float((weight.grad - expected[name]).norm()) <= 1e-5 * float(expected[name].norm()), name
        return {}

    attend_packed(model)
    attend_packed(reference)
    module = "markscheme.grpo.baselines.dpo"
    monkeypatch.setattr(f"{module}.packing_for", lambda model: packing)
    monkeypatch.setattr(f"{module}.pair_logprobs", lambda model, *rest: pair_logprobs(reference, *rest))
    monkeypatch.setattr("markscheme.grpo.baselines.sft.take_step", caught)
    (line,) = train(model, tmp_path / "run", config)
    assert line["loss"] == pytest.approx(float(-F.logsigmoid(margins).mean()), rel=1e-5)
    assert line["margin"] == pytest.approx(float(margins.mean()), rel=1e-4)
    assert line["accuracy"] == pytest.approx(float((margins > 0).float().mean()))


def test_it_learns_to_prefer(tiny_model: PreTrainedModel, tmp_path: Path) -> None:
    before = copy.deepcopy(tiny_model)
    lines = train(tiny_model, tmp_path / "run", dataclasses.replace(CONFIG, epochs=12))
    assert lines[0]["loss"] == pytest.approx(math.log(2), abs=1e-6)  # it is its own reference
    assert lines[0]["margin"] == pytest.approx(0, abs=1e-6)
    assert lines[-1]["accuracy"] == 1
    assert lines[-1]["loss"] < 0.3
    for pair in PAIRS:
        assert float(plain_margin(tiny_model, before, pair, CONFIG.beta).detach()) > 0


@pytest.mark.parametrize("stop_after", [1, 2, 5, 7])
def test_an_interrupted_run_goes_on_bit_by_bit(
    tokenizer: PreTrainedTokenizerBase, tmp_path: Path, stop_after: int
) -> None:
    undisturbed, stopped, resumed = (make_model(len(tokenizer), width=32, layers=1, seed=0) for _ in range(3))
    assert len(train(undisturbed, tmp_path / "a")) == 7  # 10 * 3 / 4, cut
    with pytest.raises(InterruptionError):
        train(stopped, tmp_path / "b", stop=stop_after)
    train(resumed, tmp_path / "b")  # from the initial weights, which are the reference
    assert (tmp_path / "a" / "metrics.jsonl").read_bytes() == (tmp_path / "b" / "metrics.jsonl").read_bytes()
    for name, weight in undisturbed.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], weight), name


@pytest.mark.parametrize(("name", "value"), [("beta", 0.0), ("pairs_per_problem", 0), ("num_samples", 0)])
def test_senseless_settings_are_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"{name} must be above 0, got {value}"):
        DPOConfig(**{name: value})  # type: ignore[arg-type]


def test_a_run_is_not_gone_on_with_as_another(tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    model, log = make_model(len(tokenizer), width=32, layers=1, seed=0), RunLog(tmp_path, {})
    train_dpo(model, PAIRS, CONFIG, log)
    with pytest.raises(InputError, match=r"other settings \(beta was .*, is 0.7\): give another folder"):
        train_dpo(model, PAIRS, dataclasses.replace(CONFIG, beta=0.7), log)
    with pytest.raises(InputError, match=r"other settings \(examples was .*\): give another folder"):
        train_dpo(model, PAIRS[1:], CONFIG, log)
