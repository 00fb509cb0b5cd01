"""Grading: every record gets a score and a vote, and the numbers follow. A pass of its own, to be run again at will."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from markscheme.benchmarks.findings import findings
from markscheme.benchmarks.outcomes import (
    PROBLEMS,
    SCHEMA,
    SCORES,
    SUMMARY,
    Evaluation,
    graded_completion,
    group_by_problem,
)
from markscheme.benchmarks.votes import Vote, votes_of
from markscheme.files import InputError, write_json, write_text
from markscheme.problems import Problem
from markscheme.run_log import versions
from markscheme.scoring import Outcome, Sample, Score, Scorer

SAMPLES_PER_CHUNK = 1_000  # enough to fill a pool of workers, small enough to show progress

Progress = Callable[[str, int, int], None]
"""Called as progress(stage, done, total); the stages are "generate" and "grade"."""

Record = Mapping[str, Any]
"""A line of `records.jsonl`."""


def finish(
    out: Path,
    scorer: Scorer,
    problems: Sequence[Problem],
    records: Sequence[Record],
    about: Mapping[str, Any],
    num_samples: int,
    progress: Progress | None = None,
    scores: Sequence[Score] | None = None,
) -> Evaluation:
    """Grades the records, as far as `scores` are not there already, and writes `scores.jsonl` and `summary.json`, which
    says what is in `about` too.

    Raises:
        InputError: if the scorer rates instead of deciding.
        OSError: if `out` cannot be written.
    """
    scores = _grade(scorer, problems, records, progress) if scores is None else scores
    votes = _votes(scorer, problems, records, scores)
    graded = [
        (record["problem"], graded_completion(record, score, vote))
        for record, score, vote in zip(records, scores, votes, strict=True)
    ]
    outcomes = group_by_problem(problems, graded)
    summary = {
        "schema": SCHEMA,
        **about,
        **findings(outcomes, num_samples),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": versions(),
    }
    _write_lines(out / SCORES, map(_score_line, records, scores, votes))
    write_json(out / SUMMARY, summary)
    return Evaluation(outcomes=outcomes, summary=summary)


def write_problems(out: Path, problems: Sequence[Problem]) -> None:
    """Writes `problems.jsonl`."""
    _write_lines(out / PROBLEMS, (asdict(problem) for problem in problems))


def _grade(
    scorer: Scorer, problems: Sequence[Problem], records: Sequence[Record], progress: Progress | None
) -> list[Score]:
    by_id = {problem.id: problem for problem in problems}
    scores: list[Score] = []
    for start in range(0, len(records), SAMPLES_PER_CHUNK):
        chunk = records[start : start + SAMPLES_PER_CHUNK]
        scores += scorer.score([_sample(by_id[record["problem"]], record) for record in chunk])
        if progress:
            progress("grade", len(scores), len(records))
    if any(score.outcome is Outcome.RATED for score in scores):
        raise InputError(f"the scorer {scorer.name} rates instead of deciding; evaluate with one that decides: math")
    return scores


def _votes(
    scorer: Scorer, problems: Sequence[Problem], records: Sequence[Record], scores: Sequence[Score]
) -> list[Vote]:
    """In the order of the records; what is greedy votes for nothing."""
    places: dict[str, list[int]] = {problem.id: [] for problem in problems}
    for place, record in enumerate(records):
        if record["kind"] == "sampled":
            places[record["problem"]].append(place)
    by_problem = votes_of(
        scorer,
        [problem.question for problem in problems],
        [[scores[place] for place in places[problem.id]] for problem in problems],
    )
    votes: list[Vote] = [None] * len(records)
    for problem, of_problem in zip(problems, by_problem, strict=True):
        for place, vote in zip(places[problem.id], of_problem, strict=True):
            votes[place] = vote
    return votes


def _sample(problem: Problem, record: Record) -> Sample:
    return Sample(
        prompt=problem.question,
        completion=record["completion"],
        gold=problem.gold,
        id=f"{problem.id}/{record['kind']}/{record['k']}",
        group=problem.id,
        meta={"completion_tokens": record["completion_tokens"], "finish_reason": record["finish_reason"]},
    )


def _score_line(record: Record, score: Score, vote: Vote) -> dict[str, Any]:
    return {name: record[name] for name in ("key", "problem", "kind", "k")} | {"score": score.to_dict(), "vote": vote}


def _write_lines(path: Path, records: Iterable[Record]) -> None:
    write_text(path, "".join(map(json_line, records)))


def json_line(record: Record) -> str:
    """ASCII: then no character of a completion can end the line for another reader (U+2028), nor fail to encode."""
    return json.dumps(record) + "\n"
