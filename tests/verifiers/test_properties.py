"""What must hold for every input: spelling keeps the verdict, another value flips it, equality is an equivalence."""

import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from markscheme.scoring import Outcome, Sample
from markscheme.verifiers import MathVerifier
from markscheme.verifiers.compare import compare_cheaply
from markscheme.verifiers.conventions import Conventions

DEFAULT = Conventions()
GOLDS = [
    *("17", "-3", "1024", "10,080", r"\frac{7}{12}", r"-\frac{5}{3}", "2.75", r"3\frac{1}{2}", r"45\%", "0.0625"),
    *(r"3\sqrt{13}", r"\frac{1+\sqrt{5}}{2}", r"\sqrt[3]{4}", r"12\pi", r"\frac{\pi}{6}", r"\ln 3", r"e^2", "3-4i"),
    *(
        "x^2-5x+6",
        "(x-2)(x+3)",
        r"\frac{x+1}{x-1}",
        "2n+1",
        "a^2b",
        r"\sin 2x",
        "(2,-3)",
        r"\left(1,\frac{3}{2}\right)",
    ),
    *("[0,5)", r"(-\infty,2)\cup(3,\infty)", r"x\le 4", "y=2x-7", "x^2+y^2=25", r"\{1,2,5\}", "1, 4, 9"),
    *(r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", r"\text{even}", r"\text{(C)}", r"60^\circ", "1101_2", r"7\text{ cm}"),
    *(r"\$4.50", "3:5", r"4:30\text{ p.m.}", r"2\pm\sqrt{3}", r"\binom{8}{4}", "6!", "2^{20}"),
]
REWRITES: list[Callable[[str], str]] = [
    lambda text: text.replace(r"\frac", r"\dfrac"),
    lambda text: text if "\\" in text else text.replace("(", r"\left(").replace(")", r"\right)"),
    lambda text: f"${text}$",
    lambda text: rf"\({text}\)",
    lambda text: f" {text} ",
    lambda text: f"{text}.",
    lambda text: rf"\displaystyle {text}",
    lambda text: rf"\mathbf{{{text}}}",
    lambda text: rf"\boxed{{{text}}}",
    lambda text: text.replace("-", "\u2212"),
    lambda text: text.replace(r"\pi", "\u03c0").replace(r"\le ", "\u2264 ").replace(r"\infty", "\u221e"),
    lambda text: text.replace("+", " + ").replace("=", " = "),
    lambda text: text.replace(" ", r"\ ") if "text" not in text else text,
    lambda text: rf"{{{text}}}" if "," not in text else text,
    lambda text: rf"\color{{red}} {text}",
    lambda text: text.replace(",", r",\ ") if "10,080" not in text else text,
]


@pytest.mark.parametrize("gold", GOLDS)
def test_a_gold_equals_itself_in_every_presentation(gold: str) -> None:
    completions = [rf"\boxed{{{gold}}}", f"The answer is ${gold}$.", f"<answer>{gold}</answer>", f"#### {gold}"]
    for presented in (gold, f"${gold}$", rf"\boxed{{{gold}}}"):
        samples = [Sample(prompt="", completion=text, gold=presented, id="x") for text in completions]
        assert [score.outcome for score in MathVerifier().score(samples)] == [Outcome.CORRECT] * len(samples)


@given(st.sampled_from(GOLDS), st.lists(st.sampled_from(REWRITES), min_size=1, max_size=3, unique=True))
def test_respelling_keeps_the_verdict(gold: str, rewrites: list[Callable[[str], str]]) -> None:
    answer = gold
    for rewrite in rewrites:
        answer = rewrite(answer)
    assert compare_cheaply(answer, gold, DEFAULT).equal is True


@given(st.sampled_from(GOLDS), st.randoms(use_true_random=False))
def test_changing_a_digit_flips_the_verdict(gold: str, source: random.Random) -> None:
    digits = [position for position, character in enumerate(gold) if character.isdigit()]
    if not digits:
        return
    position = source.choice(digits)
    other = source.choice([digit for digit in "123456789" if digit != gold[position]])
    changed = gold[:position] + other + gold[position + 1 :]
    assert compare_cheaply(changed, gold, DEFAULT).equal is not True


@given(st.sampled_from(GOLDS), st.sampled_from(GOLDS))
def test_different_golds_are_different(one: str, other: str) -> None:
    if one != other:
        assert compare_cheaply(one, other, DEFAULT).equal is not True


INTEGERS = st.integers(-30, 30)


@given(INTEGERS, INTEGERS, INTEGERS)
def test_products_expand(a: int, b: int, c: int) -> None:
    factored, expanded = f"({a}x+{b})(x-{c})".replace("--", "+"), f"{a}x^2+({b - a * c})x+({-b * c})"
    assert compare_cheaply(factored.replace("+-", "-"), expanded, DEFAULT).equal is True
    assert compare_cheaply(f"{expanded}+1", expanded, DEFAULT).equal is False


@given(st.integers(2, 400), st.integers(1, 30))
def test_roots_of_squares_come_out(radicand: int, factor: int) -> None:
    inside, outside = rf"\sqrt{{{radicand * factor**2}}}", rf"{factor}\sqrt{{{radicand}}}"
    assert compare_cheaply(inside, outside, Conventions(evaluated=False)).equal is True
    assert compare_cheaply(rf"\sqrt{{{radicand * factor**2 + 1}}}", outside, DEFAULT).equal is False


@given(st.integers(10**8, 10**40), st.integers(1, 9))
def test_near_misses_of_large_numbers_are_misses(number: int, off: int) -> None:
    assert compare_cheaply(str(number + off), str(number), DEFAULT).equal is False
    assert compare_cheaply(f"x^2+{number + off}", f"x^2+{number}", DEFAULT).equal is False
    assert compare_cheaply(rf"\sqrt{{2}}+{number + off}", rf"\sqrt{{2}}+{number}", DEFAULT).equal is False


VALUES = st.fractions(min_value=-9, max_value=9, max_denominator=9)
SPELLINGS: list[Callable[[int, int], str]] = [
    lambda above, below: f"{above}/{below}",
    lambda above, below: rf"\frac{{{above}}}{{{below}}}",
    lambda above, below: rf"\frac{{{2 * above}}}{{{2 * below}}}",
    lambda above, below: rf"-\frac{{{-above}}}{{{below}}}",
    lambda above, below: rf"{above} \div {below}",
]


@given(VALUES, VALUES, VALUES, st.sampled_from(SPELLINGS), st.sampled_from(SPELLINGS), st.sampled_from(SPELLINGS))
def test_equality_of_numbers_is_an_equivalence(a, b, c, spell_a, spell_b, spell_c) -> None:  # type: ignore[no-untyped-def]
    texts = [spell(v.numerator, v.denominator) for spell, v in ((spell_a, a), (spell_b, b), (spell_c, c))]
    equal = [[compare_cheaply(one, other, DEFAULT).equal for other in texts] for one in texts]
    assert equal == [[x == y for y in (a, b, c)] for x in (a, b, c)]


@given(st.text(max_size=300), st.text(max_size=60))
def test_no_text_raises(answer: str, gold: str) -> None:
    assert compare_cheaply(answer, gold, DEFAULT).equal in (True, False, None)


FRAGMENTS = st.sampled_from(
    [
        *(
            r"\frac",
            r"\sqrt",
            "{",
            "}",
            "(",
            ")",
            "[",
            "]",
            "^",
            "_",
            "1",
            "2",
            "x",
            "+",
            "-",
            "=",
            "<",
            r"\le",
            ",",
            "|",
        ),
        *(
            r"\{",
            r"\}",
            r"\cup",
            r"\in",
            r"\mathbb{R}",
            r"\pm",
            "%",
            "!",
            "'",
            r"\text{ cm}",
            r"\pi",
            "i",
            "e",
            ":",
            "/",
        ),
        *(
            r"\sin",
            r"\log_",
            r"\begin{pmatrix}",
            r"\end{pmatrix}",
            "&",
            r"\\",
            r"\infty",
            r"\overline",
            "0.",
            "...",
            "$",
        ),
        *(r"\sum_{k=1}^", r"\int", r"\binom", "or", "and", " ", r"\ldots", r"\lfloor", r"\rfloor", "^\\circ", r"\to"),
        *("|", "/", r"\overline"),
    ]
)


@given(st.lists(FRAGMENTS, max_size=25).map("".join), st.lists(FRAGMENTS, max_size=8).map("".join))
def test_no_jumble_of_mathematics_raises(answer: str, gold: str) -> None:
    assert compare_cheaply(answer, gold, DEFAULT).equal in (True, False, None)
    assert compare_cheaply(answer, answer, DEFAULT).equal is not False
