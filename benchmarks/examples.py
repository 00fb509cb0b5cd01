"""Problems to show in a report: which ones, and how a completion is made fit to be read."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markscheme.benchmarks.comparison import Comparison
from markscheme.benchmarks.outcomes import Evaluation, GradedCompletion, Kind, ProblemOutcome
from markscheme.score_rows import failure_of
from markscheme.scoring import Outcome

EXAMPLES_OF_A_GROUP = 3
HEAD_CHARACTERS, TAIL_CHARACTERS = 700, 400  # of a completion too long to show: how it sets out and how it ends

# A completion may hold control characters; those below 32 have a visible sign each, from U+2400 on.
VISIBLE_CONTROLS = {code: 0x2400 + code for code in range(32) if chr(code) not in "\n\t"} | {127: 0x2421}

VERDICTS = {
    Outcome.CORRECT: ("right", "right"),
    Outcome.INCORRECT: ("wrong", "wrong"),
    Outcome.NO_ANSWER: ("wrong", "no answer"),
    Outcome.UNDECIDED: ("unscored", "not scored"),
    Outcome.FAILED: ("unscored", "not scored"),
}
"""Outcome -> (style, words)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A completion as a report shows it."""

    text: str
    answer: str
    style: str
    verdict: str
    origin: str
    """Which completion it is, and what is odd about it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One problem with what was written before and after."""

    id: str
    question: str
    gold: str
    before: Shown
    after: Shown


@dataclass(frozen=True, slots=True, kw_only=True)
class UnscoredCase:
    """A completion that could not be scored."""

    id: str
    origin: str
    answer: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExampleGroup:
    """Examples of one kind of change."""

    name: str
    total: int
    """Problems of this kind, of which `examples` are some."""
    examples: tuple[Example, ...]


def example_groups(comparison: Comparison) -> list[ExampleGroup]:
    """Some problems that were gained, lost and unchanged; a hash of the id picks them, so nobody does."""
    gained, lost = set(comparison.gained), set(comparison.lost)
    known = [set(values[comparison.verdict_metric]) for values in comparison.values]
    unchanged = set.intersection(*known) - gained - lost
    return [
        _group("Gained", comparison.gained, comparison, was_right=False, is_right=True),
        _group("Lost", comparison.lost, comparison, was_right=True, is_right=False),
        _group("Unchanged", unchanged, comparison, was_right=None, is_right=None),
    ]


def unscored_cases(comparison: Comparison) -> list[UnscoredCase]:
    """Every completion without a score, the ones before first."""
    return [
        UnscoredCase(
            id=readable(outcome.problem.id),
            origin=f"{side}, {_origin(one, len(outcome.sampled))}",
            answer=_answer(one),
            reason=readable(failure_of(one.score)),
        )
        for side, evaluation in sides(comparison)
        for outcome in evaluation.outcomes
        for one in (*outcome.of_kind("greedy"), *outcome.sampled)
        if one.score.correct is None
    ]


def sides(comparison: Comparison) -> list[tuple[str, Evaluation]]:
    """Each evaluation with its name: before, after, or after with the number of its training seed."""
    names = ["after"] if len(comparison.afters) == 1 else [f"after {k}" for k in range(1, len(comparison.afters) + 1)]
    return [("before", comparison.before), *zip(names, comparison.afters, strict=True)]


def readable(text: str) -> str:
    """Text that can be written as UTF-8 and hides nothing: control characters are shown, lone surrogates as `?`.

    >>> readable("a" + chr(0) + "b")
    'a␀b'
    """
    return text.translate(VISIBLE_CONTROLS).encode("utf-8", "replace").decode("utf-8")


def shortened(text: str) -> str:
    """A long text without its middle, which is said."""
    left_out = len(text) - HEAD_CHARACTERS - TAIL_CHARACTERS
    if left_out <= 0:
        return text
    return f"{text[:HEAD_CHARACTERS]}\n\n[… {left_out:,} characters left out …]\n\n{text[-TAIL_CHARACTERS:]}"


def _group(
    name: str, ids: Iterable[str], comparison: Comparison, *, was_right: bool | None, is_right: bool | None
) -> ExampleGroup:
    by_side = [
        (name, {outcome.problem.id: outcome for outcome in evaluation.outcomes})
        for name, evaluation in sides(comparison)
    ]
    kind: Kind = "greedy" if comparison.verdict_metric == "greedy" else "sampled"
    ids = sorted(ids, key=lambda id_: hashlib.sha256(id_.encode("utf-8", "replace")).digest())
    examples = tuple(
        Example(
            id=readable(id_),
            question=shortened(readable(by_side[0][1][id_].problem.question)),
            gold=readable(by_side[0][1][id_].problem.gold),
            before=_shown([("", by_side[0][1][id_])], kind, was_right),
            after=_shown([(name, of_one[id_]) for name, of_one in by_side[1:]], kind, is_right),
        )
        for id_ in ids[:EXAMPLES_OF_A_GROUP]
    )
    return ExampleGroup(name=name, total=len(ids), examples=examples)


def _shown(outcomes: Sequence[tuple[str, ProblemOutcome]], kind: Kind, right: bool | None) -> Shown:
    """The first completion, of the first training seed, whose verdict shows the change."""
    seeds = len(outcomes) > 1
    found = [(name, outcome, one) for name, outcome in outcomes for one in outcome.of_kind(kind)]
    name, outcome, completion = next((one for one in found if one[2].score.correct is right), found[0])
    style, verdict = VERDICTS[completion.score.outcome]
    origin = _origin(completion, len(outcome.sampled))
    return Shown(
        text=shortened(readable(completion.completion.strip())),
        answer=_answer(completion),
        style=style,
        verdict=verdict,
        origin=f"{name}, {origin}" if seeds else origin,
    )


def _origin(completion: GradedCompletion, num_samples: int) -> str:
    origin = "greedy" if completion.kind == "greedy" else f"sample {completion.k + 1} of {num_samples}"
    return f"{origin}, cut off" if completion.truncated else origin


def _answer(completion: GradedCompletion) -> str:
    return "none" if completion.score.answer is None else shortened(readable(completion.score.answer))
