"""Multiple choice: which letter a completion commits to, and whether it is the gold's."""

from collections.abc import Sequence
from dataclasses import dataclass

from markscheme.scoring import GoldError, Outcome, Sample, Score
from markscheme.verifiers.compare import Comparison, compare
from markscheme.verifiers.conventions import Conventions
from markscheme.verifiers.golds import golds_of, named
from markscheme.verifiers.letters import gold_letter, last_choice, without_letter
from markscheme.verifiers.limits import MAX_ANSWER_CHARS, RULES_VERSION

_VERSION = "1"
"""Raise it with any change of the rules for letters that can change a verdict."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChoiceVerifier:
    """Value 1.0 if the completion's last statement names the gold's letter, 0.0 if another or none.

    A statement is whatever `extract` finds, or one of the usual phrases for a choice ("the correct option is C", "I
    choose C", "Answer C", "option (C)" or "**C**" on the last line, "故选C"). Its letter may be written (c), C., C) 42
    or \\text{(C)}. Two different letters in one statement are NO_ANSWER; a statement without a letter is INCORRECT, or,
    where `meta["choices"]` holds the choices' texts in the order of the letters, the letter of the one text it equals
    (UNDECIDED if that comparison hits a limit).

    Raises:
        GoldError: from `score`, if a gold is no letter of `letters`, or `meta["choices"]` is no list of texts.

    >>> sample = Sample(prompt="3 + 4? (A) 6 (B) 7", completion="So the correct option is (b).", gold="B")
    >>> ChoiceVerifier().score([sample])[0].value
    1.0
    """

    letters: str = "ABCDE"
    """The letters that are choices, in their order."""
    lenient: bool = False
    """Without a stated answer, take a bare letter on the last line, or what `extract` finds there."""
    deadline_s: float = 5.0
    """For one comparison with a choice's text in the symbolic tier."""

    def __post_init__(self) -> None:
        if not (self.letters.isascii() and self.letters.isalpha() and self.letters.isupper()):
            raise ValueError(f"letters must be capitals from A to Z, got {self.letters!r}")
        if len(set(self.letters)) != len(self.letters):
            raise ValueError(f"letters must all be different, got {self.letters!r}")
        if self.deadline_s <= 0:
            raise ValueError(f"deadline_s must be above 0, got {self.deadline_s}")

    @property
    def name(self) -> str:
        return "choice"

    @property
    def version(self) -> str:
        """The rules' versions with everything that can change a verdict."""
        policy = "lenient" if self.lenient else "strict"
        return f"{RULES_VERSION}.{_VERSION}-{self.letters}-{policy}-{self.deadline_s:g}s"

    def score(self, samples: Sequence[Sample]) -> list[Score]:
        golds = [self._golds(sample) for sample in samples]
        texts = [self._texts(sample, letters) for sample, letters in zip(samples, golds, strict=True)]
        found = [last_choice(sample.completion, self.letters, lenient=self.lenient) for sample in samples]
        asked: dict[tuple[str, str], Comparison | None] = {}
        for choice, choices in zip(found, texts, strict=True):
            if choice is not None and not choice.letters:
                asked.update(dict.fromkeys((choice.text, text) for text in choices.values()))
        pairs = list(asked)
        compared = dict(zip(pairs, compare(pairs, conventions=Conventions(), deadline_s=self.deadline_s), strict=True))
        scores: list[Score] = []
        for choice, choices, letters in zip(found, texts, golds, strict=True):
            if choice is None or len(choice.letters) > 1:
                evidence = {} if choice is None else {"kind": choice.kind, "letters": choice.letters}
                scores.append(Score(value=0.0, outcome=Outcome.NO_ANSWER, evidence=evidence))
            elif choice.letters:
                scores.append(_verdict(choice.letters, letters, {"kind": choice.kind}))
            else:
                comparisons = {letter: compared[choice.text, text] for letter, text in choices.items()}
                scores.append(_by_text(choice.text[:MAX_ANSWER_CHARS], choice.kind, comparisons, letters))
        return scores

    def _golds(self, sample: Sample) -> frozenset[str]:
        found = [(gold, gold_letter(gold, self.letters)) for gold in golds_of(sample)]
        for gold, letter in found:
            if not letter:
                raise GoldError(f"{named(sample)}: the gold {gold!r} is none of the letters {self.letters}")
        return frozenset(letter for _, letter in found)

    def _texts(self, sample: Sample, golds: frozenset[str]) -> dict[str, str]:
        """The text of each letter; one that is too long to be compared is left out."""
        choices = sample.meta.get("choices")
        if choices is None:
            return {}
        if not isinstance(choices, list | tuple) or not all(isinstance(text, str) for text in choices):
            raise GoldError(f'{named(sample)}: meta["choices"] must be a list of texts, got {choices!r:.200}')
        if len(choices) > len(self.letters):
            raise GoldError(f"{named(sample)}: {len(choices)} choices for the letters {self.letters}")
        if beyond := golds - set(self.letters[: len(choices)]):
            raise GoldError(f"{named(sample)}: the gold {min(beyond)!r} is none of the {len(choices)} choices")
        texts = {letter: without_letter(text, letter) for letter, text in zip(self.letters, choices, strict=False)}
        return {letter: text for letter, text in texts.items() if len(text) <= MAX_ANSWER_CHARS}


def _verdict(letter: str, golds: frozenset[str], evidence: dict[str, str]) -> Score:
    right = letter in golds
    outcome = Outcome.CORRECT if right else Outcome.INCORRECT
    return Score(value=float(right), outcome=outcome, answer=letter, evidence=evidence)


def _by_text(text: str, kind: str, comparisons: dict[str, Comparison], golds: frozenset[str]) -> Score:
    """The score of an answer that is no letter, compared with the text of each choice."""
    equal = [letter for letter, one in comparisons.items() if one.equal]
    if len(equal) == 1:
        return _verdict(equal[0], golds, {"kind": kind, "text": text})
    unclear = [one for letter, one in comparisons.items() if letter in golds and one.equal is None]
    if unclear and not equal:
        outcome = Outcome.FAILED if any(one.broken for one in unclear) else Outcome.UNDECIDED
        evidence = {"kind": kind, "tier": unclear[0].tier, "reason": unclear[0].reason}
        return Score(value=None, outcome=outcome, answer=text, evidence=evidence)
    reason = "equals several choices" if equal else "no letter, and the text of no choice"
    return Score(value=0.0, outcome=Outcome.INCORRECT, answer=text, evidence={"kind": kind, "reason": reason})
