"""The rows of a log's file, line by line, or a whole JSON file within a limit."""

import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, cast

from markscheme.files import InputError, read_jsonl

MAX_JSON_BYTES = 2**30  # in one piece: a gibibyte of JSON becomes five or more of objects
GZIP_MAGIC = b"\x1f\x8b"


def log_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yields (line number from 1, row) of a log of JSON lines.

    Raises:
        InputError: as `read_jsonl`; of a bad line it says what to do.
    """
    try:
        yield from read_jsonl(path)
    except InputError as error:
        if isinstance(error.__cause__, OSError | EOFError | zlib.error):  # not one line, but the file
            raise
        raise InputError(f"{error}; correct or remove that line") from error


def opened(path: Path) -> IO[bytes]:
    """The file's bytes, unpacked if it is a .gz."""
    return cast(IO[bytes], gzip.open(path)) if path.suffix == ".gz" else path.open("rb")


def first_line(path: Path) -> bytes:
    """The first line that is not blank, without a byte order mark; empty if there is none.

    Raises:
        InputError: if the file cannot be unpacked.
    """
    try:
        with opened(path) as file:
            line = file.readline(MAX_JSON_BYTES).removeprefix(b"\xef\xbb\xbf")
            while line and not line.strip():
                line = file.readline(MAX_JSON_BYTES)
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise InputError(f"{path}:1: not readable as gzip ({error}); give it whole again") from error
    if len(line) > MAX_JSON_BYTES - len(b"\xef\xbb\xbf"):
        raise InputError(f"{path}:1: a line of {MAX_JSON_BYTES} bytes and more; give one sample a line")
    return line


def whole_json(path: Path) -> Any:
    """What a JSON file holds.

    Raises:
        InputError: if it cannot be read, or is larger than MAX_JSON_BYTES.
    """
    try:
        with opened(path) as file:
            content = file.read(MAX_JSON_BYTES + 1)
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise InputError(f"{path}: not readable as gzip ({error}); give it whole again") from error
    if len(content) > MAX_JSON_BYTES:
        raise InputError(f"{path}: more than {MAX_JSON_BYTES} bytes of JSON in one piece; give it as JSON lines")
    return parsed(content, str(path))


def parsed(content: bytes, where: str) -> Any:
    """The value that a piece of JSON writes.

    Raises:
        InputError: if it is not JSON in UTF-8.
    """
    try:
        return json.loads(content.decode("utf-8-sig"))
    except json.JSONDecodeError as error:
        raise InputError(
            f"{where}:{error.lineno}: not JSON ({error.msg} at column {error.colno}); give it whole again"
        ) from error
    except (ValueError, RecursionError) as error:  # no UTF-8, a number of 5,000 digits, 1,000 brackets
        raise InputError(f"{where}: not readable as JSON in UTF-8 ({error}); correct it") from error
