"""Any number of digits, by mpmath, at one of the points."""

import threading
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from markscheme.verifiers.evaluate import NoValueError, OverLimitError
from markscheme.verifiers.floating import FUNCTIONS
from markscheme.verifiers.limits import MAX_BITS, MAX_FACTORIAL
from markscheme.verifiers.points import imaginary_part, value_of_symbol

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
        real = self.number(value_of_symbol(name, self.point))
        imaginary = self.number(imaginary_part(name, self.point))
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
        function = getattr(mp, named.get(name, name), None) if name in FUNCTIONS else None
        if function is None:
            raise NoValueError(f"{name} is not known")
        try:
            return function(*arguments)
        except (ValueError, ZeroDivisionError, TypeError) as error:
            raise NoValueError(f"{name} has no value there") from error
