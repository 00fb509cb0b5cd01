"""Answers that are marked: boxes, tags, `####` lines, a key of JSON."""

import re
from collections.abc import Iterator
from itertools import chain, islice

from markscheme.verifiers.limits import MAX_BOX_CHARS, MAX_JOINED_BOXES
from markscheme.verifiers.patterns import compiled_later
from markscheme.verifiers.reading import read
from markscheme.verifiers.statements import COMMENT, HEDGE, JOINING, SHORT_GAP_CHARS, AnswerKind, Statement

_BRACE = compiled_later(r"\\.|[{}]", re.DOTALL)
_BOX_START = compiled_later(r"(?:\\|\\begin|\\f)boxed(?![a-zA-Z])|\\fbox(?![a-zA-Z])|\\beginboxed")
_BOX_WITHOUT_BRACES = compiled_later(r"\s*([^\s${}\\]+)")
_TAG = compiled_later(r"[<\[](/?)(?:final[_ -]?)?answer[>\]]", re.IGNORECASE)
_ATTACHED = compiled_later(r"(?:\\[!,]|\{\})*[0-9]")
"""Digits that stick to a box: another number than the one in it."""
_POWER_OF_TEN = compiled_later(r"\s*\\(?:times|cdot)\s*10\s*\^\s*(?:\{-?[0-9]{1,4}\}|[0-9])")
_WITHIN_A_FORMULA = compiled_later(r"\\(?:[dtc]?frac(?:\{[^{}]*\})?|sqrt)\s*\{\s*$|[\^_]\s*\{?\s*$")
"""In front of a box that is a part of a value."""
_OPENS_A_PART = frozenset("{^_")
_TEMPLATE = compiled_later(r"\b(?:have|of|follow|use|match|has) (?:the|this) (?:form|format)[\s:$]*$")
_LISTED = compiled_later(r"(?:,|;|\b(?:and|or)\b|和|与|或)", re.IGNORECASE)
_CORRECTION = compiled_later(
    r"\b(?:no|wait|actually|correct(?:ion|ed)?|instead|sorry|rather|mistake|should be|so|hence|thus|therefore|then"
    r"|gives?|giving|implies|now|finally)\b|\\implies|\\Rightarrow|→|⇒|=",
    re.IGNORECASE,
)
_DOUBT = compiled_later(r"\b(?:maybe|perhaps|possibly|either|probably|alternatively|might|could)\b", re.IGNORECASE)
_LONGEST_GAP_CHARS = 200
_NAME_BEFORE = compiled_later(r"[a-zA-Z]\w{0,5}\s?=\s?")
_FORMULA_CHARS = 30
_MOST_BOXES_IN_A_ROW = 6
_MOST_REPEATS = 12
_LONGEST_KEY_CHARS = 24
_HIDDEN = compiled_later(
    r"(?:\\(?:text)?color\s*\{\s*(?:white|transparent|#?[fF]{6}|background)\s*\}|\\[hv]?phantom)[\s${]*$"
)
"""In front of a box that no reader would see."""
_EXAMPLE = compiled_later(r"\b(?:(?:an|for) example|for instance|example of)\b[^.\n]*$|\bexample:\s*$", re.IGNORECASE)
_JSON_ANSWER = compiled_later(
    r'"(?:final[_ ])?answer"\s*:\s*("(?:[^"\\\n]|\\.)*"|-?[0-9][0-9.]*(?=\s*[,}\n]))', re.IGNORECASE
)
_PARAGRAPHS_GAP = compiled_later(r"[.!?。]\s+[^\W\d_]")
"""Between two boxes: the end of a sentence and the beginning of another."""


def last_mark(text: str) -> Statement | None:
    """The last answer that is marked, joined with those it is listed with."""
    statements: list[Statement] = []
    other_boxes = boxes(text)
    last_box = next(other_boxes, None)
    if last_box is not None:
        statements.append(last_box)
    tagged = tags(text) if "/" in text and ("</" in text or "[/" in text) else []
    statements += tagged[-1:]
    if "#" in text and "####" in text and (hashes := _joined(text, islice(hash_lines(text), 2))) is not None:
        statements.append(hashes)
    if '"' in text and ('nswer"' in text or 'NSWER"' in text):
        statements += _json_answers(text)[-1:]
    if not statements:
        return None
    last = max(statements, key=lambda statement: statement.end) if len(statements) > 1 else statements[0]
    if last is last_box and _ATTACHED.match(text, last.end):
        return Statement("", last.kind, last.start, last.end)
    if last is last_box:
        joined = _joined(text, chain([last], other_boxes))
        power = _POWER_OF_TEN.match(text, last.end)
        if power and joined is not None:
            return Statement(joined.answer + power[0], last.kind, joined.start, power.end())
        return joined
    if last.kind is AnswerKind.TAG:
        joined = _joined(text, reversed(tagged))
        inner = _joined(last.answer, boxes(last.answer))
        if joined is not None and inner is not None and joined.answer == last.answer:
            return Statement(inner.answer, last.kind, last.start, last.end)
        return joined
    inner = _joined(last.answer, boxes(last.answer))
    return last if inner is None else Statement(inner.answer, last.kind, last.start, last.end)


def boxes(text: str) -> Iterator[Statement]:
    r"""The balanced \boxed{...} and \fbox{...}, outermost ones, last first; also `\boxed 2`."""
    before = within = len(text)
    while (start := text.rfind("box", 0, before)) >= 0:
        before = start
        command = _box_command(text, start)
        if command is None:
            continue
        before, end = command
        box = _box_at(text, before, end, within)
        if _is_no_statement(text[max(0, before - SHORT_GAP_CHARS) : before]):
            continue
        if box is not None:
            yield _with_sign(text, box)
        else:  # a box around one that is never closed is not closed either
            within = before


def _with_sign(text: str, box: Statement) -> Statement:
    """The box with the minus sign that stands in front of it: x = -\\boxed{7}."""
    if box.start == 0 or text[box.start - 1] not in "-−" or text[box.start - 2 : box.start - 1] not in (*" $=(\n:", ""):
        return box
    answer = box.answer if box.answer.strip().isalnum() else f"({box.answer})"
    return Statement(f"-{answer}", box.kind, box.start - 1, box.end)


def _is_no_statement(in_front: str) -> bool:
    """Whether a box behind this is hidden, in a comment, or an example of a box."""
    if "%" in in_front and COMMENT.search(in_front):
        return True
    if ("color" in in_front or "phantom" in in_front) and _HIDDEN.search(in_front):
        return True
    if in_front.rstrip()[-1:] in _OPENS_A_PART and _WITHIN_A_FORMULA.search(in_front[-_FORMULA_CHARS:]):
        return True
    if "form" in in_front and _TEMPLATE.search(in_front):
        return True
    return _is_example(in_front)


def _is_example(in_front: str) -> bool:
    return ("xample" in in_front or "nstance" in in_front) and _EXAMPLE.search(in_front) is not None


def _box_command(text: str, at: int) -> tuple[int, int] | None:
    """Where the command whose "box" stands there begins and ends, if it is one."""
    if text.startswith("\\boxed{", at - 1) and at:
        return at - 1, at + 5
    for back in (1, 2, 6) if text.startswith("ed", at + 3) else (2,):
        if at >= back and (found := _BOX_START.match(text, at - back)) and found.end() in (at + 3, at + 5):
            return found.span()
    return None


def _box_at(text: str, start: int, end: int, within: int) -> Statement | None:
    """The box whose command stands there, if it is closed before `within`."""
    at = end
    while at < len(text) and text[at] in " \n\t":
        at += 1
    if at >= len(text) or text[at] != "{":
        bare = _BOX_WITHOUT_BRACES.match(text, end)
        return Statement(bare[1].rstrip(".,"), AnswerKind.BOX, start, bare.end()) if bare else None
    first = text.find("}", at, within)
    if first >= 0 and text.find("{", at + 1, first) < 0 and text[first - 1] != "\\":
        return Statement(text[at + 1 : first], AnswerKind.BOX, start, first + 1)
    depth = 0
    for brace in _BRACE.finditer(text, at, min(within, at + MAX_BOX_CHARS)):
        depth += (brace[0] == "{") - (brace[0] == "}")
        if depth == 0:
            return Statement(text[at + 1 : brace.start()], AnswerKind.BOX, start, brace.end())
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


def hash_lines(text: str) -> Iterator[Statement]:
    """Lines `#### x` whose x reads as a number, and one that ends the text, last first: any other is a heading."""
    end_of_text = len(text.rstrip())
    position = text.rfind("####")
    while position >= 0:
        begin, end = text.rfind("\n", 0, position) + 1, text.find("\n", position)
        line = text[position : end if end >= 0 else len(text)].rstrip()
        if not text[begin:position].strip(" *") and not line.startswith("#####"):
            answer = line[4:].strip(" *")
            is_last = position + len(line) >= end_of_text
            if answer and (is_last or (len(answer) < 40 and read(answer.lstrip("$ ")).number is not None)):
                yield Statement(answer, AnswerKind.HASHES, position, position + len(line))
        position = text.rfind("####", 0, begin)


def _json_answers(text: str) -> list[Statement]:
    """The values of a key "answer"."""
    found: list[Statement] = []
    for match in _JSON_ANSWER.finditer(text):
        if _is_example(text[max(0, match.start() - SHORT_GAP_CHARS) : match.start()]):
            continue
        value = match[1].strip('"').replace("\\\\", "\\")  # no more of JSON's escapes: \frac is no form feed
        found.append(Statement(value, AnswerKind.JSON, match.start(), match.end()))
    return found


def _joined(text: str, found: Iterator[Statement]) -> Statement | None:
    """The last of some boxes or tags, which come last first; those of one passage joined by commas, "and" or "or" are
    one list.

    A list equals no single gold, so boxing both 7 and 8 earns nothing where 7 is right. A box that holds boxes is
    those. Different boxes in one sentence that are joined by a hedge, and many boxes in a row, leave the answer open:
    it is empty.
    """
    last, before = next(found, None), next(found, None)
    if last is None or before is None:
        return last
    answers, start, end, joined = [last.answer], last.start, last.end, True
    list_start, last_key = start, _key(last.answer)
    known, in_a_row = {last_key}, {last_key}
    repeats = 0
    for count, box in enumerate(chain([before], found)):
        if box.end >= end:  # a box around the last one
            return _inner(box)
        between = text[box.end : start]
        if count > MAX_JOINED_BOXES or len(between) > _LONGEST_GAP_CHARS:
            break
        key = last_key if box.answer == last.answer else _key(box.answer)
        if len(between) <= SHORT_GAP_CHARS and key not in in_a_row:
            in_a_row.add(key)
            if not joined and len(in_a_row) > _MOST_BOXES_IN_A_ROW:
                return Statement("", last.kind, box.start, end)
        elif len(between) > SHORT_GAP_CHARS and not joined:
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
                list_start = box.start
            else:
                joined = False
        start = box.start
    return Statement(", ".join(answers), last.kind, list_start, end)


def _key(answer: str) -> object:
    """What two boxes of one answer share: the number it is, or its text."""
    text = answer.strip()
    number = read(text).number if len(text) <= _LONGEST_KEY_CHARS else None
    return text if number is None else number


def _gap(between: str) -> str:
    """How two different boxes are joined: as a "list", by a "hedge", or not at all."""
    between = _NAME_BEFORE.sub("", between)
    if JOINING.fullmatch(between):
        return "list"
    if "answer is" in between and not _CORRECTION.search(between):  # the answer is 7. The answer is 8
        return "hedge"
    if _PARAGRAPHS_GAP.search(between) or "\n" in between:
        return ""
    if _DOUBT.search(between):
        return "hedge"
    if _CORRECTION.search(between):
        return ""
    if HEDGE.search(between) and not re.search(r"\band\b", between):
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
