import pytest
from hypothesis import given
from hypothesis import strategies as st

from markscheme.scoring import Outcome, Sample
from markscheme.verifiers import StepVerifier


def sample(completion: str, **meta: object) -> Sample:
    return Sample(prompt="", completion=completion, meta=meta, id="x")


@pytest.mark.parametrize(
    ("completion", "value", "reason"),
    [
        ("3 + 4 = 7", 1.0, "a sum"),
        ("3 + 4 = 8", 0.0, "a wrong sum"),
        ("48/2 = <<48/2=24>>24 clips", 1.0, "a calculator mark"),
        ("She has <<48/2=25>>25 clips", 0.0, "a wrong calculator mark"),
        (r"$\frac{1}{2} + \frac{1}{3} = \frac{5}{6}$", 1.0, "fractions"),
        ("2 * 3 = 6 = 3 + 4 in all", 0.5, "one link of a chain"),
        ("3 eggs + 4 eggs = 7 eggs\n7 * $2 = $15", 0.5, "money and units"),
        (r"10 \div 3 \approx 3.33", 1.0, "rounded, and said so"),
    ],
)
def test_values_by_hand(completion: str, value: float, reason: str) -> None:
    (score,) = StepVerifier().score([sample(completion)])
    assert (score.value, score.outcome) == (value, Outcome.RATED), reason


def test_a_step_holds_the_equations_that_end_in_it() -> None:
    completion = "1 + 1 = 2\n\n2 + 2 = 5\n3 + 3 = 6"
    (score,) = StepVerifier().score([sample(completion)])
    assert [(completion[: step.end].splitlines()[-1], step.value) for step in score.steps] == [
        ("1 + 1 = 2", 1.0),
        ("2 + 2 = 5", 0.0),
        ("3 + 3 = 6", 1.0),
    ]
    assert score.evidence["wrong"] == ["2 + 2 = 5"]


def test_given_ends_of_steps_are_kept() -> None:
    completion = "1 + 1 = 2. 2 + 2 = 5. Done"
    (score,) = StepVerifier().score([sample(completion, step_ends=[10, 21, 26])])
    assert [(step.end, step.value) for step in score.steps] == [(10, 1.0), (21, 0.0), (26, 1.0)]
    (broken,) = StepVerifier().score([sample(completion, step_ends=[21, 10])])
    assert (broken.value, broken.outcome) == (None, Outcome.FAILED)


@pytest.mark.parametrize("completion", ["", "no numbers here", "x + 1 = 3", "the answer is 7"])
def test_without_an_equation_nothing_is_known(completion: str) -> None:
    (score,) = StepVerifier().score([sample(completion)])
    assert (score.value, score.outcome) == (None, Outcome.UNDECIDED)
    assert StepVerifier(without_equations=1.0).score([sample(completion)])[0].value == 1.0


@given(st.integers(1, 99), st.integers(1, 99), st.integers(1, 9))
def test_sums_are_right_and_their_neighbours_wrong(a: int, b: int, off: int) -> None:
    right, wrong = StepVerifier().score([sample(f"{a} + {b} = {a + b}"), sample(f"{a} + {b} = {a + b + off}")])
    assert (right.value, wrong.value) == (1.0, 0.0)


@given(st.text(alphabet="0123456789+-*/=().,$%x \n<>\\{}", max_size=200))
def test_no_text_raises(completion: str) -> None:
    (score,) = StepVerifier().score([sample(completion)])
    assert score.value is None or 0.0 <= score.value <= 1.0
