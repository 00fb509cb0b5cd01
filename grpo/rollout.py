"""Rollouts: groups of completions of one problem, with their scores."""

import statistics
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from markscheme import parallel
from markscheme.generation import Completion, FinishReason, Generator, Request, Sampling, seed_of
from markscheme.grpo.reward import score_as_written
from markscheme.problems import Problem
from markscheme.run_log import StoppedError
from markscheme.scoring import Sample, Score, Scorer

UNSCORED_LIMIT = 0.2
"""A larger share of completions without a score stops a run."""
PromptIds = Callable[[Problem], tuple[int, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """What the policy wrote for a problem, and what it was worth."""

    problem: Problem
    prompt_ids: tuple[int, ...]
    completion: Completion
    score: Score

    def to_plain(self) -> dict[str, Any]:
        """As values that a checkpoint can hold."""
        completion = asdict(self.completion) | {"finish_reason": self.completion.finish_reason.value}
        problem = {field.name: getattr(self.problem, field.name) for field in fields(self.problem)}
        return {
            "problem": problem | {"meta": dict(self.problem.meta)},
            "prompt_ids": self.prompt_ids,
            "completion": completion,
            "score": self.score.to_dict(),
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> "Rollout":
        """The inverse of `to_plain`."""
        reason = FinishReason(plain["completion"]["finish_reason"])
        return cls(
            problem=Problem(**plain["problem"]),
            prompt_ids=plain["prompt_ids"],
            completion=Completion(**{**plain["completion"], "finish_reason": reason}),
            score=Score.from_dict(plain["score"]),
        )


Decode = Callable[[Sequence[int]], str]
"""Token ids to text, as completions are decoded."""


def step_rewards(rollout: Rollout, decode: Decode) -> list[tuple[int, float]] | None:
    """(index of the token at which it ends, value) of each step; None if the completion has no score.

    A step that ends where the text ends, ends at the last token, which may be the end token. A completion without
    steps is one step with its value.
    """
    ids, text, score = rollout.completion.ids, rollout.completion.text, rollout.score
    if score.value is None:
        return None
    if not score.steps:
        return [(len(ids) - 1, score.value)]
    inside = len(text.rstrip())
    found: list[tuple[int, float]] = []
    for step in score.steps:
        if step.end >= inside:
            found.append((len(ids) - 1, step.value))
        else:  # the first token with which the text reaches the step's end
            found.append((bisect_left(range(len(ids)), step.end, key=lambda k: len(decode(ids[: k + 1]))), step.value))
    return found


class UnscoredError(StoppedError):
    """Too many completions could not be scored: the reward is broken, so the run stops."""


def sample_groups(
    generator: Generator,
    scorer: Scorer,
    problems: Sequence[Problem],
    prompt_ids: PromptIds,
    sampling: Sampling,
    seeds_PG: Sequence[Sequence[int]],
    score_deadline_s: float,
) -> list[list[Rollout]]:
    """One group of rollouts for each problem, with one completion for each of its seeds; each process draws its share.

    They are scored while others are still being written; what has no score `score_deadline_s` seconds after the last
    was written is FAILED (see `reward.score_as_written`).

    Raises:
        GoldError: if a gold cannot be read.
        InputError: if the generator or the scorer cannot work with what the user gave.
    """
    mine = parallel.share_of(list(zip(problems, seeds_PG, strict=True)))
    requests = [Request(prompt_ids=prompt_ids(problem), seeds=tuple(seeds)) for problem, seeds in mine]
    written: dict[tuple[int, int], Completion] = {}

    def samples() -> Iterator[Sample]:
        for p, k, completion in generator.stream(requests, sampling):
            written[p, k] = completion
            yield _sample(mine[p][0], completion)

    scores = score_as_written(scorer, samples(), score_deadline_s)
    score_of = dict(zip(written, scores, strict=True))
    groups = [
        [
            Rollout(problem=problem, prompt_ids=request.prompt_ids, completion=written[p, k], score=score_of[p, k])
            for k in range(len(request.seeds))
        ]
        for p, ((problem, _), request) in enumerate(zip(mine, requests, strict=True))
    ]
    return parallel.joined(parallel.of_all(groups))


def greedy_rollouts(
    generator: Generator,
    scorer: Scorer,
    problems: Sequence[Problem],
    prompt_ids: PromptIds,
    sampling: Sampling,
    score_deadline_s: float,
) -> list[Rollout]:
    """The likeliest completion of each problem."""
    greedy = Sampling(temperature=0.0, max_completion_tokens=sampling.max_completion_tokens, stop=sampling.stop)
    groups = sample_groups(generator, scorer, problems, prompt_ids, greedy, [[0]] * len(problems), score_deadline_s)
    return [group[0] for group in groups]


def greedy_metrics(rollouts: Sequence[Rollout]) -> dict[str, float]:
    """How the likeliest completions do on the dev problems."""
    scores = [rollout.score for rollout in rollouts]
    return {f"dev_{name}": value for name, value in score_metrics(scores).items()}


def scores_by(scorer: Scorer, rollouts: Sequence[Rollout], score_deadline_s: float) -> list[Score]:
    """What another scorer says of rollouts; each process asks about its share."""
    samples = [_sample(rollout.problem, rollout.completion) for rollout in parallel.share_of(rollouts)]
    return parallel.joined(parallel.of_all(score_as_written(scorer, samples, score_deadline_s)))


def score_metrics(scores: Sequence[Score]) -> dict[str, float]:
    """Mean reward, accuracy where there are verdicts, and the share without a score, which is left out of both; and the
    mean of each part, where a score is made of several.

    A scorer that rates gives no verdicts, so there is no accuracy then, rather than one of 0.
    """
    values = [score.value for score in scores if score.value is not None]
    verdicts = [score.correct for score in scores if score.correct is not None]
    metrics = {"unscored_share": (len(scores) - len(values)) / len(scores)}
    if values:
        metrics["reward"] = statistics.fmean(values)
    if verdicts:
        metrics["accuracy"] = sum(verdicts) / len(verdicts)
    by_part: dict[str, list[float]] = {}
    for score in scores:
        for name, part in score.parts.items():
            if part.value is not None:
                by_part.setdefault(f"reward/{name}", []).append(part.value)
    return metrics | {name: statistics.fmean(values) for name, values in by_part.items()}


def rollout_seeds(seed: int, step: int, problems: Sequence[Problem], group_size: int) -> list[list[int]]:
    """A seed for each completion: a pure function of run seed, step, problem and place in the group."""
    return [[seed_of(seed, step, problem.id, k) for k in range(group_size)] for problem in problems]


def stop_if_unscored(groups: Sequence[Sequence[Rollout]], limit: float) -> None:
    """
    Raises:
        UnscoredError: if a larger share of the rollouts than `limit` has no reward; the message shows three of them.
    """
    rollouts = [rollout for group in groups for rollout in group]
    unscored = [rollout for rollout in rollouts if rollout.score.value is None]
    if len(unscored) <= limit * len(rollouts):
        return
    shown = "; ".join(
        f"{rollout.problem.id}: {rollout.score.outcome.value} {dict(rollout.score.evidence)} for "
        f"{rollout.completion.text[-80:]!r}"
        for rollout in unscored[:3]
    )
    raise UnscoredError(f"{len(unscored)} of {len(rollouts)} completions could not be scored, such as {shown}")


def _sample(problem: Problem, completion: Completion) -> Sample:
    return Sample(
        prompt=problem.question,
        completion=completion.text,
        gold=problem.gold,
        id=problem.id,
        group=problem.id,
        meta={"completion_tokens": len(completion.ids), "finish_reason": completion.finish_reason.value},
    )
