"""Arithmetic modulo a prime.

Exact for polynomials and their quotients, with no rounding at all: two that agree at a random point modulo two primes
of 61 bits are equal but for a chance below degree / 2^61 for each (Schwartz 1980, Zippel 1979).
"""

from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from typing import Any

from markscheme.verifiers.evaluate import NoValueError, OverLimitError
from markscheme.verifiers.limits import MAX_BITS
from markscheme.verifiers.points import random_integer

PRIMES = (2305843009213693921, 2305843009213693693)
"""Of 61 bits and 1 modulo 4, so that -1 has a square root: i is one there."""


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
        return random_integer(name) % self.prime

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
