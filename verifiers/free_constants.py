"""Constants of integration: +C may be called K, and takes up any number."""

from fractions import Fraction
from itertools import permutations

from markscheme.verifiers.evaluate import symbols_of
from markscheme.verifiers.patterns import compiled_later
from markscheme.verifiers.replace import replaced
from markscheme.verifiers.scalars import equal_values
from markscheme.verifiers.tree import Node, Number, Product, Sum, Symbol

_OF_GOLD = compiled_later(r"[CK]|[Cc]_[0-9]")
_OF_ANSWER = compiled_later(r"[A-DKck]|[A-DKck]_[0-9]")
_MOST = 3
"""Constants, which are tried in every order."""


def equal_but_for_constants(a: Node, g: Node) -> bool | None:
    """Whether two families of functions differ only in the names, or in the choice, of their free constants.

    None if that cannot be worked out.

    Free is what the gold calls C, K, C_1 or c_1, next to a variable; a gold with other capitals has none.
    """
    symbols = symbols_of(g)
    constants = sorted(name for name in symbols if _OF_GOLD.fullmatch(name))
    if not 0 < len(constants) <= _MOST:
        return False
    variables = symbols - {*constants}
    names = sorted(symbols_of(a) - variables)
    if len(names) != len(constants) or not variables or any(map(str.isupper, variables)):
        return False
    if not all(map(_OF_ANSWER.fullmatch, names)):
        return False
    verdicts = [equal_values(_renamed(a, order, constants), g) for order in permutations(names)]
    if len(constants) == 1:
        verdicts.append(_differ_by_a_constant(a, names[0], g, constants[0], sorted(variables)))
    return True if True in verdicts else None if None in verdicts else False


def _renamed(node: Node, names: tuple[str, ...], constants: list[str]) -> Node:
    for index, name in enumerate(names):
        node = replaced(node, name, Symbol(f"constant {index}"))
    for index, constant in enumerate(constants):
        node = replaced(node, f"constant {index}", Symbol(constant))
    return node


def _differ_by_a_constant(a: Node, name: str, g: Node, constant: str, variables: list[str]) -> bool | None:
    """Whether both add their constant, and the rest differs by the same number wherever one looks."""
    rest_a, rest_g = (replaced(node, symbol, Number(Fraction(0))) for node, symbol in ((a, name), (g, constant)))
    for node, rest, symbol in ((a, rest_a, name), (g, rest_g, constant)):
        added = equal_values(node, Sum([rest, Symbol(symbol)]))
        if not added:
            return added
    difference: Node = Sum([rest_a, Product([Number(Fraction(-1)), rest_g])])
    elsewhere = difference
    for variable in variables:
        elsewhere = replaced(elsewhere, variable, Symbol(f"other {variable}"))
    return equal_values(difference, elsewhere)
