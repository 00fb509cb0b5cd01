from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from markscheme.verifiers.limits import MAX_EXPONENT, MAX_NUMBER_CHARS
from markscheme.verifiers.normalise import exact_number, read

SAME_TEXT = [
    (r"$\dfrac12$", r"\frac{1}{2}", "display fractions, short fractions, dollars"),
    (r"\tfrac{3}{4}.", r"\frac{3}{4}", "a trailing dot"),
    (r"\left( 3 , \frac{\pi}{2} \right)", r"(3,\frac{\pi}{2})", "sizes of brackets"),
    (r"10{,}080", "10080", "a thousands comma in braces"),
    (r"10,\!080", "10080", "a thousands comma with a thin space"),
    ("1,234,567", "1234567", "plain thousands commas"),
    (r"5\,000", "5000", "a thousands space"),
    ("−5", "-5", "a Unicode minus"),
    ("3√13", r"3\sqrt{13}", "a Unicode root"),
    ("2π", r"2\pi", "a Unicode letter"),
    (r"\boxed{$5$}", "5", "nested wrapping"),
    (r"\mathrm{even}", r"\text{even}", "fonts"),
    (r"x \leq 5", r"x\le5", "synonyms"),
    (r"\begin{bmatrix} 1 \\ 2 \end{bmatrix}", r"\begin{pmatrix}1\\2\end{pmatrix}", "matrix brackets"),
    (r"12^{\text{th}}", "12", "ordinals"),
    (r"2 pi", r"2\pi", "plain spelling"),
]
DIFFERENT_TEXT = [
    ("1 2 3", "123", "three numbers are not one"),
    ("1,2", "12", "a list is not a number"),
    ("1,23", "123", "that is no thousands comma"),
    ("2^n+1", "2^{n+1}", "braces that matter"),
    ("[0,1)", "(0,1)", "brackets that matter"),
    (r"\pi r", r"\pir", "the blank that ends a command"),
    ("-5", "5", "a sign"),
    ("0.5", "5", "a decimal point"),
    ("2R", "2r", "case"),
    ("x_1", "x_2", "indices"),
    ("x_1", "x", "an index is not a number base"),
]


@pytest.mark.parametrize(("one", "other", "reason"), SAME_TEXT)
def test_spellings_of_one_answer_have_one_text(one: str, other: str, reason: str) -> None:
    assert read(one).text == read(other).text, reason


@pytest.mark.parametrize(("one", "other", "reason"), DIFFERENT_TEXT)
def test_different_answers_keep_different_texts(one: str, other: str, reason: str) -> None:
    assert read(one).text != read(other).text, reason


NUMBERS = [
    ("007", Fraction(7), "leading zeros"),
    ("-0.25", Fraction(-1, 4), "a decimal"),
    (".5", Fraction(1, 2), "nothing before the point"),
    (r"\frac{-6}{4}", Fraction(-3, 2), "not in lowest terms"),
    ("6/4", Fraction(3, 2), "a plain fraction"),
    (r"3\frac{1}{2}", Fraction(7, 2), "a mixed number"),
    ("3 1/2", Fraction(7, 2), "a mixed number in plain text"),
    (r"0.\overline{3}", Fraction(1, 3), "repeating"),
    (r"1.2\overline{34}", Fraction(611, 495), "1.2 + 34/990 = 1222/990"),
    (r"1.5\times10^{-3}", Fraction(3, 2000), "scientific"),
    ("2e3", Fraction(2000), "scientific in plain text"),
    (r"\$1,250", Fraction(1250), "money"),
    (r"50\%", Fraction(50), "the figure before the sign"),
    (r"30^\circ", Fraction(30), "degrees"),
    ("5 cm", Fraction(5), "a unit"),
    ("12 apples", Fraction(12), "what is counted"),
]
NO_NUMBERS = [
    ("", "nothing"),
    ("x", "a letter"),
    ("5x", "a product"),
    ("1/0", "no value"),
    (r"\frac{1}{0}", "no value"),
    ("1.2.3", "two points"),
    ("1-2", "a difference"),
    ("1 2", "two numbers"),
    ("4:30", "a time"),
    ("1011_2", "another base"),
    ("5 million", "a word that changes the number"),
    ("6 or 7", "two numbers"),
    ("٣", "digits we do not read"),
    (f"10^{{{MAX_EXPONENT + 1}}}", "an exponent over the limit"),
    ("1e99999999999", "an exponent over the limit"),
    ("9" * (MAX_NUMBER_CHARS + 1), "digits over the limit"),
]


@pytest.mark.parametrize(("answer", "value", "reason"), NUMBERS)
def test_numbers_are_exact(answer: str, value: Fraction, reason: str) -> None:
    assert read(answer).number == value, reason


@pytest.mark.parametrize(("answer", "reason"), NO_NUMBERS)
def test_what_is_not_surely_a_number_is_none(answer: str, reason: str) -> None:
    assert read(answer).number is None, reason


@pytest.mark.parametrize(
    ("answer", "unit", "reason"),
    [
        (r"5\text{ cm}^2", "cm^2", "a power behind the unit"),
        ("5 square inches", "in^2", "a power in words"),
        (r"\$5", "dollar", "a sign before the number"),
        ("5 miles per hour", "mi/h", "a quotient"),
        (r"5 \text{ frogs}", "", "a unit we do not know is no unit"),
        ("5", "", "none"),
    ],
)
def test_units(answer: str, unit: str, reason: str) -> None:
    reading = read(answer)
    assert (reading.text, reading.unit) == ("5", unit), reason


@given(st.fractions())
def test_a_written_fraction_reads_as_itself(value: Fraction) -> None:
    sign, above = ("-" if value < 0 else ""), abs(value.numerator)
    assert exact_number(f"{value.numerator}/{value.denominator}") == value
    assert exact_number(rf"{sign}\frac{{{above}}}{{{value.denominator}}}") == value


@given(st.integers())
def test_thousands_commas_do_not_count(value: int) -> None:
    assert read(f"{value:,}").number == value


@given(st.text(max_size=300))
def test_any_text_can_be_read_and_reading_twice_changes_nothing(text: str) -> None:
    assert read(text) == read(text)


@given(st.text(alphabet="\\{}()[]^_$,.;: 0159axtextfrcsqboxed%", max_size=200))
def test_latex_like_noise_can_be_read(text: str) -> None:
    read(text)
