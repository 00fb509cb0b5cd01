"""A trained process model behind the scoring interface."""

import math
import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import torch

from markscheme.files import InputError, StrPath
from markscheme.reward_models.model import RewardNetwork, kind_of
from markscheme.reward_models.process import StepSequence, readable, render, values_of
from markscheme.reward_models.process_evaluation import probability
from markscheme.reward_models.scorer import hash_of_files
from markscheme.scoring import Outcome, Sample, Score, StepScore

Aggregate = Literal["prod", "min", "last", "mean"]

BREAK = re.compile(r"\n\s*")
LINE = re.compile(r"\S[^\n]*")
PARAGRAPH = re.compile(r"\S.*?(?=\n[^\S\n]*\n|\Z)", re.DOTALL)


class ProcessRewardModel:
    """Rates completions by their steps: each step is good with a probability p, and the value is made of all of them.

    `aggregate` says how: prod (their product), min, last or mean. Steps are paragraphs or lines (see `step_ends`), or
    end at the offsets of `meta["step_ends"]`. A step is judged by what stands up to it, never by what follows. So:

    - Writing on cannot raise prod and min: a completion is worth no more than its beginning at any step. It can raise
      last, by a good step behind wrong ones, and mean, by many easy steps: train no policy on these two.
    - Nothing holds a policy back from what changes the p of a step: fewer and longer steps, of which prod and min take
      a smaller toll, a remark before it, white space. Behind a verifier, `Gate(MathVerifier(), ...)`, it gains nothing
      by a wrong answer; but what is composed of scorers values no steps.
    - Process supervision takes the p of each step, whatever `aggregate` is. There a further step that is better than
      the mean of the group adds to the advantage of all tokens before it: easy steps pay.

    The weights are read at the first `score`, onto a GPU where there is one. A pickle holds the folder's path only.
    A sample's score does not depend on its neighbours but for rounding, some 1e-6.
    """

    name = "process_reward_model"

    def __init__(self, folder: StrPath, aggregate: Aggregate = "prod", token_budget: int = 8_192) -> None:
        """`token_budget` tokens at most are read at a time.

        Raises:
            InputError: if the folder holds no reward model, or one that values whole completions.
            ValueError: if there is no such aggregate.
        """
        folder = Path(folder)
        if kind_of(folder) != "process":
            raise InputError(f"{folder}: a reward model of whole completions, not of steps: take RewardModel")
        if aggregate not in AGGREGATES:
            raise ValueError(f"no aggregate {aggregate!r}; there are {', '.join(AGGREGATES)}")
        self.folder = folder
        self.aggregate: Aggregate = aggregate
        self.token_budget = token_budget
        self._lock = threading.Lock()  # a tokenizer cannot be used by two threads at a time

    def __reduce__(self) -> tuple[Any, ...]:
        return ProcessRewardModel, (self.folder, self.aggregate, self.token_budget)

    @cached_property
    def version(self) -> str:
        """A hash of the folder's files, and the aggregate."""
        return f"{hash_of_files(self.folder)}-{self.aggregate}"

    def score(self, samples: Sequence[Sample]) -> list[Score]:
        """One RATED score a sample; NO_ANSWER if it has no step, UNDECIDED if it is longer than the model can read.

        Raises:
            InputError: if a prompt is messages and the model has no chat template.
        """
        with self._lock:
            network = self._network
            each = [_rendered(network, sample) for sample in samples]
            flat = [one for rendered in each for one in rendered.read]
            values = iter(values_of(network, flat, self.token_budget))
        return [self._score(network, one, [value for _ in one.read for value in next(values)]) for one in each]

    def _score(self, network: RewardNetwork, rendered: "_Rendered", values: Sequence[float]) -> Score:
        if rendered.ends is None:
            error = 'sample.meta["step_ends"] is no rising list of offsets in the completion'
            return Score(value=None, outcome=Outcome.FAILED, evidence={"error": error})
        evidence: dict[str, Any] = {"steps": len(rendered.ends)}
        if rendered.num_tokens:
            evidence["tokens"] = rendered.num_tokens
        if not rendered.ends:  # a product of nothing would be 1
            return Score(value=0.0, outcome=Outcome.NO_ANSWER, evidence=evidence)
        if not rendered.read:
            evidence |= {"reason": "longer than the process model can read", "max_tokens": network.max_tokens}
            return Score(value=None, outcome=Outcome.UNDECIDED, evidence=evidence)
        if not all(map(math.isfinite, values)):
            evidence |= {"error": f"the values of its steps are {list(values)}"}
            return Score(value=None, outcome=Outcome.FAILED, evidence=evidence)
        steps = tuple(
            StepScore(end=end, value=probability(value)) for end, value in zip(rendered.ends, values, strict=True)
        )
        value = AGGREGATES[self.aggregate](values)
        return Score(value=value, outcome=Outcome.RATED, steps=steps, evidence=evidence)

    @cached_property
    def _network(self) -> RewardNetwork:
        return RewardNetwork.load(self.folder).to("cuda" if torch.cuda.is_available() else "cpu")


def product(values: Sequence[float]) -> float:
    """Of the probabilities sigmoid(value): the exponential of -sum log(1 + exp(-value)).

    >>> round(product([0.0, 0.0]), 6), product([-800.0])
    (0.25, 0.0)
    """
    return math.exp(-math.fsum(math.log1p(math.exp(-value)) if value > -30 else -value for value in values))


AGGREGATES: dict[str, Callable[[Sequence[float]], float]] = {
    "prod": product,
    "min": lambda values: probability(min(values)),
    "last": lambda values: probability(values[-1]),
    "mean": lambda values: math.fsum(map(probability, values)) / len(values),
}


def step_ends(text: str) -> list[int]:
    """Where the steps of a text end: its paragraphs if the first break is a blank line, else its lines.

    Had any blank line this effect, one at the very end would make one step of all lines before it.

    >>> step_ends("2 + 2\\n= 4\\n\\nSo 4."), step_ends("We add:\\n\\n2 + 2\\n= 4\\n\\nSo 4.")
    ([5, 9, 16], [7, 18, 25])
    """
    first = BREAK.search(text.strip())
    parts = PARAGRAPH if first and first.group().count("\n") > 1 else LINE
    return [found.start() + len(found.group().rstrip()) for found in parts.finditer(text)]


def _ends_of(sample: Sample) -> list[int] | None:
    """Where its steps end; None if what it says of them itself is no list of offsets."""
    given = sample.meta.get("step_ends")
    if given is None or not sample.completion.strip():
        return step_ends(sample.completion)
    if not isinstance(given, list | tuple) or not all(type(end) is int for end in given):
        return None
    rises = all(a < b for a, b in pairwise([0, *given, len(sample.completion) + 1]))
    return list(given) if rises else None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rendered:
    """A completion as the network reads it."""

    ends: list[int] | None
    """None if they cannot be told."""
    read: list[StepSequence] = field(default_factory=list)
    """Nothing if it has no step, or is too long."""
    num_tokens: int = 0
    """Up to its end; 0 if they were not counted, there being more steps than places."""


def _rendered(network: RewardNetwork, sample: Sample) -> _Rendered:
    ends = _ends_of(sample)
    if not ends or len(ends) > (network.max_tokens or len(ends)):
        return _Rendered(ends=ends)
    steps = [sample.completion[start:end] for start, end in pairwise([0, *ends])]
    # The end first: an encoder has a row for each step, and would be given hundreds of them to find the last too long.
    [whole] = render(network, sample.prompt, steps, [len(steps) - 1])
    fits = bool(readable(network, [whole]))
    read = render(network, sample.prompt, steps, range(len(steps))) if fits else []
    return _Rendered(ends=ends, read=read, num_tokens=len(whole.tokens))
