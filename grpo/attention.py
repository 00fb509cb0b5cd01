"""Attention over a packed row: each completion sees its prompt and itself.

Registered with transformers under a name of its own; without `blocks` it is transformers' own attention, so that a
model which generates and trains needs one setting only.

Shapes: H heads, T tokens of the row, D size of a head, P tokens of a prompt, n completions of C tokens.
"""

import warnings
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from markscheme.grpo.head import hidden_states
from markscheme.grpo.layout import Block, Bucket, PackedRow, pack_rows
from markscheme.grpo.pack import MicroBatch, TokenSequence, pack

NAME = "markscheme_packed"
MAX_DIFFERENCE = 2e-2
"""Five units of bfloat16's last place, 2^-8."""
CHECKED_TOKENS = 64
Packing = Callable[[Sequence[TokenSequence], int], Sequence[PackedRow | MicroBatch]]


def packed_attention(
    module: nn.Module,
    query_1HTD: Tensor,
    key_1HTD: Tensor,
    value_1HTD: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    *,
    blocks: Sequence[Block] | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """[1, T, H, D], as transformers wants it."""
    if blocks is None:
        return sdpa_attention_forward(
            module, query_1HTD, key_1HTD, value_1HTD, attention_mask, scaling=scaling, dropout=dropout, **kwargs
        )
    query_HTD, key_HTD, value_HTD = query_1HTD[0], key_1HTD[0], value_1HTD[0]
    options: dict[str, Any] = {
        "scale": scaling,
        "dropout_p": dropout if module.training else 0.0,
        "enable_gqa": key_HTD.shape[0] != query_HTD.shape[0],
    }
    pieces: list[Tensor] = []  # [tokens, H, D] in the order of the row
    for block in blocks:
        prompt = slice(block.start, block.start + block.prompt_length)
        keys_HPD, values_HPD = key_HTD[:, prompt], value_HTD[:, prompt]
        out_1HPD = F.scaled_dot_product_attention(
            query_HTD[None, :, prompt], keys_HPD[None], values_HPD[None], is_causal=True, **options
        )
        pieces.append(out_1HPD[0].transpose(0, 1))
        for bucket in block.buckets:
            pieces.append(_completions(query_HTD, key_HTD, value_HTD, keys_HPD, values_HPD, bucket, options))
    return torch.cat(pieces)[None], None


def _completions(
    query_HTD: Tensor,
    key_HTD: Tensor,
    value_HTD: Tensor,
    keys_HPD: Tensor,
    values_HPD: Tensor,
    bucket: Bucket,
    options: dict[str, Any],
) -> Tensor:
    """What the completions of a bucket see: [their tokens, H, D]."""
    places_nC = bucket.places_nC.to(query_HTD.device)
    num, width = places_nC.shape
    query, key, value = (x_HTD[:, places_nC].transpose(0, 1) for x_HTD in (query_HTD, key_HTD, value_HTD))
    key = torch.cat([keys_HPD.expand(num, -1, -1, -1), key], dim=2)
    value = torch.cat([values_HPD.expand(num, -1, -1, -1), value], dim=2)
    mask = _mask(keys_HPD.shape[1], width, query.device)
    out_nHCD = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, **options)
    return out_nHCD.transpose(1, 2)[bucket.is_token_nC.to(query.device)]


@lru_cache(maxsize=64)
def _mask(prompt: int, width: int, device: torch.device) -> Tensor:
    """What each of C tokens sees of the prompt and the completion: [C, P + C]."""
    return torch.ones(width, prompt + width, dtype=torch.bool, device=device).tril(prompt)


def attend_packed(model: PreTrainedModel) -> None:
    """Lets the model take packed rows; everything else it does as before."""
    AttentionInterface.register(NAME, packed_attention)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    model.set_attn_implementation(NAME)


def packing_for(model: PreTrainedModel) -> Packing:
    """How micro-batches are made for this model: in packed rows, if that gives what rows of their own give.

    A model whose layers do more than attend to all that came before (a sliding window, a recurrence), or that does not
    hand on what its attention needs, gets padded rows, and a warning says so.
    """
    before = model.config._attn_implementation
    attend_packed(model)
    try:
        difference = _difference(model)
    except TypeError as error:  # its forward takes no such argument
        problem = str(error)
    else:
        if difference <= MAX_DIFFERENCE:
            return pack_rows
        problem = f"hidden states differ by {difference:.3g}"
    model.set_attn_implementation(before)
    warnings.warn(f"{type(model).__name__} cannot take packed rows ({problem}): slower padded ones", stacklevel=3)
    return pack


@torch.no_grad()
def _difference(model: PreTrainedModel) -> float:
    """The largest between hidden states of a packed row and of rows of their own, relative to the largest of them."""
    ids = [1 + k % (model.config.get_text_config().vocab_size - 1) for k in range(CHECKED_TOKENS)]
    prompt, rest = tuple(ids[: CHECKED_TOKENS // 2]), ids[CHECKED_TOKENS // 2 :]
    sequences = [
        TokenSequence(prompt_ids=prompt, completion_ids=tuple(rest)),
        TokenSequence(prompt_ids=prompt, completion_ids=tuple(rest[::-2])),
    ]
    was_training = model.training
    model.eval()
    (row,) = pack_rows(sequences, 2 * CHECKED_TOKENS)
    packed = dict(zip(row.sequences, hidden_states(model, row).split(list(row.lengths)), strict=True))
    plain = [hidden_states(model, batch) for sequence in sequences for batch in pack([sequence], CHECKED_TOKENS)]
    model.train(was_training)
    size = max(float(states.abs().max()) for states in plain)
    return max(float((packed[k] - states).abs().max()) for k, states in enumerate(plain)) / (size or 1.0)
