"""Why a row got its score, in words that a person can read."""

import json
from collections.abc import Iterator
from typing import Any

from markscheme.score_rows import ScoredBatch, failure_of, gold_in_row, numbered_rows
from markscheme.scoring import Outcome, Score, Scorer

MAX_SHOWN_CHARS = 200
NO_ANSWER = {
    ("answer", False): r'nothing is stated as the answer, such as \boxed{7}, <answer>7</answer>, #### 7 or "the answer '
    'is 7", or it is taken back; --lenient takes the last number of the last line',
    ("answer", True): "nothing is stated as the answer, and the last line ends in no value that stands for one: it may "
    "be part of a calculation (7+1), denied, supposed, hedged (7 or 8), or in a question",
    ("choice", False): r'no one letter is stated as the answer, such as \boxed{B} or "the correct option is B"; '
    "--lenient takes a letter that stands alone on the last line",
    ("choice", True): "no one letter is stated as the answer, and none stands alone on the last line",
}
"""Why there is none: what scorers of answers and of choices read, strictly and leniently."""


def explanation(scored: ScoredBatch, name: str, judge: Scorer) -> str:
    """A block of lines for each row of a batch of the file `name`."""
    no_answer = NO_ANSWER["choice" if judge.name == "choice" else "answer", getattr(judge, "lenient", False)]
    numbers = [number for number, _ in numbered_rows(scored.batch.lines, scored.batch.first_line)]
    rows = map(json.loads, scored.text.splitlines())
    return "".join(_block(row, f"{name}:{number}", no_answer) for number, row in zip(numbers, rows, strict=True))


def _block(row: dict[str, Any], place: str, no_answer: str) -> str:
    score = Score.from_dict(row["score"])
    value = "no value" if score.value is None else f"value {score.value:g}"
    lines = "".join(f"    {label:<8}{_shown(text)}\n" for label, text in _facts(row, score, no_answer))
    return f"{place}: {score.outcome}, {value}\n{lines}"


def _facts(row: dict[str, Any], score: Score, no_answer: str) -> Iterator[tuple[str, str]]:
    if score.answer is not None:
        yield "answer", score.answer
    elif score.outcome is Outcome.NO_ANSWER:
        yield "answer", "none"
    if (gold := gold_in_row(row, "")) is not None:
        yield "gold", gold
    for text in score.evidence.get("wrong", ()):
        yield "wrong", str(text)
    ruled = [f"{key} {score.evidence[key]}" for key in ("tier", "kind") if key in score.evidence]
    if ruled:
        yield "by", ", ".join(ruled)
    if why := failure_of(score) or (no_answer if score.outcome is Outcome.NO_ANSWER else ""):
        yield "because", why


def _shown(text: str) -> str:
    """On one line, and without characters that would steer the terminal."""
    line = " ".join(text.split())
    line = line if len(line) <= MAX_SHOWN_CHARS else f"{line[:MAX_SHOWN_CHARS]}..."
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in line)
