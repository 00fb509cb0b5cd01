"""Which answer a completion commits to: the last statement of one, or none.

A statement is a box, an answer tag, a `####` line, or a sentence such as "the answer is x"; the lenient policy also
takes bold print, a formula or a number of the last line. The scan runs from the end, and no pattern can backtrack over
more than one class of characters: its time grows with the length of the text and no faster.
"""

import re

from markscheme.verifiers.last_line import last_line
from markscheme.verifiers.limits import MAX_ANSWER_CHARS, MAX_COMPLETION_CHARS
from markscheme.verifiers.marks import last_mark
from markscheme.verifiers.patterns import compiled_later
from markscheme.verifiers.reading import unwrap
from markscheme.verifiers.sentences import NEGATION, last_sentence
from markscheme.verifiers.statements import Statement

_TAIL_CHARS = 8_000
_END_OF_TURN = compiled_later(r"<\|(?:im_end|endoftext|eot_id|end_of_text)\|>|<\|im_start\|>(?:user|system)|</s>")
_COMMENT_LINE = compiled_later(r"^[ \t]*%.*$", re.MULTILINE)
_WITHDRAWN = compiled_later(
    r"\b(?:disregard|ignore) (?:it|this|that|the above|my answer|that answer)\b"
    r"|\bI (?:do not|don't|did not|didn't|cannot|can't|could not|couldn't) (?:know|find|determine|solve|answer)\b"
    r"|\bI have no (?:answer|idea)\b|\bI (?:was|am) (?:unable|not able) to\b"
    r"|[.!\n]\s+(?:(?:but|actually|wait|hmm|oh|sorry|no|on reflection|on second thought)[,.:!]?\s+){0,3}"
    r"(?:that|this|it|my answer)(?: is|'s| was)(?: clearly| actually| all)? (?:wrong|incorrect|not (?:right|correct)"
    r"|a mistake)\b",
    re.IGNORECASE,
)
_LONGEST_WITHDRAWAL_CHARS = 200


def extract(completion: str, *, lenient: bool = False) -> Statement | None:
    """The answer the completion commits to, or None.

    Args:
        lenient: without any other statement, take bold print, a formula or a number of the last line; and answers in a
            thought that never ended.

    >>> extract("So x is 6... no: \\\\boxed{7}.").answer
    '7'
    >>> extract("The answer is not 7.") is None
    True
    """
    start = _end_of_thought(completion, lenient=lenient)
    if start is None:
        return None
    for chars in (_TAIL_CHARS, MAX_COMPLETION_CHARS):  # nearly always the tail has it
        text = readable(completion[max(start, len(completion) - chars) :])
        statement = _statement(text, lenient=lenient)
        if statement is not None or len(completion) - start <= chars:
            break
    if statement is None or not _commits(statement.answer):
        return None
    after = text[statement.end : statement.end + _LONGEST_WITHDRAWAL_CHARS]
    return None if after.strip() and _WITHDRAWN.search(after) else statement


def _statement(text: str, *, lenient: bool) -> Statement | None:
    statement = last_mark(text)
    after = statement.end if statement else 0
    statement = last_sentence(text, after, boxed=statement.answer if statement else None) or statement
    return last_line(text) if statement is None and lenient else statement


def _commits(answer: str) -> bool:
    stripped = unwrap(answer[:MAX_ANSWER_CHARS]) if len(answer) <= MAX_ANSWER_CHARS else answer.strip()
    return (stripped.strip(" ?.…_-*{}\\") != "" or stripped == r"\{\}") and not NEGATION.match(stripped)


def readable(completion: str) -> str:
    """The end of the completion, within the limit; lone surrogates, which no file can hold, become '?'."""
    text = completion[-MAX_COMPLETION_CHARS:]
    if not text.isascii():
        text = text.encode("utf-8", "replace").decode("utf-8")
    if "<|" in text or "</s>" in text:
        text = _first_turn(text)
    if "%" in text:
        text = _COMMENT_LINE.sub("", text)
    return _without_html_comments(text) if "<!--" in text else text


def _first_turn(text: str) -> str:
    """What stands before the first end of a turn, if anything does: what follows answers another question."""
    end = next((mark.start() for mark in _END_OF_TURN.finditer(text) if text[: mark.start()].strip()), len(text))
    return text[:end]


def _without_html_comments(text: str) -> str:
    pieces: list[str] = []
    position = 0
    while (start := text.find("<!--", position)) >= 0:
        pieces.append(text[position:start])
        end = text.find("-->", start)
        position = len(text) if end < 0 else end + 3
    return "".join(pieces) + text[position:]


def _end_of_thought(text: str, *, lenient: bool) -> int | None:
    """Where the answer proper begins; None if it has not begun."""
    if "<" not in text:
        return 0
    solution = text.rfind("<|begin_of_solution|>")
    end = max(text.rfind("</think>"), text.rfind("</thinking>"), solution)
    if end >= 0:
        return end
    if not lenient and (text.rfind("<think>") >= 0 or text.rfind("<thinking>") >= 0):
        return None
    return 0
