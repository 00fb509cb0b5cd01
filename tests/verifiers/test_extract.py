import time

import pytest

from markscheme.verifiers.extract import extract
from markscheme.verifiers.statements import AnswerKind

STATED = [
    (r"So it is \boxed{7}.", "7", AnswerKind.BOX, "a box"),
    (r"First \boxed{6}. No, wait.\n\nIt is \boxed{7}.", "7", AnswerKind.BOX, "who corrects himself boxes twice"),
    (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}", AnswerKind.BOX, "braces inside"),
    (r"\boxed{\{1, 2\}}", r"\{1, 2\}", AnswerKind.BOX, "escaped braces do not count"),
    (r"$\fbox{3}$", "3", AnswerKind.BOX, "the other box command"),
    (r"$\boxed 2$", "2", AnswerKind.BOX, "a box without braces"),
    (r"$\boxed {x+1}$", "x+1", AnswerKind.BOX, "a blank before the brace"),
    (r"} and { then \boxed{5}", "5", AnswerKind.BOX, "stray braces elsewhere"),
    (r"\boxed{3} and $\boxed{5}$", "3, 5", AnswerKind.BOX, "joined boxes are one list"),
    (r"\boxed{3}, \boxed{3}", "3", AnswerKind.BOX, "the same box twice is one answer"),
    (r"\boxed{7} or \boxed{8}", "7, 8", AnswerKind.BOX, "a hedge is a list, and equals neither"),
    (r"It has \boxed{3} sides. Its area is \boxed{5}.", "5", AnswerKind.BOX, "another sentence, another result"),
    ("<answer>12</answer>", "12", AnswerKind.TAG, "a tag"),
    ("<answer>1</answer> hm <ANSWER> 12 </ANSWER>", " 12 ", AnswerKind.TAG, "the last tag, in any case"),
    (r"<think>\boxed{3}</think><answer>\boxed{4}</answer>", "4", AnswerKind.TAG, "a box inside the tag"),
    (r"\boxed{3} <answer>4</answer>", "4", AnswerKind.TAG, "the last explicit statement counts"),
    (r"<answer>4</answer> that is \boxed{3}", "3", AnswerKind.BOX, "the last explicit statement counts"),
    ("2 + 2\n#### 4", "4", AnswerKind.HASHES, "GSM8K"),
    ("#### 1,000\n\nQuestion: next one", "1,000", AnswerKind.HASHES, "a base model that runs on"),
    ("#### Step 1: add\n" + r"\boxed{9}", "9", AnswerKind.BOX, "a heading is no answer"),
    (r"\boxed{9}" + "\n#### Check\nfine", "9", AnswerKind.BOX, "a heading behind the box is no answer"),
    ("The answer is 18.", "18", AnswerKind.SENTENCE, "a sentence"),
    ("The answer is 3.5. Thanks!", "3.5", AnswerKind.SENTENCE, "a decimal point ends no sentence"),
    ("The answer is 18 because 9 * 2 = 18.", "18", AnswerKind.SENTENCE, "the reason is no part of it"),
    ("**Final Answer:** $x^2$", "x^2", AnswerKind.SENTENCE, "bold marks and dollars"),
    (r"The final answer is \(\frac{3}{4}\).", r"\frac{3}{4}", AnswerKind.SENTENCE, "inline math"),
    ("answer:x=5", "x=5", AnswerKind.SENTENCE, "no blank behind the colon"),
    ("The answer is $0.5x. $", "0.5x.", AnswerKind.SENTENCE, "a dot inside a formula"),
    ("Answer:\n42", "42", AnswerKind.SENTENCE, "the answer on the next line"),
    ("He has 5 left.\nA: 5", "5", AnswerKind.SENTENCE, "a last line A:"),
    ("The answer is 5. Wait. The answer is 6.", "6", AnswerKind.SENTENCE, "the last sentence counts"),
    ("所以答案是18。", "18", AnswerKind.SENTENCE, "Chinese"),
    ("答案：3/4", "3/4", AnswerKind.SENTENCE, "Chinese with a colon"),
]


@pytest.mark.parametrize(("completion", "answer", "kind", "reason"), STATED)
@pytest.mark.parametrize("lenient", [False, True])
def test_a_stated_answer_is_found(completion: str, answer: str, kind: AnswerKind, reason: str, lenient: bool) -> None:
    statement = extract(completion, lenient=lenient)
    assert statement is not None, reason
    assert (statement.answer, statement.kind) == (answer, kind), reason


NOTHING = [
    ("", "nothing"),
    ("   \n ", "white space"),
    (r"\boxed{}", "an empty box"),
    (r"\boxed{ $ $ }", "a box of white space"),
    (r"\boxed{\boxed{}}", "an empty box in a box"),
    (r"\boxed{\text{not } 18}", "a negation in a box"),
    (r"It is \boxed{7} maybe rather \boxed{8}", "two different answers in one sentence"),
    ("<answer></answer>", "an empty tag"),
    ("The answer is not 18.", "a negation"),
    ("the answer", "an anchor with nothing behind it"),
    ("Multiply to get the answer", "a word is no anchor"),
    ("####", "a mark with nothing behind it"),
    ("I do not know", "no statement at all"),
]
NOTHING_STRICTLY = [
    (r"\boxed{7", "a box that is cut off"),
    ("<answer>7", "a tag that is cut off"),
    ("</answer>7<answer>", "tags the wrong way round"),
    ("This answer issue is 7-fold", "part of a word is no anchor"),
    ("It is ####7", "not at the start of a line"),
]


@pytest.mark.parametrize(("completion", "reason"), NOTHING)
@pytest.mark.parametrize("lenient", [False, True])
def test_no_answer_is_none(completion: str, reason: str, lenient: bool) -> None:
    assert extract(completion, lenient=lenient) is None, reason


@pytest.mark.parametrize(("completion", "reason"), NOTHING_STRICTLY)
def test_a_broken_statement_is_none_strictly_and_a_last_number_leniently(completion: str, reason: str) -> None:
    assert extract(completion) is None, reason
    statement = extract(completion, lenient=True)
    assert statement is not None
    assert (statement.answer, statement.kind) == ("7", AnswerKind.LAST_NUMBER)


LAST_LINE = [
    ("He has 3 + 4 = 7 apples.", "7", "the last number of the last line"),
    ("There are 9.\nSo she pays $1,250.50 a year.", "1,250.50", "thousands and decimals"),
    ("The midpoint is **(-1, 6)**.", "(-1, 6)", "bold print"),
    ("It is -4", "-4", "a sign"),
    ("It is either 17 or 18.", None, "a hedge"),
    ("It is not 18.", None, "a negation"),
    ("There are 9.\nThat is all.", None, "only the last line counts"),
    ("So it is 0." + 1_200 * "3", None, "a number that does not end"),
    ("So it is 0." + 200 * "3", "0." + 200 * "3", "a long number"),
]


@pytest.mark.parametrize(("completion", "answer", "reason"), LAST_LINE)
def test_only_the_lenient_policy_reads_the_last_line(completion: str, answer: str | None, reason: str) -> None:
    assert extract(completion) is None
    statement = extract(completion, lenient=True)
    assert (statement.answer.replace("$", "") if statement else None) == answer, reason


@pytest.mark.parametrize(
    "unit",
    ["\\boxed{", "{", "}", "<answer>", "the answer is ", "#### 1\n", "answer ", "**", "$", "\\", "\\boxed{1} or ", "9"],
)
def test_the_scan_is_linear(unit: str) -> None:
    started = time.monotonic()
    extract(unit * (400_000 // len(unit)), lenient=True)
    assert time.monotonic() - started < 20  # a quadratic scan takes minutes


def test_only_the_end_of_a_huge_completion_is_read() -> None:
    assert extract(r"\boxed{1}" + " " * 300_000) is None
    statement = extract("x" * 300_000 + r"\boxed{1}")
    assert statement is not None
    assert statement.answer == "1"


def test_offsets_point_at_the_statement() -> None:
    text = r"So $\boxed{7}$ it is."
    statement = extract(text)
    assert statement is not None
    assert text[statement.start : statement.end] == r"\boxed{7}"
