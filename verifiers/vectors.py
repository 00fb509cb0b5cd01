"""Vectors written with unit vectors: 2i - 3j + k."""

from fractions import Fraction

from markscheme.verifiers.evaluate import symbols_of
from markscheme.verifiers.replace import replaced
from markscheme.verifiers.scalars import equal_values
from markscheme.verifiers.tree import Constant, Node, Number, Product, Sum, Symbol


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
        return value

    return [at(letter) for letter in letters] if equal_values(at(""), zero) else None


def _with_letter_i(node: Node) -> Node:
    match node:
        case Constant(name="i"):
            return Symbol("i")
        case Sum():
            return Sum([_with_letter_i(term) for term in node.terms])
        case Product():
            return Product([_with_letter_i(factor) for factor in node.factors], node.explicit)
    return node
