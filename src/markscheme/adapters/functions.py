"""Plain functions as scorers: of a sample, or written for another trainer or harness."""

import asyncio
import inspect
import math
import numbers
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from markscheme.adapters.reading import GOLD_NAMES
from markscheme.scoring import GoldError, Outcome, Sample, Score

VALUE_NAMES = ("score", "reward", "rewards", "value", "correct", "exact_match", "acc", "accuracy")
"""Under which a function returns its value among others; the first that is there counts."""
VERDICT_NAMES = {"C": True, "I": False, "N": False}
"""Of Inspect: correct, incorrect, no answer."""


@dataclass(frozen=True, slots=True)
class FunctionScorer:
    """A plain function as a scorer; made by `as_scorer`."""

    function: Callable[..., Any]
    name: str
    version: str
    conversational: bool = False

    def score(self, samples: Sequence[Sample]) -> list[Score]:
        return [self._score_one(sample) for sample in samples]

    def _score_one(self, sample: Sample) -> Score:
        try:
            return _as_score(_finished(_called(self.function, sample, self.conversational)))
        except GoldError:
            raise
        except Exception as error:  # a boundary: whatever a user's function raises belongs to its sample alone
            return Score(
                value=None,
                outcome=Outcome.FAILED,
                evidence={"error": f"{type(error).__name__}: {error}{_hint(error, sample)}"[:1000]},
            )


def as_scorer(
    function: Callable[..., Any], *, name: str | None = None, version: str = "1", conversational: bool = False
) -> FunctionScorer:
    """Makes a scorer of a function of one sample that returns a bool, a number, None or a Score; or of a reward
    function, verifier or metric written for another trainer or harness, which is known by the names of its parameters:

    | parameters | written for |
    |---|---|
    | prompts, completions, columns | TRL |
    | data_source, solution_str, ground_truth | verl |
    | queries, prompts, labels | OpenRLHF |
    | tokenized_prediction, prediction, label | open-instruct |
    | any of prompt, completion, answer, info, state, task | verifiers |
    | doc, results | lm-evaluation-harness |
    | state, target | Inspect |
    | an object with compute(predictions, references) | Hugging Face evaluate |

    Each is called with one sample at a time, sync or async; columns that it asks for are the gold (by the names gold,
    answer, ground_truth, solution, target, label) and what stands in the sample's `meta`.

    True and False become CORRECT 1.0 and INCORRECT 0.0, a number RATED, None UNDECIDED; of a mapping its score, reward
    or the like. An exception or a number that is not finite makes that sample FAILED, with the error in `evidence`; a
    GoldError is passed on.

    Args:
        name: by default the function's own name.
        version: raise it whenever the function changes what it returns: it is part of cache keys.
        conversational: whether a function written for TRL wants lists of messages where the prompt is text too, as one
            does that reads `completion[0]["content"]`. It always gets them where the prompt is a conversation.

    Raises:
        TypeError: if it is no function, nor an object with `compute`.
    """
    if not callable(function) and not callable(getattr(function, "compute", None)):
        raise TypeError(f"a function is needed, got {function!r:.100}")
    default_name = str(getattr(function, "__name__", None) or type(function).__name__)
    return FunctionScorer(function=function, name=name or default_name, version=version, conversational=conversational)


def _called(function: Callable[..., Any], sample: Sample, conversational: bool) -> Any:
    """What the function returns when it is called as its author's trainer or harness calls it."""
    if callable(compute := getattr(function, "compute", None)):
        golds = sample.gold if isinstance(sample.gold, str) else list(sample.gold or ())
        return compute(predictions=[sample.completion], references=[golds])
    parameters = _parameters(function)
    names = set(parameters)
    if names & {"completions", "completion_ids"} or _takes_columns_only(parameters):
        return _only(_finished(function(**_columns(sample, parameters, conversational))))
    if names >= {"solution_str", "ground_truth"}:
        about = {"question": sample.prompt, **sample.meta}
        source = sample.meta.get("data_source", "markscheme")
        return function(
            data_source=source, solution_str=sample.completion, ground_truth=_gold(sample), extra_info=about
        )
    if names >= {"queries", "labels"}:
        prompt = _flat(sample)
        return function([prompt + sample.completion], [prompt], [_gold(sample)])
    if names >= {"prediction", "label"}:
        return function(tokenized_prediction=[], prediction=sample.completion, label=_gold(sample), query=_flat(sample))
    if names >= {"doc", "results"}:
        return function({**_golds(sample), "question": _flat(sample), **sample.meta}, [sample.completion])
    if names >= {"state", "target"} and "completion" not in names:
        return function(_inspect_state(sample), _Target(_all_golds(sample)))
    if "completion" in names:
        return function(**_fields(sample, parameters))
    return function(sample)


def _parameters(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(function).parameters
    except ValueError:  # some of those written in C do not say
        return {}


def _hint(error: Exception, sample: Sample) -> str:
    """What is likely wrong where a function reads text as messages."""
    if isinstance(sample.prompt, str) and isinstance(error, TypeError) and "indices must be integers" in str(error):
        return " (is it written for conversations? as_scorer(function, conversational=True))"
    return ""


def _takes_columns_only(parameters: Mapping[str, inspect.Parameter]) -> bool:
    """Whether it is a `def reward(**columns)`."""
    return [parameter.kind for parameter in parameters.values()] == [inspect.Parameter.VAR_KEYWORD]


def _columns(sample: Sample, parameters: Mapping[str, inspect.Parameter], conversational: bool) -> dict[str, Any]:
    """What TRL passes: a list of each column, here of one."""
    prompt: Any = sample.prompt
    completion: Any = sample.completion
    if conversational or not isinstance(prompt, str):
        prompt, completion = _turns(sample), _turn(completion)
    columns = {name: [value] for name, value in {**_golds(sample), **sample.meta}.items()}
    rest = {"trainer_state": None, "log_extra": _ignore, "log_metric": _ignore}
    return _asked_for({**rest, **columns, "prompts": [prompt], "completions": [completion]}, parameters)


def _fields(sample: Sample, parameters: Mapping[str, inspect.Parameter]) -> dict[str, Any]:
    """What a Rubric of verifiers passes."""
    given = {
        "prompt": _turns(sample),
        "completion": _turn(sample.completion),
        "answer": _gold(sample),
        "info": dict(sample.meta),
        "state": {},
        "task": "",
        "parser": None,
    }
    return _asked_for(given, parameters)


def _asked_for(given: Mapping[str, Any], parameters: Mapping[str, inspect.Parameter]) -> dict[str, Any]:
    if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values()):
        return dict(given)
    return {name: value for name, value in given.items() if name in parameters}


def _inspect_state(sample: Sample) -> Any:
    output = SimpleNamespace(completion=sample.completion, stop_reason=sample.meta.get("finish_reason", "unknown"))
    return SimpleNamespace(
        input=sample.prompt,
        input_text=_flat(sample),
        output=output,
        metadata=dict(sample.meta),
        sample_id=sample.id,
        epoch=1,
    )


class _Target(tuple[str, ...]):
    """Golds as Inspect hands them on."""

    @property
    def text(self) -> str:
        return "".join(self)


def _turns(sample: Sample) -> list[dict[str, str]]:
    if isinstance(sample.prompt, str):
        return [{"role": "user", "content": sample.prompt}]
    return [{"role": turn["role"], "content": turn["content"]} for turn in sample.prompt]


def _turn(completion: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": completion}]


def _ignore(*_: Any) -> None:
    """Takes what a function wants logged."""


def _flat(sample: Sample) -> str:
    if isinstance(sample.prompt, str):
        return sample.prompt
    return "\n".join(turn["content"] for turn in sample.prompt)


def _gold(sample: Sample) -> Any:
    return list(sample.gold) if isinstance(sample.gold, tuple) else sample.gold


def _all_golds(sample: Sample) -> tuple[str, ...]:
    return (sample.gold,) if isinstance(sample.gold, str) else sample.gold or ()


def _golds(sample: Sample) -> dict[str, Any]:
    return {} if sample.gold is None else dict.fromkeys(GOLD_NAMES, _gold(sample))


def _finished(result: Any) -> Any:
    """The result itself, or what is awaited of it: in a thread of its own, since a loop may be running in this one."""
    if not inspect.isawaitable(result):
        return result
    found: list[Any] = []

    async def wait() -> Any:
        return await result

    def run() -> None:
        try:
            found.append(asyncio.run(wait()))
        except Exception as error:
            found.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if isinstance(found[0], Exception):
        raise found[0]
    return found[0]


def _only(results: Any) -> Any:
    """
    Raises:
        ValueError: if there is not one result for the one completion.
    """
    results = list(results)
    if len(results) != 1:
        raise ValueError(f"one reward for one completion is needed, got {len(results)}")
    return results[0]


def _as_score(result: Any) -> Score:
    """Reads what a function returned.

    Raises:
        TypeError: if it is neither a number, nor a truth value, nor None, nor a Score, nor holds one of those.
        ValueError: if it is a number that is not finite.
    """
    if isinstance(result, Score):
        return result
    if result is None:
        return Score(value=None, outcome=Outcome.UNDECIDED)
    if isinstance(result, str) and result in VERDICT_NAMES:
        return _as_score(VERDICT_NAMES[result])
    if hasattr(result, "tolist"):  # an array, tensor or scalar of numpy or torch
        result = result.tolist()
    if isinstance(result, list):
        return _as_score(_only(result))
    if isinstance(result, bool):
        return Score(value=float(result), outcome=Outcome.CORRECT if result else Outcome.INCORRECT)
    if isinstance(result, numbers.Real):
        return Score(value=float(result), outcome=Outcome.RATED)
    fields = result if isinstance(result, Mapping) else _public_fields(result)
    if (name := next((name for name in VALUE_NAMES if name in fields), None)) is not None:
        unscored = hasattr(result, "reason") and isinstance(fields[name], float) and math.isnan(fields[name])
        return _as_score(None if unscored else fields[name])  # so Inspect writes it
    raise TypeError(f"a scoring function must return a number, a bool, None or a Score, got {type(result).__name__}")


def _public_fields(result: Any) -> dict[str, Any]:
    return {name: getattr(result, name) for name in VALUE_NAMES if hasattr(result, name)}
