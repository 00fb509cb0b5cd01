"""Answers with an integer parameter, \\pm\\frac{\\pi}{3} + 2k\\pi: unions of progressions, compared as sets."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from markscheme.verifiers.evaluate import NoValueError, evaluate, symbols_of
from markscheme.verifiers.floating import Floating
from markscheme.verifiers.plus_minus import choices, count_signs
from markscheme.verifiers.relations import named_value
from markscheme.verifiers.replace import replaced
from markscheme.verifiers.scalars import equal_values
from markscheme.verifiers.tree import Function, Items, Node, Number, Product, Relation, Sum

MAX_PROGRESSIONS = 24
"""Of an answer, all brought to one period."""
_MOST_PERIODS = 60
"""Numerator and denominator of the quotient of two periods."""


@dataclass(frozen=True, slots=True)
class _Progression:
    offset: Node
    period: Node


def equal_families(
    a: Node, g: Node, of_a: tuple[tuple[str, str], ...], of_g: tuple[tuple[str, str], ...]
) -> bool | None:
    """Whether two answers with one integer parameter each take the same values; None if they are no such families.

    Args:
        of_a: (name, set) of each parameter of the answer; sets are Z, R, N, Q, C.
        of_g: those of the gold.
    """
    lines = _line(a, of_a), _line(g, of_g)
    if lines[0] is not None and lines[1] is not None:
        return _same_line(lines[0], lines[1])
    first, second = _progressions(a, of_a), _progressions(g, of_g)
    if first is None or second is None:
        return None
    if len(first) == len(second) == 1:
        period_a, period_g = first[0].period, second[0].period
        if equal_values(period_a, period_g) is not True and equal_values(period_a, _negative(period_g)) is not True:
            return False
        return _congruent(first[0].offset, second[0].offset, period_g)
    return _same_union(first, second)


def _progressions(node: Node, parameters: tuple[tuple[str, str], ...]) -> list[_Progression] | None:
    """Those that make up an answer; None if there is a part that is none."""
    if isinstance(node, Relation) and node.signs == ["equiv"]:
        residue = node.sides[1]
        if isinstance(residue, Function) and residue.name == "residue" and len(residue.arguments) == 2:
            return [_Progression(*residue.arguments)]
        return None
    if len(parameters) != 1 or parameters[0][1] != "Z":
        return None
    parts = list(node.items) if isinstance(node, Items) and node.brackets in ("", "{}") else [node]
    found: list[_Progression] = []
    for part in parts:
        _, value, _ = named_value(part)
        if isinstance(value, Items | Relation) or not 0 < len(parts) <= MAX_PROGRESSIONS or count_signs(value) > 1:
            return None
        for choice in choices(value):
            progressions = _linear(choice, parameters[0][0])
            if progressions is None:
                return None
            found += progressions
    return found


def _linear(value: Node, name: str) -> list[_Progression] | None:
    """An expression linear in its parameter, or linear for the even and the odd ones."""
    if name not in symbols_of(value):
        return None
    if (whole := _steps(value, name, first=0, by=1)) is not None:
        return [whole]
    even, odd = (_steps(value, name, first=first, by=2) for first in (0, 1))
    return None if even is None or odd is None else [even, odd]


def _steps(value: Node, name: str, *, first: int, by: int) -> _Progression | None:
    at = [replaced(value, name, Number(Fraction(first + k * by))) for k in range(3)]
    period = Sum([at[1], _negative(at[0])])
    if equal_values(Sum([at[2], _negative(at[1])]), period) is not True:
        return None
    return _Progression(at[0], period)


def _line(node: Node, parameters: tuple[tuple[str, str], ...]) -> list[_Progression] | None:
    """(3 + 5t, 1 - 2t): a progression for each coordinate; one that does not change has the period 0."""
    point = named_value(node)[1]
    if len(parameters) != 1 or parameters[0][1] != "Z" or not isinstance(point, Items) or point.brackets != "()":
        return None
    coordinates = [_steps(value, parameters[0][0], first=0, by=1) for value in point.items]
    known = [coordinate for coordinate in coordinates if coordinate is not None]
    return known if len(known) == len(point.items) > 1 else None


def _same_line(first: Sequence[_Progression], second: Sequence[_Progression]) -> bool | None:
    """Whether the steps are the same, up to their sign, and one point of the one is a point of the other."""
    if len(first) != len(second):
        return False
    pairs = list(zip(first, second, strict=True))
    same = (
        [equal_values(a.period, g.period) for a, g in pairs],
        [equal_values(a.period, _negative(g.period)) for a, g in pairs],
    )
    if not any(all(verdicts) for verdicts in same):
        return False
    differences = [Sum([a.offset, _negative(g.offset)]) for a, g in pairs]
    quotients = [_quotient(difference, g.period) for difference, (_, g) in zip(differences, pairs, strict=True)]
    steps = next((round(quotient) for quotient in quotients if quotient is not None), None)
    if steps is None:
        return None
    verdicts = [
        equal_values(difference, Product([Number(Fraction(steps)), g.period]))
        for difference, (_, g) in zip(differences, pairs, strict=True)
    ]
    return False if False in verdicts else None if None in verdicts else True


def _same_union(first: Sequence[_Progression], second: Sequence[_Progression]) -> bool | None:
    base = second[0].period
    ratios = [_ratio(progression.period, base) for progression in (*first, *second)]
    known = [abs(ratio) for ratio in ratios if ratio is not None]
    if len(known) < len(ratios):
        return None
    numerator = math.lcm(*(ratio.numerator for ratio in known))
    common = Fraction(numerator, math.gcd(*(ratio.denominator for ratio in known)))
    period = Product([Number(common), base])
    counts = [int(common / ratio) for ratio in known]
    if sum(counts) > 2 * MAX_PROGRESSIONS:
        return None
    offsets_a = _offsets(first, counts[: len(first)])
    offsets_g = _offsets(second, counts[len(first) :])
    verdicts = [_among(offset, offsets_g, period) for offset in offsets_a]
    verdicts += [_among(offset, offsets_a, period) for offset in offsets_g]
    return False if False in verdicts else None if None in verdicts else True


def _ratio(period: Node, base: Node) -> Fraction | None:
    """The quotient of two periods, if it is a small fraction."""
    quotient = _quotient(period, base)
    if quotient is None:
        return None
    ratio = Fraction(quotient).limit_denominator(_MOST_PERIODS)
    if not 0 < abs(ratio.numerator) <= _MOST_PERIODS:
        return None
    return ratio if equal_values(period, Product([Number(ratio), base])) is True else None


def _offsets(progressions: Sequence[_Progression], counts: Sequence[int]) -> list[Node]:
    """Where the same values begin, taken in longer steps."""
    return [
        Sum([progression.offset, Product([Number(Fraction(k)), progression.period])])
        for progression, count in zip(progressions, counts, strict=True)
        for k in range(count)
    ]


def _among(offset: Node, others: Sequence[Node], period: Node) -> bool | None:
    verdicts = [_congruent(offset, other, period) for other in others]
    return True if True in verdicts else None if None in verdicts else False


def _congruent(a: Node, g: Node, period: Node) -> bool | None:
    """Whether two offsets differ by a multiple of the period; None if that cannot be worked out."""
    difference = Sum([a, _negative(g)])
    if symbols_of([difference, period]):
        return equal_values(difference, Number(Fraction(0)))
    periods = _quotient(difference, period)
    if periods is None:
        return None
    return equal_values(difference, Product([Number(Fraction(round(periods))), period]))


def _quotient(a: Node, b: Node) -> float | None:
    """Roughly, for two real values without letters."""
    if symbols_of([a, b]):
        return None
    try:
        quotient = evaluate(a, Floating()) / evaluate(b, Floating())
    except (NoValueError, ZeroDivisionError):
        return None
    return quotient.real if abs(quotient.imag) < 1e-9 and abs(quotient.real) < 1e9 else None


def _negative(node: Node) -> Node:
    return Product([Number(Fraction(-1)), node])
