"""Logs of Inspect; the samples have the layout that version 0.3.285 wrote."""

import json
import struct
import sys
import warnings
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from markscheme.benchmarks.logs import ErrorSampleWarning, filters_of, read_log
from markscheme.files import InputError

ZSTANDARD = 93


def sample(id_: Any, epoch: int, text: Any, scores: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "id": id_,
        "epoch": epoch,
        "input": f"What is {id_}?",
        "target": "4",
        "messages": [{"role": "user", "content": f"What is {id_}?"}, {"role": "assistant", "content": text}],
        "output": {
            "model": "mockllm/model",
            "choices": [{"message": {"role": "assistant", "content": text}, "stop_reason": "stop"}],
            "completion": text,
            "usage": {"input_tokens": 9, "output_tokens": 14, "total_tokens": 23},
        },
        "scores": {name: {"value": value, "answer": "4", "history": []} for name, value in scores.items()},
        "metadata": {"n": 1},
        "events": [{"event": "model", "output": "of no use to a verifier"}],
        "attachments": {},
        **more,
    }


def log_of(samples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {"version": 2, "status": "success", "eval": {"task": "sums"}, "plan": {}, "samples": list(samples)}


def as_json(path: Path, samples: Sequence[Mapping[str, Any]]) -> Path:
    path.write_text(json.dumps(log_of(samples), indent=2))
    return path


def as_eval(path: Path, samples: Sequence[Mapping[str, Any]], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("header.json", json.dumps({"version": 2}))
        for one in samples:
            archive.writestr(f"samples/{one['id']}_epoch_{one['epoch']}.json", json.dumps(one))
    return path


def as_zstandard(path: Path, name: str, content: bytes) -> Path:
    """A zip with one member, packed as Inspect packs it, which Python's own zipfile cannot do before 3.14."""
    pyarrow = pytest.importorskip("pyarrow")
    packed = pyarrow.compress(content, codec="zstd", asbytes=True)
    # version, flags, method, time, date, checksum, packed and unpacked size, length of the name, of the extra field
    fields = struct.pack(
        "<HHHHHIIIHH", 63, 0, ZSTANDARD, 0, 33, zlib.crc32(content), len(packed), len(content), len(name), 0
    )
    local = b"PK\x03\x04" + fields + name.encode() + packed
    directory = b"PK\x01\x02" + struct.pack("<H", 63) + fields + struct.pack("<HHHII", 0, 0, 0, 0, 0) + name.encode()
    end = b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, 1, 1, len(directory), len(local), 0)
    path.write_bytes(local + directory + end)
    return path


TWO_EPOCHS = (
    sample("q/1", 2, "It is 5.", {"length": 0.14, "match": "I", "judge": 1}),
    sample("q/1", 1, "It is 4.", {"length": 1.0, "match": "C", "judge": 0}),
    sample(2, 1, "It is 4.", {"length": 0.5, "match": "N", "judge": 1.0}),
)


@pytest.mark.parametrize("suffix", [".json", ".eval"])
def test_samples_epoch_by_epoch(suffix: str, tmp_path: Path) -> None:
    log = (as_json if suffix == ".json" else as_eval)(tmp_path / f"log{suffix}", TWO_EPOCHS)
    samples = read_log(log)
    assert [(one.problem, one.k, one.completion, one.verdict) for one in samples] == [
        ("q/1", 0, "It is 4.", True),
        ("2", 0, "It is 4.", False),  # N: no answer
        ("q/1", 1, "It is 5.", False),
    ]
    first = samples[0]
    assert (first.question, first.gold, first.tokens, first.truncated) == ("What is q/1?", "4", 14, False)
    assert first.where == str(log) + (":samples[1]" if suffix == ".json" else ":samples/q/1_epoch_1.json")
    assert first.row["metadata"] == {"n": 1}
    assert "events" not in first.row
    # The length is no verdict, though it is once 1.0 as well.
    assert filters_of(log) == ("length", "match", "judge")
    assert [one.verdict for one in read_log(log, filter="judge")] == [False, True, True]
    assert [one.verdict for one in read_log(log, filter="length")] == [True, None, None]
    with pytest.raises(InputError, match="no scorer 'grade' in it; it has 'length', 'match', 'judge'"):
        read_log(log, filter="grade")
    with pytest.raises(InputError, match="nothing that keep could choose from; leave keep out"):
        read_log(log, keep={"model": "x"})


def test_scores_of_several_values(tmp_path: Path) -> None:
    log = as_json(tmp_path / "log.json", [sample(1, 1, "4", {"both": {"right": 1, "polite": 0}, "part": "P"})])
    assert read_log(log)[0].verdict is None
    assert read_log(log, verdict="right")[0].verdict is True
    assert read_log(log, filter="both", verdict="polite")[0].verdict is False
    with pytest.raises(InputError, match="no scorer's value has a key 'kind'; the scorers are 'both', 'part'"):
        read_log(log, verdict="kind")


def test_parts_of_a_message_and_texts_that_stand_apart(tmp_path: Path) -> None:
    parts = [
        {"type": "reasoning", "reasoning": "I think it is 5."},
        {"type": "text", "text": "It is "},
        {"type": "tool_use", "text": "5, or "},
        {"type": "text", "text": "4."},
    ]
    asked = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "2+2?"}]},
    ]
    cut = sample(1, 1, parts, {}, input=asked, target=["4", "four", "4"])
    cut["output"]["choices"][0]["stop_reason"] = "max_tokens"
    apart = sample(2, 1, "attachment://a1", {}, input="attachment://a2", attachments={"a1": "long", "a2": "longer"})
    first, second = read_log(as_json(tmp_path / "log.json", [cut, apart]))
    assert (first.question, first.completion, first.gold) == ("Be brief.\n\n2+2?", "It is 4.", ("4", "four"))
    assert (first.truncated, first.verdict) == (True, None)
    assert (second.question, second.completion) == ("longer", "long")


def test_samples_that_ended_in_an_error_are_left_out_aloud(tmp_path: Path) -> None:
    broken = sample(7, 1, "", {}, error={"message": "no connection"}, output={"choices": [], "completion": ""})
    log = as_json(tmp_path / "log.json", [broken, TWO_EPOCHS[1]])
    with pytest.warns(ErrorSampleWarning, match=r"left out 1 sample that ended in an error: '.*samples\[0\]'"):
        samples = read_log(log)
    assert [one.problem for one in samples] == ["q/1"]
    silent = as_json(tmp_path / "silent.json", [sample(7, 1, "", {"match": "I"})])  # it wrote nothing, and that counts
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_log(silent)[0].completion == ""


def test_zstandard(tmp_path: Path) -> None:
    content = json.dumps(TWO_EPOCHS[1]).encode()
    log = as_zstandard(tmp_path / "log.eval", "samples/q_epoch_1.json", content)
    assert read_log(log)[0].completion == "It is 4."
    log.write_bytes(log.read_bytes().replace(struct.pack("<I", zlib.crc32(content)), b"\x00" * 4))
    with pytest.raises(InputError, match=r"samples/q_epoch_1.json: not readable \(its checksum differs\); give"):
        read_log(log)


def test_zstandard_without_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = as_zstandard(tmp_path / "log.eval", "samples/q_epoch_1.json", json.dumps(TWO_EPOCHS[1]).encode())
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(InputError, match="packed by Zstandard; pip install pyarrow to read it"):
        read_log(log)


def test_bombs_do_not_go_off(tmp_path: Path) -> None:
    nothing = bytes(17 * 2**20)  # packs to a thousandth
    log = tmp_path / "log.eval"
    with zipfile.ZipFile(log, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("samples/1_epoch_1.json", nothing)
    with pytest.raises(InputError, match="bytes that unpack to 17825792 are no log; leave it out"):
        read_log(log)
    with pytest.raises(InputError, match="bytes that unpack to 17825792 are no log; leave it out"):
        read_log(as_zstandard(log, "samples/1_epoch_1.json", nothing))
    # One that says it is small: reading stops where it should have ended.
    as_zstandard(log, "samples/1_epoch_1.json", nothing[: 2**20])
    header = struct.pack("<IH", 2**20, len("samples/1_epoch_1.json"))
    log.write_bytes(log.read_bytes().replace(header, struct.pack("<I", 100) + header[4:]))
    with pytest.raises(InputError, match=r"not readable \(its checksum differs\)"):
        read_log(log)


def test_zips_that_are_no_logs(tmp_path: Path) -> None:
    log = as_eval(tmp_path / "log.eval", TWO_EPOCHS)
    whole = log.read_bytes()
    log.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"not readable as zip \(.*\); give it whole again"):
        read_log(log)
    with pytest.raises(InputError, match=r"without samples/\*.json in it; an Inspect log that has samples is needed"):
        read_log(as_eval(log, []))
    with zipfile.ZipFile(log, "w") as archive:
        archive.writestr("samples/1_epoch_1/sample.json", "{}")
    with pytest.raises(InputError, match="a sample in chunks; write the log anew by inspect log convert --to json"):
        read_log(log)
    with zipfile.ZipFile(log, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("samples/1_epoch_1.json", "{}")
    with pytest.raises(InputError, match="packed by method 14, or locked; pack it anew by zip"):
        read_log(log)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"id": True}, r"samples\[0\]: 'id' must be text or a whole number, got true; correct or remove"),
        ({"epoch": "first"}, r"samples\[0\]: 'epoch' must be a number, got text; correct or remove"),
        ({"target": []}, r"samples\[0\]: the gold in 'target' is an empty list; correct or remove"),
        ({"target": {"a": 1}}, r"samples\[0\]: the gold in 'target' must be text, got an object; correct or remove"),
        ({"output": None}, r"samples\[0\]: 'input' and 'output' must be those of a model; give the log whole again"),
        ({"output": {"choices": [7]}}, r"samples\[0\]: 'input' and 'output' must be those of a model"),
        ({"input": 7}, r"samples\[0\]: 'input' and 'output' must be those of a model"),
    ],
)
def test_what_cannot_be_read_is_one_line(change: Mapping[str, Any], message: str, tmp_path: Path) -> None:
    log = as_json(tmp_path / "log.json", [{**TWO_EPOCHS[0], **change}])
    with pytest.raises(InputError, match=message):
        read_log(log)


def test_json_that_is_no_log(tmp_path: Path) -> None:
    log = as_json(tmp_path / "log.json", [])
    with pytest.raises(InputError, match="an Inspect log without samples; one written with log_samples is needed"):
        read_log(log)
    log.write_text(log.read_text()[:-20])
    with pytest.raises(InputError, match=r"log.json:\d+: not JSON .*; give it whole again"):
        read_log(log)
    log.write_text('{\n"reviews": []\n}')
    with pytest.raises(InputError, match="a JSON object with 'reviews'; needed is lm-eval's"):
        read_log(log)
