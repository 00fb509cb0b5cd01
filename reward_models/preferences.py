"""Preference pairs: of two completions of one prompt, the one that is better."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markscheme.files import InputError, column, read_jsonl
from markscheme.problems import question_hash

PROMPT_COLUMNS = ("prompt", "problem", "question")


@dataclass(frozen=True, slots=True, kw_only=True)
class PreferencePair:
    """Two completions of one prompt, the better and the worse."""

    prompt: str
    chosen: str
    rejected: str
    id: str
    weight: float = 1.0
    """Its share in the loss, such as 1 / (number of its question's pairs)."""

    def __post_init__(self) -> None:
        if self.chosen == self.rejected:
            raise ValueError(f"pair {self.id}: chosen and rejected are the same text {self.chosen[:80]!r}: drop it")
        if not (math.isfinite(self.weight) and self.weight > 0):
            raise ValueError(f"pair {self.id}: weight must be finite and above 0, got {self.weight}")

    @property
    def group(self) -> str:
        """Names the question: pairs of one group are not independent of each other."""
        return question_hash(self.prompt)


def load_pairs(path: Path) -> list[PreferencePair]:
    """The pairs of a .jsonl or .jsonl.gz file, one a line.

    Columns: `prompt`, `problem` or `question`; `chosen` and `rejected`, or `chosen_steps` and `rejected_steps`, lists
    of steps that are joined by line ends; and, where it has them, `prefix` (steps that both share), `id`, `weight`.

    Raises:
        InputError: if the file holds no pair, or a line lacks a column or holds one that cannot be used.
    """
    pairs = []
    for line_number, record in read_jsonl(path):
        where = f"{path}:{line_number}"
        prefix = _steps(record, "prefix", where) if "prefix" in record else []
        weight = record.get("weight", 1.0)
        if isinstance(weight, bool) or not isinstance(weight, int | float):
            raise InputError(f"{where}: column 'weight' must be a number, got {weight!r}")
        fields = {
            "prompt": column(record, _prompt_column(record, where), where),
            "chosen": "\n".join([*prefix, *_completion(record, "chosen", where)]),
            "rejected": "\n".join([*prefix, *_completion(record, "rejected", where)]),
            "id": column(record, "id", where) if "id" in record else f"{path.name}:{line_number}",
        }
        try:
            pairs.append(PreferencePair(**fields, weight=float(weight)))
        except ValueError as error:
            raise InputError(f"{where}: {error}") from error
    if not pairs:
        raise InputError(f"{path}: no pairs in it; each line needs a prompt, chosen and rejected")
    return pairs


def split_pairs(
    pairs: Sequence[PreferencePair], held_out_share: float
) -> tuple[list[PreferencePair], list[PreferencePair]]:
    """(training pairs, held-out pairs), decided by a hash of the question.

    So no question is in both parts, and a question stays in its part when pairs are added.

    Raises:
        InputError: if a part is empty.
    """
    train = [pair for pair in pairs if not is_held_out(pair, held_out_share)]
    held_out = [pair for pair in pairs if is_held_out(pair, held_out_share)]
    if not train or not held_out:
        num_questions = len({pair.group for pair in pairs})
        raise InputError(
            f"held_out_share {held_out_share} of {num_questions} questions leaves {len(train)} pairs to train on and "
            f"{len(held_out)} held out: give pairs of more questions or another held_out_share"
        )
    return train, held_out


def is_held_out(pair: PreferencePair, held_out_share: float) -> bool:
    """Whether the hash of its question puts a pair among the held-out ones. A larger share holds out these and more."""
    return int(pair.group, 16) < held_out_share * float(16 ** len(pair.group))


def _prompt_column(record: Mapping[str, Any], where: str) -> str:
    for name in PROMPT_COLUMNS:
        if name in record:
            return name
    wanted = ", ".join(map(repr, PROMPT_COLUMNS))
    raise InputError(f"{where}: no column of {wanted}; it has {', '.join(map(repr, record)) or 'none'}")


def _completion(record: Mapping[str, Any], name: str, where: str) -> list[str]:
    steps_name = f"{name}_steps"
    return _steps(record, steps_name, where) if steps_name in record else [column(record, name, where)]


def _steps(record: Mapping[str, Any], name: str, where: str) -> list[str]:
    steps = record[name]
    if not isinstance(steps, list) or not all(isinstance(step, str) for step in steps):
        raise InputError(f"{where}: column {name!r} must be a list of texts, one a step")
    return steps
