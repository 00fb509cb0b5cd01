"""The verifier: extracts the answer of a completion and compares it with the gold."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from markscheme.scoring import Outcome, Sample, Score
from markscheme.verifiers.compare import Comparison, compare
from markscheme.verifiers.extract import Statement, extract
from markscheme.verifiers.golds import golds_of
from markscheme.verifiers.limits import MAX_ANSWER_CHARS, RULES_VERSION
from markscheme.verifiers.numeric import only_number

Profile = Literal["math", "gsm8k", "cmath"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MathVerifier:
    """Value 1.0 if the answer equals the gold, 0.0 if it does not or there is none.

    The outcome is UNDECIDED where the answer is too long, its comparison took too long or too much memory, or no tier
    can read the gold; FAILED where the symbolic tier broke. `evidence` names the tier and how the answer was stated.

    >>> sample = Sample(prompt="1/4 + 1/4?", completion="It is \\\\boxed{0.5}.", gold=r"\\frac12")
    >>> MathVerifier().score([sample])[0].value
    1.0
    """

    profile: Profile = "math"
    """What the golds are: "math" anything, "gsm8k" and "cmath" numbers (an answer's words do not count then)."""
    lenient: bool = False
    """Without a stated answer, take the last number of the last line. For evaluation, not for rewards."""
    deadline_s: float = 5.0
    """For one comparison in the symbolic tier."""

    def __post_init__(self) -> None:
        if self.profile not in get_args(Profile):
            raise ValueError(f"profile must be one of {', '.join(get_args(Profile))}, got {self.profile!r}")
        if self.deadline_s <= 0:
            raise ValueError(f"deadline_s must be above 0, got {self.deadline_s}")

    @property
    def name(self) -> str:
        return self.profile

    @property
    def version(self) -> str:
        return f"{RULES_VERSION}-{'lenient' if self.lenient else 'strict'}-{self.deadline_s:g}s"

    def score(self, samples: Sequence[Sample]) -> list[Score]:
        golds = [golds_of(sample, numeric=self.profile != "math") for sample in samples]
        statements = [extract(sample.completion, lenient=self.lenient) for sample in samples]
        answers = [self._answer(statement) for statement in statements]
        asked = [
            [] if answer is None else [(answer, gold) for gold in alternatives]
            for answer, alternatives in zip(answers, golds, strict=True)
        ]
        unique = list(dict.fromkeys(pair for pairs in asked for pair in pairs))
        found = dict(zip(unique, compare(unique, deadline_s=self.deadline_s), strict=True))
        return [
            _score(statement, answer, [found[pair] for pair in pairs])
            for statement, answer, pairs in zip(statements, answers, asked, strict=True)
        ]

    def _answer(self, statement: Statement | None) -> str | None:
        if statement is None:
            return None
        return statement.answer if self.profile == "math" else only_number(statement.answer)


def _score(statement: Statement | None, answer: str | None, comparisons: Sequence[Comparison]) -> Score:
    if statement is None or answer is None:
        return Score(value=0.0, outcome=Outcome.NO_ANSWER)
    shown = answer[:MAX_ANSWER_CHARS]
    best = min(comparisons, key=lambda comparison: {True: 0, None: 1, False: 2}[comparison.equal])
    evidence = {"tier": best.tier, "kind": statement.kind.value}
    if best.equal is None:
        outcome = Outcome.FAILED if best.broken else Outcome.UNDECIDED
        return Score(value=None, outcome=outcome, answer=shown, evidence={**evidence, "message": best.message})
    outcome = Outcome.CORRECT if best.equal else Outcome.INCORRECT
    return Score(value=float(best.equal), outcome=outcome, answer=shown, evidence=evidence)
