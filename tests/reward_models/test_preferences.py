"""Pairs, comparisons and labelled steps: what may be in them, how they come together, how they are split."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from markscheme.files import InputError
from markscheme.reward_models.preferences import (
    Comparison,
    PreferencePair,
    Prompt,
    compared,
    group_of,
    is_held_out,
    rated,
    split_by_question,
)
from markscheme.reward_models.steps import LabelledSteps
from markscheme.scoring import Message


def pair(prompt: Prompt = "2 + 2?", chosen: str = "4", rejected: str = "5", **fields: Any) -> PreferencePair:
    return PreferencePair(**{"prompt": prompt, "chosen": chosen, "rejected": rejected, "id": "a"} | fields)


def asked(question: str) -> tuple[Message, ...]:
    return (Message(role="user", content=question),)


UNUSABLE_PAIRS = [
    ({"rejected": "4"}, "pair a: chosen and rejected are the same text '4': drop it"),
    ({"weight": 0.0}, "weight must be finite and above 0, got 0.0"),
    ({"weight": float("inf")}, "weight must be finite and above 0, got inf"),
    ({"margin": float("nan")}, "margin must be finite, got nan"),
    ({"certainty": 0.3}, "certainty must be 0.5 to 1, got 0.3; swap chosen and rejected"),
    ({"certainty": 1.5}, "certainty must be 0.5 to 1, got 1.5"),
    ({"certainty": float("nan")}, "certainty must be 0.5 to 1, got nan"),
]


@pytest.mark.parametrize(("fields", "message"), UNUSABLE_PAIRS)
def test_an_unusable_pair_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=r"^pair a: ") as error:
        pair(**fields)
    assert message in str(error.value)
    assert ("swap" in str(error.value)) == ("swap" in message)


def test_a_margin_may_be_below_zero_and_a_certainty_one_half() -> None:
    assert pair(margin=-0.5, certainty=0.5).margin == -0.5


UNUSABLE_COMPARISONS = [
    (("4", "4"), (1.0, 1.0), (), "needs different completions"),
    (("4", "5"), (1.0,), (), "and a rating for each"),
    ((), (), (), "has no completions: drop it"),
]


@pytest.mark.parametrize(("completions", "ratings", "pairs", "message"), UNUSABLE_COMPARISONS)
def test_an_unusable_comparison_is_refused(completions: Any, ratings: Any, pairs: Any, message: str) -> None:
    with pytest.raises(ValueError, match=r"^the prompt '2 \+ 2\?'") as error:
        Comparison(prompt="2 + 2?", completions=completions, ratings=ratings, pairs=pairs)
    assert message in str(error.value)


UNUSABLE_STEPS = [
    ((), (), "solution s: 0 steps and 0 labels"),
    (("one", "two"), (1.0,), "solution s: 2 steps and 1 labels: give one each"),
    (("one",), (1.5,), "a label must be 0 to 1 or none, got 1.5"),
    (("one",), (float("nan"),), "a label must be 0 to 1 or none, got nan"),
]


@pytest.mark.parametrize(("steps", "labels", "message"), UNUSABLE_STEPS)
def test_unusable_steps_are_refused(steps: Any, labels: Any, message: str) -> None:
    with pytest.raises(ValueError, match="s: ") as error:
        LabelledSteps(prompt="2 + 2?", steps=steps, labels=labels, id="s")
    assert message in str(error.value)


FIRST_ERRORS = [
    ((1.0, 1.0), None, "all are good"),
    ((None, None), None, "nothing is known"),
    ((1.0, 0.0, 0.0), 1, "the first of two"),
    ((None, 0.4, None), 1, "fewer than half of the votes"),
    ((0.5, None), None, "half of the votes"),
]


@pytest.mark.parametrize(("labels", "index", "reason"), FIRST_ERRORS)
def test_the_first_error_is_the_first_step_below_one_half(labels: Any, index: int | None, reason: str) -> None:
    steps = tuple(f"step {k}" for k in range(len(labels)))
    assert LabelledSteps(prompt="2 + 2?", steps=steps, labels=labels, id="s").first_error == index, reason


def test_pairs_of_one_prompt_come_together_in_the_order_of_the_file() -> None:
    # a > b, a > c, b > c: b is once the better and once the worse one, so it has no rating.
    pairs = [
        pair("p", "a", "b"),
        pair("q", "x", "y"),
        pair("p", "a", "c"),
        pair("p", "b", "c"),
    ]
    first, second = compared(pairs)
    assert first.completions == ("a", "b", "c")
    assert first.ratings == (1.0, None, 0.0)
    assert first.pairs == (pairs[0], pairs[2], pairs[3])
    assert first.places() == [(0, 1), (0, 2), (1, 2)]
    assert (second.completions, second.ratings, second.pairs) == (("x", "y"), (1.0, 0.0), (pairs[1],))


def test_messages_are_one_prompt_if_they_say_the_same() -> None:
    [comparison] = compared([pair(asked("p"), "a", "b"), pair(asked("p"), "c", "d")])
    assert comparison.completions == ("a", "b", "c", "d")
    assert len(compared([pair(asked("p"), "a", "b"), pair("p", "a", "b")])) == 2


def test_every_two_of_different_ratings_are_a_pair_and_count_once_together() -> None:
    # 2 > 1 = 1 > 0: five of the six twos differ, each of the weight 1 / 5.
    comparison = rated("p", {"one": 1.0, "none": 0.0, "two": 2.0, "uno": 1.0}, "q", {"two": "A", "none": "B"})
    assert comparison.completions == ("one", "none", "two", "uno")
    assert comparison.ratings == (1.0, 0.0, 2.0, 1.0)
    assert [(p.chosen, p.rejected) for p in comparison.pairs] == [
        ("two", "one"),
        ("two", "uno"),
        ("two", "none"),
        ("one", "none"),
        ("uno", "none"),
    ]
    assert {p.weight for p in comparison.pairs} == {1 / 5}
    assert [p.id for p in comparison.pairs] == ["q/0", "q/1", "q/2", "q/3", "q/4"]
    assert [(p.chosen_by, p.rejected_by) for p in comparison.pairs[1:4]] == [("A", None), ("A", "B"), (None, "B")]


def test_completions_rated_alike_are_a_comparison_without_pairs() -> None:
    assert rated("p", {"a": 1.0, "b": 1.0}, "q").pairs == ()
    assert rated("p", {"a": 0.0}, "q").ratings == (0.0,)


@given(st.lists(st.sampled_from([0.0, 0.5, 1.0, 3.0]), min_size=1, max_size=7))
def test_pairs_follow_the_ratings(ratings: list[float]) -> None:
    comparison = rated("p", {f"completion {k}": rating for k, rating in enumerate(ratings)}, "q")
    places = comparison.places()
    assert len(set(places)) == len(places) == sum(a > b for a in ratings for b in ratings)
    assert all(ratings[better] > ratings[worse] for better, worse in places)
    assert all(ratings[a] >= ratings[b] for (a, _), (b, _) in pairwise(places))
    assert sum(p.weight for p in comparison.pairs) == pytest.approx(1.0 if places else 0.0)


def test_the_group_is_the_question_whatever_its_case_and_spacing() -> None:
    assert group_of("How many?") == group_of("how  MANY? ")
    assert group_of(asked("How many?")) == group_of(asked("how many?"))
    assert group_of(asked("How many?")) != group_of((*asked("How many?"), Message(role="assistant", content="Two")))
    assert pair("How many?").group == compared([pair("how many?")])[0].group == group_of("How many?")


def questions(*numbers: int, spelling: str = "How many? {}") -> list[Comparison]:
    return compared([pair(spelling.format(n)) for n in numbers])


def test_no_question_is_in_both_parts_however_it_is_spaced() -> None:
    comparisons = [*questions(*range(100)), *questions(*range(100), spelling="how  many? {}")]
    train, held_out = split_by_question(comparisons, held_out_share=0.3)
    assert not {one.group for one in train} & {one.group for one in held_out}
    assert len(train) + len(held_out) == 200
    assert 30 <= len(held_out) <= 90  # 30 of 100 questions on average, standard deviation 4.6, two spellings each


def test_a_question_stays_in_its_part_when_others_are_added_and_a_larger_share_holds_out_more() -> None:
    def held_out(share: float, *numbers: int) -> set[str]:
        return {str(one.prompt) for one in split_by_question(questions(*numbers), share)[1]}

    some, more = range(60), range(100)
    assert held_out(0.3, *some) == held_out(0.3, *more) & {f"How many? {n}" for n in some}
    assert held_out(0.3, *more) < held_out(0.6, *more)
    assert all(is_held_out(pair(text), 0.3) for text in held_out(0.3, *more))


def test_an_empty_part_is_an_error() -> None:
    with pytest.raises(InputError, match=r"held_out_share 0\.5 of 1 questions leaves"):
        split_by_question(questions(1), held_out_share=0.5)
