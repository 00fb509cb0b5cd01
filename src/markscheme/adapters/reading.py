"""How other trainers and harnesses write prompts, completions and golds, and what a score is to those that know no
missing one.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from markscheme.files import InputError
from markscheme.score_rows import failure_of
from markscheme.scoring import GoldError, Score, Scorer
from markscheme.solutions import marked_answer

GOLD_NAMES = ("gold", "answer", "ground_truth", "solution", "target", "label")
"""Columns in which other tools keep golds; the first that is there counts."""


MOST_WORDS = 12
"""That an answer has; more are a solution."""

_SPECIAL_END = re.compile(r"(?:<(?:/s|eos|\|[a-z_]{1,30}\|)>\s*)+\Z")
"""Special tokens after a completion, by the look of them."""


class UnscoredError(RuntimeError):
    """A scorer could not tell, and its caller knows no missing reward."""


def value_of(score: Score, scorer: Scorer, caller: str, unscored: float | None) -> float:
    """The value of a score, or `unscored` where it has none.

    Raises:
        UnscoredError: if it has none and `unscored` is None.
    """
    if score.value is not None:
        return score.value
    if unscored is None:
        why = failure_of(score) or score.outcome.value
        raise UnscoredError(
            f"the scorer {scorer.name} could not tell ({why}), and {caller} knows no missing reward: "
            "say what it shall count as, such as unscored=0.0"
        )
    return unscored


def gold_name(given: str | None, names: Iterable[str]) -> str | None:
    """The column with the gold: the one that was given, else the first of GOLD_NAMES that is there.

    Raises:
        InputError: if the one that was given is not there.
    """
    there = list(names)
    if given is None:
        return next((name for name in GOLD_NAMES if name in there), None)
    if given not in there:
        raise InputError(f"no column {given!r} for the gold; there are {', '.join(map(repr, there)) or 'none'}")
    return given


@contextmanager
def naming_the_gold(column: str | None, there: Iterable[str]) -> Iterator[None]:
    """Where a scorer asks for a gold and no column was known to have it, says which there are."""
    try:
        yield
    except GoldError as error:
        if column is not None:
            raise
        known, others = ", ".join(GOLD_NAMES), ", ".join(map(repr, there)) or "none"
        raise GoldError(f"{error}; no column is called {known}; there are {others}: name it, gold=...") from error


def gold_in(column: str | None, value: Any, where: str) -> str | tuple[str, ...] | None:
    """The gold of a row: what its column holds, and of a worked solution the answer that it marks.

    Raises:
        GoldError: if a solution of many words marks none: against its words, everything would be wrong.
    """
    if column != "solution" or not isinstance(value, str):
        return gold_of(value)
    marked = marked_answer(value)
    if marked is None and len(value.split()) > MOST_WORDS:
        raise GoldError(
            rf"{where}: the column 'solution' holds a worked solution that marks no answer (by \boxed or ####): give "
            "gold=, the column with the answer"
        )
    return value if marked is None else marked


def gold_of(value: Any) -> str | tuple[str, ...] | None:
    """A gold: text or a number, or several of which each is right; None for none."""
    if hasattr(value, "tolist"):  # an array or a scalar of numpy
        value = value.tolist()
    if isinstance(value, list | tuple):
        return tuple(str(one) for one in value)
    return None if value is None else str(value)


def completion_in(query: str, prompt: str) -> str:
    """What follows the prompt in a query, without special tokens such as <s> around them; all of it where the prompt
    does not stand in it.

    >>> completion_in("<s>2 + 2 = ? 4</s>", "2 + 2 = ?")
    ' 4'
    """
    return _SPECIAL_END.sub("", query.partition(prompt)[2] if prompt and prompt in query else query)


def meta_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row's columns as a sample's `meta`; `choices`, which ours reads too, as the list of texts that it is here."""
    meta = {name: value.tolist() if hasattr(value, "tolist") else value for name, value in row.items()}
    choices: Any = meta.get("choices")
    if isinstance(choices, Mapping):  # as ARC has them: texts and labels
        choices = choices.get("text")
    if hasattr(choices, "tolist"):
        choices = choices.tolist()
    if isinstance(choices, list | tuple) and all(isinstance(text, str) for text in choices):
        return {**meta, "choices": list(choices)}
    meta.pop("choices", None)
    return meta
