import pytest

from markscheme.scoring import Outcome, Sample
from markscheme.verifiers import AnswerKind, FormatVerifier

CASES = [
    (AnswerKind.BOX, r"So \boxed{7}.", 1.0, "one box"),
    (AnswerKind.BOX, r"So \boxed{wrong}.", 1.0, "whether it is right is another question"),
    (AnswerKind.BOX, r"\boxed{7} \boxed{7}", 0.0, "two boxes"),
    (AnswerKind.BOX, r"\boxed{}", 0.0, "an empty box"),
    (AnswerKind.BOX, r"\boxed{7", 0.0, "a box that is cut off"),
    (AnswerKind.BOX, "#### 7", 0.0, "another form"),
    (AnswerKind.BOX, "", 0.0, "nothing written earns nothing"),
    (AnswerKind.TAG, "<answer>7</answer>", 1.0, "one tag"),
    (AnswerKind.TAG, "<answer>7", 0.0, "an open tag"),
    (AnswerKind.TAG, "<answer> </answer>", 0.0, "an empty tag"),
    (AnswerKind.HASHES, "6 + 1\n#### 7", 1.0, "one line"),
    (AnswerKind.HASHES, "#### 6\n#### 7", 0.0, "two lines"),
    (AnswerKind.HASHES, "it is #### 7", 0.0, "not at the start of a line"),
]


@pytest.mark.parametrize(("form", "completion", "value", "reason"), CASES)
def test_exactly_one_statement(form: AnswerKind, completion: str, value: float, reason: str) -> None:
    (score,) = FormatVerifier(form=form).score([Sample(prompt="", completion=completion)])
    assert (score.value, score.outcome) == (value, Outcome.RATED), reason


THOUGHTS = [
    ("<think>5 + 2</think>\n<answer>7</answer>", 1.0, "a thought and an answer"),
    ("5 + 2</think>\n<answer>7</answer>", 1.0, "the prompt has opened the thought"),
    ("<think>5 + 2 <answer>6</answer> no</think>\n<answer>7</answer>", 1.0, "what the thought holds does not count"),
    ("<answer>7</answer>", 0.0, "no thought"),
    ("<think>5 + 2\n<answer>7</answer>", 0.0, "a thought that never ends"),
    ("<think><answer>7</answer></think>", 0.0, "the answer in the thought"),
    ("<answer>7</answer> <think>5 + 2</think>", 0.0, "the answer before the thought"),
    ("Well. <think>5 + 2</think> <answer>7</answer>", 0.0, "words before the thought"),
    ("<think>5</think> <think>2</think> <answer>7</answer>", 0.0, "two thoughts"),
    ("<think><think>5</think> <answer>7</answer>", 0.0, "opened twice"),
    ("<think>5</think> </think> <answer>7</answer>", 0.0, "closed twice"),
    ("</think><think> <answer>7</answer>", 0.0, "the wrong way round"),
    ("<think>5</think> <answer>7</answer> <answer>7</answer>", 0.0, "two answers"),
]


@pytest.mark.parametrize(("completion", "value", "reason"), THOUGHTS)
def test_one_thought_then_one_statement(completion: str, value: float, reason: str) -> None:
    (score,) = FormatVerifier(form=AnswerKind.TAG, thought=True).score([Sample(prompt="", completion=completion)])
    assert score.value == value, reason


def test_a_form_that_cannot_be_counted_is_refused() -> None:
    with pytest.raises(ValueError, match="form must be one of box, tag, hashes"):
        FormatVerifier(form=AnswerKind.SENTENCE)
