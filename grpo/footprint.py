"""The memory that a GRPO step will take, found without taking it.

The update is run on fake tensors, which have shapes and no content, and what is alive at once is added up. A model of
two layers and one of three are enough: every further layer adds the same.
"""

import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import PreTrainedModel

from markscheme.draws import draw
from markscheme.generation import Sampling
from markscheme.grpo.flops import head_size
from markscheme.grpo.head import chunk_rows, completion_head
from markscheme.optimizer import MasterAdamW, OptimizerConfig, make_optimizer
from markscheme.packing import attention
from markscheme.packing.layout import Block, PackedRow
from markscheme.packing.trunk import hidden_states
from markscheme.torch_engine import CACHE_BLOCK

MakeModel = Callable[[int], PreTrainedModel]
"""A model of so many layers, ready to be trained, on whatever device and with whatever tensors are the default."""
MOMENTS = 2
"""AdamW keeps two numbers of the size of each weight."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Footprint:
    """Bytes of each of the things that a step holds, for one process that has everything."""

    weights: float
    """As the model computes with them."""
    trained: float
    """What the optimizer moves, in float32: the weights themselves, where they are that, or masters of them."""
    masters: float
    """Of those, what is not the weights themselves."""
    layer_weights: float
    """Of one layer."""
    activations: float
    """Of a micro-batch, at most, beside weights, gradients and what the optimizer keeps."""
    prefill: float
    """Of the prompts that are run together, at most."""
    sampling: float
    """Of the distributions that are drawn from at once."""
    cache: float
    """Keys and values of one token."""

    @property
    def gradients(self) -> float:
        return self.trained

    @property
    def moments(self) -> float:
        return MOMENTS * self.trained

    def beyond(self, layers: int, other: Self) -> Self:
        """With so many layers more, each of which adds what lies between `other` and this."""
        return type(self)(
            **{
                field.name: (here := getattr(self, field.name)) + layers * (here - getattr(other, field.name))
                for field in fields(self)
            }
        )


def footprint(make_model: MakeModel, layers: int, row: PackedRow, prompts: tuple[int, int], rows: int) -> Footprint:
    """
    Args:
        row: a micro-batch.
        prompts: (how many are run together, tokens of each).
        rows: completions that are written at a time.
    """
    if layers <= 3:
        return _measured(make_model, layers, row, prompts, rows)
    two, three = (_measured(make_model, depth, row, prompts, rows) for depth in (2, 3))
    found = three.beyond(layers - 3, two)
    return replace(found, layer_weights=three.weights - two.weights)


def causal(row: PackedRow) -> PackedRow:
    """A row that attends as one sequence: what it costs where all of it attends in one kernel."""
    return replace(row, blocks=(Block(len(row.input_ids_T), ()),), places_S=None, kept_T=None)


def _measured(make_model: MakeModel, layers: int, row: PackedRow, prompts: tuple[int, int], rows: int) -> Footprint:
    with torch.device("meta"):
        model = make_model(layers)
    attention.attend_packed(model)
    with _fake_tensors() as held:
        _hollow(model)
        weights = held.now
        optimizer = make_optimizer(model, OptimizerConfig(learning_rate=1.0))
        masters = held.now - weights
        own = optimizer.masters if isinstance(optimizer, MasterAdamW) else optimizer.param_groups[0]["params"]
        trained = sum(master.nbytes for master in own)
        model.train()
        for _ in range(2):  # the second time, gradients are there already
            held.peak = held.now
            _forward_and_backward(model, row)
        activations = held.peak - weights - masters - trained
        optimizer.zero_grad()
        model.eval()
        return Footprint(
            weights=weights,
            trained=trained,
            masters=masters,
            layer_weights=weights / layers,
            activations=activations,
            prefill=held.added(lambda: _prefill(model, *prompts)),
            sampling=held.added(lambda: _draw(model, rows)),
            cache=layers * _cached(model),
        )


def _hollow(model: PreTrainedModel) -> None:
    """Puts new tensors in the place of all that the model has, once each where it has one in two places."""
    new: dict[Tensor, Tensor] = {}
    for module in model.modules():
        for tensors in (module._parameters, module._buffers):
            for name, old in tensors.items():
                if old is not None and old not in new:
                    new[old] = torch.empty(old.shape, dtype=old.dtype)
                    if isinstance(old, nn.Parameter):
                        new[old] = nn.Parameter(new[old], requires_grad=old.requires_grad)
                if old is not None:
                    tensors[name] = new[old]  # type: ignore[assignment]


def _forward_and_backward(model: PreTrainedModel, row: PackedRow) -> None:
    """What `score_and_backward` allocates where every token has a gradient."""
    hidden_MH, head = hidden_states(model, row), completion_head(model)
    gradient_MH, size = torch.zeros_like(hidden_MH), chunk_rows(head)
    with torch.no_grad():
        for first in range(0, len(hidden_MH), size):
            rows = slice(first, min(first + size, len(hidden_MH)))
            exp_KV = head(hidden_MH[rows]).float().exp_()
            gradient_KV = exp_KV.to(hidden_MH.dtype)
            gradient_MH[rows] = gradient_KV @ head.weight
            if head.weight.requires_grad and head.weight.grad is None:
                head.weight.grad = gradient_KV.T @ hidden_MH[rows]
            elif head.weight.grad is not None:
                head.weight.grad.addmm_(gradient_KV.T, hidden_MH[rows])
    torch.autograd.backward(hidden_MH, gradient_MH)


@torch.no_grad()
def _prefill(model: PreTrainedModel, prompts: int, tokens: int) -> None:
    model.base_model(input_ids=torch.zeros(prompts, tokens, dtype=torch.long), use_cache=False)


@torch.no_grad()
def _draw(model: PreTrainedModel, rows: int) -> None:
    head = completion_head(model)
    logits_BV = head(torch.zeros(rows, head.in_features, dtype=head.weight.dtype)).float()
    draw(logits_BV, torch.zeros(rows, dtype=torch.float64), Sampling())


def _cached(model: PreTrainedModel) -> int:
    """Bytes of the keys and values of one token in one layer."""
    config = model.config.get_text_config()
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    return int(2 * heads * head_size(model) * model.dtype.itemsize)


def cached_tokens(rows_at: Sequence[int], prompt_tokens: int) -> int:
    """Most tokens for which a cache of the torch engine has room at once: as many for each row as for the longest."""
    return max(rows * (prompt_tokens + (step // CACHE_BLOCK + 1) * CACHE_BLOCK) for step, rows in enumerate(rows_at))


@contextmanager
def _fake_tensors() -> Iterator["_Held"]:
    """Tensors that are made in the block have no content."""
    attention.mask_of.cache_clear()
    try:
        with FakeTensorMode(allow_non_fake_inputs=True), _Held() as held:
            yield held
    finally:
        attention.mask_of.cache_clear()  # nobody may find a fake one there


class _Held(TorchDispatchMode):
    """Adds up the memory of all tensors that are made while it is on and still alive."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.peak = 0
        self._sizes: dict[int, int] = {}

    def added(self, function: Callable[[], None]) -> int:
        """The most that is alive at once while it works, beside what was before."""
        self.peak = before = self.now
        function()
        return self.peak - before

    def __torch_dispatch__(
        self, function: Any, types: Any, arguments: tuple[Any, ...] = (), keywords: dict[str, Any] | None = None
    ) -> Any:
        found = function(*arguments, **(keywords or {}))
        for leaf in tree_leaves(found):
            if isinstance(leaf, Tensor):
                self._add(leaf.untyped_storage())
        return found

    def _add(self, storage: torch.UntypedStorage) -> None:
        name = storage._cdata
        if name not in self._sizes:
            self._sizes[name] = storage.nbytes()
            self.now += storage.nbytes()
            self.peak = max(self.peak, self.now)
            weakref.finalize(storage, self._drop, name)

    def _drop(self, name: int) -> None:
        self.now -= self._sizes.pop(name, 0)
