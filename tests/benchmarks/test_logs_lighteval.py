"""Details of lighteval; the rows have the layout that versions 0.13 and, before 0.11, 0.8 to 0.10 wrote."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from markscheme.benchmarks.logs import filters_of, read_log
from markscheme.files import InputError

pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

QUESTION = "Ada has 600 cups and buys as many. How many?"


def row(id_: str, texts: Sequence[str], metric: Mapping[str, float], **more: Any) -> dict[str, Any]:
    return {
        "doc": {
            "query": QUESTION,
            "choices": [" 600*2=1200\n#### 1,200"],
            "gold_index": 0,
            "original_query": None,
            "id": id_,
            "task_name": "sums|0",
            "num_samples": len(texts),
        }
        | more,
        "metric": dict(metric),
        "model_response": {
            "input_tokens": [1, 2, 3],
            "text": list(texts),
            "output_tokens": [[4, 5, 0] for _ in texts],
            "logprobs": [-0.5],
            "truncated_tokens_count": 122,
        },
    }


def written(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    parquet.write_table(pyarrow.Table.from_pylist(list(rows)), path)
    return path


def test_details(tmp_path: Path) -> None:
    rows = [
        row("9", ["It is \\boxed{1200}."], {"length": 0.5, "extractive_match": 1.0, "other": 0.0}),
        row("3", ["It is 5."], {"length": 1.0, "extractive_match": 0.0, "other": 1.0}),
    ]
    log = written(tmp_path / "details_sums|0_2026-01-01T00-00-00.parquet", rows)
    first, second = read_log(tmp_path)
    assert (first.problem, first.question, first.completion) == ("9", QUESTION, "It is \\boxed{1200}.")
    assert (first.gold, first.verdict, first.k, first.tokens) == ("1200", True, 0, None)
    assert first.where == f"{log}: row 0"
    # What was cut there is the prompt, and some back ends pad the token ids: so neither is taken for the completion's.
    assert first.truncated is None
    assert "output_tokens" not in first.row["model_response"]
    assert first.row["doc"]["task_name"] == "sums|0"
    assert (second.problem, second.verdict) == ("3", False)
    assert [one.verdict for one in read_log(log, verdict="other")] == [False, True]
    assert [one.verdict for one in read_log(log, verdict="length")] == [None, True]
    with pytest.raises(InputError, match="no metric 'acc' in it; it has 'length', 'extractive_match', 'other'"):
        read_log(log, verdict="acc")
    with pytest.raises(InputError, match="nothing that filter could choose from; leave filter out"):
        read_log(log, filter="strict-match")
    assert filters_of(log) == ()


def test_several_samples_of_a_document(tmp_path: Path) -> None:
    # The average of two says nothing about one of them, unless the two are the same text.
    rows = [row("0", ["4", "5"], {"avg@n:n=2": 1.0}), row("1", ["6", "6"], {"avg@n:n=2": 0.0})]
    samples = read_log(written(tmp_path / "details_x.parquet", rows))
    assert [(one.problem, one.k, one.completion, one.verdict) for one in samples] == [
        ("0", 0, "4", None),
        ("0", 1, "5", None),
        ("1", 0, "6", False),
        ("1", 1, "6", False),
    ]


def test_several_golds_are_each_right(tmp_path: Path) -> None:
    one = row("0", ["4"], {"em": 1.0}, choices=["\\boxed{4}", "three", "four"], gold_index=[0, 2])
    assert read_log(written(tmp_path / "details_x.parquet", [one]))[0].gold == ("4", "four")


def test_the_older_layout(tmp_path: Path) -> None:
    old = {
        "example": QUESTION,
        "full_prompt": f"Some shots.\n\n{QUESTION}",
        "predictions": ["It is 1200."],
        "cont_tokens": [[1, 2]],
        "input_tokens": [3, 4],
        "gold": ["1,200\n#### 1,200"],
        "metrics": {"qem": 0.0},
        "truncated": [0],
    }
    again = old | {"predictions": ["It is 5."]}
    samples = read_log(written(tmp_path / "details_x.parquet", [old, again]))
    # No ids in it: the question's words name the problem.
    assert samples[0].problem == samples[1].problem
    assert [(one.question, one.gold, one.verdict, one.k) for one in samples] == [
        (QUESTION, "1200", False, 0),
        (QUESTION, "1200", False, 1),
    ]
    assert "cont_tokens" not in samples[0].row


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"question": "?", "answer": "4"}], "columns 'question', 'answer'; those of lighteval's details are needed"),
        ([row("0", [], {"acc": 1.0})], "row 0: no generated texts but a list; the details of a generative task"),
        (
            [{"predictions": "['4']", "gold": "['4']"}],
            "row 0: no generated texts but text; .* of lighteval 0.8 or newer",
        ),
        ([row("0", ["4"], {"em": 1.0}, gold_index=3)], r"row 0: gold_index 3 names no choice; correct or remove"),
        ([row("0", ["4"], {"em": 1.0}, choices=[""])], "row 0: the gold in 'gold' is empty; correct or remove"),
    ],
)
def test_what_cannot_be_read_is_one_line(rows: Sequence[Mapping[str, Any]], message: str, tmp_path: Path) -> None:
    log = written(tmp_path / "details_x.parquet", rows)
    with pytest.raises(InputError, match=message) as raised:
        read_log(log)
    assert "\n" not in str(raised.value)


def test_a_torn_file_and_an_empty_one(tmp_path: Path) -> None:
    log = written(tmp_path / "details_x.parquet", [row("0", ["4"], {"em": 1.0})])
    whole = log.read_bytes()
    log.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"not readable as parquet \(.*\); give it whole again"):
        read_log(log)
    schema = pyarrow.schema([("doc", pyarrow.string()), ("model_response", pyarrow.string())])
    parquet.write_table(schema.empty_table(), log)
    with pytest.raises(InputError, match="no rows in it; the details of a finished run are needed"):
        read_log(log)


def test_without_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = written(tmp_path / "details_x.parquet", [row("0", ["4"], {"em": 1.0})])
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(InputError, match="a parquet file; pip install pyarrow to read it"):
        read_log(log)
