import pytest
import torch

from markscheme.optimizer import OptimizerConfig, check_settings, make_optimizer, take_step


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
