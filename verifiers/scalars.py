"""Whether two expressions have one value: exactly where possible, else at points, to as many digits as it takes."""

from collections.abc import Sequence
from fractions import Fraction

from markscheme.verifiers.evaluate import NoValueError, OverLimitError, evaluate, exact, symbols_of
from markscheme.verifiers.floating import Floating
from markscheme.verifiers.modular import PRIMES, Modular
from markscheme.verifiers.points import COMPLEX_POINTS, FAR_POINTS, POINTS
from markscheme.verifiers.precise import Precise
from markscheme.verifiers.replace import replaced
from markscheme.verifiers.tree import BigOperator, Constant, Function, Node, Number, Power, Product, Quotient, Sum

_SURELY_DIFFERENT = 1e-6
"""Relative difference that no rounding of double precision explains in answers of ordinary length."""
_TINY = 1e-9
_DIGITS = 60
_SPARE_DIGITS = 20
_INTEGERS = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13)
_MORE_DIGITS = 400
_FULL_FIGURES = 12
"""Decimals of that many figures are a computer's number written out: 0.0833333333333333."""


def equal_values(a: Node, g: Node) -> bool | None:
    """Whether two expressions are equal wherever both have a value; None if that cannot be worked out.

    Raises:
        OverLimitError: if working it out would break a limit.
    """
    infinite = _sign_of_infinity(a), _sign_of_infinity(g)
    if any(infinite):
        return infinite[0] == infinite[1]
    if a == g:
        return True
    exact_a, exact_g = exact(a), exact(g)
    if exact_a is not None and exact_g is not None:
        return exact_a == exact_g
    try:
        return all(evaluate(a, Modular(prime)) == evaluate(g, Modular(prime)) for prime in PRIMES)
    except OverLimitError:
        raise
    except NoValueError:
        pass
    running = _bound_symbols(a) | _bound_symbols(g)
    if running:
        return _equal_at_integers(a, g, sorted(running)[0])
    return _equal_at_points(a, g)


def _bound_symbols(node: object) -> frozenset[str]:
    """The symbols in the bounds of sums and products: they are whole numbers."""
    if isinstance(node, BigOperator):
        return symbols_of([bound for bound in (node.low, node.high) if bound]) | _bound_symbols(node.body)
    if isinstance(node, list):
        return frozenset().union(*map(_bound_symbols, node))
    slots = getattr(type(node), "__slots__", ())
    return frozenset().union(*(_bound_symbols(getattr(node, slot)) for slot in slots)) if slots else frozenset()


def _equal_at_integers(a: Node, g: Node, name: str) -> bool | None:
    """Sums to n are equal if they are for the first n: more of them than the degree of any polynomial in an answer."""
    verdicts = [equal_values(*(replaced(node, name, Number(Fraction(k))) for node in (a, g))) for k in _INTEGERS]
    return False if False in verdicts else (None if None in verdicts else True)


def _sign_of_infinity(node: Node) -> int:
    if isinstance(node, Constant) and node.name == "infinity":
        return 1
    if isinstance(node, Product) and len(node.factors) == 2 and isinstance(node.factors[0], Number):
        return _sign_of_infinity(node.factors[1]) * (1 if node.factors[0].value > 0 else -1)
    return 0


def _equal_at_points(a: Node, g: Node) -> bool | None:
    if bool(symbols_of(a)) != bool(symbols_of(g)) and _takes([a, g], _STEPS):
        return False  # 7 + floor(1 / (1 + x^2)) is 7 nearly everywhere
    agreed = 0
    limit: OverLimitError | None = None
    for point in _points(a, g):
        try:
            equal = _equal_at(a, g, point)
        except OverLimitError as error:
            limit = error
            continue
        except NoValueError:
            continue
        if equal is False:
            return False
        agreed += equal is True
    if agreed:
        return True
    if limit is not None:
        raise limit
    return None


def _points(a: Node, g: Node) -> Sequence[int]:
    names = symbols_of([a, g])
    if not names:
        return (0,)
    complex_too = names & {"z", "w"} and _takes([a, g], _PARTS)
    return (*range(COMPLEX_POINTS if complex_too else POINTS), *(FAR_POINTS if _takes([a, g], _CORNERS) else ()))


_PARTS = frozenset({"abs", "conjugate", "re", "im", "arg"})
"""Of a complex number: the real points do not tell all."""
_STEPS = frozenset({"max", "min", "floor", "ceil", "sgn", "mod"})
_CORNERS = _STEPS | {"abs", "root"}


def _takes(node: object, functions: frozenset[str]) -> bool:
    """Whether one of the functions is taken; a power with a fraction in it is a root."""
    if isinstance(node, Function) and node.name in functions:
        return True
    if isinstance(node, Power) and isinstance(node.exponent, Quotient) and "root" in functions:
        return True
    if isinstance(node, list):
        return any(_takes(part, functions) for part in node)
    return any(_takes(getattr(node, slot), functions) for slot in getattr(type(node), "__slots__", ()))


def _equal_at(a: Node, g: Node, point: int) -> bool | None:
    """Equal, different, or (None) nothing to learn there: one of them leaves the real numbers at this point."""
    try:
        x, y = evaluate(a, Floating(point)), evaluate(g, Floating(point))
        is_real = abs(x.imag) <= _TINY * abs(x), abs(y.imag) <= _TINY * abs(y)
        if (0 < point < POINTS and is_real[0] != is_real[1]) or (point in FAR_POINTS and not all(is_real)):
            return None
        size = max(abs(x), abs(y))
        if size > _SURELY_DIFFERENT and abs(x - y) > _SURELY_DIFFERENT * size:
            return False
    except OverLimitError:
        pass
    longest = _longest_number([a, g])
    return _equal_precisely(a, g, point, _DIGITS if longest < _SPARE_DIGITS else _DIGITS + 2 * longest)


def _longest_number(node: object) -> int:
    """Digits of the longest integer in a tree."""
    if isinstance(node, Number):
        return len(str(max(abs(node.value.numerator), node.value.denominator)))
    if isinstance(node, list):
        return max(map(_longest_number, node), default=0)
    slots = getattr(type(node), "__slots__", ())
    return max((_longest_number(getattr(node, slot)) for slot in slots), default=0)


def _equal_precisely(a: Node, g: Node, point: int, digits: int) -> bool:
    """Whether all but twenty of the digits agree. Two values near zero are asked again with more: zero, or small?"""
    numbers = Precise(point, digits)
    x, y = evaluate(a, numbers), evaluate(g, numbers)
    difference, size = abs(x - y), max(abs(x), abs(y))
    tiny = numbers.mp.mpf(10) ** -(digits - _SPARE_DIGITS)
    if size < tiny:
        return digits > _MORE_DIGITS or _equal_precisely(a, g, point, digits + _MORE_DIGITS)
    return bool(difference <= tiny * size)


def is_written_out(a: Node, gold: Node) -> bool:
    """Whether a decimal of twelve figures or more agrees with an exact gold to eleven."""
    if not isinstance(a, Number) or not a.decimals or len(str(abs(a.value.numerator))) < _FULL_FIGURES:
        return False
    digits = a.decimals + len(str(int(abs(a.value)))) if abs(a.value) >= 1 else a.decimals
    if digits < _FULL_FIGURES or symbols_of(gold):
        return False
    try:
        value = exact(gold) or Fraction(evaluate(gold, Floating()).real)
    except NoValueError:
        return False
    return bool(abs(a.value - value) <= abs(value) / 10 ** (_FULL_FIGURES - 1))


def rounds_to(a: Node, gold: Number) -> bool:
    """Whether a value rounds to a decimal gold: it lies within half a unit of the gold's last digit.

    A longer decimal does from three figures on, a value without a decimal form from two.
    """
    if not gold.decimals:
        return False
    figures = len(str(abs(gold.value.numerator * 10**gold.decimals // gold.value.denominator)))
    if isinstance(a, Number) and a.decimals:
        if a.decimals <= gold.decimals or figures < 3:
            return False
    elif figures < 2 or (isinstance(a, Number) and not a.decimals and a.value.denominator == 1):
        return False
    value = exact(a)
    if value is None:
        try:
            found = evaluate(a, Floating())
        except NoValueError:
            return False
        if symbols_of(a) or abs(found.imag) > _TINY:
            return False
        value = Fraction(found.real)
    return abs(value - gold.value) <= Fraction(1, 2 * 10**gold.decimals)


def is_left_to_work_out(node: Node) -> bool:
    """Whether a number is written as a sum or product that could be carried out: 2 + 3, 6 * 7, (1 + 2i) 6.

    Powers, roots, factorials and prime factors (2^2 * 3) are closed forms; so is 3 * 10^5.
    """
    match node:
        case Sum():
            rational = sum(exact(term) is not None for term in node.terms)
            return rational > 1 or any(is_left_to_work_out(term) for term in node.terms)
        case Product():
            factors = [factor for factor in node.factors if factor != Number(Fraction(-1))]
            if any(isinstance(factor, Sum) for factor in factors) and len(factors) > 1:
                return any(exact(part) is not None for part in factors)
            numbers = sum(isinstance(factor, Number) for factor in factors)
            powers = sum(isinstance(factor, Power) for factor in factors)
            return (numbers > 1 and not powers) or any(is_left_to_work_out(factor) for factor in factors)
        case BigOperator():
            return True
        case Quotient():
            return is_left_to_work_out(node.above) or is_left_to_work_out(node.below)
        case Power():
            return is_left_to_work_out(node.base)
        case Function(name="root"):
            return is_left_to_work_out(node.arguments[0])
        case Function(name="gcd" | "lcm" | "max" | "min" | "mod"):
            return True
    return False


def is_constant(node: Node) -> bool:
    """Whether a node is a number made of numbers by arithmetic: 5, 6 * 10^8."""
    return isinstance(node, Number | Product | Quotient | Power) and exact(node) is not None


def is_plain_number(node: Node) -> bool:
    """Whether a node is a number in its final form: 5, -5/3, or 2 + 3i."""
    if isinstance(node, Number):
        return True
    if isinstance(node, Quotient):
        return isinstance(node.above, Number) and isinstance(node.below, Number)
    if isinstance(node, Product):
        return len(node.factors) == 2 and node.factors[0] == Number(Fraction(-1)) and is_plain_number(node.factors[1])
    return False


def in_lowest_terms(node: Node) -> bool:
    """Whether no fraction of two written integers in it can be cancelled."""
    if isinstance(node, Quotient) and isinstance(node.above, Number) and isinstance(node.below, Number):
        above, below = node.above.value, node.below.value
        if above.denominator == below.denominator == 1:
            return abs(Fraction(above, below).denominator) == abs(below) != 1 if below else True
    if isinstance(node, Product | Sum):
        parts = node.factors if isinstance(node, Product) else node.terms
        return all(in_lowest_terms(part) for part in parts)
    return True
