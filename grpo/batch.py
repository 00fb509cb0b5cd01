"""What a step learns from: groups of rollouts, and how much better each token of them was than expected.

Shapes: P problems, G completions of each, T tokens of a completion.
"""

import statistics
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markscheme.compose import WeightedSum
from markscheme.generation import FinishReason, Generator, seed_of
from markscheme.grpo.advantage import (
    Rewards,
    generalised_advantages,
    outcome_advantages,
    process_advantages,
    summed_advantages,
)
from markscheme.grpo.baselines.ppo import Critic
from markscheme.grpo.config import GRPOConfig
from markscheme.grpo.rollout import (
    UNSCORED_LIMIT,
    Decode,
    PromptIds,
    Rollout,
    greedy_rollouts,
    rollout_seeds,
    sample_groups,
    score_metrics,
    step_rewards,
    stop_if_unscored,
)
from markscheme.packing.sequences import TokenSequence
from markscheme.problems import Problem
from markscheme.schedule import batch_indices
from markscheme.scoring import Outcome, Scorer

UNSCORED_WARNING = 0.01
Numbers = list[list[list[float]]]
"""Of problems, of completions, of tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Groups of rollouts with an advantage for each token, and, where there is a critic, what it thought before."""

    groups_PG: list[list[Rollout]]
    advantages_PGT: Numbers
    values_PGT: Numbers

    def __len__(self) -> int:
        return len(self.groups_PG)

    def pieces(self) -> "Iterator[Batch]":
        """Each group as a batch of its own."""
        values_PGT = self.values_PGT or [[]] * len(self)
        for group, advantages, values in zip(self.groups_PG, self.advantages_PGT, values_PGT, strict=True):
            yield Batch(groups_PG=[group], advantages_PGT=[advantages], values_PGT=[values] if values else [])

    def where_something_is_learned(self) -> "list[Batch]":
        """Its groups that have an advantage other than 0, each as a batch of its own."""
        return [piece for piece in self.pieces() if any(any(map(any, group)) for group in piece.advantages_PGT)]

    def to_plain(self) -> dict[str, Any]:
        """As values that a checkpoint can hold."""
        groups = [[rollout.to_plain() for rollout in group] for group in self.groups_PG]
        return {"groups": groups, "advantages": self.advantages_PGT, "values": self.values_PGT}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> "Batch":
        """The inverse of `to_plain`."""
        groups_PG = [[Rollout.from_plain(rollout) for rollout in group] for group in plain["groups"]]
        return cls(groups_PG=groups_PG, advantages_PGT=plain["advantages"], values_PGT=plain["values"])


def joined(pieces: Sequence[Batch]) -> Batch:
    """One batch of all groups."""
    return Batch(
        groups_PG=[group for piece in pieces for group in piece.groups_PG],
        advantages_PGT=[group for piece in pieces for group in piece.advantages_PGT],
        values_PGT=[group for piece in pieces for group in piece.values_PGT],
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """Draws the rollouts of a step, has them scored, and compares them.

    Raises:
        ValueError: if `decode` or `critic` is missing, or the reward has no parts where these are to be compared.
    """

    generator: Generator
    scorer: Scorer
    problems: Sequence[Problem]
    prompt_ids: PromptIds
    config: GRPOConfig
    decode: Decode | None
    critic: Critic | None

    def __post_init__(self) -> None:
        if self.config.supervision == "process" and self.decode is None:
            raise ValueError("process supervision needs decode, which finds the tokens at which steps end")
        if (self.config.estimator == "gae") != (self.critic is not None):
            raise ValueError("the estimator gae needs a critic, and no other does")
        if self.config.supervision == "parts" and not isinstance(self.scorer, WeightedSum):
            raise ValueError(f"to compare rewards by parts takes a WeightedSum as scorer, got {self.scorer.name!r}")

    @property
    def judge(self) -> str:
        """The scorer's name and version."""
        return f"{self.scorer.name} {self.scorer.version}"

    def __call__(self, step: int, again: int = 0) -> Batch:
        """Those of a step, or of its round of refilling: other problems, or the same with other seeds.

        Raises:
            UnscoredError: if more than a fifth of the completions could not be scored.
        """
        config = self.config
        seed = seed_of("refill", config.seed, again) if again else config.seed
        batch = [self.problems[i] for i in batch_indices(len(self.problems), config.prompts_per_step, step, seed)]
        seeds_PG = rollout_seeds(seed, step, batch, config.group_size)
        common = (self.generator, self.scorer, batch, self.prompt_ids, config.sampling())
        groups_PG = sample_groups(*common, seeds_PG, config.score_deadline_s)
        greedy_P = None
        if config.estimator == "remax":
            greedy_P = [rollout.score.value for rollout in greedy_rollouts(*common, config.score_deadline_s)]
        stop_if_unscored(groups_PG, UNSCORED_LIMIT)
        if self.critic is not None:
            return by_critic(groups_PG, self.critic)
        return Batch(groups_PG=groups_PG, advantages_PGT=self._compared(groups_PG, greedy_P), values_PGT=[])

    def refilled(self, step: int, drawn: Batch) -> Batch:
        """The groups from which something is to be learned, with more drawn until there are as many as a step should
        have, or `refill_rounds` are over.

        All groups of a round are drawn before one is left out, so that short rollouts are not favoured.
        """
        kept = drawn.where_something_is_learned()
        for again in range(1, self.config.refill_rounds + 1):
            if len(kept) >= self.config.prompts_per_step:
                break
            kept += self(step, again).where_something_is_learned()
        return joined(kept[: self.config.prompts_per_step])

    def _compared(self, groups_PG: Sequence[Sequence[Rollout]], greedy_P: Rewards | None) -> Numbers:
        lengths_PG = [[len(rollout.completion.ids) for rollout in group] for group in groups_PG]
        if self.config.supervision == "process":
            assert self.decode is not None
            return [
                process_advantages([step_rewards(rollout, self.decode) for rollout in group], lengths)
                for group, lengths in zip(groups_PG, lengths_PG, strict=True)
            ]
        rewards_PG = [[rollout.score.value for rollout in group] for group in groups_PG]
        estimator = self.config.estimator
        if self.config.supervision == "parts" and isinstance(self.scorer, WeightedSum):
            weights = {name: weight for name, (_, weight) in self.scorer.parts.items()}
            by_part = {name: part_rewards(groups_PG, name) for name in weights}
            advantages_PG = summed_advantages(by_part, weights, estimator)
        else:
            advantages_PG = outcome_advantages(rewards_PG, estimator, lengths_PG=lengths_PG, greedy_P=greedy_P)
        return [
            [[advantage] * length for advantage, length in zip(advantages, lengths, strict=True)]
            for advantages, lengths in zip(advantages_PG, lengths_PG, strict=True)
        ]


def part_rewards(groups_PG: Sequence[Sequence[Rollout]], name: str) -> list[list[float | None]]:
    """What a part of a composed reward says of each completion; nothing of one that has no reward."""
    return [
        [None if rollout.score.value is None else rollout.score.parts[name].value for rollout in group]
        for group in groups_PG
    ]


def sequences_of(groups_PG: Sequence[Sequence[Rollout]]) -> list[TokenSequence]:
    """All completions with their prompts."""
    return [
        TokenSequence(prompt_ids=rollout.prompt_ids, completion_ids=rollout.completion.ids)
        for group in groups_PG
        for rollout in group
    ]


def by_critic(groups_PG: list[list[Rollout]], critic: Critic) -> Batch:
    """PPO: the reward comes with the last token, and what the critic expected before each is taken off."""
    values = iter(critic.values(sequences_of(groups_PG)))
    values_PGT = [[next(values) for _ in group] for group in groups_PG]
    advantages_PGT: Numbers = []
    for group, values_GT in zip(groups_PG, values_PGT, strict=True):
        advantages_PGT.append([])
        for rollout, values_T in zip(group, values_GT, strict=True):
            reward = rollout.score.value
            rewards_T = [0.0] * (len(values_T) - 1) + [reward or 0.0]
            advantages_T, _ = generalised_advantages(
                rewards_T, values_T, gamma=critic.config.gamma, lam=critic.config.gae_lambda
            )
            advantages_PGT[-1].append(advantages_T if reward is not None else [0.0] * len(values_T))
    return Batch(groups_PG=groups_PG, advantages_PGT=advantages_PGT, values_PGT=values_PGT)


def update_critic(critic: Critic, batch: Batch, config: GRPOConfig, step: int) -> dict[str, float]:
    """`updates_per_batch` optimizer steps of the critic towards advantage + value; returns the metrics of the last.

    Completions without a score are left out.
    """
    known = [
        (rollout, advantages, values)
        for group, advantages_GT, values_GT in zip(batch.groups_PG, batch.advantages_PGT, batch.values_PGT, strict=True)
        for rollout, advantages, values in zip(group, advantages_GT, values_GT, strict=True)
        if rollout.score.value is not None
    ]
    metrics: dict[str, float] = {}
    if not known:
        return metrics
    sequences = sequences_of([[rollout for rollout, _, _ in known]])
    returns = [[a + v for a, v in zip(advantages, values, strict=True)] for _, advantages, values in known]
    for _ in range(config.updates_per_batch):
        metrics = critic.update(sequences, returns, [values for _, _, values in known], step, config.steps)
    return metrics


def batch_metrics(batch: Batch) -> dict[str, float]:
    """What the rollouts of a step say about learning; the first five are what to watch."""
    rollouts = [rollout for group in batch.groups_PG for rollout in group]
    scored = score_metrics([rollout.score for rollout in rollouts])
    if scored["unscored_share"] > UNSCORED_WARNING:
        warnings.warn(f"{scored['unscored_share']:.1%} of the completions could not be scored", stacklevel=2)
    return {
        **scored,
        "no_answer_share": sum(r.score.outcome is Outcome.NO_ANSWER for r in rollouts) / len(rollouts),
        "zero_variance_share": 1 - len(batch.where_something_is_learned()) / len(batch),
        "completion_tokens": statistics.fmean(len(rollout.completion.ids) for rollout in rollouts),
        "truncated_share": sum(r.completion.finish_reason is FinishReason.LENGTH for r in rollouts) / len(rollouts),
        "mean_abs_advantage": statistics.fmean(
            statistics.fmean(map(abs, advantages)) for group in batch.advantages_PGT for advantages in group
        ),
    }


def records(batch: Batch, count: int) -> Iterator[dict[str, Any]]:
    """Rows of the completions table, for the first groups; one number is the advantage of all tokens."""
    for group, advantages_GT in zip(batch.groups_PG[:count], batch.advantages_PGT, strict=False):
        for rollout, advantages in zip(group, advantages_GT, strict=True):
            yield {
                "problem": rollout.problem.id,
                "question": rollout.problem.question,
                "gold": rollout.problem.gold,
                "completion": rollout.completion.text,
                "finish_reason": rollout.completion.finish_reason.value,
                "score": rollout.score.to_dict(),
                "advantage": advantages[0] if len(set(advantages)) == 1 else advantages,
            }
