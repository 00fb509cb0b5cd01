"""Numbers beyond every limit."""

from fractions import Fraction

import pytest

from markscheme.scoring import Outcome, Sample
from markscheme.verifiers import MathVerifier
from markscheme.verifiers.limits import MAX_BITS
from markscheme.verifiers.magnitude import is_beyond
from markscheme.verifiers.reading import read


@pytest.mark.parametrize(
    ("text", "beyond", "reason"),
    [
        ("9^{9^{9^9}}", True, "a tower"),
        ("10^{10}!", True, "a factorial of a power"),
        ("1000000000!", True, "a factorial"),
        (r"3 \cdot 2^{2^{2^{49}}} + 5", True, "a tower in a sum of products"),
        ("9^{9}", False, "a number within the limits"),
        ("1^{9^{9^9}}", False, "a power of one"),
        ("9^{-9^{9^9}}", False, "a small number"),
        (r"9^{9^{9^9}} - 9^{9^{9^9}} + 7", False, "a difference"),
        (r"\frac{9^{9^{9^9}}}{9^{9^{9^9}}}", False, "a quotient"),
        (r"\sin(9^{9^{9^9}})", False, "a function"),
        ("x^{9^{9^9}}", False, "a letter"),
        (r"0 \cdot 9^{9^{9^9}}", False, "nothing of it"),
    ],
)
def test_what_is_larger_than_any_gold(text: str, beyond: bool, reason: str) -> None:
    node = read(text).node
    assert node is not None
    assert is_beyond(node, Fraction(7)) is beyond, reason
    assert not is_beyond(node, Fraction(2**MAX_BITS)), "a gold that is as large may be it"


@pytest.mark.parametrize(("gold", "outcome"), [("2^{4000}", Outcome.UNDECIDED), ("16", Outcome.INCORRECT)])
def test_a_numeral_too_long_to_be_read_is_wrong_only_beside_a_shorter_gold(gold: str, outcome: Outcome) -> None:
    completion = rf"\boxed{{{2**4000}}}"
    (score,) = MathVerifier().score([Sample(prompt="", completion=completion, gold=gold, id="long")])
    assert score.outcome is outcome
