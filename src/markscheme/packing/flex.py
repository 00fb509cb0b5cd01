"""Attention over a packed row in one kernel, for GPUs: flex_attention (Dong et al. 2024, arXiv:2412.05496), compiled.

torch 2.13 has no backward of it on a CPU.

Shapes: H heads, T tokens of the row, D size of a head.
"""

from collections.abc import Callable
from functools import cache, lru_cache

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention

from markscheme.packing.layout import PackedRow


@cache
def compiled_flex_attention() -> Callable[..., Tensor]:
    """Compiled once for rows of any length; without `dynamic` it would be compiled again for each."""
    return torch.compile(flex_attention, dynamic=True)


def attend_row(
    query_1HTD: Tensor, key_1HTD: Tensor, value_1HTD: Tensor, packed: PackedRow, scaling: float | None
) -> Tensor:
    """[1, T, H, D], as transformers wants it."""
    mask = row_mask(packed, query_1HTD.device)
    enable_gqa = key_1HTD.shape[1] != query_1HTD.shape[1]
    out_1HTD = compiled_flex_attention()(
        query_1HTD, key_1HTD, value_1HTD, block_mask=mask, scale=scaling, enable_gqa=enable_gqa
    )
    return out_1HTD.transpose(1, 2).contiguous()


@lru_cache(maxsize=1)  # the first layer makes it, the others and the backward pass take it
def row_mask(packed: PackedRow, device: torch.device) -> BlockMask:
    """What each token of a row sees: the prompt of its block and its own completion, up to itself."""
    owner_T, prompt_T = packed.owner_T.to(device), packed.prompt_T.to(device)
    num_tokens = len(owner_T)

    def sees(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        is_related = (owner_T[key] == owner_T[query]) | (owner_T[key] == prompt_T[query])
        return is_related & (key <= query)

    return create_block_mask(sees, None, None, num_tokens, num_tokens, device=device)
