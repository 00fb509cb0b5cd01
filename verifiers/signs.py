r"""Prose with formulas in it, cut into signs: numbers, operators, words, brackets; plain text, Markdown and LaTeX.

Spaces, fonts, degree marks, list marks and display marks between operands leave no trace. One pattern of which each
alternative begins with characters of its own: the time grows with the length of the text and no faster.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache

from markscheme.verifiers.equation_words import KNOWN_WORDS
from markscheme.verifiers.patterns import compiled_later
from markscheme.verifiers.units import unit_name


class Kind(StrEnum):
    NUMBER = "number"
    OPERATOR = "operator"
    OPEN = "open"
    CLOSE = "close"
    GROUP = "group"
    """A whole bracket; the walk over the signs makes it."""
    COMMAND = "command"
    """One that takes arguments, such as a fraction."""
    PERCENT = "percent"
    SUFFIX = "suffix"
    """A factorial or raised digits."""
    UNIT = "unit"
    WORD = "word"
    RELATION = "relation"
    """An equals sign or, with the text "~", an approximate one."""
    UNKNOWN = "unknown"
    """What no equation of numbers holds: a letter, a function, dots, a plus-minus sign."""
    BREAK = "break"
    """Nothing goes on beyond it: a comma, the end of a sentence, another relation."""
    ROW = "row"
    """The end of a line or of a row of a display: a row that begins with an equals sign goes on."""
    CUT = "cut"
    """Words that are no units; the walk over the signs makes it."""


OPERANDS = frozenset({Kind.NUMBER, Kind.GROUP, Kind.CLOSE, Kind.PERCENT, Kind.SUFFIX})
"""What an operand may end in."""
DISPLAYS = frozenset({r"\[", r"\]", r"\(", r"\)", "$$"})


@dataclass(slots=True)
class Item:
    """A sign, a number, a word, or a whole bracket."""

    kind: Kind
    text: str
    start: int
    end: int
    parts: "list[Item]" = field(default_factory=list)
    """Of a bracket, what stands in it; of a cut, its words."""
    doubt: bool = False
    """Whether it may mean something else."""
    size: int = 1
    """Of a bracket, the signs in it."""
    depth: int = 0
    """Of a bracket, how many stand within one another."""


_RELATION_NAMES = (
    "le|leq|leqslant|ge|geq|geqslant|ne|neq|lt|gt|to|rightarrow|Rightarrow|implies|iff|Leftrightarrow|longrightarrow"
    "|Longrightarrow|Longleftrightarrow|equiv|in|notin|subset|subseteq|therefore|because|sim|cong|propto|mid|quad|qquad"
    "|checkmark|hline|item|newline"
)
_UNSEEN_NAMES = (
    "left|right|displaystyle|textstyle|limits|[bB]igg?[lr]?|boxed|fbox|mathbf|bf|boldsymbol|bm|mathit|cancel|ensuremath"
)
_SIGN_PATTERN = rf"""
    (?P<space>(?:[ \t\r\f\v~\u00a0\u2009\u202f\u3000]|\\[,;:!>\ ]|\\(?:{_UNSEEN_NAMES})(?![a-zA-Z]))+)
    |(?P<row>\n|\\\\(?:\[[^\]\n]{{0,20}}\])?|\\(?:begin|end)\s?\{{[a-zA-Z]{{1,20}}\*?\}}(?:\{{[clr|\s]{{0,20}}\}})?)
    |(?P<display>\\[()\[\]]|\$\$)
    |(?P<money>\\?[$＄]|[¥￥€£₹])
    |\\(?:text[a-z]{{0,6}}|mathrm|mbox|hbox)\s?\{{(?P<words>[^{{}}\n]{{0,200}})\}}
    |(?P<number>(?:[0-9]{{1,3}}(?:(?:,|\{{,\}}|\\,|,?\\!)[0-9]{{3}})+(?![0-9])|[0-9]+)(?:\.[0-9]+)?|\.[0-9]+)
    |(?P<break><=|>=|(?<=\s)!=|=>|:=|[-+*/]=|--?>|[≠≤≥<>≡→⇒⟹⇔∴∵∈✓✔❌;；"“”`#，。！？•]
        |\\(?:{_RELATION_NAMES})(?![a-zA-Z]))
    |(?P<approximate>\\(?:approx|simeq|doteq|thickapprox)(?![a-zA-Z])|[≈≒≃])
    |(?P<equal>={{1,3}}|＝)
    |(?P<degree>\^\s?\{{?\s?\\circ\s?\}}?|[°º]|\\degree(?![a-zA-Z]))
    |(?P<percent>\\?[%％])
    |(?P<operator>\\(?:times|cdot|div)(?![a-zA-Z])|[-+*/^×⋅∙·÷−–—∕⁄＋])
    |(?P<argued>\\(?:[dtc]?frac|sqrt|[dt]?binom)(?![a-zA-Z])|[√∛])
    |(?P<cross>[xX](?=[0-9]))
    |(?P<unknown>\.\.\.+|…|\\[a-zA-Z]+\*?|[A-Za-z]+[0-9_]\w*|\\[^a-zA-Z]|[\u0370-\u03ff]
        |[_'′ⁿⁱʰ-ʸᵃ-ᶿ₀-ₜ½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞∞±∓∑∏∫△∠])
    |(?P<raised>[²³¹⁰⁴⁵⁶⁷⁸⁹]+)
    |(?P<letter>[A-Za-z](?![A-Za-z'’]))
    |(?P<word>[A-Za-z]+(?:[-'’][A-Za-z]+){{0,5}}[’']?|[^\W\d_a-zA-Z²³¹⁰⁴-⁹]+)
    |(?P<factorial>!)
    |(?P<open>[(\[{{（])
    |(?P<close>[)\]}}）])
    |(?P<comma>[,、])
    |(?P<colon>[:：∶])
    |(?P<ampersand>&)
    |(?P<bar>[|∣])
    |(?P<stop>[.?])
    """
_OPERATORS = {
    r"\times": "*", r"\cdot": "*", r"\div": "/", "×": "*", "⋅": "*", "∙": "*", "·": "*", "÷": "/", "−": "-",
    "–": "-", "—": "-", "∕": "/", "⁄": "/", "＋": "+",
}  # fmt: skip
_BRACKETS = {"（": "(", "）": ")"}
_LIST_MARK = compiled_later(r"[ \t]*(?:(?:[-*•>#]+|\(?[0-9]{1,2}[.)]|\([a-z]\))[ \t]+)+(?=\S)")
_TABLE_ROW = compiled_later(r"[ \t]*\|")
_POWER_STARS = compiled_later(r"\*\*(?=\s?[0-9(.])")
_TIMES = compiled_later(r"[ \t]{0,3}(?:\\?\$)?\s?[0-9.(]")
"""Behind an x that is a multiplication sign."""
_AMOUNT = compiled_later(r"(?:[ \t]|\\ )*[0-9.]")
_GOES_ON = compiled_later(r"[\s&$]{0,8}(?:[-+*/=≈×÷]|\\(?:times|cdot|div|approx)(?![a-zA-Z]))")
_PROSE = compiled_later(r"\s+(?:[a-zA-Z]{2,}|[$0-9])")
_LONGEST_LETTERS = 2
"""Letters in a row that may be variables and are no unit: 2 ab."""
_LONGEST_NAME = 4
"""Capitals in a row that may name a segment, an angle or a quadrilateral."""
_MATRIX = compiled_later(r"\\(begin|end)\s?\{(?:(?:[pbvBV]|small)?matrix|array|tabular)")
_OPENS_FORMULA = compiled_later(r"[^\s$0-9.,;:!?)]")
_THOUSANDS = compiled_later(r"\s[0-9]{3}(?![0-9])")


def items_of(text: str, offset: int) -> Iterator[Item]:
    """The signs of a text, with their offsets from `offset` on; a ROW ends them."""
    at_row_start, in_table, position, matrices = True, False, 0, 0
    previous = Item(Kind.ROW, "\n", offset, offset)
    pattern = _sign()
    while position < len(text):
        if at_row_start:
            in_table = _TABLE_ROW.match(text, position) is not None
            if mark := _LIST_MARK.match(text, position):
                position = mark.end()
            at_row_start = False
        match = pattern.match(text, position)
        item = Item(Kind.UNKNOWN, "?", offset + position, offset + position + 1) if match is None else None
        position = match.end() if match else position + 1
        if match is not None:
            item = _item(match, text, offset, previous)
            if item is not None and item.text == "^" and match[0] == "*":
                position += 1
            elif match[0] == "*" and text.startswith("**", match.start()):
                position += 1
                continue
            if matrix := _MATRIX.match(match[0]):
                matrices += 1 if matrix[1] == "begin" else -min(matrices, 1)
                item = Item(Kind.UNKNOWN, match[0], offset + match.start(), offset + match.end())
            elif matrices and item is not None and (item.kind is Kind.ROW or item.text == "&"):
                item.kind = Kind.UNKNOWN
            elif in_table and match.lastgroup == "bar" and item is not None:
                item.kind = Kind.BREAK
        if item is not None:
            in_display = previous.kind is Kind.ROW and previous.text.startswith("\\\\")
            at_row_start = item.kind is Kind.ROW and item.text == "\n" and not in_display
            previous = item
            yield item
    yield Item(Kind.ROW, "\n", offset + len(text), offset + len(text))


@lru_cache(maxsize=1)
def _sign() -> re.Pattern[str]:
    """Compiled when first needed: that takes longer than importing the room."""
    return re.compile(_SIGN_PATTERN, re.VERBOSE)


def _item(match: re.Match[str], text: str, offset: int, previous: Item) -> Item | None:
    """What a sign is, here; None if it leaves no trace."""
    name, (start, end) = match.lastgroup or "", match.span()
    sign, after = match[name], text[end : end + 1]
    spaced = start == 0 or text[start - 1].isspace()
    attached = previous.end == offset + start

    def item(kind: Kind, sign: str = sign, *, doubt: bool = False) -> Item:
        return Item(kind, sign, offset + start, offset + end, doubt=doubt)

    match name:
        case "space" | "degree":
            return None
        case "number":
            number = re.sub(r"[^0-9.]", "", sign)
            is_clock = len(number) > 1 and number[0] == "0" and number[1] != "."
            return item(Kind.UNKNOWN if is_clock else Kind.NUMBER, number, doubt="," in sign and "{" not in sign)
        case "operator":
            if sign == "*" and attached and previous.kind in OPERANDS and _POWER_STARS.match(text, start):
                return item(Kind.OPERATOR, "^")
            return item(Kind.OPERATOR, _OPERATORS.get(sign, sign))
        case "equal" | "approximate":
            return item(Kind.RELATION, "=" if name == "equal" else "~")
        case "argued" | "percent" | "raised" | "open" | "close" | "row":
            return item(_KINDS[name], _BRACKETS.get(sign, sign))
        case "factorial":
            return item(Kind.SUFFIX if attached and previous.kind in OPERANDS else Kind.BREAK)
        case "break":
            return item(Kind.BREAK, doubt=sign in ("≡", r"\equiv"))
        case "display":
            joins = previous.kind in (Kind.OPERATOR, Kind.RELATION) or _GOES_ON.match(text, end)
            return None if joins else item(Kind.BREAK)
        case "money":
            amount = _AMOUNT.match(text, end)
            if sign == "\\$" and amount and previous.kind in OPERANDS:
                return item(Kind.UNKNOWN)  # an operation of the problem's own
            if amount and previous.kind not in OPERANDS:
                return item(Kind.UNIT, "dollar" if sign.endswith(("$", "＄")) else sign)
            alone = spaced and previous.kind not in (Kind.OPERATOR, Kind.RELATION, Kind.OPEN)
            return item(Kind.BREAK) if alone and _OPENS_FORMULA.match(after) else None
        case "comma":
            behind_number = previous.kind is Kind.NUMBER and attached
            doubt = behind_number and _THOUSANDS.match(text, end) is not None
            return item(Kind.UNKNOWN if behind_number and after.isdigit() else Kind.BREAK, doubt=doubt)
        case "colon":
            ratio = previous.kind is Kind.NUMBER and after and (spaced or not after.isspace())
            return item(Kind.UNKNOWN if ratio else Kind.BREAK, doubt=spaced)
        case "ampersand":
            return None if previous.kind is Kind.RELATION or _GOES_ON.match(text, end) else item(Kind.BREAK)
        case "stop":
            goes_on = after.isalnum() or text.startswith(("\\overline", "\\dot", "\\bar"), end)
            return item(Kind.UNKNOWN if goes_on else Kind.BREAK)
        case "words":
            if not sign.strip():
                return None
            plain = not any(character.isdigit() or character in "=\\" for character in sign)
            return item(Kind.WORD if plain else Kind.UNKNOWN, sign.strip().lower())
        case "word":
            is_name = len(sign) <= _LONGEST_LETTERS or (attached and previous.kind in (Kind.NUMBER, Kind.CLOSE))
            is_known = unit_name(sign) or (sign.lower() in KNOWN_WORDS and not sign.isupper())
            if sign.isascii() and not is_known and (is_name or (sign.isupper() and len(sign) <= _LONGEST_NAME)):
                return item(Kind.UNKNOWN)
            return item(Kind.WORD, sign.lower())
        case "letter" | "cross":
            return item(*_letter(sign, text, end, previous, spaced))
        case _:
            return item(Kind.UNKNOWN)


_KINDS = {
    "argued": Kind.COMMAND, "percent": Kind.PERCENT, "raised": Kind.SUFFIX, "open": Kind.OPEN, "close": Kind.CLOSE,
    "row": Kind.ROW,
}  # fmt: skip


def _letter(sign: str, text: str, end: int, previous: Item, spaced: bool) -> tuple[Kind, str]:
    """x between numbers multiplies; a, A and I in front of a word are words."""
    if sign in "xX" and _TIMES.match(text, end):
        if previous.kind in OPERANDS or (previous.kind is Kind.WORD and spaced):
            return Kind.OPERATOR, "*"
    elif sign in "aAI" and spaced and _PROSE.match(text, end):
        return Kind.WORD, sign.lower()
    return Kind.UNKNOWN, sign
