"""Definitions by cases, compared with other definitions of the same function: |x|, or cases that are cut elsewhere."""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import pairwise

from markscheme.verifiers.evaluate import exact, symbols_of
from markscheme.verifiers.patterns import compiled_later
from markscheme.verifiers.replace import replaced
from markscheme.verifiers.scalars import equal_values
from markscheme.verifiers.tree import Node, Number, Piecewise, Relation, Symbol, Words

_PARITY = compiled_later(r"([a-z]) (odd|even)")
_NUMBERS = range(1, 13)
"""Where definitions for odd and even numbers are compared."""
MAX_BRANCHES = 12
"""Of both definitions together."""
_PARTS = (Fraction(3, 17), Fraction(6, 19), Fraction(13, 23), Fraction(25, 29))
"""Of the way from one boundary to the next: where the definitions are compared, and at the boundaries themselves."""
_BEYOND = (Fraction(3, 7), Fraction(21, 11), Fraction(47, 13), Fraction(131, 17))


def equal_by_cases(a: Node, g: Node) -> bool | None:
    """Whether two definitions, of which one at least is by cases, agree at every boundary and at points between them.

    None unless the conditions compare one variable with rational numbers.

    Raises:
        OverLimitError: if working it out would break a limit.
    """
    conditions = [condition for node in (a, g) for condition in _conditions(node)]
    compared = [condition for condition in conditions if condition != Words("otherwise")]
    if compared and all(isinstance(condition, Words) and _PARITY.fullmatch(condition.text) for condition in compared):
        return _equal_by_parity(
            a, g, names={condition.text[0] for condition in compared if isinstance(condition, Words)}
        )
    names = frozenset[str]().union(*map(symbols_of, compared))
    if len(names) != 1 or len(conditions) > MAX_BRANCHES:
        return None
    [name] = names
    boundaries = _boundaries(compared)
    if boundaries is None:
        return None
    for x in _points(boundaries):
        values = [_value_at(node, name, Number(x)) for node in (a, g)]
        if values == [None, None]:
            continue
        if values[0] is None or values[1] is None:
            return False
        equal = equal_values(values[0], values[1])
        if not equal:
            return equal
    return True


def _equal_by_parity(a: Node, g: Node, names: set[str]) -> bool | None:
    """Whether two definitions, of which one at least is for odd and even numbers, agree at the first of them."""
    if len(names) != 1:
        return None
    [name] = names
    verdicts: list[bool | None] = []
    for n in _NUMBERS:
        x, y = (_value_at(node, name, Number(Fraction(n))) for node in (a, g))
        verdicts.append(x is y is None or (x is not None and y is not None and equal_values(x, y)))
    return False if False in verdicts else None if None in verdicts else True


def _conditions(node: Node) -> list[Node]:
    return [condition for _, condition in node.branches] if isinstance(node, Piecewise) else []


def _boundaries(conditions: Sequence[Node]) -> list[Fraction] | None:
    """The numbers in the conditions; None if one is no comparison of a variable with rational numbers."""
    found: set[Fraction] = set()
    for condition in conditions:
        if not isinstance(condition, Relation) or not set(condition.signs) <= {"<", "<=", ">", ">=", "=", "!="}:
            return None
        for side in condition.sides:
            value = exact(side)
            if value is not None:
                found.add(value)
            elif not isinstance(side, Symbol):
                return None
    return sorted(found)


def _points(boundaries: Sequence[Fraction]) -> Iterator[Fraction]:
    for low, high in pairwise(boundaries):
        yield from (low + part * (high - low) for part in _PARTS)
    for distance in _BEYOND:
        yield boundaries[0] - distance
        yield boundaries[-1] + distance
    yield from boundaries


def _value_at(node: Node, name: str, x: Number) -> Node | None:
    """What a definition gives there; None where none of its cases holds."""
    if not isinstance(node, Piecewise):
        return replaced(node, name, x)
    for value, condition in node.branches:
        if condition == Words("otherwise") or _holds(replaced(condition, name, x), x):
            return replaced(value, name, x)
    return None


def _holds(condition: Node, x: Number) -> bool:
    if isinstance(condition, Words):
        return (x.value % 2 == 1) == condition.text.endswith("odd")
    assert isinstance(condition, Relation)
    values = [exact(side) for side in condition.sides]
    return all(
        a is not None and b is not None and _compare(a, sign, b)
        for (a, b), sign in zip(pairwise(values), condition.signs, strict=True)
    )


def _compare(a: Fraction, sign: str, b: Fraction) -> bool:
    match sign:
        case "<":
            return a < b
        case "<=":
            return a <= b
        case ">":
            return a > b
        case ">=":
            return a >= b
        case "=":
            return a == b
    return a != b
