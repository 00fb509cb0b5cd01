"""What a model's trunk says, of packed rows and of padded ones.

Shapes: M wanted places, H hidden size.
"""

from functools import partial
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from markscheme.packing.layout import PackedRow
from markscheme.packing.sequences import MicroBatch
from markscheme.parallel import is_sharded


def hidden_states(model: PreTrainedModel, batch: MicroBatch | PackedRow) -> Tensor:
    """What the trunk says at each place whose next token is predicted: [M, H]."""
    forward: Any = model.sharded_forward if is_sharded(model) else partial(trunk_states, model)
    states_MH: Tensor = forward(batch)
    return states_MH


def trunk_states(model: PreTrainedModel, batch: MicroBatch | PackedRow) -> Tensor:
    """`hidden_states` of a model whose weights are whole: [M, H]."""
    device = model.device
    if isinstance(batch, MicroBatch):
        output = model.base_model(input_ids=batch.input_ids_BL.to(device), use_cache=False)
    else:
        output = model.base_model(
            input_ids=batch.input_ids_T[None].to(device),
            position_ids=batch.position_ids_T[None].to(device),
            attention_mask=torch.zeros(1, 1, 1, 1, device=device),  # ready-made, so that none is built
            use_cache=False,
            packed=batch,
        )
    hidden_MH: Tensor = output.last_hidden_state.flatten(0, 1)[batch.positions_M.to(device)]
    return hidden_MH
