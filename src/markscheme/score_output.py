"""Where scored rows go: a file that a killed run goes on with, a stream, or nowhere."""

import fcntl
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from io import FileIO
from pathlib import Path
from typing import Any

from markscheme.files import InputError, naming, write_json
from markscheme.score_rows import ScoredBatch, Tally
from markscheme.scoring import GoldError

CHECKPOINT_EVERY_S = 1.0
"""What a kill may cost. A checkpoint waits for the disk, so there is not one a batch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a run has come: all that a later one needs to go on."""

    line: int = 0
    """The last line of the input that is done."""
    input_bytes: int = 0
    """Where it ends, unpacked."""
    output_bytes: int = 0
    tally: Tally = field(default_factory=Tally)


class Output:
    """Counts rows. This one drops them."""

    note = ""
    """What is done about an earlier run that did not end."""

    def __init__(self) -> None:
        self.progress = Progress()

    def append(self, scored: ScoredBatch) -> None:
        """Takes the next rows."""
        self._write(scored.text)
        self.progress = Progress(
            line=scored.batch.end_line,
            input_bytes=scored.batch.end_bytes,
            output_bytes=self.progress.output_bytes + len(scored.text),
            tally=self.progress.tally + scored.tally,
        )

    def _write(self, text: bytes) -> None:
        pass


def is_stream(path: Path) -> bool:
    """Whether a path is a pipe or a device: no file can be put in its place, and no run can go on with it."""
    # What stands there may be a link to a file that the shell has opened.
    return str(path.parent) in ("/dev", "/dev/fd", "/proc/self/fd") or (path.exists() and not path.is_file())


@contextmanager
def open_output(path: Path | None, origin: Mapping[str, Any]) -> Iterator[Output]:
    """Yields what takes the scored rows; a file appears under its name when the block ends, and only then.

    A block that ends early leaves a partial file, with which the next run of the same `origin` goes on; none if the
    data was wrong.

    Raises:
        InputError: if the path is a folder, or another run writes the file.
    """
    if path is None:
        yield Output()
        return
    if path.is_dir():
        raise InputError(f"{path} is a folder: give the name of a file")
    if is_stream(path):
        with path.open("ab", buffering=0) as file:
            yield _File(path, file)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with _partial_of(path).open("ab", buffering=0) as file:
        output = _ResumableFile(path, file, origin)
        try:
            output.begin()
            yield output
            output.finish()
        except BaseException as error:
            if isinstance(error, InputError | GoldError) or not output.progress.tally.rows:
                output.discard()
            else:
                with suppress(OSError):
                    output.checkpoint()
            raise


class _File(Output):
    def __init__(self, path: Path, file: FileIO) -> None:
        super().__init__()
        self._path, self._file = path, file

    def _write(self, text: bytes) -> None:
        rest = memoryview(text)
        with naming(self._path):
            while rest:
                rest = rest[self._file.write(rest) :]


class _ResumableFile(_File):
    """A partial file, and beside it a record of where it comes from and how far it has come."""

    def __init__(self, path: Path, file: FileIO, origin: Mapping[str, Any]) -> None:
        super().__init__(path, file)
        self._partial, self._record = _partial_of(path), path.with_name(f".{path.name}.progress.json")
        self._origin = dict(origin)
        self._checkpoint_due = 0.0
        self._lock()
        with suppress(FileNotFoundError, ValueError):
            self.note = self._take_over(json.loads(self._record.read_bytes()))

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"{self._path}: another run is writing it; give another --out") from None
        except OSError:  # a file system without locks
            return

    def _take_over(self, record: Mapping[str, Any]) -> str:
        for name, value in self._origin.items():
            if record["origin"].get(name) != value:
                was = record["origin"].get(name)
                return f"starting over: {name} was {was!r} when {self._path} was begun, and is {value!r}"
        if record["progress"]["output_bytes"] > self._partial.stat().st_size:
            return f"starting over: {self._partial} is shorter than it was"
        self.progress = Progress(**{**record["progress"], "tally": Tally(**record["progress"]["tally"])})
        return f"going on after row {self.progress.tally.rows}" if self.progress.tally.rows else ""

    def append(self, scored: ScoredBatch) -> None:
        super().append(scored)
        if time.monotonic() >= self._checkpoint_due:
            self.checkpoint()

    def begin(self) -> None:
        """Drops what an earlier run wrote after its last checkpoint."""
        with naming(self._path):
            self._file.truncate(self.progress.output_bytes)
        self.checkpoint()

    def checkpoint(self) -> None:
        """From here a later run can go on."""
        self._sync()
        write_json(self._record, {"origin": self._origin, "progress": asdict(self.progress)})
        self._checkpoint_due = time.monotonic() + CHECKPOINT_EVERY_S

    def _sync(self) -> None:
        with naming(self._path):
            os.fsync(self._file)

    def finish(self) -> None:
        """Puts the file in its place."""
        self._sync()
        self._partial.replace(self._path)
        self._record.unlink()

    def discard(self) -> None:
        """Leaves nothing of the run."""
        self._partial.unlink(missing_ok=True)
        self._record.unlink(missing_ok=True)


def _partial_of(path: Path) -> Path:
    return path.with_name(f".{path.name}.partial")
