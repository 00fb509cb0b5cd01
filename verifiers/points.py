"""The values that symbols take: pseudo-random, and the same in every arithmetic and every process."""

import hashlib
from fractions import Fraction
from functools import lru_cache


@lru_cache(maxsize=4096)
def random_integer(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=16).digest())


POINTS = 4
"""Fixed points at which functions are compared: two where all symbols are positive, and two where some are not."""


COMPLEX_POINTS = 6
"""The last two are complex; asked only where a modulus or a conjugate is taken."""


def imaginary_part(name: str, point: int) -> Fraction:
    return Fraction(0) if point < POINTS else value_of_symbol(f"imaginary {name}", point)


@lru_cache(maxsize=4096)
def value_of_symbol(name: str, point: int) -> Fraction:
    """Between 0.3 and 2.7, negative at some points; of few digits, so that it is the same number in each arithmetic."""
    figure = random_integer(f"{point} {name}")
    size = Fraction(300 + figure % 2400, 1000)
    negative = point == 2 or (point == 3 and (figure >> 40) % 2 == 0)
    return -size if negative else size
