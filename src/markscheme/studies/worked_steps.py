"""Step values for generated problems, whose worked solutions are known: what a perfect process reward model says."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from markscheme.scoring import Sample, Score, StepScore
from markscheme.verifiers import MathVerifier

EQUATION = re.compile(r"[\d.]+(?:[-+*/][\d.]+)+=[\d.]+")
SENTENCE = re.compile(r"[^.]*\.\s*")


@dataclass(frozen=True, slots=True)
class WorkedSteps:
    """The verdict on the answer; and for each sentence with an equation 1.0 if the worked solution has the same
    equation in the same place, else 0.0, and for the rest the verdict.
    """

    solutions: Mapping[str, str]
    """By the id of the problem."""

    @property
    def name(self) -> str:
        return "worked_steps"

    @property
    def version(self) -> str:
        return f"1-{MathVerifier().version}"

    def score(self, samples: Sequence[Sample]) -> list[Score]:
        verdicts = MathVerifier().score(samples)
        return [self._with_steps(sample, verdict) for sample, verdict in zip(samples, verdicts, strict=True)]

    def _with_steps(self, sample: Sample, verdict: Score) -> Score:
        if verdict.value is None or sample.id is None:
            return verdict
        expected = EQUATION.findall(self.solutions[sample.id])
        steps: list[StepScore] = []
        end = 0
        for sentence in SENTENCE.finditer(sample.completion):
            found = EQUATION.findall(sentence.group())
            if not found:
                break
            right = found == expected[len(steps) : len(steps) + 1]
            end = sentence.end()
            steps.append(StepScore(end=end, value=float(right)))
        steps.append(StepScore(end=len(sample.completion), value=verdict.value))
        return replace(verdict, steps=tuple(steps))
