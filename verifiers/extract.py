"""Which answer a completion commits to: the last statement of one, or none.

A statement is a box, an answer tag, a `####` line, or a sentence such as "the answer is x"; the lenient policy also
takes bold print, a formula or a number of the last line. The scan runs from the end, and no pattern can backtrack over
more than one class of characters: its time grows with the length of the text and no faster.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from markscheme.verifiers.limits import MAX_ANSWER_CHARS, MAX_BOX_CHARS, MAX_COMPLETION_CHARS, MAX_JOINED_BOXES
from markscheme.verifiers.patterns import compiled_later
from markscheme.verifiers.reading import read, unwrap

_BRACE = compiled_later(r"\\.|[{}]", re.DOTALL)
_BOX_START = compiled_later(r"(?:\\|\\begin|\\f)boxed(?![a-zA-Z])|\\fbox(?![a-zA-Z])|\\beginboxed")
_BOX_WITHOUT_BRACES = compiled_later(r"\s*([^\s${}\\]+)")
_TAG = compiled_later(r"<(/?)answer>", re.IGNORECASE)
_ANSWER_WORD = compiled_later(r"answer", re.IGNORECASE)
_ANSWER_IS = compiled_later(
    r"answers?(?P<bold>[*_]{0,3})\s?(?:to (?:the|this|our) (?:question|problem) |for (?:the|this) (?:question|problem) "
    r"|in \w{1,12} )?"
    r"(?:(?:is|are|was|would be|will be|must be|should be|comes out to|equals)(?![a-zA-Z])[*_]{0,3}\s?:?"
    r"|[:=：](?P<b>[*_]{0,3})"
    r"|(?=[*_#]{0,3}:?[*_]{0,3}\s*\n)|\s(?=\$|\\\(|\\\[))",
    re.IGNORECASE,
)
_CHINESE_ANSWER = compiled_later(
    r"(?:最终|正确|最后的?)?(?:答案|结果)(?:应该|应|就)?(?:是|为)?\s?[：:]?|答\s?[：:]|答(?=[^案应题对])"
)
_FINAL_IS = compiled_later(
    r"[Ff]inal (?:result|value|solution|total|amount|count|number)(?:\s(?:is|was|will be)(?![a-zA-Z])|\s?[:=])"
)
_ANSWER_LINE = compiled_later(r"[*_# ]*(?:A|Ans|Answer)\s?[*_]{0,2}\s?[:：.]\s?[*_]{0,2}", re.IGNORECASE)
_ADVERB = compiled_later(
    r"\s*(?:therefore|thus|hence|simply|just|then|also|indeed|clearly|now|equal to|option|choice|given by|found to be"
    r"|only|actually|finally|obviously|that|about|approximately|roughly|exactly)(?![a-zA-Z])[,:]?\s*|\s*[:：,]\s*",
    re.IGNORECASE,
)
_SPAN = compiled_later(
    r"\$\$((?:[^$\\]|\\.)+)\$\$|\$((?:[^$\\]|\\.)+)\$|\\\(((?:[^\\]|\\[^)])+)\\\)|\\\[((?:[^\\]|\\[^\]])+)\\\]"
)
_SENTENCE_END = compiled_later(
    r"[.!?](?=\s|$|[\"')*])|[。！；？]|\n|,?\s(?:because|since|so|which|where|when|after|as|I hope|based on|for the)\s"
    r"|,\s(?:and|but)\s(?=[a-z]{2,} [a-z]{2,})|<\||</|\s--?\s(?=[a-zA-Z])"
)
_NUMBER = compiled_later(
    r"(?<![A-Za-z0-9_.])[-−]?\$?(?:[0-9][0-9,]*(?:\.[0-9]+)?|\.[0-9]+)(?:[eE][-+]?[0-9]+|(?::[0-9]+)+|/[0-9]+)?%?"
)
_MONEY = compiled_later(r"\$\d[^$]*(?:\s\$|\$(?=\s*\d))")
"""Two dollars that are no formula, as in `$5 and $3` and `$5-$3`."""
_CALCULATION = compiled_later(r"<<[^<>]*>>")
_GRADE = compiled_later(r"\b(?:score|reward|grade|rating|confidence|label|verdict)\b[\"'*]*\s?[:=]\s?$", re.IGNORECASE)
_SUPPOSITION = compiled_later(r"\b(?:suppose|assume|assuming|impossible|contradict\w*)\b", re.IGNORECASE)
_NOT = compiled_later(r"not\b|n't\b")
_OPERATOR = compiled_later(r"(?:[+*/^×÷·√_]|[\^_]\{|\\(?:sqrt|d?frac)\{)\s*$|[a-z]\($")
"""In front of a number: it is a part of a value."""
_MOST_MENTIONS = 3
"""Of one number in the last line: so many are a guess repeated."""
_BOLD = compiled_later(r"\*\*([^*]+)\*\*")
_JOINING = compiled_later(
    r"(?:[\s$,;、.*&]|\\[()\[\],; ]|\\q?quad|\\text|\\\\|[{}]|\b(?:and|or)\b|和|与|或|[-•*]"
    r"|\(?[a-z0-9]\)|\b[0-9]{1,3}\.)*"
)
_LISTED = compiled_later(r"(?:,|;|\b(?:and|or)\b|和|与|或)", re.IGNORECASE)
_CORRECTION = compiled_later(
    r"\b(?:no|wait|actually|correct(?:ion|ed)?|instead|sorry|rather|mistake|should be|so|hence|thus|therefore|then"
    r"|gives?|giving|implies|now|finally)\b|\\implies|\\Rightarrow|→|⇒|=",
    re.IGNORECASE,
)
_HEDGE = compiled_later(
    r"\b(?:or|maybe|perhaps|possibly|either|probably|alternatively|might|could|not|isn't|neither)\b|或", re.IGNORECASE
)
_DOUBT = compiled_later(r"\b(?:maybe|perhaps|possibly|either|probably|alternatively|might|could)\b", re.IGNORECASE)
_DENIED = compiled_later(r"\bnot\b|n't\b|\bor\b|\beither\b|\bmaybe\b|\bif\b", re.IGNORECASE)
_NEGATION = compiled_later(
    r"\s*(?:\\text\{)?\s*(?:(?:definitely|certainly|clearly|probably|surely)\s)?(?:not\b|n't\b|isn't\b|neither\s+\S|never\b|不是|不)",
    re.IGNORECASE,
)
_LONGEST_SENTENCE_CHARS = 400
_TAIL_CHARS = 8_000
_LONGEST_GAP_CHARS = 200
_LONGEST_LINE_CHARS = 4_000
_END_OF_TURN = compiled_later(r"<\|(?:im_end|endoftext|eot_id|end_of_text)\|>|<\|im_start\|>(?:user|system)|</s>")
_COMMENT_LINE = compiled_later(r"^[ \t]*%.*$", re.MULTILINE)
_NAME_BEFORE = compiled_later(r"[a-zA-Z]\w{0,5}\s?=\s?")
_MOST_BOXES_IN_A_ROW = 6
_MOST_REPEATS = 12
_LONGEST_KEY_CHARS = 24
_SHORT_GAP_CHARS = 60
_SUPPOSED = compiled_later(
    r"(?:\b(?:suppose|assume|assuming|imagine|if|unless|whether|claims|claimed|says|said|thinks|thought|guesses|guessed"
    r"|doubt|wrote|writes)(?:\s(?:that|then))?|(?:not|n't|cannot|never) (?:\w+ ){0,2}?(?:that|sure|say|think|believe))"
    r"[:,]?\s?[\"'“]?\s?(?:(?:the|our|my|your|his|her|their|this)\s)?(?:(?:final|correct|right|true)\s)?$",
    re.IGNORECASE,
)
"""In front of "answer is": not a statement of one's own."""
_PARAGRAPHS_GAP = compiled_later(r"[.!?。]\s+[^\W\d_]")
"""Between two boxes: the end of a sentence and the beginning of another."""


class AnswerKind(StrEnum):
    """How a completion states its answer."""

    BOX = "box"
    TAG = "tag"
    HASHES = "hashes"
    SENTENCE = "sentence"
    BOLD = "bold"
    FORMULA = "formula"
    LAST_NUMBER = "last_number"


@dataclass(frozen=True, slots=True)
class Statement:
    """An answer, as it stands in the completion."""

    answer: str
    kind: AnswerKind
    start: int
    end: int
    """Offsets of the whole statement, mark included, in the part of the completion that was scanned."""


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
    return statement


def _statement(text: str, *, lenient: bool) -> Statement | None:
    statement = _last_explicit(text)
    after = statement.end if statement else 0
    statement = _last_sentence(text, after, boxed=statement.answer if statement else None) or statement
    return _from_last_line(text) if statement is None and lenient else statement


def _commits(answer: str) -> bool:
    stripped = unwrap(answer[:MAX_ANSWER_CHARS]) if len(answer) <= MAX_ANSWER_CHARS else answer.strip()
    return (stripped.strip(" ?.…_-*{}\\") != "" or stripped == r"\{\}") and not _NEGATION.match(stripped)


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


def boxes(text: str) -> Iterator[Statement]:
    r"""The balanced \boxed{...} and \fbox{...}, outermost ones, last first; also `\boxed 2`."""
    before = within = len(text)
    has_fbox = "\\fbox" in text
    while True:
        start = text.rfind("boxed", 0, before)
        if has_fbox:
            start = max(start, text.rfind("\\fbox", 0, before))
        if start < 0:
            return
        before = start
        opening = _BOX_START.match(text, start) if text[start] == "\\" else _box_start(text, start)
        if opening is None:
            continue
        before = opening.start()
        box = _box_at(text, opening, within)
        if box is not None:
            yield box
        else:  # a box around one that is never closed is not closed either
            within = before


def _box_start(text: str, at: int) -> re.Match[str] | None:
    for back in (1, 2, 6):
        if at >= back and (match := _BOX_START.match(text, at - back)) and match.end() == at + 5:
            return match
    return None


def _box_at(text: str, opening: re.Match[str], within: int) -> Statement | None:
    at = opening.end()
    while at < len(text) and text[at] in " \n\t":
        at += 1
    if at >= len(text) or text[at] != "{":
        bare = _BOX_WITHOUT_BRACES.match(text, opening.end())
        if bare is None:
            return None
        return Statement(bare[1].rstrip(".,"), AnswerKind.BOX, opening.start(), bare.end())
    first = text.find("}", at, within)
    if first >= 0 and text.find("{", at + 1, first) < 0 and text[first - 1] != "\\":
        return Statement(text[at + 1 : first], AnswerKind.BOX, opening.start(), first + 1)
    depth = 0
    for brace in _BRACE.finditer(text, at, min(within, at + MAX_BOX_CHARS)):
        depth += (brace[0] == "{") - (brace[0] == "}")
        if depth == 0:
            return Statement(text[at + 1 : brace.start()], AnswerKind.BOX, opening.start(), brace.end())
    return None


def tags(text: str) -> list[Statement]:
    """All <answer>...</answer>; a tag opened twice counts from its last opening."""
    found: list[Statement] = []
    opening: re.Match[str] | None = None
    for tag in _TAG.finditer(text):
        if not tag[1]:
            opening = tag
        elif opening is not None:
            found.append(Statement(text[opening.end() : tag.start()], AnswerKind.TAG, opening.start(), tag.end()))
            opening = None
    return found


def hash_lines(text: str) -> list[Statement]:
    """Lines `#### x` whose x reads as a number, and one that ends the text: any other is a heading."""
    found: list[Statement] = []
    end_of_text = len(text.rstrip())
    position = text.find("####")
    while position >= 0:
        end = text.find("\n", position)
        end = len(text) if end < 0 else end
        line = text[position:end].rstrip()
        at_line_start = not text[text.rfind("\n", 0, position) + 1 : position].strip(" *")
        if at_line_start and not line.startswith("#####"):
            answer = line[4:].strip(" *")
            is_last = position + len(line) >= end_of_text
            if answer and (is_last or (len(answer) < 40 and read(answer.lstrip("$ ")).number is not None)):
                found.append(Statement(answer, AnswerKind.HASHES, position, position + len(line)))
        position = text.find("####", max(end, position + 4))
    return found


def _last_explicit(text: str) -> Statement | None:
    statements: list[Statement] = []
    last_box = next(boxes(text), None) if "boxed" in text or "fbox" in text else None
    if last_box is not None:
        statements.append(last_box)
    tagged = tags(text) if "</" in text else []
    statements += tagged[-1:]
    if "####" in text:
        statements += hash_lines(text)[-1:]
    if not statements:
        return None
    last = max(statements, key=lambda statement: statement.end)
    if last.kind is AnswerKind.BOX:
        return _joined(text, boxes(text))
    if last.kind is AnswerKind.TAG:
        joined = _joined(text, reversed(tagged))
        inner = _joined(last.answer, boxes(last.answer))
        if joined is not None and inner is not None and joined.answer == last.answer:
            return Statement(inner.answer, last.kind, last.start, last.end)
        return joined
    inner = _joined(last.answer, boxes(last.answer))
    return last if inner is None else Statement(inner.answer, last.kind, last.start, last.end)


def _joined(text: str, found: Iterator[Statement]) -> Statement | None:
    """The last of some boxes or tags, which come last first; those of one passage joined by commas, "and" or "or" are
    one list.

    A list equals no single gold, so boxing both 7 and 8 earns nothing where 7 is right. A box that holds boxes is
    those. Different boxes in one sentence that are joined by a hedge, and many boxes in a row, leave the answer open:
    it is empty.
    """
    last = next(found, None)
    if last is None:
        return None
    answers, start, end, joined = [last.answer], last.start, last.end, True
    known, in_a_row = {_key(last.answer)}, {_key(last.answer)}
    repeats = 0
    for count, box in enumerate(found):
        if box.end >= end:  # a box around the last one
            return _inner(box)
        between = text[box.end : start]
        if count > MAX_JOINED_BOXES or len(between) > _LONGEST_GAP_CHARS:
            break
        key = _key(box.answer)
        if len(between) <= _SHORT_GAP_CHARS and key not in in_a_row:
            in_a_row.add(key)
            if not joined and len(in_a_row) > _MOST_BOXES_IN_A_ROW:
                return Statement("", last.kind, box.start, end)
        elif len(between) > _SHORT_GAP_CHARS and not joined:
            break
        repeats = repeats + 1 if box.answer == last.answer else 0
        if repeats > _MOST_REPEATS:
            break
        if joined and key not in known:
            gap = _gap(between)
            if gap == "hedge":
                return Statement("", last.kind, box.start, end)
            if gap == "list":
                answers.insert(0, box.answer)
                known.add(key)
            else:
                joined = False
        start = box.start
    return Statement(", ".join(answers), last.kind, start, end)


def _key(answer: str) -> object:
    """What two boxes of one answer share: the number it is, or its text."""
    text = answer.strip()
    number = read(text).number if len(text) <= _LONGEST_KEY_CHARS else None
    return text if number is None else number


def _gap(between: str) -> str:
    """How two different boxes are joined: as a "list", by a "hedge", or not at all."""
    between = _NAME_BEFORE.sub("", between)
    if _JOINING.fullmatch(between):
        return "list"
    if _PARAGRAPHS_GAP.search(between) or "\n" in between:
        return ""
    if _DOUBT.search(between):
        return "hedge"
    if _CORRECTION.search(between):
        return ""
    if _HEDGE.search(between) and not re.search(r"\band\b", between):
        return "hedge"
    return "list" if _LISTED.search(between) else ""


def _inner(outer: Statement) -> Statement:
    """A box around boxes: what it holds, if that is one value, else the list of them."""
    answers: list[str] = []
    for count, box in enumerate(boxes(outer.answer)):
        if box.answer.strip() not in answers:
            answers.insert(0, box.answer.strip())
        if count > MAX_JOINED_BOXES:
            break
    only = len(answers) == 1
    answer = outer.answer if only else ", ".join(answers)
    return Statement(answer, AnswerKind.BOX, outer.start, outer.end)


def _last_sentence(text: str, start: int, *, boxed: str | None) -> Statement | None:
    """The last sentence that states an answer, from `start` on; behind a box it must state a value of its own."""
    after_mark = boxed is not None
    anchor = _last_anchor(text, start)
    if anchor is None:
        return None
    begins, ends = anchor
    segment = text[ends : ends + _LONGEST_SENTENCE_CHARS]
    at = len(segment) - len(segment.lstrip(" \t\n*_:：#"))
    if _NEGATION.match(segment, at):
        withdrawn = after_mark and (boxed or "").strip() in segment[at : at + _SHORT_GAP_CHARS]
        return None if after_mark and not withdrawn else Statement("", AnswerKind.SENTENCE, begins, ends)
    while (adverb := _ADVERB.match(segment, at)) and adverb.end() > at:
        at = adverb.end()
    at += len(segment[at:]) - len(segment[at:].lstrip(" \t\n*_"))
    answer, length = _sentence(segment, at)
    if segment[at + length : at + length + 1] in ("?", "？"):
        return None
    if after_mark and not _is_value(answer):
        return None
    if _NEGATION.match(answer):
        answer = ""
    return Statement(answer, AnswerKind.SENTENCE, begins, ends + at + length)


def _last_anchor(text: str, start: int) -> tuple[int, int] | None:
    """Where the last words that announce an answer begin and end."""
    found: tuple[int, int] | None = None
    last_line = text.rfind("\n", 0, len(text.rstrip())) + 1
    if last_line >= start and (line := _ANSWER_LINE.match(text, last_line)):
        found = line.span()
    if "答" in text or "结果" in text:
        for match in _CHINESE_ANSWER.finditer(text, start):
            if match.end() > (found or (0, 0))[1]:
                found = match.span()
    before = len(text) - start
    lower = text[start:].lower() if text.find("nswer", start) >= 0 or text.find("NSWER", start) >= 0 else ""
    while lower and (at := lower.rfind("answer", 0, before) + start) >= start:
        if found and at < found[0]:
            break
        said = _ANSWER_IS.match(text, at)
        if said and not _SUPPOSED.search(text[max(0, at - _SHORT_GAP_CHARS) : at]):
            return said.span()
        before = at - start
    if found is None and "inal " in text:
        found = max((match.span() for match in _FINAL_IS.finditer(text, start)), default=None)
    return found


def _sentence(segment: str, at: int) -> tuple[str, int]:
    """The answer that a sentence gives from `at` on, and how long the sentence is."""
    end = _SENTENCE_END.search(segment, at)
    while end and end[0] == "\n" and not segment[at : end.start()].strip(" $\\[("):  # a display on its own lines
        end = _SENTENCE_END.search(segment, end.end())
    stop = end.start() if end else len(segment)
    span = _SPAN.match(segment, at)
    if span and span.end() >= stop:  # a dot inside a formula ends no sentence
        return next(group for group in span.groups() if group).strip(), span.end() - at
    whole = segment[at:stop].strip(" \t\n*_,;:")
    if len(whole) <= MAX_ANSWER_CHARS and read(whole).node is None:
        spans = list(_SPAN.finditer(whole))
        if len(spans) == 1:
            rest = whole[: spans[0].start()] + whole[spans[0].end() :]
            if not any(map(str.isdigit, rest)) and not _HEDGE.search(rest):
                return next(group for group in spans[0].groups() if group).strip(), stop - at
        value = whole.rpartition(" is ")[2].strip()
        if value != whole and not _HEDGE.search(value) and not _DENIED.search(whole) and read(value).node is not None:
            return value, stop - at
        bold = list(_BOLD.finditer(segment, at, stop + 2))
        if len(bold) == 1 and not _HEDGE.search(whole) and read(bold[0][1]).node is not None:
            return bold[0][1].strip(), stop - at
    return whole, stop - at


def _is_value(answer: str) -> bool:
    """Whether a sentence behind a box states a value of its own: a number or formula, not "correct" or "as above"."""
    if not answer or len(answer) > MAX_ANSWER_CHARS:
        return False
    reading = read(answer)
    return reading.node is not None and any(character.isdigit() or character == "\\" for character in answer)


def _from_last_line(text: str) -> Statement | None:
    """Bold print that holds a value, else the last formula or number of the last line, else the line as a whole.

    Several with nothing but commas between them are one list, as boxes are.
    """
    text = text.rstrip()
    begin = max(text.rfind("\n") + 1, len(text) - _LONGEST_LINE_CHARS)
    line = _CALCULATION.sub(lambda note: " " * len(note[0]), text[begin:])
    if line.endswith(("?", "？")):
        return None
    bold = [Statement(match[1].strip(" .,"), AnswerKind.BOLD, *match.span()) for match in _BOLD.finditer(line)]
    found = [statement for statement in bold if _is_value(statement.answer)] or list(_formulas_and_numbers(line))
    if not found:
        return _whole_line(line, begin)
    last, before = found[-1], line[found[-2].end if len(found) > 1 else 0 : found[-1].start]
    if any(words.search(before) for words in (_NOT, _OPERATOR, _GRADE)) or _SUPPOSITION.search(line):
        return None
    if len(found) > 1 and _HEDGE.search(before):
        return None
    if "=" not in line and [statement.answer for statement in found].count(last.answer) >= _MOST_MENTIONS:
        return None
    first = len(found) - 1
    while first and _JOINING.fullmatch(line, found[first - 1].end, found[first].start):
        first -= 1
    answer = line[found[first].start : last.end] if found[first] is not last else last.answer
    return Statement(answer, last.kind, begin + found[first].start, begin + last.end)


def _formulas_and_numbers(line: str) -> Iterator[Statement]:
    """In the order of the line, a number inside a formula left out."""
    at, formula = 0, _formula(line, 0)
    while True:
        number = _NUMBER.search(line, at)
        if formula and formula.start < at:
            formula = _formula(line, at)
        if formula and (number is None or formula.start <= number.start()):
            found = formula
        elif number:
            found = Statement(number[0].rstrip(".,"), AnswerKind.LAST_NUMBER, *number.span())
        else:
            return
        yield found
        at = found.end


def _formula(line: str, at: int) -> Statement | None:
    """The first formula from there on; a pair of dollars that are money is none."""
    while span := _SPAN.search(line, at):
        if not _MONEY.match(line, span.start()):
            answer = next(group for group in span.groups() if group)
            return Statement(answer.strip(" .,"), AnswerKind.FORMULA, *span.span())
        at = span.start() + 1
    return None


def _whole_line(line: str, begin: int) -> Statement | None:
    answer = line.strip()
    if answer and read(answer).node is not None:
        return Statement(answer, AnswerKind.FORMULA, begin, begin + len(line))
    return None
