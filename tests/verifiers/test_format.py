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


def test_a_form_that_cannot_be_counted_is_refused() -> None:
    with pytest.raises(ValueError, match="form must be one of box, tag, hashes"):
        FormatVerifier(form=AnswerKind.SENTENCE)
