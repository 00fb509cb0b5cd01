"""What the lenient policy takes of a text that states no answer: something of its last line."""

import re
from collections.abc import Iterator

from markscheme.verifiers.limits import MAX_NUMBER_CHARS
from markscheme.verifiers.numeric_answers import CALCULATOR_MARK
from markscheme.verifiers.patterns import compiled_later
from markscheme.verifiers.reading import read
from markscheme.verifiers.statements import BOLD, FORMULA_SPAN, HEDGE, JOINING, AnswerKind, Statement, is_value

_NUMBER = compiled_later(
    r"(?<![A-Za-z0-9_.])[-−]?\$?(?:[0-9][0-9,]*(?:\.[0-9]+)?|\.[0-9]+)(?:[eE][-+]?[0-9]+|(?::[0-9]+)+|/[0-9]+)?%?"
)
_MONEY = compiled_later(r"\$\d[^$]*(?:\s\$|\$(?=\s*\d))")
"""Two dollars that are no formula, as in `$5 and $3` and `$5-$3`."""
_GRADE = compiled_later(
    r"\b(?:score|reward|grade|rating|confidence|label|verdict|gold|reference)\b[\"'*]*\s?[:=]\s?[\"']?$", re.IGNORECASE
)
_SUPPOSITION = compiled_later(
    r"\b(?:suppose|assume|assuming|impossible|contradict\w*|grader|verifier|answer is|answer would be|answer has|wrong"
    r"|for example|I would (?:first|begin|start|need|have)|I will (?:state|give|first|begin|start|now|then)|I could not"
    r"|let us|let me|are asked|not been able)\b|answer\"\s*:\s*null|n'est pas|\bnicht\b|\bno es\b",
    re.IGNORECASE,
)
"""Also words that announced an answer in vain."""
_CUT_OFF = compiled_later(r"[.!?。！？]\s*[^\W\d_][^.!?。！？]*[\w,，]$")
"""Behind an answer: a sentence that was not finished."""
_NOT = compiled_later(r"not\b|n't\b")
_OPERATOR = compiled_later(r"(?:[+*/^×÷·√_]|[\^_]\{|\\(?:sqrt|d?frac)\{)\s*$|[a-z]\($")
"""In front of a number: it is a part of a value."""
_HEDGE_CHARS = 8
"""Right in front of the only number: ... or 7."""
_MOST_MENTIONS = 3
"""Of one number in the last line: so many are a guess repeated."""
_LONGEST_LINE_CHARS = 4_000


def last_line(text: str) -> Statement | None:
    """Bold print that holds a value, else the last formula or number of the last line, else the line as a whole.

    Several with nothing but commas between them are one list, as boxes are.
    """
    text = text.rstrip()
    begin = max(text.rfind("\n") + 1, len(text) - _LONGEST_LINE_CHARS)
    line = CALCULATOR_MARK.sub(lambda note: " " * len(note[0]), text[begin:])
    if line.endswith(("?", "？")):
        return None
    bold = [Statement(match[1].strip(" .,"), AnswerKind.BOLD, *match.span()) for match in BOLD.finditer(line)]
    found = [statement for statement in bold if is_value(statement.answer)] or list(_formulas_and_numbers(line))
    if not found:
        return _whole_line(line, begin)
    if found[-1].kind is AnswerKind.LAST_NUMBER and len(found[-1].answer) > MAX_NUMBER_CHARS:
        return None  # a model that cannot stop writing digits states nothing
    last, before = found[-1], line[found[-2].end if len(found) > 1 else 0 : found[-1].start]
    if any(words.search(before) for words in (_NOT, _OPERATOR, _GRADE)) or _SUPPOSITION.search(
        _sentence_of(line, last)
    ):
        return None
    if _CUT_OFF.search(line, last.end):
        return None
    if HEDGE.search(before if len(found) > 1 else before[-_HEDGE_CHARS:]):
        return None
    if "=" not in line and [statement.answer for statement in found].count(last.answer) >= _MOST_MENTIONS:
        return None
    first = len(found) - 1
    while first and JOINING.fullmatch(line, found[first - 1].end, found[first].start):
        first -= 1
    answer = line[found[first].start : last.end] if found[first] is not last else last.answer
    return Statement(answer, last.kind, begin + found[first].start, begin + last.end)


def _sentence_of(line: str, found: Statement) -> str:
    """The sentence that it stands in, and the rest of the line."""
    return line[max(line.rfind(end, 0, found.start) for end in (". ", "? ", "! ", "。", ": ")) + 1 :]


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
    while span := FORMULA_SPAN.search(line, at):
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
