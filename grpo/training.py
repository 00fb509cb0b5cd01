"""Group relative policy optimisation: Algorithm 1 of DeepSeekMath (arXiv:2402.03300), outcome or process supervision.

Shapes: P problems a step, G completions a problem, M completion tokens of a micro-batch.
"""

import copy
import functools
import itertools
import statistics
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from transformers import PreTrainedModel

from markscheme.checkpoint import load_checkpoint, save_checkpoint
from markscheme.generation import FinishReason, Generator, seed_of
from markscheme.grpo.advantage import Rewards, outcome_advantages, process_advantages
from markscheme.grpo.attention import packing_for
from markscheme.grpo.config import GRPOConfig
from markscheme.grpo.head import check_head
from markscheme.grpo.rollout import (
    Decode,
    PromptIds,
    Rollout,
    check_room,
    greedy_metrics,
    greedy_scores,
    rollout_seeds,
    sample_groups,
    score_metrics,
    step_rewards,
    stop_if_unscored,
)
from markscheme.grpo.update import update_policy
from markscheme.optimizer import make_optimizer
from markscheme.problems import Problem
from markscheme.run_log import RunLog
from markscheme.schedule import batch_indices
from markscheme.scoring import Outcome, Scorer

UNSCORED_WARNING = 0.01
UNSCORED_LIMIT = 0.2
Advantages = list[list[list[float]]]
"""Of problems, of completions, of tokens."""


def train_grpo(
    policy: PreTrainedModel,
    generator: Generator,
    scorer: Scorer,
    problems: Sequence[Problem],
    prompt_ids: PromptIds,
    config: GRPOConfig,
    log: RunLog,
    dev_problems: Sequence[Problem] = (),
    decode: Decode | None = None,
    on_step: Callable[[int, Mapping[str, Any]], None] = lambda step, metrics: None,
) -> None:
    """Trains `policy` in place; goes on from the run folder's last checkpoint, bit by bit as if never interrupted.

    `generator` must be given the same weights as `policy`; it is told the new ones after every step.
    `decode` turns token ids into text as the generator does; process supervision needs it. `on_step` is told (steps
    done, the step's metrics).

    Raises:
        ValueError: if process supervision is wanted without `decode`.
        InputError: if a prompt leaves no room for its completion. Nothing has been generated then.
        GoldError: if a gold cannot be read.
        FloatingPointError: if the gradient is not finite.
        UnscoredError: if more than a fifth of a step's completions could not be scored.
        MismatchError: if the generator does not seem to hold the policy's weights.
    """
    if config.supervision == "process" and decode is None:
        raise ValueError("process supervision needs decode, which finds the tokens at which steps end")
    check_head(policy)
    check_room(policy, [*problems, *dev_problems], prompt_ids, config.max_completion_tokens)
    packing = packing_for(policy)
    reference = copy.deepcopy(policy).eval().requires_grad_(False) if config.objective.kl_coef else None
    optimizer = make_optimizer(policy, config)
    checkpoints = log.folder / "checkpoints"
    first_step, _ = load_checkpoint(checkpoints, policy, optimizer)
    log.rewind(first_step)
    generator.load_weights(policy.state_dict().items())
    policy.train()
    sampling, deadline_s = config.sampling(), config.score_deadline_s

    def draw(step: int, again: int) -> tuple[list[list[Rollout]], Advantages]:
        """The rollouts of a step, or of its round of refilling: other problems, or the same with other seeds."""
        seed = seed_of("refill", config.seed, again) if again else config.seed
        batch = [problems[i] for i in batch_indices(len(problems), config.prompts_per_step, step, seed)]
        seeds_PG = rollout_seeds(seed, step, batch, config.group_size)
        groups_PG = sample_groups(generator, scorer, batch, prompt_ids, sampling, seeds_PG, deadline_s)
        greedy_P = None
        if config.estimator == "remax":
            greedy_P = [one.value for one in greedy_scores(generator, scorer, batch, prompt_ids, sampling, deadline_s)]
        stop_if_unscored(groups_PG, UNSCORED_LIMIT)
        return groups_PG, _advantages(groups_PG, config, decode, greedy_P)

    if dev_problems and not log.read():
        start = time.process_time()
        before = greedy_metrics(generator, scorer, dev_problems, prompt_ids, sampling, deadline_s)
        log.write(0, before, {"dev_cpu_s": time.process_time() - start})
    for step in range(first_step, config.steps):
        clock = [time.process_time()]
        torch.manual_seed(seed_of("dropout", config.seed, step))
        groups_PG, advantages_PG = draw(step, 0)
        metrics = _rollout_metrics(groups_PG, advantages_PG)
        trained = groups_PG, advantages_PG
        if config.refill_rounds:
            trained = _refilled(groups_PG, advantages_PG, functools.partial(draw, step), config)
            metrics["refilled_groups"] = float(len(trained[0]) - sum(any(map(any, group)) for group in advantages_PG))
        clock.append(time.process_time())
        metrics |= update_policy(policy, reference, optimizer, *trained, config, step, packing)
        generator.load_weights(policy.state_dict().items())
        clock.append(time.process_time())
        done = step + 1
        if dev_problems and (done % config.dev_every == 0 or done == config.steps):
            metrics |= greedy_metrics(generator, scorer, dev_problems, prompt_ids, sampling, deadline_s)
        clock.append(time.process_time())
        seconds = [after - before for before, after in itertools.pairwise(clock)]
        log.write(done, metrics, dict(zip(("rollout_cpu_s", "update_cpu_s", "dev_cpu_s"), seconds, strict=True)))
        for group, advantages in zip(groups_PG[: config.logged_groups], advantages_PG, strict=False):
            for rollout, of_tokens in zip(group, advantages, strict=True):
                log.append("completions.jsonl", {"step": done, **_record(rollout, of_tokens)})
        if done % config.checkpoint_every == 0 or done == config.steps:
            save_checkpoint(checkpoints, done, policy, optimizer)
        on_step(done, metrics)


def _refilled(
    groups_PG: list[list[Rollout]],
    advantages_PG: Advantages,
    draw: Callable[[int], tuple[list[list[Rollout]], Advantages]],
    config: GRPOConfig,
) -> tuple[list[list[Rollout]], Advantages]:
    """The groups from which something is to be learned, with more drawn until there are as many as a step should have.

    All groups of a round are drawn before one is left out, so that short rollouts are not favoured.
    """
    kept = [pair for pair in zip(groups_PG, advantages_PG, strict=True) if any(map(any, pair[1]))]
    for again in range(1, config.refill_rounds + 1):
        if len(kept) >= config.prompts_per_step:
            break
        kept += [pair for pair in zip(*draw(again), strict=True) if any(map(any, pair[1]))]
    kept = kept[: config.prompts_per_step]
    return [group for group, _ in kept], [advantages for _, advantages in kept]


def _advantages(
    groups_PG: Sequence[Sequence[Rollout]], config: GRPOConfig, decode: Decode | None, greedy_P: Rewards | None
) -> Advantages:
    """One for each token of each completion."""
    lengths_PG = [[len(rollout.completion.ids) for rollout in group] for group in groups_PG]
    if config.supervision == "process":
        assert decode is not None
        return [
            process_advantages([step_rewards(rollout, decode) for rollout in group], lengths)
            for group, lengths in zip(groups_PG, lengths_PG, strict=True)
        ]
    rewards_PG = [[rollout.score.value for rollout in group] for group in groups_PG]
    advantages_PG = outcome_advantages(rewards_PG, config.estimator, lengths_PG=lengths_PG, greedy_P=greedy_P)
    return [
        [[advantage] * length for advantage, length in zip(advantages, lengths, strict=True)]
        for advantages, lengths in zip(advantages_PG, lengths_PG, strict=True)
    ]


def _rollout_metrics(groups_PG: Sequence[Sequence[Rollout]], advantages_PG: Advantages) -> dict[str, float]:
    """What the rollouts of a step say about learning; the first five are what to watch."""
    rollouts = [rollout for group in groups_PG for rollout in group]
    scored = score_metrics([rollout.score for rollout in rollouts])
    if scored["unscored_share"] > UNSCORED_WARNING:
        warnings.warn(f"{scored['unscored_share']:.1%} of the completions could not be scored", stacklevel=2)
    return {
        **scored,
        "no_answer_share": sum(r.score.outcome is Outcome.NO_ANSWER for r in rollouts) / len(rollouts),
        "zero_variance_share": sum(not any(map(any, group)) for group in advantages_PG) / len(groups_PG),
        "completion_tokens": statistics.fmean(len(rollout.completion.ids) for rollout in rollouts),
        "truncated_share": sum(r.completion.finish_reason is FinishReason.LENGTH for r in rollouts) / len(rollouts),
        "mean_abs_advantage": statistics.fmean(
            statistics.fmean(map(abs, advantages)) for group in advantages_PG for advantages in group
        ),
    }


def _record(rollout: Rollout, advantages: Sequence[float]) -> dict[str, Any]:
    """A row of the completions table; one number is the advantage of all tokens."""
    return {
        "problem": rollout.problem.id,
        "question": rollout.problem.question,
        "gold": rollout.problem.gold,
        "completion": rollout.completion.text,
        "finish_reason": rollout.completion.finish_reason.value,
        "score": rollout.score.to_dict(),
        "advantage": advantages[0] if len(set(advantages)) == 1 else advantages,
    }
