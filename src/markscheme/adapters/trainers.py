"""Scorers as the rewards of other trainers. What each passes and expects was seen in the versions named."""

import asyncio
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from markscheme.adapters.reading import (
    UnscoredError,
    completion_in,
    gold_in,
    gold_name,
    gold_of,
    meta_of,
    naming_the_gold,
    value_of,
)
from markscheme.messages import completion_of, prompt_of
from markscheme.score_rows import failure_of
from markscheme.scoring import Outcome, Sample, Score, Scorer, check_scorer

MUCH_UNSCORED = 0.01
"""The share of completions without a score from which on it is said."""


def to_trl(scorer: Scorer, *, gold: str | None = None, run_async: bool = False) -> Callable[..., Any]:
    """A reward function for the GRPOTrainer and RLOOTrainer of TRL (1.16), sync or, for scorers that wait, async.

    A score without a value is None there: such a completion is left out of its group's mean and has the advantage 0.
    That holds for one function: of several, TRL adds up what is there, so give it a WeightedSum of scorers instead.
    Each sample's `meta` has the row's columns. TRL's table of completions gets the outcome and the answer of each, its
    metrics the share without a score and the means of a composition's parts. A warning says why more than 1 % of the
    completions have no score.

    Args:
        gold: the column of the data set with the gold; by default the first of gold, answer, ground_truth, solution,
            target, label that is there.

    Raises:
        InputError: when it is called, if the column is not there.
        GoldError: when it is called, if a gold cannot be read, or a long solution marks no answer.
        UnscoredError: when it is called, if the scorer broke on all completions: TRL would go on and learn nothing.
        TypeError: if it is given no scorer.
    """
    check_scorer(scorer)
    return (_AsyncTRLReward if run_async else _TRLReward)(scorer, gold)


@dataclass(frozen=True)
class _TRLReward:
    """An object and not a closure, since TRL's asynchronous trainer pickles it."""

    scorer: Scorer
    gold: str | None

    @property
    def __name__(self) -> str:
        return self.scorer.name  # what TRL calls its metrics by

    def __call__(self, prompts: Sequence[Any], completions: Sequence[Any], **columns: Any) -> list[float | None]:
        with _named(self.gold, columns) as column:
            scores = self.scorer.score(_trl_samples(prompts, completions, columns, column))
        return _trl_rewards(scores, self.scorer, columns)


@dataclass(frozen=True)
class _AsyncTRLReward(_TRLReward):
    async def __call__(  # type: ignore[override]  # a coroutine is what makes it the other kind
        self, prompts: Sequence[Any], completions: Sequence[Any], **columns: Any
    ) -> list[float | None]:
        with _named(self.gold, columns) as column:
            samples = _trl_samples(prompts, completions, columns, column)
            scores = await asyncio.to_thread(self.scorer.score, samples)
        return _trl_rewards(scores, self.scorer, columns)


@contextmanager
def _named(gold: str | None, columns: Mapping[str, Any]) -> Iterator[str | None]:
    """The column with the gold; an error for the want of one names the columns."""
    there = [name for name, values in columns.items() if isinstance(values, list)]
    column = gold_name(gold, there)
    with naming_the_gold(column, there):
        yield column


def _trl_samples(
    prompts: Sequence[Any], completions: Sequence[Any], columns: Mapping[str, Any], gold: str | None
) -> list[Sample]:
    rows = {
        column: values for column, values in columns.items() if isinstance(values, list) and len(values) == len(prompts)
    }
    samples = []
    for place, (prompt, completion) in enumerate(zip(prompts, completions, strict=True)):
        meta = meta_of({column: values[place] for column, values in rows.items()})
        if meta.get("completion_ids") is not None:
            meta["completion_tokens"] = len(meta["completion_ids"])
        samples.append(
            Sample(
                prompt=prompt_of(prompt),
                completion=completion_of(completion),
                gold=None if gold is None else gold_in(gold, columns[gold][place], f"completion {place}"),
                id=f"completion {place}",
                group=repr(prompt),
                meta=meta,
            )
        )
    return samples


def _trl_rewards(scores: Sequence[Score], scorer: Scorer, columns: Mapping[str, Any]) -> list[float | None]:
    unscored = [score for score in scores if score.value is None]
    if len(unscored) > MUCH_UNSCORED * len(scores):
        why = failure_of(unscored[0]) or unscored[0].outcome.value
        if all(score.outcome is Outcome.FAILED for score in scores):
            raise UnscoredError(f"the scorer {scorer.name} broke on all of {len(scores)} completions, such as: {why}")
        message = f"{scorer.name} could not score {len(unscored)} of {len(scores)} completions, such as: {why}"
        warnings.warn(message, stacklevel=3)
    if log_extra := columns.get("log_extra"):
        log_extra(f"{scorer.name} outcome", [score.outcome.value for score in scores])
        log_extra(f"{scorer.name} answer", [score.answer for score in scores])
    if (log_metric := columns.get("log_metric")) and scores:
        log_metric(f"rewards/{scorer.name}/unscored", len(unscored) / len(scores))
        for part in {name: None for score in scores for name in score.parts}:
            values = [one.value for score in scores if (one := score.parts.get(part)) and one.value is not None]
            if values:
                log_metric(f"rewards/{scorer.name}/{part}", fmean(values))
    return [score.value for score in scores]


def to_verl(scorer: Scorer, *, unscored: float | None = None) -> Callable[..., dict[str, Any]]:
    """A `compute_score` for verl (0.9): `reward.custom_reward_function.path` is a file with `compute_score =
    to_verl(scorer)`.

    verl logs the outcome, the answer (`pred`), the verdict (`acc`) and whether the score is missing (`unscored`), and
    a question is taken from `extra_info["question"]` if there is one; all of it is in the sample's `meta`.

    Args:
        unscored: what counts where the scorer could not tell. By default that is an error, by which verl's trainer
            drops that trajectory and keeps the others; its older trainer (V0) ends. A NaN would spoil the whole group.

    Raises:
        UnscoredError: when it is called, if the scorer could not tell and `unscored` does not say what that counts.
        GoldError: when it is called, if the gold cannot be read.
    """

    check_scorer(scorer)

    def compute_score(
        data_source: str, solution_str: str, ground_truth: Any, extra_info: Mapping[str, Any] | None = None, **_: Any
    ) -> dict[str, Any]:
        question = (extra_info or {}).get("question") or ""
        meta = meta_of({**(extra_info or {}), "data_source": data_source})
        sample = Sample(prompt=prompt_of(question), completion=solution_str, gold=gold_of(ground_truth), meta=meta)
        [score] = scorer.score([sample])
        return {
            "score": value_of(score, scorer, "verl", unscored),
            "acc": score.correct,
            "pred": score.answer,
            "outcome": score.outcome.value,
            "unscored": float(score.value is None),
        }

    return compute_score


def to_openrlhf(scorer: Scorer, *, unscored: float | None = None) -> Callable[..., dict[str, Any]]:
    """A `reward_func` for OpenRLHF (0.11): its remote reward URL is a file with `reward_func = to_openrlhf(scorer)`.

    Args:
        unscored: what counts where the scorer could not tell, since OpenRLHF knows no missing reward: what is raised
            is logged there, and the run then ends at the reward that is not there.

    Raises:
        UnscoredError, GoldError: as `to_verl`.
    """

    check_scorer(scorer)

    def reward_func(queries: Sequence[str], prompts: Sequence[str], labels: Sequence[Any], **_: Any) -> dict[str, Any]:
        import torch

        samples = [
            Sample(prompt=prompt, completion=completion_in(query, prompt), gold=gold_of(label))
            for query, prompt, label in zip(queries, prompts, labels, strict=True)
        ]
        scores = scorer.score(samples)
        rewards = torch.tensor([value_of(score, scorer, "OpenRLHF", unscored) for score in scores])
        logs = {
            "unscored": [float(score.value is None) for score in scores],
            "no_answer": [float(score.outcome is Outcome.NO_ANSWER) for score in scores],
        }
        return {
            "rewards": rewards,
            "scores": rewards.clamp(0, 1),  # by which it filters groups: expected from 0 to 1
            "extra_logs": {name: torch.tensor(values) for name, values in logs.items()},
        }

    return reward_func


@dataclass(frozen=True, slots=True)
class Verification:
    """What open-instruct calls a VerificationResult."""

    score: float
    cost: float = 0.0
    reasoning: str | None = None


def to_open_instruct(scorer: Scorer, *, unscored: float | None = None, weight: float = 1.0) -> type:
    """A verifier class for open-instruct, which finds it once it is made: a row names it by the scorer's name. (Written
    by its source of 2026; it could not be installed here.)

    Args:
        unscored: what counts where the scorer could not tell, since open-instruct knows no missing reward: an error
            fails its whole batch.
        weight: by which open-instruct multiplies the score.

    Raises:
        UnscoredError, GoldError: as `to_verl`.
    """
    check_scorer(scorer)
    try:
        from open_instruct.ground_truth_utils import VerificationResult, VerifierFunction
    except ImportError:
        base, result = _VerifierFunction, Verification
    else:
        base, result = VerifierFunction, VerificationResult

    class MarkschemeVerifier(base):  # type: ignore[misc, valid-type]
        def __init__(self, verifier_config: Any = None) -> None:
            super().__init__(scorer.name, weight=weight, verifier_config=verifier_config)

        def __call__(
            self,
            tokenized_prediction: Sequence[int],
            prediction: str,
            label: Any,
            query: str | None = None,
            rollout_state: Any = None,
        ) -> Any:
            meta = {"completion_tokens": len(tokenized_prediction)}
            sample = Sample(prompt=query or "", completion=prediction, gold=gold_of(label), meta=meta)
            [score] = scorer.score([sample])
            value = value_of(score, scorer, "open-instruct", unscored)
            return result(score=value, reasoning=f"{score.outcome.value}, answer {score.answer}")

        async def async_call(self, *arguments: Any, **named: Any) -> Any:
            return await asyncio.to_thread(self, *arguments, **named)

    return MarkschemeVerifier


class _VerifierFunction:
    """Stands in for open-instruct's base class where that is not installed."""

    def __init__(self, name: str, weight: float = 1.0, verifier_config: Any = None) -> None:
        self.name, self.weight, self.verifier_config = name, weight, verifier_config


def to_verifiers(scorer: Scorer, *, unscored: float | None = None) -> Callable[..., Any]:
    """A reward function for the verifiers package of Prime Intellect: of a Rubric (0.3), or of a task by its name
    (0.4, `rewards = {"math": {"fn": "my_module:reward"}}`).

    Args:
        unscored: what counts where the scorer could not tell. By default that is an error: 0.4 keeps it with the
            rollout and gives no reward; a Rubric of 0.3 logs it and makes it 0.0 by itself.

    Raises:
        UnscoredError, GoldError: when it is called.
    """

    check_scorer(scorer)

    async def reward(
        prompt: Any = "", completion: Any = None, answer: Any = None, task: Any = None, trace: Any = None
    ) -> float:
        if trace is not None:  # 0.4
            prompt, completion, answer = getattr(task, "prompt", ""), trace.last_reply, _gold_field(task)
        sample = Sample(prompt=prompt_of(prompt or ""), completion=completion_of(completion), gold=gold_of(answer))
        [score] = await asyncio.to_thread(scorer.score, [sample])
        return value_of(score, scorer, "verifiers", unscored)

    reward.__name__ = reward.__qualname__ = scorer.name
    return reward


def _gold_field(task: Any) -> Any:
    """The gold of a task's data."""
    name = gold_name(None, (name for name in vars(task)))
    return None if name is None else getattr(task, name)
