"""The server's end of a process that scores."""

import asyncio
import json
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markscheme.files import InputError
from markscheme.scorer_process import ScorerProcess
from markscheme.scoring import GoldError, Score

WORKER = "markscheme.serve.worker"
MAX_ANSWER_BYTES = 1 << 24
"""Of the scores of a batch: a process must not fill the server's memory."""
START_DEADLINE_S = 600.0
"""The weights of a large reward model take minutes to read."""


Result = Score | GoldError | InputError


class StartError(Exception):
    """A process that scores did not start. The message says why."""


class LostError(Exception):
    """A process that scores has ended: the message says how. Or its batch took too long."""

    def __init__(self, cause: str = "", *, late: bool = False) -> None:
        super().__init__(cause)
        self.late = late


@dataclass(slots=True, eq=False)
class Job:
    """A sample that waits for its score."""

    text: str
    """The sample as JSON."""
    future: asyncio.Future[Score]
    strikes: int = 0
    """How far it is suspected of ending processes: see `ScoringPool`."""


class Link:
    """A process, and the batches that it has in hand. It works on the first; the others are there so that it need not
    wait for this process in between.
    """

    def __init__(
        self, process: ScorerProcess, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, deadline_s: float
    ) -> None:
        """`deadline_s` is for each batch, from when the process can begin with it."""
        self.in_hand: deque[Sequence[Job]] = deque()
        self._process, self._reader, self._writer = process, reader, writer
        self.begun_at = 0.0
        """When the process could begin with the first of them, on the loop's clock."""
        self._deadline_s = deadline_s
        self._timeout: asyncio.Timeout | None = None
        """Of the answer that is awaited now."""

    async def begin(self, setting: bytes) -> dict[str, str]:
        """What the process says once it has its setting; nothing if it has ended.

        Raises:
            StartError: if it says nothing for too long.
        """
        self._writer.write(setting)
        try:
            async with asyncio.timeout(START_DEADLINE_S):
                line = await self._reader.readline()
        except TimeoutError:
            raise StartError(f"not ready after {START_DEADLINE_S:g} s") from None
        except OSError:
            line = b""
        answer: dict[str, str] = json.loads(line) if line.endswith(b"\n") else {}
        return answer

    def give(self, jobs: Sequence[Job]) -> None:
        """Hands over a batch."""
        self._writer.write(f"[{', '.join(job.text for job in jobs)}]\n".encode())
        self.in_hand.append(jobs)
        if len(self.in_hand) == 1:
            self._start_clock()

    def _start_clock(self) -> None:
        self.begun_at = asyncio.get_running_loop().time()
        if self._timeout is not None:
            self._timeout.reschedule(self.begun_at + self._deadline_s)

    async def answer(self) -> list[Result]:
        """What comes of the first batch in hand, which is still there then.

        Raises:
            LostError: if the process has ended, or does not answer by the deadline.
        """
        try:
            async with asyncio.timeout(None) as self._timeout:
                if self.in_hand:
                    self._start_clock()
                line = await self._reader.readline()
            if line.endswith(b"\n"):
                return _results(line, len(self.in_hand[0]))
        except TimeoutError:
            raise LostError(late=True) from None
        except OSError:
            pass
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
            raise LostError(f"sent no scores ({type(error).__name__})") from error
        finally:
            self._timeout = None
        raise LostError(await self.end())

    async def end(self, *, kill: bool = False) -> str:
        """Ends the process, at once or with time to end others, and says how it ended."""
        self._writer.close()
        if kill:
            self._process.kill()
        return await asyncio.to_thread(self._process.end)


def _results(line: bytes, count: int) -> list[Result]:
    records = json.loads(line)
    if len(records) != count:
        raise ValueError(f"{len(records)} scores for {count} samples")
    return [_result(record) for record in records]


def _result(record: Mapping[str, Any]) -> Result:
    if "error" in record:
        return (GoldError if record["error"] == "gold" else InputError)(record["message"])
    return Score.from_dict(record)


async def start_link(setting: bytes, deadline_s: float) -> Link:
    """A process that is ready to score by its setting.

    Raises:
        StartError: if it does not get ready.
    """
    try:
        process = ScorerProcess(WORKER)
    except OSError as error:  # no more processes, or no memory for one
        raise StartError(str(error)) from error
    reader, writer = await asyncio.open_unix_connection(sock=process.socket, limit=MAX_ANSWER_BYTES)
    link = Link(process, reader, writer, deadline_s)
    try:
        answer = await link.begin(setting)
    except BaseException:
        await link.end(kill=True)
        raise
    if "ready" not in answer:
        cause = await link.end()
        raise StartError(answer.get("error") or f"the process {cause}")
    return link
