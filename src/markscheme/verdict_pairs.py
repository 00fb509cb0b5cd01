"""Preference pairs made of a verifier's verdicts: a correct completion against an incorrect one of the same problem.

Shapes: P problems, G completions of each.
"""

import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from markscheme.files import InputError, StrPath, write_lines
from markscheme.generation import Generator, Sampling, seed_of
from markscheme.grpo.rollout import PromptIds, rollout_seeds, sample_groups
from markscheme.problems import Problem
from markscheme.reward_models import PreferencePair
from markscheme.scoring import Outcome, Score, Scorer

PROBLEMS_AT_A_TIME = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """A completion and its verdict."""

    problem: str
    """The problem's id."""
    question: str
    completion: str
    correct: bool | None
    """None where the verifier could not tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PairCounts:
    """What pairs were made of."""

    completions: int
    unscored: int
    """Completions without a verdict: they are in no pair."""
    problems: int
    without_both: int
    """Problems without a pair: no completion is correct, or none is incorrect."""
    pairs: int


def verdict_of(score: Score, labeller: Scorer) -> bool | None:
    """Whether the completion is correct; None where the labeller could not tell.

    Raises:
        InputError: if the labeller rates and gives no verdicts.
    """
    if score.outcome is Outcome.RATED:
        raise InputError(f"the labeller {labeller.name} rates and gives no verdicts: take a verifier, such as math")
    return score.correct


def verdict_pairs(
    labelled: Iterable[Labelled], pairs_per_problem: int, seed: int, origin: str
) -> tuple[list[PreferencePair], PairCounts]:
    """At most `pairs_per_problem` pairs of each problem, each of the weight 1 / (number of the problem's pairs).

    A pure function of its arguments. A text that was written several times counts once, and the pairs go through the
    texts of both sides as evenly as can be. One that was judged both correct and incorrect, since a verdict may depend
    on more than the text, is in no pair. `origin` begins the pairs' ids.
    """
    problems: dict[str, list[Labelled]] = {}
    for one in _consistent(labelled):
        problems.setdefault(one.problem, []).append(one)
    pairs: list[PreferencePair] = []
    without_both = 0
    for id_, completions in problems.items():
        texts = {
            verdict: sorted(
                {one.completion for one in completions if one.correct is verdict},
                key=lambda text: seed_of("pairs", seed, id_, text),
            )
            for verdict in (True, False)
        }
        chosen_rejected = _combined(texts[True], texts[False], pairs_per_problem)
        without_both += not chosen_rejected
        pairs += [
            PreferencePair(
                prompt=completions[0].question,
                chosen=chosen,
                rejected=rejected,
                id=f"{origin}/{id_}/{k}",
                weight=1 / len(chosen_rejected),
            )
            for k, (chosen, rejected) in enumerate(chosen_rejected)
        ]
    counts = PairCounts(
        completions=sum(map(len, problems.values())),
        unscored=sum(one.correct is None for completions in problems.values() for one in completions),
        problems=len(problems),
        without_both=without_both,
        pairs=len(pairs),
    )
    return pairs, counts


def _consistent(labelled: Iterable[Labelled]) -> list[Labelled]:
    """The same, without a verdict where a problem's text was judged both correct and incorrect."""
    labelled = list(labelled)
    verdicts = {(one.problem, one.completion, one.correct) for one in labelled}
    return [
        replace(one, correct=None) if {(one.problem, one.completion, v) for v in (True, False)} <= verdicts else one
        for one in labelled
    ]


def _combined(chosen: Sequence[str], rejected: Sequence[str], limit: int) -> list[tuple[str, str]]:
    """The first `limit` of all combinations, in an order that goes through both sides as evenly as can be.

    >>> _combined("AB", "xy", 3)
    [('A', 'x'), ('B', 'y'), ('A', 'y')]
    """
    round_trip = math.lcm(len(chosen), len(rejected))  # after so many, both sides begin anew: then shift one of them
    return [
        (chosen[k % len(chosen)], rejected[(k + k // round_trip) % len(rejected)])
        for k in range(min(limit, len(chosen) * len(rejected)))
    ]


def write_pairs(path: StrPath, pairs: Sequence[PreferencePair]) -> None:
    """Writes a .jsonl file that `load_pairs` reads, whole or not at all."""
    write_lines(Path(path), (json.dumps(asdict(pair)) for pair in pairs))


def initial_pairs(
    generator: Generator,
    labeller: Scorer,
    problems: Sequence[Problem],
    prompt_ids: PromptIds,
    path: StrPath,
    *,
    sampling: Sampling,
    num_samples: int = 8,
    pairs_per_problem: int = 4,
    seed: int = 0,
    score_deadline_s: float = 60.0,
    on_drawn: Callable[[int], None] = lambda done: None,
) -> PairCounts:
    """Writes pairs of `num_samples` completions of each problem by the policy in `generator` to the file `path`:
    what a first reward model learns from. The labeller's verdicts decide. `on_drawn` is told (problems done).

    Raises:
        GoldError: if a gold cannot be read.
        InputError: if the labeller gives no verdicts, or no problem has both a correct and an incorrect completion.
    """

    def labelled() -> Iterator[Labelled]:
        for first in range(0, len(problems), PROBLEMS_AT_A_TIME):
            batch = problems[first : first + PROBLEMS_AT_A_TIME]
            seeds_PG = rollout_seeds(seed_of("initial pairs", seed), 0, batch, num_samples)
            groups_PG = sample_groups(
                generator=generator,
                scorer=labeller,
                problems=batch,
                prompt_ids=prompt_ids,
                sampling=sampling,
                seeds_PG=seeds_PG,
                score_deadline_s=score_deadline_s,
            )
            for group in groups_PG:
                for rollout in group:
                    yield Labelled(
                        problem=rollout.problem.id,
                        question=rollout.problem.question,
                        completion=rollout.completion.text,
                        correct=verdict_of(rollout.score, labeller),
                    )
            on_drawn(first + len(batch))

    pairs, counts = verdict_pairs(labelled(), pairs_per_problem, seed, "initial")
    if not pairs:
        raise InputError(
            f"none of {counts.problems} problems has both a correct and an incorrect completion ({counts.unscored} of "
            f"{counts.completions} completions without a verdict): give other problems or more samples of each"
        )
    write_pairs(path, pairs)
    return counts
