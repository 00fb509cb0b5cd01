import pytest

from markscheme.verifiers.families import MAX_PROGRESSIONS, equal_families
from markscheme.verifiers.reading import read

INTEGERS = r",\ k\in\mathbb{Z}"

SAME = [
    (r"k\pi", r"\pi - k\pi", "another offset, the other direction"),
    (r"\pm\frac{\pi}{3} + 2k\pi", r"x = \frac{\pi}{3} + 2k\pi \text{ or } x = \frac{5\pi}{3} + 2k\pi", "both signs"),
    (r"\frac{k\pi}{2}", r"k\pi, \frac{\pi}{2} + k\pi", "one family in two halves"),
    (r"(-1)^k\frac{\pi}{6} + k\pi", r"\frac{\pi}{6} + 2k\pi, \frac{5\pi}{6} + 2k\pi", "even and odd"),
    (r"3k, 3k + 1, 3k + 2", "k", "all residues are all integers"),
    ("2k, 2k + 3", "2k + 3, 2k", "a union has no order"),
    ("(3 + 5k, 1 - 2k)", "(5k - 2, 3 - 2k)", "points on a line, counted from another"),
    ("(4, 1 - 2k)", "(4, 2k + 7)", "one coordinate stays, the other direction"),
]
OTHERS = [
    (r"k\pi", r"2k\pi", "every second one"),
    (r"k\pi", r"\frac{\pi}{2} + k\pi", "shifted"),
    (r"\pm\frac{\pi}{3} + 2k\pi", r"\frac{\pi}{3} + 2k\pi, \frac{2\pi}{3} + 2k\pi", "one of two is another"),
    (r"(-1)^k\frac{\pi}{6} + k\pi", r"\frac{\pi}{6} + 2k\pi, \frac{7\pi}{6} + 2k\pi", "the odd ones"),
    (r"3k, 3k + 1", "k", "a residue is missing"),
    ("(3 + 5k, 1 - 2k)", "(5k - 2, 1 - 2k)", "one coordinate shifted"),
    ("(3 + 5k, 1 - 2k)", "(3 + 5k, 1 + 2k)", "another direction"),
    ("(3 + 5k, 1 - 2k)", "(3 + 10k, 1 - 4k)", "every second point"),
    ("(k, k)", "(k, k, k)", "another number of coordinates"),
]
UNKNOWN = [
    ("k^2", "k", "no progression"),
    (r"\frac{\pi}{3} + 2k\pi, 4", r"\frac{\pi}{3} + 2k\pi", "a part without the parameter"),
    (r"k, \frac12 + k", r"k\sqrt{2}", "periods without a common multiple"),
]


def compared(left: str, right: str) -> bool | None:
    a, g = read(left + INTEGERS), read(right + INTEGERS)
    assert a.node is not None
    assert g.node is not None
    return equal_families(a.node, g.node, a.parameters, g.parameters)


@pytest.mark.parametrize(("left", "right", "reason"), SAME)
def test_the_same_values_in_another_family(left: str, right: str, reason: str) -> None:
    assert compared(left, right) is True, reason
    assert compared(right, left) is True, reason


@pytest.mark.parametrize(("left", "right", "reason"), OTHERS)
def test_other_values(left: str, right: str, reason: str) -> None:
    assert compared(left, right) is False, reason
    assert compared(right, left) is False, reason


@pytest.mark.parametrize(("left", "right", "reason"), UNKNOWN)
def test_what_is_no_union_of_progressions_is_left_open(left: str, right: str, reason: str) -> None:
    assert compared(left, right) is None, reason


def test_too_many_progressions_are_left_open() -> None:
    many = ", ".join(f"59k + {offset}" for offset in range(MAX_PROGRESSIONS + 1))
    assert compared(many, "k") is None
