"""The verifier: extracts the answer of a completion and compares it with the gold."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

from markscheme.scoring import Outcome, Sample, Score
from markscheme.verifiers.asked import is_another_unit
from markscheme.verifiers.compare import (
    OPEN,
    SAME_NUMBER,
    Comparison,
    compare,
    compare_cheaply,
    is_copied,
)
from markscheme.verifiers.conventions import Conventions
from markscheme.verifiers.extract import extract
from markscheme.verifiers.golds import golds_of
from markscheme.verifiers.limits import MAX_ANSWER_CHARS, RULES_VERSION
from markscheme.verifiers.numeric_answers import only_number
from markscheme.verifiers.profiles import PROFILES, Profile, Rules
from markscheme.verifiers.statements import Statement

_ECHO = Comparison(False, "form", "a formula of the prompt, not worked out")
_OTHER_UNIT = Comparison(False, "unit", "the question asks for another unit or base")
_PREFERENCE = {True: 0, None: 1, False: 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class MathVerifier:
    """Value 1.0 if the answer equals the gold, 0.0 if it does not or there is none.

    The outcome is UNDECIDED where the answer is too long, its comparison took too long or too much memory, or no tier
    can read the gold; FAILED where the symbolic tier broke. `evidence` names the tier, its reason, and how the answer
    was stated. What counts as equal: the README of this room.

    >>> sample = Sample(prompt="1/4 + 1/4?", completion="It is \\\\boxed{0.5}.", gold=r"\\frac12")
    >>> MathVerifier().score([sample])[0].value
    1.0
    """

    profile: Profile = "math"
    """What the golds are: "math" anything, "gsm8k" and "cmath" numbers, "generic" words and choices too."""
    lenient: bool = False
    """Without a stated answer, take what the last line ends with. For evaluation, not for rewards."""
    conventions: Conventions | None = None
    """What counts as equal; by default the profile's."""
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
        """The rules' version with everything that can change a verdict."""
        changed = "" if self.conventions is None else f"-{self.conventions}"
        return f"{RULES_VERSION}-{'lenient' if self.lenient else 'strict'}-{self.deadline_s:g}s{changed}"

    def score(self, samples: Sequence[Sample]) -> list[Score]:
        rules = PROFILES[self.profile]
        conventions = self.conventions or rules.conventions
        scores: list[Score] = []
        left_open: list[tuple[int, Statement, str, list[str]]] = []
        for sample in samples:
            golds = [_answer(gold, rules) for gold in golds_of(sample, numeric=rules.numeric)]
            statement = extract(sample.completion, lenient=self.lenient)
            if statement is None:
                scores.append(_NO_ANSWER)
                continue
            answer = _answer(statement.answer, rules)
            found = [compare_cheaply(answer, gold, conventions) for gold in golds]
            for one in found:
                if one is OPEN:
                    left_open.append((len(scores), statement, answer, golds))
                    break
            scores.append(_score(sample, statement, answer, golds, found, conventions))
        if left_open:
            asked = list(dict.fromkeys((answer, gold) for _, _, answer, golds in left_open for gold in golds))
            pairs = dict(zip(asked, compare(asked, conventions=conventions, deadline_s=self.deadline_s), strict=True))
            for index, statement, answer, golds in left_open:
                found = [pairs[answer, gold] for gold in golds]
                scores[index] = _score(samples[index], statement, answer, golds, found, conventions)
        return scores


_NO_ANSWER = Score(value=0.0, outcome=Outcome.NO_ANSWER)


def _answer(text: str, rules: Rules) -> str:
    if rules.numeric:
        return only_number(text)
    text = text if len(text) > 1 else text.strip()
    return text.upper() if rules.any_case and len(text) == 1 else text


def _as_asked(comparison: Comparison, answer: str, gold: str, sample: Sample, conventions: Conventions) -> Comparison:
    """The verdict once the prompt is looked at: a formula of it written down again is no answer, nor is a value in
    another unit than it asks for.
    """
    if comparison.equal is not True or comparison.tier in ("text", "rounding"):
        return comparison
    if comparison is SAME_NUMBER and answer.lstrip("-").isdigit() and gold.lstrip("-").isdigit():
        return comparison
    prompt = _text_of(sample)
    if conventions.units != "ignored" and is_another_unit(answer, gold, prompt):
        return _OTHER_UNIT
    return _ECHO if conventions.evaluated and is_copied(answer, gold, prompt) else comparison


def _text_of(sample: Sample) -> str:
    if isinstance(sample.prompt, str):
        return sample.prompt
    return "\n".join(message["content"] for message in sample.prompt if message["role"] == "user")


def _score(
    sample: Sample,
    statement: Statement,
    answer: str,
    golds: Sequence[str],
    found: Sequence[Comparison],
    conventions: Conventions,
) -> Score:
    best = _as_asked(found[0], answer, golds[0], sample, conventions)
    for one, gold in zip(found[1:], golds[1:], strict=True):
        best = min(best, _as_asked(one, answer, gold, sample, conventions), key=lambda one: _PREFERENCE[one.equal])
    evidence: dict[str, str] = {"tier": best.tier, "kind": statement.kind.value}
    if best.reason:
        evidence["reason"] = best.reason
    if best.equal is None:
        outcome = Outcome.FAILED if best.broken else Outcome.UNDECIDED
    else:
        outcome = Outcome.CORRECT if best.equal else Outcome.INCORRECT
    value = None if best.equal is None else float(best.equal)
    return Score(value=value, outcome=outcome, answer=answer[:MAX_ANSWER_CHARS], evidence=evidence)
