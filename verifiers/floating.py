"""Complex floating point at one of the points."""

import cmath
import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from markscheme.verifiers.evaluate import NoValueError, OverLimitError
from markscheme.verifiers.points import imaginary_part, value_of_symbol

_REAL_PART_LIMIT = 1e15
_GAMMA_LIMIT = 150.0


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
        if name in _CONSTANTS:
            return _CONSTANTS[name]
        raise NoValueError(f"{name} is no number")

    def symbol(self, name: str) -> complex:
        if name in self.values:
            return complex(self.values[name])
        return complex(float(value_of_symbol(name, self.point)), float(imaginary_part(name, self.point)))

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
            if name in FUNCTIONS:
                return self.tidy(complex(FUNCTIONS[name](*arguments)))
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


_CONSTANTS = {"pi": complex(math.pi), "e": complex(math.e), "i": 1j}
FUNCTIONS: dict[str, Any] = {
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
