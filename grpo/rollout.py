"""Rollouts: groups of completions of one problem, with their scores."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markscheme.generation import Completion, Generator, Request, Sampling, generate, seed_of
from markscheme.problems import Problem
from markscheme.scoring import Outcome, Sample, Score, Scorer

PromptIds = Callable[[Problem], tuple[int, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """What the policy wrote for a problem, and what it was worth."""

    problem: Problem
    prompt_ids: tuple[int, ...]
    completion: Completion
    score: Score


class UnscoredError(RuntimeError):
    """Too many completions could not be scored: the reward is broken, so the run stops."""


def sample_groups(
    generator: Generator,
    scorer: Scorer,
    problems: Sequence[Problem],
    prompt_ids: PromptIds,
    sampling: Sampling,
    seeds_PG: Sequence[Sequence[int]],
) -> list[list[Rollout]]:
    """One group of rollouts for each problem, with one completion for each of its seeds."""
    requests = [
        Request(prompt_ids=prompt_ids(problem), seeds=tuple(seeds))
        for problem, seeds in zip(problems, seeds_PG, strict=True)
    ]
    groups = generate(generator, requests, sampling)
    samples = [
        _sample(problem, completion)
        for problem, completions in zip(problems, groups, strict=True)
        for completion in completions
    ]
    scores = iter(scorer.score(samples))
    return [
        [
            Rollout(problem=problem, prompt_ids=request.prompt_ids, completion=completion, score=next(scores))
            for completion in completions
        ]
        for problem, request, completions in zip(problems, requests, groups, strict=True)
    ]


def greedy_accuracy(
    generator: Generator, scorer: Scorer, problems: Sequence[Problem], prompt_ids: PromptIds, sampling: Sampling
) -> float:
    """Share of problems whose likeliest completion is correct; what could not be scored counts as wrong."""
    greedy = Sampling(temperature=0.0, max_completion_tokens=sampling.max_completion_tokens, stop=sampling.stop)
    groups = sample_groups(generator, scorer, problems, prompt_ids, greedy, [[0]] * len(problems))
    return sum(group[0].score.outcome is Outcome.CORRECT for group in groups) / len(problems)


def rollout_seeds(seed: int, step: int, problems: Sequence[Problem], group_size: int) -> list[list[int]]:
    """A seed for each completion: a pure function of run seed, step, problem and place in the group."""
    return [[seed_of(seed, step, problem.id, k) for k in range(group_size)] for problem in problems]


def unscored_share(groups: Sequence[Sequence[Rollout]], limit: float) -> float:
    """Share of rollouts without a reward.

    Raises:
        UnscoredError: if it is above `limit`; the message shows three of them.
    """
    rollouts = [rollout for group in groups for rollout in group]
    unscored = [rollout for rollout in rollouts if rollout.score.value is None]
    share = len(unscored) / len(rollouts)
    if share > limit:
        shown = "; ".join(
            f"{rollout.problem.id}: {rollout.score.outcome.value} {dict(rollout.score.evidence)} for "
            f"{rollout.completion.text[-80:]!r}"
            for rollout in unscored[:3]
        )
        raise UnscoredError(f"{len(unscored)} of {len(rollouts)} completions could not be scored, such as {shown}")
    return share


def _sample(problem: Problem, completion: Completion) -> Sample:
    return Sample(
        prompt=problem.question,
        completion=completion.text,
        gold=problem.gold,
        id=problem.id,
        group=problem.id,
        meta={"completion_tokens": len(completion.ids), "finish_reason": completion.finish_reason.value},
    )
