import pytest
from hypothesis import given
from hypothesis import strategies as st

from markscheme.verifiers.compare import Comparison, compare
from markscheme.verifiers.compare import compare_cheaply as compare_with
from markscheme.verifiers.conventions import Conventions
from markscheme.verifiers.limits import MAX_ANSWER_CHARS

DEFAULT = Conventions()


def compare_cheaply(answer: str, gold: str) -> Comparison:
    return compare_with(answer, gold, DEFAULT)


EQUAL = [
    (r"0.5", r"\frac{1}{2}", "decimal against fraction"),
    (r"\frac{2}{4}", "1/2", "not in lowest terms"),
    (r"0.\overline{6}", r"\frac23", "repeating decimal"),
    (r"1{,}000", "1000", "thousands"),
    (r"50\%", "0.5", "a percent sign on one side only: its hundredth"),
    (r"50\%", "50", "or the figure"),
    ("x=5", "5", "the name is not part of the value"),
    ("5", "x=5", "nor of the gold's"),
    ("A = 2 + 3 = 5", "5", "a chain of equations ends in the value"),
    ("(x,y) = (1,2)", "(1,2)", "a name of a point"),
    ("2, 1", "1, 2", "a list has no order"),
    (r"\{1,2\}", "2,1", "nor has a set"),
    ("7 or 8", "7, 8", "a list in words"),
    (r"\pm 3", "3, -3", "plus-minus is two values"),
    (r"3+2\sqrt2, 3-2\sqrt2", r"3 \pm 2\sqrt{2}", "plus-minus written out"),
    ("x=1, 2", "1,2", "two values of one name"),
    (r"(3, \pi/2)", r"(3,\frac{\pi}{2})", "item by item, the last symbolically"),
    (r"(-\infty,2)\cup(3,\infty)", r"(3,\infty)\cup(-\infty,2)", "a union has no order"),
    (r"\begin{pmatrix}0.5\\1\end{pmatrix}", r"\begin{pmatrix} 1/2 \\ 1 \end{pmatrix}", "a matrix item by item"),
    ("(B)", r"\text{(B)}", "a choice"),
    (r"\textbf{(B)}\ 12 \text{ cows}", "B", "a choice with its text"),
    (r"\text{No.}", "no", "words without case and dots"),
    (r"4:30 \text{ p.m.}", r"\text{4:30 p.m.}", "a time"),
    ("9:00 AM", "9 a.m.", "a time without its minutes"),
    (r"\sqrt{16}", "4", "symbolic"),
    (r"(x+1)^2", r"x^2+2x+1", "symbolic"),
    (r"\frac{\sqrt3}{3}", r"\frac{1}{\sqrt{3}}", "symbolic"),
    (r"2 \le x \le 5", "[2,5]", "an inequality is an interval"),
    ("[2,5]", r"2 \le x \le 5", "and the other way round"),
    (r"5\text{ cm}", "5", "a unit on one side only"),
    ("90^\\circ", "90", "degrees"),
]
UNEQUAL = [
    ("42", "4", "the gold is a substring"),
    ("0.3333", r"\frac{1}{3}", "nearly"),
    ("1.2.3", "1.23", "no number"),
    (r"50\%", "5", "another figure"),
    ("0.5%", r"50\%", "two percent signs say what they mean"),
    ("17 = 18", "18", "a wrong equation is not its right side"),
    ("x=5", "y=5", "another name"),
    ("x=5", "x=6", "another value"),
    ("7 or 8", "8", "a hedge"),
    ("1,2,2", "1,2", "one item too many"),
    ("1,2", "1,2,3", "one too few"),
    ("(2,1)", "(1,2)", "a tuple has an order"),
    ("(0,1)", "[0,1)", "an open end"),
    ("(1,2,3)", "(1,2,4)", "one item"),
    ("3", r"\pm 3", "half of two values"),
    (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\begin{pmatrix}1&2\end{pmatrix}", "another shape"),
    ("(C)", r"\text{(B)}", "another choice"),
    ("(B) (C)", "B", "two choices"),
    ("odd", r"\text{even}", "another word"),
    ("dod", "odd", "letters of a word are no factors"),
    ("4:30 a.m.", "4:30 p.m.", "half a day"),
    ("10 a.m.", "1 a.m.", "a digit of an hour"),
    ("5 cm", r"5\text{ meters}", "another unit"),
    (r"5\text{ million}", "5", "a word that changes the number"),
    ("1011_3", "1011_2", "another base"),
    (r"2^{100}+1", "2^{100}", "one part in 10^30"),
    (r"\frac{1}{2^{99}}", r"\frac{1}{2^{98}}", "tiny, and twice as large"),
    ("2^n+1", "2^{n+1}", "braces"),
    ("(x+1)^2", "x^2+2x+2", "symbolic"),
    ("3-4i", "3+4i", "the conjugate"),
    ("-5", "5", "a sign"),
    (r"\infty", r"-\infty", "a sign"),
    ("__import__('os').getcwd()", "5", "code is text"),
    ("the same as the gold", "5", "prose"),
]


@pytest.fixture(scope="module")
def found() -> dict[tuple[str, str], bool | None]:
    pairs = [(answer, gold) for answer, gold, _ in (*EQUAL, *UNEQUAL)]
    comparisons = compare(pairs, conventions=DEFAULT, deadline_s=30.0)
    return {pair: found.equal for pair, found in zip(pairs, comparisons, strict=True)}


@pytest.mark.parametrize(("answer", "gold", "reason"), EQUAL)
def test_equal(found: dict[tuple[str, str], bool | None], answer: str, gold: str, reason: str) -> None:
    assert found[answer, gold] is True, reason


@pytest.mark.parametrize(("answer", "gold", "reason"), UNEQUAL)
def test_unequal(found: dict[tuple[str, str], bool | None], answer: str, gold: str, reason: str) -> None:
    assert found[answer, gold] is False, reason


@pytest.mark.parametrize(
    ("answer", "gold", "tier"),
    [
        ("x+y", "x+y", "text"),
        (r"\text{No}", "no", "text"),
        ("9 a.m.", "9:00 AM", "text"),
        ("7.0", "7", "number"),
        ("22/7", "3.14", "rounding"),
        ("x+1", "1+x", "value"),
        ("2+5", "7", "form"),
        ("1,2", "2,1", "items"),
        ("x>1", r"(1,\infty)", "set"),
        ("x+y=1", "1-x-y=0", "relation"),
        ("5 cm", "5 kg", "unit"),
        ("11_2", "11_3", "unit"),
        ("who knows", "5", "unreadable"),
        ("x" * (MAX_ANSWER_CHARS + 1), "7", "limit"),
        ("(" * 100 + "1" + ")" * 100, "x", "limit"),
        (r"\int_0^1 2x\,dx", "y", "symbolic"),
    ],
)
def test_the_tier_is_named(answer: str, gold: str, tier: str) -> None:
    assert compare_cheaply(answer, gold).tier == tier


@pytest.mark.parametrize(
    ("answer", "gold", "reason"),
    [
        ("8", "7", "the numbers differ"),
        ("1,2,3", "1,2", "3 items instead of 2"),
        ("(1,3)", "(1,2)", "item 2 differs"),
        ("2+5", "7", "a sum or product is left to be worked out"),
        ("x=5", "y=5", "the equations differ"),
        ("5 cm", "5 kg", "cm is not kg"),
    ],
)
def test_the_reason_is_named(answer: str, gold: str, reason: str) -> None:
    assert compare_cheaply(answer, gold).reason == reason


def test_the_symbolic_tier_decides_what_the_parser_leaves() -> None:
    pairs = [(r"\int_0^1 2x\,dx + y", "y+1"), (r"\int_0^1 2x\,dx + y", "y+2")]
    equal, unequal = compare(pairs, conventions=DEFAULT, deadline_s=60.0)
    assert (equal.equal, equal.tier) == (True, "symbolic")
    assert (unequal.equal, unequal.tier) == (False, "symbolic")


def test_over_the_deadline_there_is_no_verdict() -> None:
    slow = r"\int_0^1 x^{9^{9^{9}}} dx + y"
    late, fine = compare([(slow, "y"), ("2y+2y", "4y")], conventions=DEFAULT, deadline_s=2.0)
    assert (late.equal, late.tier) == (None, "limit")
    assert fine.equal is True


def test_hostile_lists_take_bounded_work() -> None:
    answer = ",".join(f"({k},x)" for k in range(199))
    gold = ",".join(f"({k},y)" for k in range(199))
    assert compare_cheaply(answer, gold).equal is not True


NUMERALS = st.fractions().map(lambda value: f"{value.numerator}/{value.denominator}")


@given(NUMERALS, NUMERALS)
def test_comparing_numbers_is_symmetric_and_decided(one: str, other: str) -> None:
    assert compare_cheaply(one, other).equal is compare_cheaply(other, one).equal is (one == other)


@given(st.lists(NUMERALS, min_size=2, max_size=6), st.randoms())
def test_a_list_equals_its_permutations(items: list[str], random: object) -> None:
    shuffled = list(items)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert compare_cheaply(", ".join(shuffled), ", ".join(items)).equal is True


@given(st.text(max_size=120), st.text(max_size=20))
def test_any_text_can_be_compared(answer: str, gold: str) -> None:
    assert compare_cheaply(answer, gold).equal in (True, False, None)
