"""What a GRPO step has to do, as far as it is known before there is a run."""

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean

from markscheme.files import InputError
from markscheme.grpo.config import GRPOConfig
from markscheme.packing.layout import PackedRow, pack_rows
from markscheme.packing.sequences import TokenSequence
from markscheme.torch_engine import KEEP_SHARE

SPREAD = 0.8
"""Sigma of the log-normal distribution of lengths, about that of models that reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """The rollouts of a step.

    Raises:
        InputError: if there are no prompt tokens, or the mean length is above the most there may be.
    """

    config: GRPOConfig
    prompt_tokens: int
    """Of each prompt."""
    completion_tokens: int
    """Of the completions, on average."""

    def __post_init__(self) -> None:
        if self.prompt_tokens < 1:
            raise InputError(f"prompt_tokens must be above 0, got {self.prompt_tokens}")
        if not 1 <= self.completion_tokens <= self.config.max_completion_tokens:
            raise InputError(
                f"completion_tokens, the mean, must be from 1 to max_completion_tokens "
                f"{self.config.max_completion_tokens}, got {self.completion_tokens}"
            )

    @property
    def completions(self) -> int:
        return self.config.prompts_per_step * self.config.group_size

    def lengths_PG(self) -> list[list[int]]:
        """Tokens of the completions: quantiles of a log-normal distribution that is cut off at the most there may be,
        in any order."""
        most, count = self.config.max_completion_tokens, self.completions
        normal = NormalDist(0, SPREAD)
        shape = [math.exp(normal.inv_cdf((k + 0.5) / count)) for k in range(count)]

        def cut_off(median: float) -> list[int]:
            return [max(1, min(most, round(median * one))) for one in shape]

        low, high = 0.0, most / shape[0]
        for _ in range(50):
            middle = (low + high) / 2
            low, high = (middle, high) if fmean(cut_off(middle)) < self.completion_tokens else (low, middle)
        lengths = cut_off(high)
        random.Random(0).shuffle(lengths)
        size = self.config.group_size
        return [lengths[first : first + size] for first in range(0, count, size)]

    def lengths_of_one(self, processes: int) -> list[int]:
        """Tokens of the completions that one of so many processes draws."""
        lengths = [length for lengths in self.lengths_PG() for length in lengths]
        return lengths[: math.ceil(len(lengths) / processes)]

    def groups(self) -> list[tuple[int, list[int]]]:
        """Of each prompt, (its tokens, the tokens of each of its completions)."""
        return [(self.prompt_tokens, lengths) for lengths in self.lengths_PG()]

    def rows(self) -> list[PackedRow]:
        """The micro-batches of the update, if every completion has a gradient."""
        sequences = [
            TokenSequence(prompt_ids=(0,) * (self.prompt_tokens - 1) + (p,), completion_ids=(0,) * length)
            for p, lengths in enumerate(self.lengths_PG())
            for length in lengths
        ]
        return pack_rows(sequences, self.config.token_budget)


def rows_in_batch(lengths: Sequence[int]) -> Iterator[int]:
    """Completions that the torch engine has in its batch at each step, if it begins with these."""
    left = sorted(lengths)
    in_batch = len(left)
    for step in range(left[-1]):
        alive = sum(length > step for length in left)
        if alive <= KEEP_SHARE * in_batch:
            in_batch = alive
        yield in_batch
