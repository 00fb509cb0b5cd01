"""The work that an update cannot do without, to be set against what the machine can do."""

from collections.abc import Sequence

from torch import nn
from transformers import PreTrainedModel

FORWARD, BACKWARD = 1, 2
"""A backward pass is two products where a forward pass is one."""


def update_flops(model: PreTrainedModel, groups: Sequence[tuple[int, Sequence[int]]], *, with_reference: bool) -> float:
    """Floating-point operations of a pass over groups that have a gradient: trunk and attention on each prompt once and
    on each completion but its last token, the head on completion tokens, no padding, nothing computed twice; the
    reference's forward pass beside it, if there is one. So padding, copies of prompts and recomputation lower the share
    of the peak instead of raising it.

    Args:
        groups: of each prompt, (its tokens, the tokens of each of its completions).
    """
    config = model.config.get_text_config()
    embeddings = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    trunk = sum(p.numel() for p in model.base_model.parameters() if p.dim() == 2 and id(p) not in embeddings)
    head_size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    by_pair = 2 * config.num_hidden_layers * config.num_attention_heads * head_size  # products with keys and values
    by_prediction = config.hidden_size * config.vocab_size
    products = 0
    for prompt, lengths in groups:
        pairs = prompt * (prompt + 1) // 2
        pairs += sum((length - 1) * prompt + length * (length - 1) // 2 for length in lengths)
        tokens = prompt + sum(length - 1 for length in lengths)
        products += trunk * tokens + by_pair * pairs + by_prediction * sum(lengths)
    return 2.0 * products * (FORWARD + BACKWARD + (FORWARD if with_reference else 0))
