"""Values of trees: exact rational, modulo a prime, in floating point, and to any number of digits.

One walk over the tree, four kinds of arithmetic. Symbols take fixed pseudo-random values, so that two expressions that
agree at all points are the same function; modulo two primes of 61 bits that is exact for polynomials and fractions of
them (Schwartz 1980, Zippel 1979: chance of error below degree / 2^61), with no rounding at all.
"""

import cmath
import hashlib
import math
import threading
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
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

PRIMES = (2305843009213693921, 2305843009213693693)
"""Of 61 bits and 1 modulo 4, so that -1 has a square root: i is one there."""
_REAL_PART_LIMIT = 1e15
_GAMMA_LIMIT = 150.0


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


# Modulo a prime.


class Modular:
    """Polynomials and their quotients, with pi and e as further unknowns: nothing is rounded."""

    def __init__(self, prime: int) -> None:
        self.prime = prime

    def number(self, value: Fraction) -> int:
        return self.divide(value.numerator % self.prime, value.denominator % self.prime)

    def constant(self, name: str) -> int:
        if name == "i":
            return _root_of_minus_one(self.prime)
        if name in ("pi", "e"):
            return self.symbol(f"constant {name}")
        raise NoValueError(f"{name} is no number")

    def symbol(self, name: str) -> int:
        return _random_integer(name) % self.prime

    def tidy(self, value: int) -> int:
        return value % self.prime

    def divide(self, above: int, below: int) -> int:
        if below % self.prime == 0:
            raise NoValueError("a division by zero")
        return above * pow(below, -1, self.prime) % self.prime

    def power(self, base: int, exponent: Any) -> int:
        if not isinstance(exponent, Fraction) or exponent.denominator != 1:
            raise NoValueError("no whole exponent")
        if exponent.numerator.bit_length() > MAX_BITS:
            raise OverLimitError("an exponent of too many digits")
        if base % self.prime == 0 and exponent <= 0:
            raise NoValueError("zero to the power of zero or less")
        return pow(base, int(exponent), self.prime)

    def root(self, value: int, degree: Any) -> int:
        raise NoValueError("a root")

    def function(self, name: str, arguments: Sequence[int]) -> int:
        raise NoValueError(name)


@lru_cache(maxsize=4)
def _root_of_minus_one(prime: int) -> int:
    return next(
        root for base in range(2, 100) if (root := pow(base, (prime - 1) // 4, prime)) ** 2 % prime == prime - 1
    )


@lru_cache(maxsize=4096)
def _random_integer(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=16).digest())


# Floating point.

POINTS = 4
"""Fixed points at which functions are compared: two where all symbols are positive, and two where some are not."""


COMPLEX_POINTS = 6
"""The last two are complex; asked only where a modulus or a conjugate is taken."""


def _imaginary_part(name: str, point: int) -> Fraction:
    return Fraction(0) if point < POINTS else _value_of_symbol(f"imaginary {name}", point)


@lru_cache(maxsize=4096)
def _value_of_symbol(name: str, point: int) -> Fraction:
    """Between 0.3 and 2.7, negative at some points; of few digits, so that it is the same number in each arithmetic."""
    figure = _random_integer(f"{point} {name}")
    size = Fraction(300 + figure % 2400, 1000)
    negative = point == 2 or (point == 3 and (figure >> 40) % 2 == 0)
    return -size if negative else size


class Floating:
    """Complex floating point at one of the points."""

    def __init__(self, point: int = 0, values: dict[str, float] | None = None) -> None:
        self.point, self.values = point, values or {}

    def number(self, value: Fraction) -> complex:
        try:
            return complex(float(value))
        except OverflowError as error:
            raise OverLimitError("too large for floating point") from error

    def constant(self, name: str) -> complex:
        if name in _FLOATING_CONSTANTS:
            return _FLOATING_CONSTANTS[name]
        raise NoValueError(f"{name} is no number")

    def symbol(self, name: str) -> complex:
        if name in self.values:
            return complex(self.values[name])
        return complex(float(_value_of_symbol(name, self.point)), float(_imaginary_part(name, self.point)))

    def tidy(self, value: complex) -> complex:
        if not cmath.isfinite(value):
            raise OverLimitError("too large for floating point")
        return value

    def divide(self, above: complex, below: complex) -> complex:
        if below == 0:
            raise NoValueError("a division by zero")
        return self.tidy(above / below)

    def power(self, base: complex, exponent: Any) -> complex:
        try:
            if isinstance(exponent, Fraction):
                if exponent.denominator % 2 and exponent.denominator > 1 and base.imag == 0 and base.real < 0:
                    size = (-base.real) ** float(exponent)  # (-8)^(1/3) is -2
                    return complex(-size if exponent.numerator % 2 else size)
                if exponent.denominator == 1 and abs(exponent) < 1000:
                    return self.tidy(base ** int(exponent))
                exponent = complex(float(exponent))
            return self.tidy(complex(base) ** complex(exponent))
        except ZeroDivisionError as error:
            raise NoValueError("zero to the power of zero or less") from error
        except OverflowError as error:
            raise OverLimitError("too large for floating point") from error

    def root(self, value: complex, degree: Any) -> complex:
        if degree == 2:
            return cmath.sqrt(value)
        if isinstance(degree, Fraction):
            if degree == 0:
                raise NoValueError("a root of degree zero")
            return self.power(value, 1 / degree)
        return self.power(value, self.divide(1 + 0j, degree))

    def function(self, name: str, arguments: Sequence[complex]) -> complex:
        try:
            if name in _FLOATING_FUNCTIONS:
                return self.tidy(complex(_FLOATING_FUNCTIONS[name](*arguments)))
        except (ValueError, ZeroDivisionError) as error:
            raise NoValueError(f"{name} has no value there") from error
        except OverflowError as error:
            raise OverLimitError("too large for floating point") from error
        except TypeError as error:
            raise NoValueError(f"{name} of {len(arguments)} values") from error
        raise NoValueError(f"{name} is not known")


def _real(value: complex) -> float:
    if abs(value.imag) > 1e-12 * max(1.0, abs(value)):
        raise ValueError("not real")
    return value.real


def _floor(value: complex) -> float:
    real = _real(value)
    if abs(real) > _REAL_PART_LIMIT or (abs(real - round(real)) < 1e-9 * max(1.0, abs(real)) and real != round(real)):
        raise ValueError("too close to an integer to tell")
    return float(math.floor(real))


def _gamma(value: complex) -> float:
    real = _real(value)
    if abs(real) > _GAMMA_LIMIT:
        raise OverflowError
    return math.gamma(real + 1)


def _log(value: complex, base: complex = 0j) -> complex:
    return cmath.log(value) / cmath.log(base) if base else cmath.log(value)


_FLOATING_CONSTANTS = {"pi": complex(math.pi), "e": complex(math.e), "i": 1j}
_FLOATING_FUNCTIONS: dict[str, Any] = {
    "sin": cmath.sin, "cos": cmath.cos, "tan": cmath.tan,
    "cot": lambda x: 1 / cmath.tan(x), "sec": lambda x: 1 / cmath.cos(x), "csc": lambda x: 1 / cmath.sin(x),
    "arcsin": cmath.asin, "arccos": cmath.acos, "arctan": cmath.atan,
    "arccot": lambda x: cmath.pi / 2 - cmath.atan(x), "arcsec": lambda x: cmath.acos(1 / x),
    "arccsc": lambda x: cmath.asin(1 / x), "sinh": cmath.sinh, "cosh": cmath.cosh, "tanh": cmath.tanh,
    "coth": lambda x: 1 / cmath.tanh(x), "sech": lambda x: 1 / cmath.cosh(x), "csch": lambda x: 1 / cmath.sinh(x),
    "arcsinh": cmath.asinh, "arccosh": cmath.acosh, "arctanh": cmath.atanh,
    "ln": cmath.log, "log": _log, "exp": cmath.exp, "abs": abs, "arg": cmath.phase,
    "conjugate": lambda z: z.conjugate(),
    "re": lambda z: z.real, "im": lambda z: z.imag, "floor": _floor, "ceil": lambda x: -_floor(-x),
    "factorial": _gamma, "binomial": lambda n, k: _gamma(n) / (_gamma(k) * _gamma(n - k)),
    "min": lambda *values: min(map(_real, values)), "max": lambda *values: max(map(_real, values)),
    "sgn": lambda x: math.copysign(1.0, _real(x)) if x else 0.0,
}  # fmt: skip


# Any number of digits.


_contexts = threading.local()


def _context(digits: int) -> Any:
    """mpmath with its precision set: one for each thread and precision, since some functions change it for a while.

    Imported when first needed: it takes 60 ms.
    """
    known: dict[str, Any] = _contexts.__dict__
    key = f"digits {digits}"
    if key not in known:
        import mpmath

        context = mpmath.MPContext()
        context.dps = digits
        known[key] = context
    return known[key]


class Precise:
    """mpmath's complex numbers at one of the points."""

    def __init__(self, point: int = 0, digits: int = 60) -> None:
        self.point = point
        self.mp = _context(digits)

    def number(self, value: Fraction) -> Any:
        return self.mp.mpf(value.numerator) / value.denominator

    def constant(self, name: str) -> Any:
        if name == "pi":
            return +self.mp.pi
        if name == "e":
            return +self.mp.e
        if name == "i":
            return self.mp.mpc(0, 1)
        raise NoValueError(f"{name} is no number")

    def symbol(self, name: str) -> Any:
        real = self.number(_value_of_symbol(name, self.point))
        imaginary = self.number(_imaginary_part(name, self.point))
        return self.mp.mpc(real, imaginary) if imaginary else real

    def tidy(self, value: Any) -> Any:
        return value

    def divide(self, above: Any, below: Any) -> Any:
        if below == 0:
            raise NoValueError("a division by zero")
        return above / below

    def power(self, base: Any, exponent: Any) -> Any:
        if abs(exponent) > MAX_BITS * 10:
            raise OverLimitError("an exponent of too many digits")
        if base == 0:
            if not isinstance(exponent, Fraction) or exponent <= 0:
                raise NoValueError("zero to the power of zero or less")
            return base
        if isinstance(exponent, Fraction):
            if exponent.denominator % 2 and exponent.denominator > 1 and self.mp.im(base) == 0 and self.mp.re(base) < 0:
                size = self.mp.power(-base, self.number(exponent))
                return -size if exponent.numerator % 2 else size
            exponent = int(exponent) if exponent.denominator == 1 else self.number(exponent)
        return self.mp.power(base, exponent)

    def root(self, value: Any, degree: Any) -> Any:
        if degree == 2:
            return self.mp.sqrt(value)
        if degree == 0:
            raise NoValueError("a root of degree zero")
        return self.power(value, 1 / degree)

    def function(self, name: str, arguments: Sequence[Any]) -> Any:
        mp = self.mp
        if name in ("floor", "ceil", "min", "max", "sgn") and any(mp.im(value) for value in arguments):
            raise NoValueError(f"{name} of a complex number")
        if name in ("factorial", "binomial") and any(abs(value) > MAX_FACTORIAL for value in arguments):
            raise OverLimitError(f"{name} of more than {MAX_FACTORIAL}")
        if name in ("sin", "cos", "tan", "cot", "sec", "csc", "exp", "sinh", "cosh", "tanh") and (
            abs(arguments[0]) > MAX_BITS
        ):
            raise OverLimitError(f"{name} of a large number")
        named = {"arcsin": "asin", "arccos": "acos", "arctan": "atan", "arccot": "acot", "arcsec": "asec",
                 "arccsc": "acsc", "arcsinh": "asinh", "arccosh": "acosh", "arctanh": "atanh", "abs": "fabs",
                 "sgn": "sign", "conjugate": "conj", "gcd": "", "lcm": ""}  # fmt: skip
        if name == "arccot":
            return mp.pi / 2 - mp.atan(arguments[0])
        if name in ("min", "max"):
            return {"min": min, "max": max}[name](arguments)
        function = getattr(mp, named.get(name, name), None) if name in _FLOATING_FUNCTIONS else None
        if function is None:
            raise NoValueError(f"{name} is not known")
        try:
            return function(*arguments)
        except (ValueError, ZeroDivisionError, TypeError) as error:
            raise NoValueError(f"{name} has no value there") from error


def symbols_of(node: Any) -> frozenset[str]:
    """The names of the symbols in a tree."""
    if isinstance(node, Symbol):
        return frozenset({node.name})
    if isinstance(node, list | tuple):
        return frozenset().union(*(symbols_of(part) for part in node))
    if isinstance(node, BigOperator):
        return symbols_of([part for part in (node.low, node.high, node.body) if part]) - {node.variable}
    slots = getattr(type(node), "__slots__", ())
    return frozenset().union(*(symbols_of(getattr(node, slot)) for slot in slots)) if slots else frozenset()
