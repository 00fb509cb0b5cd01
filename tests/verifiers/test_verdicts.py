"""The verdict table: each row a case with its reason, wrong answers no rarer than right ones."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from markscheme.scoring import Outcome, Sample
from markscheme.verifiers import Conventions, MathVerifier

ROWS: list[dict[str, Any]] = [
    json.loads(line) for line in (Path(__file__).parents[1] / "data" / "verdicts.jsonl").read_text().splitlines()
]


def judged(row: dict[str, Any]) -> Outcome:
    verifier = MathVerifier(
        profile=row.get("profile", "math"),
        lenient=row.get("lenient", False),
        conventions=Conventions(**row["conventions"]) if "conventions" in row else None,
        deadline_s=60.0,
    )
    completion = row.get("completion", rf"The answer is \boxed{{{row.get('answer')}}}.")
    (score,) = verifier.score([Sample(prompt=row.get("prompt", ""), completion=completion, gold=row["gold"], id="row")])
    return score.outcome


CASES = [
    pytest.param(
        row,
        id=f"{number}-{row['suite']}",
        marks=[pytest.mark.xfail(strict=True, reason="known")] if "known_miss" in row else [],
    )
    for number, row in enumerate(ROWS, 1)
]


@pytest.mark.parametrize("row", CASES)
def test_verdict(row: dict[str, Any]) -> None:
    """`wrong` is INCORRECT or NO_ANSWER, where either can be defended; so is a wrong answer read as none.

    A row with `known_miss` is one that the verifier does not get right yet; the row says what it gets instead.
    """
    outcome = judged(row)
    if row["outcome"] == "correct":
        assert outcome is Outcome.CORRECT, row["reason"]
    else:
        assert outcome in (Outcome.INCORRECT, Outcome.NO_ANSWER), row["reason"]


def test_the_table_is_large_and_wrong_answers_are_no_rarer_than_right_ones() -> None:
    right = Counter(row["outcome"] == "correct" for row in ROWS)
    assert len(ROWS) >= 600
    assert right[False] >= right[True]
    assert all(row["reason"] for row in ROWS)


def test_no_known_miss_is_a_wrong_answer_taken_for_right() -> None:
    misses = [row for row in ROWS if "known_miss" in row]
    assert len(misses) < len(ROWS) / 50
    assert all(row["known_miss"] != "correct" for row in misses)


def test_no_row_stands_twice() -> None:
    keys = Counter(json.dumps({**row, "reason": ""}, sort_keys=True) for row in ROWS)
    assert [key for key, count in keys.items() if count > 1] == []
