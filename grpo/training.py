"""Group relative policy optimisation: Algorithm 1 of DeepSeekMath (arXiv:2402.03300), outcome supervision.

Shapes: P problems a step, G completions a problem, M completion tokens of a micro-batch.
"""

import copy
import itertools
import statistics
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from transformers import PreTrainedModel

from markscheme.checkpoint import load_checkpoint, save_checkpoint
from markscheme.generation import FinishReason, Generator, Sampling, seed_of
from markscheme.grpo.advantage import group_advantages
from markscheme.grpo.head import check_head, completion_logprobs
from markscheme.grpo.objective import grpo_loss, k3
from markscheme.grpo.pack import TokenSequence, pack
from markscheme.grpo.rollout import (
    PromptIds,
    Rollout,
    greedy_metrics,
    rollout_seeds,
    sample_groups,
    score_metrics,
    stop_if_unscored,
)
from markscheme.optimizer import OptimizerConfig, check_settings, make_optimizer, take_step
from markscheme.problems import Problem
from markscheme.run_log import RunLog
from markscheme.schedule import batch_indices
from markscheme.scoring import Outcome, Scorer

UNSCORED_WARNING = 0.01
UNSCORED_LIMIT = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class GRPOConfig(OptimizerConfig):
    """Settings of a GRPO run."""

    steps: int = 100
    """Batches of rollouts."""
    prompts_per_step: int = 32
    """Problems in a batch, P."""
    group_size: int = 8
    """Rollouts of a problem, G."""
    updates_per_batch: int = 1
    """Optimizer steps on one batch of rollouts (mu in Algorithm 1)."""
    learning_rate: float = 1e-6
    """Of AdamW, at its peak."""
    betas: tuple[float, float] = (0.9, 0.95)
    """Of AdamW: memory of the gradient's mean and of its square."""
    decay_share: float = 1.0
    """The learning rate falls linearly to 0 over this last share of the steps."""
    clip_eps: float = 0.2
    """How far a token's ratio to the old policy may move before its gradient stops."""
    kl_coef: float = 0.0
    """Weight of the KL term (k3) against the policy the run began with; 0 needs no reference model."""
    temperature: float = 1.0
    """Of the rollouts, and of the log-probabilities that are trained."""
    max_completion_tokens: int = 512
    """A longer completion is cut off, and scored as it is."""
    stop: tuple[str, ...] = ()
    """A completion ends before the first of these strings."""
    dev_every: int = 10
    """Steps between greedy evaluations on the dev problems, where there are any."""
    checkpoint_every: int = 10
    """Steps between checkpoints."""
    logged_groups: int = 1
    """Groups of a step whose completions are kept in completions.jsonl."""

    def __post_init__(self) -> None:
        OptimizerConfig.__post_init__(self)  # super() does not know a class with slots
        if self.group_size < 2:
            raise ValueError(f"group_size must be at least 2 to compare rollouts, got {self.group_size}")
        if self.temperature <= 0:
            raise ValueError(f"temperature must be above 0 to draw different rollouts, got {self.temperature}")
        check_settings(
            self,
            positive=("steps", "prompts_per_step", "updates_per_batch", "clip_eps", "dev_every"),
            not_negative=("kl_coef", "logged_groups"),
        )
        self.sampling()  # checks the rest

    def sampling(self) -> Sampling:
        """How rollouts are drawn."""
        return Sampling(temperature=self.temperature, max_completion_tokens=self.max_completion_tokens, stop=self.stop)


def train_grpo(
    policy: PreTrainedModel,
    generator: Generator,
    scorer: Scorer,
    problems: Sequence[Problem],
    prompt_ids: PromptIds,
    config: GRPOConfig,
    log: RunLog,
    dev_problems: Sequence[Problem] = (),
    on_step: Callable[[int, Mapping[str, Any]], None] = lambda step, metrics: None,
) -> None:
    """Trains `policy` in place; goes on from the run folder's last checkpoint, bit by bit as if never interrupted.

    `generator` must be given the same weights as `policy`; it is told the new ones after every step.
    `on_step` is told (steps done, the step's metrics).

    Raises:
        GoldError: if a gold cannot be read.
        FloatingPointError: if the gradient is not finite.
        UnscoredError: if more than a fifth of a step's completions could not be scored.
    """
    check_head(policy)
    reference = copy.deepcopy(policy).eval().requires_grad_(False) if config.kl_coef else None
    optimizer = make_optimizer(policy, config)
    checkpoints = log.folder / "checkpoints"
    first_step, _ = load_checkpoint(checkpoints, policy, optimizer)
    log.rewind(first_step)
    generator.load_weights(policy.state_dict().items())
    policy.train()
    sampling = config.sampling()
    if dev_problems and not log.read():
        start = time.process_time()
        before = greedy_metrics(generator, scorer, dev_problems, prompt_ids, sampling)
        log.write(0, before, {"dev_cpu_s": time.process_time() - start})
    for step in range(first_step, config.steps):
        clock = [time.process_time()]
        torch.manual_seed(seed_of("dropout", config.seed, step))
        batch = [problems[i] for i in batch_indices(len(problems), config.prompts_per_step, step, config.seed)]
        seeds_PG = rollout_seeds(config.seed, step, batch, config.group_size)
        groups_PG = sample_groups(generator, scorer, batch, prompt_ids, sampling, seeds_PG)
        advantages_PG = [group_advantages([rollout.score.value for rollout in group]) for group in groups_PG]
        clock.append(time.process_time())
        metrics = _rollout_metrics(groups_PG, advantages_PG)
        metrics |= update_policy(policy, reference, optimizer, groups_PG, advantages_PG, config, step)
        generator.load_weights(policy.state_dict().items())
        clock.append(time.process_time())
        done = step + 1
        if dev_problems and (done % config.dev_every == 0 or done == config.steps):
            metrics |= greedy_metrics(generator, scorer, dev_problems, prompt_ids, sampling)
        clock.append(time.process_time())
        seconds = [after - before for before, after in itertools.pairwise(clock)]
        log.write(done, metrics, dict(zip(("rollout_cpu_s", "update_cpu_s", "dev_cpu_s"), seconds, strict=True)))
        for group, advantages in zip(groups_PG[: config.logged_groups], advantages_PG, strict=False):
            for rollout, advantage in zip(group, advantages, strict=True):
                log.append("completions.jsonl", {"step": done, **_record(rollout, advantage)})
        if done % config.checkpoint_every == 0 or done == config.steps:
            save_checkpoint(checkpoints, done, policy, optimizer)
        on_step(done, metrics)


def update_policy(
    policy: PreTrainedModel,
    reference: PreTrainedModel | None,
    optimizer: Optimizer,
    groups_PG: Sequence[Sequence[Rollout]],
    advantages_PG: Sequence[Sequence[float]],
    config: GRPOConfig,
    step: int,
) -> dict[str, float]:
    """`updates_per_batch` optimizer steps on one batch of rollouts; returns the metrics of the last."""
    trained = _trained(groups_PG, advantages_PG, everything=reference is not None)
    metrics = {"trained_completions": float(len(trained))}
    if not trained:
        return metrics
    micro_batches = pack([one.sequence for one in trained], config.token_budget)
    old_logprobs: list[Tensor] = []  # a micro-batch each: what the first pass finds is the old policy
    for update in range(config.updates_per_batch):
        sums = dict.fromkeys(("surrogate_loss", "clipped_share", "sampler_mismatch", "kl"), 0.0)
        num_tokens = 0
        for index, batch in enumerate(micro_batches):
            rows = [trained[row] for row in batch.sequences]
            logprobs_M = completion_logprobs(policy, batch, config.temperature)
            if update == 0:
                old_logprobs.append(logprobs_M.detach())
            reference_M = None
            if reference is not None:
                with torch.no_grad():
                    reference_M = completion_logprobs(reference, batch, config.temperature)
            lengths = torch.tensor(batch.lengths)
            weights_M = torch.tensor([one.weight for one in rows]).repeat_interleave(lengths).to(policy.device)
            advantages_M = torch.tensor([one.advantage for one in rows]).repeat_interleave(lengths).to(policy.device)
            loss_M = grpo_loss(
                logprobs_M,
                old_logprobs[index],
                advantages_M,
                clip_eps=config.clip_eps,
                reference_logprobs_M=reference_M,
                kl_coef=config.kl_coef,
            )
            loss = (weights_M * loss_M).sum()
            loss.backward()
            with torch.no_grad():
                sampler_M = torch.cat([torch.tensor(one.sampler_logprobs) for one in rows]).to(policy.device)
                ratio_M = (logprobs_M - old_logprobs[index]).exp()
                sums["surrogate_loss"] += float(loss)
                sums["clipped_share"] += float(((ratio_M - 1).abs() > config.clip_eps).sum())
                sums["sampler_mismatch"] += float((old_logprobs[index] - sampler_M).abs().sum())
                sums["kl"] += 0.0 if reference_M is None else float(k3(logprobs_M, reference_M).sum())
                num_tokens += len(logprobs_M)
        metrics |= take_step(policy, optimizer, config, step, config.steps)
    metrics["surrogate_loss"] = sums.pop("surrogate_loss")
    return metrics | {name: total / num_tokens for name, total in sums.items()}


@dataclass(frozen=True, slots=True)
class _Trained:
    """A completion that has a gradient."""

    sequence: TokenSequence
    advantage: float
    weight: float
    """Of each of its tokens in the loss."""
    sampler_logprobs: tuple[float, ...]


def _trained(
    groups_PG: Sequence[Sequence[Rollout]], advantages_PG: Sequence[Sequence[float]], *, everything: bool
) -> list[_Trained]:
    """The completions to run: those with an advantage, or all that were scored where a KL term moves them too.

    A token weighs 1 / (P * scored rollouts of its group * tokens of its completion)  (arXiv:2402.03300, eq. 3).
    That is known before the first forward and counts what is not run, so micro-batches cannot change the gradient.
    """
    return [
        _Trained(
            TokenSequence(prompt_ids=rollout.prompt_ids, completion_ids=rollout.completion.ids),
            advantage,
            1 / (len(groups_PG) * sum(other.score.value is not None for other in group) * len(rollout.completion.ids)),
            rollout.completion.logprobs,
        )
        for group, advantages in zip(groups_PG, advantages_PG, strict=True)
        for rollout, advantage in zip(group, advantages, strict=True)
        if rollout.score.value is not None and (advantage or everything)
    ]


def _rollout_metrics(
    groups_PG: Sequence[Sequence[Rollout]], advantages_PG: Sequence[Sequence[float]]
) -> dict[str, float]:
    """What the rollouts of a step say about learning; the first five are what to watch."""
    rollouts = [rollout for group in groups_PG for rollout in group]
    stop_if_unscored(groups_PG, UNSCORED_LIMIT)
    scored = score_metrics([rollout.score for rollout in rollouts])
    if scored["unscored_share"] > UNSCORED_WARNING:
        warnings.warn(f"{scored['unscored_share']:.1%} of the completions could not be scored", stacklevel=2)
    return {
        **scored,
        "no_answer_share": sum(r.score.outcome is Outcome.NO_ANSWER for r in rollouts) / len(rollouts),
        "zero_variance_share": sum(not any(group) for group in advantages_PG) / len(groups_PG),
        "completion_tokens": statistics.fmean(len(rollout.completion.ids) for rollout in rollouts),
        "truncated_share": sum(r.completion.finish_reason is FinishReason.LENGTH for r in rollouts) / len(rollouts),
        "mean_abs_advantage": statistics.fmean(abs(advantage) for group in advantages_PG for advantage in group),
    }


def _record(rollout: Rollout, advantage: float) -> dict[str, Any]:
    """A row of the completions table."""
    return {
        "problem": rollout.problem.id,
        "question": rollout.problem.question,
        "gold": rollout.problem.gold,
        "completion": rollout.completion.text,
        "finish_reason": rollout.completion.finish_reason.value,
        "score": rollout.score.to_dict(),
        "advantage": advantage,
    }
