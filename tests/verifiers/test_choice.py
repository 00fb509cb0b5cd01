import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis.strategies import sampled_from, text

from markscheme.scoring import GoldError, Outcome, Sample, Score
from markscheme.verifiers import ChoiceVerifier

RIGHT, WRONG, NONE = Outcome.CORRECT, Outcome.INCORRECT, Outcome.NO_ANSWER

# The gold is C. (completion, outcome, the letters it names, reason)
CASES = [
    (r"\boxed{C}", RIGHT, "a box"),
    (r"\boxed{c}", RIGHT, "a box marks it: case does not count"),
    (r"\boxed{\text{(C)}}", RIGHT, "in parentheses, as text"),
    (r"\boxed{\textbf{(C)}\ 42}", RIGHT, "AMC's own way"),
    (r"\boxed{B}", WRONG, "another letter"),
    (r"\boxed{42}", WRONG, "no letter"),
    (r"\boxed{x = C}", WRONG, "a formula"),
    (r"\boxed{A}, no: \boxed{C}", RIGHT, "the last statement counts"),
    (r"\boxed{B} and \boxed{C}", NONE, "two letters"),
    (r"\boxed{C, D}", NONE, "two letters in one box"),
    (r"\boxed{42 \text{ (C)}}", RIGHT, "the letter behind its text"),
    ("<answer>c</answer>", RIGHT, "a tag"),
    ("#### C", RIGHT, "hashes"),
    ("The answer is C.", RIGHT, "a sentence"),
    ("The answer is (c) 42.", RIGHT, "lower case in parentheses"),
    ("The answer is c.", RIGHT, "lower case as the last word of the sentence"),
    ("The answer is B or C.", NONE, "a hedge"),
    ("The answer is either (B) or (C).", NONE, "a hedge"),
    ("The answer is not C.", NONE, "denied"),
    ("The answer is not B.", NONE, "denied"),
    ("Is the answer C?", NONE, "a question"),
    ("The answer is A good one.", WRONG, "an article"),
    ("Answer: A train leaves at noon.", WRONG, "an article"),
    ("Answer C", RIGHT, "announced"),
    ("**Answer: C**", RIGHT, "in bold print"),
    ("ANSWER: c", RIGHT, "capitals"),
    ("Answer:\n\n**C. 42**", RIGHT, "on a line of its own"),
    ("Answer: C) 42", RIGHT, "with its text"),
    ("Answer: B\n\nAnswer: C", RIGHT, "the last one counts"),
    ("Answer: C\n\nAnswer: D", WRONG, "the last one counts"),
    ("Answer: B\n\\boxed{C}", RIGHT, "the last one counts, whatever its form"),
    ("\\boxed{B}\nThe correct option is C", RIGHT, "the last one counts, whatever its form"),
    ("The correct option is c", RIGHT, "marked by its noun"),
    ("the right choice would be (C), since 3 + 4 = 7", RIGHT, "a reason behind it"),
    ("The best answer is C: 42", RIGHT, "a colon"),
    ("the correct answer is C, A being wrong", RIGHT, "A is spoken of, not chosen"),
    ("Option A is wrong. Option (C) is correct because of it.", RIGHT, "option C is correct"),
    ("Option C is incorrect.", NONE, "refused"),
    ("Options: (A) 3 (B) 4 (C) 5", NONE, "the question told again"),
    ("If x is 3, the correct option is C.", RIGHT, "a condition in another clause"),
    ("He says the correct option is B", NONE, "someone else's"),
    ("I think the correct option is (C).", RIGHT, "one's own"),
    ("I choose C", RIGHT, "chosen"),
    ("I choose a book", NONE, "an article"),
    ("I would not choose C", NONE, "not chosen"),
    ("Let's go with C.", RIGHT, "chosen"),
    ("I choose option (C) over option (B).", RIGHT, "the one that is chosen"),
    ("So it must be option (C).", RIGHT, "on the last line"),
    ("Both option (B) and option (C) fit.", NONE, "two on the last line"),
    ("option (C)\nis one of them", NONE, "not on the last line"),
    ("It follows.\n**C**", RIGHT, "bold print alone on the last line"),
    ("It follows.\n**(C) 42**", RIGHT, "bold print with its text"),
    ("It follows.\n(c)", RIGHT, "parentheses alone on the last line"),
    ("It follows.\nC", NONE, "a bare letter: only the lenient policy takes it"),
    ("A) 3\nB) 4\nC) 5", NONE, "the question told again"),
    ("故选C", RIGHT, "Chinese"),
    ("所以选择 (C)。", RIGHT, "Chinese"),
    ("正确选项是C。", RIGHT, "Chinese"),
    ("因此，正确答案为 C", RIGHT, "Chinese"),
    ("选项A错误，选项C正确", RIGHT, "Chinese"),
    ("答案：B或C", NONE, "a hedge in Chinese"),
    ("不选C", NONE, "not chosen"),
    ("<think>Answer: C", NONE, "a thought without an end"),
    ("<think>Answer: B</think>Answer: C", RIGHT, "the answer behind the thought"),
    ("", NONE, "nothing written"),
]


def score(completion: str, gold: Any = "C", *, lenient: bool = False, **meta: Any) -> Score:
    sample = Sample(prompt="", completion=completion, gold=gold, id="q1", meta=meta)
    return ChoiceVerifier(lenient=lenient).score([sample])[0]


@pytest.mark.parametrize(("completion", "outcome", "reason"), CASES)
def test_which_letter_a_completion_chooses(completion: str, outcome: Outcome, reason: str) -> None:
    found = score(completion)
    assert found.outcome is outcome, (reason, found)
    assert found.value == float(outcome is RIGHT)


@pytest.mark.parametrize("case", [case for case in CASES if case[1] is RIGHT])
def test_the_same_completion_is_wrong_for_another_gold(case: tuple[str, Outcome, str]) -> None:
    assert score(case[0], "B").outcome is WRONG


@pytest.mark.parametrize(
    ("completion", "outcome"),
    [
        ("It follows.\nC", RIGHT),
        ("It follows.\nc.", RIGHT),
        ("It follows.\n(C) 42", RIGHT),
        ("A) 3\nB) 4\nC) 5", WRONG),
        ("Answer: B\n\nC", WRONG),
        ("", NONE),
    ],
)
def test_the_lenient_policy_takes_a_bare_letter_on_the_last_line(completion: str, outcome: Outcome) -> None:
    assert score(completion, lenient=True).outcome is outcome


CHOICES = [r"\frac{1}{2}", "0.6", "the dog", "12 cm"]


@pytest.mark.parametrize(
    ("completion", "outcome", "answer", "reason"),
    [
        (r"\boxed{0.5}", RIGHT, "A", "equal to one choice"),
        (r"\boxed{\frac{3}{5}}", WRONG, "B", "equal to another"),
        ("The answer is dog.", WRONG, "C", "words"),
        (r"\boxed{0.12 \text{ m}}", WRONG, "D", "units are converted"),
        (r"\boxed{7}", WRONG, "7", "equal to none"),
        (r"\boxed{B. 0.5}", WRONG, "B", "a letter counts before its text"),
    ],
)
def test_the_text_of_a_choice_counts_as_its_letter(completion: str, outcome: Outcome, answer: str, reason: str) -> None:
    found = score(completion, "A", choices=CHOICES)
    assert (found.outcome, found.answer) == (outcome, answer), reason


def test_a_text_that_equals_two_choices_is_neither() -> None:
    found = score(r"\boxed{0.50}", "A", choices=["1/2", "0.5", "3"])
    assert found.outcome is WRONG
    assert found.evidence["reason"] == "equals several choices"


def test_the_letters_in_front_of_the_choices_are_left_out() -> None:
    assert score(r"\boxed{0.5}", "B", choices=["(A) 2/5", "B. 1/2"]).outcome is RIGHT


def test_an_answer_that_is_too_long_to_be_compared_is_undecided() -> None:
    found = score(r"\boxed{" + "1+" * 2_000 + "1}", "A", choices=["1", "2"])
    assert (found.value, found.outcome) == (None, Outcome.UNDECIDED)


@pytest.mark.parametrize(
    "gold", ["B", "b", "(B)", r"\text{(B)}", r"\textbf{(B) }", "B) 42", "B. 42", r"\boxed{B}", ("B", "C")]
)
def test_golds_in_any_dress(gold: Any) -> None:
    assert score("Answer: B", gold).outcome is RIGHT
    assert score("Answer: A", gold).outcome is WRONG


@pytest.mark.parametrize("gold", [None, "", "F", "42", "A dog", "BC", ("B", "42"), r"\frac{1}{2}"])
def test_a_gold_that_is_no_letter_is_an_error(gold: Any) -> None:
    with pytest.raises(GoldError, match="q1"):
        score("Answer: B", gold)


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ("1 2 3 4 5", "must be a list of texts"),
        ([1, 2, 3, 4, 5], "must be a list of texts"),
        (["1"] * 6, "6 choices for the letters ABCDE"),
        (["1", "2"], "the gold 'C' is none of the 2 choices"),
    ],
)
def test_choices_that_cannot_be_read_are_an_error(choices: Any, message: str) -> None:
    with pytest.raises(GoldError, match=message):
        score("Answer: B", choices=choices)


def test_other_letters_can_be_choices() -> None:
    verifier = ChoiceVerifier(letters="ABCDEFGHIJ")
    (found,) = verifier.score([Sample(prompt="", completion="The answer is (i).", gold="I")])
    assert found.outcome is RIGHT
    assert score("The answer is F.").outcome is WRONG


@pytest.mark.parametrize("letters", ["", "abc", "AAB", "A1", "A B", "ÄB"])
def test_letters_are_different_capitals(letters: str) -> None:
    with pytest.raises(ValueError, match="letters must"):
        ChoiceVerifier(letters=letters)


@given(text(max_size=200), sampled_from([False, True]))
def test_any_text_gets_a_verdict(completion: str, lenient: bool) -> None:
    assert score(completion, lenient=lenient).outcome in (RIGHT, WRONG, NONE)


@given(text("abcdABCD ().,:*\n$\\{}或选不", max_size=80), sampled_from("ABCDE"))
def test_whatever_stands_before_the_last_statement_counts(before: str, letter: str) -> None:
    found = score(f"{before}\n\nThe correct option is ({letter}).")
    assert found.outcome is (RIGHT if letter == "C" else WRONG)


@pytest.mark.parametrize(
    "piece",
    [
        "answer ",
        "correct answer is ",
        "option ",
        "选",
        "(A) or ",
        "**",
        "\n",
        "\\text{",
        "answer is A,",
        "x",
        "\x00",
        "\ud800",
    ],
)
def test_time_grows_with_the_length(piece: str) -> None:
    began = time.process_time()
    score(piece * (1_000_000 // len(piece)))
    assert time.process_time() - began < 20
