"""The members of a zip that somebody else has packed: no larger than they say, and no bomb."""

import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from markscheme.benchmarks.logs.rows import MAX_JSON_BYTES
from markscheme.files import InputError

MAX_RATIO = 500  # of unpacked to packed: text reaches 10, one word over and over 150, zeros 1,000 and more
FREE_BYTES = 2**24  # below 16 MiB a ratio proves nothing, and does no harm
ZSTANDARD = 93  # Inspect's; Python's own zipfile knows it from 3.14 on
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, ZSTANDARD)
LOCAL_HEADER_BYTES = 30
ENCRYPTED = 0x1  # in the flags of a member
BROKEN = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,
    OSError,
    RuntimeError,
    ValueError,
    struct.error,
)


def members(path: Path, names: re.Pattern[str]) -> Iterator[tuple[str, bytes]]:
    """Yields (name, content) of the members with such names, in the order of the file; of a name that was written
    twice, the last one.

    Raises:
        InputError: if the zip cannot be read, or would unpack to far more than it is.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            infos = {info.filename: info for info in archive.infolist()}
    except BROKEN as error:
        raise InputError(f"{path}: not readable as zip ({error}); give it whole again") from error
    wanted = [info for info in infos.values() if names.fullmatch(info.filename)]
    _check(sum(info.file_size for info in wanted), path.stat().st_size, f"{path}")
    for info in wanted:
        where = f"{path}:{info.filename}"
        _check(info.file_size, info.compress_size, where)
        if info.file_size > MAX_JSON_BYTES:
            raise InputError(f"{where}: unpacks to more than {MAX_JSON_BYTES} bytes; leave it out")
        if info.flag_bits & ENCRYPTED or info.compress_type not in METHODS:
            raise InputError(f"{where}: packed by method {info.compress_type}, or locked; pack it anew by zip")
        yield info.filename, _content(path, info, where)


def _check(unpacked: int, packed: int, where: str) -> None:
    if unpacked > max(FREE_BYTES, MAX_RATIO * packed):
        raise InputError(f"{where}: {packed} bytes that unpack to {unpacked} are no log; leave it out")


def _content(path: Path, info: zipfile.ZipInfo, where: str) -> bytes:
    try:
        if info.compress_type != ZSTANDARD:
            with zipfile.ZipFile(path) as archive, archive.open(info) as member:
                return member.read(info.file_size)
        with path.open("rb") as file:
            content = _unpacked(_packed(file, info), info.file_size, where)
    except InputError:
        raise
    except BROKEN as error:
        raise InputError(f"{where}: not readable ({error}); give the log whole again") from error
    if len(content) != info.file_size or zlib.crc32(content) != info.CRC:
        raise InputError(f"{where}: not readable (its checksum differs); give the log whole again")
    return content


def _packed(file: BinaryIO, info: zipfile.ZipInfo) -> bytes:
    """The member as it stands in the file, behind a header whose last two fields are the lengths of what follows it."""
    file.seek(info.header_offset)
    name_length, extra_length = struct.unpack("<HH", file.read(LOCAL_HEADER_BYTES)[-4:])
    file.seek(name_length + extra_length, 1)
    return file.read(info.compress_size)


def _unpacked(packed: bytes, size: int, where: str) -> bytes:
    try:
        import pyarrow  # it brings Zstandard along, which Python has from 3.14 on only
    except ImportError as error:
        raise InputError(f"{where}: packed by Zstandard; pip install pyarrow to read it") from error
    with pyarrow.CompressedInputStream(pyarrow.BufferReader(packed), "zstd") as stream:
        content: bytes = stream.read(size + 1)
    return content
