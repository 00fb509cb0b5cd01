"""The options of a model that is trained."""

from typing import Annotated

import pytest
from cyclopts import App, CoercionError, Parameter
from transformers import PreTrainedModel

from markscheme.commands.options import ModelOptions, TrainedModelOptions, held_out
from markscheme.files import InputError
from markscheme.problems import Problem


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


def asked(*questions: str) -> list[Problem]:
    return [
        Problem(id=str(number), question=question, gold="1", source="-", split="train")
        for number, question in enumerate(questions)
    ]


def test_held_out_problems_are_apart_whatever_their_order() -> None:
    problems = asked(*(f"{number}?" for number in range(50)))
    rest, apart = held_out(problems, 8)
    assert len(apart) == 8
    assert sorted([*rest, *apart], key=problems.index) == problems
    assert {one.id for one in held_out(problems[::-1], 8)[1]} == {one.id for one in apart}
    assert [one.id for one in apart] != [one.id for one in problems[:8]]
    assert len({len(one.question) for one in apart}) > 1  # of one and of two digits


def test_whoever_asks_the_same_is_on_the_same_side() -> None:
    for count in range(1, 4):
        rest, apart = held_out(asked("a", "b", "a", "c", "b", "d"), count)
        assert not {one.question for one in rest} & {one.question for one in apart}
        assert len({one.question for one in apart}) == count


@pytest.mark.parametrize("count", [0, -5])
def test_something_must_be_held_out(count: int) -> None:
    with pytest.raises(InputError, match=f"--dev-limit must be at least 1, got {count}"):
        held_out(asked("a", "b", "c"), count)


def test_something_must_be_left_to_learn_from() -> None:
    with pytest.raises(InputError, match="--dev-limit 200 holds out all of the 3 problems: give a smaller one"):
        held_out(asked("a", "b", "c"), 200)
