"""Plus-minus signs: the values that an expression with them stands for."""

from collections.abc import Iterator
from fractions import Fraction

from markscheme.verifiers.tree import (
    Function,
    Items,
    Node,
    Number,
    Power,
    Product,
    Quantity,
    Quotient,
    Relation,
    Signs,
    Sum,
)


def count_signs(node: Node) -> int:
    match node:
        case Signs():
            return 1 + count_signs(node.value)
        case Sum():
            return sum(map(count_signs, node.terms))
        case Product():
            return sum(map(count_signs, node.factors))
        case Quotient():
            return count_signs(node.above) + count_signs(node.below)
        case Power():
            return count_signs(node.base) + count_signs(node.exponent)
        case Function():
            return sum(map(count_signs, node.arguments))
        case Items(brackets="()" | "<>"):
            return sum(map(count_signs, node.items))
        case Relation() | Quantity():
            return sum(map(count_signs, node.sides)) if isinstance(node, Relation) else count_signs(node.value)
    return 0


def choices(node: Node) -> list[Node]:
    """The values of an expression with plus-minus signs: together where there is a minus-plus, else each."""
    linked = _has_minus_plus(node)
    count = count_signs(node)
    ways = [(1,) * count, (-1,) * count] if linked else _all_signs(count)
    values: list[Node] = []
    for way in ways:
        values.append(_chosen(node, iter(way)))
    return values


def _all_signs(count: int) -> list[tuple[int, ...]]:
    ways: list[tuple[int, ...]] = [()]
    for _ in range(count):
        ways = [(*way, sign) for way in ways for sign in (1, -1)]
    return ways


def _has_minus_plus(node: Node) -> bool:
    match node:
        case Signs():
            return node.upper < 0 or _has_minus_plus(node.value)
        case Sum():
            return any(map(_has_minus_plus, node.terms))
        case Product():
            return any(map(_has_minus_plus, node.factors))
        case Quotient():
            return _has_minus_plus(node.above) or _has_minus_plus(node.below)
        case Relation():
            return any(map(_has_minus_plus, node.sides))
        case Items():
            return any(map(_has_minus_plus, node.items))
    return False


def _chosen(node: Node, signs: Iterator[int]) -> Node:
    match node:
        case Signs():
            sign = next(signs) * node.upper
            value = _chosen(node.value, signs)
            return value if sign > 0 else Product([Number(Fraction(-1)), value])
        case Sum():
            return Sum([_chosen(term, signs) for term in node.terms])
        case Product():
            return Product([_chosen(factor, signs) for factor in node.factors], node.explicit)
        case Quotient():
            return Quotient(_chosen(node.above, signs), _chosen(node.below, signs))
        case Power():
            return Power(_chosen(node.base, signs), _chosen(node.exponent, signs))
        case Function():
            return Function(node.name, [_chosen(part, signs) for part in node.arguments])
        case Quantity():
            return Quantity(_chosen(node.value, signs), node.unit)
        case Items():
            return Items(node.brackets, [_chosen(item, signs) for item in node.items])
        case Relation():
            return Relation([_chosen(side, signs) for side in node.sides], node.signs)
    return node
