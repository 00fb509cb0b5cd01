"""Log-probabilities of completion tokens: the trunk runs on every token, the head on completion tokens only.

The head works on some rows at a time, so that the logits of all tokens never exist at once, and takes its gradient in
the same pass where the objective allows.

Shapes: M predicted tokens of a micro-batch, H hidden size, V vocabulary, K tokens of a chunk.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from markscheme.files import InputError

MAX_HEAD_DIFFERENCE = 1e-3  # far above rounding, far below a scaled or capped logit
CHUNK_BYTES = {"cpu": 1 << 24, "cuda": 1 << 28}
"""Of float32 logits at once."""
FEWEST_ROWS = 64
"""Of logits at once: the head's whole weight is read for each chunk."""

Coefficients = Callable[[slice, Tensor], Tensor]
"""(rows, their log-probabilities) -> derivatives of the loss by them."""


def completion_head(model: PreTrainedModel) -> nn.Linear:
    """The layer that turns hidden states into logits."""
    head = model.get_output_embeddings()
    assert isinstance(head, nn.Linear), "check_head has seen to that"
    return head


@torch.no_grad()
def score(hidden_MH: Tensor, head: nn.Linear, targets_M: Tensor, temperature: float) -> Tensor:
    """log pi(token | what precedes it) at this temperature from hidden states, without a gradient: [M], float32."""
    logprobs_M = torch.empty(len(targets_M), device=hidden_MH.device)
    for rows in _chunks(len(targets_M), head):
        chunk = _Chunk(head(hidden_MH[rows]).float(), targets_M[rows], temperature, keep_logits=False)
        logprobs_M[rows] = chunk.logprobs_K
    return logprobs_M


@torch.no_grad()
def score_and_backward(
    hidden_MH: Tensor,
    head: nn.Linear,
    targets_M: Tensor,
    temperature: float,
    by_logprob: Coefficients,
    by_entropy_M: Tensor | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Log-probabilities (and entropies), and all gradients of a loss that is a function of them.

    A chunk's logits are made once: its log-probabilities give the coefficients c = d loss / d logprob, and those the
    gradient of the logits, c (onehot - softmax). Tokens whose coefficient is 0 take no part in the two products for
    the gradient. The head's weight gets its gradient here, the trunk by one backward pass at the end.

    Args:
        by_entropy_M: derivatives of the loss by the entropies of the tokens' distributions; all 0 where these are to
            be measured only.

    Returns:
        [M] log-probabilities and, where they have derivatives, [M] entropies, both float32.
    """
    targets_M = targets_M.to(hidden_MH.device)
    logprobs_M = torch.empty(len(targets_M), device=hidden_MH.device)
    entropy_M = None if by_entropy_M is None else torch.empty_like(logprobs_M)
    gradient_MH = torch.zeros_like(hidden_MH)
    for rows in _chunks(len(targets_M), head):
        chunk = _Chunk(head(hidden_MH[rows]).float(), targets_M[rows], temperature, keep_logits=entropy_M is not None)
        logprobs_M[rows] = chunk.logprobs_K
        by_logprob_K = by_logprob(rows, chunk.logprobs_K)
        by_entropy_K = None
        if entropy_M is not None and by_entropy_M is not None:
            entropy_M[rows] = chunk.entropy_K
            by_entropy_K = by_entropy_M[rows] if by_entropy_M[rows].any() else None
        moved_K = by_logprob_K != 0 if by_entropy_K is None else (by_logprob_K != 0) | (by_entropy_K != 0)
        places = rows.start + moved_K.nonzero()[:, 0]
        if not len(places):
            continue
        gradient_KV = chunk.gradient(moved_K, by_logprob_K, by_entropy_K).to(hidden_MH.dtype)
        gradient_MH[places] = gradient_KV @ head.weight
        _add_product(head.weight, gradient_KV.T, hidden_MH[places])
        if head.bias is not None:
            _add_product(head.bias, gradient_KV.T, gradient_KV.new_ones(len(places)))
    if hidden_MH.requires_grad:
        torch.autograd.backward(hidden_MH, gradient_MH)
    return logprobs_M, entropy_M


class _Chunk:
    """The distributions of some tokens, worked out in the memory of their logits.

    With x = logits / temperature - their largest, p = exp(x) / total.
    """

    def __init__(self, logits_KV: Tensor, targets_K: Tensor, temperature: float, *, keep_logits: bool) -> None:
        if temperature != 1:
            logits_KV.div_(temperature)
        x_KV = logits_KV.sub_(logits_KV.amax(-1, keepdim=True))
        target_K1 = x_KV.gather(-1, targets_K[:, None])
        self.targets_K, self.temperature = targets_K, temperature
        self.x_KV = x_KV if keep_logits else None
        self.exp_KV = x_KV.exp() if keep_logits else x_KV.exp_()
        self.total_K1 = self.exp_KV.sum(-1, keepdim=True)
        self.logprobs_K = (target_K1 - self.total_K1.log())[:, 0]
        if keep_logits:
            mean_K = torch.linalg.vecdot(self.exp_KV, x_KV) / self.total_K1[:, 0]
            self.entropy_K = self.total_K1.log()[:, 0] - mean_K

    def gradient(self, moved_K: Tensor, by_logprob_K: Tensor, by_entropy_K: Tensor | None) -> Tensor:
        """Of the loss by the logits of those tokens that move it: [moved, V], in place of what was kept."""
        bonus_KV = None
        if by_entropy_K is not None and self.x_KV is not None:  # dH / dlogits = -p (log p + H)
            offset_K1 = self.entropy_K[:, None] - self.total_K1.log()
            bonus_KV = self.x_KV.add_(offset_K1).mul_(self.exp_KV).mul_(-by_entropy_K[:, None] / self.total_K1)
        gradient_KV = self.exp_KV.mul_(-by_logprob_K[:, None] / self.total_K1)  # d log p / dlogits = onehot - p
        gradient_KV[torch.arange(len(self.targets_K), device=self.targets_K.device), self.targets_K] += by_logprob_K
        if bonus_KV is not None:
            gradient_KV += bonus_KV
        if not bool(moved_K.all()):
            gradient_KV = gradient_KV[moved_K]
        return gradient_KV.div_(self.temperature) if self.temperature != 1 else gradient_KV


def _add_product(parameter: Tensor, a: Tensor, b: Tensor) -> None:
    """Adds a @ b to the parameter's gradient, without a temporary of its size where there is a gradient already."""
    if not parameter.requires_grad:
        return
    if parameter.grad is None:
        parameter.grad = a @ b
    elif b.dim() == 1:
        parameter.grad.addmv_(a, b)
    else:
        parameter.grad.addmm_(a, b)


def _chunks(count: int, head: nn.Linear) -> list[slice]:
    size = chunk_rows(head)
    return [slice(first, min(first + size, count)) for first in range(0, count, size)]


def chunk_rows(head: nn.Linear) -> int:
    """Tokens whose logits exist at once: few enough for a cache, or enough to keep a GPU busy."""
    return max(FEWEST_ROWS, CHUNK_BYTES[head.weight.device.type] // (4 * head.weight.shape[0]))


@torch.no_grad()
def check_head(model: PreTrainedModel) -> None:
    """Compares trunk + head with the model's own logits once, before training.

    Raises:
        InputError: if the model does more after its trunk than multiply by the output embeddings.
    """
    if not isinstance(model.get_output_embeddings(), nn.Linear):
        raise InputError(f"the output embeddings of {type(model).__name__} are no linear layer")
    ids = torch.arange(1, 5, device=model.device)[None] % model.config.get_text_config().vocab_size
    ours = model.get_output_embeddings()(model.base_model(input_ids=ids, use_cache=False).last_hidden_state)
    difference = float((ours - model(input_ids=ids, use_cache=False).logits).abs().max())
    if difference > MAX_HEAD_DIFFERENCE:
        raise InputError(
            f"{type(model).__name__} changes its logits after the output embeddings (by {difference:.3g}): "
            "such a model cannot be trained here yet"
        )
