import math
import pickle
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from markscheme.compose import (
    Cascade,
    Clip,
    Gate,
    WeightedSum,
    as_scorer,
)
from markscheme.scoring import GoldError, Outcome, Sample, Score, Scorer


@dataclass
class Fixed:
    """Gives each completion the score that the table has for it, and remembers the batches it was asked about."""

    table: dict[str, Score]
    name: str = "fixed"
    version: str = "1"
    batches: list[list[str]] = field(default_factory=list)

    def score(self, samples: Sequence[Sample]) -> list[Score]:
        self.batches.append([sample.completion for sample in samples])
        return [self.table[sample.completion] for sample in samples]


def samples(*completions: str, **meta: Any) -> list[Sample]:
    return [Sample(prompt="", completion=completion, meta=meta) for completion in completions]


RIGHT = Score(value=1.0, outcome=Outcome.CORRECT, answer="7")
WRONG = Score(value=0.0, outcome=Outcome.INCORRECT, answer="8")
SILENT = Score(value=0.0, outcome=Outcome.NO_ANSWER)
HALF = Score(value=0.5, outcome=Outcome.RATED)
OPEN = Score(value=None, outcome=Outcome.UNDECIDED)
BROKEN = Score(value=None, outcome=Outcome.FAILED)
ALL = {"right": RIGHT, "wrong": WRONG, "silent": SILENT, "half": HALF, "open": OPEN, "broken": BROKEN}


def test_weighted_sum_adds_up_and_keeps_the_verdict_of_the_first_verifier() -> None:
    style = Fixed({"right": HALF, "wrong": HALF, "silent": HALF})
    total = WeightedSum({"style": (style, 0.2), "math": (Fixed(ALL), 2.0)})
    right, wrong, silent = total.score(samples("right", "wrong", "silent"))
    assert right.value == pytest.approx(2.1)  # 0.2 * 0.5 + 2 * 1
    assert wrong.value == pytest.approx(0.1)
    assert (right.outcome, wrong.outcome, silent.outcome) == (Outcome.CORRECT, Outcome.INCORRECT, Outcome.NO_ANSWER)
    assert right.answer == "7"
    assert right.parts == {"style": HALF, "math": RIGHT}
    assert style.batches == [["right", "wrong", "silent"]]


def test_a_sum_of_ratings_is_a_rating() -> None:
    (score,) = WeightedSum({"a": (Fixed(ALL), 1.0), "b": (Fixed(ALL), -3.0)}).score(samples("half"))
    assert score.value == pytest.approx(-1.0)  # 0.5 - 1.5
    assert score.outcome is Outcome.RATED


@pytest.mark.parametrize(("completion", "outcome"), [("open", Outcome.UNDECIDED), ("broken", Outcome.FAILED)])
def test_a_missing_part_makes_the_sum_missing_even_at_weight_zero(completion: str, outcome: Outcome) -> None:
    one = as_scorer(lambda sample: 1.0, name="one")
    (score,) = WeightedSum({"one": (one, 1.0), "math": (Fixed(ALL), 0.0)}).score(samples(completion))
    assert (score.value, score.outcome) == (None, outcome)
    assert score.evidence == {"missing": "math"}
    assert set(score.parts) == {"one", "math"}


def test_a_sum_that_overflows_failed() -> None:
    huge = as_scorer(lambda sample: 1e308, name="huge")
    (score,) = WeightedSum({"huge": (huge, 100.0)}).score(samples(""))
    assert score.outcome is Outcome.FAILED


def test_gate_asks_only_about_what_passed() -> None:
    then = Fixed({"right": HALF})
    gate = Gate(Fixed(ALL), then, otherwise=-1.0)
    scores = gate.score(samples("wrong", "right", "silent", "half", "open", "broken"))
    assert [score.value for score in scores] == [-1.0, 0.5, -1.0, -1.0, None, None]
    assert [score.outcome for score in scores] == [
        Outcome.INCORRECT,
        Outcome.CORRECT,
        Outcome.NO_ANSWER,
        Outcome.RATED,
        Outcome.UNDECIDED,
        Outcome.FAILED,
    ]
    assert then.batches == [["right"]]
    assert scores[1].parts == {"rule": RIGHT, "then": HALF}
    assert scores[0].parts == {"rule": WRONG}


def test_gate_does_not_call_then_for_nothing_and_passes_on_its_failure() -> None:
    then = Fixed({"right": BROKEN})
    assert Gate(Fixed(ALL), then).score(samples("wrong"))[0].value == 0.0
    assert then.batches == []
    (score,) = Gate(Fixed(ALL), then).score(samples("right"))
    assert (score.value, score.outcome, score.evidence) == (None, Outcome.FAILED, {"missing": "then"})


def test_cascade_asks_the_next_only_about_what_is_open() -> None:
    judge = Fixed({"open": RIGHT, "broken": OPEN}, name="judge")
    scores = Cascade([Fixed(ALL, name="math"), judge]).score(samples("right", "open", "wrong", "silent", "broken"))
    assert [score.outcome for score in scores] == [
        Outcome.CORRECT,
        Outcome.CORRECT,
        Outcome.INCORRECT,
        Outcome.NO_ANSWER,
        Outcome.UNDECIDED,  # nobody decided: the last word stands
    ]
    assert judge.batches == [["open", "broken"]]
    assert scores[1].parts == {"1.math": OPEN, "2.judge": RIGHT}
    assert scores[0].parts == {"1.math": RIGHT}


def test_cascade_can_let_the_next_look_for_an_answer() -> None:
    judge = Fixed({"silent": RIGHT}, name="judge")
    decided = frozenset({Outcome.CORRECT, Outcome.INCORRECT})
    assert Cascade([Fixed(ALL), judge], decided=decided).score(samples("silent"))[0].value == 1.0


def test_clip_bounds_the_value_and_keeps_the_outcome() -> None:
    clip = Clip(as_scorer(lambda sample: float(sample.completion), name="number"), low=-1.0, high=2.0)
    assert [score.value for score in clip.score(samples("-5", "0.5", "7"))] == [-1.0, 0.5, 2.0]
    assert Clip(Fixed(ALL), low=0.0, high=0.5).score(samples("right"))[0].outcome is Outcome.CORRECT
    assert Clip(Fixed(ALL), low=0.0, high=0.5).score(samples("open"))[0].value is None


@pytest.mark.parametrize(
    ("returned", "value", "outcome"),
    [
        (True, 1.0, Outcome.CORRECT),
        (False, 0.0, Outcome.INCORRECT),
        (0.25, 0.25, Outcome.RATED),
        (-3, -3.0, Outcome.RATED),
        (None, None, Outcome.UNDECIDED),
        (HALF, 0.5, Outcome.RATED),
        (math.nan, None, Outcome.FAILED),
        (math.inf, None, Outcome.FAILED),
        ("1.0", None, Outcome.FAILED),
        ([1.0], None, Outcome.FAILED),
    ],
)
def test_as_scorer_reads_what_the_function_returns(returned: object, value: float | None, outcome: Outcome) -> None:
    (score,) = as_scorer(lambda sample: returned).score(samples(""))
    assert (score.value, score.outcome) == (value, outcome)
    assert ("error" in score.evidence) == (outcome is Outcome.FAILED)


def test_as_scorer_reads_numpy_scalars() -> None:
    numpy = pytest.importorskip("numpy")
    assert as_scorer(lambda sample: numpy.float32(0.5)).score(samples(""))[0].value == 0.5
    assert as_scorer(lambda sample: numpy.bool_(True)).score(samples(""))[0].outcome is Outcome.CORRECT
    assert as_scorer(lambda sample: numpy.zeros(2)).score(samples(""))[0].outcome is Outcome.FAILED


def test_an_exception_belongs_to_its_sample_alone() -> None:
    scores = as_scorer(lambda sample: 1 / len(sample.completion)).score(samples("a", "", "ab"))
    assert [score.value for score in scores] == [1.0, None, 0.5]
    assert scores[1].evidence == {"error": "ZeroDivisionError: division by zero"}


def test_a_gold_error_is_passed_on() -> None:
    def read_gold(sample: Sample) -> float:
        raise GoldError("no gold")

    with pytest.raises(GoldError, match="no gold"):
        as_scorer(read_gold).score(samples(""))


def length(sample: Sample) -> float:
    return float(len(sample.completion))


def test_a_function_gives_its_name() -> None:
    scorer = as_scorer(length)
    assert (scorer.name, scorer.version) == ("length", "1")
    assert (as_scorer(length, name="n", version="2").name, as_scorer(length, version="2").version) == ("n", "2")
    assert pickle.loads(pickle.dumps(scorer)) == scorer


def nested(weight: float = 1.0, high: float = 1.0, inner_version: str = "1", inner_name: str = "length") -> Scorer:
    inner = as_scorer(length, name=inner_name, version=inner_version)
    clipped = Clip(inner, low=0.0, high=high)
    return Gate(Cascade([clipped]), Clip(WeightedSum({"a": (clipped, weight)}), low=0.0, high=1.0))


def test_the_version_follows_from_parts_and_settings() -> None:
    versions = {
        nested().version,
        nested(weight=2.0).version,
        nested(high=2.0).version,
        nested(inner_version="2").version,
        nested(inner_name="other").version,
    }
    assert len(versions) == 5
    assert nested().version == nested().version


def test_names_show_the_nesting() -> None:
    assert nested().name == "gate(cascade(clip(length)), clip(sum(a)))"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: WeightedSum({}), "at least one part"),
        (lambda: WeightedSum({"a": (as_scorer(length), math.nan)}), "the weight of 'a' must be finite"),
        (lambda: Cascade([]), "at least one scorer"),
        (lambda: Clip(as_scorer(length), low=1.0, high=0.0), "low must not be above high"),
    ],
)
def test_bad_settings_are_named(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
