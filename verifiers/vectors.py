"""Vectors written with unit vectors, 2i - 3j + k, and those with a factor in front, \\frac{1}{2}(1, 3)."""

from fractions import Fraction

from markscheme.verifiers.evaluate import exact, symbols_of
from markscheme.verifiers.replace import replaced
from markscheme.verifiers.scalars import equal_values
from markscheme.verifiers.tree import (
    Constant,
    Function,
    Items,
    Matrix,
    Node,
    Number,
    Power,
    Product,
    Quotient,
    Sum,
    Symbol,
)


def components(node: Node, count: int) -> list[Node] | None:
    """The coefficients of 2i - 3j + k, where letters stand for unit vectors."""
    if not isinstance(node, Sum | Product | Symbol) or "j" not in symbols_of(node) or count not in (2, 3):
        return None
    node = _with_letter_i(node)
    letters = ("i", "j", "k")[:count]
    zero, one = Number(Fraction(0)), Number(Fraction(1))

    def at(which: str) -> Node:
        value = node
        for letter in letters:
            value = replaced(value, letter, one if letter == which else zero)
        number = exact(value)
        return value if number is None else Number(number)

    return [at(letter) for letter in letters] if equal_values(at(""), zero) else None


_SCALARS = (Number, Quotient, Power, Function, Sum, Constant)
"""What multiplies a vector; a letter in front of a point is its name."""


def multiplied_in(node: Node, scalars: tuple[type, ...] = _SCALARS) -> Node:
    """A vector or matrix with its factor multiplied into the entries, a sum of vectors added up; else the node itself.

    Args:
        scalars: what may multiply a vector: within a sum letters too.
    """
    if isinstance(node, Sum):
        return _added_up(node)
    if not isinstance(node, Product):
        return node
    vectors = [factor for factor in node.factors if not isinstance(factor, scalars)]
    if len(vectors) != 1:
        return node
    factors = [factor for factor in node.factors if factor is not vectors[0]]
    match vectors[0]:
        case Items(brackets="()" | "<>", items=items) if len(items) > 1:
            return Items(vectors[0].brackets, [_times(factors, item) for item in items])
        case Matrix(rows=rows, determinant=False):
            return Matrix([[_times(factors, entry) for entry in row] for row in rows], determinant=False)
    return node


def _added_up(node: Sum) -> Node:
    """(0, 1) + t(2, -1) is (2t, 1 - t)."""
    terms = [multiplied_in(term, (*_SCALARS, Symbol)) for term in node.terms]
    vectors = [term.items for term in terms if isinstance(term, Items) and term.brackets in ("()", "<>")]
    if len(vectors) < len(terms) or len(set(map(len, vectors))) != 1:
        return node
    sums: list[Node] = [Sum(list(entries)) for entries in zip(*vectors, strict=True)]
    values = [exact(entry) for entry in sums]
    return Items("()", [s if v is None else Number(v) for s, v in zip(sums, values, strict=True)])


def _times(scalars: list[Node], entry: Node) -> Node:
    product = Product([*scalars, entry])
    value = exact(product)
    return product if value is None else Number(value)


def _with_letter_i(node: Node) -> Node:
    match node:
        case Constant(name="i"):
            return Symbol("i")
        case Sum():
            return Sum([_with_letter_i(term) for term in node.terms])
        case Product():
            return Product([_with_letter_i(factor) for factor in node.factors], node.explicit)
    return node
