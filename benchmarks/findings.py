"""The numbers that follow from what an evaluation found: metrics with their intervals, endings, levels and subjects."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from statistics import fmean
from typing import Any

from markscheme.benchmarks.metrics import (
    bootstrap_interval,
    consensus,
    constant_guess_floor,
    majority_at_k,
    mean_and_standard_error,
    pass_at_k,
    sampling_share,
    wilson_interval,
)
from markscheme.benchmarks.outcomes import KINDS, GradedCompletion, Kind, ProblemOutcome
from markscheme.benchmarks.votes import Vote
from markscheme.generation import FinishReason
from markscheme.problems import Problem
from markscheme.scoring import Outcome

LEVELS, SUBJECTS = ("level", "grade", "steps"), ("subject", "type")
"""Columns of a problem by which figures are given apart, of which the first that is there counts."""
MAX_GROUPS = 30  # levels or subjects; what has more values is no grouping for a table

Values = Mapping[str, Mapping[str, float]]
"""Metric -> problem id -> value."""


def sample_counts(num_samples: int) -> list[int]:
    """The k of pass@k: the powers of two up to the number of samples, and that number.

    >>> sample_counts(6)
    [1, 2, 4, 6]
    """
    return sorted({2**power for power in range(num_samples.bit_length())} | {num_samples} - {0})


def sample_metrics(votes: Sequence[Vote], correct: Sequence[bool], num_samples: int) -> dict[str, float]:
    """pass@k, maj@k and cons@K of the scored samples of one problem, as far as there are enough; K is `num_samples`."""
    values: dict[str, float] = {}
    for k in sample_counts(num_samples):
        if len(correct) < k:
            continue
        values[f"pass@{k}"] = pass_at_k(len(correct), sum(correct), k)
        if k > 2:  # of two votes that differ neither wins: maj@2 says little beyond pass@1
            values[f"maj@{k}"] = majority_at_k(votes, correct, k)
    if len(correct) == num_samples > 2:
        values[f"cons@{num_samples}"] = consensus(votes, correct)
    return values


def values_by_metric(outcomes: Sequence[ProblemOutcome], num_samples: int) -> dict[str, dict[str, float]]:
    """Metric -> problem id -> value in [0, 1], for the metrics that were measured.

    Unscored samples are left out; so is a problem that has too few scored samples for the metric.
    """
    values: dict[str, dict[str, float]] = {}
    for outcome in outcomes:
        if outcome.greedy is not None and outcome.greedy.score.correct is not None:
            values.setdefault("greedy", {})[outcome.problem.id] = float(outcome.greedy.score.correct)
        scored = scored_of(outcome)
        correct = [bool(sample.score.correct) for sample in scored]
        for metric, value in sample_metrics([sample.vote for sample in scored], correct, num_samples).items():
            values.setdefault(metric, {})[outcome.problem.id] = value
    return dict(sorted(values.items(), key=lambda item: _metric_order(item[0])))


def _metric_order(metric: str) -> tuple[int, int]:
    name, _, k = metric.partition("@")
    return ("greedy", "pass", "maj", "cons").index(name), int(k or 0)


def scored_of(outcome: ProblemOutcome) -> list[GradedCompletion]:
    """The samples of a problem about which something was decided."""
    return [sample for sample in outcome.sampled if sample.score.correct is not None]


def metrics_of(values_of: Values, num_scored: Mapping[str, int]) -> dict[str, dict[str, float | int | None]]:
    """Each metric with its n, standard error and 95 % interval (of 0 and 1: Wilson; else bootstrap over problems); of
    pass@1 also the share of its squared error that more samples could take away.

    Args:
        num_scored: problem id -> scored samples.
    """
    metrics: dict[str, dict[str, float | int | None]] = {}
    for metric, by_problem in values_of.items():
        values = list(by_problem.values())
        mean, standard_error = mean_and_standard_error(values)
        low, high = (
            wilson_interval(round(sum(values)), len(values)) if set(values) <= {0, 1} else bootstrap_interval(values)
        )
        metrics[metric] = {
            "value": mean,
            "standard_error": None if math.isnan(standard_error) else standard_error,
            "low": low,
            "high": high,
            "n": len(values),
        }
        if metric == "pass@1":
            share = sampling_share(values, [num_scored[id_] for id_ in by_problem])
            metrics[metric]["sampling_share"] = None if math.isnan(share) else share
    return metrics


def counts_of(outcomes: Sequence[ProblemOutcome], kind: Kind) -> dict[str, Any]:
    """How the completions of one kind ended.

    `pessimistic` is the accuracy with every unscored completion counted wrong, averaged over problems.
    """
    completions = [completion for outcome in outcomes for completion in outcome.of_kind(kind)]
    if not completions:
        return {"completions": 0}
    by_problem = [outcome.of_kind(kind) for outcome in outcomes if outcome.of_kind(kind)]
    reasons = [completion.finish_reason for completion in completions]
    lengths = [one.completion_tokens for one in completions if one.completion_tokens is not None]
    outcome_counts = [completion.score.outcome for completion in completions]
    return {
        "completions": len(completions),
        "correct": outcome_counts.count(Outcome.CORRECT),
        "incorrect": outcome_counts.count(Outcome.INCORRECT),
        "no_answer": outcome_counts.count(Outcome.NO_ANSWER),
        "unscored": sum(not outcome.has_value for outcome in outcome_counts),
        "truncated": None if None in reasons else reasons.count(FinishReason.LENGTH),
        "mean_completion_tokens": fmean(lengths) if len(lengths) == len(completions) else None,
        "distinct_answers": sum(len({completion.vote for completion in group} - {None}) for group in by_problem)
        / len(by_problem),
        "pessimistic": sum(
            sum(bool(completion.score.correct) for completion in group) / len(group) for group in by_problem
        )
        / len(by_problem),
    }


def group_of(problem: Problem, columns: Sequence[str]) -> str | None:
    """What the first of these columns that a problem has says; None if it has none."""
    said = next((str(problem.meta[name]) for name in columns if problem.meta.get(name) is not None), None)
    return None if said is None else said.encode("utf-8", "replace").decode("utf-8")  # no half of a surrogate pair


def group_names(groups: Iterable[str | None]) -> list[str]:
    """The different ones, level 10 after level 9; none if there are too many for a table."""
    found = {group for group in groups if group is not None}

    def parts(name: str) -> tuple[list[tuple[int, str]], str]:
        texts_and_numbers = enumerate(re.split(r"([0-9]{1,9})", name))
        return [(int(part), "") if place % 2 else (0, part) for place, part in texts_and_numbers], name

    return sorted(found, key=parts) if len(found) <= MAX_GROUPS else []


def by_group(
    outcomes: Sequence[ProblemOutcome], values_of: Values, num_scored: Mapping[str, int]
) -> dict[str, dict[str, Any]]:
    """Level or subject -> each of its groups -> their metrics, where there are several and not too many."""
    found: dict[str, dict[str, Any]] = {}
    for name, columns in (("level", LEVELS), ("subject", SUBJECTS)):
        groups = {outcome.problem.id: group_of(outcome.problem, columns) for outcome in outcomes}
        names = group_names(groups.values())
        if len(names) > 1:
            found[name] = {group: metrics_of(_of_group(values_of, groups, group), num_scored) for group in names}
    return found


def _of_group(values_of: Values, groups: Mapping[str, str | None], group: str) -> Values:
    cut = {
        metric: {id_: value for id_, value in by_problem.items() if groups[id_] == group}
        for metric, by_problem in values_of.items()
    }
    return {metric: by_problem for metric, by_problem in cut.items() if by_problem}


def findings(outcomes: Sequence[ProblemOutcome], num_samples: int) -> dict[str, Any]:
    """The numbers of `summary.json`."""
    values_of = values_by_metric(outcomes, num_samples)
    num_scored = {outcome.problem.id: len(scored_of(outcome)) for outcome in outcomes}
    return {
        "num_problems": len(outcomes),
        "metrics": metrics_of(values_of, num_scored),
        "counts": {kind: counts_of(outcomes, kind) for kind in KINDS},
        "by_group": by_group(outcomes, values_of, num_scored),
        "constant_guess": asdict(constant_guess_floor([outcome.problem.gold for outcome in outcomes])),
    }
