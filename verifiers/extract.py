"""Which answer a completion commits to: one linear scan for statements, the last one counts.

Explicit marks (a box, an answer tag, a `####` line) come before sentences ("the answer is x"), and only the lenient
policy falls back to bold print or the last number of the last line. A hedge ("7 or 8") is kept whole: as a list it
equals no single gold.
"""

import re
from dataclasses import dataclass
from enum import StrEnum

from markscheme.verifiers.limits import MAX_COMPLETION_CHARS, MAX_JOINED_BOXES
from markscheme.verifiers.normalise import exact_number, holds_word, unwrap

# None of these patterns can backtrack over more than one character class: the scan is linear.
_BOX_TOKEN = re.compile(r"\\(?:boxed|fbox)(?![a-zA-Z])\s*|\\.|[{}]", re.DOTALL)
_BOX_WITHOUT_BRACES = re.compile(r"[^\s${}\\]+")
_TAG = re.compile(r"<(/?)answer>", re.IGNORECASE)
_ANSWER_IS = re.compile(
    r"\banswer\b[*_ ]{0,4}(?:to (?:the|this) (?:question|problem) )?"
    r"(?:(?:is|was|are|would be|must be|should be)(?![a-zA-Z])|[:=])"
    r"|答案(?:应该|应)?(?:是|为|：|:)",
    re.IGNORECASE,
)
_LAST_LINE_ANSWER = re.compile(r"[*_ ]*A\s*[:：]")
_ADVERB = re.compile(r"\s*(?:therefore|thus|hence|simply|just|then|also|equal to|:|：)(?![a-zA-Z])", re.IGNORECASE)
_MATH_SPAN = re.compile(r"\$\$([^$]+)\$\$|\$([^$]+)\$|\\\(((?:[^\\]|\\[^)])+)\\\)|\\\[((?:[^\\]|\\[^\]])+)\\\]")
_SENTENCE_END = re.compile(r"[.!?](?=\s|$)|[。！；]|\n|,?\s(?:because|since|so|which|where|when)\s")
_NUMBER = re.compile(r"-?\$?(?:[0-9][0-9,]*(?:\.[0-9]+)?|\.[0-9]+)(?:/[0-9]+)?%?")
_BOLD = re.compile(r"\*\*([^*]+)\*\*")
_JOINING = re.compile(r"(?:[\s$,;、*.]|\\[()\[\],; ]|\\text|[{}]|\b(?:and|or)\b|和|与|或)*", re.IGNORECASE)
_OR = re.compile(r"\s*(?:,\s*)?(?:\\text\{\s*or\s*\}|\\mbox\{\s*or\s*\}|\bor\b|或者?)\s*", re.IGNORECASE)
_NEGATION = re.compile(
    r"\s*(?:\\text\{)?\s*(?:definitely |certainly |clearly )?(?:not\b|n't\b|isn't\b|不是)", re.IGNORECASE
)
_LONGEST_SENTENCE_CHARS = 400
"""Two boxes further apart than this are not in one sentence; an anchored answer is cut off here."""


class AnswerKind(StrEnum):
    """How a completion states its answer."""

    BOX = "box"
    TAG = "tag"
    HASHES = "hashes"
    SENTENCE = "sentence"
    BOLD = "bold"
    LAST_NUMBER = "last_number"


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """An answer, as it stands in the completion."""

    answer: str
    kind: AnswerKind
    start: int
    end: int
    """Offsets of the whole statement, mark included, in the text that was scanned."""


def extract(completion: str, *, lenient: bool = False) -> Statement | None:
    """The answer the completion commits to, or None.

    Args:
        lenient: without any other statement, take what the last line prints bold, or its last number.

    >>> extract("So x is 6... no: \\\\boxed{7}.").answer
    '7'
    >>> extract("The answer is not 7.") is None
    True
    """
    text = readable(completion)
    statement = _last_explicit(text) or _last_sentence(text) or (_from_last_line(text) if lenient else None)
    if statement is None or not unwrap(statement.answer) or _NEGATION.match(statement.answer):
        return None
    return statement


def readable(completion: str) -> str:
    """The end of the completion, within the limit; lone surrogates, which no file can hold, become '?'."""
    return completion[-MAX_COMPLETION_CHARS:].encode("utf-8", "replace").decode("utf-8")


def boxes(text: str) -> list[Statement]:
    r"""All balanced \boxed{...} and \fbox{...} in the order of their ends; also `\boxed 2`."""
    found: list[Statement] = []
    open_braces: list[tuple[int, int]] = []  # (start of the box or -1, position behind the brace)
    box_start, box_end = -1, -1
    for token in _BOX_TOKEN.finditer(text):
        if token[0].startswith(("\\boxed", "\\fbox")):
            box_start, box_end = token.start(), token.end()
            bare = _BOX_WITHOUT_BRACES.match(text, box_end)
            if bare:
                found.append(
                    Statement(answer=bare[0].rstrip(".,"), kind=AnswerKind.BOX, start=box_start, end=bare.end())
                )
        elif token[0] == "{":
            open_braces.append((box_start if token.start() == box_end else -1, token.end()))
        elif token[0] == "}" and open_braces:
            start, content = open_braces.pop()
            if start >= 0:
                answer = text[content : token.start()]
                found.append(Statement(answer=answer, kind=AnswerKind.BOX, start=start, end=token.end()))
    return found


def tags(text: str) -> list[Statement]:
    """All <answer>...</answer>; a tag opened twice counts from its last opening."""
    found: list[Statement] = []
    opening: re.Match[str] | None = None
    for tag in _TAG.finditer(text):
        if not tag[1]:
            opening = tag
        elif opening is not None:
            answer = text[opening.end() : tag.start()]
            found.append(Statement(answer=answer, kind=AnswerKind.TAG, start=opening.start(), end=tag.end()))
            opening = None
    return found


def hash_lines(text: str) -> list[Statement]:
    """Lines `#### x` whose x is a number, and one that ends the text: any other is a heading."""
    found: list[Statement] = []
    position = 0
    end_of_text = len(text.rstrip())
    for line in text.splitlines(keepends=True):
        answer = line.strip()
        if answer.startswith("####") and not answer.startswith("#####"):
            answer = answer[4:].strip()
            is_last = position + len(line.rstrip()) >= end_of_text
            if answer and (is_last or exact_number(answer.lstrip("$ ")) is not None):
                end = position + len(line.rstrip())
                found.append(Statement(answer=answer, kind=AnswerKind.HASHES, start=position, end=end))
        position += len(line)
    return found


def _last_explicit(text: str) -> Statement | None:
    all_boxes = boxes(text)
    statements = [*all_boxes[-1:], *tags(text)[-1:], *hash_lines(text)[-1:]]
    if not statements:
        return None
    last = max(statements, key=lambda statement: statement.end)
    if last.kind is AnswerKind.BOX:
        return _joined(all_boxes, text)
    inner = boxes(last.answer)
    return _joined(inner, last.answer) if inner else last


def _joined(all_boxes: list[Statement], text: str) -> Statement:
    """The last box; boxes of one sentence that are joined by commas, "and" or "or" are one list.

    A list equals no single gold, so boxing both 7 and 8 earns nothing where 7 is right. Different boxes in the last
    sentence that are joined otherwise ("maybe") leave the answer open: it is empty.
    """
    last = all_boxes[-1]
    answers = [last.answer]
    start = last.start
    for box in all_boxes[-2 : -MAX_JOINED_BOXES - 1 : -1]:
        if box.start >= start or box.end > start:  # a box around or inside the last one
            continue
        between = text[box.end : start]
        if len(between) > _LONGEST_SENTENCE_CHARS or _SENTENCE_END.search(between):
            break
        if box.answer.strip() not in [answer.strip() for answer in answers]:
            if not _JOINING.fullmatch(between):
                return Statement(answer="", kind=AnswerKind.BOX, start=box.start, end=last.end)
            answers.insert(0, box.answer)
        start = box.start
    return Statement(answer=", ".join(answers), kind=AnswerKind.BOX, start=start, end=last.end)


def _last_sentence(text: str) -> Statement | None:
    last_line_start = len(text.rstrip())
    last_line_start = text.rfind("\n", 0, last_line_start) + 1
    anchor = _LAST_LINE_ANSWER.match(text, last_line_start)
    if anchor is None:
        anchor = max(_ANSWER_IS.finditer(text), key=re.Match.start, default=None)
    if anchor is None:
        return None
    text = text[: anchor.end() + _LONGEST_SENTENCE_CHARS]
    start = anchor.end()
    if _NEGATION.match(text, start):
        return None
    if adverb := _ADVERB.match(text, start):
        start = adverb.end()
    start += len(text[start:]) - len(text[start:].lstrip(" \t\n*_:："))
    end_of_sentence = _SENTENCE_END.search(text, start)
    end = end_of_sentence.start() if end_of_sentence else len(text)
    answer = text[start:end].strip(" \t*_,;")
    span = _MATH_SPAN.match(text, start)
    if span and span.end() >= start + len(answer):  # a dot inside a formula ends no sentence
        end = span.end()
        answer = next(group for group in span.groups() if group)
    return Statement(answer=answer, kind=AnswerKind.SENTENCE, start=anchor.start(), end=end)


def _from_last_line(text: str) -> Statement | None:
    text = text.rstrip()
    line = text[text.rfind("\n") + 1 :][-_LONGEST_SENTENCE_CHARS:]
    offset = len(text) - len(line)
    bold = max(_BOLD.finditer(line), key=re.Match.start, default=None)
    if bold and any(character.isdigit() for character in bold[1]) and not holds_word(bold[1]):
        start, end = offset + bold.start(), offset + bold.end()
        return Statement(answer=bold[1], kind=AnswerKind.BOLD, start=start, end=end)
    found = list(_NUMBER.finditer(line))
    if not found:
        return None
    last = found[-1]
    before = line[found[-2].end() if len(found) > 1 else 0 : last.start()]
    if (len(found) > 1 and _OR.search(before)) or re.search(r"\bnot\b|n't\b", before):
        return None
    answer = last[0].rstrip(",")
    return Statement(answer=answer, kind=AnswerKind.LAST_NUMBER, start=offset + last.start(), end=offset + last.end())
