"""Attention over a packed row: each completion sees its prompt and itself.

Registered with transformers under a name of its own; without `packed` it is transformers' own attention, so that a
model which generates and trains needs one setting only.

Shapes: H heads, T tokens of the row, D size of a head, P tokens of a prompt, n completions of C tokens, S tokens that
attend, padding included.
"""

import math
import warnings
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from markscheme.packing.flex import attend_row
from markscheme.packing.layout import PackedRow, pack_rows
from markscheme.packing.sequences import MicroBatch, TokenSequence, pack
from markscheme.packing.trunk import hidden_states

NAME = "markscheme_packed"
FLEX_NAME = "markscheme_packed_flex"
MAX_DIFFERENCE = 2e-2
"""Five units of bfloat16's last place, 2^-8: twice what rounding comes to."""
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
    packed: PackedRow | None = None,
    in_one_kernel: bool = False,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """[1, T, H, D], as transformers wants it."""
    if packed is None:
        return sdpa_attention_forward(
            module, query_1HTD, key_1HTD, value_1HTD, attention_mask, scaling=scaling, dropout=dropout, **kwargs
        )
    if in_one_kernel and not (dropout and module.training):  # flex_attention knows no dropout
        return attend_row(query_1HTD, key_1HTD, value_1HTD, packed, scaling), None
    attend = partial(
        F.scaled_dot_product_attention,
        scale=scaling,
        dropout_p=dropout if module.training else 0.0,
        enable_gqa=key_1HTD.shape[1] != query_1HTD.shape[1],
    )
    sizes = [size for block in packed.blocks for size in (block.prompt_length, *map(math.prod, block.buckets))]
    parts = [iter(_attending(x_1HTD, packed).split(sizes)) for x_1HTD in (query_1HTD, key_1HTD, value_1HTD)]
    pieces: list[Tensor] = []  # [tokens, H, D] each
    for block in packed.blocks:
        query, keys_1HPD, values_1HPD = (next(part)[None].transpose(1, 2) for part in parts)
        pieces.append(attend(query, keys_1HPD, values_1HPD, is_causal=True).transpose(1, 2)[0])
        for num, width in block.buckets:
            query, key, value = (next(part).unflatten(0, (num, width)).transpose(1, 2) for part in parts)
            key = torch.cat([keys_1HPD.expand(num, -1, -1, -1), key], dim=2)
            value = torch.cat([values_1HPD.expand(num, -1, -1, -1), value], dim=2)
            out_nHCD = attend(query, key, value, attn_mask=mask_of(block.prompt_length, width, query.device))
            pieces.append(out_nHCD.transpose(1, 2).flatten(0, 1))
    out_SHD = torch.cat(pieces)
    return (out_SHD if packed.kept_T is None else out_SHD[packed.kept_T.to(out_SHD.device)])[None], None


def _attending(x_1HTD: Tensor, packed: PackedRow) -> Tensor:
    """What attends, padding included: [S, H, D]."""
    x_THD = x_1HTD[0].transpose(0, 1)
    return x_THD if packed.places_S is None else x_THD[packed.places_S.to(x_THD.device)]


@lru_cache(maxsize=64)
def mask_of(prompt: int, width: int, device: torch.device) -> Tensor:
    """What each of C tokens sees of the prompt and the completion: [C, P + C]."""
    return torch.ones(width, prompt + width, dtype=torch.bool, device=device).tril(prompt)


def attention_on(device: torch.device) -> str:
    """The attention over packed rows for a device: a GPU waits for small kernels, a CPU has no backward of flex."""
    return FLEX_NAME if device.type == "cuda" else NAME


def attend_packed(model: PreTrainedModel, name: str = NAME) -> None:
    """Lets the model take packed rows; everything else it does as before."""
    AttentionInterface.register(NAME, packed_attention)
    AttentionInterface.register(FLEX_NAME, partial(packed_attention, in_one_kernel=True))
    AttentionMaskInterface.register(NAME, sdpa_mask)
    AttentionMaskInterface.register(FLEX_NAME, sdpa_mask)
    model.set_attn_implementation(name)


def packing_for(model: PreTrainedModel) -> Packing:
    """How micro-batches are made for this model: in packed rows, if that gives what rows of their own give.

    A model whose layers do more than attend to all that came before (a sliding window, a recurrence), or that does not
    hand on what its attention needs, gets padded rows, and a warning says so.
    """
    before = model.config._attn_implementation
    if _sees_all(model):
        attend_packed(model)
        try:
            difference = _difference(model)
        except TypeError as error:  # its forward takes no such argument
            problem = str(error)
        else:
            if difference <= MAX_DIFFERENCE:
                _take_fastest(model)
                return pack_rows
            problem = f"hidden states differ by {difference:.3g}"
        model.set_attn_implementation(before)
    else:
        problem = "its layers see a window only"  # which may be longer than the rows that are compared
    warnings.warn(f"{type(model).__name__} cannot take packed rows ({problem}): slower padded ones", stacklevel=3)
    return pack


def _sees_all(model: PreTrainedModel) -> bool:
    """Whether each layer attends to all that came before, as far as the configuration says."""
    config = model.config.get_text_config()
    kinds = getattr(config, "layer_types", None)
    if kinds is not None:
        return set(kinds) == {"full_attention"}
    return getattr(config, "sliding_window", None) is None or not getattr(config, "use_sliding_window", True)


@torch.no_grad()
def _difference(model: PreTrainedModel) -> float:
    """Between the hidden states of a packed row and of rows of their own: the norm of it, as a share of theirs.

    Not the largest single one: rounding alone brings that to 0.02 in a bfloat16 model of 48 layers, and this to 0.01.
    """
    sequences = _checked_sequences(model)
    was_training = model.training
    model.eval()
    (row,) = pack_rows(sequences, 2 * CHECKED_TOKENS)
    packed = dict(zip(row.sequences, hidden_states(model, row).split(list(row.lengths)), strict=True))
    plain = [hidden_states(model, batch) for sequence in sequences for batch in pack([sequence], CHECKED_TOKENS)]
    model.train(was_training)
    return max(_share(packed[k] - states, states) for k, states in enumerate(plain))


def _share(difference: Tensor, whole: Tensor) -> float:
    return float(difference.float().norm()) / (float(whole.float().norm()) or 1.0)


def _checked_sequences(model: PreTrainedModel, prompts: int = 1) -> list[TokenSequence]:
    """Two completions of each prompt, of `CHECKED_TOKENS` at most with it."""
    ids = [1 + k % (model.config.get_text_config().vocab_size - 1) for k in range(CHECKED_TOKENS)]
    prompt, rest = tuple(ids[: CHECKED_TOKENS // 2]), ids[CHECKED_TOKENS // 2 :]
    both = tuple(rest), tuple(rest[::-2])
    return [TokenSequence(prompt_ids=prompt[k:], completion_ids=some) for k in range(prompts) for some in both]


def _take_fastest(model: PreTrainedModel) -> None:
    """From many kernels to the device's own way, where it gives the same; else a warning says why not."""
    name = attention_on(model.device)
    if name == NAME:
        return
    try:
        expected = _both_ways(model)
        attend_packed(model, name)
        difference = _share(_both_ways(model) - expected, expected)
    except RuntimeError as error:  # a compiler's errors are such
        problem = str(error).partition("\n")[0]
    else:
        if difference <= MAX_DIFFERENCE:
            return
        problem = f"states and gradients differ by {difference:.3g}"
    attend_packed(model)
    warnings.warn(f"{type(model).__name__} goes without flex_attention ({problem}): slower kernels", stacklevel=4)


@torch.enable_grad()
def _both_ways(model: PreTrainedModel) -> Tensor:
    """Hidden states of a packed row and a gradient by its embeddings, each of norm 1: [M + T, H], float32."""
    (row,) = pack_rows(_checked_sequences(model, prompts=4), 8 * CHECKED_TOKENS)  # longer than a block of the mask
    embedded: list[Tensor] = []
    hook = model.get_input_embeddings().register_forward_hook(lambda *call: embedded.append(call[-1].requires_grad_()))
    was_training = model.training
    model.eval()
    try:
        states_MH = hidden_states(model, row).float()
    finally:
        hook.remove()
        model.train(was_training)
    weights_H = torch.linspace(-1, 1, states_MH.shape[1], device=states_MH.device)
    (gradient_1TH,) = torch.autograd.grad((states_MH @ weights_H).sum(), embedded)
    return torch.cat([F.normalize(part.flatten(), dim=0) for part in (states_MH.detach(), gradient_1TH[0].float())])
