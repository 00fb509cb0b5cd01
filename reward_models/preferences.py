"""Preferences: completions of one prompt, and which of them is better."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from markscheme.files import InputError
from markscheme.problems import question_hash
from markscheme.scoring import Message

Prompt = str | tuple[Message, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PreferencePair:
    """Two completions of one prompt, the better and the worse."""

    prompt: Prompt
    chosen: str
    rejected: str
    id: str
    weight: float = 1.0
    """Its share in the loss, such as 1 / (number of its question's pairs)."""
    margin: float = 0.0
    """By how much the reward of the chosen one should lead."""
    certainty: float = 1.0
    """Probability that the chosen one is the better one, such as its share of the votes."""
    chosen_by: str | None = None
    """Who wrote the chosen one."""
    rejected_by: str | None = None

    def __post_init__(self) -> None:
        if self.chosen == self.rejected:
            raise ValueError(f"pair {self.id}: chosen and rejected are the same text {self.chosen[:80]!r}: drop it")
        if not (math.isfinite(self.weight) and self.weight > 0):
            raise ValueError(f"pair {self.id}: weight must be finite and above 0, got {self.weight}")
        if not math.isfinite(self.margin):
            raise ValueError(f"pair {self.id}: margin must be finite, got {self.margin}")
        if not 0.5 <= self.certainty <= 1:
            way_out = "; swap chosen and rejected" if 0 <= self.certainty < 0.5 else ""
            raise ValueError(f"pair {self.id}: certainty must be 0.5 to 1, got {self.certainty}{way_out}")

    @property
    def group(self) -> str:
        """Names the question: pairs of one group are not independent of each other."""
        return group_of(self.prompt)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """All that is known of the completions of one prompt. They are read together, the prompt once."""

    prompt: Prompt
    completions: tuple[str, ...]
    """Different texts."""
    ratings: tuple[float | None, ...]
    """How good each is, in any unit of the data's: 1 for right, 0 for wrong; None where only pairs are known."""
    pairs: tuple[PreferencePair, ...]
    """Each of two of the completions."""

    def __post_init__(self) -> None:
        if not self.completions:
            raise ValueError(f"the prompt {str(self.prompt)[:80]!r} has no completions: drop it")
        if len(set(self.completions)) < len(self.completions) or len(self.completions) != len(self.ratings):
            raise ValueError(f"the prompt {str(self.prompt)[:80]!r} needs different completions and a rating for each")

    @property
    def group(self) -> str:
        """Names the question, as its pairs do."""
        return group_of(self.prompt)

    def places(self) -> list[tuple[int, int]]:
        """Where the chosen and the rejected one of each pair stand among the completions."""
        place = {completion: index for index, completion in enumerate(self.completions)}
        return [(place[pair.chosen], place[pair.rejected]) for pair in self.pairs]


def group_of(prompt: Prompt) -> str:
    """A hash of the question, whatever its case and white space."""
    if isinstance(prompt, str):
        return question_hash(prompt)
    return question_hash("\n".join(f"{message['role']}: {message['content']}" for message in prompt))


def compared(pairs: Iterable[PreferencePair]) -> list[Comparison]:
    """Pairs by their prompts. A completion that is always the better one is rated 1, one that never is 0.

    >>> pair = PreferencePair(prompt="2 + 2?", chosen="4", rejected="5", id="a")
    >>> [comparison] = compared([pair, PreferencePair(prompt="2 + 2?", chosen="4", rejected="3", id="b")])
    >>> comparison.completions, comparison.ratings
    (('4', '5', '3'), (1.0, 0.0, 0.0))
    """
    by_prompt: dict[Prompt | tuple[tuple[str, str], ...], list[PreferencePair]] = {}
    for pair in pairs:
        key = pair.prompt if isinstance(pair.prompt, str) else tuple((m["role"], m["content"]) for m in pair.prompt)
        by_prompt.setdefault(key, []).append(pair)
    found = []
    for its_pairs in by_prompt.values():
        texts = tuple(dict.fromkeys(text for pair in its_pairs for text in (pair.chosen, pair.rejected)))
        better, worse = {pair.chosen for pair in its_pairs}, {pair.rejected for pair in its_pairs}
        ratings = tuple(None if text in better and text in worse else float(text in better) for text in texts)
        found.append(Comparison(prompt=its_pairs[0].prompt, completions=texts, ratings=ratings, pairs=tuple(its_pairs)))
    return found


def rated(prompt: Prompt, rating_of: dict[str, float], id: str, written_by: dict[str, str] | None = None) -> Comparison:
    """Completions with a rating each: every two of different ratings are a pair, of the weight 1 / (number of pairs).

    That weight makes a question count once however many pairs it has (Ouyang et al. 2022, arXiv:2203.02155, eq. 1).
    """
    texts = sorted(rating_of, key=lambda text: -rating_of[text])
    unequal = [(a, b) for i, a in enumerate(texts) for b in texts[i + 1 :] if rating_of[a] > rating_of[b]]
    authors = written_by or {}
    pairs = tuple(
        PreferencePair(
            prompt=prompt,
            chosen=chosen,
            rejected=rejected,
            id=f"{id}/{k}",
            weight=1 / len(unequal),
            chosen_by=authors.get(chosen),
            rejected_by=authors.get(rejected),
        )
        for k, (chosen, rejected) in enumerate(unequal)
    )
    ratings = tuple(rating_of.values())
    return Comparison(prompt=prompt, completions=tuple(rating_of), ratings=ratings, pairs=pairs)


class Grouped(Protocol):
    """What belongs to a question."""

    @property
    def group(self) -> str: ...


G = TypeVar("G", bound=Grouped)


def split_by_question(items: Sequence[G], held_out_share: float) -> tuple[list[G], list[G]]:
    """(to train on, held out), decided by a hash of the question.

    So no question is in both parts, and a question stays in its part when others are added.

    Raises:
        InputError: if a part is empty.
    """
    train = [one for one in items if not is_held_out(one, held_out_share)]
    held_out = [one for one in items if is_held_out(one, held_out_share)]
    if not train or not held_out:
        num_questions = len({one.group for one in items})
        raise InputError(
            f"held_out_share {held_out_share} of {num_questions} questions leaves {len(train)} to train on and "
            f"{len(held_out)} held out: give pairs of more questions or another held_out_share"
        )
    return train, held_out


def is_held_out(one: Grouped, held_out_share: float) -> bool:
    """Whether the hash of its question puts it among the held-out ones. A larger share holds out these and more."""
    return int(one.group, 16) < held_out_share * float(16 ** len(one.group))
