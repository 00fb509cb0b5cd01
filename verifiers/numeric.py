"""Exact numbers only: no worker processes, no symbols."""

from collections.abc import Sequence
from dataclasses import dataclass

from markscheme.scoring import Outcome, Sample, Score
from markscheme.verifiers.extract import extract
from markscheme.verifiers.golds import golds_of
from markscheme.verifiers.limits import MAX_ANSWER_CHARS, RULES_VERSION
from markscheme.verifiers.numeric_answers import only_number
from markscheme.verifiers.reading import read


@dataclass(frozen=True, slots=True, kw_only=True)
class NumericVerifier:
    """Value 1.0 if the answer is exactly the gold number; any other answer is INCORRECT, readable or not.

    Never UNDECIDED: no limit can be hit.
    """

    lenient: bool = False
    """Without a stated answer, take the last number of the last line. For evaluation, not for rewards."""

    @property
    def name(self) -> str:
        return "numeric"

    @property
    def version(self) -> str:
        return f"{RULES_VERSION}-{'lenient' if self.lenient else 'strict'}"

    def score(self, samples: Sequence[Sample]) -> list[Score]:
        golds = [golds_of(sample, numeric=True) for sample in samples]
        return [
            self._score_one(sample.completion, alternatives)
            for sample, alternatives in zip(samples, golds, strict=True)
        ]

    def _score_one(self, completion: str, golds: Sequence[str]) -> Score:
        statement = extract(completion, lenient=self.lenient)
        if statement is None:
            return Score(value=0.0, outcome=Outcome.NO_ANSWER)
        answer = only_number(statement.answer)[:MAX_ANSWER_CHARS]
        value = read(answer).number
        equal = value is not None and any(value == read(gold).number for gold in golds)
        return Score(
            value=float(equal),
            outcome=Outcome.CORRECT if equal else Outcome.INCORRECT,
            answer=answer,
            evidence={"tier": "number", "kind": statement.kind.value},
        )
