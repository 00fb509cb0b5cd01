"""Whether evaluated questions stand in training texts: word for word, with other numbers, or in part.

A question that shares 13 words in a row with a training text or, where it is shorter, stands in one as a whole: this is
what Brown et al. 2020 (arXiv:2005.14165, section 4 and appendix C) call dirty. That more than half of its words are in
n-grams shared with one training text is the measure of Tulu 3 (Lambert et al. 2024, arXiv:2411.15124, section 3.2).
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from markscheme.benchmarks.question_search import Ngrams, Overlap, ShortTexts, Sightings, WholeTexts
from markscheme.benchmarks.question_text import tokens_of, without_drawings, words_of
from markscheme.problems import Problem

NGRAM_WORDS = 13  # the most that Brown et al. take; shorter n-grams are phrases that any two word problems share
MOST_WORDS = 0.5  # the bar of Tulu 3

Kind = Literal["exact", "other_numbers", "overlap", "mostly", "inside", "contaminated"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingText:
    """A text that something was trained on."""

    id: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What was found of one question."""

    id: str
    exact: Sightings
    """Its whole text, but for case, white space, punctuation and layout."""
    other_numbers: Sightings
    """Its whole text with other numbers."""
    inside: Sightings
    """Of a question without n-grams: its whole text within another."""
    num_ngrams: int
    shared_ngrams: int
    """How many of them are in training texts."""
    overlaps: tuple[Overlap, ...]
    """The training texts that share most, the nearest first."""

    @property
    def words_share(self) -> float:
        """The largest share of its words that is in n-grams of one training text."""
        return self.overlaps[0].words_share if self.overlaps else 0.0

    @property
    def kinds(self) -> frozenset[Kind]:
        """What it counts as. With other numbers only, it is not contaminated."""
        holds: dict[Kind, bool] = {
            "exact": self.exact.count > 0,
            "other_numbers": self.other_numbers.count > 0,
            "overlap": self.shared_ngrams > 0,
            "mostly": self.words_share > MOST_WORDS,
            "inside": self.inside.count > 0,
            "contaminated": bool(self.exact.count or self.inside.count or self.shared_ngrams),
        }
        return frozenset(kind for kind, is_so in holds.items() if is_so)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        ngrams_share = self.shared_ngrams / self.num_ngrams if self.num_ngrams else None
        return {**asdict(self), "ngrams_share": ngrams_share, "words_share": self.words_share}


@dataclass(frozen=True, slots=True, kw_only=True)
class Contamination:
    """What was found of all questions."""

    n: int
    """Words of an n-gram."""
    num_problems: int
    num_texts: int
    findings: tuple[Finding, ...]
    """Of the questions of which anything was found, in their order."""
    short: tuple[str, ...]
    """Questions without n-grams: they have fewer than n words, or none but phrases that many questions share."""

    def ids(self, kind: Kind) -> tuple[str, ...]:
        """The questions of a kind. Without those that are `contaminated`, an evaluation is on the others."""
        return tuple(one.id for one in self.findings if kind in one.kinds)

    def to_dict(self) -> dict[str, Any]:
        """For JSON: counts, the ids of the questions of each kind, and each finding."""
        ids = {**{kind: list(self.ids(kind)) for kind in get_args(Kind)}, "short": list(self.short)}
        return {
            "n": self.n,
            "num_problems": self.num_problems,
            "num_texts": self.num_texts,
            "counts": {kind: len(found) for kind, found in ids.items()},
            "ids": ids,
            "findings": [one.to_dict() for one in self.findings],
        }


def contamination(
    evaluated: Sequence[Problem], training: Iterable[TrainingText], n: int = NGRAM_WORDS
) -> Contamination:
    """Looks for the evaluated questions in training texts, which are read once, one after the other.

    Raises:
        ValueError: if n is below 1.
    """
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}")
    questions = [_Text.of(problem.question) for problem in evaluated]
    tokens, indices = [one.tokens for one in questions], range(len(questions))
    ngrams = Ngrams([one.words for one in questions], n)
    short = [index for index in indices if not ngrams.count(index)]
    whole_texts, short_texts = WholeTexts(tokens), ShortTexts(tokens, short)
    num_texts = 0
    for one in training:
        num_texts += 1
        text = _Text.of(one.text)
        whole_texts.read(one.id, text.tokens)
        short_texts.read(one.id, text.tokens)
        ngrams.read(one.id, text.words)

    findings = []
    for index, problem in enumerate(evaluated):
        exact, other_numbers = whole_texts.seen(index)
        shared, overlaps = ngrams.seen(index)
        findings.append(
            Finding(
                id=problem.id,
                exact=exact,
                other_numbers=other_numbers,
                inside=short_texts.seen(index),
                num_ngrams=ngrams.count(index),
                shared_ngrams=shared,
                overlaps=overlaps,
            )
        )
    return Contamination(
        n=n,
        num_problems=len(evaluated),
        num_texts=num_texts,
        findings=tuple(one for one in findings if one.kinds),
        short=tuple(evaluated[index].id for index in short),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Text:
    tokens: list[str]
    words: list[str]

    @classmethod
    def of(cls, text: str) -> "_Text":
        tokens, undrawn = tokens_of(text), without_drawings(text)
        return cls(tokens=tokens, words=words_of(tokens if undrawn == text else tokens_of(undrawn)))
