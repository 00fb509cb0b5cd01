"""The packed layout: tokens of many completions in one row without padding, a prompt once for all of its completions.

A micro-batch is a row of blocks, each [prompt | completion 1 | completion 2 | ...]. Positions begin again behind the
prompt for each completion, and each completion sees the prompt and itself (`attention`), so that every hidden state is
what it would be in a row of its own. The last token of a completion predicts nothing and is not in the row.

Shapes: T tokens of a row, M predicted tokens, n completions of a bucket, C the longest of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from markscheme.grpo.pack import TokenSequence

BUCKET_WASTE = 1.25
"""Completions of a block attend together, padded to the longest of them, up to this many times their tokens."""


@dataclass(frozen=True, slots=True, eq=False)  # one is itself only: what belongs to a row is found by its blocks
class Bucket:
    """Completions of one prompt that attend together."""

    places_nC: Tensor
    """Of their tokens in the row; padding repeats the first of the completion."""
    is_token_nC: Tensor
    """False for padding."""


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """A prompt and completions of it."""

    start: int
    prompt_length: int
    buckets: tuple[Bucket, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedRow:
    """A micro-batch as one row."""

    input_ids_T: Tensor
    position_ids_T: Tensor
    blocks: tuple[Block, ...]
    positions_M: Tensor
    """Places in the row whose next token belongs to a completion; the prompt's last place comes once for each."""
    targets_M: Tensor
    """Those next tokens, one completion after another."""
    sequences: tuple[int, ...]
    """For each completion, the index of its sequence in the list that was packed."""
    lengths: tuple[int, ...]
    """For each completion, its number of tokens; they add up to M."""


def pack_rows(sequences: Sequence[TokenSequence], token_budget: int) -> list[PackedRow]:
    """Rows of at most `token_budget` tokens (a prompt with one longer completion gets a row of its own).

    Completions of one prompt share it as long as they fit into one row; the same list packs the same way.
    """
    by_prompt: dict[tuple[int, ...], list[int]] = {}
    for index, sequence in enumerate(sequences):
        by_prompt.setdefault(sequence.prompt_ids, []).append(index)
    rows: list[list[list[int]]] = []  # rows of blocks of sequences
    room = 0
    for prompt, indices in by_prompt.items():
        block: list[int] | None = None
        for index in sorted(indices, key=lambda index: len(sequences[index].completion_ids)):
            tokens = len(sequences[index].completion_ids) - 1
            needed = tokens + (len(prompt) if block is None else 0)
            if not rows or needed > room:
                rows.append([])
                room, block, needed = token_budget, None, tokens + len(prompt)
            if block is None:
                block = []
                rows[-1].append(block)
            block.append(index)
            room -= needed
    return [_row(sequences, blocks) for blocks in rows]


def _row(sequences: Sequence[TokenSequence], blocks: Sequence[Sequence[int]]) -> PackedRow:
    ids: list[int] = []
    position_ids: list[int] = []
    positions: list[int] = []
    targets: list[int] = []
    packed: list[Block] = []
    for indices in blocks:
        start, prompt = len(ids), sequences[indices[0]].prompt_ids
        ids.extend(prompt)
        position_ids.extend(range(len(prompt)))
        spans: list[tuple[int, int]] = []
        for index in indices:
            completion = sequences[index].completion_ids
            first, inputs = len(ids), len(completion) - 1
            positions.extend([start + len(prompt) - 1, *range(first, first + inputs)])
            targets.extend(completion)
            ids.extend(completion[:-1])
            position_ids.extend(range(len(prompt), len(prompt) + inputs))
            spans.append((first, inputs))
        packed.append(Block(start, len(prompt), _buckets([span for span in spans if span[1]])))
    order = [index for indices in blocks for index in indices]
    return PackedRow(
        input_ids_T=torch.tensor(ids),
        position_ids_T=torch.tensor(position_ids),
        blocks=tuple(packed),
        positions_M=torch.tensor(positions),
        targets_M=torch.tensor(targets),
        sequences=tuple(order),
        lengths=tuple(len(sequences[index].completion_ids) for index in order),
    )


def _buckets(spans: Sequence[tuple[int, int]]) -> tuple[Bucket, ...]:
    """Spans of (first place, length) that come shortest first, in runs of like length."""
    runs: list[list[tuple[int, int]]] = []
    tokens = 0
    for span in spans:
        if runs and (len(runs[-1]) + 1) * span[1] <= BUCKET_WASTE * (tokens + span[1]):
            runs[-1].append(span)
            tokens += span[1]
        else:
            runs.append([span])
            tokens = span[1]
    return tuple(map(_bucket, runs))


def _bucket(spans: Sequence[tuple[int, int]]) -> Bucket:
    width = max(length for _, length in spans)
    offsets_C = torch.arange(width)
    lengths_n = torch.tensor([length for _, length in spans])
    is_token_nC = offsets_C < lengths_n[:, None]
    places_nC = torch.tensor([first for first, _ in spans])[:, None] + offsets_C * is_token_nC
    return Bucket(places_nC, is_token_nC)
