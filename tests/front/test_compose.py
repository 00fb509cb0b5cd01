import math
import pickle
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from markscheme.adapters import as_scorer
from markscheme.compose import Cascade, Clip, Ensemble, Gate, Shaped, WeightedSum
from markscheme.scoring import Outcome, Sample, Score, Scorer


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


NUMBERS = st.floats(allow_nan=False, allow_infinity=False)


def rates(*ratings: float) -> Fixed:
    """Rates the completions "0", "1", ..."""
    return Fixed({str(k): Score(value=rating, outcome=Outcome.RATED) for k, rating in enumerate(ratings)}, "rates")


@pytest.mark.parametrize(
    ("completion", "rating", "value"),
    [
        ("right", 0.0, 0.5),
        ("wrong", 0.0, -0.5),
        ("silent", 0.0, -0.5),
        ("half", 0.0, -0.5),  # no verdict, so not correct
        ("right", 2 * math.log(3), 0.75),  # e^(0.5 * 2 log 3) = 3, and 3 / (1 + 3)
        ("right", -2 * math.log(3), 0.25),
        ("wrong", 2 * math.log(3), -0.25),
    ],
)
def test_shaped_by_hand(completion: str, rating: float, value: float) -> None:
    rater = Fixed({completion: Score(value=rating, outcome=Outcome.RATED)})
    (score,) = Shaped(Fixed(ALL), rater).score(samples(completion))
    assert score.value == pytest.approx(value)
    assert (score.outcome, score.answer) == (ALL[completion].outcome, ALL[completion].answer)
    assert score.parts == {"rule": ALL[completion], "rating": rater.table[completion]}


def test_shaped_is_as_steep_as_alpha_says() -> None:
    rater = Fixed({"right": Score(value=math.log(3), outcome=Outcome.RATED)})
    assert Shaped(Fixed(ALL), rater, alpha=1.0).score(samples("right"))[0].value == pytest.approx(0.75)


@given(right=NUMBERS, wrong=NUMBERS, alpha=st.floats(1e-3, 1e3))
def test_shaped_ranks_every_correct_answer_above_every_wrong_one(right: float, wrong: float, alpha: float) -> None:
    rater = Fixed({key: Score(value=r, outcome=Outcome.RATED) for key, r in (("right", right), ("wrong", wrong))})
    one, other = Shaped(Fixed(ALL), rater, alpha).score(samples("right", "wrong"))
    assert one.value is not None
    assert other.value is not None
    assert -1 < other.value < 0 < one.value < 1


@given(ratings=st.lists(NUMBERS, min_size=2, max_size=2).map(sorted))
def test_shaped_keeps_the_order_of_the_ratings(ratings: list[float]) -> None:
    always = as_scorer(lambda sample: True, name="always")
    low, high = (score.value for score in Shaped(always, rates(*ratings)).score(samples("0", "1")))
    assert low is not None
    assert high is not None
    assert low <= high


@pytest.mark.parametrize(
    ("rule", "rating", "missing", "outcome"),
    [
        (OPEN, HALF, "rule", Outcome.UNDECIDED),
        (RIGHT, BROKEN, "rating", Outcome.FAILED),
        (WRONG, OPEN, "rating", Outcome.UNDECIDED),
        (BROKEN, OPEN, "rule", Outcome.FAILED),
    ],
)
def test_shaped_has_no_value_where_one_of_the_two_has_none(
    rule: Score, rating: Score, missing: str, outcome: Outcome
) -> None:
    (score,) = Shaped(Fixed({"": rule}), Fixed({"": rating})).score(samples(""))
    assert (score.value, score.outcome, score.evidence) == (None, outcome, {"missing": missing})
    assert score.parts == {"rule": rule, "rating": rating}


@pytest.mark.parametrize(
    ("how", "penalty", "value"),
    [("mean", 1.0, 4.0), ("min", 1.0, 1.0), ("lower", 1.0, 4 - math.sqrt(6)), ("lower", 0.5, 4 - math.sqrt(6) / 2)],
)
def test_an_ensemble_by_hand(how: Any, penalty: float, value: float) -> None:
    # 1, 4 and 7: mean 4, standard deviation sqrt((9 + 0 + 9) / 3) = sqrt(6)
    (score,) = Ensemble([rates(1.0), rates(4.0), rates(7.0)], how, penalty).score(samples("0"))
    assert score.value == pytest.approx(value)
    assert score.outcome is Outcome.RATED
    assert score.evidence == {"disagreement": pytest.approx(math.sqrt(6))}
    assert [(name, part.value) for name, part in score.parts.items()] == [
        ("1.rates", 1.0), ("2.rates", 4.0), ("3.rates", 7.0),
    ]  # fmt: skip


def test_an_ensemble_rates_even_where_all_agree_on_a_verdict() -> None:
    (score,) = Ensemble([Fixed(ALL), Fixed(ALL)]).score(samples("right"))
    assert (score.value, score.outcome, score.answer) == (1.0, Outcome.RATED, None)


def test_an_ensemble_has_no_value_where_one_of_it_has_none() -> None:
    (score,) = Ensemble([rates(1.0), Fixed({"0": OPEN}), Fixed({"0": BROKEN})]).score(samples("0"))
    assert (score.value, score.outcome, score.evidence) == (None, Outcome.UNDECIDED, {"missing": "2.fixed"})


@given(values=st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=5), penalty=st.floats(0, 3))
def test_the_worst_and_the_lower_bound_are_not_above_the_mean(values: list[float], penalty: float) -> None:
    members = [rates(value) for value in values]
    found = {how: Ensemble(members, how, penalty).score(samples("0"))[0] for how in ("mean", "min", "lower")}  # type: ignore[arg-type]
    worst, mean, lower = (found[how].value for how in ("min", "mean", "lower"))
    assert worst is not None
    assert mean is not None
    assert lower is not None
    assert worst <= mean <= max(values)
    assert lower <= mean
    assert found["mean"].evidence["disagreement"] == pytest.approx(statistics.pstdev(values))
    again = Ensemble(members[::-1], "lower", penalty).score(samples("0"))[0].value
    assert again == pytest.approx(lower, abs=1e-6), "the order of the members does not matter"


def test_members_that_agree_have_no_disagreement_and_huge_ones_no_overflow() -> None:
    for value in (0.1, -3.7, 1.7e308):
        (score,) = Ensemble([rates(value)] * 3, "lower", penalty=9.0).score(samples("0"))
        assert (score.value, score.evidence) == (value, {"disagreement": 0.0})
    (score,) = Ensemble([rates(1.7e308), rates(-1.7e308)], "lower", penalty=9.0).score(samples("0"))
    assert (score.value, score.outcome) == (None, Outcome.FAILED)
    assert score.evidence == {"error": "the penalty overflows"}


def length(sample: Sample) -> float:
    return float(len(sample.completion))


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


def test_the_version_of_ratings_follows_from_their_settings() -> None:
    one, other = as_scorer(length), as_scorer(length, version="2")
    scorers: list[Scorer] = [
        Shaped(one, one),
        Shaped(one, one, alpha=1.0),
        Shaped(one, other),
        Ensemble([one, one]),
        Ensemble([one, one], "lower"),
        Ensemble([one, one], "lower", 2.0),
        Ensemble([one, other]),
        Ensemble([one, one, one]),
    ]
    assert len({scorer.version for scorer in scorers}) == len(scorers)
    assert [pickle.loads(pickle.dumps(scorer)) for scorer in scorers] == scorers


def test_names_show_the_nesting() -> None:
    assert nested().name == "gate(cascade(clip(length)), clip(sum(a)))"
    one = as_scorer(length)
    assert Shaped(one, Ensemble([one, one], "min")).name == "shaped(length, min(length, length))"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: WeightedSum({}), "at least one part"),
        (lambda: WeightedSum({"a": (as_scorer(length), math.nan)}), "the weight of 'a' must be finite"),
        (lambda: Cascade([]), "at least one scorer"),
        (lambda: Clip(as_scorer(length), low=1.0, high=0.0), "low must not be above high"),
        (lambda: Shaped(as_scorer(length), as_scorer(length), alpha=0.0), "alpha must be above 0 and finite, got 0"),
        (lambda: Shaped(as_scorer(length), as_scorer(length), alpha=math.inf), "alpha must be above 0 and finite"),
        (lambda: Ensemble([as_scorer(length)]), "an ensemble needs at least two scorers, got 1"),
        (lambda: Ensemble([as_scorer(length)] * 2, "max"), "how must be one of mean, min, lower, got 'max'"),  # type: ignore[arg-type]
        (lambda: Ensemble([as_scorer(length)] * 2, "lower", -1.0), "penalty must be at least 0 and finite, got -1"),
    ],
)
def test_bad_settings_are_named(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_a_sum_says_why_a_part_has_no_value() -> None:
    def broken(sample: Sample) -> float:
        raise RuntimeError("judge is down")

    [score] = WeightedSum({"right": (as_scorer(broken), 1.0)}).score([Sample(prompt="", completion="4")])
    assert score.evidence == {"missing": "right", "error": "RuntimeError: judge is down"}
