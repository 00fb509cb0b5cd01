from collections.abc import Sequence

import pytest

from markscheme.files import InputError
from markscheme.reward_models import PreferencePair, evaluate_pairs
from markscheme.reward_models.evaluation import (
    balanced,
    baselines,
    evaluate_rewards,
    fifths,
    pair_accuracy,
)
from markscheme.scoring import Outcome, Sample, Score


def pair(prompt: str, chosen: str, rejected: str) -> PreferencePair:
    return PreferencePair(prompt=prompt, chosen=chosen, rejected=rejected, id=f"{prompt}/{chosen}/{rejected}")


PAIRS = [
    pair("one?", "right", "no"),
    pair("one?", "sure", "wrong one"),
    pair("two?", "yes", "bad"),
    pair("three?", "good", "worse"),
]


def test_ties_count_one_half_and_unscored_pairs_stand_apart() -> None:
    # Scored: 2 > 1 right, 0 < 1 wrong, 1 = 1 tie: (1 + 0 + 0.5) / 3 = 0.5; the fourth as wrong: 1.5 / 4 = 0.375
    evaluation = evaluate_rewards(PAIRS, [2.0, 0.0, 1.0, None], [1.0, 1.0, 1.0, 0.0])
    assert evaluation.scorer.accuracy == 0.5
    assert evaluation.pessimistic == 0.375
    assert (evaluation.num_pairs, evaluation.num_unscored, evaluation.num_questions, evaluation.num_ties) == (
        4,
        1,
        2,
        1,
    )


def test_length_baselines_count_characters() -> None:
    # longer is better: right/no 1, sure/wrong one 0, yes/bad tie 0.5, good/worse 0: 1.5 / 4 = 0.375; shorter: 0.625
    evaluation = evaluate_rewards(PAIRS, [1.0] * 4, [0.0] * 4)
    assert evaluation.longer_is_better.accuracy == 0.375
    assert evaluation.shorter_is_better.accuracy == 0.625
    assert evaluation.scorer.accuracy == 1.0


class Length:
    name, version = "length", "1"

    def score(self, samples: Sequence[Sample]) -> list[Score]:
        return [Score(value=float(len(sample.completion)), outcome=Outcome.RATED) for sample in samples]


class Broken:
    name, version = "broken", "1"

    def score(self, samples: Sequence[Sample]) -> list[Score]:
        return [Score(value=None, outcome=Outcome.FAILED) for _ in samples]


def test_any_scorer_can_be_evaluated() -> None:
    evaluation = evaluate_pairs(Length(), PAIRS)
    assert evaluation.scorer == evaluation.longer_is_better


def test_a_scorer_without_a_single_score_is_an_error() -> None:
    with pytest.raises(InputError, match="none of the 4 pairs could be scored"):
        evaluate_pairs(Broken(), PAIRS)


def test_interval_draws_questions_with_all_their_pairs() -> None:
    # 40 questions of 10 pairs that all go the same way: there are 40 coins, not 400.
    credits = [float(question % 2) for question in range(40) for _ in range(10)]
    groups = [str(question) for question in range(40) for _ in range(10)]
    clustered = pair_accuracy(credits, groups)
    independent = pair_accuracy(credits, [str(number) for number in range(400)])
    # Normal approximation: 1.96 * sqrt(0.25 / 40) = 0.155, and 1.96 * sqrt(0.25 / 400) = 0.049
    assert (clustered.high - clustered.low) / 2 == pytest.approx(0.155, abs=0.02)
    assert (independent.high - independent.low) / 2 == pytest.approx(0.049, abs=0.006)
    assert pair_accuracy(credits, groups) == clustered  # the same seed, the same interval


def test_interval_of_one_sided_credits_is_what_the_questions_can_exclude() -> None:
    # 1 - 0.025^(1/100) = 1 - e^(-3.688879 / 100) = 0.036217
    perfect = pair_accuracy([1.0] * 100, [str(number) for number in range(100)])
    assert (perfect.accuracy, perfect.high) == (1.0, 1.0)
    assert perfect.low == pytest.approx(1 - 0.036217, abs=1e-6)
    alone = pair_accuracy([1.0, 0.0], ["one", "one"])
    assert (alone.low, alone.high) == pytest.approx((0.0125, 0.9875))  # 0.5 ± 0.975 * 0.5


def test_questions_of_unequal_size_are_drawn_whole() -> None:
    # Draws: big twice 18/18 = 1, one of each 9/10 = 0.9, small twice 0/2 = 0; a quarter, a half and a quarter of them.
    found = pair_accuracy([1.0] * 9 + [0.0], ["big"] * 9 + ["small"])
    assert (found.accuracy, found.low, found.high) == (0.9, 0.0, 1.0)


def test_knowing_the_writer_alone_is_worth_a_half_when_balanced() -> None:
    # The large model beats the small one in 9 of 10 pairs; who always prefers the large one is right in all of those.
    pairs = [
        PreferencePair(
            prompt=f"{k}?",
            chosen="a",
            rejected="b",
            id=str(k),
            chosen_by="small" if k % 10 == 0 else "large",
            rejected_by="large" if k % 10 == 0 else "small",
        )
        for k in range(100)
    ]
    chosen = [float(pair.chosen_by == "large") for pair in pairs]
    found = evaluate_rewards(pairs, chosen, [1 - value for value in chosen])
    assert found.scorer.accuracy == 0.9
    assert found.by_writer is not None
    assert found.by_writer.accuracy.accuracy == 0.5
    assert {name: (cell.num_pairs, cell.accuracy) for name, cell in found.by_writer.cells.items()} == {
        "large > small": (90, 1.0),
        "small > large": (10, 0.0),
    }
    assert evaluate_rewards(PAIRS, [1.0] * 4, [0.0] * 4).by_writer is None  # the pairs do not say


def test_the_balanced_interval_draws_questions() -> None:
    # Two cells of 50 questions, each right in half of them. Normal approximation: each mean has the variance 0.25 / 50,
    # their mean half of that: 1.96 * sqrt(0.0025) = 0.098
    credits = [float(k % 2) for k in range(100)]
    cells = ["one" if k < 50 else "other" for k in range(100)]
    found = balanced(credits, cells, [str(k) for k in range(100)])
    assert found.accuracy.accuracy == 0.5
    assert (found.accuracy.high - found.accuracy.low) / 2 == pytest.approx(0.098, abs=0.015)
    alone = balanced([1.0, 0.0, 1.0], ["a", "a", "b"], ["q", "r", "r"])  # resamples without r have no cell b
    assert (alone.accuracy.accuracy, alone.accuracy.low, alone.accuracy.high) == (0.75, 0.5, 1.0)


def test_balanced_credits_that_are_all_the_same_claim_no_certainty() -> None:
    credits, groups = [1.0] * 100, [str(k) for k in range(100)]
    found = balanced(credits, ["a", "b"] * 50, groups)
    assert found.accuracy == pair_accuracy(credits, groups)
    assert found.accuracy.low < 1


def test_fifths_are_named_by_their_ends() -> None:
    assert fifths([float(k) for k in range(10)]) == [
        *["0 to 1"] * 2,
        *["2 to 3"] * 2,
        *["4 to 5"] * 2,
        *["6 to 7"] * 2,
        *["8 to 9"] * 2,
    ]
    assert fifths([3.0, 3.0, 3.0]) == ["3 to 3"] * 3


def test_a_linear_model_learns_a_word_and_no_more() -> None:
    def pairs(numbers: range) -> list[PreferencePair]:
        return [
            PreferencePair(prompt=f"{k}?", chosen=f"it is {k}, surely", rejected=f"it is {k}, maybe", id=str(k))
            for k in numbers
        ]

    def accuracy(held_out: list[PreferencePair]) -> float:
        [(name, found)] = baselines(pairs(range(20)), held_out).items()
        assert name == "linear model on n-grams"
        return found.scorer.accuracy

    assert accuracy(pairs(range(20, 40))) == 1.0
    turned = [PreferencePair(prompt=p.prompt, chosen=p.rejected, rejected=p.chosen, id=p.id) for p in pairs(range(9))]
    assert accuracy(turned) == 0.0
    unknown = [PreferencePair(prompt="q", chosen="alpha", rejected="beta", id="u")]
    assert accuracy(unknown) == 0.5  # it has seen neither: a tie
    assert baselines([], unknown) == {}


def test_the_writer_who_won_more_often_is_preferred() -> None:
    def pair_of(number: int, better: str, worse: str) -> PreferencePair:
        return PreferencePair(
            prompt=f"{number}?", chosen="a", rejected="b", id=str(number), chosen_by=better, rejected_by=worse
        )

    train = [pair_of(k, *(("large", "small") if k % 3 else ("small", "large"))) for k in range(9)]
    held_out = [pair_of(k, *(("large", "small") if k % 4 else ("small", "large"))) for k in range(9, 21)]
    found = baselines(train, held_out)["knowing only who wrote them"]
    assert found.scorer.accuracy == 9 / 12
    assert found.by_writer is not None
    assert found.by_writer.accuracy.accuracy == 0.5
