r"""The arithmetic that is written in completions: which equations are found, and which of them are wrong."""

import gzip
import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis.strategies import fractions, integers, lists, sampled_from, text

from markscheme.scoring import Outcome, Sample, Score
from markscheme.verifiers import StepVerifier
from markscheme.verifiers.limits import MAX_COMPLETION_CHARS
from markscheme.verifiers.steps import MAX_EQUATION_CHARS, check_equations


def score(completion: str, prompt: str = "", without_equations: float | None = None, **meta: Any) -> Score:
    sample = Sample(prompt=prompt, completion=completion, meta=meta)
    return StepVerifier(without_equations=without_equations).score([sample])[0]


def verdicts(completion: str, prompt: str = "") -> str:
    """R for each right equation, W for each wrong one, in their order."""
    return "".join("WR"[one.right] for one in check_equations(completion, prompt=prompt))


RIGHT = [
    ("3 + 4 = 7", "R", "a sum"),
    ("So she has 252*2 = $<<252*2=504>>504 per day.", "RR", "a calculator mark and what stands around it"),
    ("3 apples + 4 apples = 7 apples", "R", "units"),
    ("60 miles/hour * 2 hours = 120 miles", "R", "units with a slash"),
    ("3 cm * 5 cm = 15 cm^2", "R", "the power of a unit is none of the number"),
    (r"\frac{6}{2} + \frac12 = \frac{7}{2} = 3.5", "RR", "fractions"),
    ("2 1/2 * 4 = 10", "R", "a mixed number"),
    ("20% of $50 = $10", "R", "percent and money"),
    ("50% + 30% = 80%", "R", "percent as a unit"),
    ("3/4 = 75%", "R", "percent as hundredths"),
    ("1,000 + 2,500 = 3,500", "R", "thousands"),
    (r"10{,}000 - 1 = 9{,}999", "R", "thousands in LaTeX"),
    ("3 x 4 = 12 and 3x4 = 12 and 3×4=12", "RRR", "three crosses"),
    ("2^{10} = 2**10 = 1024", "RR", "two powers"),
    ("84 = 2² * 3 * 7", "R", "raised digits"),
    (r"5! = 120 and \binom{5}{2} = 10 and \sqrt{16} = 4", "RRR", "factorial, binomial, root"),
    ("3 times 4 = 12", "R", "a spoken operator"),
    ("一共有3+4=7个苹果", "R", "Chinese"),
    ("10/3 = 3.33", "R", "rounded to the written digits"),
    ("20/3 = 6.66", "R", "cut off"),
    (r"100/3 \approx 33", "R", "an integer behind an approximate sign"),
    (r"987 * 1000 \approx 990{,}000", "R", "zeros at the end are rounded digits"),
    ("0.5 - 0.4 = 0.09999999999999998", "R", "a computer's number"),
    ("5 * 3 = 15 + 2 = 17", "RR", "written on as it is worked out"),
    ("- 3 + 4 = 7", "R", "a list mark"),
    ("1) 3 + 4 = 7", "R", "a numbered list"),
    ("**3 + 4 = 7**", "R", "bold print"),
    (r"\begin{align*} x &= 3 + 4 \\ &= 7 \end{align*}", "R", "a row that begins with the equals sign"),
    (r"\[ 50 - (10 + 5) \] \[ = 50 - 15 \] \[ = 35 \]", "RR", "display after display"),
    ("She has 7 apples (3 + 4 = 7) now.", "R", "in brackets"),
    ("100 (first day) + 150 (second day) = 250", "R", "remarks"),
    ("7 - -3 = 10", "R", "two signs"),
]
WRONG = [
    ("3 + 4 = 8", "W", "a sum"),
    ("16 - 3 - 4 = 8 eggs", "W", "a difference with a unit"),
    ("252*2 = $<<252*2=504>>514 per day", "RW", "the calculator is right, the text is not"),
    (r"\frac{1}{2} + \frac{1}{3} = \frac{2}{5}", "W", "fractions"),
    (r"\begin{align*} x &= 3 + 4 \\ &= 8 \end{align*}", "W", "in the second row"),
    ("3(5) + 1 = 17", "W", "a product without a sign"),
    ("x = 3 + 4 = 8", "W", "behind a name"),
    ("rectangle 1 = 4*5 = 21", "W", "behind a name with a number"),
    ("20% of 50 = 15", "W", "no reading of the percent sign helps"),
    ("10/3 = 3.34", "W", "not the written digits"),
    (r"2 * 3.14 \approx 7.5", "W", "too far off for an approximate sign"),
    ("5 * 3 = 16 + 2 = 18", "WR", "written on from another number"),
    ("2 + 3 + 4 = 5 + 4 = 8", "RW", "the second link of a chain"),
    ("7995 (total) - 2595 (with cream) = 4500", "W", "remarks"),
    ("3 * 50 = 450 customers, 2 + 2 = 4", "WR", "one of two"),
    ("12 - 28 = 16 fewer eggs", "W", "the sign is lost"),
]
UNCLEAR = [
    ("", "nothing written"),
    ("7 = 7", "nothing to work out"),
    ("5 = 3", "two bare numbers"),
    ("x + 3 = 5", "a free symbol"),
    ("2ab + 3 = 11", "symbols side by side"),
    ("AB + 3 = 5 + 1", "the name of a segment"),
    ("f(2, 3) = 2 + 3 + 1", "a function"),
    (r"\sin 30 = 1/2", "a function"),
    ("1 + 2 + ... + 10 = 54", "dots"),
    ("half of 5*4 = 10", "a word that may belong to it"),
    ("twice the 5 + 3 = 16", "a word that may belong to it"),
    ("5 + 3 = 9 hundred more than 3 + 4", "a word behind that changes the number"),
    ("17/5 = 3 remainder 2", "with a remainder"),
    ("17 / 5 = 3", "whole boxes"),
    ("150/60 = 2 hours 30 minutes", "a compound"),
    ("1 hour + 30 minutes = 90 minutes", "units converted"),
    ("7 knicks = 2 * 3 knacks", "units that are not known"),
    ("75*2 = $1.50", "cents"),
    ("50 - 20% = 40", "percent of what?"),
    ("48 = 100% + 20%", "percent of what?"),
    ("60 / 3/4 = 80", "a fraction without brackets"),
    ("6 / 2(3) = 1", "a product without a sign behind a slash"),
    ("-2^2 = 4", "the sign of a power"),
    ("33.33 * 3 = 100", "a rounded number carried on"),
    ("Suppose that 3 + 4 = 8", "supposed"),
    ("Check x = 1: 3 + 4 = 8", "tested"),
    ("0 + 1 = 2, a contradiction", "refuted"),
    ("3 + 4 = 8?", "asked"),
    ("7 * 3 = 1, so the units digit is 1", "last digits"),
    (r"5 * 5 = 4 \pmod{7}", "a remainder"),
    ("In base 7 we have 44 * 55 = 3506", "another base"),
    ("(28,365) = 1 + 0", "a greatest common divisor"),
    ("9 AM + 4 = 1 PM", "a time of day"),
    ("the 6-8-10 = 3-4-5 triangle", "names of triangles"),
    (r"\begin{vmatrix} 1 & 2 \\ 3 & 4 \end{vmatrix} = 5 + 1", "a determinant"),
    ("3,5 + 2 = 5,5", "decimal commas"),
    ("2:3 = 4:7", "ratios"),
    ("so it was 12 -\n3 + 4 = 13", "begun in the line before"),
    ("64 + 81 = 1", "cut off"),
    ("5 *\\frac{1}{2", "cut off"),
]


@pytest.mark.parametrize(("completion", "expected", "reason"), RIGHT + WRONG)
def test_right_and_wrong_equations(completion: str, expected: str, reason: str) -> None:
    assert verdicts(f"{completion}\nDone.") == expected, reason


@pytest.mark.parametrize(("completion", "reason"), UNCLEAR)
def test_what_can_be_read_either_way_does_not_count(completion: str, reason: str) -> None:
    assert verdicts(completion) == "", reason


def test_a_sign_that_the_problem_defines_may_mean_anything() -> None:
    assert verdicts("2 * 6 = 2^6 + 6^2 = 100.") == "WR"
    assert verdicts("2 * 6 = 2^6 + 6^2 = 100.", prompt="Let $a * b = a^b + b^a$. Find 2 * 6.") == "R"


def test_a_number_at_the_end_may_be_cut_off_unless_the_text_is_known_to_be_whole() -> None:
    assert score("64 + 81 = 1").outcome is Outcome.UNDECIDED
    assert score("64 + 81 = 1", finish_reason="length").outcome is Outcome.UNDECIDED
    assert score("64 + 81 = 1", finish_reason="stop").value == 0.0
    assert score("64 + 81 = 2").value == 0.0  # 145 does not begin with a 2


def test_the_value_is_the_share_of_right_equations_and_the_steps_are_lines() -> None:
    completion = "3 + 4 = 7\n\n 7 * 2 = 15 \nSo it is 15.\n15 - 5 = 10"
    found = score(completion)
    assert found.outcome is Outcome.RATED
    assert found.value == pytest.approx(2 / 3)
    # The first line ends at 9, the empty one at 10, the second at 11 + 11, the third at 24 + 12, the last at 37 + 11.
    assert [(step.end, step.value) for step in found.steps] == [(9, 1.0), (22, 0.0), (36, 1.0), (48, 1.0)]
    assert found.evidence == {"equations": 3, "num_wrong": 1, "wrong": ["7 * 2 = 15"]}


def test_given_steps_end_where_the_sample_says() -> None:
    completion = "3 + 4 = 8 and then 2 + 2 = 4. Done."
    found = score(completion, step_ends=[13, 29, 35])
    assert [(step.end, step.value) for step in found.steps] == [(13, 0.0), (29, 1.0), (35, 1.0)]
    assert len(score(completion, step_ends=(35,)).steps) == 1
    assert score(completion, step_ends=[5]).steps[0].value == 1.0  # the wrong equation ends behind the last step


@pytest.mark.parametrize("ends", [[2, 1], [0, 3], [1, 1], [100], [-1], [1.0], ["1"], [True], "12", 3])
def test_step_ends_that_are_no_rising_offsets_failed(ends: Any) -> None:
    found = score("3 + 4 = 7", step_ends=ends)
    assert (found.value, found.outcome) == (None, Outcome.FAILED)
    assert "step_ends" in found.evidence["error"]


def test_an_equation_written_again_counts_once() -> None:
    assert score("3 + 4 = 8\n" + "1 + 1 = 2\n" * 50).value == 0.5


def test_at_most_three_wrong_equations_are_shown() -> None:
    found = score("\n".join(f"{k} + 1 = {k}" for k in range(1, 10)))
    assert found.evidence["num_wrong"] == 9
    assert found.evidence["wrong"] == ["1 + 1 = 1", "2 + 1 = 2", "3 + 1 = 3"]


def test_without_an_equation_nothing_is_known_unless_a_value_is_set() -> None:
    found = score("I am sure that it is 7.")
    assert (found.value, found.outcome, found.steps) == (None, Outcome.UNDECIDED, ())
    found = score("I am sure.\nIt is 7.", without_equations=0.9)
    assert (found.value, found.outcome) == (0.9, Outcome.RATED)
    assert [step.value for step in found.steps] == [1.0, 1.0]
    with pytest.raises(ValueError, match="without_equations must be finite"):
        StepVerifier(without_equations=float("nan"))


def test_beyond_the_limits_it_is_undecided() -> None:
    for completion in ("1 + 1 = 2\n" * (MAX_COMPLETION_CHARS // 10 + 1), "1 + 1 = 2\n" * (MAX_EQUATION_CHARS // 9 + 1)):
        found = score(completion)
        assert (found.value, found.outcome) == (None, Outcome.UNDECIDED)
        assert "more than" in found.evidence["reason"] or "limit" in found.evidence["reason"]


@given(text(max_size=200))
def test_any_text_gets_a_score(completion: str) -> None:
    check(score(completion))


@given(
    lists(
        sampled_from(
            [*"0123456789+-*/^=().,:%$&|!{}[]_~ \n\\x²é", "≈", r"\frac", r"\text{ab}", "<<", ">>", " cm", " of "]
        ),
        max_size=60,
    )
)
def test_any_formula_gets_a_score(pieces: list[str]) -> None:
    check(score("".join(pieces)))


def check(found: Score) -> None:
    if found.value is None:
        assert found.outcome is Outcome.UNDECIDED
    else:
        assert 0 <= found.value <= 1
        assert all(step.value in (0.0, 1.0) for step in found.steps)
        assert [step.end for step in found.steps] == sorted({step.end for step in found.steps})


@given(
    fractions(min_value=-99, max_value=99, max_denominator=9), fractions(min_value=-99, max_value=99, max_denominator=9)
)
def test_a_right_sum_is_never_wrong_and_one_beside_it_never_right(a: Any, b: Any) -> None:
    assert verdicts(f"({a}) + ({b}) = {a + b}.") in ("R", "")  # "" if both sides are bare
    assert verdicts(f"({a}) + ({b}) = {a + b + 2}.") in ("W", "")


@given(integers(1, 10**6), integers(1, 10**6), integers(2, 9))
def test_more_wrong_equations_never_raise_the_value(a: int, b: int, off: int) -> None:
    right, wrong = f"{a} + {b} = {a + b}.\n", f"{a} * {b} = {a * b + off}.\n"
    values = [score(right + wrong * k + f"{b} - {a} = {b - a - off}.\n" * (k > 1)).value for k in range(3)]
    assert values == [1.0, 0.5, pytest.approx(1 / 3)]


HOSTILE = [
    "(", "{", "[", "()", "1,", "1,111,", "=", "1=", "9^9^9=1 ", "5000!=1 ", r"\frac", r"\frac{1}{", "$", "x=", "a ",
    "- ", "**", "\\\\", r"\text{", r"\begin{pmatrix}", "<<1+1=2>>", "<<", "1 ", "..", "é", "选", "²", "\x00", "\ud800",
    "1/2=", "99.999*9.999*8.888*7.777*6.666=1 ", "(1+(2+(3+(4)))) = 5 ", "10 % of ", "1 apple + ", "\t", "\n\n= 1",
    "1+1\n", "|", "= 1 mod 7 ", "1+" * 40 + "1 = 1 ", "2^{", "((((1))))=", r"\binom{9999}{99}=1 ",
    "1/(3^99)+1/(7^99)+1/(11^99)=1 ",
]  # fmt: skip


@pytest.mark.parametrize("piece", HOSTILE)
def test_time_grows_with_the_length(piece: str) -> None:
    length = 40_000
    completion = (piece * (length // len(piece) + 1))[:length] + "\n1+1=2=1+1"
    began = time.process_time()
    check(score(completion))
    assert time.process_time() - began < 10


def test_nested_brackets_end_somewhere() -> None:
    check(score("(" * 50_000 + "1" + ")" * 50_000 + " = 1 + 0"))


def test_few_solutions_that_people_wrote_are_flagged(shared_data: Path) -> None:
    """What is flagged in GSM8K's own solutions are slips of their writers: 18 in 7,473 were read one by one."""
    with gzip.open(shared_data / "gsm8k" / "train.jsonl.gz", "rt") as file:
        rows = [json.loads(line) for line in file][:1_500]
    scores = StepVerifier().score([Sample(prompt=row["question"], completion=row["answer"]) for row in rows])
    assert sum(one.evidence["num_wrong"] > 0 for one in scores) <= 8
    assert sum(one.evidence["equations"] for one in scores) > 8_000
