"""Why a row got its score, in words that a person can read."""

import json
from collections.abc import Iterator
from typing import Any

from markscheme.score_rows import GOLD_COLUMNS, ScoredBatch, failure_of, numbered_rows
from markscheme.scoring import Score

MAX_SHOWN_CHARS = 200


def explanation(scored: ScoredBatch, name: str) -> str:
    """A block of lines for each row of a batch of the file `name`."""
    numbers = [number for number, _ in numbered_rows(scored.batch.lines, scored.batch.first_line)]
    rows = map(json.loads, scored.text.splitlines())
    return "".join(_block(row, f"{name}:{number}") for number, row in zip(numbers, rows, strict=True))


def _block(row: dict[str, Any], place: str) -> str:
    score = Score.from_dict(row["score"])
    value = "no value" if score.value is None else f"value {score.value:g}"
    lines = "".join(f"    {label:<8}{_shown(text)}\n" for label, text in _facts(row, score))
    return f"{place}: {score.outcome}, {value}\n{lines}"


def _facts(row: dict[str, Any], score: Score) -> Iterator[tuple[str, str]]:
    yield "answer", "none" if score.answer is None else score.answer
    for name in GOLD_COLUMNS:
        if name in row:
            yield "gold", str(row[name])
            break
    for text in score.evidence.get("wrong", ()):
        yield "wrong", str(text)
    ruled = [f"{key} {score.evidence[key]}" for key in ("tier", "kind") if key in score.evidence]
    if ruled:
        yield "by", ", ".join(ruled)
    if why := failure_of(score):
        yield "because", why


def _shown(text: str) -> str:
    """On one line, and without characters that would steer the terminal."""
    line = " ".join(text.split())
    line = line if len(line) <= MAX_SHOWN_CHARS else f"{line[:MAX_SHOWN_CHARS]}..."
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in line)
