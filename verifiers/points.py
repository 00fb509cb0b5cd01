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


FAR_POINTS = (6, 7)
"""Far from zero on both sides; asked where a function has corners, as |x - 5| and max(x, 43) have."""
_FAR = 10**7


def imaginary_part(name: str, point: int) -> Fraction:
    return value_of_symbol(f"imaginary {name}", point) if POINTS <= point < COMPLEX_POINTS else Fraction(0)


@lru_cache(maxsize=4096)
def value_of_symbol(name: str, point: int) -> Fraction:
    """Between 0.3 and 2.7, negative at some points; of few digits, so that it is the same number in each arithmetic."""
    figure = random_integer(f"{point} {name}")
    size = Fraction(300 + figure % 2400, 1000)
    if point in FAR_POINTS:
        size *= _FAR
    negative = point in (2, FAR_POINTS[1]) or (point == 3 and (figure >> 40) % 2 == 0)
    return -size if negative else size
