"""Plain rows of completion and gold, results of simple-evals, and our own evaluations."""

import gzip
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from markscheme.benchmarks.logs import LoggedSample, filters_of, read_log
from markscheme.benchmarks.outcomes import SCHEMA
from markscheme.files import InputError
from markscheme.problems import question_hash


def written(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


def test_one_row_a_sample(tmp_path: Path) -> None:
    row = {
        "id": "sums/1",
        "problem": "What is 2+2?",
        "completion": "It is 4.",
        "gold": "4",
        "label": True,
        "reward_model_score": 3.5,
        "completion_tokens": 5,
        "finish_reason": "length",
    }
    log = written(tmp_path / "log.jsonl", [row])
    assert read_log(log) == [
        LoggedSample(
            problem="sums/1",
            question="What is 2+2?",
            completion="It is 4.",
            gold="4",
            verdict=True,
            k=0,
            tokens=5,
            truncated=True,
            value=3.5,
            row=row,
            where=f"{log}:1",
        )
    ]
    assert filters_of(log) == ()
    with pytest.raises(InputError, match="a log of plain rows has nothing that filter could choose from"):
        read_log(log, filter="strict-match")


@pytest.mark.parametrize(
    ("row", "expected", "reason"),
    [
        (
            {"idx": 0, "question": "2+2?", "gt_cot": "4", "gt": "4", "answer": "$4$", "code": ["4", "5"]}
            | {"pred": ["4", "5"], "report": [None, None], "score": [True, False]},
            [("0", "2+2?", "4", "4", True, None), ("0", "2+2?", "5", "4", False, None)],
            "Qwen2.5-Math",
        ),
        (
            {"idx": 7, "question": "2+2?", "gt_cot": "4", "gt": "4", "code": ["4"], "pred": ["4"], "report": [None]},
            [("7", "2+2?", "4", "4", None, None)],
            "ToRA",
        ),
        (
            {"id": 3, "messages": [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": ""}]}
            | {"answer": ["4"], "prompt": "User: 2+2?", "model_output": "4", "prediction": ["4"], "accuracy": 1},
            [("3", "User: 2+2?", "4", "4", True, None)],
            "DeepSeek-Math",
        ),
        (
            {"problem": "2+2?", "generation": "4", "expected_answer": 4, "predicted_answer": "5"}
            | {"symbolic_correct": False},
            [(question_hash("2+2?"), "2+2?", "4", "4", False, None)],
            "NeMo-Skills",
        ),
        (
            {"input": "user\n2+2?", "output": "4", "gts": "4", "score": -1.0, "step": 3},
            [(question_hash("user 2+2?"), "user\n2+2?", "4", "4", None, -1.0)],
            "verl, whose score is a reward",
        ),
        (
            {
                "prompt": [{"role": "user", "content": "2+2?"}],
                "response": "4",
                "ground_truth": "so\n#### 4",
                "acc": 1.0,
            },
            [(question_hash("2+2?"), "2+2?", "4", "4", True, None)],
            "a prompt of messages",
        ),
        (
            {"prompt": [{"role": "user", "content": "2+2?"}], "gold": "4"}
            | {"completion": [{"role": "assistant", "content": "It is"}, {"role": "assistant", "content": "4"}]},
            [(question_hash("2+2?"), "2+2?", "It is\n4", "4", None, None)],
            "a completion of messages",
        ),
        (
            {"completion": [[{"role": "assistant", "content": text}] for text in ("4", "5")], "gold": "4"},
            [("row 0", "", "4", "4", None, None), ("row 0", "", "5", "4", None, None)],
            "several of messages",
        ),
        ({"completion": "4", "target": 4, "correct": None}, [("row 0", "", "4", "4", None, None)], "no question"),
    ],
)
def test_columns_of_other_projects(
    row: Mapping[str, Any], expected: Sequence[tuple[Any, ...]], reason: str, tmp_path: Path
) -> None:
    (tmp_path / "rows.json").write_text(json.dumps([row], indent=2))
    for log in (written(tmp_path / "rows.jsonl", [row]), tmp_path / "rows.json"):
        samples = read_log(log)
        found = [(one.problem, one.question, one.completion, one.gold, one.verdict, one.value) for one in samples]
        assert found == list(expected), reason
        assert [one.k for one in samples] == list(range(len(samples)))


def asked(id_: str | None, problem: str, model: str = "a", **more: Any) -> dict[str, Any]:
    row = {"problem": problem, "completion": f"{model} says 4", "gold": "4", "model": model, **more}
    return row if id_ is None else {"id": id_, **row}


@pytest.mark.parametrize(
    ("rows", "groups", "reason"),
    [
        (
            [asked("x", "1+3?"), asked("y", "2+2?"), asked("x", "1+3?")],
            [("x", 0), ("y", 0), ("x", 1)],
            "ids of problems",
        ),
        ([asked("x", "1+3?"), asked("y", "2+2?"), asked("z", "1+3?")], [("A", 0), ("B", 0), ("A", 1)], "of samples"),
        ([asked("0", "1+3?"), asked("0", "2+2?")], [("A", 0), ("B", 0)], "an id that begins anew with each part"),
        ([asked(None, "1+3?"), asked(None, " 1+3? ")], [("A", 0), ("A", 1)], "words only"),
    ],
)
def test_samples_of_one_problem(
    rows: Sequence[Mapping[str, Any]], groups: Sequence[tuple[str, int]], reason: str, tmp_path: Path
) -> None:
    samples = read_log(written(tmp_path / "log.jsonl", rows))
    names = {"A": samples[0].problem, "B": samples[1].problem}
    assert [(one.problem, one.k) for one in samples] == [(names.get(name, name), k) for name, k in groups], reason
    assert len({one.problem for one in samples}) == len({name for name, _ in groups})


def test_one_model_of_several(tmp_path: Path) -> None:
    rows = [asked(f"{model}-{i}", f"{i}+3?", model) for i in range(2) for model in ("a", "b")]
    log = written(tmp_path / "log.jsonl", rows)
    assert [one.k for one in read_log(log)] == [0, 1, 0, 1]
    kept = read_log(log, keep={"model": "b"})
    assert [(one.completion, one.k, one.where) for one in kept] == [
        ("b says 4", 0, f"{log}:2"),
        ("b says 4", 0, f"{log}:4"),
    ]
    # The same names as in the whole file, so that two models can be compared problem by problem.
    assert [one.problem for one in kept] == [one.problem for one in read_log(log, keep={"model": "a"})]
    with pytest.raises(InputError, match="no row whose 'model' is 'c'; there are 'a', 'b'"):
        read_log(log, keep={"model": "c"})
    with pytest.raises(InputError, match=r"no row whose 'problem' is '7\+3\?'; there are '0\+3\?', '1\+3\?'"):
        read_log(log, keep={"model": "a", "problem": "7+3?"})
    with pytest.raises(InputError, match="no column 'size' in it; it has 'id', 'problem', 'completion', 'gold', 'mod"):
        read_log(log, keep={"size": "c"})


def test_which_column_is_the_verdict(tmp_path: Path) -> None:
    # A label of -1 or 5 is the number of a wrong step, so labels are no verdicts here.
    rows = [asked(None, "1+3?", label=-1, is_correct=True), asked(None, "2+2?", label=1, is_correct=False)]
    log = written(tmp_path / "log.jsonl", rows)
    assert [one.verdict for one in read_log(log)] == [True, False]
    assert [one.verdict for one in read_log(log, verdict="label")] == [None, True]
    with pytest.raises(InputError, match="no column 'right' in it; it has 'problem',"):
        read_log(log, verdict="right")
    reviewed = [asked(None, "1+3?", label=True, label_reviewed=None), asked(None, "2+2?", label=0, label_reviewed=True)]
    written(log, reviewed)
    assert [one.verdict for one in read_log(log)] == [True, False]
    assert [one.verdict for one in read_log(log, verdict="label_reviewed")] == [None, True]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"gold": "4", "text": "4"}, r":1: no column 'completion' or 'response' or .*; it has 'gold', 'text'"),
        ({"completion": "4", "label": "4"}, r":1: no column 'gold' or 'gt' or .*; it has 'completion', 'label'"),
        ({"completion": None, "gold": "4"}, ":1: 'completion' must be text or texts, not null; correct or remove"),
        (
            {"completion": [{"role": "user", "content": "4"}], "gold": "4"},
            ":1: 'completion' holds messages of which none has the role 'assistant'",
        ),
        ({"completion": [{"text": "4"}, "5"], "gold": "4"}, ":1: 'completion' must be text or texts, not an object;"),
        ({"completion": [], "gold": "4"}, ":1: 'completion' must be text or texts, not none; correct or remove"),
        ({"completion": "4", "gold": ""}, ":1: the gold in 'gold' is empty; correct or remove"),
        ({"completion": "4", "gold": float("nan")}, ":1: the gold in 'gold' must be text, got NaN; correct or"),
        (
            {"completion": "4", "gold": ["4", "5"]},
            r":1: 'gold' is a list of 2: is each right, or all needed\? Give one",
        ),
        (
            {"code": ["4", "5"], "gt": "4", "score": [True]},
            ":1: 'score' has 1 value for 2 completions; correct the row",
        ),
        ({"completion": "4", "gold": "4", "id": True}, ":1: 'id' must be text or a whole number, got true"),
        (
            {"completion": "4", "gold": "4", "reward_model_score": True},
            ":1: 'reward_model_score' must be a number, got",
        ),
        (
            {"completion": "4", "gold": "4", "reward_model_score": 10**400},
            ":1: 'reward_model_score' is too large a num",
        ),
        ({"completion": "4", "gold": "4", "completion_tokens": -2}, ":1: 'completion_tokens' must count something"),
    ],
)
def test_what_cannot_be_read_is_one_line(row: Mapping[str, Any], message: str, tmp_path: Path) -> None:
    log = written(tmp_path / "log.jsonl", [row])
    with pytest.raises(InputError, match=message) as raised:
        read_log(log)
    assert "\n" not in str(raised.value)


def test_gzip(tmp_path: Path) -> None:
    packed = gzip.compress(json.dumps(asked(None, "2+2?")).encode())
    log = tmp_path / "log.jsonl.gz"
    log.write_bytes(packed)
    assert len(read_log(log)) == 1
    log.write_bytes(packed[:-12])
    with pytest.raises(InputError, match=r"log.jsonl.gz:1: not readable as gzip \(.*\); give it whole again"):
        read_log(log)
    unnamed = tmp_path / "log.jsonl"
    unnamed.write_bytes(packed)
    with pytest.raises(InputError, match=r"packed by gzip; give it a name that ends in .gz"):
        read_log(unnamed)


def test_a_list_of_anything(tmp_path: Path) -> None:
    log = tmp_path / "rows.json"
    log.write_text("[]")
    with pytest.raises(InputError, match="no rows in it; a row needs a completion and a gold"):
        read_log(log)
    log.write_text('[\n{"completion": "4", "gold": "4"}, 7]')
    with pytest.raises(InputError, match="row 1: a JSON object is needed, got a number; correct or remove it"):
        read_log(log)


def page(answer: str, score: float) -> str:
    written_by_a_model = "<p>Correct Answer: 9</p>\n<p>Extracted Answer: 9</p>\n<p>Score: 1.0</p>"
    return (
        f"<h3>Sampled message</h3>\n<pre>{written_by_a_model}</pre>\n<h3>Results</h3>\n"
        f"<p>Correct Answer: {answer}</p>\n<p>Extracted Answer: 4</p>\n<p>Score: {score}</p>\n"
    )


def test_simple_evals(tmp_path: Path) -> None:
    conversation = [{"role": "user", "content": "2+2? End in ANSWER:"}, {"role": "assistant", "content": "ANSWER: 4"}]
    results = {
        "score": 0.5,
        "metrics": {},
        "htmls": [page("x &lt; 4", 1.0), page("x &lt; 4", 0.0)],
        "convos": [conversation, conversation],
        "metadata": {"example_level_metadata": [None, None]},
    }
    log = tmp_path / "math_model_allresults.json"
    log.write_text(json.dumps(results, indent=2))
    samples = read_log(log)
    assert [(one.completion, one.gold, one.verdict, one.k) for one in samples] == [
        ("ANSWER: 4", "x < 4", True, 0),
        ("ANSWER: 4", "x < 4", False, 1),
    ]
    assert samples[0].question == "2+2? End in ANSWER:"
    log.write_text(json.dumps(results | {"htmls": ["<p>Score: 1.0</p>"] * 2}))
    with pytest.raises(InputError, match=r"convos\[0\]: its page in 'htmls' has no correct answer; a log of the math"):
        read_log(log)
    log.write_text(json.dumps(results | {"htmls": []}))
    with pytest.raises(InputError, match="'htmls' and 'convos' must be lists of one length"):
        read_log(log)


def evaluation(folder: Path) -> Path:
    folder.mkdir()
    problem = {"id": "p1", "question": "2+2?", "gold": "4", "source": "-", "split": "test"}
    written(folder / "problems.jsonl", [problem])
    cut = {"completion_tokens": 3, "finish_reason": "length"}
    done = {"completion_tokens": 2, "finish_reason": "stop"}
    records: list[dict[str, Any]] = [
        {"key": "a", "kind": "sampled", "k": 0, "completion": "It is 5", **cut},
        {"key": "b", "kind": "greedy", "k": 0, "completion": "It is 4", **done},
    ]
    scores: list[dict[str, Any]] = [
        {"key": "a", "problem": "p1", "score": {"value": 0.0, "outcome": "incorrect", "answer": "5"}, "vote": "5"},
        {"key": "b", "problem": "p1", "score": {"value": 1.0, "outcome": "correct", "answer": "4"}, "vote": True},
    ]
    written(folder / "records.jsonl", records)
    written(folder / "scores.jsonl", scores)
    protocol = {"greedy": True, "num_samples": 1}
    (folder / "summary.json").write_text(json.dumps({"schema": SCHEMA, "protocol": protocol}))
    return folder


def test_our_own_evaluations(tmp_path: Path) -> None:
    folder = evaluation(tmp_path / "before")
    samples = read_log(folder)
    assert [(one.problem, one.completion, one.gold, one.verdict, one.k, one.truncated) for one in samples] == [
        ("p1", "It is 4", "4", True, 0, False),
        ("p1", "It is 5", "4", False, 1, True),
    ]
    assert filters_of(folder) == ("greedy", "sampled")
    assert [one.completion for one in read_log(folder, filter="sampled")] == ["It is 5"]
    with pytest.raises(InputError, match="no filter 'strict' in it; it has 'greedy', 'sampled'"):
        read_log(folder, filter="strict")
    scores = folder / "scores.jsonl"
    scores.write_text(scores.read_text().replace('"incorrect"', '"so-so"'))
    with pytest.raises(InputError, match=r"its files do not fit together \(.*\); evaluate again"):
        read_log(folder)
    (folder / "summary.json").unlink()
    with pytest.raises(InputError, match="unfinished; run it again"):
        read_log(folder)


def test_the_files_of_real_models(shared_data: Path) -> None:
    samples = read_log(shared_data / "model_outputs" / "math_test_100x8.jsonl.gz")
    assert len(samples) == 800
    assert {one.k for one in samples} == set(range(8))
    assert len({one.problem for one in samples}) == 100
    # The average over all, and over the first of each problem, as measured when the file was made.
    assert sum(one.verdict is True for one in samples) / 800 == 0.91
    assert sum(one.verdict is True for one in samples if one.k == 0) / 100 == 0.9
    assert all(one.value is not None for one in samples)
    four_models = shared_data / "gsm8k_model_solutions.jsonl.gz"
    assert {one.k for one in read_log(four_models)} == set(range(4))
    one_model = read_log(four_models, keep={"model": "175b_finetuning"})
    assert len(one_model) == 1_319
    assert {one.k for one in one_model} == {0}
    assert round(sum(one.verdict is True for one in one_model) / 1_319, 3) == 0.347
    assert len(read_log(shared_data / "model_outputs" / "math500.jsonl.gz", verdict="label_reviewed")) == 2_000
    assert len(read_log(shared_data / "model_outputs" / "gsm8k_tora_code.jsonl.gz")) == 1_319
