"""Inside of a vLLM server: weights that a trainer hands over in a safetensors file.

vLLM's own ways of transfer (NCCL, CUDA IPC) need GPUs on both sides; this one needs a folder that both sides see.
"""

from dataclasses import dataclass
from typing import Any

import torch
from safetensors import safe_open
from vllm.distributed.weight_transfer.base import (
    WeightTransferEngine,
    WeightTransferInitInfo,
    WeightTransferUpdateInfo,
)
from vllm.distributed.weight_transfer.factory import WeightTransferEngineFactory
from vllm.model_executor.layers.vocab_parallel_embedding import ParallelLMHead
from vllm.model_executor.model_loader.reload import finalize_layerwise_reload, initialize_layerwise_reload

from markscheme.vllm_serve import BACKEND


@dataclass
class Nothing(WeightTransferInitInfo):  # type: ignore[misc]  # vLLM is not there where types are checked
    """There is nobody to meet."""


@dataclass
class WeightFile(WeightTransferUpdateInfo):  # type: ignore[misc]
    """Where the weights are."""

    path: str


class FileTransfer(WeightTransferEngine):  # type: ignore[misc]
    """Loads each update from a file, as the model was loaded when the server began."""

    init_info_cls = Nothing
    update_info_cls = WeightFile

    def init_transfer_engine(self, init_info: Nothing) -> None:
        pass

    def start_weight_update(self) -> None:
        initialize_layerwise_reload(self.model)

    def update_weights(self, update_info: dict[str, Any]) -> None:
        self.receive_weights(self.parse_update_info(update_info))
        if torch.accelerator.is_available():
            torch.accelerator.synchronize()

    def receive_weights(self, update_info: WeightFile) -> None:
        with safe_open(update_info.path, framework="pt") as file:
            self.model.load_weights((name, file.get_tensor(name)) for name in file.keys())  # noqa: SIM118

    def finish_weight_update(self) -> None:
        finalize_layerwise_reload(self.model, self.model_config)
        pack_heads_again(self.model)

    def shutdown(self) -> None:
        pass


def pack_heads_again(model: torch.nn.Module) -> None:
    """On a CPU vLLM multiplies by a packed copy of the head, which a reload of tied embeddings leaves as it was."""
    for module in model.modules():
        if isinstance(module, ParallelLMHead):
            module.quant_method.process_weights_after_loading(module)


class Extension:
    """Adds nothing to a worker: to name it imports this module there, which makes the backend known."""


WeightTransferEngineFactory.register_engine(BACKEND, FileTransfer)
