"""Which answer a completion commits to: the last statement of one, or none.

A statement is a box, an answer tag, a `####` line, or a sentence such as "the answer is x"; the lenient policy also
takes bold print, a formula or a number of the last line. The scan runs from the end, and no pattern can backtrack over
more than one class of characters: its time grows with the length of the text and no faster.
"""

import re
from collections.abc import Callable, Iterable
from itertools import islice

from markscheme.verifiers.last_line import last_line
from markscheme.verifiers.limits import MAX_ANSWER_CHARS, MAX_COMPLETION_CHARS
from markscheme.verifiers.marks import last_mark
from markscheme.verifiers.patterns import compiled_later
from markscheme.verifiers.reading import unwrap
from markscheme.verifiers.sentences import NEGATION, is_anothers, last_sentence
from markscheme.verifiers.statements import SHORT_GAP_CHARS, AnswerKind, Statement

_SHORT_TAIL_CHARS, _TAIL_CHARS = 1_600, 8_000
_CONTEXT_CHARS = 500
"""A mark nearer than this to the beginning of the short tail may be one of several, or be hidden by what is cut off."""
_HIDING = ("style", "color", "hidden")
_REACHING_FAR = ("<|", "</s>", "<!--", *_HIDING)
"""With one of these, what stands far in front of a mark may hide it."""
_MARKS = ("boxed", "nswer", "NSWER", "####", "答案")
"""Without one of these, only the tail is read: a thought that was cut off has a hundred thousand characters."""
_END_OF_TURN = compiled_later(r"<\|(?:im_end|endoftext|eot_id|end_of_text)\|>|<\|im_start\|>(?:user|system)|</s>")
_OTHERS_TURN = compiled_later(r"\s*<\|im_start\|>(?:user|system)")
_COMMENT_LINE = compiled_later(r"^[ \t]*(?:%|\[//\]:).*$", re.MULTILINE)
"""Of LaTeX and Markdown."""
_WITHDRAWN = compiled_later(
    r"\b(?:disregard|ignore) (?:it|this|that|the above|my answer|that answer)\b"
    r"|\bI (?:do not|don't|did not|didn't|cannot|can't|could not|couldn't) (?:know|find|determine|solve|answer)\b"
    r"|\b(?:this|that|it) to be (?:mistaken|wrong|false|incorrect)\b"
    r"|\bjust kidding\b|\bnot my answer\b|\bI have no (?:answer|idea)\b|\bI (?:was|am) (?:unable|not able) to\b"
    r"|[.!\n]\s+(?:(?:but|actually|wait|hmm|oh|sorry|no|on reflection|on second thought)[,.:!]?\s+){0,3}"
    r"(?:that|this|it|my answer)(?:(?: is|'s| was)(?: clearly| actually| all)? (?:wrong|incorrect|not (?:right|correct)"
    r"|a mistake)|(?: cannot| can't| can not| couldn't) be (?:right|correct))\b",
    re.IGNORECASE,
)
_WITHDRAWING = (
    *("disregard", "ignore", "kidding", "not my", "i "),
    *("wrong", "incorrect", "not right", "not correct", "mistake", "be right", "be correct"),
)
"""One of these is in every withdrawal, in lower case."""
_SHORTEST_WITHDRAWAL_CHARS, _LONGEST_WITHDRAWAL_CHARS = 9, 200
_NEXT_PROBLEM = compiled_later(
    r"\n(?:\n[#*\s]{0,6}(?:Question|Problem|Exercise|Q|Instruction)\s?[0-9]{0,3}[*]{0,2}\s?[:：]"
    r"|[*# ]{0,6}(?:User|Human)\s?:)"
)
"""Where a model that goes on and on sets itself another problem, or asks itself."""
_MOST_PROBLEMS = 8
"""Headings that are looked at: the first behind an answer ends the text."""
_HIDDEN_ELEMENT = compiled_later(
    r"<([a-zA-Z]{1,10})\s[^<>]{0,200}(?:display\s*:\s*none|visibility\s*:\s*hidden|(?<!-)color\s*[:=]\s*[\"']?(?:white|#fff(?:fff)?\b"
    r"|transparent|rgba?\(255,\s?255,\s?255)|opacity\s*:\s*0(?:\.0+)?\s*[;\"']|font-size\s*:\s*[01](?:px|pt|em)?\s*[;\"']"
    r"|\bhidden\b)[^<>]{0,200}>",
    re.IGNORECASE,
)


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
    completion = _before_next_problem(completion, start)
    text, statement = _last_statement(completion, start, lenient=lenient)
    if statement is None or not _commits(statement.answer):
        return None
    if statement.kind is AnswerKind.BOX and is_anothers(
        text[max(0, statement.start - SHORT_GAP_CHARS) : statement.start]
    ):
        return None
    return None if _is_withdrawn(text[statement.end : statement.end + _LONGEST_WITHDRAWAL_CHARS]) else statement


def _last_statement(completion: str, start: int, *, lenient: bool) -> tuple[str, Statement | None]:
    """The last statement from `start` on, with the text that its offsets count in: nearly always a short tail has it.

    A short tail is enough for a mark that stands well inside of it, and for nothing else: a sentence means one thing
    behind a box, and another alone.
    """
    rest = len(completion) - start
    if rest > _SHORT_TAIL_CHARS and not ("<" in completion and any(map(completion.__contains__, _REACHING_FAR))):
        text = readable(completion[-_SHORT_TAIL_CHARS:])
        mark = last_mark(text)
        if mark is not None and mark.start >= _CONTEXT_CHARS:
            return text, last_sentence(text, mark.end, boxed=mark.answer) or mark
    text = readable(completion[max(start, len(completion) - _TAIL_CHARS) :])
    statement = _statement(text, lenient=lenient)
    if statement is None and rest > _TAIL_CHARS and any(map(completion.__contains__, _MARKS)):
        text = readable(completion[max(start, len(completion) - MAX_COMPLETION_CHARS) :])
        statement = _statement(text, lenient=lenient)
    return text, statement


def _is_withdrawn(after: str) -> bool:
    if len(after) < _SHORTEST_WITHDRAWAL_CHARS:
        return False
    lower = after.lower()
    return any(map(lower.__contains__, _WITHDRAWING)) and _WITHDRAWN.search(after) is not None


def _before_next_problem(completion: str, start: int) -> str:
    """What stands before the next problem, if an answer does; what the user would say is left off in any case."""
    start = max(start, len(completion) - MAX_COMPLETION_CHARS)
    for heading in islice(_NEXT_PROBLEM.finditer(completion, start), _MOST_PROBLEMS):
        text = completion[max(start, heading.start() - _TAIL_CHARS) : heading.start()]
        if text.strip() and (heading[0].rstrip(" :").endswith(("User", "Human")) or _statement(text, lenient=False)):
            return completion[: heading.start()]
    return completion


def _statement(text: str, *, lenient: bool) -> Statement | None:
    statement = last_mark(text)
    after = statement.end if statement else 0
    statement = last_sentence(text, after, boxed=statement.answer if statement else None) or statement
    return last_line(text) if statement is None and lenient else statement


def _commits(answer: str) -> bool:
    if answer.isalnum():
        return not NEGATION.match(answer)
    stripped = unwrap(answer[:MAX_ANSWER_CHARS]) if len(answer) <= MAX_ANSWER_CHARS else answer.strip()
    return (stripped.strip(" ?.…_-*{}\\") != "" or stripped == r"\{\}") and not NEGATION.match(stripped)


def readable(completion: str) -> str:
    """The end of the completion, within the limit; lone surrogates, which no file can hold, become '?'."""
    text = completion[-MAX_COMPLETION_CHARS:]
    if not text.isascii():
        text = text.encode("utf-8", "replace").decode("utf-8")
    has_tags = "<" in text  # to look for one character takes a tenth of the time that two take
    if has_tags and ("<|" in text or "</s>" in text):
        text = _first_turn(text)
    if "%" in text or ("/" in text and "[//]" in text):
        text = _COMMENT_LINE.sub("", text)
    if has_tags and "<!--" in text:
        text = _without(text, re.finditer("<!--", text), lambda _: "-->")
    if has_tags and any(map(text.__contains__, _HIDING)):
        text = _without(text, _HIDDEN_ELEMENT.finditer(text), lambda opening: f"</{opening[1]}>")
    return text


def _first_turn(text: str) -> str:
    """What stands before the first end of a turn, if anything does: what follows answers another question.

    A text that begins with somebody else's turn is the first one of the model's own.
    """
    if _OTHERS_TURN.match(text):
        own = text.find("<|im_start|>assistant")
        text = text[own:] if own >= 0 else ""
    end = next((mark.start() for mark in _END_OF_TURN.finditer(text) if text[: mark.start()].strip()), len(text))
    return text[:end]


def _without(text: str, openings: Iterable[re.Match[str]], closing: Callable[[re.Match[str]], str]) -> str:
    """The text without what stands from each opening to its closing, or to the end."""
    pieces: list[str] = []
    position = 0
    for opening in openings:
        if opening.start() < position:
            continue
        pieces.append(text[position : opening.start()])
        end = text.find(closing(opening), opening.end())
        position = len(text) if end < 0 else end + len(closing(opening))
    return "".join(pieces) + text[position:]


def _end_of_thought(text: str, *, lenient: bool) -> int | None:
    """Where the answer proper begins; None if it has not begun."""
    if "<" not in text or ("think" not in text and "begin_of_solution" not in text):
        return 0
    solution = text.rfind("<|begin_of_solution|>")
    end = max(text.rfind("</think>"), text.rfind("</thinking>"), solution)
    if end >= 0:
        return end
    if not lenient and (text.rfind("<think>") >= 0 or text.rfind("<thinking>") >= 0):
        return None
    return 0
