"""Comparisons as token ids, and what becomes of those that are too long to be read."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from markscheme.files import InputError
from markscheme.packing.sequences import TokenSequence
from markscheme.reward_models.model import RewardNetwork
from markscheme.reward_models.preferences import Comparison

OverLong = Literal["refuse", "leave-out", "truncate"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A comparison as the network reads it."""

    comparison: Comparison
    sequences: tuple[TokenSequence, ...]
    """One for each completion; they share their prompt."""

    @property
    def group(self) -> str:
        """Names the question."""
        return self.comparison.group


def encode(network: RewardNetwork, comparison: Comparison) -> Example:
    """A comparison as the network reads it."""
    sequences = tuple(network.encode(comparison.prompt, completion) for completion in comparison.completions)
    return Example(comparison=comparison, sequences=sequences)


def encode_all(
    network: RewardNetwork, comparisons: Sequence[Comparison], over_long: OverLong = "refuse"
) -> tuple[list[Example], dict[str, int]]:
    """Comparisons that the network can read, and counts of the completions that were too long for it.

    Args:
        over_long: what is done with a completion that has more tokens than the network can read: "refuse" all,
            "leave-out" it and its pairs, or "truncate" it (and so does the network from then on, in scoring as in
            training). One whose prompt leaves no room is left out even then.

    Raises:
        InputError: if there is one that is too long, and it is to be refused, or if nothing is left.
    """
    network.truncates = False
    whole = [encode(network, one) for one in comparisons]
    network.truncates = over_long == "truncate"
    examples = [encode(network, one) for one in comparisons] if network.truncates else whole
    too_long = [one for example in whole for one in example.sequences if not network.fits(one)]
    if too_long and over_long == "refuse":
        num_all = sum(len(example.sequences) for example in whole)
        raise InputError(
            f"{len(too_long)} of {num_all} completions are longer than the model's {network.max_tokens} tokens (the "
            f"longest has {max(map(len, too_long))}): --over-long leave-out or truncate, or a model with more room"
        )
    fitting = [_without_long(network, example) for example in examples]
    kept = [one for one in fitting if one.sequences and (one.comparison.pairs or _is_rated(one.comparison))]
    if not kept:
        raise InputError(f"no completion has at most the model's {network.max_tokens} tokens: --over-long truncate")
    left_out = sum(not network.fits(one) for example in examples for one in example.sequences)
    pairs_left_out = sum(len(one.pairs) for one in comparisons) - sum(len(one.comparison.pairs) for one in kept)
    counts = {"too_long": len(too_long), "truncated": len(too_long) - left_out, "left_out": left_out}
    return kept, {**counts, "pairs_left_out": pairs_left_out}


def _without_long(network: RewardNetwork, example: Example) -> Example:
    """What is left of it, which may be nothing."""
    fits = [network.fits(one) for one in example.sequences]
    if all(fits):
        return example
    before = example.comparison
    kept = [index for index, one_fits in enumerate(fits) if one_fits]
    texts = tuple(before.completions[index] for index in kept)
    if not texts:
        return replace(example, sequences=())
    pairs = tuple(pair for pair in before.pairs if pair.chosen in texts and pair.rejected in texts)
    ratings = tuple(before.ratings[index] for index in kept)
    return Example(
        comparison=replace(before, completions=texts, ratings=ratings, pairs=pairs),
        sequences=tuple(example.sequences[index] for index in kept),
    )


def _is_rated(comparison: Comparison) -> bool:
    return any(rating is not None for rating in comparison.ratings)
