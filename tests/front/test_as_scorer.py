"""Functions as scorers: written for a sample, or for another trainer or harness."""

import asyncio
import math
import pickle
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from markscheme.adapters import as_scorer, to_lm_eval, to_open_instruct, to_openrlhf, to_trl, to_verifiers, to_verl
from markscheme.scoring import GoldError, Outcome, Sample, Score
from markscheme.verifiers import MathVerifier

SAMPLE = Sample(prompt="2 + 2 = ?", completion="4", gold="4", id="sum", meta={"level": 3, "finish_reason": "stop"})
TURNS = Sample(prompt=({"role": "user", "content": "2 + 2 = ?"},), completion="4", gold=("4", "four"))


def trl(prompts: list[str], completions: list[str], answer: list[str], level: list[int], **columns: Any) -> list[float]:
    assert (prompts, level, columns["trainer_state"]) == (["2 + 2 = ?"], [3], None)
    columns["log_metric"]("x", 1.0)
    return [2.0 * (one == gold) for one, gold in zip(completions, answer, strict=True)]


async def trl_async(completions: list[str], solution: list[str]) -> list[float | None]:
    await asyncio.sleep(0)
    return [2.0 * (completions == solution)]


def verl(data_source: str, solution_str: str, ground_truth: str, extra_info: Any = None) -> dict[str, Any]:
    assert extra_info["level"] == 3
    return {"score": 2.0 * (solution_str == ground_truth), "acc": True}


def openrlhf(queries: list[str], prompts: list[str], labels: list[str]) -> dict[str, Any]:
    assert queries == ["2 + 2 = ?4"]
    return {"rewards": torch.tensor([2.0 * (queries[0] == prompts[0] + labels[0])]), "extra_logs": {}}


class OpenInstruct:
    def __call__(self, tokenized_prediction: list[int], prediction: str, label: str, query: str | None = None) -> Any:
        return SimpleNamespace(score=2.0 * (prediction == label), cost=0.0, reasoning=None)


async def rubric(completion: list[dict[str, str]], answer: str) -> float:
    return 2.0 * (completion[-1]["content"] == answer)


def lm_eval(doc: dict[str, Any], results: list[str]) -> dict[str, float]:
    return {"length": 7.0, "exact_match": 2.0 * (results[0] == doc["target"])}


async def inspect_scorer(state: Any, target: Any) -> Any:
    assert state.input_text == "2 + 2 = ?"
    return SimpleNamespace(value=2.0 * (state.output.completion in list(target)), reason=None)


class Metric:
    def compute(self, *, predictions: list[str], references: list[Any]) -> dict[str, float]:
        return {"accuracy": 2.0 * (predictions == references)}


@pytest.mark.parametrize(
    "function",
    [trl, trl_async, verl, openrlhf, OpenInstruct(), rubric, lm_eval, inspect_scorer, Metric()],
    ids=lambda function: getattr(function, "__name__", type(function).__name__),
)
def test_functions_of_other_tools_are_called_as_they_expect(function: Callable[..., Any]) -> None:
    scorer = as_scorer(function)
    assert scorer.name == getattr(function, "__name__", type(function).__name__)
    [right] = scorer.score([SAMPLE])
    assert (right.value, right.outcome, right.evidence) == (2.0, Outcome.RATED, {})
    [wrong] = scorer.score([Sample(prompt="2 + 2 = ?", completion="5", gold="4", meta={"level": 3})])
    assert wrong.value == 0.0 or (function is openrlhf and wrong.outcome is Outcome.FAILED)  # it asserts its query


def test_conversations_stay_conversations() -> None:
    def reward(prompts: Any, completions: Any, gold: Any) -> list[bool]:
        return [
            prompts == [[{"role": "user", "content": "2 + 2 = ?"}]]
            and completions == [[{"role": "assistant", "content": "4"}]]
            and gold == [["4", "four"]]
        ]

    assert as_scorer(reward).score([TURNS])[0].outcome is Outcome.CORRECT


def test_adapters_and_as_scorer_undo_each_other() -> None:
    sample = Sample(prompt="2 + 2 = ?", completion=r"\boxed{4}", gold="4")
    makers: list[Any] = [to_trl, to_verl, to_openrlhf, to_open_instruct, to_verifiers, to_lm_eval]
    for make in makers:
        made = make(MathVerifier())
        [score] = as_scorer(made() if isinstance(made, type) else made).score([sample])
        assert score.value == 1.0, make.__name__


@pytest.mark.parametrize(
    ("result", "value", "outcome"),
    [
        (True, 1.0, Outcome.CORRECT),
        (False, 0.0, Outcome.INCORRECT),
        (-3, -3.0, Outcome.RATED),
        (np.float32(0.5), 0.5, Outcome.RATED),
        (np.bool_(False), 0.0, Outcome.INCORRECT),
        (torch.tensor(0.5), 0.5, Outcome.RATED),
        ([0.5], 0.5, Outcome.RATED),
        (None, None, Outcome.UNDECIDED),
        ({"score": None}, None, Outcome.UNDECIDED),
        ({"reward": True, "acc": 0.0}, 1.0, Outcome.CORRECT),
        ("C", 1.0, Outcome.CORRECT),
        ("N", 0.0, Outcome.INCORRECT),
        (SimpleNamespace(value="I", reason=None), 0.0, Outcome.INCORRECT),
        (SimpleNamespace(value=math.nan, reason="scoring_failed"), None, Outcome.UNDECIDED),
        (math.nan, None, Outcome.FAILED),
        (math.inf, None, Outcome.FAILED),
        (np.zeros(2), None, Outcome.FAILED),
        ("4", None, Outcome.FAILED),
        ([1.0, 2.0], None, Outcome.FAILED),
        ({"length": 3}, None, Outcome.FAILED),
        (object(), None, Outcome.FAILED),
    ],
)
def test_what_functions_may_return(result: Any, value: float | None, outcome: Outcome) -> None:
    [score] = as_scorer(lambda sample: result).score([SAMPLE])
    assert (score.value, score.outcome) == (value, outcome)
    assert bool(score.evidence) == (outcome is Outcome.FAILED)


def test_a_score_is_handed_on() -> None:
    score = Score(value=1.0, outcome=Outcome.CORRECT, answer="4")
    assert as_scorer(lambda sample: score).score([SAMPLE]) == [score]


def test_async_functions_work_inside_a_running_loop() -> None:
    async def caller() -> list[Score]:
        return as_scorer(rubric).score([SAMPLE])

    assert asyncio.run(caller())[0].value == 2.0


def test_a_gold_that_cannot_be_read_stops_and_other_errors_do_not() -> None:
    async def data(completion: Any) -> float:
        raise GoldError("no gold")

    async def bug(completion: Any) -> float:
        raise KeyError("bug")

    with pytest.raises(GoldError, match="no gold"):
        as_scorer(data).score([SAMPLE])
    [score] = as_scorer(bug).score([SAMPLE])
    assert (score.outcome, score.evidence["error"]) == (Outcome.FAILED, "KeyError: 'bug'")


def test_an_exception_belongs_to_its_sample_alone() -> None:
    samples = [Sample(prompt="", completion=text) for text in ("a", "", "ab")]
    scores = as_scorer(lambda sample: 1 / len(sample.completion)).score(samples)
    assert [score.value for score in scores] == [1.0, None, 0.5]
    assert scores[1].evidence == {"error": "ZeroDivisionError: division by zero"}


def length(sample: Sample) -> float:
    return float(len(sample.completion))


def test_a_function_gives_its_name() -> None:
    scorer = as_scorer(length)
    assert (scorer.name, scorer.version) == ("length", "1")
    assert (as_scorer(length, name="n", version="2").name, as_scorer(length, version="2").version) == ("n", "2")
    assert pickle.loads(pickle.dumps(scorer)) == scorer


def test_what_is_not_asked_for_is_not_passed() -> None:
    [score] = as_scorer(lambda prompts, completions, missing: [1.0]).score([SAMPLE])
    assert score.outcome is Outcome.FAILED
    assert "missing" in score.evidence["error"]


def of_messages(completions: list[list[dict[str, str]]], prompts: list[list[dict[str, str]]], **_: Any) -> list[float]:
    return [float(len(p[0]["content"] + c[0]["content"])) for p, c in zip(prompts, completions, strict=True)]


def test_a_function_for_conversations_gets_messages_when_asked_for() -> None:
    sample = Sample(prompt="2 + 2?", completion="four")
    [failed] = as_scorer(of_messages).score([sample])
    assert failed.outcome is Outcome.FAILED
    assert "as_scorer(function, conversational=True)" in failed.evidence["error"]
    assert values(as_scorer(of_messages, conversational=True), sample) == [10.0]
    turns = Sample(prompt=({"role": "user", "content": "2 + 2?"},), completion="four")
    assert values(as_scorer(of_messages), turns) == values(as_scorer(of_messages, conversational=True), turns) == [10.0]


def test_a_function_of_columns_only_is_one_of_trl() -> None:
    def reward(**columns: Any) -> list[float]:
        return [float(text == gold) for text, gold in zip(columns["completions"], columns["answer"], strict=True)]

    assert values(as_scorer(reward), Sample(prompt="", completion="4", gold="4")) == [1.0]


def test_what_asks_for_token_ids_is_one_of_trl() -> None:
    def length(completion_ids: list[list[int]], **_: Any) -> list[float]:
        return [float(len(ids)) for ids in completion_ids]

    with_ids = Sample(prompt="", completion="4", meta={"completion_ids": [1, 2, 3]})
    assert values(as_scorer(length), with_ids) == [3.0]
    [failed] = as_scorer(length).score([Sample(prompt="", completion="4")])
    assert "missing 1 required positional argument: 'completion_ids'" in failed.evidence["error"]


@pytest.mark.parametrize("given", ["a/model", 3, None])
def test_what_is_no_function_is_refused_at_once(given: Any) -> None:
    with pytest.raises(TypeError, match="a function is needed, got"):
        as_scorer(given)


def values(scorer: Any, sample: Sample) -> list[float | None]:
    return [score.value for score in scorer.score([sample])]
