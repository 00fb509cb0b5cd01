import copy
import gc
import weakref
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch.optim import AdamW
from transformers import PreTrainedModel

from markscheme.checkpoint import load_checkpoint, save_checkpoint
from markscheme.models import adapter_off, add_lora
from markscheme.optimizer import MasterAdamW, OptimizerConfig, check_settings, make_optimizer, take_step


def model_with_gradient(*gradient: float) -> torch.nn.Module:
    model = torch.nn.Linear(len(gradient), 1, bias=False)
    torch.nn.init.zeros_(model.weight)
    model.weight.grad = torch.tensor([gradient])
    return model


def test_the_first_step_of_adamw_by_hand() -> None:
    # Bias correction makes the first step lr * g / (|g| + eps), whatever the size of g: 0.1 for each weight.
    model = model_with_gradient(0.3, -0.4)
    config = OptimizerConfig(learning_rate=0.1, decay_share=0.0)
    metrics = take_step(model, make_optimizer(model, config), config, step=0, num_steps=10)
    assert metrics == pytest.approx({"grad_norm": 0.5, "learning_rate": 0.1})
    assert model.weight[0].tolist() == pytest.approx([-0.1, 0.1])  # type: ignore[union-attr, operator]
    assert model.weight.grad is None


def test_a_long_gradient_is_scaled_down_and_its_length_reported() -> None:
    model = model_with_gradient(3.0, 4.0)
    config = OptimizerConfig(learning_rate=1.0, max_grad_norm=1.0, decay_share=0.0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    assert take_step(model, optimizer, config, step=0, num_steps=1)["grad_norm"] == pytest.approx(5.0)
    assert model.weight[0].tolist() == pytest.approx([-0.6, -0.8])  # type: ignore[union-attr, operator]


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_a_gradient_that_is_no_number_moves_nothing(wrong: float) -> None:
    model = model_with_gradient(wrong, 1.0)
    config = OptimizerConfig(learning_rate=0.1)
    with pytest.raises(FloatingPointError, match=r"the gradient is (nan|inf) at step 4: lower learning_rate"):
        take_step(model, make_optimizer(model, config), config, step=3, num_steps=10)
    assert not model.weight.any()  # type: ignore[operator]


def test_the_rate_follows_the_schedule() -> None:
    config = OptimizerConfig(learning_rate=1.0, warmup_steps=2, decay_share=0.5)
    rates = []
    for step in range(4):
        model = model_with_gradient(1.0)
        rates.append(take_step(model, make_optimizer(model, config), config, step, num_steps=4)["learning_rate"])
    assert rates == [0.5, 1.0, 1.0, 0.5]  # two steps up, then down to 0 over the last two


@pytest.mark.parametrize(
    ("field", "value"), [("learning_rate", 0.0), ("weight_decay", -1.0), ("decay_share", 1.5), ("token_budget", 0)]
)
def test_senseless_settings_are_named(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{field} must be .*, got {value}"):
        OptimizerConfig(**{"learning_rate": 1.0, field: value})  # type: ignore[arg-type]


def test_check_settings_looks_at_what_it_is_told() -> None:
    config = OptimizerConfig(learning_rate=1.0)
    check_settings(config, not_negative=["weight_decay"])
    with pytest.raises(ValueError, match="weight_decay must be above 0"):
        check_settings(config, positive=["weight_decay"])


def backward(model: PreTrainedModel, step: int) -> None:
    ids = torch.arange(3 + step, 43 + step)[None]
    F.cross_entropy(model(input_ids=ids).logits[0, :-1].float(), ids[0, 1:]).backward()


def train(model: PreTrainedModel, optimizer: AdamW, steps: range) -> None:
    config = OptimizerConfig(learning_rate=1e-3, weight_decay=0.01)
    for step in steps:
        backward(model, step)
        take_step(model, optimizer, config, step, num_steps=20)


def test_a_float32_model_moves_as_by_torch_alone(tiny_model: PreTrainedModel) -> None:
    config = OptimizerConfig(learning_rate=1e-3, weight_decay=0.01)
    other = copy.deepcopy(tiny_model)
    optimizer = make_optimizer(tiny_model, config)
    assert type(optimizer) is AdamW
    train(tiny_model, optimizer, range(5))
    plain = AdamW(other.parameters(), lr=1e-3, betas=config.betas, weight_decay=0.01)
    for step in range(5):
        backward(other, step)
        torch.nn.utils.clip_grad_norm_(other.parameters(), 1.0)
        plain.step()
        plain.zero_grad()
    for name, tensor in other.state_dict().items():
        assert torch.equal(tiny_model.state_dict()[name], tensor), name
    assert optimizer.state_dict().keys() == plain.state_dict().keys()


def test_frozen_weights_are_not_in_the_optimizer(tiny_model: PreTrainedModel) -> None:
    tiny_model.base_model.requires_grad_(False)
    tiny_model.base_model.layers[0].requires_grad_(True)  # type: ignore[index]
    (group,) = make_optimizer(tiny_model, OptimizerConfig(learning_rate=1.0)).param_groups
    assert {id(one) for one in group["params"]} == {id(one) for one in tiny_model.base_model.layers[0].parameters()}  # type: ignore[union-attr, index]


def ones(dtype: torch.dtype) -> torch.nn.Linear:
    model = torch.nn.Linear(4, 1, bias=False, dtype=dtype)
    torch.nn.init.ones_(model.weight)
    return model


def thousand_steps(model: torch.nn.Linear, optimizer: AdamW, learning_rate: float) -> torch.Tensor:
    config = OptimizerConfig(learning_rate=learning_rate, decay_share=0.0)
    for step in range(1_000):
        model(torch.tensor([[1.0, 2.0, -1.0, 0.5]], dtype=model.weight.dtype)).sum().backward()
        take_step(model, optimizer, config, step, num_steps=1_000)
    return model.weight.detach()


def test_steps_below_rounding_add_up() -> None:
    # bfloat16 has 8 bits: below 1 the next number is 1 - 2^-8 = 0.996, so a step of 1e-5 is lost by itself.
    # 1,000 equal gradients move AdamW's weights by 1,000 * 1e-5 = 0.01 against them.
    config = OptimizerConfig(learning_rate=1e-5, decay_share=0.0)
    full, masters, plain = ones(torch.float32), ones(torch.bfloat16), ones(torch.bfloat16)
    expected = thousand_steps(full, make_optimizer(full, config), 1e-5)
    torch.testing.assert_close(expected, torch.tensor([[0.99, 0.99, 1.01, 0.99]]), atol=1e-4, rtol=0)
    assert torch.equal(thousand_steps(masters, make_optimizer(masters, config), 1e-5), expected.bfloat16())
    lost = thousand_steps(plain, AdamW(plain.parameters(), lr=1e-5, betas=config.betas, weight_decay=0.0), 1e-5)
    assert torch.equal(lost, torch.ones(1, 4, dtype=torch.bfloat16))


def test_micro_batches_add_up_in_float32() -> None:
    # 256 + 1 is 256 in bfloat16, whose spacing is 2 there.
    model = ones(torch.bfloat16)
    optimizer = make_optimizer(model, OptimizerConfig(learning_rate=1.0))
    assert isinstance(optimizer, MasterAdamW)
    for size in (256.0, 1.0, 1.0, 1.0):
        model(torch.full((1, 4), size, dtype=torch.bfloat16)).sum().backward()
        assert model.weight.grad is None  # its memory is free again
    assert optimizer.gather()[0].grad.tolist() == [[259.0] * 4]  # type: ignore[union-attr]


def test_a_gradient_that_comes_without_autograd_counts_too() -> None:
    # as that of a head with weights of its own: 3 by hand into .grad, 4 by autograd into the first weight; norm 5
    first, head = ones(torch.bfloat16), ones(torch.bfloat16)
    model = torch.nn.ModuleList([first, head])
    config = OptimizerConfig(learning_rate=0.1, max_grad_norm=100.0)
    optimizer = make_optimizer(model, config)
    assert isinstance(optimizer, MasterAdamW)
    for _ in range(2):
        head.weight.grad = torch.tensor([[1.5, 0, 0, 0]], dtype=torch.bfloat16)
        first(torch.tensor([[2.0, 0, 0, 0]], dtype=torch.bfloat16)).sum().backward()
        assert head.weight.grad is None  # handed over in every pass, so that it adds up in float32 too
    head.weight.grad = torch.zeros(1, 4, dtype=torch.bfloat16)  # and what no pass handed over
    assert take_step(model, optimizer, config, 0, 1)["grad_norm"] == pytest.approx(5.0)
    assert head.weight.grad is None
    assert optimizer.masters[1].grad is None


def test_masters_are_clipped_by_their_own_norm() -> None:
    model = ones(torch.bfloat16)
    config = OptimizerConfig(learning_rate=1e-3, max_grad_norm=1.0)
    optimizer = make_optimizer(model, config)
    model(torch.full((1, 4), 2.0, dtype=torch.bfloat16)).sum().backward()
    assert take_step(model, optimizer, config, 0, 1)["grad_norm"] == pytest.approx(4.0)  # sqrt(4 * 2^2)
    mean = optimizer.state[optimizer.param_groups[0]["params"][0]]["exp_avg"]
    torch.testing.assert_close(mean, torch.full((1, 4), 0.1 * 2 / 4))  # (1 - beta1) * clipped


def test_a_wrong_gradient_moves_no_master() -> None:
    model = ones(torch.bfloat16)
    config = OptimizerConfig(learning_rate=0.1)
    optimizer = make_optimizer(model, config)
    model(torch.full((1, 4), torch.inf, dtype=torch.bfloat16)).sum().backward()
    with pytest.raises(FloatingPointError, match="the gradient is inf"):
        take_step(model, optimizer, config, 0, 1)
    assert model.weight.tolist() == [[1.0] * 4]


@pytest.mark.parametrize("lora_rank", [0, 2])
def test_a_resumed_bfloat16_run_is_the_same_bit_for_bit(
    tiny_model: PreTrainedModel, tmp_path: Path, lora_rank: int
) -> None:
    tiny_model = tiny_model.bfloat16()
    if lora_rank:
        add_lora(tiny_model, lora_rank, seed=0)
    config = OptimizerConfig(learning_rate=1e-3)
    broken, resumed = copy.deepcopy(tiny_model), copy.deepcopy(tiny_model)
    whole_optimizer, broken_optimizer = make_optimizer(tiny_model, config), make_optimizer(broken, config)
    train(tiny_model, whole_optimizer, range(8))
    train(broken, broken_optimizer, range(3))
    save_checkpoint(tmp_path, 3, broken, broken_optimizer)
    optimizer = make_optimizer(resumed, config)
    assert load_checkpoint(tmp_path, resumed, optimizer) == (3, None)
    train(resumed, optimizer, range(3, 8))
    for name, tensor in tiny_model.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], tensor), name
    for ours, theirs in zip(optimizer.state_dict()["masters"], whole_optimizer.state_dict()["masters"], strict=True):
        assert ours.dtype == torch.float32
        assert torch.equal(ours, theirs)


def test_an_adapter_that_was_off_still_hands_over(tiny_model: PreTrainedModel) -> None:
    tiny_model = tiny_model.bfloat16()
    add_lora(tiny_model, 2, seed=0)
    optimizer = make_optimizer(tiny_model, OptimizerConfig(learning_rate=1.0))
    with adapter_off(tiny_model):
        pass
    backward(tiny_model, 0)
    assert all(weight.grad is None for weight in tiny_model.parameters())
    assert isinstance(optimizer, MasterAdamW)
    assert any(master.grad is not None and bool(master.grad.any()) for master in optimizer.gather())


def test_a_new_optimizer_gets_the_gradients_and_an_old_one_goes() -> None:
    model = ones(torch.bfloat16)
    config = OptimizerConfig(learning_rate=1.0)
    old, new = make_optimizer(model, config), make_optimizer(model, config)
    model(torch.ones(1, 4, dtype=torch.bfloat16)).sum().backward()
    assert isinstance(new, MasterAdamW)
    assert isinstance(old, MasterAdamW)
    assert old.masters[0].grad is None
    assert new.masters[0].grad is not None
    seen = [weakref.ref(old), weakref.ref(new), weakref.ref(model.weight)]
    del old, new, model
    gc.collect()
    assert not any(one() is not None for one in seen)


def test_weights_of_64_bits_need_no_masters() -> None:
    assert type(make_optimizer(ones(torch.float64), OptimizerConfig(learning_rate=1.0))) is AdamW


def test_a_weight_of_32_bits_among_others_is_its_own_master() -> None:
    parts = ones(torch.bfloat16), ones(torch.float32)
    model = torch.nn.Sequential(*parts)
    config = OptimizerConfig(learning_rate=0.5, max_grad_norm=100.0, decay_share=0.0)
    optimizer = make_optimizer(model, config)
    for part in parts:
        part(torch.ones(1, 4, dtype=part.weight.dtype)).sum().backward()
    assert take_step(model, optimizer, config, 0, 1)["grad_norm"] == pytest.approx(8**0.5)
    for part in parts:
        assert part.weight[0].tolist() == pytest.approx([0.5] * 4)
        assert part.weight.grad is None
