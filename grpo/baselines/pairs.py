"""Preference pairs of the initial policy's own completions, and micro-batches that hold whole pairs.

Shapes: P problems, G completions of each.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from markscheme.files import InputError
from markscheme.generation import seed_of
from markscheme.grpo.baselines.samples import Judged
from markscheme.packing.attention import Packing
from markscheme.packing.layout import PackedRow, pack_rows
from markscheme.packing.sequences import MicroBatch, TokenSequence


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenPair:
    """A preference pair as token ids."""

    prompt_ids: tuple[int, ...]
    chosen_ids: tuple[int, ...]
    rejected_ids: tuple[int, ...]

    def sequences(self) -> list[TokenSequence]:
        """The chosen and the rejected one."""
        return [
            TokenSequence(prompt_ids=self.prompt_ids, completion_ids=ids)
            for ids in (self.chosen_ids, self.rejected_ids)
        ]


def preference_pairs(groups_PG: Sequence[Sequence[Judged]], pairs_per_problem: int, seed: int) -> list[TokenPair]:
    """Pairs of a correct completion that was not cut off and an incorrect one of the same problem.

    The correct ones come in an order that the seed determines, the same completion once; the incorrect ones too, and
    again from the first where there are fewer.

    Raises:
        InputError: if no problem has both.
    """
    pairs: list[TokenPair] = []
    for group in groups_PG:
        chosen = {one.sequence: None for one in group if one.is_example}
        rejected = {one.sequence: None for one in group if one.correct is False}
        chosen_ids, rejected_ids = (
            sorted((one.completion_ids for one in found), key=lambda ids: seed_of("pairs", seed, *ids))
            for found in (chosen, rejected)
        )
        pairs += [
            TokenPair(prompt_ids=group[0].sequence.prompt_ids, chosen_ids=good, rejected_ids=bad)
            for good, bad in zip(chosen_ids[:pairs_per_problem], itertools.cycle(rejected_ids), strict=False)
        ]
    if not pairs:
        raise InputError(
            f"none of {len(groups_PG)} problems has both a correct and an incorrect completion: give more problems, "
            "more --num-samples, or problems of another difficulty"
        )
    return pairs


def pair_rows(
    pairs: Sequence[TokenPair], packing: Packing, token_budget: int
) -> list[tuple[slice, PackedRow | MicroBatch]]:
    """Micro-batches of whole pairs, as many as the budget allows and one at least: (which pairs, micro-batch).

    Sequences 2k and 2k + 1 of a micro-batch are the chosen and the rejected completion of its k-th pair.
    """
    rows: list[tuple[slice, PackedRow | MicroBatch]] = []
    first = 0
    while first < len(pairs):
        last, packed = first + 1, pairs[first].sequences()
        while last < len(pairs) and _tokens(more := packed + pairs[last].sequences(), packing) <= token_budget:
            last, packed = last + 1, more
        (row,) = packing(packed, _tokens(packed, packing))
        rows.append((slice(first, last), row))
        first = last
    return rows


def _tokens(sequences: Sequence[TokenSequence], packing: Packing) -> int:
    """What they take together in one micro-batch: padded, or with each prompt once."""
    if packing is not pack_rows:
        return len(sequences) * (max(map(len, sequences)) - 1)
    prompts = {sequence.prompt_ids for sequence in sequences}
    return sum(map(len, prompts)) + sum(len(sequence.completion_ids) - 1 for sequence in sequences)
