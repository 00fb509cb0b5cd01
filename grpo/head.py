"""Log-probabilities of completion tokens: the trunk runs on every token, the head on completions only."""

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import PreTrainedModel

from markscheme.files import InputError
from markscheme.grpo.pack import MicroBatch

MAX_HEAD_DIFFERENCE = 1e-3  # far above rounding, far below a scaled or capped logit


def completion_logprobs(model: PreTrainedModel, batch: MicroBatch, temperature: float = 1.0) -> Tensor:
    """log pi(token | what precedes it) at this temperature, for each completion token: [M], float32."""
    device = model.device
    hidden_BLH = model.base_model(input_ids=batch.input_ids_BL.to(device), use_cache=False).last_hidden_state
    hidden_MH = hidden_BLH.flatten(0, 1)[batch.positions_M.to(device)]
    logits_MV = model.get_output_embeddings()(hidden_MH).float() / temperature
    return -F.cross_entropy(logits_MV, batch.targets_M.to(device), reduction="none")


@torch.no_grad()
def check_head(model: PreTrainedModel) -> None:
    """Compares trunk + head with the model's own logits once, before training.

    Raises:
        InputError: if the model does more after its trunk than multiply by the output embeddings.
    """
    ids = torch.arange(1, 5, device=model.device)[None] % model.config.get_text_config().vocab_size
    ours = model.get_output_embeddings()(model.base_model(input_ids=ids, use_cache=False).last_hidden_state)
    difference = float((ours - model(input_ids=ids, use_cache=False).logits).abs().max())
    if difference > MAX_HEAD_DIFFERENCE:
        raise InputError(
            f"{type(model).__name__} changes its logits after the output embeddings (by {difference:.3g}): "
            "such a model cannot be trained here yet"
        )
