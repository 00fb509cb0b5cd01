"""How much of a completion was said before, word for word. Needs no gold."""

import math
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

from markscheme.scoring import Outcome, Sample, Score
from markscheme.verifiers.limits import MAX_COMPLETION_CHARS
from markscheme.verifiers.patterns import compiled_later

_VERSION = "1"
"""Raise it with any change that can change a value."""
_CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff"
_WORD = compiled_later(rf"[{_CJK}]|[^\W_{_CJK}]{{1,20}}|[^\w\s]|_")
"""Letters and digits in a row, in pieces of 20 so that a text without spaces has words too; one character of Chinese,
Japanese or Korean; any other visible character."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RepetitionPenalty:
    """RATED: -max_penalty times the share of words that lie in a passage of `ngram` words said earlier on.

    The penalty for repeated n-grams of Yeo et al. 2025 (arXiv:2502.03373, appendix C.2), which marks each token of an
    n-gram that occurred before, averaged over the completion. A word is a run of letters and digits, a character of
    Chinese, Japanese or Korean, or any other visible character; case does not count. Of a completion longer than
    MAX_COMPLETION_CHARS the end is read.

    >>> sample = Sample(prompt="", completion="one two three four. " * 4)
    >>> RepetitionPenalty(ngram=5, max_penalty=1.0).score([sample])[0].value
    -0.75
    """

    ngram: int = 40
    """Words that a passage must have to count; Yeo et al. use 40 tokens. Solutions carry formulas from line to line:
    with 10, right ones to MATH-500 lose 6 to 19 % on average, with 40 1 %; a base model that runs on still 36 %."""
    max_penalty: float = 1.0
    """The value lies between -max_penalty and 0."""

    def __post_init__(self) -> None:
        if self.ngram < 1:
            raise ValueError(f"ngram must be at least 1 word, got {self.ngram}")
        if not (self.max_penalty > 0 and math.isfinite(self.max_penalty)):
            raise ValueError(f"max_penalty must be above 0 and finite, got {self.max_penalty}")

    @property
    def name(self) -> str:
        return "repetition"

    @property
    def version(self) -> str:
        return f"{_VERSION}-{self.ngram}-{self.max_penalty:g}"

    def score(self, samples: Sequence[Sample]) -> list[Score]:
        return [self._score_one(sample.completion) for sample in samples]

    def _score_one(self, completion: str) -> Score:
        words = _WORD.findall(completion[-MAX_COMPLETION_CHARS:].lower())
        repeated = repeated_words(words, self.ngram)
        share = repeated / len(words) if words else 0.0
        return Score(
            value=-self.max_penalty * share if repeated else 0.0,
            outcome=Outcome.RATED,
            evidence={"words": len(words), "repeated": repeated},
        )


def repeated_words(words: Sequence[str], ngram: int) -> int:
    """How many words lie in an n-gram that began earlier too; time and memory grow with the number of words.

    >>> repeated_words("a b c a b d".split(), 2)
    2
    """
    seen: set[int] = set()
    repeated, covered = 0, 0
    for start, gram in enumerate(_grams(words, ngram)):
        if gram in seen:
            repeated += start + ngram - max(start, covered)
            covered = start + ngram
        seen.add(gram)
    return repeated


def _grams(words: Sequence[str], ngram: int) -> list[int]:
    """One number for each n-gram: two grams of one width that overlap or touch make a wider one."""
    grams, width = _numbered(words), 1
    while width < min(ngram, len(words)):
        step = min(width, ngram - width)
        grams = _numbered(zip(grams, grams[step:], strict=False))
        width += step
    return grams if width == ngram else []


def _numbered(things: Iterable[Hashable]) -> list[int]:
    numbers: dict[Hashable, int] = {}
    return [numbers.setdefault(thing, len(numbers)) for thing in things]
