"""Questions in training texts: by hand, against a plain search, and on the real data sets."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from markscheme.benchmarks.contamination import Contamination, Finding, TrainingText, contamination
from markscheme.benchmarks.question_search import MAX_IDS, Overlap, Sightings
from markscheme.benchmarks.question_text import text_hash, tokens_of, without_numbers
from markscheme.benchmarks.tasks import task_problems
from markscheme.problems import Problem

DOCS = Path(__file__).parents[2] / "docs" / "contamination.md"


def problems(*questions: str) -> list[Problem]:
    return [
        Problem(id=f"q{index}", question=question, gold="1", source="here", split="test")
        for index, question in enumerate(questions)
    ]


def texts(*given: str) -> list[TrainingText]:
    return [TrainingText(id=f"t{index}", text=text) for index, text in enumerate(given)]


def found(question: str, *training: str, n: int = 4) -> Finding | None:
    findings = contamination(problems(question), texts(*training), n).findings
    return findings[0] if findings else None


SAME = [
    ("What is  2 + 3?\r\n", "What is\n2 + 3?", "white space"),
    ("What is $x+1$ if $x=2$?", "What is $x + 1$ if $x = 2$?", "spaces in a formula"),
    ("HOW many EGGS?", "how many eggs", "case and punctuation"),
    ("Ｆｉｎｄ　３", "Find 3", "full-width letters"),
    ("Ann’s eggs", "Ann's eggs", "the apostrophe"),
    (r"Find $x^{2}$", r"Find \(x^2\)", "braces and delimiters"),
    ("$80,000 a year", "80000 a year", "a thousands comma"),
    (r"Add $10{,}000$ and $10,\!000$", "Add 10,000 and 10,000", "thousands in LaTeX"),
    (r"$\left(\dfrac{1}{2}\right)$", r"$(\frac{1}{2})$", "layout"),
    ("x² + 1", "x^2 + 1", "a superscript"),
    ("5 − 3", "5 - 3", "a minus sign"),
    ("12cm", "12 cm", "a unit"),
    (r"$\log_781$", r"$\log_7 81$", "an index of one digit"),
    (r"50\% of 4", "50% of 4", "percent in LaTeX"),
    ("a half-empty cup", "a half empty cup", "a hyphen"),
    ("How many?!", "How many?", "an exclamation"),
]
DIFFERENT = [
    ("What is 2 + 3?", "What is 2 + 4?", "another number"),
    ("What is 2 + 3?", "What is 2 - 3?", "another sign"),
    ("What is 23?", "What is 2 3?", "two numbers"),
    ("It costs 3.5", "It costs 35", "a decimal point"),
    ("It costs .5", "It costs 5", "a decimal point at the front"),
    ("Find 2³", "Find 23", "a superscript"),
    ("Find 2½", "Find 21/2", "a mixed number"),
    ("Find 5!", "Find 5", "a factorial"),
    ("5% of 4", "5 of 4", "percent"),
    ("(2 + 3) * 4", "2 + 3 * 4", "brackets"),
    ("x < 3", "x > 3", "a relation"),
    (r"$\sin x$", r"$\cos x$", "a LaTeX command"),
    (r"$\frac{1}{25}$", r"$\frac{12}{5}$", "where a number ends"),
]


@pytest.mark.parametrize(("one", "other", "reason"), SAME)
def test_the_same_problem_in_another_dress(one: str, other: str, reason: str) -> None:
    assert tokens_of(one) == tokens_of(other), reason


@pytest.mark.parametrize(("one", "other", "reason"), DIFFERENT)
def test_another_problem(one: str, other: str, reason: str) -> None:
    assert tokens_of(one) != tokens_of(other), reason


def test_numbers_in_digits_or_words_have_one_placeholder() -> None:
    tokens = without_numbers(tokens_of("Three of 1,200 eggs cost .5 or 2.75"))
    assert tokens == "# of # eggs cost # or #".split()


PIECES = st.sampled_from(["how", "many", "eggs", "x", "7", "2.5", "1,000", r"\frac", "+", "=", "(", ")", "松"])
SPACES = st.text(" \n\t\r\u00a0\u3000", min_size=1, max_size=3)


@given(st.lists(st.tuples(PIECES, SPACES, SPACES), max_size=20))
def test_white_space_never_matters(pieces: list[tuple[str, str, str]]) -> None:
    one = "".join(piece + space for piece, space, _ in pieces)
    other = "".join(space + piece for piece, _, space in pieces)
    assert tokens_of(one) == tokens_of(other)


@given(st.text())
def test_any_text_can_be_read(text: str) -> None:
    tokens = tokens_of(text)
    assert all(token.split() == [token] for token in tokens)
    assert len(without_numbers(tokens)) == len(tokens)
    assert len(text_hash(tokens)) == 64
    assert tokens_of(f"\n{text}\t") == tokens


def test_half_a_surrogate_pair_can_be_read() -> None:
    one = found("aa bb \ud800 cc dd", "aa bb cc dd")
    assert one is not None
    assert "exact" in one.kinds


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=4), st.data())
def test_another_number_is_the_same_text_with_other_numbers(numbers: list[int], data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(numbers) - 1))
    other = data.draw(st.integers(0, 10**6).filter(lambda number: number != numbers[place]))
    changed = [*numbers[:place], other, *numbers[place + 1 :]]
    one = found(sentence(numbers), sentence(changed), n=99)
    assert one is not None
    assert one.exact == Sightings()
    assert one.other_numbers == Sightings(count=1, ids=("t0",))
    assert one.kinds == {"other_numbers"}, "which is no contamination"


def sentence(numbers: Sequence[int]) -> str:
    return " and ".join(f"Ann buys {number:,} eggs" for number in numbers)


def test_what_is_shared_with_the_nearest_text() -> None:
    # a b c d e f g h: five n-grams of four words. t0 has abcd, bcde; t1 has efgh; t2 none, for its runs are of three.
    one = found("aa bb cc dd ee ff gg hh", "xx AA, bb cc dd ee", "ee ff gg hh xx", "aa bb cc xx ff gg hh")
    assert one is not None
    assert (one.num_ngrams, one.shared_ngrams) == (5, 3)
    assert one.overlaps == (
        Overlap(id="t0", ngrams=2, words_share=5 / 8, passage="aa bb cc dd ee"),
        Overlap(id="t1", ngrams=1, words_share=4 / 8, passage="ee ff gg hh"),
    )
    assert one.kinds == {"overlap", "mostly", "contaminated"}
    assert one.to_dict()["ngrams_share"] == 3 / 5


def test_half_of_the_words_is_not_most_of_them() -> None:
    one = found("aa bb cc dd ee ff gg hh", "ee ff gg hh xx")
    assert one is not None
    assert one.kinds == {"overlap", "contaminated"}


def test_the_nearest_text_holds_most_words_not_most_ngrams() -> None:
    # Four words in a row and four others are eight words in two n-grams; six in a row are six words in three.
    one = found("aa bb cc dd ee ff gg hh ii jj", "aa bb cc dd ee ff", "aa bb cc dd xx gg hh ii jj")
    assert one is not None
    assert [(overlap.id, overlap.ngrams, overlap.words_share) for overlap in one.overlaps] == [
        ("t1", 2, 0.8),
        ("t0", 3, 0.6),
    ]


def test_many_texts_are_counted_and_a_few_named() -> None:
    question, other = "aa bb cc dd 1", "aa bb cc dd 2"
    one = found(question, *[question] * 20, *[other] * 30)
    assert one is not None
    assert one.exact == Sightings(count=20, ids=tuple(f"t{index}" for index in range(MAX_IDS)))
    assert one.other_numbers == Sightings(count=30, ids=("t20",)), "one of each variant"
    assert [overlap.id for overlap in one.overlaps] == [f"t{index}" for index in range(MAX_IDS)]


SHORT = [
    ("What is 2 + 3?", "Be brief. What is 2 + 3? Say only the answer.", True, "within a prompt"),
    ("What is 2 + 3?", "What is 2 + 3 * 4?", False, "the formula goes on"),
    ("What is 2 + 3?", r"What is 2 + 3\sqrt{2}?", False, "it goes on with a command"),
    ("2 + 3", "4 * 2 + 3", False, "it began before"),
    ("What is 2 + 3?", "What is 2 - 3?", False, "another sign"),
    ("Shade it.", "Now shade it. Then count.", True, "words only"),
    ("3加4等于几？", "小明问：3加4等于几？请回答。", True, "Chinese"),
]


@pytest.mark.parametrize(("question", "text", "expected", "reason"), SHORT)
def test_a_short_question_is_looked_for_as_a_whole(question: str, text: str, expected: bool, reason: str) -> None:
    result = contamination(problems(question), texts(text), n=13)
    assert result.short == ("q0",), "never passed over in silence"
    assert (result.ids("inside") == ("q0",)) is expected, reason
    assert (result.ids("contaminated") == ("q0",)) is expected, reason


def test_a_question_of_punctuation_only_is_counted() -> None:
    result = contamination(problems("?", "aa bb"), texts("aa bb cc", "no"), n=3)
    assert result.short == ("q0", "q1")
    assert result.ids("inside") == ("q1",)


def test_phrases_that_many_questions_share_are_not_looked_for() -> None:
    instruction = "Please reason step by step."
    questions = [f"{instruction} How much is {word}?" for word in "ab cd ef gh ij kl mn op qr st uv".split()]
    few, many = (
        contamination(problems(*asked), texts(f"{instruction} Go."), n=5) for asked in (questions[1:], questions)
    )
    assert len(few.ids("overlap")) == 10
    assert many.ids("contaminated") == (), "eleven questions begin with it"
    again = contamination(problems(*[questions[0]] * 11), texts(f"{instruction} Go."), n=5)
    assert len(again.ids("overlap")) == 11, "but not a single question that is asked eleven times"


def test_drawings_make_no_ngrams_but_tell_questions_apart() -> None:
    drawing = "[asy] draw((0,0)--(1,0)--(1,1)--(0,1)--cycle); [/asy]"
    one, other = f"What is shaded? {drawing}", f"Which side is longest? {drawing}"
    assert found(one, other, n=5) is None
    assert contamination(problems(one), texts(other), n=5).short == ("q0",)
    moved = found(one, one.replace("(1,0)", "(2,0)"), n=5)
    assert moved is not None
    assert moved.kinds == {"other_numbers"}


WORDS = st.lists(st.sampled_from(["aa", "bb", "cc"]), min_size=1, max_size=9)


@given(st.lists(WORDS, min_size=1, max_size=4), st.lists(WORDS, max_size=4), st.integers(1, 5))
def test_it_finds_what_a_plain_search_finds(asked: list[list[str]], trained: list[list[str]], n: int) -> None:
    result = contamination(problems(*map(" ".join, asked)), texts(*map(" ".join, trained)), n)
    runs = [{tuple(words[i:j]) for i in range(len(words)) for j in range(i, len(words) + 1)} for words in trained]
    by_id = {one.id: one for one in result.findings}
    for index, words in enumerate(asked):
        size = min(n, len(words))
        grams = [tuple(words[start : start + size]) for start in range(len(words) - size + 1)]
        shared = [gram for gram in grams if any(gram in of_one for of_one in runs)]
        one = by_id.get(f"q{index}")
        assert (one is not None and "contaminated" in one.kinds) == bool(shared)
        assert (one.exact.count if one else 0) == trained.count(words)
        if one and len(words) >= n:
            assert one.shared_ngrams == len(shared)
            shares = [share_held(grams, of_one, len(words)) for of_one in runs]
            assert one.words_share == max(shares, default=0.0)
    assert result.short == tuple(f"q{index}" for index, words in enumerate(asked) if len(words) < n)


def share_held(grams: Sequence[tuple[str, ...]], runs: set[tuple[str, ...]], num_words: int) -> float:
    held = {start + offset for start, gram in enumerate(grams) if gram in runs for offset in range(len(gram))}
    return len(held) / num_words


def test_nothing_in_common() -> None:
    result = contamination(problems("aa bb cc dd"), texts("ee ff gg hh"), n=4)
    assert (result.findings, result.short, result.num_problems, result.num_texts) == ((), (), 1, 1)
    assert contamination([], [], n=4).to_dict()["counts"] == dict.fromkeys(result.to_dict()["counts"], 0)


def test_n_must_be_positive() -> None:
    with pytest.raises(ValueError, match="n must be at least 1, got 0"):
        contamination([], [], n=0)


def test_the_report_does_not_depend_on_the_process() -> None:
    code = """
import json
from markscheme.benchmarks.contamination import TrainingText, contamination
from markscheme.problems import Problem
asked = [Problem(id=str(i), question=f"aa bb cc dd {i} ee ff", gold="1", source="", split="") for i in range(5)]
training = [TrainingText(id=f"t{i}", text=f"bb cc dd {i % 7} ee ff gg") for i in range(40)]
print(json.dumps(contamination(asked, training, n=3).to_dict()))
"""
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(outputs) == 1
    assert json.loads(outputs.pop())["counts"]["overlap"] == 5


@pytest.fixture(scope="module")
def real(shared_data: Path) -> dict[str, Contamination]:
    """Of each data set, its test questions in its train questions."""
    return {name: in_train(name, shared_data) for name in ("gsm8k", "math")}


def in_train(name: str, data: Path) -> Contamination:
    trained = [TrainingText(id=one.id, text=one.question) for one in task_problems(name, "train", data=data)]
    return contamination(task_problems(name, "test", data=data), trained)


@pytest.mark.filterwarnings("ignore:math/train. left out 2 rows")
def test_no_question_of_gsm8k_is_in_both_parts(real: dict[str, Contamination]) -> None:
    assert real["gsm8k"].ids("exact") == real["gsm8k"].ids("other_numbers") == ()


@pytest.mark.filterwarnings("ignore:math/train. left out 2 rows")
def test_the_doubles_of_math(real: dict[str, Contamination]) -> None:
    doubles = {one.id: one.exact.ids for one in real["math"].findings if one.exact.count}
    assert doubles == {
        "math/test/1038": ("math/train/1414",),  # these two differ in white space at most
        "math/test/4656": ("math/train/2948",),
        "math/test/311": ("math/train/1598",),  # these two in white space and braces, x^2 and x^{2},
        "math/test/3023": ("math/train/750",),  # or in which side of a $ the full stop is on
    }


@pytest.mark.filterwarnings("ignore:math/train. left out 2 rows")
@pytest.mark.parametrize(("name", "title"), [("gsm8k", "GSM8K"), ("math", "MATH")])
def test_the_page_says_what_is_found(name: str, title: str, real: dict[str, Contamination]) -> None:
    assert docs_row(title, real[name]) in DOCS.read_text(encoding="utf-8"), docs_row(title, real[name])


def docs_row(title: str, result: Contamination) -> str:
    counts = result.to_dict()["counts"]
    share = f"{100 * counts['overlap'] / result.num_problems:.1f} %"
    cells = [f"{result.num_problems:,} in {result.num_texts:,}", f"{counts['exact']}", f"{counts['other_numbers']}"]
    cells += [f"{counts['overlap']} ({share})", f"{counts['mostly']}", f"{counts['short']}, {counts['inside']}"]
    return f"| {title} | {' | '.join(cells)} |"
