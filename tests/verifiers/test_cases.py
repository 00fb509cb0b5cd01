import pytest

from markscheme.verifiers.cases import MAX_BRANCHES, equal_by_cases
from markscheme.verifiers.reading import read


def cases(*branches: str) -> str:
    return r"\begin{cases}" + r" \\ ".join(branches) + r"\end{cases}"


ABSOLUTE = cases(r"x & x \ge 0", "-x & x < 0")

SAME = [
    (ABSOLUTE, r"|x|", "a formula"),
    (ABSOLUTE, cases(r"x & x > 0", r"-x & x \le 0"), "cut on the other side"),
    (ABSOLUTE, cases(r"x & x \ge 1", r"x & 0 \le x < 1", "-x & x < 0"), "cut more often"),
    (ABSOLUTE, cases(r"x & x \ge 0", r"-x & \text{otherwise}"), "otherwise"),
    (cases(r"2a & x \ge 0", "0 & x < 0"), cases(r"a + a & x \ge 0", "0 & x < 0"), "another letter in the values"),
    (cases(r"1 & n \text{ is even}", r"0 & n \text{ is odd}"), r"\frac{1+(-1)^n}{2}", "even and odd"),
    (cases(r"n & n \text{ even}", r"-n & \text{otherwise}"), r"(-1)^n n", "even and the others"),
]
OTHERS = [
    (cases(r"1 & n \text{ even}", r"0 & n \text{ odd}"), r"\frac{1-(-1)^n}{2}", "odd and even exchanged"),
    (cases(r"1 & n \text{ even}", r"0 & n \text{ odd}"), "1", "the even ones alone"),
    (ABSOLUTE, "x", "one half only"),
    (ABSOLUTE, cases("x & x > 0", "-x & x < 0"), "nothing at the boundary"),
    (cases(r"x^2 & x \ge 0", "0 & x < 0"), cases(r"x^2 & x > 0", r"1 & x \le 0"), "another value"),
    (cases(r"x & x \ge 2", "0 & x < 2"), cases(r"x & x \ge 3", "0 & x < 3"), "another boundary"),
]


@pytest.mark.parametrize(("left", "right", "reason"), SAME)
def test_one_function(left: str, right: str, reason: str) -> None:
    assert compared(left, right) is compared(right, left) is True, reason


@pytest.mark.parametrize(("left", "right", "reason"), OTHERS)
def test_another_function(left: str, right: str, reason: str) -> None:
    assert compared(left, right) is compared(right, left) is False, reason


@pytest.mark.parametrize(
    ("left", "right", "reason"),
    [
        (cases(r"1 & x \ge \sqrt{2}", r"0 & x < \sqrt{2}"), "1", "an irrational boundary"),
        (cases("1 & x > y", r"0 & x \le y"), "1", "two variables"),
        (cases(r"1 & n \text{ prime}", r"0 & n \text{ composite}"), "1", "conditions in words"),
        (cases(*(f"{k} & {k} < x < {k + 1}" for k in range(MAX_BRANCHES + 1))), "1", "too many cases"),
    ],
)
def test_other_conditions_are_left_open(left: str, right: str, reason: str) -> None:
    assert compared(left, right) is None, reason


def compared(left: str, right: str) -> bool | None:
    a, g = read(left).node, read(right).node
    assert a is not None
    assert g is not None
    return equal_by_cases(a, g)
