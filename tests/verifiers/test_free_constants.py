import pytest

from markscheme.verifiers.free_constants import equal_but_for_constants
from markscheme.verifiers.reading import read

CASES = [
    ("x^2 + C", "x^2 + K", True, "another name"),
    ("x^2 + C", "x^2 - 5 + c", True, "it takes up a number"),
    (r"\frac12\sin^2 x + C", r"-\frac14\cos 2x + C", True, "and what only looks like a function"),
    ("C_1e^{2x} + C_2e^{-x}", "Be^{2x} + Ae^{-x}", True, "two of them, in either order"),
    ("x^2 + C", "2x^2 + C", False, "another function"),
    ("x^2 + C", "x^2", False, "left off"),
    ("x^2 + C", "x^2 + y", False, "a variable is no constant"),
    ("Ce^x", "Ce^{2x}", False, "a factor of another function"),
    ("C + 5", "C + 6", False, "no variable: then C is one itself"),
    ("AB + C", "AB + K", False, "capitals that mean something"),
    ("C_1x + C_2", "C_1x", False, "one of two"),
]


@pytest.mark.parametrize(("gold", "answer", "equal", "reason"), CASES)
def test_constants_of_integration(gold: str, answer: str, equal: bool, reason: str) -> None:
    g, a = read(gold).node, read(answer).node
    assert a is not None
    assert g is not None
    assert equal_but_for_constants(a, g) is equal, reason
