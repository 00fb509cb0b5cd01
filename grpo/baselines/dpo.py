"""Direct preference optimisation (DPO: Rafailov et al. 2023, arXiv:2305.18290) on pairs of the initial policy's own
completions, one correct and one not (the unified paradigm, DeepSeekMath, arXiv:2402.03300, section 5.2).

Shapes: N pairs, S = 2 N completions, M completion tokens of a micro-batch; a last dimension of 2 is (chosen, rejected).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import PreTrainedModel

from markscheme.grpo.baselines.pairs import TokenPair, pair_rows
from markscheme.grpo.baselines.samples import SampledConfig
from markscheme.grpo.baselines.sft import OnStep, train_on_batches
from markscheme.grpo.head import check_head, completion_head, score, score_and_backward
from markscheme.optimizer import check_settings
from markscheme.packing.attention import Packing, packing_for
from markscheme.packing.layout import PackedRow
from markscheme.packing.sequences import MicroBatch
from markscheme.packing.trunk import hidden_states
from markscheme.run_log import RunLog


@dataclass(frozen=True, slots=True, kw_only=True)
class DPOConfig(SampledConfig):
    """Settings of direct preference optimisation."""

    learning_rate: float = 1e-6
    """Of AdamW, at its peak."""
    batch_size: int = 16
    """Pairs in an optimizer step."""
    epochs: float = 1.0
    """Passes over the pairs."""
    pairs_per_problem: int = 4
    """At most so many pairs of one problem."""
    beta: float = 0.1
    """How strongly the policy is held to the initial one."""

    def __post_init__(self) -> None:
        SampledConfig.__post_init__(self)  # super() does not know a class with slots
        check_settings(self, positive=("pairs_per_problem", "beta"))


def train_dpo(
    model: PreTrainedModel,
    pairs: Sequence[TokenPair],
    config: DPOConfig,
    log: RunLog,
    on_step: OnStep = lambda done, loss: None,
) -> None:
    """Trains `model` in place on preference pairs; goes on from the run folder's last checkpoint.

    `model` must hold the initial weights, a run that goes on included: they are the reference, whose log-probabilities
    are worked out once. `on_step` is told (steps done, loss).

    Raises:
        InputError: if the model cannot be trained through its output embeddings alone, or the folder holds a run with
            other settings or pairs.
        FloatingPointError: if the gradient is not finite.
    """
    check_head(model)
    packing = packing_for(model)
    reference_N2 = pair_logprobs(model, pairs, packing, config.token_budget)

    def backward(indices: Sequence[int]) -> dict[str, float]:
        batch, reference_B2 = [pairs[index] for index in indices], reference_N2[list(indices)]
        margins_N = torch.cat(
            [
                _backward_row(model, row, reference_B2[places], config.beta, len(batch))
                for places, row in pair_rows(batch, packing, config.token_budget)
            ]
        )
        seen = {"loss": -F.logsigmoid(margins_N), "accuracy": (margins_N > 0).float(), "margin": margins_N}
        return {name: float(values_N.mean()) for name, values_N in seen.items()}

    train_on_batches(model, pairs, backward, config, log, on_step)


def dpo_margins(logprobs_N2: Tensor, reference_N2: Tensor, beta: float) -> Tensor:
    """By how much the implied reward, beta log(pi / pi_ref), of the chosen completion is above that of the rejected
    one: [N]. The loss of a pair is -log sigmoid of it (Rafailov et al., eq. 7).
    """
    chosen_N, rejected_N = (logprobs_N2 - reference_N2).unbind(-1)
    return beta * (chosen_N - rejected_N)


def dpo_coefficients(margins_N: Tensor, beta: float) -> Tensor:
    """The gradient coefficient of each token: beta sigmoid(-margin) in the chosen completion, its negative in the
    rejected one: [N, 2] (ibid., the gradient in section 4; DeepSeekMath's table has it without beta).
    """
    coefficient_N = beta * torch.sigmoid(-margins_N)
    return torch.stack([coefficient_N, -coefficient_N], dim=-1)


def _backward_row(
    model: PreTrainedModel, row: PackedRow | MicroBatch, reference_N2: Tensor, beta: float, batch_size: int
) -> Tensor:
    """Adds the gradient of the row's share of the mean loss; returns its margins: [N]."""
    hidden_MH = hidden_states(model, row)
    margins_N = dpo_margins(_logprobs(model, row, hidden_MH), reference_N2, beta)
    by_completion_S = -dpo_coefficients(margins_N, beta).flatten()[list(row.sequences)] / batch_size
    by_logprob_M = by_completion_S.repeat_interleave(torch.tensor(row.lengths, device=model.device))
    score_and_backward(hidden_MH, completion_head(model), row.targets_M, 1.0, lambda rows, _: by_logprob_M[rows])
    return margins_N


@torch.no_grad()
def pair_logprobs(model: PreTrainedModel, pairs: Sequence[TokenPair], packing: Packing, token_budget: int) -> Tensor:
    """log pi of both completions of each pair: [N, 2]."""
    was_training = model.training
    model.eval()
    found = [_logprobs(model, row, hidden_states(model, row)) for _, row in pair_rows(pairs, packing, token_budget)]
    model.train(was_training)
    return torch.cat(found)


def _logprobs(model: PreTrainedModel, row: PackedRow | MicroBatch, hidden_MH: Tensor) -> Tensor:
    """Sums over the tokens of each completion, in the order of the pairs: [N, 2], without a gradient."""
    logprobs_M = score(hidden_MH, completion_head(model), row.targets_M.to(model.device), 1.0)
    sums_S = torch.stack([part.sum() for part in logprobs_M.split(list(row.lengths))])
    order_S = torch.tensor(row.sequences, device=sums_S.device)
    return torch.empty_like(sums_S).index_copy(0, order_S, sums_S).view(-1, 2)
