"""The answers that worked solutions mark."""

import doctest

import pytest

import markscheme.solutions
from markscheme.solutions import last_box, marked_answer


@pytest.mark.parametrize(
    ("text", "box"),
    [
        (r"\boxed{1} and then \boxed{2}", "2"),
        (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
        (r"\fbox{3}", "3"),
        (r"so $\boxed 2$.", "2"),
        (r"\boxed{}", ""),
        (r"\boxed{never closed", None),
        ("no box", None),
    ],
)
def test_last_box(text: str, box: str | None) -> None:
    assert last_box(text) == box


@pytest.mark.parametrize(
    ("solution", "answer"),
    [
        ("#### (1,2)", "(1,2)"),
        ("#### 1,234,567.5 dollars", "1234567.5 dollars"),
        ("#### Step 1\nAdd, so it is \\boxed{7}.", "7"),
        ("#### Step 1\nAdd.", None),
        ("#### So \\boxed{7}", "7"),
        ("a ####", None),
        ("a #### 1,234", "1234"),
        (r"\boxed{3} #### 4", "4"),
        (r"a \boxed{3}, \boxed{4}.", "4"),
        ("four", None),
        ("", None),
    ],
)
def test_marked_answer(solution: str, answer: str | None) -> None:
    assert marked_answer(solution) == answer


def test_the_examples_are_true() -> None:
    assert doctest.testmod(markscheme.solutions).failed == 0
