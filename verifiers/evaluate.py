"""Values of trees: one walk, in the arithmetic that it is given; here the exact one of rational numbers.

The others: `modular`, `floating`, `precise`. Symbols take fixed pseudo-random values there (`points`), so that two
expressions that agree at all points are the same function.
"""

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any, Protocol

from markscheme.verifiers.limits import MAX_BITS, MAX_FACTORIAL, MAX_SUM_TERMS
from markscheme.verifiers.tree import (
    BigOperator,
    Constant,
    Function,
    Node,
    Number,
    Power,
    Product,
    Quantity,
    Quotient,
    Sum,
    Symbol,
)
from markscheme.verifiers.units import UNITS


class NoValueError(ValueError):
    """The tree has no value of this kind: a division by zero, a symbol, a function without an exact value."""


class OverLimitError(NoValueError):
    """The value may exist, but working it out would break a limit."""


class Arithmetic(Protocol):
    """Numbers of one kind. Sums and products use Python's + and *; `tidy` is applied to what they give."""

    def number(self, value: Fraction) -> Any: ...
    def constant(self, name: str) -> Any: ...
    def symbol(self, name: str) -> Any: ...
    def tidy(self, value: Any) -> Any: ...
    def divide(self, above: Any, below: Any) -> Any: ...
    def power(self, base: Any, exponent: Any) -> Any: ...
    def root(self, value: Any, degree: Any) -> Any: ...
    def function(self, name: str, arguments: Sequence[Any]) -> Any: ...


def evaluate(node: Node, numbers: Arithmetic) -> Any:
    """The value of a tree.

    Raises:
        NoValueError: if it has none in this arithmetic.
    """
    match node:
        case Number():
            return numbers.number(node.value)
        case Symbol():
            return numbers.symbol(node.name)
        case Constant():
            return numbers.constant(node.name)
        case Sum():
            total = evaluate(node.terms[0], numbers)
            for term in node.terms[1:]:
                total = numbers.tidy(total + evaluate(term, numbers))
            return total
        case Product():
            product = evaluate(node.factors[0], numbers)
            for factor in node.factors[1:]:
                product = numbers.tidy(product * evaluate(factor, numbers))
            return product
        case Quotient():
            return numbers.divide(evaluate(node.above, numbers), evaluate(node.below, numbers))
        case Power():
            exponent = exact(node.exponent)
            return numbers.power(
                evaluate(node.base, numbers), evaluate(node.exponent, numbers) if exponent is None else exponent
            )
        case Function(name="root"):
            value, degree = node.arguments
            return numbers.root(evaluate(value, numbers), exact(degree) or evaluate(degree, numbers))
        case Function():
            return numbers.function(node.name, [_argument(node.name, part, numbers) for part in node.arguments])
        case BigOperator():
            return _add_up(node, numbers)
        case Quantity(unit="percent"):
            return numbers.divide(evaluate(node.value, numbers), numbers.number(Fraction(100)))
        case Quantity(unit="degree"):
            return numbers.divide(
                numbers.tidy(evaluate(node.value, numbers) * numbers.constant("pi")), numbers.number(Fraction(180))
            )
        case Quantity() if node.unit == "..." or node.unit.startswith("base "):
            return evaluate(node.value, numbers)
    raise NoValueError(f"{type(node).__name__} is no single value")


def _argument(name: str, node: Node, numbers: Arithmetic) -> Any:
    if isinstance(node, Quantity) and node.unit in ("radian", "rad") and node.unit in UNITS:
        node = node.value
    return evaluate(node, numbers)


def _add_up(node: BigOperator, numbers: Arithmetic) -> Any:
    low = exact(node.low) if node.low is not None else None
    high = exact(node.high) if node.high is not None else None
    if low is None or high is None or low.denominator != 1 or high.denominator != 1:
        raise NoValueError("a sum without written bounds")
    if high - low >= MAX_SUM_TERMS:
        raise OverLimitError(f"a sum of more than {MAX_SUM_TERMS} terms")
    total = numbers.number(Fraction(0 if node.name == "sum" else 1))
    for k in range(int(low), int(high) + 1):
        term = evaluate(node.body, _With(numbers, node.variable, numbers.number(Fraction(k))))
        total = numbers.tidy(total + term if node.name == "sum" else total * term)
    return total


class _With:
    """An arithmetic in which one symbol has a given value."""

    def __init__(self, numbers: Arithmetic, name: str, value: Any) -> None:
        self._numbers, self._name, self._value = numbers, name, value

    def __getattr__(self, attribute: str) -> Any:
        return getattr(self._numbers, attribute)

    def symbol(self, name: str) -> Any:
        return self._value if name == self._name else self._numbers.symbol(name)

    def constant(self, name: str) -> Any:
        return self._value if name == self._name else self._numbers.constant(name)


def symbols_of(node: Any) -> frozenset[str]:
    """The names of the symbols in a tree."""
    if isinstance(node, Number | Constant | str):  # most parts of most trees
        return _NO_SYMBOLS
    if isinstance(node, Symbol):
        return frozenset({node.name})
    if isinstance(node, list | tuple):
        return _NO_SYMBOLS.union(*map(symbols_of, node))
    if isinstance(node, BigOperator):
        return symbols_of([part for part in (node.low, node.high, node.body) if part]) - {node.variable}
    slots = getattr(type(node), "__slots__", ())
    return _NO_SYMBOLS.union(*[symbols_of(getattr(node, slot)) for slot in slots]) if slots else _NO_SYMBOLS


_NO_SYMBOLS: frozenset[str] = frozenset()


# Exact rational numbers.


def exact(node: Node) -> Fraction | None:
    """The value if the tree is a rational number that can be worked out within the limits, else None."""
    if isinstance(node, Number):
        return node.value
    try:
        value = evaluate(node, _EXACT)
    except NoValueError:
        return None
    assert isinstance(value, Fraction)
    return value


class _Exact:
    def number(self, value: Fraction) -> Fraction:
        return value

    def constant(self, name: str) -> Fraction:
        raise NoValueError(f"{name} is not rational")

    def symbol(self, name: str) -> Fraction:
        raise NoValueError(f"{name} is a symbol")

    def tidy(self, value: Fraction) -> Fraction:
        if value.numerator.bit_length() > MAX_BITS or value.denominator.bit_length() > MAX_BITS:
            raise OverLimitError("too many digits")
        return value

    def divide(self, above: Fraction, below: Fraction) -> Fraction:
        if not below:
            raise NoValueError("a division by zero")
        return self.tidy(above / below)

    def power(self, base: Fraction, exponent: Fraction) -> Fraction:
        if exponent.denominator != 1:
            return self.power(self.root(base, Fraction(exponent.denominator)), Fraction(exponent.numerator))
        size = max(base.numerator.bit_length(), base.denominator.bit_length())
        if base not in (0, 1, -1) and abs(exponent) * size > MAX_BITS:
            raise OverLimitError("too many digits")
        if not base and exponent <= 0:
            raise NoValueError("zero to the power of zero or less")
        if base in (1, -1):
            return base if exponent % 2 else Fraction(1)
        if not base:
            return base
        return Fraction(base ** int(exponent))

    def root(self, value: Fraction, degree: Fraction) -> Fraction:
        if degree.denominator != 1 or not 1 <= degree <= 64:
            raise NoValueError("a root of no small degree")
        n = int(degree)
        if value < 0:
            if n % 2 == 0:
                raise NoValueError("an even root of a negative number")
            return -self.root(-value, degree)
        above, below = _integer_root(value.numerator, n), _integer_root(value.denominator, n)
        if above is None or below is None:
            raise NoValueError("an irrational root")
        return Fraction(above, below)

    def function(self, name: str, arguments: Sequence[Fraction]) -> Fraction:
        if name in _RATIONAL_FUNCTIONS:
            return self.tidy(Fraction(_RATIONAL_FUNCTIONS[name](*arguments)))
        return self.tidy(Fraction(_of_integers(name, arguments)))


_RATIONAL_FUNCTIONS: dict[str, Any] = {
    "abs": abs, "floor": math.floor, "ceil": math.ceil, "min": lambda *values: min(values),
    "max": lambda *values: max(values), "re": lambda value: value, "sgn": lambda value: (value > 0) - (value < 0),
}  # fmt: skip


def _of_integers(name: str, arguments: Sequence[Fraction]) -> int:
    if any(value.denominator != 1 for value in arguments):
        raise NoValueError(f"{name} of a fraction")
    integers = [int(value) for value in arguments]
    if name == "gcd":
        return math.gcd(*integers)
    if name == "lcm":
        return math.lcm(*integers)
    n = integers[0]
    if name in ("factorial", "double factorial", "binomial"):
        if n > MAX_FACTORIAL:
            raise OverLimitError(f"{name} of more than {MAX_FACTORIAL}")
        if n < 0:
            raise NoValueError(f"{name} of a negative number")
        if name == "factorial":
            return math.factorial(n)
        if name == "double factorial":
            return math.prod(range(n, 0, -2))
        return math.comb(n, integers[1]) if integers[1] >= 0 else 0
    raise NoValueError(f"{name} has no exact value")


def _integer_root(value: int, degree: int) -> int | None:
    if degree == 2:
        root = math.isqrt(value)
    elif value.bit_length() > 1_000:
        raise OverLimitError("a root of too many digits")
    else:
        root = round(value ** (1 / degree)) if value.bit_length() < 50 else _newton_root(value, degree)
    return root if root**degree == value else None


def _newton_root(value: int, degree: int) -> int:
    root = 1 << -(-value.bit_length() // degree)
    while True:
        step = ((degree - 1) * root + value // root ** (degree - 1)) // degree
        if step >= root:
            return root
        root = step


_EXACT = _Exact()
