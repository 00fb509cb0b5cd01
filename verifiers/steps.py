"""The arithmetic of a completion, equation by equation: a value for the whole and one for each step. Needs no gold."""

import math
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from markscheme.scoring import Outcome, Sample, Score, StepScore
from markscheme.verifiers.arithmetic import holds, may_be_cut_off
from markscheme.verifiers.equation_words import defines_signs, is_contested, moduli_of, reckons_in_bases
from markscheme.verifiers.equations import Equation, TooLongError, equations
from markscheme.verifiers.limits import MAX_COMPLETION_CHARS, RULES_VERSION

MAX_EQUATION_CHARS = 25_000
"""Of all sides that are worked out; a solution of GSM8K has a hundred. Worked out in some 0.2 s."""
_SHOWN = 3
"""Wrong equations in the evidence."""
_SHOWN_CHARS = 200
_VERSION = "1"
"""Raise it with any change of the rules for equations that can change a value."""
_PROMPT_CHARS = 20_000
"""Of a prompt that are looked through for signs that it defines."""
_MARKUP = " \t\n*_$\\)]}"
"""Behind a number at the end of a text, which may be cut off all the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedEquation:
    """An equation of a completion that was worked out."""

    text: str
    end: int
    """Offset in the completion at which it ends."""
    right: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class StepVerifier:
    r"""RATED: the share of right equations among the different ones that were checked; a 1.0 or 0.0 for each step.

    Checked is each pair of neighbours in a chain `a = b = c` of numbers, with `<<48/2=24>>`, fractions, percent signs,
    money and units, in exact arithmetic. Wrong means that no usual reading makes the two sides equal, rounding
    included; where it depends on the reading the pair does not count. A step has the value 0.0 if it holds a wrong
    equation, else 1.0. Steps are the lines that are not empty, or end at the character offsets of `meta["step_ends"]`.

    Without an equation to check nothing is known: UNDECIDED, so that a policy gains nothing by writing none. That is
    1 % of GSM8K solutions with calculator marks, but up to half of MATH: there set `without_equations`, put the scorer
    behind a verifier, `Gate(MathVerifier(), StepVerifier(without_equations=1.0))`, and watch the `equations` in the
    evidence, for then a policy that hides its arithmetic scores as well as one that gets it right. `0.0` would mark
    prose as wrong.

    UNDECIDED too beyond MAX_COMPLETION_CHARS, MAX_EQUATION_CHARS or the MAX_SIGNS of `equations`; FAILED if `step_ends`
    is no rising list of offsets.

    Few mistakes are mistakes of arithmetic, but what is marked is wrong. ProcessBench (Zheng et al. 2024) and GSM8K
    solutions of four models, all rows, measured on 2026-11-21: no row that people found right is marked, 0 of 193 of
    the GSM8K part and 0 of 406 of MATH (95 % Wilson: up to 2.0 % and 0.9 %), and 11 of 2,001 solutions with the right
    answer; of the wrong rows 19 of 207 and 67 of 594. The first step marked is the one that people marked first in 18
    of 19 (75 to 99 %) and 37 of 67 (43 to 67 %): in MATH arithmetic mostly fails behind a mistake of reasoning.

    >>> sample = Sample(prompt="", completion="3 eggs + 4 eggs = 7 eggs\n7 * $2 = $15")
    >>> score = StepVerifier().score([sample])[0]
    >>> score.value, [(step.end, step.value) for step in score.steps], score.evidence["wrong"]
    (0.5, [(24, 1.0), (37, 0.0)], ['7 * $2 = $15'])
    """

    without_equations: float | None = None
    """The value of a completion without an equation that can be checked; None makes it UNDECIDED."""

    def __post_init__(self) -> None:
        if self.without_equations is not None and not math.isfinite(self.without_equations):
            raise ValueError(f"without_equations must be finite or None, got {self.without_equations}")

    @property
    def name(self) -> str:
        return "steps"

    @property
    def version(self) -> str:
        return f"{RULES_VERSION}.{_VERSION}-{self.without_equations}"

    def score(self, samples: Sequence[Sample]) -> list[Score]:
        return [self._score_one(sample) for sample in samples]

    def _score_one(self, sample: Sample) -> Score:
        ends = _step_ends(sample)
        if ends is None:
            reason = 'sample.meta["step_ends"] is no rising list of offsets in the completion'
            return Score(value=None, outcome=Outcome.FAILED, evidence={"error": reason})
        try:
            ended = sample.meta.get("finish_reason") == "stop"
            checked = list(check_equations(sample.completion, prompt=_prompt(sample), ended=ended))
        except TooLongError as limit:
            return Score(value=None, outcome=Outcome.UNDECIDED, evidence={"reason": str(limit)})
        different = {one.text: one.right for one in checked}
        wrong = [text for text, right in different.items() if not right]
        evidence = {"equations": len(different), "num_wrong": len(wrong), "wrong": wrong[:_SHOWN]}
        if different:
            value = 1 - len(wrong) / len(different)
        elif self.without_equations is not None:
            value = self.without_equations
        else:
            return Score(value=None, outcome=Outcome.UNDECIDED, evidence=evidence | {"reason": "no equation to check"})
        wrong_steps = {bisect_left(ends, one.end) for one in checked if not one.right}
        steps = tuple(StepScore(end=end, value=float(k not in wrong_steps)) for k, end in enumerate(ends))
        return Score(value=value, outcome=Outcome.RATED, steps=steps, evidence=evidence)


def check_equations(text: str, *, prompt: str = "", ended: bool = False) -> Iterator[CheckedEquation]:
    """The equations of a text that could be worked out, in the order of `equations`.

    Args:
        prompt: the problem, which may give signs a meaning of its own.
        ended: whether the text is known to be whole; else a number at its very end may be cut off.

    Raises:
        TooLongError: if the text is longer than MAX_COMPLETION_CHARS, or its equations than MAX_EQUATION_CHARS.
    """
    if len(text) > MAX_COMPLETION_CHARS:
        raise TooLongError(f"the completion has {len(text)} characters; the limit is {MAX_COMPLETION_CHARS}")
    if not text.isascii():
        text = text.encode("utf-8", "replace").decode("utf-8")  # a lone surrogate becomes '?', which no file refuses
    moduli, own_signs, other_bases = moduli_of(text), defines_signs(prompt), reckons_in_bases(prompt + "\n" + text)
    last = len(text.rstrip(_MARKUP))
    chars = 0
    for equation in equations(text):
        written = f"{equation.left.text} = {equation.right.text}"
        if equation.left.bare and equation.right.bare:
            continue
        chars += len(written)
        if chars > MAX_EQUATION_CHARS:
            raise TooLongError(f"the completion has equations of more than {MAX_EQUATION_CHARS} characters")
        right = holds(equation, moduli)
        start, end = equation.left.start, equation.right.end
        if right is None:
            continue
        if not right and (
            is_contested(text, start, end, divides="/" in written or "frac" in written)
            or (own_signs and "*" in written)
            or (other_bases and "." not in written)
            or (not ended and end >= last and may_be_cut_off(equation))
        ):
            continue
        yield CheckedEquation(text=_shown(text, equation), end=end, right=right)


def _prompt(sample: Sample) -> str:
    if isinstance(sample.prompt, str):
        return sample.prompt[:_PROMPT_CHARS]
    return "\n".join(str(message.get("content", "")) for message in sample.prompt)[:_PROMPT_CHARS]


def _shown(text: str, equation: Equation) -> str:
    sides = [" ".join(text[side.start : side.end].split()) for side in (equation.left, equation.right)]
    return (" ≈ " if equation.approximate else " = ").join(sides)[:_SHOWN_CHARS]


def _step_ends(sample: Sample) -> list[int] | None:
    """The offsets at which the steps end; None if those that the sample gives are none."""
    given = sample.meta.get("step_ends")
    if given is None:
        return _line_ends(sample.completion)
    if not isinstance(given, list | tuple) or not all(type(end) is int for end in given):
        return None
    rises = all(a < b for a, b in zip([0, *given], given, strict=False))
    return list(given) if rises and (not given or given[-1] <= len(sample.completion)) else None


def _line_ends(text: str) -> list[int]:
    """Where the lines that are not empty end, spaces behind them left out."""
    ends: list[int] = []
    start = 0
    for line in text.split("\n"):
        if written := line.rstrip():
            ends.append(start + len(written))
        start += len(line) + 1
    return ends
