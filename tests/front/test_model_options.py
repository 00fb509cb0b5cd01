"""The options of a model that is trained."""

from typing import Annotated

import pytest
from cyclopts import App, CoercionError, Parameter
from transformers import PreTrainedModel

from markscheme.commands.shared import ModelOptions, TrainedModelOptions


def options_of(*words: str) -> TrainedModelOptions:
    app = App(result_action="return_value")

    @app.default
    def train(*, model: Annotated[TrainedModelOptions | None, Parameter(name="*")] = None) -> TrainedModelOptions:
        return model or TrainedModelOptions()

    found: TrainedModelOptions = app(words, exit_on_error=False, print_error=False)
    return found


def test_by_default_nothing_is_other_than_for_a_model_that_is_read(tiny_model: PreTrainedModel) -> None:
    options = options_of()
    assert (options.model, options.revision) == (ModelOptions().model, ModelOptions().revision)
    assert options.dtype == "float32"
    options.prepare(tiny_model, seed=0)
    assert all(weight.requires_grad for weight in tiny_model.parameters())
    assert not tiny_model.is_gradient_checkpointing


def test_what_is_asked_for_is_done(tiny_model: PreTrainedModel) -> None:
    options = options_of("--dtype", "bfloat16", "--lora-rank", "3", "--gradient-checkpointing")
    assert options.dtype == "bfloat16"
    options.prepare(tiny_model, seed=0)
    assert {min(weight.shape) for weight in tiny_model.parameters() if weight.requires_grad} == {3}
    assert tiny_model.is_gradient_checkpointing


def test_senseless_ones_are_named() -> None:
    with pytest.raises(ValueError, match="lora_rank must be at least 0, got -1"):
        TrainedModelOptions(lora_rank=-1)
    with pytest.raises(CoercionError, match="float16"):
        options_of("--dtype", "float16")
