"""The work that an update cannot do without, to be set against what the machine can do."""

from collections.abc import Sequence

from torch import nn
from transformers import PreTrainedModel


def update_flops(model: PreTrainedModel, groups: Sequence[tuple[int, Sequence[int]]], *, with_reference: bool) -> float:
    """Floating-point operations of a pass over groups that have a gradient: trunk and attention on each prompt once and
    on each completion but its last token, the head on completion tokens, no padding, nothing computed twice; the
    reference's forward pass beside it, if there is one. So padding, copies of prompts and recomputation lower the share
    of the peak instead of raising it.

    A backward pass is a product for what goes into a weight, and another for the weight where it is trained; attention
    has two.

    Args:
        groups: of each prompt, (its tokens, the tokens of each of its completions).
    """
    config = model.config.get_text_config()
    embeddings = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    trunk = [p for p in model.base_model.parameters() if p.dim() == 2 and id(p) not in embeddings]
    by_token = sum(p.numel() for p in trunk)
    trained_by_token = sum(p.numel() for p in trunk if p.requires_grad)
    by_pair = 2 * config.num_hidden_layers * config.num_attention_heads * head_size(model)  # with keys and values
    by_prediction = config.hidden_size * config.vocab_size
    trains_head = model.get_output_embeddings().weight.requires_grad
    forward = backward = 0
    for prompt, lengths in groups:
        pairs = prompt * (prompt + 1) // 2
        pairs += sum((length - 1) * prompt + length * (length - 1) // 2 for length in lengths)
        tokens = prompt + sum(length - 1 for length in lengths)
        forward += by_token * tokens + by_pair * pairs + by_prediction * sum(lengths)
        backward += (by_token + trained_by_token) * tokens + 2 * by_pair * pairs
        backward += (1 + trains_head) * by_prediction * sum(lengths)
    return 2.0 * (forward * (2 if with_reference else 1) + backward)


def head_size(model: PreTrainedModel) -> int:
    """Numbers that one head attends with."""
    config = model.config.get_text_config()
    return int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)
