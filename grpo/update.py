"""The update: optimizer steps on one batch of rollouts, in packed rows and with the head's gradient in the same pass.

Shapes: P problems, G completions of each, M predicted tokens of a micro-batch.
"""

import itertools
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor
from torch.optim import Optimizer
from transformers import PreTrainedModel

from markscheme import parallel
from markscheme.generation import FinishReason, seed_of
from markscheme.grpo.config import GRPOConfig
from markscheme.grpo.head import completion_head, score, score_and_backward
from markscheme.grpo.objective import Objective, Tokens, divergence, mean_by_completion, token_losses, weights_of
from markscheme.grpo.rollout import Rollout
from markscheme.models import adapter_off
from markscheme.optimizer import take_step
from markscheme.packing.attention import Packing
from markscheme.packing.layout import PackedRow
from markscheme.packing.sequences import MicroBatch, TokenSequence
from markscheme.packing.trunk import hidden_states
from markscheme.run_log import StoppedError

ENTROPY_EVERY = 10
"""Steps between measurements of the entropy, which cost a twentieth of an update."""
MISMATCH = {torch.float32: (1e-3, 0.02), torch.bfloat16: (0.05, 0.2), torch.float16: (0.05, 0.2)}
"""Mean difference of log-probabilities between policy and sampler, a token, above which there is a warning, and an end.
In float32 they should agree to 1e-5, in the others rounding alone makes 0.01 to 0.03."""


class MismatchError(StoppedError):
    """The completions are not the policy's own: the sampler drew from something else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """A completion that is in the loss."""

    sequence: TokenSequence
    advantages: tuple[float, ...]
    """Of each of its tokens."""
    weight: float
    """Of each of its tokens in the loss of the optimizer step."""
    sampler_logprobs: tuple[float, ...]

    @property
    def has_gradient(self) -> bool:
        return any(self.advantages)


def trained_of(
    groups_PG: Sequence[Sequence[Rollout]], advantages_PG: Sequence[Sequence[Sequence[float]]], config: GRPOConfig
) -> list[Trained]:
    """The completions of an optimizer step that are forwarded: those with an advantage, or all that are in the loss
    where its other terms move them too.

    Their weights count what is not forwarded, so that leaving it out cannot change the gradient.
    """
    lengths_PG = [[len(one.completion.ids) if _is_trained(one, config) else 0 for one in group] for group in groups_PG]
    weights_PG = weights_of(config.objective.average, lengths_PG, config.max_completion_tokens)
    everything = bool(config.objective.kl_coef or config.objective.entropy_coef)
    trained = [
        Trained(
            sequence=TokenSequence(prompt_ids=rollout.prompt_ids, completion_ids=rollout.completion.ids),
            advantages=tuple(advantages),
            weight=weight,
            sampler_logprobs=rollout.completion.logprobs,
        )
        for group, advantages_G, weights in zip(groups_PG, advantages_PG, weights_PG, strict=True)
        for rollout, advantages, weight in zip(group, advantages_G, weights, strict=True)
        if weight
    ]
    return [one for one in trained if everything or one.has_gradient]


def _is_trained(rollout: Rollout, config: GRPOConfig) -> bool:
    """Whether it has a reward, and was not cut off where such completions are left out."""
    is_cut_off = rollout.completion.finish_reason is FinishReason.LENGTH
    return rollout.score.value is not None and not (config.drop_truncated and is_cut_off)


@dataclass(slots=True, kw_only=True)
class Progress:
    """How far the update on a batch has come: what a checkpoint inside of it must hold besides weights."""

    done: int = 0
    """Optimizer steps."""
    metrics: dict[str, float] = field(default_factory=dict)
    old_logprobs: list[Tensor] = field(default_factory=list)
    """Of the policy before the first of them, a vector for each trained completion; empty where the sampler's word is
    taken."""


def update_policy(
    policy: PreTrainedModel,
    reference: PreTrainedModel | None,
    optimizer: Optimizer,
    groups_PG: Sequence[Sequence[Rollout]],
    advantages_PG: Sequence[Sequence[Sequence[float]]],
    config: GRPOConfig,
    step: int,
    packing: Packing,
    progress: Progress | None = None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    *,
    is_behind: bool = False,
) -> dict[str, float]:
    """`updates_per_batch` passes over one batch of rollouts, `mini_batches` optimizer steps each; returns the metrics
    of the last.

    Args:
        advantages_PG: of each completion, one advantage for each token.
        step: of the run, which sets the learning rate.
        reference: another model, or the policy itself, if it has an adapter that can be off.
        packing: how the policy (and the reference) takes micro-batches, see `attention.packing_for`.
        progress: where an interrupted update goes on.
        on_progress: is told after each optimizer step but the last.
        is_behind: whether the sampler had the weights of a step before, so that it may differ more.

    Raises:
        MismatchError: if the policy finds the completions much likelier or less likely than their sampler said. Nothing
            has moved then.
        FloatingPointError: if the gradient is not finite.
    """
    parts = [
        trained_of(groups_PG[first:last], advantages_PG[first:last], config)
        for first, last in itertools.pairwise(_boundaries(len(groups_PG), config.mini_batches))
    ]
    progress = progress or Progress(metrics={"trained_completions": float(sum(map(len, parts)))})
    # The first pass over a batch is the old policy, as long as nothing has moved; else the sampler's word is taken.
    on_policy = config.mini_batches == 1
    batches = [_Batch(policy, reference, part, config, packing, on_policy=on_policy) for part in parts]
    if progress.old_logprobs:
        batches[0].take_old_logprobs(progress.old_logprobs)
    while progress.done < config.optimizer_steps:
        torch.manual_seed(seed_of("dropout", config.seed, step, progress.done))
        batch = batches[progress.done % config.mini_batches]
        if batch.trained:
            seen = batch.backward(with_entropy=step % ENTROPY_EVERY == 0)
            mismatch = seen.pop("sampler_mismatch")
            if "sampler_mismatch" not in progress.metrics:  # later the policy has moved
                _check_mismatch(mismatch, torch.bfloat16 if is_behind else policy.dtype)
                progress.metrics["sampler_mismatch"] = mismatch
            progress.metrics |= seen | take_step(policy, optimizer, config, step, config.steps)
        progress.done += 1
        if on_policy and progress.done == 1 and config.optimizer_steps > 1:
            progress.old_logprobs = batch.old_logprobs()
        if progress.done < config.optimizer_steps:
            on_progress(progress)
    return progress.metrics


def _check_mismatch(mismatch: float, dtype: torch.dtype) -> None:
    warning, limit = MISMATCH[dtype]
    if mismatch <= warning:
        return
    found = (
        f"the sampler's log-probabilities are off by {mismatch:.3g} a token on average: it may hold other weights "
        "(an update that did not reach all of them, a cache of what old ones made), work in another precision, or draw "
        "at another temperature or from a part of the vocabulary"
    )
    if mismatch > limit:
        raise MismatchError(found)
    warnings.warn(found, stacklevel=3)


def _boundaries(count: int, parts: int) -> list[int]:
    """Where `count` problems are cut into parts of like size; nothing needs to divide anything."""
    return [count * part // parts for part in range(parts + 1)]


class _Batch:
    """The completions of one optimizer step, this process's share of them in packed rows."""

    def __init__(
        self,
        policy: PreTrainedModel,
        reference: PreTrainedModel | None,
        trained: Sequence[Trained],
        config: GRPOConfig,
        packing: Packing,
        *,
        on_policy: bool,
    ) -> None:
        self.policy, self.config, self.trained = policy, config, trained
        in_reward = config.objective.kl == "k1_reward"
        self.reference = None if in_reward else reference
        self.mine = _share(trained)
        self.rows = list(packing([trained[index].sequence for index in self.mine], config.token_budget))
        learned = [[trained[self.mine[index]] for index in row.sequences] for row in self.rows]
        self.idle_rows = max(parallel.of_all(len(self.rows))) - len(self.rows) if trained else 0
        if self.idle_rows:  # the processes go through their parts of the weights together
            idle = replace(min(trained, key=lambda one: len(one.sequence)), weight=0.0)
            self.rows += [*packing([idle.sequence], config.token_budget)] * self.idle_rows
            learned += [[idle]] * self.idle_rows
        self.data = [_RowData(row, them, policy.device) for row, them in zip(self.rows, learned, strict=True)]
        if not on_policy:
            for data in self.data:
                data.old_logprobs_M = data.sampler_logprobs_M
        if reference is not None and in_reward:
            for row, data in zip(self.rows, self.data, strict=True):
                _charge_divergence(data, self._logprobs(reference, row), config.objective.kl_coef)

    def old_logprobs(self) -> list[Tensor]:
        """As the first pass found them, a vector for each completion, those of other processes too."""
        found: dict[int, Tensor] = {}
        for row, data in self._busy():
            if data.old_logprobs_M is not None:
                parts = data.old_logprobs_M.split(list(row.lengths))
                found |= {self.mine[index]: part for index, part in zip(row.sequences, parts, strict=True)}
        together = {index: part for of_one in parallel.of_all(found) for index, part in of_one.items()}
        return [together[index] for index in range(len(self.trained))] if together else []

    def take_old_logprobs(self, of_completions: Sequence[Tensor]) -> None:
        """Those of a first pass that is over."""
        for row, data in self._busy():
            data.old_logprobs_M = torch.cat([of_completions[self.mine[index]] for index in row.sequences])

    def _busy(self) -> "Iterator[tuple[PackedRow | MicroBatch, _RowData]]":
        """The rows from which something is learned."""
        busy = len(self.rows) - self.idle_rows
        yield from zip(self.rows[:busy], self.data[:busy], strict=True)

    def backward(self, *, with_entropy: bool = False) -> dict[str, float]:
        """Adds the gradient of the step to the parameters; returns what was seen on the way."""
        sums = {"tokens": 0.0}
        for k, (row, data) in enumerate(zip(self.rows, self.data, strict=True)):
            seen = self._backward_row(row, data, with_entropy=with_entropy)
            if k < len(self.rows) - self.idle_rows:
                for name, value in (seen | {"tokens": float(len(row.targets_M))}).items():
                    sums[name] = sums.get(name, 0.0) + value
        sums = parallel.summed(sums)
        num_tokens, loss = sums.pop("tokens"), sums.pop("surrogate_loss", 0.0)  # there may be nothing to do
        return {"surrogate_loss": loss} | {name: total / num_tokens for name, total in sums.items()}

    def _backward_row(self, row: PackedRow | MicroBatch, data: "_RowData", *, with_entropy: bool) -> dict[str, float]:
        config, objective = self.config, self.config.objective
        reference_M = None if self.reference is None else self._logprobs(self.reference, row)
        hidden_MH = hidden_states(self.policy, row)
        head, targets_M = completion_head(self.policy), row.targets_M.to(self.policy.device)
        whole_M: Tensor | None = None
        if objective.needs_whole_completions:  # two passes of the head: every log-probability first
            now_M = score(hidden_MH, head, targets_M, config.temperature)
            data.old_logprobs_M = now_M if data.old_logprobs_M is None else data.old_logprobs_M
            whole_M = data.derivatives(objective, slice(None), now_M, reference_M)

        def by_logprob(rows: slice, new_K: Tensor) -> Tensor:
            return data.derivatives(objective, rows, new_K, reference_M) if whole_M is None else whole_M[rows]

        by_entropy_M = -objective.entropy_coef * data.weights_M if with_entropy or objective.entropy_coef else None
        new_M, entropy_M = score_and_backward(hidden_MH, head, targets_M, config.temperature, by_logprob, by_entropy_M)
        if data.old_logprobs_M is None:
            data.old_logprobs_M = new_M
        return data.metrics(objective, new_M, entropy_M, reference_M)

    @torch.no_grad()
    def _logprobs(self, reference: PreTrainedModel, row: PackedRow | MicroBatch) -> Tensor:
        """Of the reference, which may be the policy with its adapter off."""
        with adapter_off(self.policy) if reference is self.policy else nullcontext():
            targets_M = row.targets_M.to(reference.device)
            return score(hidden_states(reference, row), completion_head(reference), targets_M, self.config.temperature)


def _share(trained: Sequence[Trained]) -> list[int]:
    """The places of this process's share: as many tokens as others have, of neighbours, which share their prompts."""
    ends = list(itertools.accumulate(len(one.sequence) for one in trained))
    owners = [
        min(int((end - len(one.sequence) / 2) * parallel.count() / ends[-1]), parallel.count() - 1)
        for one, end in zip(trained, ends, strict=True)
    ]
    return [index for index, owner in enumerate(owners) if owner == parallel.rank()]


class _RowData:
    """What belongs to the tokens of a packed row, as vectors of [M]."""

    def __init__(self, row: PackedRow | MicroBatch, trained: Sequence[Trained], device: torch.device) -> None:
        self.lengths_S = torch.tensor(row.lengths, device=device)
        self.weights_M = torch.tensor([one.weight for one in trained], device=device).repeat_interleave(self.lengths_S)
        self.advantages_M = torch.tensor([a for one in trained for a in one.advantages], device=device)
        self.sampler_logprobs_M = torch.tensor([p for one in trained for p in one.sampler_logprobs], device=device)
        self.old_logprobs_M: Tensor | None = None

    def tokens(self, rows: slice, logprobs_K: Tensor, reference_M: Tensor | None) -> Tokens:
        """Of some of the tokens; as long as nothing has moved, the old log-probabilities are these."""
        return Tokens(
            old_logprobs_M=logprobs_K.detach() if self.old_logprobs_M is None else self.old_logprobs_M[rows],
            advantages_M=self.advantages_M[rows],
            lengths_S=self.lengths_S,
            reference_logprobs_M=None if reference_M is None else reference_M[rows],
            sampler_logprobs_M=self.sampler_logprobs_M[rows],
        )

    @torch.enable_grad()
    def derivatives(
        self,
        objective: Objective,
        rows: slice,
        logprobs_K: Tensor,
        reference_M: Tensor | None,
    ) -> Tensor:
        """Of the weighted loss, its bonus for entropy aside, by each log-probability."""
        logprobs_K = logprobs_K.detach().requires_grad_()
        plain = replace(objective, entropy_coef=0.0)
        losses_K = token_losses(plain, logprobs_K, self.tokens(rows, logprobs_K, reference_M))
        by_logprob_K: Tensor
        (by_logprob_K,) = torch.autograd.grad((self.weights_M[rows] * losses_K).sum(), logprobs_K)
        return by_logprob_K

    @torch.no_grad()
    def metrics(
        self, objective: Objective, logprobs_M: Tensor, entropy_M: Tensor | None, reference_M: Tensor | None
    ) -> dict[str, float]:
        """Sums over the tokens of what is logged as a mean; `surrogate_loss` is a sum."""
        tokens = self.tokens(slice(None), logprobs_M, reference_M)
        losses_M = token_losses(objective, logprobs_M, tokens, entropy_M)
        log_ratio_M = logprobs_M - tokens.old_logprobs_M
        if objective.sequence_ratio:
            log_ratio_M = mean_by_completion(log_ratio_M, self.lengths_S)
        ratio_M = log_ratio_M.exp()
        found = {
            "surrogate_loss": (self.weights_M * losses_M).sum(),
            "ratio": ratio_M.sum(),
            "clipped_low_share": ((ratio_M < 1 - objective.clip_low) & (tokens.advantages_M < 0)).sum(),
            "clipped_high_share": ((ratio_M > 1 + objective.clip_high) & (tokens.advantages_M > 0)).sum(),
            "sampler_mismatch": (logprobs_M - self.sampler_logprobs_M).abs().sum(),
        }
        if reference_M is not None:
            found["kl"] = divergence("k3", logprobs_M, reference_M, tokens.old_logprobs_M).sum()
        if entropy_M is not None:
            found["entropy"] = entropy_M.sum()
        return dict(zip(found, torch.stack([value.double() for value in found.values()]).tolist(), strict=True))


def _charge_divergence(data: _RowData, reference_M: Tensor, kl_coef: float) -> None:
    """Takes the divergence of a token and of all behind it off its advantage: k1 in the reward, with reward to go."""
    charge_M = kl_coef * (data.sampler_logprobs_M - reference_M)
    to_go = [part.flip(0).cumsum(0).flip(0) for part in charge_M.split(data.lengths_S.tolist())]
    data.advantages_M = data.advantages_M - torch.cat(to_go)
