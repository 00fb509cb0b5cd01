"""Reading and writing files so that nothing is half-written and a bad line is named."""

import gzip
import hashlib
import json
import os
import shutil
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any

StrPath = str | PathLike[str]
"""Of a file or a folder, as functions take it."""
MAX_SHOWN_BYTES = 200
"""Of a line that is quoted."""


class InputError(ValueError):
    """Something the user gave cannot be used. The message is one line: the value, and the way out."""


def read_jsonl(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yields (line number from 1, object) of a .jsonl or .jsonl.gz file.

    Raises:
        InputError: if the file is missing, is not text, or a line is not a JSON object.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    line_number = 0
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as lines:
            for line_number, line in enumerate(lines, 1):
                if line_number == 1:
                    check_first_line(line, path)
                if line.strip():
                    yield line_number, json_object(line, path, line_number)
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise InputError(f"{path}:{line_number + 1}: not readable as gzip ({error}); give it whole again") from error


def check_first_line(line: bytes, path: Path) -> None:
    """Tells a file of another format, such as CSV or one JSON array, by its first line.

    Raises:
        InputError: if no JSON object begins in the line, or none that ends in it.
    """
    text = line[:MAX_SHOWN_BYTES].decode("utf-8-sig", "replace").strip()
    if text and (not text.startswith("{") or text == "{"):
        raise InputError(
            f"{path}:1: begins with {text[:40]!r}, which is no JSON object; JSON lines are needed, one object a line: "
            "write the file anew in that form"
        )


def json_object(line: bytes, path: Path, line_number: int) -> dict[str, Any]:
    try:
        record = json.loads(line.decode("utf-8-sig" if line_number == 1 else "utf-8"))
    except json.JSONDecodeError as error:
        raise InputError(f"{path}:{line_number}: not JSON ({error.msg} at column {error.colno})") from error
    except (ValueError, RecursionError) as error:  # no UTF-8, a number of 5,000 digits, 1,000 brackets
        raise InputError(f"{path}:{line_number}: not readable as JSON in UTF-8 ({error})") from error
    if not isinstance(record, dict):
        raise InputError(f"{path}:{line_number}: a JSON object is needed, got {kind_of(record)}")
    return record


def column(record: Mapping[str, Any], name: str, where: str) -> str:
    """The text in a column of a record; a number is taken as its digits.

    Raises:
        InputError: if the column is missing, or is neither text nor a number.
    """
    if name not in record:
        raise InputError(f"{where}: no column {name!r}; it has {', '.join(map(repr, record)) or 'none'}")
    value = record[name]
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise InputError(f"{where}: column {name!r} must be text, got {kind_of(value)}")
    return value if isinstance(value, str) else str(value)


def kind_of(value: object) -> str:
    """What a value of JSON is, in words.

    >>> kind_of(None), kind_of([1]), kind_of({}), kind_of(0.5), kind_of(True), kind_of("7")
    ('null', 'a list', 'an object', 'a number', 'true', 'text')
    """
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, str):
        return "text"
    if isinstance(value, int | float):
        return "a number" if value == value else "NaN"
    return "an object" if isinstance(value, Mapping) else "a list" if isinstance(value, list | tuple) else repr(value)


def noun_of(number: int, noun: str) -> str:
    """A noun as it stands behind a number.

    >>> noun_of(1, "row"), noun_of(2, "row")
    ('row', 'rows')
    """
    return noun if number == 1 else f"{noun}s"


def write_text(path: Path, text: str) -> None:
    """Writes a whole file or nothing: into a neighbour first, which then takes its place."""
    _write_whole(path, [text])


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Writes a file line by line as they come, whole or not at all."""
    _write_whole(path, (f"{line}\n" for line in lines))


def _write_whole(path: Path, pieces: Iterable[str]) -> None:
    if path.is_dir():
        raise InputError(f"{path} is a folder: give the name of a file")
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and not path.is_file():  # /dev/stdout, a pipe: there is no putting a file in its place
        with naming(path), path.open("w", encoding="utf-8") as device:
            device.writelines(pieces)
        return
    partial = path.with_name(f".{path.name}.partial")
    try:
        with naming(path):
            with partial.open("w", encoding="utf-8") as file:
                file.writelines(pieces)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """Yields an empty neighbour of `folder` to fill, which then takes its place: whole or not at all."""
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        with naming(folder):
            yield partial
            shutil.rmtree(folder, ignore_errors=True)
            partial.rename(folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """A full disk does not say what it had no room for: this says it."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno is not None:
            error.filename = str(path)
        raise


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_json(path: Path, value: Any) -> None:
    """Writes a JSON file, whole or not at all. ASCII: a completion may hold half a surrogate pair."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def drop_torn_line(path: Path) -> None:
    """Cuts off a last line that a kill left without its line end."""
    if not path.exists():
        return
    content = path.read_bytes()
    if content and not content.endswith(b"\n"):
        with path.open("r+b") as file:
            file.truncate(content.rfind(b"\n") + 1)
