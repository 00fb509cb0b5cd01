"""Numbers that are beyond every limit, and so larger than any gold: 9^{9^{9^9}}, 1000000000!.

What cannot be worked out has no verdict, but these need not be worked out: else a policy could leave the loss by
writing a tower of powers.
"""

from fractions import Fraction

from markscheme.verifiers.limits import MAX_BITS, MAX_FACTORIAL
from markscheme.verifiers.tree import Function, Node, Number, Power, Product, Sum


def is_beyond(node: Node, gold: Fraction) -> bool:
    """Whether a number made of natural numbers by +, *, ^ and ! is larger than the gold because a part of it is."""
    return gold < 2**MAX_BITS and _at_least(node) is None


def _at_least(node: Node) -> int | None:
    """A lower bound: 0 where nothing is known, None for more than 2^MAX_BITS."""
    match node:
        case Number() if node.value.denominator == 1 and node.value >= 1:
            return int(node.value)
        case Power():
            base, exponent = _at_least(node.base), _at_least(node.exponent)
            if exponent == 0 or base in (0, 1):
                return 0 if exponent == 0 else base
            if base is None or exponent is None or exponent * (base.bit_length() - 1) > MAX_BITS:
                return None
            return max(base, 1 << exponent * (base.bit_length() - 1))
        case Function(name="factorial"):
            of = _at_least(node.arguments[0])
            return None if of is None or of > MAX_FACTORIAL * 10 else min(of, 1)
        case Sum() | Product():
            parts = [_at_least(part) for part in (node.terms if isinstance(node, Sum) else node.factors)]
            if 0 in parts:
                return 0
            return None if None in parts else max(part for part in parts if part is not None)
    return 0
