from collections.abc import Sequence

import pytest

from markscheme.files import InputError
from markscheme.reward_models import PreferencePair, evaluate_pairs
from markscheme.reward_models.evaluation import evaluate_rewards, pair_accuracy
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
