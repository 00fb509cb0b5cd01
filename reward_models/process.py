"""How a process model reads steps, the same in training, in evaluation and in scoring.

Shapes: N steps that are valued, T tokens of the steps of a solution.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, islice

import torch
from torch import Tensor

from markscheme.packing.sequences import TokenSequence
from markscheme.reward_models.model import RewardNetwork
from markscheme.reward_models.preferences import Prompt
from markscheme.reward_models.steps import LabelledSteps
from markscheme.scoring import Message

READ_AT_ONCE = 512
"""Solutions between two signs of progress: enough to fill micro-batches of like length."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSequence:
    """Tokens of steps, and where they are valued."""

    tokens: TokenSequence
    ends: tuple[int, ...]
    """Of each step that is valued, the index of its last token in the completion, rising."""


def render(network: RewardNetwork, prompt: Prompt, steps: Sequence[str], places: Sequence[int]) -> list[StepSequence]:
    """How the steps at `places`, which rise, are read. White space around a step is left out.

    A decoder reads the prompt and then each step with a line end, tokenised by itself, so that each ends with a token
    of its own; those before the first place belong to the prompt, which solutions share. An encoder would see what
    comes later: it reads each step in a row of its own, as its second text, behind the prompt and the steps so far.

    Raises:
        InputError: if the prompt is messages and the tokenizer of a decoder has no chat template.
    """
    if not places:
        return []
    texts = [step.strip() for step in steps]
    if network.is_encoder:
        rows = [network.encode(_followed_by(prompt, texts[:k]), texts[k]) for k in places]
        return [StepSequence(tokens=row, ends=(len(row.completion_ids) - 1,)) for row in rows]
    first, last = places[0], places[-1]
    ids = [network.plain_ids(f"{text}\n") for text in texts[: last + 1]]
    ends = [end - 1 for end in accumulate(map(len, ids[first:]))]
    tokens = TokenSequence(
        prompt_ids=(*network.prompt_ids(prompt), *(one for step in ids[:first] for one in step)),
        completion_ids=tuple(one for step in ids[first:] for one in step),
    )
    return [StepSequence(tokens=tokens, ends=tuple(ends[k - first] for k in places))]


def _followed_by(prompt: Prompt, steps: Sequence[str]) -> Prompt:
    if isinstance(prompt, str):
        return "\n".join([prompt, *steps])
    return (*prompt, Message(role="assistant", content="\n".join(steps))) if steps else prompt


def readable(network: RewardNetwork, read: Sequence[StepSequence]) -> list[StepSequence]:
    """What is rendered of a solution, as far as the model has a place for every token."""
    kept: list[StepSequence] = []
    for one in read:
        room = (network.max_tokens or len(one.tokens)) - len(one.tokens.prompt_ids)
        ends = tuple(end for end in one.ends if end < room)
        if ends:
            completion_ids = one.tokens.completion_ids[: ends[-1] + 1]
            kept.append(StepSequence(tokens=replace(one.tokens, completion_ids=completion_ids), ends=ends))
        if len(ends) < len(one.ends):
            break
    return kept


def read_steps(network: RewardNetwork, read: Sequence[StepSequence]) -> Tensor:
    """The values [N] of steps, in one forward: a step is good with the probability sigmoid(value)."""
    tokens = [one.tokens for one in read]
    if network.is_encoder:
        return network.read(tokens)
    each = network.read_tokens(tokens)
    return torch.cat([values_T[list(one.ends)] for values_T, one in zip(each, read, strict=True)])


@torch.no_grad()
def values_of(network: RewardNetwork, read: Sequence[StepSequence], token_budget: int) -> list[list[float]]:
    """The values of the steps of each sequence, at most `token_budget` tokens at a time (a longer one is alone)."""
    found: list[list[float]] = [[]] * len(read)
    for indices in network.batches([[one.tokens] for one in read], token_budget):
        values = iter(read_steps(network, [read[index] for index in indices]).tolist())
        for index in indices:
            found[index] = list(islice(values, len(read[index].ends)))
    return found


def step_values(
    network: RewardNetwork,
    solutions: Sequence[LabelledSteps],
    token_budget: int,
    progress: Callable[[int], None] = lambda done: None,
) -> list[list[float | None]]:
    """The values of the labelled steps of each solution; None for the other steps, and for what is too long to be read.
    `progress` is told the number of solutions done.
    """
    found: list[list[float | None]] = []
    for start in range(0, len(solutions), READ_AT_ONCE):
        some = solutions[start : start + READ_AT_ONCE]
        read = [readable(network, render(network, one.prompt, one.steps, one.labelled)) for one in some]
        values = iter(values_of(network, [one for its in read for one in its], token_budget))
        for solution, its in zip(some, read, strict=True):
            known = [value for _ in its for value in next(values)]  # fewer than are labelled, if it is too long
            value_at = dict(zip(solution.labelled, known, strict=False))
            found.append([value_at.get(k) for k in range(len(solution.steps))])
        progress(len(found))
    return found
