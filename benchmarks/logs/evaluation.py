"""Reading a folder that `markscheme evaluate` wrote."""

from dataclasses import asdict
from pathlib import Path
from typing import get_args

from markscheme.benchmarks.logs.sample import LoggedSample
from markscheme.benchmarks.logs.values import listed
from markscheme.benchmarks.outcomes import KINDS, SCORES, Kind, load_evaluation
from markscheme.files import InputError
from markscheme.scoring import Outcome


def read_evaluation(path: Path, *, filter: str | None = None) -> list[LoggedSample]:
    """The samples of an evaluation, problem by problem.

    Args:
        path: The folder.
        filter: greedy or sampled; None takes both, the greedy completion of a problem before its sampled ones.

    Raises:
        InputError: if the folder holds no finished evaluation, or none of that kind.
    """
    if filter is not None and filter not in get_args(Kind):
        raise InputError(f"{path}: no filter {filter!r} in it; it has {listed(KINDS)}")
    try:
        evaluation = load_evaluation(path)
    except InputError:
        raise
    except ValueError as error:  # an outcome or a finish reason that there is not
        raise InputError(f"{path}: its files do not fit together ({error}); evaluate again") from error
    samples: list[LoggedSample] = []
    for outcome in evaluation.outcomes:
        graded = [one for kind in KINDS if filter in (None, kind) for one in outcome.of_kind(kind)]
        for k, one in enumerate(graded):
            samples.append(
                LoggedSample(
                    problem=outcome.problem.id,
                    question=outcome.problem.question,
                    completion=one.completion,
                    gold=outcome.problem.gold,
                    verdict=one.score.correct,
                    k=k,
                    tokens=one.completion_tokens,
                    truncated=None if one.finish_reason is None else one.truncated,
                    value=one.score.value if one.score.outcome is Outcome.RATED else None,
                    row={"problem": asdict(outcome.problem), "kind": one.kind, "score": one.score.to_dict()},
                    where=f"{path / SCORES}:{outcome.problem.id} {one.kind} {one.k}",
                )
            )
    return samples
