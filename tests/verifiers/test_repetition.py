import time

import pytest
from hypothesis import given
from hypothesis.strategies import data, integers, lists, sampled_from, text

from markscheme.scoring import Outcome, Sample
from markscheme.verifiers import RepetitionPenalty
from markscheme.verifiers.repetition import repeated_words


def value(completion: str, ngram: int = 3, max_penalty: float = 1.0) -> float:
    scorer = RepetitionPenalty(ngram=ngram, max_penalty=max_penalty)
    (score,) = scorer.score([Sample(prompt="", completion=completion)])
    assert score.outcome is Outcome.RATED
    assert score.value is not None
    return score.value


CASES = [
    ("", 0.0, "nothing written"),
    ("a b", 0.0, "shorter than one passage"),
    ("a b c d e f", 0.0, "nothing comes again"),
    ("a b c a b c", -3 / 6, "the second three of six words"),
    ("A b c a B C", -3 / 6, "case does not count"),
    ("a b c x a b c", -3 / 7, "three of seven"),
    ("a b c a b d", 0.0, "two words are no passage of three"),
    ("a a a a a", -4 / 5, "the passage that begins at each later word was seen; the first word was not repeated"),
    ("a b c d b c d a b c", -6 / 10, "b c d and a b c, and none of the ten words twice"),
    ("3+4=7, 3+4=7", -5 / 11, "signs are words: 3 + 4 = 7 comes again, the comma does not"),
    ("我们我们我们", -4 / 6, "Chinese by character: the passages from the third on, 我们我 and 们我们, were seen"),
    ("the sum is 5. the sum is 6.", -3 / 10, "the sum is; then another number"),
    ("a\nb\nc\n\na b\tc", -3 / 6, "spacing does not count"),
]


@pytest.mark.parametrize(("completion", "expected", "reason"), CASES)
def test_the_share_of_words_in_repeated_passages(completion: str, expected: float, reason: str) -> None:
    assert value(completion) == pytest.approx(expected), reason
    assert value(completion, max_penalty=0.5) == pytest.approx(expected / 2), reason


def naive(words: list[str], ngram: int) -> int:
    covered: set[int] = set()
    for start in range(len(words) - ngram + 1):
        gram = words[start : start + ngram]
        if any(words[other : other + ngram] == gram for other in range(start)):
            covered |= set(range(start, start + ngram))
    return len(covered)


words_of_few_letters = lists(sampled_from("abc"), max_size=40)


@given(words_of_few_letters, integers(1, 12))
def test_it_counts_what_comparing_all_passages_counts(words: list[str], ngram: int) -> None:
    assert repeated_words(words, ngram) == naive(words, ngram)


@given(text(max_size=300), integers(1, 50))
def test_any_text_is_rated_between_the_bounds(completion: str, ngram: int) -> None:
    assert -0.25 <= value(completion, ngram, max_penalty=0.25) <= 0


@given(words_of_few_letters, integers(1, 8), data())
def test_saying_a_passage_again_never_raises_the_value(words: list[str], ngram: int, data: data) -> None:  # type: ignore[valid-type]
    if len(words) < ngram:
        return
    start = data.draw(integers(0, len(words) - ngram))  # type: ignore[attr-defined]
    end = data.draw(integers(start + ngram, len(words)))  # type: ignore[attr-defined]
    longer = [*words, *words[start:end]]
    assert value(" ".join(longer), ngram) <= value(" ".join(words), ngram) + 1e-12


@pytest.mark.parametrize("piece", ["x", "a b ", "🙂", "\x00", "\ud800", "ab,", "的", " "])
def test_a_million_characters_take_no_more_than_their_end(piece: str) -> None:
    began = time.process_time()
    worth = value(piece * (1_000_000 // len(piece)), ngram=40)
    assert time.process_time() - began < 10
    assert worth == 0.0 if piece == " " else worth < -0.99


def test_bad_settings_are_named() -> None:
    with pytest.raises(ValueError, match="ngram must be at least 1 word, got 0"):
        RepetitionPenalty(ngram=0)
    for wrong in (0.0, -1.0, float("inf"), float("nan")):
        with pytest.raises(ValueError, match="max_penalty must be above 0 and finite"):
            RepetitionPenalty(max_penalty=wrong)


def test_settings_are_part_of_the_version() -> None:
    versions = {
        RepetitionPenalty().version,
        RepetitionPenalty(ngram=3).version,
        RepetitionPenalty(max_penalty=2.0).version,
    }
    assert len(versions) == 3
