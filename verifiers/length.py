"""What a completion's length is worth, in tokens. Neither scorer needs a gold, and neither looks at the text.

The length is `meta["completion_tokens"]`, which the loops set; a sample without it FAILED. A reward for shortness alone
is best earned by saying nothing: put it behind a verifier, `Gate(MathVerifier(), Conciseness(...))`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markscheme.scoring import Outcome, Sample, Score

_VERSION = "1"
"""Raise it with any change that can change a value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LengthPenalty:
    """RATED 0.0 down to -1.0: DAPO's soft overlong punishment  (Yu et al. 2025, arXiv:2503.14476, eq. 13).

    0.0 up to max_tokens - buffer_tokens, then falling linearly to -1.0 at max_tokens, and -1.0 beyond.

    >>> sample = Sample(prompt="3 + 4?", completion="...", meta={"completion_tokens": 90})
    >>> LengthPenalty(max_tokens=100, buffer_tokens=20).score([sample])[0].value
    -0.5
    """

    max_tokens: int
    """From this length on the value is -1.0."""
    buffer_tokens: int
    """The penalty sets in this many tokens before max_tokens."""

    def __post_init__(self) -> None:
        if not 0 < self.buffer_tokens <= self.max_tokens:
            raise ValueError(f"buffer_tokens must be in 1..max_tokens={self.max_tokens}, got {self.buffer_tokens}")

    @property
    def name(self) -> str:
        return "length-penalty"

    @property
    def version(self) -> str:
        return f"{_VERSION}-{self.max_tokens}-{self.buffer_tokens}"

    def score(self, samples: Sequence[Sample]) -> list[Score]:
        return _rated(samples, lambda tokens: -self._overlong(tokens) or 0.0)

    def _overlong(self, tokens: int) -> float:
        return min(max(tokens - (self.max_tokens - self.buffer_tokens), 0) / self.buffer_tokens, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Conciseness:
    """RATED 1.0 up to target_tokens, then falling linearly to 0.0 at limit_tokens, and 0.0 beyond.

    The target is a number and not the group's shortest or mean length: a sample's score does not depend on its
    neighbours.

    >>> sample = Sample(prompt="3 + 4?", completion="...", meta={"completion_tokens": 125})
    >>> Conciseness(target_tokens=100, limit_tokens=200).score([sample])[0].value
    0.75
    """

    target_tokens: int
    """Up to this length nothing is lost."""
    limit_tokens: int
    """From this length on the value is 0.0."""

    def __post_init__(self) -> None:
        if not 0 <= self.target_tokens < self.limit_tokens:
            raise ValueError(
                f"target_tokens must be in 0..limit_tokens-1={self.limit_tokens - 1}, got {self.target_tokens}"
            )

    @property
    def name(self) -> str:
        return "conciseness"

    @property
    def version(self) -> str:
        return f"{_VERSION}-{self.target_tokens}-{self.limit_tokens}"

    def score(self, samples: Sequence[Sample]) -> list[Score]:
        return _rated(samples, self._left)

    def _left(self, tokens: int) -> float:
        left = (self.limit_tokens - min(tokens, self.limit_tokens)) / (self.limit_tokens - self.target_tokens)
        return min(left, 1.0)


_NO_LENGTH = Score(
    value=None,
    outcome=Outcome.FAILED,
    evidence={"error": "sample.meta has no whole number 'completion_tokens'"},
)


def _rated(samples: Sequence[Sample], value: Callable[[int], float]) -> list[Score]:
    """The value of each sample's length; FAILED where the sample does not tell it."""
    scores: list[Score] = []
    for sample in samples:
        tokens = sample.meta.get("completion_tokens")
        if isinstance(tokens, int) and not isinstance(tokens, bool):
            evidence = {"completion_tokens": tokens}
            scores.append(Score(value=value(tokens), outcome=Outcome.RATED, evidence=evidence))
        else:
            scores.append(_NO_LENGTH)
    return scores
