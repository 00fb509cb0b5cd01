r"""The equations of numbers that a text writes: 3 + 4 = 7, `<<48/2=24>>`, \frac{6}{2} = 3, 20% of $50 = $10.

The signs are gathered into rows and brackets; each of these is cut into stretches at commas, ends of sentences and
words that are no units, and each stretch into sides at its equals signs. A side that holds a letter, a list or dots is
no side of an equation of numbers. Time and memory grow with the length of the text and no faster.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from markscheme.verifiers.equation_words import (
    ARTICLES,
    CHANGING,
    JOINING,
    NOT_UNITS,
    PERCENT_WORDS,
    QUANTITIES,
    SPOKEN_OPERATORS,
    STATING,
)
from markscheme.verifiers.limits import MAX_ANSWER_CHARS
from markscheme.verifiers.patterns import compiled_later
from markscheme.verifiers.reading import read
from markscheme.verifiers.signs import DISPLAYS, OPERANDS, Item, Kind, items_of
from markscheme.verifiers.units import unit_name

MAX_SIGNS = 15_000
"""Of the paragraphs with an equals sign: 0.2 to 0.4 s of work. Of 2,800 outputs for MATH ten have more."""
MAX_SIDE_SIGNS = 150
"""Of a side that is read; a longer one is left alone."""
MAX_BRACKETS = 12
"""Within one another."""
MAX_BITS = 4_000
"""Of a side's value, as its powers and factorials let one fear: 2^1000 has 1,001."""
PERCENT_MARK = "§"
"""Stands in a side's text where a percent sign divides by 100."""
_MOST_UNIT_WORDS = 3
"""Words behind a number that may be its unit: 8 red apples."""
_SHORTEST_REMARK = 4
"""Letters in a bracket behind a number that are no product of variables."""
_CLOSING = {"(": ")", "[": "]", "{": "}"}
_CALCULATOR = compiled_later(r"<<([^<>\n]{1,200})>>")
_PARAGRAPH = compiled_later(r"[^\n]+(?:\n[^\n]+)*")
_RELATION = compiled_later(r"[=＝≈≒≃]|\\(?:approx|simeq|doteq|thickapprox)(?![a-zA-Z])")
_IN_FRONT = frozenset({Kind.RELATION, Kind.BREAK, Kind.WORD, Kind.UNIT})
"""Of a brace that only dresses what it holds."""
_START = Item(Kind.ROW, "", 0, 0)


class TooLongError(ValueError):
    """A text is too long, or has too many equations, to be checked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One side of an equation of numbers."""

    text: str
    """For the parser: without units and currency signs."""
    start: int
    end: int
    """Offsets in the text it was found in."""
    bare: bool
    """Whether it is one number and no expression."""
    simple: bool
    """Whether it is a number or a fraction of two."""
    numbers: tuple[str, ...]
    """The numbers that stand in no bracket."""
    units: frozenset[str]
    doubt: bool
    """Whether it can be read in another way too."""
    doubtful_start: bool = False
    """Whether it may begin earlier than it seems to."""


@dataclass(frozen=True, slots=True)
class Equation:
    """Two neighbouring sides of a chain."""

    left: Side
    right: Side
    approximate: bool
    goes_on: bool
    """Whether another side follows."""
    doubt: bool
    """Whether the words around leave open where it begins or ends, or one of its sides can be read in two ways."""


def equations(text: str) -> Iterator[Equation]:
    """The equations of a text: those of calculator marks first, then the others row by row.

    Raises:
        TooLongError: if the paragraphs that hold an equals sign have more than MAX_SIGNS signs.

    >>> [(one.left.text, one.right.text) for one in equations("So 3 apples + 4 apples = 7 apples = $7.")]
    [('3 + 4', '7'), ('7', '7')]
    """
    count = 0

    def signs(start: int, end: int) -> Iterator[Item]:
        nonlocal count
        for item in items_of(text[start:end], start):
            count += 1
            if count > MAX_SIGNS:
                raise TooLongError(f"the equations and the words around them have more than {MAX_SIGNS} signs")
            yield item

    for mark in _CALCULATOR.finditer(text):
        yield from _of_paragraph(signs(*mark.span(1)))
    text = _CALCULATOR.sub(lambda mark: " " * len(mark[0]), text)
    for paragraph in _PARAGRAPH.finditer(text):
        if _RELATION.search(text, *paragraph.span()):
            yield from _of_paragraph(signs(*paragraph.span()))


def _of_paragraph(signs: Iterator[Item]) -> Iterator[Equation]:
    opened: list[tuple[Item, list[Item]]] = []
    items: list[Item] = []
    held: list[Equation] = []
    carried: Side | None = None
    dangling = False
    for item in signs:
        if item.kind is Kind.OPEN:
            opened.append((item, items))
            items = []
        elif item.kind is Kind.CLOSE:
            if not opened or _CLOSING[opened[-1][0].text] != item.text:
                items.append(replace(item, kind=Kind.BREAK, doubt=True))
                continue
            opening, outer = opened.pop()
            if any(one.kind is Kind.RELATION for one in items):
                item.kind = Kind.BREAK
                yield from _of_row(items, item, None)[0]
            outer.append(_group(opening, items, item, outer))
            items = outer
        elif item.kind is Kind.ROW:
            row = _without_brackets(opened, items)
            first = next((one.kind for one in row if one.kind is not Kind.BREAK), None)
            if held and first is Kind.OPERATOR:  # the sum goes on in this row
                held[-1] = replace(held[-1], doubt=True)
            if row:
                yield from held
                held, carried = _of_row(row, item, carried, dangling=dangling)
                dangling = _is_dangling(row)
            opened, items = [], []
        else:
            items.append(item)
    yield from held


def _without_brackets(opened: list[tuple[Item, list[Item]]], items: list[Item]) -> list[Item]:
    """The items of a row whose open brackets never close: these only separate."""
    row: list[Item] = []
    for opening, outer in opened:
        row += [*outer, replace(opening, kind=Kind.BREAK, doubt=True)]
    return row + items if opened else items


def _group(opening: Item, items: list[Item], closing: Item, outer: list[Item]) -> Item:
    """A bracket as one item; with a remark in it, behind an operand, it separates."""
    parts = _with_words(items)
    kinds = {part.kind for part in parts}
    if kinds == {Kind.CUT} and opening.text == "(" and outer and outer[-1].kind is Kind.NUMBER:
        words = [word.text for word in parts[0].parts]
        if outer[-1].end < opening.start and words[0] not in QUANTITIES and len(" ".join(words)) >= _SHORTEST_REMARK:
            return Item(Kind.UNIT, "remark", opening.start, closing.end)  # 100 (first day)
    size, depth = sum(part.size for part in parts) + 2, max((part.depth for part in parts), default=0) + 1
    kind = Kind.GROUP
    if kinds & {Kind.CUT, Kind.RELATION, Kind.BREAK}:
        apart = bool(outer) and outer[-1].end < opening.start and opening.text == "("
        kind = Kind.BREAK if apart else Kind.UNKNOWN
    if size > MAX_SIDE_SIGNS or depth > MAX_BRACKETS:
        kind, parts = Kind.UNKNOWN, []
    elif opening.text == "{" and len(parts) == 1 and (not outer or outer[-1].kind in _IN_FRONT):
        return replace(parts[0], start=opening.start, end=closing.end)  # \\boxed{7}
    return Item(kind, opening.text, opening.start, closing.end, parts, size=size, depth=depth)


# Words become operators, units, or the end of an expression.


def _with_words(items: Sequence[Item]) -> list[Item]:
    found: list[Item] = []
    number_before = False
    k = 0
    while k < len(items):
        item = items[k]
        if item.kind is Kind.WORD:
            k = _read_words(found, items, k, number_before)
        elif item.kind is Kind.NUMBER and _is_mixed(items, k, found):
            whole, below = found.pop(), items[k + 2]
            found.append(replace(whole, text=f"({whole.text} + {item.text}/{below.text})", end=below.end))
            k += 3
        else:
            number_before = item.kind is Kind.NUMBER or (number_before and item.kind is not Kind.BREAK)
            found.append(item)
            k += 1
    return found


def _is_mixed(items: Sequence[Item], k: int, found: list[Item]) -> bool:
    """1 3/4: a whole number in front of a proper fraction."""
    if not found or found[-1].kind is not Kind.NUMBER or len(items) < k + 3 or items[k + 1].text != "/":
        return False
    numbers = [found[-1].text, items[k].text, items[k + 2].text]
    short = all(number.isdigit() and len(number) < 5 for number in numbers)
    return short and items[k + 2].kind is Kind.NUMBER and int(numbers[1]) < int(numbers[2])


def _read_words(found: list[Item], items: Sequence[Item], k: int, number_before: bool) -> int:
    """Appends what the run of words from `k` on is; returns where to go on."""
    run = k
    while run < len(items) and items[run].kind is Kind.WORD:
        run += 1
    behind = bool(found) and found[-1].kind in OPERANDS
    if not behind and len(found) > 1 and found[-1].text == "/" and found[-2].kind in (*OPERANDS, Kind.UNIT):
        found.pop()  # 5 dollars/hour
        behind = True
    if behind and items[k].text in PERCENT_WORDS:
        found.append(replace(items[k], kind=Kind.PERCENT, text="%"))
        k += 1
        if k == run:
            return run
    words = [word.text for word in items[k:run]]
    following = items[run].kind if run < len(items) else Kind.ROW
    spoken = SPOKEN_OPERATORS.get(" ".join(words))
    whole = replace(items[k], end=items[run - 1].end, text=" ".join(words))
    if behind and spoken and following in (Kind.NUMBER, Kind.GROUP, Kind.COMMAND, Kind.UNIT):
        found.append(replace(whole, kind=Kind.OPERATOR, text=spoken, doubt=True))
        return run
    ends = following in (Kind.OPERATOR, Kind.RELATION, Kind.SUFFIX, Kind.BREAK, Kind.ROW)
    if behind and ends and len(words) <= _MOST_UNIT_WORDS and not NOT_UNITS & set(words):
        found.append(replace(whole, kind=Kind.UNIT))
        return _behind_power(items, run)
    if behind and unit_name(words[0]) and words[0] not in NOT_UNITS:
        found.append(replace(items[k], kind=Kind.UNIT))
        k += 1
    if k < run:
        found.append(replace(whole, kind=Kind.CUT, start=items[k].start, parts=list(items[k:run]), doubt=number_before))
    return run


def _behind_power(items: Sequence[Item], at: int) -> int:
    """Skips the power of a unit, as in cm^2: it is none of the number."""
    if at + 1 < len(items) and items[at].text == "^":
        return at + 2
    return at + 1 if at < len(items) and items[at].kind is Kind.SUFFIX else at


# Stretches and their sides.


def _of_row(
    items: Sequence[Item], end: Item, carried: Side | None, *, dangling: bool = False
) -> tuple[list[Equation], Side | None]:
    """The equations of a row or bracket, and the side with which the next row may go on."""
    found: list[Equation] = []
    before, stretch = _START, list[Item]()
    for item in [*_with_words(items), end]:
        if item.kind not in (Kind.BREAK, Kind.CUT, Kind.ROW):
            stretch.append(item)
            continue
        if stretch:
            more, carried = _of_stretch(stretch, before, item, carried, dangling)
            found += more
            dangling = _is_dangling(stretch)
        elif item.kind is not Kind.ROW and item.text not in DISPLAYS:
            carried, dangling = None, False
        before, stretch = item, []
    return found, carried


def _is_dangling(items: Sequence[Item]) -> bool:
    """Whether an expression goes on beyond the break behind it: it ends in an operator or a function, \\log_{2}."""
    last = items[-2:][0] if items[-1].kind is Kind.GROUP else items[-1]
    return last.kind in (Kind.OPERATOR, Kind.COMMAND) or (last.kind is Kind.UNKNOWN and last.text[0] in "\\_")


def _of_stretch(
    stretch: Sequence[Item], before: Item, after: Item, carried: Side | None, dangling: bool
) -> tuple[list[Equation], Side | None]:
    sides: list[list[Item]] = [[]]
    signs: list[str] = []
    for item in stretch:
        if item.kind is Kind.RELATION:
            signs.append(item.text)
            sides.append([])
        else:
            sides[-1].append(item)
    ends_row = after.kind is Kind.ROW or after.text in DISPLAYS
    if not signs and not ends_row:
        return [], None
    read = [_side(side) for side in sides]
    if read[0] is not None:
        read[0] = _first_side(read[0], sides[0], before, dangling)
    elif not sides[0] and (before.kind is Kind.ROW or before.text in DISPLAYS):
        read[0] = carried
    found: list[Equation] = []
    for k, sign in enumerate(signs):
        left, right = read[k], read[k + 1]
        if left is not None and right is not None:
            last = k == len(signs) - 1
            doubt = left.doubt or right.doubt or left.doubtful_start or (last and _may_go_on(right, after))
            doubt = doubt or any(item.kind is Kind.OPERATOR and item.doubt for item in sides[k + 1])  # 1/8 of 2 feet
            found.append(Equation(left, right, sign == "~", not last, doubt))
    return found, read[-1] if ends_row else None


def _first_side(side: Side, items: Sequence[Item], before: Item, dangling: bool) -> Side | None:
    """The first side of a stretch, seen with what stands before it; None for a number behind words, which is a name."""
    doubt = dangling or items[0].text in ("+", "-") or (before.kind is Kind.BREAK and before.doubt)
    if before.kind is Kind.CUT:
        if side.bare:
            return None
        words = [word.text for word in before.parts]
        while len(words) > 1 and words[-1] in ARTICLES:
            words.pop()
        doubt = doubt or words[-1] in JOINING or (before.doubt and words[-1] not in STATING)
    return replace(side, doubtful_start=doubt)


def _may_go_on(right: Side, after: Item) -> bool:
    """Whether what stands behind an equation may belong to its last number."""
    if after.kind is not Kind.CUT:
        return after.kind is Kind.BREAK and after.doubt
    words = [word.text for word in after.parts[:2]]
    return bool(CHANGING & set(words)) or (words[0] == "and" and bool(right.units))


def _side(items: Sequence[Item]) -> Side | None:
    """A side made of numbers, operators and brackets; None if anything else is in it."""
    if not items or sum(item.size for item in items) > MAX_SIDE_SIGNS:
        return None
    writing = _Writing()
    if not writing.add(items):
        return None
    shape = ["/" if item.text == "/" else item.kind for item in items if item.kind is not Kind.UNIT]
    shape = shape[items[0].text in ("+", "-") :]
    bare = shape in ([Kind.NUMBER], [Kind.NUMBER, Kind.PERCENT])
    return Side(
        text=writing.text,
        start=items[0].start,
        end=items[-1].end,
        bare=bare,
        simple=bare or shape == [Kind.NUMBER, "/", Kind.NUMBER],
        numbers=tuple(item.text for item in items if item.kind is Kind.NUMBER),
        units=frozenset(writing.units),
        doubt=writing.doubt,
    )


class _Writing:
    """Items written as text for the parser."""

    def __init__(self) -> None:
        self.text = ""
        self.units: list[str] = []
        self.doubt = False
        self.bits = 0
        """More than the value's numerator and denominator can have."""

    def add(self, items: Sequence[Item]) -> bool:
        """Whether all items could be written."""
        self.doubt |= _is_ambiguous(items)
        pieces: list[str] = []
        previous: Item | None = None
        arguments = last_bits = 0
        raised = False
        for item in items:
            operand = previous is not None and previous.kind in OPERANDS
            bits, exponent = 1, raised and item.text != "-"
            match item.kind:
                case Kind.UNIT:
                    self.units += [item.text] if item.text else []
                    continue
                case Kind.NUMBER if not operand:
                    pieces.append(item.text)
                    bits = 4 * len(item.text)
                case Kind.OPERATOR:
                    pieces.append(item.text)
                    raised = item.text == "^" or (raised and item.text == "-")
                case Kind.COMMAND:
                    arguments = 1 if item.text in ("\\sqrt", "√", "∛") else 2
                    pieces.append(item.text)
                case Kind.GROUP if not operand or arguments or item.text != "{":
                    inner = _Writing()
                    if not inner.add(item.parts):
                        return False
                    self.units += inner.units
                    self.doubt |= inner.doubt
                    pieces.append(f"{item.text}{inner.text}{_CLOSING[item.text]}")
                    arguments -= item.text == "{" and arguments > 0
                    bits = inner.bits
                case Kind.PERCENT if operand:
                    pieces[-1] = f"({pieces[-1]}{PERCENT_MARK})"
                case Kind.SUFFIX if operand and previous is not None and previous.kind is not Kind.SUFFIX:
                    bits = _suffix_bits(item.text, pieces[-1], last_bits)
                    pieces.append(item.text)
                case _:
                    return False
            if exponent:
                value = read(pieces[-1]).number if bits < MAX_BITS else None
                if value is None:
                    return False
                bits, raised = last_bits * int(abs(value.numerator)), False
            self.bits += bits
            if self.bits > MAX_BITS:
                return False
            last_bits = bits if item.kind is not Kind.OPERATOR else last_bits
            previous = item
        self.text = " ".join(pieces)
        return bool(pieces) and len(self.text) <= MAX_ANSWER_CHARS


_RAISED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789")


def _suffix_bits(suffix: str, before: str, bits: int) -> int:
    """The bits of a factorial or of a power with raised digits."""
    if suffix == "!":
        return int(before) * len(before) * 4 if before.isdigit() and len(before) < 5 else MAX_BITS + 1
    return bits * int(suffix.translate(_RAISED)) if len(suffix) < 5 else MAX_BITS + 1


def _is_ambiguous(items: Sequence[Item]) -> bool:
    """Whether people write the same signs for something else: 6 / 2(3), 60 / 3/4, -2^2, 50 - 20%, 2^3^2, [7/2]."""
    signs = [item for item in items if item.kind is not Kind.UNIT]
    operators = [item for item in signs if item.kind is Kind.OPERATOR]
    if any(item.doubt for item in operators) and len(operators) > 1:
        return True
    percents = sum(item.kind is Kind.PERCENT for item in signs)
    operands = sum(item.kind in (Kind.NUMBER, Kind.GROUP) for item in signs)
    if 0 < percents < operands and any(item.text in ("+", "-") for item in operators):
        return True
    if signs and (signs[-1].text == "!" or (len(signs) == 1 and signs[0].text == "[")):
        return True
    if any(item.kind is Kind.GROUP and len(item.parts) == 1 and item.parts[0].doubt for item in signs):
        return True  # (28,365)
    divided = raised = False
    for k, item in enumerate(signs):
        before = signs[k - 1] if k else None
        if item.kind is Kind.OPERATOR:
            if item.text in ("+", "-") and before is not None and before.kind is Kind.OPERATOR:
                return True
            if (divided and item.text == "/") or (raised and item.text == "^"):
                return True
            if item.text == "^" and k > 1 and signs[k - 2].text == "-" and (k == 2 or signs[k - 3].text in "*/^"):
                return True
            divided = item.text == "/" or (divided and item.text == "^")
            raised = item.text == "^"
        elif before is not None and before.kind in OPERANDS and item.kind in (Kind.GROUP, Kind.COMMAND):
            if item.text == "(" and before.end < item.start and before.kind is Kind.NUMBER and len(item.parts) < 3:
                return True  # 42 (70%)
            is_argument = item.text == "{" or (k > 1 and signs[k - 2].kind is Kind.COMMAND)
            if (divided and not is_argument) or (item.text.endswith("frac") and before.kind is Kind.NUMBER):
                return True
    return False
