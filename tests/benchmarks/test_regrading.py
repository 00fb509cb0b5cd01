"""Stored completions judged again: by hand, and the published figures of files of real models in any row order."""

import gzip
import json
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from markscheme.benchmarks.logs import LoggedSample, read_log
from markscheme.benchmarks.regrading import Regraded, judge, regrade
from markscheme.benchmarks.votes import Vote
from markscheme.files import InputError
from markscheme.scoring import GoldError, Outcome, Sample, Score
from markscheme.verifiers import MathVerifier, StepVerifier

T, F, N = True, False, None


def logged(problem: str, k: int, verdict: bool | None, value: float | None = None, **fields: Any) -> LoggedSample:
    return LoggedSample(
        **{"question": f"{problem}?", "completion": "", "gold": "4", "row": {}, "where": f"log:{problem}{k}", **fields},
        problem=problem,
        k=k,
        verdict=verdict,
        value=value,
    )


def scored(correct: bool | None) -> Score:
    if correct is None:
        return Score(value=None, outcome=Outcome.UNDECIDED)
    return Score(value=float(correct), outcome=Outcome.CORRECT if correct else Outcome.INCORRECT)


def regraded(
    *rows: tuple[LoggedSample, bool | None], votes: Sequence[Vote] | None = None, seconds: float = 0.0
) -> Regraded:
    """Of samples and our verdicts; without votes, wrong answers are all the same."""
    return Regraded(
        samples=[sample for sample, _ in rows],
        scores=[scored(correct) for _, correct in rows],
        votes=votes or [True if correct else "wrong" for _, correct in rows],
        seconds=seconds,
    )


def test_confusion_and_disagreements_by_hand() -> None:
    found = regraded(
        (logged("a", 0, T), T),
        (logged("a", 1, T), F),  # a false negative
        (logged("b", 0, F), T),  # a false positive
        (logged("b", 1, N), T),  # the log does not say
        (logged("c", 0, F), N),  # we cannot tell
        (logged("c", 1, F), F),
        seconds=0.012,
    )
    right, wrong, unknown = Outcome.CORRECT, Outcome.INCORRECT, Outcome.UNDECIDED
    assert found.confusion == {
        (T, right): 1,
        (T, wrong): 1,
        (F, right): 1,
        (N, right): 1,
        (F, unknown): 1,
        (F, wrong): 1,
    }
    assert found.disagreements == [1, 2]
    record = found.to_dict()
    assert json.loads(json.dumps(record)) == record
    # Compared: all but the two that one side has no verdict on. They agree on the first and the last.
    assert (record["n"], record["problems"], record["compared"], record["agreement"]) == (6, 3, 4, 0.5)
    assert (record["false_positives"], record["false_negatives"], record["unscored"]) == (1, 1, 1)
    assert record["ms_per_grade"] == 2.0


def four(problem: str, verdicts: Sequence[bool | None], values: Sequence[float | None]) -> list[LoggedSample]:
    return [logged(problem, k, verdicts[k], values[k]) for k in range(4)]


A = four("a", [T, T, T, F], [0.9, 0.8, 0.1, 0.2])
B = four("b", [F, F, F, N], [1.0, None, 3.0, 2.0])
OURS = [*zip(A, [T, F, T, F], strict=True), *zip(B, [F, N, F, T], strict=True)]
VOTES: list[Vote] = [True, "5", True, "5", "6", None, "7", True]


def test_metrics_by_our_verdicts() -> None:
    found = regraded(*OURS, votes=VOTES)
    assert found.num_samples == 4
    # b has three with a verdict, one of them right. 2 of 4: a 1 - 1/6, b 1 - C(2,2)/C(3,2) = 2/3. Of 4 only a has all.
    # a's vote is 2 to 2: shared by maj, won by the one that was sampled first by cons.
    # The best of 2: a 3 of 6, whenever the first is drawn; b's values 1, 3, 2 with right the 2: 1 of 3.
    assert found.metrics(found.own_verdicts) == pytest.approx(
        {
            "first": 1 / 2,
            "accuracy": (1 / 2 + 1 / 3) / 2,
            "pass@1": (1 / 2 + 1 / 3) / 2,
            "best@1": (1 / 2 + 1 / 3) / 2,
            "pass@2": (5 / 6 + 2 / 3) / 2,
            "best@2": (1 / 2 + 1 / 3) / 2,
            "pass@4": 1,
            "maj@4": 1 / 2,
            "best@4": 1,
            "cons@4": 1,
        }
    )
    record = found.to_dict()
    assert (record["first"], record["accuracy"]) == pytest.approx((1 / 2, 5 / 12))
    assert record["pass@k"] == pytest.approx({"1": 5 / 12, "2": 3 / 4, "4": 1})
    assert (record["maj@k"], record["cons@k"], record["best@k"]["4"]) == ({"4": 1 / 2}, {"4": 1}, 1)


def test_metrics_by_the_verdicts_of_the_log() -> None:
    found = regraded(*OURS, votes=VOTES)
    # a's second sample, "5" to us, is right by the log and votes for the gold: 3 to 1. b's value is missing where its
    # verdict is known, so that nothing can be chosen there.
    assert found.metrics(found.log_verdicts) == pytest.approx(
        {
            "first": 1 / 2,
            "accuracy": 3 / 8,
            "pass@1": 3 / 8,
            "best@1": 3 / 4,
            "pass@2": 1 / 2,
            "best@2": 5 / 6,  # of 6 only the draw of a's third and fourth is wrong: 0.1 right, 0.2 wrong
            "pass@4": 1,
            "maj@4": 1,
            "best@4": 1,
            "cons@4": 1,
        }
    )
    assert regraded((logged("a", 0, N), T)).metrics([None]) == {}


def test_what_only_the_log_calls_wrong_does_not_vote_for_the_gold() -> None:
    # By us all three are right. By the log two are wrong: they outvote the right one.
    found = regraded(*((logged("a", k, verdict), T) for k, verdict in enumerate([T, F, F])))
    assert found.metrics(found.own_verdicts)["cons@3"] == 1
    assert found.metrics(found.log_verdicts)["cons@3"] == 0


@pytest.mark.parametrize(
    ("sizes", "expected", "reason"),
    [([2, 4, 4], 4, "the commonest"), ([4, 2], 2, "of equals the least"), ([2, 4], 2, "whichever comes first")],
)
def test_number_of_samples(sizes: Sequence[int], expected: int, reason: str) -> None:
    samples = [logged(str(problem), k, T) for problem, size in enumerate(sizes) for k in range(size)]
    assert regraded(*((one, T) for one in samples)).num_samples == expected, reason


def test_the_first_sample_is_known_by_its_number() -> None:
    rows = [(logged("b", 1, F), F), (logged("a", 1, F), F), (logged("a", 0, T), T), (logged("b", 0, T), T)]
    found = regraded(*rows)
    assert found.metrics(found.own_verdicts)["first"] == 1
    assert [found.samples[place].where for place in found.in_order] == ["log:b0", "log:b1", "log:a0", "log:a1"]


def test_judging_by_a_verifier() -> None:
    texts = [r"\boxed{4}", r"\boxed{\frac12}", r"\boxed{0.5}", "no idea"]
    samples = [logged("a", k, F, completion=text, gold=("3", "4")) for k, text in enumerate(texts)]
    done: list[int] = []
    found = regrade(MathVerifier(), samples * 251, done.append)
    assert done == [1_000, 1_004]
    assert [score.outcome.value for score in found.scores[:4]] == ["correct", "incorrect", "incorrect", "no_answer"]
    right, half, decimal, nothing = found.votes[:4]
    assert (right, nothing) == (True, None)
    assert half == decimal  # equal answers vote for the same
    assert list(found.votes) == list(found.votes[:4]) * 251


def test_a_bad_gold_is_named_by_its_place_and_a_rating_is_no_verdict() -> None:
    samples = [logged("a", 0, T), logged("b", 0, T, gold=r"\frac{1", where="folder/log.jsonl:7")]
    with pytest.raises(GoldError, match=r"sample folder/log.jsonl:7: the braces of the gold .*; correct it in the log"):
        regrade(MathVerifier(), samples)
    with pytest.raises(InputError, match="the scorer steps rates instead of deciding; take one that decides: math"):
        judge(StepVerifier(), [logged("a", 0, T, completion="1 + 1 = 2")])


ORDERS: list[tuple[Sequence[Mapping[str, Any]], Sequence[int], str]] = [
    ([{"sample_index": 7}, {"sample_index": 3}, {"sample_index": 5}], [2, 0, 1], "a column that numbers samples"),
    ([{"epoch": 2, "id": "x-0"}, {"epoch": 1, "id": "x-1"}], [1, 0], "it goes before the ids"),
    ([{"k": 1, "epoch": 1}, {"k": 0, "epoch": 1}], [1, 0], "one that is the same everywhere numbers nothing"),
    ([{"k": 0}, {}, {"k": 1}], [0, 1, 2], "some rows lack it"),
    ([{"k": True}, {"k": False}], [0, 1], "no number"),
    ([{"id": "x-0-10"}, {"id": "x-0-9"}], [1, 0], "numbers, not texts"),
    ([{"id": 12}, {"id": 9}], [1, 0], "whole numbers as ids"),
    ([{"id": "x-1-a"}, {"id": "x-0-a"}], [0, 1], "ids that end in no number"),
    ([{"id": "x-1"}, {"id": "y-0"}], [0, 1], "ids that differ before it"),
    ([{"id": "x-1"}, {"id": "x-01"}], [0, 1], "one number twice"),
    ([{"id": "9" * 30}, {"id": "9" * 29 + "8"}], [1, 0], "a number of many digits"),
    ([{"id": "9" * 5_000}, {"id": "8" * 5_000}], [0, 1], "digits that are no number"),
]


@pytest.mark.parametrize(("rows", "expected", "reason"), ORDERS)
def test_what_numbers_the_samples(
    rows: Sequence[Mapping[str, Any]], expected: Sequence[int], reason: str, tmp_path: Path
) -> None:
    written = [{"question": "2+2?", "gold": "4", "completion": ["4", "5"], **row} for row in rows]
    log = write_rows(tmp_path / "log.jsonl", written)
    # A row of two completions takes two numbers.
    assert [one.k for one in read_log(log)] == [2 * first + index for first in expected for index in (0, 1)], reason


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]


PUBLISHED = {
    "first": 0.9,
    "accuracy": 0.91,
    "pass@1": 0.91,
    "pass@2": 653 / 700,
    "pass@4": 0.951,
    "pass@8": 0.96,
    "maj@8": 0.925,
    "cons@8": 0.93,
    "best@8": 0.94,
}


@pytest.mark.parametrize("order", ["as it is", "shuffled", "backwards"])
def test_the_published_figures_in_any_row_order(order: str, shared_data: Path, tmp_path: Path) -> None:
    rows = rows_of(shared_data / "model_outputs" / "math_test_100x8.jsonl.gz")
    if order == "shuffled":
        random.Random(3).shuffle(rows)
    log = write_rows(tmp_path / "log.jsonl", rows[::-1] if order == "backwards" else rows)
    found = regrade(MathVerifier(), read_log(log, verdict="label"))
    metrics = found.metrics(found.log_verdicts)
    assert {name: metrics[name] for name in PUBLISHED} == pytest.approx(PUBLISHED, abs=1e-12, rel=0)
    # In three problems two answers have the most votes: each has half.
    assert sorted(share for share in majority_shares(found) if 0 < share < 1) == [0.5] * 3
    # By our own verdicts: nine that the publisher's grader missed are right.
    assert found.metrics(found.own_verdicts)["accuracy"] == pytest.approx(737 / 800, abs=1e-12)


def majority_shares(found: Regraded) -> Iterator[float]:
    for start in range(0, 800, 8):
        places = found.in_order[start : start + 8]
        alone = replace(
            found,
            samples=[found.samples[place] for place in places],
            scores=[found.scores[place] for place in places],
            votes=[found.votes[place] for place in places],
        )
        yield alone.metrics(alone.log_verdicts)["maj@8"]


@pytest.mark.parametrize(
    ("name", "compared", "least"), [("math_test_100x8", 800, 1.0), ("math500", 1_995, 1_987 / 1_995)]
)
def test_agreement_with_labels_that_were_reviewed(name: str, compared: int, least: float, shared_data: Path) -> None:
    samples = read_log(shared_data / "model_outputs" / f"{name}.jsonl.gz", verdict="label_reviewed")
    record = regrade(MathVerifier(), samples).to_dict()
    assert record["compared"] == compared
    assert record["agreement"] >= least >= 0.995
    assert record["false_positives"] == 0


ENDINGS = [
    ("The answer is {}", False),
    ("The answer is ${}...", False),
    ("#### {}", False),
    ("**{}**", True),
    ("{} dollars.", True),
]
"""How a solution may give its number, and whether that is a statement only to a lenient verifier."""


@pytest.mark.parametrize(("ending", "lenient"), ENDINGS)
def test_however_an_answer_is_written_it_is_found(ending: str, lenient: bool, shared_data: Path) -> None:
    rows = rows_of(shared_data / "gsm8k_model_solutions.jsonl.gz")
    samples = [
        Sample(
            prompt=row["problem"],
            completion=re.sub(r"A: ?([^\n]*)\s*\Z", lambda last: ending.format(last[1].strip()), row["completion"]),
            gold=row["gold"],
        )
        for row in rows
    ]
    assert sum(one.completion != row["completion"] for one, row in zip(samples, rows, strict=True)) == 5_265
    for is_lenient in (False, True):
        scores = MathVerifier(profile="gsm8k", lenient=is_lenient).score(samples)
        verdicts = [(row["label"], score.correct) for row, score in zip(rows, scores, strict=True)]
        assert sum(label for label, _ in verdicts) == 2_001
        assert sum(bool(ours) and not label for label, ours in verdicts) == 0
        if is_lenient or not lenient:
            assert sum(bool(ours) and label for label, ours in verdicts) == 2_001
