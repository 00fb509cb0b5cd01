"""What to look for in training texts, one class for each way in which a question can stand in them.

Each is made from all the questions, `read`s one text after the other, and then says what it saw of the question at an
index. Nothing but what can be part of an answer is kept of a text, so texts may be more than fit in memory.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from markscheme.benchmarks.question_text import text_hash, without_numbers

MAX_IDS = 5  # training texts named for each thing found: a file of samples holds a question many times
COMMON_QUESTIONS = 10  # an n-gram in more questions than this is a phrase of the test, such as its instruction


@dataclass(frozen=True, slots=True, kw_only=True)
class Sightings:
    """Training texts in which a question was seen."""

    count: int = 0
    ids: tuple[str, ...] = ()
    """The first few of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """What a question shares with one training text."""

    id: str
    """Of the training text."""
    ngrams: int
    """Of the question's n-grams, how many are in it."""
    words_share: float
    """Of the question's words, the share that is in these n-grams."""
    passage: str
    """The longest run of shared words."""


class WholeTexts:
    """Texts that are a question as a whole, with its numbers or with others."""

    def __init__(self, questions: Sequence[list[str]]) -> None:
        self._keys = [(text_hash(tokens), text_hash(without_numbers(tokens))) for tokens in questions]
        self._exact = {exact: _Seen() for exact, _ in self._keys}
        self._numberless = {numberless: _Seen() for _, numberless in self._keys}

    def read(self, id_: str, tokens: list[str]) -> None:
        exact = text_hash(tokens)
        if exact in self._exact:
            self._exact[exact].add(id_, id_)
        numberless = text_hash(without_numbers(tokens))
        if numberless in self._numberless:
            self._numberless[numberless].add(id_, exact)

    def seen(self, index: int) -> tuple[Sightings, Sightings]:
        """Of a question: with its numbers, and with others."""
        exact, numberless = self._keys[index]
        same = self._exact[exact].sightings()
        return same, self._numberless[numberless].sightings(without=exact, without_count=same.count)


class ShortTexts:
    """Texts that have a short question in them as a whole."""

    def __init__(self, questions: Sequence[list[str]], short: Sequence[int]) -> None:
        """
        Args:
            questions: the tokens of each.
            short: which of them to look for.
        """
        self._questions = questions
        self._seen = {index: _Seen() for index in short if questions[index]}
        self._by_first_token: dict[str, list[int]] = {}
        for index in self._seen:
            self._by_first_token.setdefault(questions[index][0], []).append(index)

    def read(self, id_: str, tokens: list[str]) -> None:
        found: dict[int, None] = {}
        for start, token in enumerate(tokens):
            for index in self._by_first_token.get(token, ()):
                end = start + len(self._questions[index])
                if tokens[start:end] == self._questions[index] and not _goes_on(tokens, start, end):
                    found[index] = None
        for index in found:
            self._seen[index].add(id_, id_)

    def seen(self, index: int) -> Sightings:
        return self._seen[index].sightings() if index in self._seen else Sightings()


class Ngrams:
    """Texts that share n words in a row with a question.

    Not looked for are n-grams that more than COMMON_QUESTIONS different questions have.
    """

    def __init__(self, questions: Sequence[list[str]], n: int) -> None:
        self._questions, self._n = questions, n
        distinct = dict.fromkeys(map(tuple, questions))  # one question asked many times is no phrase of the test
        num_questions = Counter(hash_ for words in distinct for hash_ in set(ngram_hashes(words, n)))
        self._ngrams = [
            {start: hash_ for start, hash_ in enumerate(hashes) if num_questions[hash_] <= COMMON_QUESTIONS}
            for hashes in (ngram_hashes(words, n) for words in questions)
        ]
        self._holders: dict[bytes, list[int]] = {}
        for index, of_one in enumerate(self._ngrams):
            for hash_ in dict.fromkeys(of_one.values()):
                self._holders.setdefault(hash_, []).append(index)
        self._shared: set[bytes] = set()
        self._overlaps: dict[int, list[Overlap]] = {}

    def count(self, index: int) -> int:
        """N-grams of a question that are looked for."""
        return len(self._ngrams[index])

    def read(self, id_: str, words: list[str]) -> None:
        found = dict.fromkeys(hash_ for hash_ in ngram_hashes(words, self._n) if hash_ in self._holders)
        self._shared.update(found)
        for index in dict.fromkeys(index for hash_ in found for index in self._holders[hash_]):
            self._keep(index, id_, [start for start, hash_ in self._ngrams[index].items() if hash_ in found])

    def seen(self, index: int) -> tuple[int, tuple[Overlap, ...]]:
        """How many of a question's n-grams any text has, and the texts that have most, the nearest first."""
        shared = sum(hash_ in self._shared for hash_ in self._ngrams[index].values())
        return shared, tuple(self._overlaps.get(index, ()))

    def _keep(self, index: int, id_: str, starts: list[int]) -> None:
        kept, words = self._overlaps.setdefault(index, []), self._questions[index]
        held = {place for start in starts for place in range(start, start + self._n)}
        words_share = len(held) / len(words)
        if len(kept) == MAX_IDS and words_share <= kept[-1].words_share:
            return
        runs = groupby(enumerate(starts), key=lambda numbered: numbered[1] - numbered[0])
        longest = max(([start for _, start in run] for _, run in runs), key=len)
        passage = " ".join(words[longest[0] : longest[-1] + self._n])
        kept.append(Overlap(id=id_, ngrams=len(starts), words_share=words_share, passage=passage))
        kept.sort(key=lambda overlap: -overlap.words_share)  # of two alike the first stays first
        del kept[MAX_IDS:]


def ngram_hashes(words: Sequence[str], n: int) -> list[bytes]:
    """A hash for each n words in a row, the same in every process, as Python's own hashes of texts are not."""
    return [
        hashlib.blake2b(" ".join(words[start : start + n]).encode("utf-8", "surrogatepass"), digest_size=8).digest()
        for start in range(len(words) - n + 1)
    ]


class _Seen:
    """Counts texts and keeps the first ids, one for each variant."""

    def __init__(self) -> None:
        self._count = 0
        self._first: dict[str, str] = {}

    def add(self, id_: str, variant: str) -> None:
        self._count += 1
        if len(self._first) <= MAX_IDS:  # one more than is shown, for one may be left out
            self._first.setdefault(variant, id_)

    def sightings(self, without: str = "", without_count: int = 0) -> Sightings:
        ids = [id_ for variant, id_ in self._first.items() if variant != without]
        return Sightings(count=self._count - without_count, ids=tuple(ids[:MAX_IDS]))


def _goes_on(tokens: list[str], start: int, end: int) -> bool:
    """Whether a formula at an edge of the question goes on beyond it: "2 + 3" in "2 + 3 * 4" is another problem."""
    return any(0 < edge < len(tokens) and all(map(_in_formula, tokens[edge - 1 : edge + 1])) for edge in (start, end))


def _in_formula(token: str) -> bool:
    """Not a word: a number, a sign, a LaTeX command, or a single letter, but that Chinese words may be one."""
    return not token.isalpha() or (len(token) == 1 and token.isascii())
