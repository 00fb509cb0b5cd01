"""The planner against the code whose memory and work it predicts."""

import dataclasses
from typing import Any
from unittest.mock import patch

import pytest
import torch
from transformers import Qwen2Config
from transformers.models.qwen2.modeling_qwen2 import Qwen2DecoderLayer

from markscheme import torch_engine
from markscheme.devices import GIB, SHEETS, Device
from markscheme.files import InputError
from markscheme.generation import Request, Sampling
from markscheme.grpo import pace
from markscheme.grpo.config import GRPOConfig
from markscheme.grpo.footprint import _Held, cached_tokens, footprint
from markscheme.grpo.head import completion_head, score_and_backward
from markscheme.grpo.objective import Objective
from markscheme.grpo.plan import Setup, make_plan
from markscheme.grpo.workload import Workload, rows_in_batch
from markscheme.optimizer import make_optimizer
from markscheme.packing.attention import attend_packed
from markscheme.packing.trunk import hidden_states
from markscheme.torch_engine import TorchEngine

CONFIG = GRPOConfig(prompts_per_step=4, group_size=4, max_completion_tokens=40, token_budget=300)
WORKLOAD = Workload(config=CONFIG, prompt_tokens=20, completion_tokens=24)
SMALL_CPU = Device(
    name="a machine", kind="cpu", memory=24 * GIB, bandwidth=1e10, flops={"float32": 1e11, "bfloat16": 1e11}, link=1e10
)


def sizes(**changed: Any) -> Qwen2Config:
    return Qwen2Config(
        **{
            "vocab_size": 500,
            "hidden_size": 64,
            "intermediate_size": 192,
            "num_hidden_layers": 5,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 128,
            "tie_word_embeddings": True,
            **changed,
        }
    )


def setup_of(workload: Workload = WORKLOAD, **changed: Any) -> Setup:
    return Setup(**{"model_config": sizes(), "workload": workload, "device": SMALL_CPU, "is_here": False, **changed})


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"gradient_checkpointing": True},
        {"lora_rank": 4},
        {"dtype": "bfloat16"},
        {"model_config": sizes(tie_word_embeddings=False, num_key_value_heads=4)},
    ],
    ids=["plain", "checkpointing", "adapters", "bfloat16", "untied"],
)
def test_predicted_memory_is_what_an_update_takes(changed: dict[str, Any]) -> None:
    """Of all layers from two and three of them, without content, against the update itself."""
    setup = setup_of(**changed)
    row = max(WORKLOAD.rows(), key=lambda row: len(row.input_ids_T))
    found = footprint(setup.make_model, setup.layers, row, (4, 20), 16)
    with _Held() as held:
        model = setup.make_model(setup.layers)
        attend_packed(model)
        weights = held.now
        optimizer = make_optimizer(model, CONFIG)
        masters = held.now - weights
        model.train()
        for _ in range(2):
            held.peak = held.now
            states_MH = hidden_states(model, row)
            score_and_backward(
                states_MH, completion_head(model), row.targets_M, 1.0, lambda rows, new_K: -torch.ones_like(new_K)
            )
            del states_MH
        peak = held.peak
    assert found.weights == pytest.approx(weights, rel=0.01)  # beside buffers and what was drawn on the way
    assert found.masters == pytest.approx(masters, rel=0.01)
    assert found.weights + found.masters + found.trained + found.activations == pytest.approx(peak, rel=0.03)
    assert optimizer is not None


def test_nothing_fake_is_left_behind() -> None:
    row = WORKLOAD.rows()[0]
    setup = setup_of()
    footprint(setup.make_model, 2, row, (1, 20), 4)
    model = setup.make_model(2)
    attend_packed(model)
    assert type(hidden_states(model, row).detach()) is torch.Tensor
    assert hidden_states(model, row).detach().isfinite().all()


def lengths_of(workload: Workload) -> list[int]:
    return [length for group in workload.lengths_PG() for length in group]


def test_lengths_have_the_mean_that_is_asked_for_and_stay_below_the_most() -> None:
    config = dataclasses.replace(CONFIG, prompts_per_step=32, max_completion_tokens=400)
    for mean in (20, 100, 250):
        lengths = [
            n for group in Workload(config=config, prompt_tokens=9, completion_tokens=mean).lengths_PG() for n in group
        ]
        assert len(lengths) == 128
        assert sum(lengths) / len(lengths) == pytest.approx(mean, rel=0.02)
        assert 1 <= min(lengths) < mean < max(lengths) <= 400
    assert set(lengths_of(Workload(config=config, prompt_tokens=9, completion_tokens=400))) == {400}
    with pytest.raises(InputError, match="from 1 to max_completion_tokens 400, got 401"):
        Workload(config=config, prompt_tokens=9, completion_tokens=401)


def test_rows_and_cache_are_those_of_the_torch_engine() -> None:
    """Completions end at set lengths: the engine's batch, and the room in its cache, step by step."""
    lengths = [3, 90, 5, 70, 30, 8, 12, 88]
    model = setup_of().make_model(1)
    engine = TorchEngine(model, pace._NoText())  # type: ignore[arg-type]
    seen_rows: list[int] = []
    seen_cache: list[int] = []
    decode, add = TorchEngine._decode, torch_engine._Writer.add

    def counting(self: TorchEngine, tokens_B: torch.Tensor, cache: Any) -> torch.Tensor:
        found = decode(self, tokens_B, cache)
        seen_rows.append(len(tokens_B))
        seen_cache.append(cache.rows[0].states[0].shape[0] * cache.rows[0].states[0].shape[2])
        return found

    def ending(self: Any, token: int, *rest: Any) -> None:
        add(self, token, *rest)
        if len(self.ids) == lengths[self.k]:
            self.finish_reason = "stop"

    request = Request(prompt_ids=(1,) * 20, seeds=tuple(range(8)))
    with patch.object(TorchEngine, "_decode", counting), patch("markscheme.torch_engine._Writer.add", ending):
        list(engine.stream([request], Sampling(max_completion_tokens=90)))
    predicted = list(rows_in_batch(lengths))
    # The engine draws before it decodes: after its first token a batch is what the second step finds.
    assert seen_rows == predicted[1:]
    assert max(seen_cache) == pytest.approx(cached_tokens(predicted, 20), rel=0.3)
    assert cached_tokens(predicted, 20) >= max(seen_cache) * 0.99


def test_the_worked_example_of_a_gpu() -> None:
    """Qwen2.5-1.5B on an H200, 64 x 8 completions of 1,024 after prompts of 256: by hand, 6.7 s of an update with
    checkpointing at the full rate (packed, each prompt once), and 3.7 s of decoding at the full bandwidth, 256 at once.
    """
    config = GRPOConfig(prompts_per_step=64, group_size=8, max_completion_tokens=1_024, token_budget=16_384)
    setup = setup_of(
        Workload(config=config, prompt_tokens=256, completion_tokens=1_024),
        model_config=sizes(
            vocab_size=151_936,
            hidden_size=1_536,
            intermediate_size=8_960,
            num_hidden_layers=28,
            num_attention_heads=12,
            num_key_value_heads=2,
            max_position_embeddings=32_768,
        ),
        device=SHEETS["h200"],
        dtype="bfloat16",
        gradient_checkpointing=True,
        engine="vllm",
    )
    plan = make_plan(setup)
    assert plan.parameters == 1_543_714_304
    assert plan.seconds is not None
    assert plan.seconds.update * pace.SHARE_OF_FLOPS == pytest.approx(6.7, rel=0.1)
    assert plan.seconds.rollout * pace.SHARE_OF_BANDWIDTH == pytest.approx(3.7, rel=0.25)
    assert plan.memory.update["weights"] / GIB == pytest.approx(2.875, rel=0.01)
    assert plan.memory.update["optimizer"] == pytest.approx(12 * plan.parameters, rel=0.01)


def test_several_processes_share_states_and_work() -> None:
    one, four = (make_plan(setup_of(device=SHEETS["h100"], processes=n)) for n in (1, 4))
    for name in ("weights", "optimizer", "gradients"):
        assert four.memory.update[name] == one.memory.update[name] / 4
    assert one.seconds is not None
    assert four.seconds is not None
    assert four.seconds.optimizer == one.seconds.optimizer / 4
    assert four.seconds.rollout < one.seconds.rollout


def test_a_reference_is_there_unless_it_is_the_policy_without_its_adapter() -> None:
    workload = dataclasses.replace(WORKLOAD, config=dataclasses.replace(CONFIG, objective=Objective(kl_coef=0.1)))
    assert make_plan(setup_of(workload)).memory.update["reference"] > 0
    assert "reference" not in make_plan(setup_of(workload, lora_rank=4)).memory.update


def test_what_cannot_fit_names_what_would_and_that_fits() -> None:
    config = dataclasses.replace(CONFIG, token_budget=1_000)
    needs_much = setup_of(dataclasses.replace(WORKLOAD, config=config))
    needs_less = setup_of(dataclasses.replace(WORKLOAD, config=dataclasses.replace(config, token_budget=60)))
    much, less = (make_plan(setup).memory.most for setup in (needs_much, needs_less))
    assert less < much
    device = dataclasses.replace(SMALL_CPU, memory=int((much + less) / 2))
    plan = make_plan(dataclasses.replace(needs_much, device=device))
    assert not plan.fits
    assert plan.seconds is None
    assert plan.instead[0].startswith("--token-budget 60 (")
    assert make_plan(dataclasses.replace(needs_less, device=device)).fits


def test_nothing_fits_into_nothing() -> None:
    plan = make_plan(setup_of(device=dataclasses.replace(SMALL_CPU, memory=GIB // 8)))
    assert not plan.fits
    assert plan.instead == ()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"workload": dataclasses.replace(WORKLOAD, prompt_tokens=100)}, "more than the model's 128 positions"),
        ({"engine": "vllm", "device": dataclasses.replace(SHEETS["h100"], memory=4 * GIB)}, "larger --gpu-share"),
        (
            {"model_config": sizes(use_sliding_window=True, sliding_window=16, max_window_layers=2)},
            "sliding_attention cannot be planned for",
        ),
    ],
)
def test_what_there_is_no_plan_for(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make_plan(setup_of(**changed))


def test_slices_are_measured_where_the_device_is_at_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock which counts the layers that were gone through, so that ten times as many take ten times as long."""
    calls = 0
    forward = Qwen2DecoderLayer.forward

    def counted(*arguments: Any, **keywords: Any) -> Any:
        nonlocal calls
        calls += 1
        return forward(*arguments, **keywords)

    monkeypatch.setattr(Qwen2DecoderLayer, "forward", counted)
    plan = make_plan(setup_of(is_here=True), lambda: float(calls))
    deeper = make_plan(setup_of(is_here=True, model_config=sizes(num_hidden_layers=50)), lambda: float(calls))
    assert plan.seconds is not None
    assert deeper.seconds is not None
    assert deeper.seconds.update == pytest.approx(10 * plan.seconds.update)
    assert deeper.seconds.rollout == pytest.approx(10 * plan.seconds.rollout)
    rows = WORKLOAD.rows()
    tokens, row = sum(len(row.input_ids_T) for row in rows), rows[len(rows) // 2]
    assert plan.seconds.update == pytest.approx(5 * tokens / len(row.input_ids_T)), "5 layers for each row"
    assert plan.seconds.step == plan.seconds.rollout + plan.seconds.update + plan.seconds.optimizer


def test_rows_ahead_hide_the_shorter_half() -> None:
    both = pace.Seconds(rollout=3.0, update=2.0, optimizer=0.5, sync=0.25)
    assert both.step == 5.75
    assert dataclasses.replace(both, ahead=True).step == 3.25
