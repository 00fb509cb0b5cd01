"""The packed layout: tokens of many completions in one row without padding, a prompt once for all of its completions.

A micro-batch is a row of blocks, each [prompt | completion 1 | completion 2 | ...]. Positions begin again behind the
prompt for each completion, and each completion sees the prompt and itself (`attention`), so that every hidden state is
what it would be in a row of its own. The last token of a completion predicts nothing and is not in the row.

Shapes: T tokens of a row, M predicted tokens, S tokens that attend, padding included.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from markscheme.packing.sequences import TokenSequence

BUCKET_WASTE = 1.25
"""Completions of a block attend together, padded to the longest of them, up to this many times their tokens."""


@dataclass(frozen=True, slots=True)
class Block:
    """A prompt and completions of it."""

    prompt_length: int
    buckets: tuple[tuple[int, int], ...]
    """(number of completions that attend together, tokens of the longest)"""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)  # one is itself only: what is made for a row is kept by it
class PackedRow:
    """A micro-batch as one row."""

    input_ids_T: Tensor
    position_ids_T: Tensor
    owner_T: Tensor
    """The prompt or completion that each token belongs to, named by the place of its first token."""
    prompt_T: Tensor
    """The prompt that each token sees, likewise."""
    blocks: tuple[Block, ...]
    places_S: Tensor | None
    """In the row, of what attends: of each block the prompt, then its buckets; padding repeats the first token of its
    completion. None if there is no padding: then it is the row."""
    kept_T: Tensor | None
    """Where each token is among those."""
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
    owners: list[int] = []
    prompts: list[int] = []
    positions: list[int] = []
    targets: list[int] = []
    packed: list[Block] = []
    places: list[int] = []
    kept: list[int] = []
    for indices in blocks:
        start, prompt = len(ids), sequences[indices[0]].prompt_ids
        spans = [(start, len(prompt))]
        ids.extend(prompt)
        position_ids.extend(range(len(prompt)))
        for index in indices:
            completion = sequences[index].completion_ids
            first, inputs = len(ids), len(completion) - 1
            positions.extend([start + len(prompt) - 1, *range(first, first + inputs)])
            targets.extend(completion)
            ids.extend(completion[:-1])
            position_ids.extend(range(len(prompt), len(prompt) + inputs))
            if inputs:
                spans.append((first, inputs))
        prompts.extend([start] * (len(ids) - start))
        runs = _runs(spans[1:])
        packed.append(Block(len(prompt), tuple((len(run), run[-1][1]) for run in runs)))
        for run in ([spans[0]], *runs):
            width = run[-1][1]
            for first, length in run:
                owners.extend([first] * length)
                kept.extend(range(len(places), len(places) + length))
                places.extend([*range(first, first + length), *[first] * (width - length)])
    order = [index for indices in blocks for index in indices]
    is_padded = len(places) > len(ids)
    return PackedRow(
        input_ids_T=torch.tensor(ids),
        position_ids_T=torch.tensor(position_ids),
        owner_T=torch.tensor(owners),
        prompt_T=torch.tensor(prompts),
        blocks=tuple(packed),
        places_S=torch.tensor(places) if is_padded else None,
        kept_T=torch.tensor(kept) if is_padded else None,
        positions_M=torch.tensor(positions),
        targets_M=torch.tensor(targets),
        sequences=tuple(order),
        lengths=tuple(len(sequences[index].completion_ids) for index in order),
    )


def _runs(spans: Sequence[tuple[int, int]]) -> list[list[tuple[int, int]]]:
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
    return runs
