"""Whether an equation of numbers holds, in exact arithmetic; None wherever a reader could see it either way."""

from collections.abc import Collection
from dataclasses import replace
from fractions import Fraction
from itertools import product

from markscheme.verifiers.equations import PERCENT_MARK, Equation, Side
from markscheme.verifiers.limits import MAX_ANSWER_CHARS
from markscheme.verifiers.patterns import compiled_later
from markscheme.verifiers.reading import read
from markscheme.verifiers.units import measure_of, unit_name

_DECIMAL = compiled_later(r"[0-9]*\.[0-9]+")
_FIGURES_OF_A_ROUNDED_NUMBER = 3
"""A decimal of so many figures may itself be rounded: 33.3, 0.167."""
_MOST_DECIMALS = 6
"""Of a side, whose rounding is followed up."""
_FULL_FIGURES = 12
"""A decimal of so many is a computer's number written out: 0.09999999999999998."""
_LOOSE = Fraction(1, 10)
"""Relative difference that an approximate sign may hide."""
_MONEY = frozenset({"dollar", "dollars", "¥", "￥", "€", "£", "₹"})
_HUNDREDTHS = frozenset({"dollar", "dollars", "cent", "cents", "percent"})
_SECONDS_A_MONTH = 2_629_746


def holds(equation: Equation, moduli: Collection[int] = ()) -> bool | None:
    """True if the two sides are equal, or as equal as rounding lets them be; False if no reading makes them so.

    None if a side has no exact value, if two bare numbers leave nothing to work out, or if the sides differ in one
    reading and not in another: words that may belong to a side, rounded numbers carried on, units, remainders.

    Args:
        moduli: of the remainders that the text reckons with.
    """
    left, right = equation.left, equation.right
    if left.bare and right.bare:
        return None
    pairs = list(product(_values(left), _values(right)))
    if not pairs:
        return None
    if any(a == b or _rounds_to(a, right, b, equation.approximate) for a, b in pairs):
        return True
    carried = [] if right.bare else [Fraction(number) for number in right.numbers if number[0] != "("]
    if any(a in carried for a, _ in pairs):
        return True if equation.goes_on else None  # 5 * 3 = 15 + 2 = 17: written on as it is worked out
    if equation.doubt or _is_converted(left, right):
        return None
    if any(_may_be_meant(a, b, equation) or any(_is_multiple(a - b, m) for m in moduli) for a, b in pairs):
        return None
    return False


def may_be_cut_off(equation: Equation) -> bool:
    """Whether a wrong equation would be right with more digits or signs behind it: 64 + 81 = 1."""
    right = equation.right
    return not right.bare or any(
        str(abs(value.numerator) // value.denominator).startswith(right.numbers[0]) for value in _values(equation.left)
    )


def _values(side: Side) -> set[Fraction]:
    """The values of a side: with percent signs as hundredths, and with percent signs as a unit."""
    texts = {side.text.replace(PERCENT_MARK, "/100"), side.text.replace(PERCENT_MARK, "")}
    return {value for text in texts if len(text) <= MAX_ANSWER_CHARS and (value := read(text).number) is not None}


def _rounds_to(value: Fraction, side: Side, written: Fraction, approximate: bool) -> bool:
    """Whether a side is a number to which a value is rounded or at which it is cut off; to an integer only behind ≈."""
    if not side.bare or side.numbers[0][0] == "(":
        return False
    digits = side.numbers[0]
    difference = abs(value - written)
    if "." in digits and len(digits.replace(".", "").lstrip("0")) >= _FULL_FIGURES:
        return bool(difference <= abs(value) / 10 ** (_FULL_FIGURES - 2))
    decimals = len(digits.partition(".")[2])
    if not approximate and (not decimals or value.denominator == 1):
        return False
    unit = Fraction(1, 10**decimals)
    if not decimals:
        unit *= 10 ** (len(digits) - len(digits.rstrip("0")))
    if written != Fraction(digits) and PERCENT_MARK in side.text:
        unit /= 100
    return bool(difference <= unit / 2 or (difference < unit and abs(written) < abs(value)))


def _is_converted(left: Side, right: Side) -> bool:
    """Whether an equation may convert units: hours and minutes, dollars and cents, 7 knicks and 2 knacks."""
    if left.simple and left.units - _MONEY and left.units != right.units:
        return True
    if left.bare and PERCENT_MARK in right.text and PERCENT_MARK not in left.text:
        return True  # 48 = 100% + 20%
    sizes: dict[str, set[Fraction]] = {}
    for word in {word for unit in left.units | right.units for word in unit.split()}:
        name = unit_name(word)
        measured = measure_of(name) if name else None
        if measured is not None:
            measure, size = measured
            if measure == "months":
                measure, size = "time", size * _SECONDS_A_MONTH
            sizes.setdefault(measure, set()).add(size)
    return any(len(different) > 1 for different in sizes.values())


def _may_be_meant(a: Fraction, b: Fraction, equation: Equation) -> bool:
    """Whether two values differ as rounded numbers do, or by a factor that units explain."""
    left, right = equation.left, equation.right
    difference, larger, smaller = abs(a - b), max(abs(a), abs(b)), min(abs(a), abs(b))
    units = left.units | right.units
    if smaller and larger / smaller in (1_000, 1_000_000):
        return True  # 5 * 3 = 15,000 where the 5 are thousands
    if smaller and larger / smaller == 100 and units & _HUNDREDTHS:
        return True
    if len(units) > 1 and 1 in (a, b):
        return True
    wholes = [side.bare and value.denominator == 1 for side, value in ((left, a), (right, b))]
    if difference < 1 and any(wholes) and "frac" not in left.text and (a.denominator > 1 or b.denominator > 1):
        return True  # 7 / 2 = 3 whole boxes
    if equation.approximate and difference <= _LOOSE * larger:
        return True
    return difference <= _slack(left, a) + _slack(right, b)


def _slack(side: Side, value: Fraction) -> Fraction:
    """How far a side may lie from what it would be if none of its decimals were rounded."""
    slack = Fraction(0)
    for count, decimal in enumerate(_DECIMAL.finditer(side.text)):
        if len(decimal[0].replace(".", "").lstrip("0")) < _FIGURES_OF_A_ROUNDED_NUMBER:
            continue
        if count >= _MOST_DECIMALS:
            return abs(value)
        half = Fraction(1, 2 * 10 ** len(decimal[0].partition(".")[2]))
        moved = f"{side.text[: decimal.start()]}({decimal[0]} + {half}){side.text[decimal.end() :]}"
        values = _values(replace(side, text=moved))
        slack += min((abs(other - value) for other in values), default=abs(value))
    return slack


def _is_multiple(difference: Fraction, modulus: int) -> bool:
    return difference.denominator == 1 and difference.numerator % modulus == 0
