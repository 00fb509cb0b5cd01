"""A statement of an answer, and what the ways of stating one share."""

import re
from dataclasses import dataclass
from enum import StrEnum

from markscheme.verifiers.limits import MAX_ANSWER_CHARS
from markscheme.verifiers.patterns import compiled_later
from markscheme.verifiers.reading import read


class AnswerKind(StrEnum):
    """How a completion states its answer."""

    BOX = "box"
    r"""In `\boxed{...}`."""
    TAG = "tag"
    """Between `<answer>` and `</answer>`."""
    HASHES = "hashes"
    """After `####`, as in the solutions of GSM8K."""
    JSON = "json"
    """As the answer of a JSON object."""
    SENTENCE = "sentence"
    """In words: "The answer is ..."."""
    BOLD = "bold"
    """In `**...**`, at the end."""
    FORMULA = "formula"
    """In a formula, at the end."""
    LAST_NUMBER = "last_number"
    """The last number of the last line, which only a lenient reading takes."""


@dataclass(slots=True, eq=False)
class Statement:
    """An answer, as it stands in the completion."""

    answer: str
    kind: AnswerKind
    start: int
    end: int
    """Offsets of the whole statement, mark included, in the part of the completion that was scanned."""


FORMULA_SPAN = compiled_later(
    r"\$\$((?:[^$\\]|\\.)+)\$\$|\$((?:[^$\\]|\\.)+)\$|\\\(((?:[^\\]|\\[^)])+)\\\)|\\\[((?:[^\\]|\\[^\]])+)\\\]"
)
BOLD = compiled_later(r"\*\*([^*]+)\*\*")
JOINING = compiled_later(
    r"(?:[\s$,;、.*&]|\\[()\[\],; ]|\\q?quad|\\text|\\\\|[{}]|\b(?:and|or)\b|和|与|或|[-•*]"
    r"|\(?[a-z0-9]\)|\b[0-9]{1,3}\.)*"
)
HEDGE = compiled_later(
    r"\b(?:or|maybe|perhaps|possibly|either|probably|alternatively|might|could|not|isn't|neither)\b|或", re.IGNORECASE
)
COMMENT = compiled_later(r"[^\\0-9\s]\s*%[^%\n]*$")
"""The beginning of what stands in a comment of LaTeX, behind a formula."""
SHORT_GAP_CHARS = 60


def is_value(answer: str) -> bool:
    """Whether a sentence behind a box states a value of its own: a number or formula, not "correct" or "as above"."""
    if not answer or len(answer) > MAX_ANSWER_CHARS:
        return False
    reading = read(answer)
    return reading.node is not None and any(character.isdigit() or character == "\\" for character in answer)
