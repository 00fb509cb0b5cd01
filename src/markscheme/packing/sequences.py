"""From token lists of unequal length to micro-batches, with every position that counts written down.

Shapes: S sequences, B rows of a micro-batch, L its longest row, M predicted tokens of a micro-batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenSequence:
    """A prompt and the completion that is learned from."""

    prompt_ids: tuple[int, ...]
    completion_ids: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.prompt_ids or not self.completion_ids:
            raise ValueError("a prompt and a completion need at least one token each")

    def __len__(self) -> int:
        return len(self.prompt_ids) + len(self.completion_ids)


@dataclass(frozen=True, slots=True, kw_only=True)
class MicroBatch:
    """Rows padded on the right. Causal attention never looks at what follows, so no mask is needed:
    which outputs count is written down as positions, never inferred from pad tokens."""

    input_ids_BL: Tensor
    positions_M: Tensor
    """Places in the flattened [B * L] output whose next token belongs to a completion."""
    targets_M: Tensor
    """Those next tokens: row after row, in the order in which they were written."""
    sequences: tuple[int, ...]
    """For each row, the index of its sequence in the list that was packed."""
    lengths: tuple[int, ...]
    """For each row, its number of completion tokens; they add up to M."""


def pack(sequences: Sequence[TokenSequence], token_budget: int) -> list[MicroBatch]:
    """Micro-batches of at most `token_budget` padded tokens (a longer single row gets one of its own).

    Rows of like length sit together; ties keep their order, so that the same list packs the same way.
    """
    order = sorted(range(len(sequences)), key=lambda index: len(sequences[index]))
    batches: list[list[int]] = []
    for index in order:
        if batches and (len(batches[-1]) + 1) * (len(sequences[index]) - 1) <= token_budget:
            batches[-1].append(index)
        else:
            batches.append([index])
    return [_micro_batch(sequences, indices) for indices in batches]


def _micro_batch(sequences: Sequence[TokenSequence], indices: list[int]) -> MicroBatch:
    width = max(len(sequences[index]) for index in indices) - 1  # the last token predicts nothing
    input_ids_BL = torch.zeros(len(indices), width, dtype=torch.long)
    positions: list[int] = []
    targets: list[int] = []
    for row, index in enumerate(indices):
        sequence = sequences[index]
        ids = (sequence.prompt_ids + sequence.completion_ids)[:-1]
        input_ids_BL[row, : len(ids)] = torch.tensor(ids)
        first = row * width + len(sequence.prompt_ids) - 1
        positions.extend(range(first, first + len(sequence.completion_ids)))
        targets.extend(sequence.completion_ids)
    return MicroBatch(
        input_ids_BL=input_ids_BL,
        positions_M=torch.tensor(positions),
        targets_M=torch.tensor(targets),
        sequences=tuple(indices),
        lengths=tuple(len(sequences[index].completion_ids) for index in indices),
    )
