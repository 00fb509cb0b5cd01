import pytest
from hypothesis import given
from hypothesis import strategies as st

from markscheme.problems import question_hash


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Mia has 3 eggs.", " mia  HAS\n3 eggs. ", True),
        ("Mia has 3 eggs.", "Mia has 4 eggs.", False),
        ("a b", "ab", False),
        ("\ud800", "\udfff", False),  # halves of surrogate pairs
    ],
)
def test_words_count_and_case_and_space_do_not(one: str, other: str, same: bool) -> None:
    assert (question_hash(one) == question_hash(other)) == same


@given(st.text(st.characters()))
def test_any_text_has_a_hash(question: str) -> None:
    assert len(question_hash(question)) == 16
