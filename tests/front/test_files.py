import errno
import gzip
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from markscheme.files import (
    InputError,
    column,
    drop_torn_line,
    read_jsonl,
    sha256_of,
    whole_folder,
    write_json,
    write_lines,
    write_text,
)


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.jsonl.gz"])
def test_rows_come_with_their_line_numbers(tmp_path: Path, name: str) -> None:
    # A byte order mark, an empty line, a Windows line end, a line separator inside a text, no last line end.
    content = '\ufeff{"a": 1}\n\n{"a": "é\u2028"}\r\n{"a": null}'.encode()
    path = tmp_path / name
    path.write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    assert list(read_jsonl(path)) == [(1, {"a": 1}), (3, {"a": "é\u2028"}), (4, {"a": None})]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"a": 1', r"not JSON \(Expecting ',' delimiter at column"),
        (b"nonsense", "not JSON"),
        (b'"text"', "a JSON object is needed, got text"),
        (b"null", "a JSON object is needed, got null"),
        (b'{"a": "\xff"}', "not readable as JSON in UTF-8"),
        (b'{"a": ' + b"9" * 5_000 + b"}", "not readable as JSON"),
        (b"[" * 100_000, "not readable as JSON"),
    ],
)
def test_a_bad_line_is_named_with_its_number(tmp_path: Path, line: bytes, reason: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"a": 1}\n' * 700 + line + b"\n")
    with pytest.raises(InputError, match=rf"rows.jsonl:701: {reason}"):
        list(read_jsonl(path))


@pytest.mark.parametrize(
    ("content", "start"),
    [
        ("prompt,completion\n1+1?,2\n", "'prompt,completion'"),
        ('[{"a": 1}]', "'[{\"a\": 1}]'"),
        ('{\n  "a": 1\n}\n', "'{'"),
        ("\ufeffnull\n", "'null'"),
    ],
)
def test_a_file_of_another_format_is_told_by_its_first_line(tmp_path: Path, content: str, start: str) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(InputError) as raised:
        next(read_jsonl(path))
    message = f"{path}:1: begins with {start}, which is no JSON object; JSON lines are needed, one object a line: "
    assert str(raised.value).startswith(message)


def test_a_file_that_is_no_whole_gzip_is_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl.gz"
    whole = gzip.compress(b'{"a": 1}\n')
    for content in (b'{"a": 1}\n', whole[:-4], whole[:12] + b"\xff\xff\xff\xff" + whole[16:]):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"rows.jsonl.gz:\d: not readable as gzip"):
            list(read_jsonl(path))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none.jsonl: no such file"):
        next(read_jsonl(tmp_path / "none.jsonl"))


def test_a_column_is_text_or_a_number() -> None:
    record = {"text": "seven", "whole": 7, "broken": 0.5, "flag": True, "list": ["7"], "null": None}
    assert [column(record, name, "x:1") for name in ("text", "whole", "broken")] == ["seven", "7", "0.5"]
    for name, kind in (("flag", "true"), ("list", "a list"), ("null", "null")):
        with pytest.raises(InputError, match=f"x:1: column '{name}' must be text, got {kind}$"):
            column(record, name, "x:1")
    with pytest.raises(InputError, match="x:1: no column 'gold'; it has 'text', 'whole'"):
        column(record, "gold", "x:1")
    with pytest.raises(InputError, match="no column 'gold'; it has none"):
        column({}, "gold", "x:1")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters()),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    max_leaves=5,
)


@given(rows=st.lists(st.dictionaries(st.text(st.characters()), JSON), max_size=4))
def test_what_is_written_is_read_again(rows: list[dict[str, object]], tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    write_lines(path, (json.dumps(row) for row in rows))  # half a surrogate pair included
    assert [row for _, row in read_jsonl(path)] == rows


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "new" / "file.txt"
    write_text(path, "old")

    def broken() -> Iterator[str]:
        yield "new"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_lines(path, broken())

    def full(file: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left on device: '.*new/file.txt'"):
        write_json(path, {"a": 1})
    assert path.read_text() == "old"
    assert os.listdir(path.parent) == ["file.txt"]


def test_a_folder_is_no_file_and_a_device_is_not_replaced(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a folder: give the name of a file"):
        write_text(tmp_path, "text")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write_lines(pipe, ["one", "two"])
    assert os.read(reader, 100) == b"one\ntwo\n"
    os.close(reader)
    assert pipe.is_fifo()


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    for text in ("first", "second"):
        with whole_folder(folder) as partial:
            (partial / f"{text}.txt").write_text(text)
            assert folder.exists() == (text == "second")
    with pytest.raises(FileNotFoundError), whole_folder(folder) as partial:
        (partial / "none" / "third.txt").write_text("third")
    assert [path.relative_to(tmp_path).as_posix() for path in sorted(tmp_path.rglob("*"))] == [
        "model",
        "model/second.txt",
    ]
    (tmp_path / ".model.partial").mkdir()  # as a kill leaves it
    with whole_folder(folder) as partial:
        assert list(partial.iterdir()) == []


@given(lines=st.lists(st.binary(max_size=5).filter(lambda line: b"\n" not in line)), torn=st.binary(max_size=5))
def test_only_a_torn_last_line_is_dropped(
    lines: list[bytes], torn: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("log") / "log.jsonl"
    drop_torn_line(path)  # there is none yet
    whole = b"".join(line + b"\n" for line in lines)
    path.write_bytes(whole + torn.replace(b"\n", b""))
    drop_torn_line(path)
    assert path.read_bytes() == whole


def test_sha256_is_that_of_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")  # FIPS 180-2, appendix B.1
    assert sha256_of(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
