"""What an evaluation found, problem by problem, and the numbers that follow from it."""

import json
import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from markscheme.benchmarks.metrics import (
    bootstrap_interval,
    constant_guess_floor,
    majority_at_k,
    mean_and_standard_error,
    pass_at_k,
    wilson_interval,
)
from markscheme.files import InputError, read_jsonl
from markscheme.generation import FinishReason
from markscheme.problems import Problem
from markscheme.scoring import Outcome, Score

SCHEMA = "markscheme evaluation 1"
PROBLEMS, RECORDS, SCORES, SUMMARY = "problems.jsonl", "records.jsonl", "scores.jsonl", "summary.json"

Kind = Literal["greedy", "sampled"]
KINDS: tuple[Kind, ...] = ("greedy", "sampled")


@dataclass(frozen=True, slots=True, kw_only=True)
class GradedCompletion:
    """One completion with its score."""

    kind: Kind
    k: int
    """Number of the sample among those of its problem and kind, from 0."""
    completion: str
    completion_tokens: int
    finish_reason: FinishReason
    score: Score

    @property
    def truncated(self) -> bool:
        return self.finish_reason is FinishReason.LENGTH


@dataclass(frozen=True, slots=True, kw_only=True)
class ProblemOutcome:
    """Everything the policy wrote about one problem."""

    problem: Problem
    greedy: GradedCompletion | None
    sampled: tuple[GradedCompletion, ...]

    def of_kind(self, kind: Kind) -> tuple[GradedCompletion, ...]:
        if kind == "sampled":
            return self.sampled
        return () if self.greedy is None else (self.greedy,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """A finished evaluation of one policy."""

    outcomes: tuple[ProblemOutcome, ...]
    summary: Mapping[str, Any]
    """What `summary.json` holds."""

    @property
    def protocol(self) -> Mapping[str, Any]:
        """The settings that two evaluations must share to be compared."""
        protocol: Mapping[str, Any] = self.summary["protocol"]
        return protocol

    @property
    def num_samples(self) -> int:
        return int(self.protocol["num_samples"])


def load_evaluation(path: Path) -> Evaluation:
    """Reads a finished evaluation from its folder.

    Raises:
        InputError: if the folder holds no finished evaluation, or its files do not fit together.
    """
    if not (path / SUMMARY).is_file():
        state = "the evaluation in it is unfinished; run it again, it goes on where it stopped"
        raise InputError(f"{path}: {state if (path / RECORDS).exists() else f'not an evaluation: no {SUMMARY} in it'}")
    try:
        summary = json.loads((path / SUMMARY).read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path / SUMMARY}: not JSON ({error})") from error
    if not isinstance(summary, dict) or summary.get("schema") != SCHEMA:
        raise InputError(f"{path / SUMMARY}: not the summary of an evaluation (its schema is not {SCHEMA!r})")
    try:
        problems = [Problem(**record) for _, record in read_jsonl(path / PROBLEMS)]
        scores = {record["key"]: record for _, record in read_jsonl(path / SCORES)}
        records = {record["key"]: record for _, record in read_jsonl(path / RECORDS) if record["key"] in scores}
        graded = [
            (record["problem"], graded_completion(records[key], Score.from_dict(record["score"])))
            for key, record in scores.items()
        ]
    except (KeyError, TypeError) as error:
        raise InputError(f"{path}: its files do not fit together ({error}); evaluate again") from error
    return Evaluation(outcomes=group_by_problem(problems, graded), summary=summary)


def graded_completion(record: Mapping[str, Any], score: Score) -> GradedCompletion:
    """A line of `records.jsonl`, with its score."""
    return GradedCompletion(
        kind=record["kind"],
        k=record["k"],
        completion=record["completion"],
        completion_tokens=record["completion_tokens"],
        finish_reason=FinishReason(record["finish_reason"]),
        score=score,
    )


def group_by_problem(
    problems: Sequence[Problem], graded: Iterable[tuple[str, GradedCompletion]]
) -> tuple[ProblemOutcome, ...]:
    """One outcome a problem, in the order of the problems; `graded` names each completion's problem."""
    greedy: dict[str, GradedCompletion] = {}
    sampled: dict[str, list[GradedCompletion]] = {problem.id: [] for problem in problems}
    for problem_id, completion in graded:
        if completion.kind == "greedy":
            greedy[problem_id] = completion
        else:
            sampled[problem_id].append(completion)
    return tuple(
        ProblemOutcome(problem=problem, greedy=greedy.get(problem.id), sampled=tuple(sampled[problem.id]))
        for problem in problems
    )


def sample_counts(num_samples: int) -> list[int]:
    """The k of pass@k: the powers of two up to the number of samples, and that number.

    >>> sample_counts(6)
    [1, 2, 4, 6]
    """
    return sorted({2**power for power in range(num_samples.bit_length())} | {num_samples} - {0})


def values_by_metric(outcomes: Sequence[ProblemOutcome], num_samples: int) -> dict[str, dict[str, float]]:
    """Metric -> problem id -> value in [0, 1], for the metrics that were measured.

    Unscored samples are left out; so is a problem that has too few scored samples for the metric.
    """
    values: dict[str, dict[str, float]] = {}
    for outcome in outcomes:
        if outcome.greedy is not None and outcome.greedy.score.correct is not None:
            values.setdefault("greedy", {})[outcome.problem.id] = float(outcome.greedy.score.correct)
        scored = [sample for sample in outcome.sampled if sample.score.correct is not None]
        correct = [bool(sample.score.correct) for sample in scored]
        for k in sample_counts(num_samples):
            if len(scored) < k:
                continue
            values.setdefault(f"pass@{k}", {})[outcome.problem.id] = pass_at_k(len(scored), sum(correct), k)
            if k > 2:  # of two votes that differ neither wins: maj@2 says nothing beyond pass@1
                vote = majority_at_k([answer_label(sample) for sample in scored], correct, k)
                values.setdefault(f"maj@{k}", {})[outcome.problem.id] = vote
    return dict(sorted(values.items(), key=lambda item: _metric_order(item[0])))


def _metric_order(metric: str) -> tuple[int, int]:
    name, _, k = metric.partition("@")
    return ("greedy", "pass", "maj").index(name), int(k or 0)


def answer_label(sample: GradedCompletion) -> Hashable | None:
    """What a sample votes for."""
    return label_of(sample.score, sample.k)


def label_of(score: Score, k: int) -> Hashable | None:
    """What the k-th completion votes for: right answers all equal the gold, wrong ones are told apart by their text."""
    if score.outcome is Outcome.NO_ANSWER:
        return None
    if score.correct:
        return True
    if score.answer is None:
        return ("unnamed", k)  # wrong, and nobody knows what: it agrees with no other
    return " ".join(score.answer.split())


def metrics_of(outcomes: Sequence[ProblemOutcome], num_samples: int) -> dict[str, dict[str, float | int | None]]:
    """Each metric with its n, standard error and 95 % interval (greedy: Wilson; else bootstrap over problems)."""
    metrics: dict[str, dict[str, float | int | None]] = {}
    for metric, by_problem in values_by_metric(outcomes, num_samples).items():
        values = list(by_problem.values())
        mean, standard_error = mean_and_standard_error(values)
        low, high = (
            wilson_interval(round(sum(values)), len(values)) if metric == "greedy" else bootstrap_interval(values)
        )
        metrics[metric] = {
            "value": mean,
            "standard_error": None if math.isnan(standard_error) else standard_error,
            "low": low,
            "high": high,
            "n": len(values),
        }
    return metrics


def counts_of(outcomes: Sequence[ProblemOutcome], kind: Kind) -> dict[str, float | int]:
    """How the completions of one kind ended.

    `pessimistic` is the accuracy with every unscored completion counted wrong, averaged over problems.
    """
    completions = [completion for outcome in outcomes for completion in outcome.of_kind(kind)]
    if not completions:
        return {"completions": 0}
    by_problem = [outcome.of_kind(kind) for outcome in outcomes if outcome.of_kind(kind)]
    outcome_counts = [completion.score.outcome for completion in completions]
    return {
        "completions": len(completions),
        "correct": outcome_counts.count(Outcome.CORRECT),
        "incorrect": outcome_counts.count(Outcome.INCORRECT),
        "no_answer": outcome_counts.count(Outcome.NO_ANSWER),
        "unscored": sum(not outcome.has_value for outcome in outcome_counts),
        "truncated": sum(completion.truncated for completion in completions),
        "mean_completion_tokens": sum(completion.completion_tokens for completion in completions) / len(completions),
        "pessimistic": sum(
            sum(bool(completion.score.correct) for completion in group) / len(group) for group in by_problem
        )
        / len(by_problem),
    }


def findings(outcomes: Sequence[ProblemOutcome], num_samples: int) -> dict[str, Any]:
    """The numbers of `summary.json`."""
    return {
        "num_problems": len(outcomes),
        "metrics": metrics_of(outcomes, num_samples),
        "counts": {kind: counts_of(outcomes, kind) for kind in KINDS},
        "constant_guess": asdict(constant_guess_floor([outcome.problem.gold for outcome in outcomes])),
    }
