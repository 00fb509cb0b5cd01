"""Equations and inequalities: names in front of values, and equivalence."""

from fractions import Fraction

from markscheme.verifiers.evaluate import NoValueError, evaluate, exact, symbols_of
from markscheme.verifiers.floating import Floating
from markscheme.verifiers.modular import PRIMES, Modular
from markscheme.verifiers.points import POINTS
from markscheme.verifiers.replace import replaced
from markscheme.verifiers.scalars import equal_values
from markscheme.verifiers.tree import (
    Constant,
    Function,
    Items,
    Node,
    Number,
    Power,
    Product,
    Quotient,
    Relation,
    Sum,
    Symbol,
    Words,
)

_TINY = 1e-9
_MOST_APART = 10
"""What differs by more than a tenth is no approximation."""
_FLIPPED = {"<": ">", ">": "<", "<=": ">=", ">=": "<=", "=": "=", "!=": "!="}


def named_value(node: Node) -> tuple[Node | None, Node, list[Node]]:
    """(name, value, further sides that must equal it) of `x = 5`, `5 = x` and `x = 2 + 3 = 5`; no name for others.

    Of a chain the last side counts, of one that ends in an approximation the side before; a side in between that is a
    written number must agree.
    """
    if not isinstance(node, Relation) or not set(node.signs) <= {"=", "~"}:
        return None, node, []
    sides, signs = list(node.sides), list(node.signs)
    while len(signs) > 1 and signs[-1] == "~":
        sides.pop()
        signs.pop()
    if signs == ["~"] and not is_name(sides[0]):
        return (None, sides[0], []) if _are_near(sides[0], sides[1]) else (None, node, [])
    if is_name(sides[0]):
        return sides[0], sides[-1], [side for side in sides[1:-1] if _is_written_number(side)]
    if len(sides) == 2 and isinstance(sides[1], Symbol | Words):
        return sides[1], sides[0], []
    if not symbols_of(sides):  # 2 + 3 = 5: all sides are numbers, and each must be the answer or lead up to it
        return None, sides[-1], [side for side in sides[:-1] if _is_written_number(side)]
    if len(sides) > 2:  # an expression, worked out step by step
        return sides[0], sides[-1], [side for side in sides[:-1] if _is_written_number(side)]
    return None, node, []


def _are_near(a: Node, b: Node) -> bool:
    """Whether one number can be an approximation of the other; expressions are given the benefit of the doubt."""
    x, y = exact(a), exact(b)
    return x is None or y is None or abs(x - y) * _MOST_APART <= max(abs(x), abs(y))


def _is_written_number(node: Node) -> bool:
    return isinstance(node, Number | Quotient) and exact(node) is not None


def is_name(node: Node) -> bool:
    """Whether a side of an equation names what the other side is worth: x, AB, f(x), f(2), |AB|, (x, y), cos A."""
    match node:
        case Symbol() | Words():
            return True
        case Constant():
            return node.name in ("e", "i")
        case Product(factors=[Power(base=Symbol()), *rest]):  # the inverse f^{-1}(x)
            return bool(rest) and all(isinstance(factor, Symbol | Number) for factor in rest)
        case Product():
            return isinstance(node.factors[0], Symbol) and all(
                isinstance(factor, Symbol | Number | Constant | Items) for factor in node.factors
            )
        case Function():
            return bool(symbols_of(node.arguments)) and all(map(is_name, node.arguments[:1]))
        case Quotient():
            return is_name(node.above) and is_name(node.below)
        case Items():
            return node.brackets in ("()", ":", "") and all(is_name(item) for item in node.items)
    return False


def is_unsolved(relation: Relation) -> bool:
    """Whether one unknown stands in a power, or more than once: x^2 - 5x + 6 = 0 states no solution."""
    return len(symbols_of(relation)) == 1 and _mentions(relation) > 1


def _mentions(node: object) -> int:
    """How often symbols stand in a tree, those in a power counted twice."""
    if isinstance(node, Symbol):
        return 1
    if isinstance(node, list):
        return sum(map(_mentions, node))
    parts = [getattr(node, slot) for slot in getattr(type(node), "__slots__", ())]
    return sum(map(_mentions, parts)) * (2 if isinstance(node, Power) else 1)


def equivalent_equations(a: Relation, g: Relation) -> bool | None:
    """Whether two equations in the same unknowns hold for the same values.

    They do if their differences of sides are proportional, or if one gives an unknown in terms of the others, which
    solves the other equation, and that is linear in it.
    """
    if symbols_of(a) != symbols_of(g):
        return False
    first, second = _difference(a), _difference(g)
    factor = constant_factor(first, second)
    if factor:
        return True
    for solved, other in ((a, second), (g, first)):
        for unknown, value in ((solved.sides[0], solved.sides[-1]), (solved.sides[-1], solved.sides[0])):
            if isinstance(unknown, Symbol) and unknown.name not in symbols_of(value):
                return _is_solved_by(other, unknown.name, value)
    return False if factor is not None else None


def equivalent_inequalities(a: Relation, g: Relation) -> bool | None:
    """Whether two chains of inequalities agree link by link, also when read backwards, up to positive factors."""
    if len(a.signs) != len(g.signs) or not set(a.signs + g.signs) <= set(_FLIPPED):
        return False
    backwards = Relation(a.sides[::-1], [_FLIPPED[sign] for sign in reversed(a.signs)])
    verdicts = [_links_agree(form, g) for form in (a, backwards)]
    if True in verdicts:
        return True
    return None if None in verdicts else False


def _links_agree(a: Relation, g: Relation) -> bool | None:
    for k, (first, second) in enumerate(zip(a.signs, g.signs, strict=True)):
        p, q = (Relation(r.sides[k : k + 2], [r.signs[k]]) for r in (a, g))
        factor = constant_factor(_difference(p), _difference(q))
        if not factor:
            return None if factor is None else False
        positive = factor.real > 0
        if first != (second if positive else _FLIPPED[second]):
            return False
    return True


def _difference(relation: Relation) -> Node:
    return Sum([relation.sides[0], Product([Number(Fraction(-1)), relation.sides[-1]])])


def constant_factor(a: Node, g: Node) -> complex | None:
    """k with a = k g at all points, 0 if there is none, None if it cannot be told."""
    try:
        ratios: list[complex] = [evaluate(a, Floating(point)) / evaluate(g, Floating(point)) for point in range(POINTS)]
    except (NoValueError, ZeroDivisionError):
        return None
    if any(abs(ratio - ratios[0]) > _TINY * abs(ratios[0]) for ratio in ratios):
        return 0
    try:  # proportional modulo primes at other points, so that a difference in the tenth digit shows
        for prime in PRIMES:
            numbers, others = Modular(prime), _Other(prime)
            left = evaluate(a, numbers) * evaluate(g, others) - evaluate(a, others) * evaluate(g, numbers)
            if left % prime:
                return 0
    except NoValueError:
        pass
    return ratios[0]


class _Other(Modular):
    """A second point modulo a prime."""

    def symbol(self, name: str) -> int:
        return super().symbol(name if name.startswith("constant ") else f"other {name}")


def _is_solved_by(expression: Node, name: str, value: Node) -> bool | None:
    solved = replaced(expression, name, value)
    if equal_values(solved, Number(Fraction(0))) is not True:
        return False
    points = [replaced(expression, name, Number(Fraction(k))) for k in (0, 1, 2)]
    second = Sum([points[0], Product([Number(Fraction(-2)), points[1]]), points[2]])
    linear = equal_values(second, Number(Fraction(0)))
    return linear and equal_values(points[0], points[1]) is False
