"""Scorers made of scorers, which nest because they are scorers.

A composition calls each inner scorer once, with a list, so that batches stay batches; the inner scores are kept in
`Score.parts`. Its version is a hash of its settings and of its parts' names and versions.
"""

import hashlib
import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from markscheme.scoring import Outcome, Sample, Score, Scorer

VERDICTS = frozenset({Outcome.CORRECT, Outcome.INCORRECT, Outcome.NO_ANSWER})
SATURATED = 30.0  # beyond, a sigmoid is rounded to 0 or 1, and a wrong answer would tie with a right one
How = Literal["mean", "min", "lower"]
"""How an ensemble makes one value of several: see `Ensemble`."""


def _version(kind: str, scorers: Sequence[Scorer], **settings: Any) -> str:
    parts = [[scorer.name, scorer.version] for scorer in scorers]
    return hashlib.sha256(json.dumps([kind, parts, settings], sort_keys=True).encode()).hexdigest()[:12]


def _missing(score: Score, parts: Mapping[str, Score], **evidence: Any) -> Score:
    """A composed score without a value, because `score` has none; it says why, in the words of that one."""
    evidence |= {key: score.evidence[key] for key in ("reason", "message", "error") if key in score.evidence}
    return Score(value=None, outcome=score.outcome, answer=score.answer, parts=parts, evidence=evidence)


@dataclass(frozen=True, slots=True)
class WeightedSum:
    """The sum of weight * value.

    If any part has no value, neither has the sum: leaving the part out would silently change the scale. The outcome
    is then that of the first such part. Otherwise outcome and answer are those of the first part that gives a verdict
    (CORRECT, INCORRECT, NO_ANSWER), or RATED if none does: put the verifier that counts first.
    """

    parts: Mapping[str, tuple[Scorer, float]]
    """Name of the part: (scorer, weight)."""

    def __post_init__(self) -> None:
        if not self.parts:
            raise ValueError("a weighted sum needs at least one part")
        for name, (_, weight) in self.parts.items():
            if not math.isfinite(weight):
                raise ValueError(f"the weight of {name!r} must be finite, got {weight}")

    @property
    def name(self) -> str:
        return f"sum({', '.join(self.parts)})"

    @property
    def version(self) -> str:
        weights = {name: weight for name, (_, weight) in self.parts.items()}
        return _version("sum", [scorer for scorer, _ in self.parts.values()], weights=list(weights.items()))

    def score(self, samples: Sequence[Sample]) -> list[Score]:
        columns = [scorer.score(samples) for scorer, _ in self.parts.values()]
        return [self._sum(dict(zip(self.parts, row, strict=True))) for row in zip(*columns, strict=True)]

    def _sum(self, scores: Mapping[str, Score]) -> Score:
        total = 0.0
        for name, score in scores.items():
            if score.value is None:
                return _missing(score, scores, missing=name)
            total += self.parts[name][1] * score.value
        if not math.isfinite(total):
            return Score(value=None, outcome=Outcome.FAILED, parts=scores, evidence={"error": "the sum overflows"})
        verdict = next((score for score in scores.values() if score.outcome in VERDICTS), None)
        if verdict is None:
            return Score(value=total, outcome=Outcome.RATED, parts=scores)
        return Score(value=total, outcome=verdict.outcome, answer=verdict.answer, parts=scores)


@dataclass(frozen=True, slots=True)
class Gate:
    """The value of `then` where `rule` says CORRECT, and `otherwise` where it says anything else.

    `then` is asked only about the samples that pass, so a costly scorer works only where it counts. The outcome is
    the rule's; where `rule` or the `then` it asks has no value, the score has none.
    """

    rule: Scorer
    then: Scorer
    otherwise: float = 0.0

    @property
    def name(self) -> str:
        return f"gate({self.rule.name}, {self.then.name})"

    @property
    def version(self) -> str:
        return _version("gate", [self.rule, self.then], otherwise=self.otherwise)

    def score(self, samples: Sequence[Sample]) -> list[Score]:
        verdicts = self.rule.score(samples)
        passed = [index for index, verdict in enumerate(verdicts) if verdict.outcome is Outcome.CORRECT]
        ratings = self.then.score([samples[index] for index in passed]) if passed else []
        rating_of = dict(zip(passed, ratings, strict=True))
        return [self._gate(verdict, rating_of.get(index)) for index, verdict in enumerate(verdicts)]

    def _gate(self, verdict: Score, rating: Score | None) -> Score:
        if rating is None:
            if verdict.value is None:
                return _missing(verdict, {"rule": verdict}, missing="rule")
            return Score(value=self.otherwise, outcome=verdict.outcome, answer=verdict.answer, parts={"rule": verdict})
        parts = {"rule": verdict, "then": rating}
        if rating.value is None:
            return _missing(rating, parts, missing="then")
        return Score(value=rating.value, outcome=verdict.outcome, answer=verdict.answer, parts=parts)


@dataclass(frozen=True, slots=True)
class Cascade:
    """The score of the first scorer that decides; each later one is asked only about what is still open.

    If none decides, the last one's score stands. With the default, NO_ANSWER decides too, so that a judge behind a
    verifier is never shown an empty completion; leave it out of `decided` to let the judge look for an answer.
    Parts are named "1.math", "2.judge", ... after position and scorer.
    """

    scorers: Sequence[Scorer]
    decided: frozenset[Outcome] = VERDICTS | {Outcome.RATED}

    def __post_init__(self) -> None:
        if not self.scorers:
            raise ValueError("a cascade needs at least one scorer")

    @property
    def name(self) -> str:
        return f"cascade({', '.join(scorer.name for scorer in self.scorers)})"

    @property
    def version(self) -> str:
        return _version("cascade", self.scorers, decided=sorted(self.decided))

    def score(self, samples: Sequence[Sample]) -> list[Score]:
        asked: list[dict[str, Score]] = [{} for _ in samples]
        latest: list[Score | None] = [None] * len(samples)
        still_open = list(range(len(samples)))
        for position, scorer in enumerate(self.scorers, 1):
            if not still_open:
                break
            scores = scorer.score([samples[index] for index in still_open])
            for index, score in zip(still_open, scores, strict=True):
                latest[index] = asked[index][f"{position}.{scorer.name}"] = score
            still_open = [
                index for index, score in zip(still_open, scores, strict=True) if score.outcome not in self.decided
            ]
        return [
            Score(value=score.value, outcome=score.outcome, answer=score.answer, steps=score.steps, parts=parts)
            for score, parts in zip(latest, asked, strict=True)
            if score is not None
        ]


@dataclass(frozen=True, slots=True)
class Clip:
    """The value of `scorer`, held between `low` and `high`; the outcome stays."""

    scorer: Scorer
    low: float
    high: float

    def __post_init__(self) -> None:
        if not self.low <= self.high:
            raise ValueError(f"low must not be above high, got {self.low} and {self.high}")

    @property
    def name(self) -> str:
        return f"clip({self.scorer.name})"

    @property
    def version(self) -> str:
        return _version("clip", [self.scorer], low=self.low, high=self.high)

    def score(self, samples: Sequence[Sample]) -> list[Score]:
        return [self._clip(score) for score in self.scorer.score(samples)]

    def _clip(self, score: Score) -> Score:
        parts = {self.scorer.name: score}
        if score.value is None:
            return _missing(score, parts)
        value = min(max(score.value, self.low), self.high)
        return Score(value=value, outcome=score.outcome, answer=score.answer, parts=parts)


@dataclass(frozen=True, slots=True)
class Shaped:
    """sigmoid(alpha * r) + (v - 1), r the rating, v = 1 where `rule` says CORRECT and 0 where it says anything else
    (Qwen2.5-Math, arXiv:2409.12122).

    Correct answers lie in (0, 1) and all others in (-1, 0), so the rating only ranks among its like. Outcome and answer
    are the rule's; where `rule` or `rating` has no value, the score has none.
    """

    rule: Scorer
    rating: Scorer
    alpha: float = 0.5
    """How steep: 0.5 in the paper."""

    def __post_init__(self) -> None:
        if not (self.alpha > 0 and math.isfinite(self.alpha)):
            raise ValueError(f"alpha must be above 0 and finite, got {self.alpha}")

    @property
    def name(self) -> str:
        return f"shaped({self.rule.name}, {self.rating.name})"

    @property
    def version(self) -> str:
        return _version("shaped", [self.rule, self.rating], alpha=self.alpha)

    def score(self, samples: Sequence[Sample]) -> list[Score]:
        verdicts, ratings = self.rule.score(samples), self.rating.score(samples)
        return [self._shape(verdict, rating) for verdict, rating in zip(verdicts, ratings, strict=True)]

    def _shape(self, verdict: Score, rating: Score) -> Score:
        parts = {"rule": verdict, "rating": rating}
        if verdict.value is None:
            return _missing(verdict, parts, missing="rule")
        if rating.value is None:
            return _missing(rating, parts, missing="rating")
        steep = min(max(self.alpha * rating.value, -SATURATED), SATURATED)
        right = float(verdict.outcome is Outcome.CORRECT)
        value = 1 / (1 + math.exp(-steep)) + (right - 1)
        return Score(value=value, outcome=verdict.outcome, answer=verdict.answer, parts=parts)


@dataclass(frozen=True, slots=True)
class Ensemble:
    """One value of several reward models, such as those of several seeds (Coste et al. 2024, arXiv:2310.02743).

    - mean
    - min: the worst case
    - lower: mean - penalty * standard deviation, a lower confidence bound (the paper takes the variance; this has the
      unit of the reward)

    The standard deviation of the values, with n, is in the evidence as "disagreement". If any part has no value,
    neither has the ensemble. It always RATES, whatever the parts say: where a verdict is to count, put the ensemble
    behind the rule (`Shaped`, `Gate`). Parts are named "1.reward_model", "2.reward_model", ...
    """

    scorers: Sequence[Scorer]
    how: How = "mean"
    penalty: float = 1.0
    """Standard deviations that "lower" takes off."""

    def __post_init__(self) -> None:
        if len(self.scorers) < 2:
            raise ValueError(f"an ensemble needs at least two scorers, got {len(self.scorers)}")
        if self.how not in get_args(How):
            raise ValueError(f"how must be one of {', '.join(get_args(How))}, got {self.how!r}")
        if not (self.penalty >= 0 and math.isfinite(self.penalty)):
            raise ValueError(f"penalty must be at least 0 and finite, got {self.penalty}")

    @property
    def name(self) -> str:
        return f"{self.how}({', '.join(scorer.name for scorer in self.scorers)})"

    @property
    def version(self) -> str:
        return _version("ensemble", self.scorers, how=self.how, penalty=self.penalty)

    def score(self, samples: Sequence[Sample]) -> list[Score]:
        names = [f"{position}.{scorer.name}" for position, scorer in enumerate(self.scorers, 1)]
        columns = [scorer.score(samples) for scorer in self.scorers]
        return [self._joined(dict(zip(names, row, strict=True))) for row in zip(*columns, strict=True)]

    def _joined(self, parts: Mapping[str, Score]) -> Score:
        values: list[float] = []
        for name, score in parts.items():
            if score.value is None:
                return _missing(score, parts, missing=name)
            values.append(score.value)
        mean, disagreement = statistics.mean(values), statistics.pstdev(values)  # exact, so nothing overflows
        of_each = {"mean": mean, "min": min(values), "lower": mean - self.penalty * disagreement}
        value = of_each[self.how]
        if not math.isfinite(value):
            return Score(value=None, outcome=Outcome.FAILED, parts=parts, evidence={"error": "the penalty overflows"})
        return Score(value=value, outcome=Outcome.RATED, parts=parts, evidence={"disagreement": disagreement})
