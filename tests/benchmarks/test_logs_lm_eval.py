"""Logs of lm-evaluation-harness, read and written; the rows have the layout that version 0.4.13 wrote."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from markscheme.benchmarks.logs import LoggedSample, filters_of, read_log, write_lm_eval
from markscheme.benchmarks.logs.lm_eval_write import hash_of
from markscheme.files import InputError

DOCUMENTS = (
    {"question": "Ada has 600 cups and buys as many. How many?", "answer": "600*2=<<600*2=1200>>1,200\n#### 1,200"},
    {"question": "Tom has 7 toys and loses 3. How many?", "answer": "7-3=4\n#### 4"},
)
RESPONSES = (" 600*2=1200. The answer is \\boxed{1200}.", " 7-3=5. The answer is \\boxed{5}.")


def row(doc_id: int, filter: str, correct: float, texts: Sequence[str] = (), **more: Any) -> dict[str, Any]:
    document = DOCUMENTS[doc_id]
    return {
        "doc_id": doc_id,
        "doc": document,
        "target": document["answer"],
        "arguments": {"gen_args_0": {"arg_0": f"Question: {document['question']}\nAnswer:", "arg_1": {"until": []}}},
        "resps": [list(texts) or [RESPONSES[doc_id]]],
        "filtered_resps": ["[invalid]"],
        "filter": filter,
        "metrics": ["exact_match"],
        "doc_hash": "0" * 64,
        "prompt_hash": "1" * 64,
        "target_hash": "2" * 64,
        "exact_match": correct,
        **more,
    }


TWO_FILTERS = (
    row(0, "strict-match", 0.0),
    row(1, "strict-match", 0.0),
    row(0, "flexible-extract", 1.0),
    row(1, "flexible-extract", 0.0),
)


def written(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    path.write_text("".join(f"{json.dumps(one)}\n" for one in rows), encoding="utf-8")
    return path


def rows_of(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def with_document(document: Mapping[str, Any], target: str) -> dict[str, Any]:
    return row(0, "none", 1.0) | {"doc": document, "target": target}


def test_the_filters_of_a_document_are_one_sample(tmp_path: Path) -> None:
    log = written(tmp_path / "samples_x.jsonl", TWO_FILTERS)
    first, second = read_log(log)
    assert first == LoggedSample(
        problem="0",
        question=DOCUMENTS[0]["question"],
        completion=RESPONSES[0],
        gold="1200",  # without the thousands comma
        verdict=False,  # the first filter's
        k=0,
        row=TWO_FILTERS[0],
        rows=((1, TWO_FILTERS[0]), (3, TWO_FILTERS[2])),
        where=f"{log}:1",
    )
    assert (second.problem, second.gold, second.k, second.where) == ("1", "4", 0, f"{log}:2")
    assert filters_of(log) == ("strict-match", "flexible-extract")
    assert [sample.verdict for sample in read_log(log, filter="flexible-extract")] == [True, False]
    with pytest.raises(InputError, match=r"no filter 'loose' in it; it has 'strict-match', 'flexible-extract'$"):
        read_log(log, filter="loose")


def test_repeats_are_samples_without_a_verdict_of_their_own(tmp_path: Path) -> None:
    # One number for two responses: the first one's, or the vote's; only where the two are one text, it is each one's.
    rows = [row(0, "maj@2", 1.0, ("It is 1200.", "It is 12.")), row(1, "maj@2", 1.0, ("It is 4.", "It is 4."))]
    samples = read_log(written(tmp_path / "samples_x.jsonl", rows))
    assert [(sample.problem, sample.k, sample.completion) for sample in samples] == [
        ("0", 0, "It is 1200."),
        ("0", 1, "It is 12."),
        ("1", 0, "It is 4."),
        ("1", 1, "It is 4."),
    ]
    assert [sample.verdict for sample in samples] == [None, None, True, True]


def test_older_layouts(tmp_path: Path) -> None:
    # No names of filters, responses in one list, arguments in lists; the second row of a document is the next filter.
    old = {"doc_id": 0, "doc": {"input": "?"}, "target": "4", "arguments": [["Say 4.", {"until": []}]], "resps": ["4"]}
    log = written(tmp_path / "samples_x.jsonl", [old | {"acc": 0.0}, old | {"acc": 1.0}])
    (sample,) = read_log(log)
    assert (sample.question, sample.completion, sample.gold, sample.verdict) == ("Say 4.", "4", "4", False)
    assert filters_of(log) == ("unnamed 1", "unnamed 2")
    assert read_log(log, filter="unnamed 2")[0].verdict is True


@pytest.mark.parametrize(
    ("metrics", "verdict", "reason"),
    [
        ({"acc": 0, "math_verify": 0, "exact_match": 1}, True, "exact_match comes first"),
        ({"acc": 1, "math_verify": 0}, False, "then math_verify"),
        ({"length": 0.5, "acc": 1.0}, True, "then acc"),
        ({"length": 0.5, "judged": 1}, True, "then the only one that is 0 or 1"),
        ({"judged": 1, "polite": 0}, None, "two could be meant"),
        ({"exact_match": 0.25}, None, "no verdict"),
        ({"exact_match": None}, None, "undecided"),
        ({}, None, "no metric"),
    ],
)
def test_which_metric_is_the_verdict(
    metrics: Mapping[str, Any], verdict: bool | None, reason: str, tmp_path: Path
) -> None:
    one = {name: value for name, value in row(0, "none", 0.0).items() if name != "exact_match"}
    log = written(tmp_path / "samples_x.jsonl", [one | {"metrics": list(metrics)} | dict(metrics)])
    assert read_log(log)[0].verdict is verdict, reason
    if "acc" in metrics:
        assert read_log(log, verdict="acc")[0].verdict is bool(metrics["acc"])
    with pytest.raises(InputError, match="no metric 'brevity' in it; it has"):
        read_log(log, verdict="brevity")


@pytest.mark.parametrize(
    ("document", "target", "gold", "reason"),
    [
        # minerva's normaliser takes 2 \\ 3 for 2 \ 3
        (
            {"problem": "?", "solution": r"so \boxed{\begin{pmatrix} 2 \\ 3 \end{pmatrix}}.", "answer": "2\\3"},
            "2\\3",
            r"\begin{pmatrix} 2 \\ 3 \end{pmatrix}",
            "the solution's box, which no normaliser has been through",
        ),
        ({"problem": "?", "solution": r"\boxed{1}, or rather \boxed{2}"}, "x", "2", "the last box"),
        ({"problem": "?", "solution": "by hand", "answer": 7}, "x", "7", "no box: the answer"),
        ({"question": "?", "answer": "40\n#### 4,000"}, "4,000", "4000", "the document has the hashes"),
        ({"Question": "?", "Answer": 5}, r"is \boxed{5}", "5", "the target's box"),
        ({"question": "?", "answer": ["5", "five"]}, "['5', 'five']", ("5", "five"), "each of a list is right"),
        ({"question": "?"}, " 5 ", "5", "the target itself"),
    ],
)
def test_golds(document: Mapping[str, Any], target: str, gold: Any, reason: str, tmp_path: Path) -> None:
    (sample,) = read_log(written(tmp_path / "samples_x.jsonl", [with_document(document, target)]))
    assert sample.gold == gold, reason
    assert sample.question == "?"


@pytest.mark.parametrize("repeats", [1, 2])
def test_a_round_trip_loses_nothing(repeats: int, tmp_path: Path) -> None:
    texts = [("one", "two")[:repeats], ("half a pair: \ud800", "\x00")[:repeats]]
    rows = [row(id_, name, 1.0, texts[id_], note=0.1) for name in ("b", "a") for id_ in (1, 0)]
    samples = read_log(written(tmp_path / "samples_x.jsonl", rows))
    write_lm_eval(samples, tmp_path / "out.jsonl")
    assert rows_of(tmp_path / "out.jsonl") == rows


def test_our_verdicts_stand_beside_those_of_the_log(tmp_path: Path) -> None:
    rows = [row(0, "strict", 0.0, ("1200", "12", "?"), acc=1.0), row(1, "strict", 0.0)]
    samples = read_log(written(tmp_path / "samples_x.jsonl", rows))
    out = tmp_path / "out.jsonl"
    write_lm_eval(samples, out, verdicts=[True, False, None, None])
    *own, first, second = rows_of(out)
    assert own == rows
    # Two of three are decided, and one of these is right; the metric that we do not have is gone.
    assert first["exact_match"] == 0.5
    assert first["verdicts"] == [True, False, None]
    assert first["metrics"] == ["exact_match"]
    assert first["filtered_resps"] == [["1200", "12", "?"]]
    assert "acc" not in first
    assert second["exact_match"] is None
    assert second["filtered_resps"] == [RESPONSES[1]]
    assert filters_of(out) == ("strict", "markscheme")
    again = read_log(out, filter="markscheme")
    assert [sample.verdict for sample in again] == [True, False, None, None]
    with pytest.raises(InputError, match="a filter 'markscheme' already; give ours another name"):
        write_lm_eval(again, tmp_path / "third.jsonl", verdicts=[True] * 4)
    write_lm_eval(again, tmp_path / "third.jsonl", verdicts=[True] * 4, filter="markscheme 2")
    assert filters_of(tmp_path / "third.jsonl") == ("strict", "markscheme", "markscheme 2")


def test_other_logs_become_documents(tmp_path: Path) -> None:
    plain: list[dict[str, Any]] = [
        {"problem": "2+2?", "gold": "4", "completion": "4", "label": True},
        {"problem": "2+2?", "gold": "4", "completion": "5", "label": False},
        {"problem": "3+3?", "gold": "6", "completion": "6", "label": None},
    ]
    samples = read_log(written(tmp_path / "plain.jsonl", plain))
    write_lm_eval(samples, tmp_path / "out.jsonl", verdicts=[True, True, True])
    first, second, ours, _ = rows_of(tmp_path / "out.jsonl")
    assert first["doc_id"] == 0
    assert first["doc"] == {"id": samples[0].problem, "question": "2+2?", "answer": "4"}
    assert first["resps"] == [["4", "5"]]
    assert first["arguments"] == {"gen_args_0": {"arg_0": "2+2?", "arg_1": {}}}
    assert (first["filter"], first["exact_match"], first["verdicts"]) == ("none", 0.5, [True, False])
    # Its JSON, worked out by hand: indented by two.
    of_document = f'{{\n  "id": "{samples[0].problem}",\n  "question": "2+2?",\n  "answer": "4"\n}}'
    assert first["doc_hash"] == hashlib.sha256(of_document.encode()).hexdigest()
    assert first["target_hash"] == hashlib.sha256(b"4").hexdigest()
    assert (second["doc_id"], second["metrics"]) == (1, [])  # no verdict of its own
    assert (ours["filter"], ours["verdicts"]) == ("markscheme", [True, True])
    back = read_log(tmp_path / "out.jsonl")
    assert [(one.completion, one.gold, one.k, one.verdict) for one in back] == [
        ("4", "4", 0, True),
        ("5", "4", 1, False),
        ("6", "6", 0, None),
    ]


def test_one_question_with_two_golds_is_two_documents(tmp_path: Path) -> None:
    rows = [{"problem": "How many?", "gold": gold, "completion": "4"} for gold in ("4", "5")]
    write_lm_eval(read_log(written(tmp_path / "plain.jsonl", rows)), tmp_path / "out.jsonl")
    assert [row["target"] for row in rows_of(tmp_path / "out.jsonl")] == ["4", "5"]


def test_hashes_are_those_of_the_harness() -> None:
    # What lm-evaluation-harness 0.4.13 wrote for this document, prompt and target.
    target = "Sara has 18*3=54 toys. The answer is \\boxed{54}.\n#### 54"
    document = {"question": "Sara fills 3 boxes with 18 toys each. How many toys does Sara have?", "answer": target}
    of_document = hash_of(json.dumps(document, indent=2, ensure_ascii=False))
    assert of_document == "39815586da276cf60151f2fe372fabaabaa06323cdae6a5b9246f0f03eb49fe7"
    assert hash_of(target) == "e455d8ca2166628b1f20053a3a5fb56695e66ac5e5267e1ce2e016eb1b1a9362"
    prompt = f"Question: {document['question']}\nAnswer:"
    assert hash_of(prompt) == "0981b50b7ce5719589661ca695efc152a4466cc4102ff0b6ea6859e7db8d750e"


def test_samples_of_two_logs_do_not_go_into_one(tmp_path: Path) -> None:
    samples = [
        *read_log(written(tmp_path / "samples_x.jsonl", TWO_FILTERS)),
        *read_log(written(tmp_path / "samples_y.jsonl", TWO_FILTERS)),
    ]
    with pytest.raises(InputError, match=r"several logs \(.*samples_x.jsonl and .*samples_y.jsonl\) do not"):
        write_lm_eval(samples, tmp_path / "out.jsonl")
    with pytest.raises(ValueError, match="1 verdicts for 4 samples"):
        write_lm_eval(samples, tmp_path / "out.jsonl", verdicts=[True])


def test_a_folder_with_one_log(tmp_path: Path) -> None:
    model = tmp_path / "some__model"
    model.mkdir()
    with pytest.raises(InputError, match=r"no samples_\*.jsonl or .* in it, nor summary.json; give the log itself"):
        read_log(tmp_path)
    written(model / "samples_gsm8k_2026-01-01T00-00-00.000000.jsonl", TWO_FILTERS)
    results = model / "results_2026-01-01T00-00-00.000000.json"
    results.write_text(json.dumps({"results": {}, "configs": {}}, indent=2))
    assert len(read_log(tmp_path)) == 2
    with pytest.raises(InputError, match=r"results without samples; give the samples_\*.jsonl"):
        read_log(results)
    written(model / "samples_math_2026-01-01T00-00-00.000000.jsonl", TWO_FILTERS)
    with pytest.raises(InputError, match=r"2 logs in it, 'some__model/samples_gsm8k_2026.*, 'some__model/samples_math"):
        read_log(tmp_path)
    with pytest.raises(InputError, match="no such file or folder"):
        read_log(tmp_path / "nowhere")


LINE = json.dumps(row(0, "none", 1.0))
NESTED = "[" * 900 + "]" * 900


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", ": nothing in it; needed is lm-eval's"),
        (f"{LINE}\n{LINE[:-9]}", r":2: not JSON \(.*\); correct or remove that line"),
        (f"{LINE[:-9]}", r":1: not JSON \(.*\); correct or remove that line"),
        (f"{LINE}\n[]\n", ":2: a JSON object is needed, got a list; correct or remove that line"),
        (LINE.replace("1.0", "9" * 5_000), ":1: not readable as JSON in UTF-8 .*; correct or remove that line"),
        (f"{LINE}\n" + LINE.replace('"resps"', '"responses"'), ":2: no column 'resps'; it has 'doc_id', 'doc',"),
        (LINE.replace("[[", '"').replace("]]", '"').replace('""', '"'), ":1: 'resps' must be a list with a list"),
        (LINE.replace('"resps": [["', '"resps": [[[-1.5, "False"], ["'), ":1: not JSON"),
        (
            json.dumps(json.loads(LINE) | {"resps": [[["-1.5", "False"]]]}),
            ":1: 'resps' holds likelihoods or several requests",
        ),
        (json.dumps(json.loads(LINE) | {"resps": []}), ":1: 'resps' must be a list with a list of texts"),
        (json.dumps(json.loads(LINE) | {"resps": [[None]]}), ":1: 'resps' must be a list with a list of texts"),
        (LINE.replace('"doc_id": 0', '"doc_id": true'), ":1: 'doc_id' must be text or a whole number, got true"),
        (LINE.replace('"doc_id": 0, ', ""), ":1: no column 'doc_id'"),
        (json.dumps(json.loads(LINE) | {"doc": None}), ":1: 'doc' must be an object, got null; correct or remove"),
        (json.dumps(json.loads(LINE) | {"doc": {}, "target": True}), ":1: the gold in 'target' must be text, got true"),
        (json.dumps(json.loads(LINE) | {"doc": {}, "target": "####"}), ":1: the gold in 'target' is empty"),
        (json.dumps(json.loads(LINE) | {"filter": 1}), ":1: 'filter' must be text, got a number; correct or remove"),
        (f"{LINE}\n{LINE}", ":2: doc_id 0 has filter 'none' twice; give one log at a time"),
        (f"{LINE}\n" + LINE.replace("1200", "12"), ":2: doc_id 0 has other responses than at .*:1; give one log"),
        (LINE.replace("1.0", "[" * 5_000), ":1: not "),
        (f'{LINE[:-1]}, "deep": {NESTED}}}', None),
        ("completion,gold\n4,4\n", r":1: begins with 'completion,gold', which is no JSON object; needed is"),
    ],
)
def test_what_cannot_be_read_is_one_line(content: str, message: str | None, tmp_path: Path) -> None:
    log = tmp_path / "samples_x.jsonl"
    log.write_text(content)
    if message is None:
        assert len(read_log(log)) == 1
        return
    with pytest.raises(InputError, match=message) as raised:
        read_log(log)
    assert "\n" not in str(raised.value)
    assert str(raised.value).startswith(str(log))


def test_byte_order_mark_line_ends_and_odd_characters(tmp_path: Path) -> None:
    log = tmp_path / "samples_x.jsonl"
    log.write_bytes(b"\xef\xbb\xbf" + json.dumps(row(0, "none", 1.0, ["\x00 \ud800 \r\n"])).encode() + b"\r\n\r\n")
    (sample,) = read_log(log)
    assert sample.completion == "\x00 \ud800 \r\n"
    write_lm_eval([sample], tmp_path / "out.jsonl")
    assert read_log(tmp_path / "out.jsonl")[0].completion == sample.completion
