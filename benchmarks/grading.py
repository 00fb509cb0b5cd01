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
from markscheme.benchmarks.votes import Vote, votes_in_order
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
    problems: Sequence[Problem],
    records: Sequence[Record],
    scores: Sequence[Score],
    votes: Sequence[Vote],
    about: Mapping[str, Any],
    num_samples: int,
) -> Evaluation:
    """Writes `scores.jsonl` and `summary.json`, which says what is in `about` too; scores and votes are one a record.

    Raises:
        OSError: if `out` cannot be written.
    """
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


def grade(
    scorer: Scorer, problems: Sequence[Problem], records: Sequence[Record], progress: Progress | None = None
) -> tuple[list[Score], list[Vote]]:
    """The score and the vote of every record; what is greedy votes for nothing.

    Raises:
        InputError: if the scorer rates instead of deciding.
    """
    by_id = {problem.id: problem for problem in problems}
    scores: list[Score] = []
    for start in range(0, len(records), SAMPLES_PER_CHUNK):
        chunk = records[start : start + SAMPLES_PER_CHUNK]
        scores += scorer.score([_sample(by_id[record["problem"]], record) for record in chunk])
        if progress:
            progress("grade", len(scores), len(records))
    if any(score.outcome is Outcome.RATED for score in scores):
        raise InputError(f"the scorer {scorer.name} rates instead of deciding; evaluate with one that decides: math")
    places = [place for place, record in enumerate(records) if record["kind"] == "sampled"]
    names = [records[place]["problem"] for place in places]
    sampled = votes_in_order(
        scorer, names, [by_id[name].question for name in names], [scores[place] for place in places]
    )
    votes: list[Vote] = [None] * len(records)
    for place, vote in zip(places, sampled, strict=True):
        votes[place] = vote
    return scores, votes


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
