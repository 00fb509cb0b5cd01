"""Pairs of verdicts: which, how many, of what weight, and those of an initial policy as a file."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from markscheme.adapters import as_scorer
from markscheme.files import InputError
from markscheme.generation import Completion, FinishReason, Request, Sampling
from markscheme.problems import Problem
from markscheme.reward_models import load_pairs
from markscheme.scoring import Sample, Scorer
from markscheme.verdict_pairs import Labelled, PairCounts, initial_pairs, verdict_pairs, write_pairs

PROBLEMS = [
    Problem(id=f"p{i}", question=f"Mia has {i} eggs. How many eggs?", gold=str(i), source="test", split="train")
    for i in range(40)
]


def labelled(problem: str, *completions: tuple[str, bool | None]) -> list[Labelled]:
    return [
        Labelled(problem=problem, question=f"{problem}?", completion=text, correct=correct)
        for text, correct in completions
    ]


def test_pairs_are_a_correct_against_an_incorrect_completion_of_one_problem() -> None:
    pairs, counts = verdict_pairs(
        [
            *labelled("a", ("1", True), ("2", False), ("1", True), ("3", False), ("?", None)),
            *labelled("b", ("4", True), ("5", True)),  # all right
            *labelled("c", ("6", False), ("?", None)),  # none right
            *labelled("d", ("7", False), ("8", True)),
        ],
        pairs_per_problem=4,
        seed=0,
        origin="here",
    )
    # a: {1} x {2, 3}, each of the weight 1 / 2, the order being the seed's; d: {8} x {7}
    assert {(pair.prompt, pair.chosen, pair.rejected, pair.weight) for pair in pairs} == {
        ("a?", "1", "2", 0.5),
        ("a?", "1", "3", 0.5),
        ("d?", "8", "7", 1.0),
    }
    assert sorted(pair.id for pair in pairs) == ["here/a/0", "here/a/1", "here/d/0"]
    assert counts == PairCounts(completions=11, unscored=2, problems=4, without_both=2, pairs=3)


def test_the_limit_holds_for_each_problem_and_uses_every_completion_first() -> None:
    right = [(f"right {k}", True) for k in range(2)]
    wrong = [(f"wrong {k}", False) for k in range(4)]
    pairs, _ = verdict_pairs(labelled("a", *right, *wrong), pairs_per_problem=4, seed=0, origin="here")
    # Of 2 x 4 = 8 combinations four: each wrong one once, each right one twice.
    assert sorted(pair.rejected for pair in pairs) == [text for text, _ in wrong]
    assert sorted(pair.chosen for pair in pairs) == [text for text, _ in right for _ in range(2)]
    assert [pair.weight for pair in pairs] == [1 / 4] * 4


@given(num_right=st.integers(0, 6), num_wrong=st.integers(0, 6), limit=st.integers(1, 40), seed=st.integers(0, 9))
def test_no_combination_comes_twice_and_none_is_lost_below_the_limit(
    num_right: int, num_wrong: int, limit: int, seed: int
) -> None:
    completions = [
        *((f"right {k}", True) for k in range(num_right)),
        *((f"wrong {k}", False) for k in range(num_wrong)),
    ]
    pairs, _ = verdict_pairs(labelled("a", *completions), limit, seed, "here")
    assert len({(pair.chosen, pair.rejected) for pair in pairs}) == len(pairs) == min(limit, num_right * num_wrong)
    assert sum(pair.weight for pair in pairs) == pytest.approx(1.0 if pairs else 0.0)


def test_the_seed_decides_which_pairs_are_made_and_the_order_of_writing_does_not() -> None:
    completions = [(f"{k}", k % 2 == 0) for k in range(12)]
    one, another, backwards = (
        verdict_pairs(labelled("a", *order), 4, seed, "here")[0]
        for order, seed in ((completions, 0), (completions, 1), (completions[::-1], 0))
    )
    assert one == backwards
    assert one != another


def test_pairs_can_be_read_again_as_they_were_written(tmp_path: Path) -> None:
    pairs, _ = verdict_pairs(
        labelled("a", ("line\nline", True), ("\ud800 🙂", False), ("", False), ("x", False)), 3, 0, "here"
    )
    write_pairs(tmp_path / "pairs.jsonl", pairs)
    assert load_pairs(tmp_path / "pairs.jsonl") == pairs


class Guesser:
    """A generator that writes a number up to three, which its seed determines."""

    def stream(self, requests: Sequence[Request], sampling: Sampling) -> Iterator[tuple[int, int, Completion]]:
        for index, request in enumerate(requests):
            for k, seed in enumerate(request.seeds):
                text = str(seed % 4)
                yield index, k, Completion(text=text, ids=(1,), logprobs=(0.0,), finish_reason=FinishReason.STOP)

    def load_weights(self, named_tensors: Iterable[tuple[str, Any]]) -> None:
        raise AssertionError("the policy is the initial one")


def equals(sample: Sample) -> bool | None:
    return None if sample.completion == "3" else sample.completion == sample.gold


def made(path: Path, labeller: Scorer, problems: Sequence[Problem] = PROBLEMS, seed: int = 0) -> PairCounts:
    return initial_pairs(
        Guesser(), labeller, problems, lambda problem: (1,), path, sampling=Sampling(), num_samples=8, seed=seed
    )


def test_the_initial_policys_pairs_are_a_file_that_load_pairs_reads(tmp_path: Path) -> None:
    counts = made(tmp_path / "pairs.jsonl", as_scorer(equals))
    pairs = load_pairs(tmp_path / "pairs.jsonl")
    assert {pair.prompt for pair in pairs} <= {PROBLEMS[i].question for i in range(3)}  # nobody guesses more than 2
    for pair in pairs:
        assert f"has {pair.chosen} eggs" in pair.prompt
        assert pair.rejected in {"0", "1", "2"} - {pair.chosen}  # a 3 has no verdict
    assert (counts.problems, counts.completions, counts.pairs) == (40, 320, len(pairs))
    assert 40 < counts.unscored < 120  # about a quarter
    assert counts.without_both == 40 - len({pair.prompt for pair in pairs})


def test_the_initial_policys_pairs_are_a_function_of_the_seed(tmp_path: Path) -> None:
    for name, seed in (("one", 0), ("again", 0), ("other", 1)):
        made(tmp_path / name, as_scorer(equals), seed=seed)
    one, again, other = ((tmp_path / name).read_bytes() for name in ("one", "again", "other"))
    assert one == again != other


def test_a_labeller_that_only_rates_is_refused(tmp_path: Path) -> None:
    rater = as_scorer(lambda sample: 0.5, name="rater")
    with pytest.raises(InputError, match="the labeller rater rates and gives no verdicts: take a verifier"):
        made(tmp_path / "pairs.jsonl", rater)
    assert not (tmp_path / "pairs.jsonl").exists()


def test_no_pair_at_all_is_named_and_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none of 4 problems has both .*\(\d+ of 32 completions without a verdict\)"):
        made(tmp_path / "pairs.jsonl", as_scorer(equals), PROBLEMS[10:14])
    assert not (tmp_path / "pairs.jsonl").exists()
