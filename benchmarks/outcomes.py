"""What an evaluation found, problem by problem, and the numbers that follow from it."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from markscheme.benchmarks.votes import Vote
from markscheme.files import InputError, StrPath, read_jsonl
from markscheme.generation import FinishReason
from markscheme.problems import Problem
from markscheme.scoring import Score

SCHEMA = "markscheme evaluation 2"
PROBLEMS, RECORDS, SCORES, SUMMARY = "problems.jsonl", "records.jsonl", "scores.jsonl", "summary.json"

LOG_ENGINE = "log"
"""Stands for the engine where completions were read from a log."""

Kind = Literal["greedy", "sampled"]
KINDS: tuple[Kind, ...] = ("greedy", "sampled")


@dataclass(frozen=True, slots=True, kw_only=True)
class GradedCompletion:
    """One completion with its score."""

    kind: Kind
    k: int
    """Number of the sample among those of its problem and kind, from 0."""
    completion: str
    completion_tokens: int | None
    finish_reason: FinishReason | None
    """These two are None where a log of another harness does not say."""
    score: Score
    vote: Vote = None
    """What it votes for among the samples of its problem."""

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


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Evaluation:
    """A finished evaluation of one policy."""

    outcomes: tuple[ProblemOutcome, ...]
    summary: Mapping[str, Any]
    """What `summary.json` holds."""

    def __str__(self) -> str:
        """Every metric in a table with its interval, the floor of a constant guess, and how completions ended."""
        from markscheme.benchmarks.shown import as_text, evaluation_remarks, evaluation_table  # it needs this class

        return as_text(evaluation_table(self), evaluation_remarks(self))

    def __repr__(self) -> str:
        figures = ", ".join(f"{name} {metric['value']:.3f}" for name, metric in self.summary.get("metrics", {}).items())
        return f"<{type(self).__name__} of {len(self.outcomes):,} problems: {figures}>"

    @property
    def protocol(self) -> Mapping[str, Any]:
        """The settings that two evaluations must share to be compared."""
        protocol: Mapping[str, Any] = self.summary["protocol"]
        return protocol

    @property
    def num_samples(self) -> int:
        return int(self.protocol["num_samples"])


def load_evaluation(path: StrPath) -> Evaluation:
    """Reads a finished evaluation from its folder.

    Raises:
        InputError: if the folder holds no finished evaluation, or its files do not fit together.
    """
    path = Path(path)
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
            (record["problem"], graded_completion(records[key], Score.from_dict(record["score"]), record["vote"]))
            for key, record in scores.items()
        ]
        outcomes = group_by_problem(problems, graded)
    except InputError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: its files do not fit together ({error}); evaluate again") from error
    return Evaluation(outcomes=outcomes, summary=summary)


def graded_completion(record: Mapping[str, Any], score: Score, vote: Vote = None) -> GradedCompletion:
    """A line of `records.jsonl`, with its score and its vote."""
    return GradedCompletion(
        kind=record["kind"],
        k=record["k"],
        completion=record["completion"],
        completion_tokens=record["completion_tokens"],
        finish_reason=None if record["finish_reason"] is None else FinishReason(record["finish_reason"]),
        score=score,
        vote=vote,
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
