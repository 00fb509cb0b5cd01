"""The four arithmetics agree with one another, with hand-worked values, and keep their limits."""

import math
from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from markscheme.verifiers.evaluate import NoValueError, OverLimitError, evaluate, exact, symbols_of
from markscheme.verifiers.floating import Floating
from markscheme.verifiers.modular import PRIMES, Modular
from markscheme.verifiers.parse import parse
from markscheme.verifiers.precise import Precise
from markscheme.verifiers.tree import Node, Number, Power, Product, Quotient, Sum, Symbol

NUMBERS = st.fractions(min_value=-50, max_value=50, max_denominator=30).map(Number)


def trees(leaves: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    def grow(inner: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
        return st.one_of(
            st.lists(inner, min_size=2, max_size=3).map(Sum),
            st.lists(inner, min_size=2, max_size=3).map(Product),
            st.builds(Quotient, inner, inner),
            st.builds(Power, inner, st.integers(-3, 3).map(lambda k: Number(Fraction(k)))),
        )

    return st.recursive(leaves, grow, max_leaves=8)


@given(trees(NUMBERS))
def test_the_arithmetics_agree_on_numbers(node: Node) -> None:
    value = exact(node)
    assume(value is not None)
    assert value is not None
    for prime in PRIMES:
        try:
            found = evaluate(node, Modular(prime))
        except NoValueError:
            continue  # a denominator that this prime divides
        assert found == value.numerator * pow(value.denominator, -1, prime) % prime
    precise = evaluate(node, Precise(digits=80))
    assert abs(precise - Precise(digits=80).number(value)) <= abs(precise) * 1e-50


POSITIVE = st.fractions(min_value=1, max_value=50, max_denominator=30).map(Number)


@given(trees(st.one_of(POSITIVE, st.sampled_from("xyz").map(Symbol))), st.integers(0, 1))
def test_floating_point_agrees_with_sixty_digits(node: Node, point: int) -> None:
    """Of positive numbers, whose sums cancel nothing."""
    try:
        precise = evaluate(node, Precise(point))
        rough = evaluate(node, Floating(point))
    except NoValueError:
        return
    assert abs(complex(precise) - rough) <= 1e-12 * abs(rough)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (r"2^{10}", Fraction(1024)),
        (r"\sqrt{\frac{9}{16}}", Fraction(3, 4)),
        (r"\sqrt[3]{-8}", Fraction(-2)),
        (r"8^{2/3}", Fraction(4)),
        (r"\binom{6}{2}", Fraction(15)),
        (r"5!", Fraction(120)),
        (r"7!!", Fraction(105)),
        (r"\gcd(12, 18)", Fraction(6)),
        (r"\lfloor -2.5 \rfloor", Fraction(-3)),
        (r"|3-7|", Fraction(4)),
        (r"\sum_{k=1}^{4} k^2", Fraction(30)),
        (r"\prod_{k=1}^{4} k", Fraction(24)),
        (r"0.\overline{12}", Fraction(4, 33)),
        (r"1\frac{3}{4}", Fraction(7, 4)),
        (r"-2^2", Fraction(-4)),
        (r"(-2)^2", Fraction(4)),
        (r"\sqrt2", None),
        (r"\pi", None),
        (r"x", None),
        (r"1/0", None),
        (r"0^0", None),
    ],
)
def test_exact_values_by_hand(text: str, value: Fraction | None) -> None:
    assert exact(parse(text)) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (r"\sin 30^\circ", 0.5),
        (r"\sin^2 \frac{\pi}{3}", 0.75),
        (r"\sin^{-1} 1", math.pi / 2),
        (r"\arctan 1", math.pi / 4),
        (r"\log 100", 2),
        (r"\log_2 32", 5),
        (r"\ln e^3", 3),
        (r"e^{i\pi}", -1),
        (r"|3+4i|", 5),
        (r"(-8)^{1/3}", -2),
        (r"\cot \frac{\pi}{4}", 1),
        (r"\sqrt{-4}", 2j),
        (r"\max(1, \pi)", math.pi),
    ],
)
def test_values_in_floating_point_by_hand(text: str, value: complex) -> None:
    node = parse(text)
    assert evaluate(node, Floating()) == pytest.approx(value)
    assert complex(evaluate(node, Precise())) == pytest.approx(value)


@pytest.mark.parametrize("text", ["9^{9^9}", "10^{10^{10}}", "10000!", r"\binom{10^9}{5}", r"\sum_{k=1}^{10^9} k"])
def test_large_values_hit_a_limit(text: str) -> None:
    assert exact(parse(text)) is None
    with pytest.raises(OverLimitError):
        evaluate(parse(text), Floating())


def test_i_is_a_root_of_minus_one_modulo_each_prime() -> None:
    for prime in PRIMES:
        assert pow(Modular(prime).constant("i"), 2, prime) == prime - 1


def test_the_primes_are_primes_of_61_bits() -> None:
    for prime in PRIMES:
        assert prime.bit_length() == 61
        for base in (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37):  # enough below 3.3e24 (Sorenson & Webster 2015)
            odd, twos = prime - 1, 0
            while odd % 2 == 0:
                odd, twos = odd // 2, twos + 1
            power = pow(base, odd, prime)
            assert power in (1, prime - 1) or any(pow(power, 2**k, prime) == prime - 1 for k in range(twos))


def test_the_running_variable_of_a_sum_is_not_free() -> None:
    assert symbols_of(parse(r"\sum_{k=1}^{n} k x")) == {"n", "x"}
