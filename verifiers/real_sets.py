"""Sets of real numbers, however written: intervals and unions, inequalities, set-builders, finite sets.

Each is turned into a question, "is x in it?", and a list of the points where the answer may change. Two sets are equal
if the answers agree at all those points, between any two neighbours, and beyond the outermost: exact for sets whose
boundaries are written or follow from linear inequalities; others are asked at further points.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import pairwise

from markscheme.verifiers.evaluate import NoValueError, evaluate, exact, symbols_of
from markscheme.verifiers.floating import Floating
from markscheme.verifiers.replace import replaced
from markscheme.verifiers.scalars import equal_values
from markscheme.verifiers.tree import (
    Constant,
    Items,
    Join,
    Node,
    Number,
    Product,
    Quantity,
    Quotient,
    Relation,
    SetBuilder,
    Signs,
    Sum,
    Symbol,
)

_CLOSE = 1e-9
_MORE_POINTS = 120
_LINE_POINTS = (2.0, -3.7, 41.3, -58.9, 977.1, -1204.3)
_FLIPPED = {"<": ">", ">": "<", "<=": ">=", ">=": "<="}
_INEQUALITIES = frozenset({"<", "<=", ">", ">=", "!="})


class NotASetError(ValueError):
    """The tree is not a set of real numbers that this module knows."""


@dataclass(frozen=True, slots=True)
class RealSet:
    contains: Callable[[float], bool]
    points: tuple[Node, ...] = ()
    """Where membership may change, as written."""
    linear: bool = True
    """Whether `points` are all there are."""


@dataclass(slots=True)
class _Points:
    """One float for each value, so that a boundary is met exactly by all who name it."""

    nodes: list[tuple[float, Node]] = field(default_factory=list)

    def add(self, node: Node) -> float:
        value = _real_value(node)
        for known, other in self.nodes:
            if abs(known - value) <= _CLOSE * max(1.0, abs(value)) and equal_values(node, other):
                return known
        self.nodes.append((value, node))
        return value


def is_certainly_a_set(node: Node) -> bool:
    """Whether a node can only be a set: (1,2) may also be a point."""
    if isinstance(node, Items):
        if node.brackets == "" and all(isinstance(item, Relation) for item in node.items):
            return any(_INEQUALITIES.intersection(item.signs) for item in node.items if isinstance(item, Relation))
        return node.brackets in ("[)", "(]")
    if isinstance(node, Relation):
        return bool(_INEQUALITIES.intersection(node.signs)) or node.signs == ["in"] or node.signs == ["notin"]
    if isinstance(node, Constant):
        return node.name in ("R", "empty", "Z", "N", "Q") or node.name.startswith(("R^", "Z^"))
    return isinstance(node, Join | SetBuilder)


def equal_sets(a: Node, g: Node) -> bool | None:
    """Whether two sets have the same members; None if one is no set that can be asked.

    Raises:
        OverLimitError: if a boundary cannot be worked out within the limits.
    """
    points = _Points()
    try:
        names = _variables(a) | _variables(g)
        if len(names) > 1:
            return None
        name = next(iter(names), "")
        first, second = _real_set(a, name, points), _real_set(g, name, points)
        asked = _asked(points, first.linear and second.linear)
        sets: list[RealSet] = []
        for node, found in ((a, first), (g, second)):
            # x < 1, x > 5: a comma is "and" unless nothing is both
            if isinstance(node, Items) and node.brackets == "" and not any(map(found.contains, asked)):
                found = _joined(Join("or", node.items), name, points)
            sets.append(found)
        return all(sets[0].contains(x) == sets[1].contains(x) for x in asked)
    except (NotASetError, NoValueError):
        return None


def _asked(points: _Points, linear: bool) -> list[float]:
    known = sorted({value for value, _ in points.nodes if math.isfinite(value)})
    asked = [*known, *((low + high) / 2 for low, high in pairwise(known))]
    low, high = (known[0], known[-1]) if known else (0.0, 0.0)
    asked += [low - 1, low - 1000.3, high + 1, high + 1000.7, *range(-5, 6)]
    if not linear:
        asked += [math.sin(3 * k) * 20 + math.cos(7 * k) * k / 3 for k in range(_MORE_POINTS)]
    return [x for x in asked if x in known or all(abs(x - other) > _CLOSE * max(1.0, abs(x)) for other in known)]


def _variables(node: Node) -> frozenset[str]:
    if isinstance(node, Relation) and node.signs in (["in"], ["notin"]) and isinstance(node.sides[0], Symbol):
        return frozenset({node.sides[0].name})
    if isinstance(node, SetBuilder):
        return symbols_of(node.variable)
    if isinstance(node, Join):
        return frozenset().union(*(_variables(part) for part in node.parts))
    if isinstance(node, Items) and is_certainly_a_set(node):
        return frozenset().union(*(_variables(item) for item in node.items))
    return symbols_of(node) if isinstance(node, Relation) else frozenset()


def _real_value(node: Node) -> float:
    if isinstance(node, Constant) and node.name == "infinity":
        return math.inf
    if isinstance(node, Product) and len(node.factors) == 2 and node.factors[1] == Constant("infinity"):
        return -math.inf
    if isinstance(node, Quantity):
        node = node.value
    value = evaluate(node, Floating())
    if symbols_of(node) or abs(value.imag) > _CLOSE * max(1.0, abs(value)):
        raise NotASetError("a boundary that is no real number")
    return float(value.real)


def _real_set(node: Node, name: str, points: _Points) -> RealSet:
    match node:
        case Constant(name="R"):
            return RealSet(lambda x: True)
        case Constant(name="empty"):
            return RealSet(lambda x: False)
        case Constant(name="Z"):
            return RealSet(lambda x: x == round(x), linear=True)
        case Constant(name=set_name) if set_name.startswith("R^"):
            positive = "+" in set_name
            return _interval(Number(Fraction(0)), Constant("infinity"), False, False, points) if positive else _fail()
        case Items(brackets="()" | "[]" | "[)" | "(]") if len(node.items) == 2:
            low, high = node.items
            return _interval(low, high, node.brackets[0] == "[", node.brackets[1] == "]", points)
        case Items(brackets="") if all(isinstance(item, Relation) for item in node.items):
            return _joined(Join("and", node.items), name, points)
        case Items(brackets="{}"):
            values = {points.add(item) for part in node.items for item in _both_signs(part)}
            return RealSet(lambda x: x in values)
        case Join():
            return _joined(node, name, points)
        case SetBuilder():
            return _built(node, name, points)
        case Relation():
            return _related(node, name, points)
    raise NotASetError(type(node).__name__)


def _fail() -> RealSet:
    raise NotASetError("not known")


def _both_signs(node: Node) -> list[Node]:
    if isinstance(node, Signs):
        return [node.value, Product([Number(Fraction(-1)), node.value])]
    return [node]


def _interval(low: Node, high: Node, low_in: bool, high_in: bool, points: _Points) -> RealSet:
    a, b = points.add(low), points.add(high)
    return RealSet(lambda x: (a < x or (low_in and x == a)) and (x < b or (high_in and x == b)))


def _joined(node: Join, name: str, points: _Points) -> RealSet:
    parts = [_real_set(part, name, points) for part in node.parts]
    linear = all(part.linear for part in parts)
    if node.name in ("union", "or"):
        return RealSet(lambda x: any(part.contains(x) for part in parts), linear=linear)
    if node.name in ("intersection", "and"):
        return RealSet(lambda x: all(part.contains(x) for part in parts), linear=linear)
    return RealSet(lambda x: parts[0].contains(x) and not any(part.contains(x) for part in parts[1:]), linear=linear)


def _built(node: SetBuilder, name: str, points: _Points) -> RealSet:
    inner: list[Node] = []
    if isinstance(node.variable, Relation) and node.variable.signs == ["in"]:
        inner.append(node.variable)
    elif not isinstance(node.variable, Symbol):
        raise NotASetError("a set built of more than a variable")
    condition = node.condition
    inner += condition.items if isinstance(condition, Items) and condition.brackets == "" else [condition]
    return _joined(Join("and", inner), name, points)


def _related(node: Relation, name: str, points: _Points) -> RealSet:
    if node.signs in (["in"], ["notin"]):
        if not isinstance(node.sides[0], Symbol):
            raise NotASetError("something other than a variable in a set")
        inner = _real_set(node.sides[1], name, points)
        if node.signs == ["notin"]:
            return replace(inner, contains=lambda x: not inner.contains(x))
        return inner
    if "in" in node.signs or "notin" in node.signs:
        raise NotASetError("a chain with membership")
    links = [
        _inequality(left, sign, right, name, points)
        for left, sign, right in zip(node.sides, node.signs, node.sides[1:], strict=False)
    ]
    return RealSet(lambda x: all(link.contains(x) for link in links), linear=all(link.linear for link in links))


def _inequality(left: Node, sign: str, right: Node, name: str, points: _Points) -> RealSet:
    if sign not in _INEQUALITIES and sign != "=":
        raise NotASetError(f"the sign {sign}")
    if symbols_of([left, right]) != {name}:
        raise NotASetError("several variables")
    linear = _linear_root(left, right, name)
    if linear is not None:
        root, rising = linear
        at = points.add(root)
        if not rising:
            sign = _FLIPPED.get(sign, sign)
        return RealSet(lambda x: _holds(0.0 if x == at else x - at, sign))

    def contains(x: float) -> bool:
        try:
            numbers = Floating(values={name: x})
            first, second = evaluate(left, numbers), evaluate(right, numbers)
        except NoValueError:
            return False
        if abs(first.imag) > _CLOSE or abs(second.imag) > _CLOSE:
            return False
        difference = first.real - second.real
        scale = max(1.0, abs(first), abs(second))
        return _holds(0.0 if abs(difference) < _CLOSE * scale else difference, sign)

    return RealSet(contains, linear=False)


def _holds(difference: float, sign: str) -> bool:
    if sign == "=":
        return difference == 0
    if sign == "!=":
        return difference != 0
    if difference == 0:
        return sign in ("<=", ">=")
    return (difference < 0) == (sign in ("<", "<="))


def _linear_root(left: Node, right: Node, name: str) -> tuple[Node, bool] | None:
    """Where left - right is zero, and whether it rises there; None if it is not linear in the variable."""
    difference = Sum([left, Product([Number(Fraction(-1)), right])])
    values = [_at(difference, name, x) for x in (0.0, 1.0, *_LINE_POINTS)]
    slope = values[1] - values[0]
    scale = max(map(abs, values))
    if abs(slope) < _CLOSE or any(
        abs(value - values[0] - slope * x) > _CLOSE * scale for value, x in zip(values[2:], _LINE_POINTS, strict=True)
    ):
        return None
    if isinstance(left, Symbol) and left.name == name:
        return right, True
    if isinstance(right, Symbol) and right.name == name:
        return left, False
    zero, one = (replaced(difference, name, Number(Fraction(k))) for k in (0, 1))
    root = Quotient(Product([Number(Fraction(-1)), zero]), Sum([one, Product([Number(Fraction(-1)), zero])]))
    value = exact(root)
    return (root if value is None else Number(value)), slope > 0


def _at(node: Node, name: str, x: float) -> float:
    value = evaluate(node, Floating(values={name: x}))
    if abs(value.imag) > _CLOSE:
        raise NotASetError("not real")
    return float(value.real)
