"""Scoring in several processes: any of them may die at any time, and no row is lost, doubled or out of order.

A worker is `python -m markscheme.score_workers DESCRIPTOR`. It gets the scorer as a pickle, then batches of lines,
and answers each with lines and a tally; nothing that it sends is unpickled. `concurrent.futures` and
`markscheme.workers` do not serve here: with the first, a worker that dies takes the others along and nobody knows whose
rows it was; with the second, a worker cannot be ended while it works.
"""

import io
import json
import pickle
import signal
from collections.abc import Generator, Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

from markscheme.files import InputError
from markscheme.score_rows import Batch, ScoredBatch, Tally, score_here, score_lines
from markscheme.scorer_process import Broken, RowByRow, ScorerProcess, run_scorer_process
from markscheme.scoring import GoldError, Scorer

BATCHES_A_PROCESS = 4
"""Read and not yet written, so that the others have work while one batch takes its time."""
MAX_FAILED_STARTS = 3
"""In a row; then it is not the rows that end the workers."""


def score_in_workers(
    batches: Iterable[Batch], scorer: Scorer, name: str, processes: int
) -> Generator[ScoredBatch, None, None]:
    """Scores batches in so many processes, in order; `name` is the file's, for messages.

    A batch that ends its worker is tried once more in a fresh one, then row by row; a row that ends its worker FAILED.

    Raises:
        InputError, GoldError: as `score_here` does.
        ChildProcessError: if no worker can be started.
    """
    batches = iter(batches)
    with _Team(scorer, name, processes) as team:
        while True:
            while len(team.jobs) < BATCHES_A_PROCESS * processes and (batch := next(batches, None)):
                team.jobs.append(_Job(batch))
            if not team.jobs:
                return
            team.work()
            while team.jobs and (result := team.jobs[0].result):
                del team.jobs[0]
                if isinstance(result, ValueError):
                    raise result
                yield result


@dataclass(slots=True, eq=False)
class _Job:
    """A batch on its way."""

    batch: Batch
    given: bool = False
    deaths: int = 0
    """Workers that it has cost."""
    alone: bool = False
    """Whether it is one row of a batch that has cost two."""
    result: ScoredBatch | InputError | GoldError | None = None
    """An error waits for its turn too: the first bad line of the file is the one that is named."""


class _Team:
    """The workers, and the jobs that are not handed on, in order."""

    def __init__(self, scorer: Scorer, name: str, processes: int) -> None:
        self.jobs: list[_Job] = []
        self._workers: list[_Worker] = []
        self._processes = processes
        self._failed_starts = 0
        self._name = name
        self._setting = pickle.dumps((scorer, name))

    def __enter__(self) -> "_Team":
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.release()
        for worker in self._workers:
            worker.end()

    def work(self) -> None:
        """Gives out the jobs that wait, and takes at least one answer."""
        for job in [job for job in self.jobs if not job.given]:
            worker = next((worker for worker in self._workers if worker.job is None), None)
            if worker is None and len(self._workers) == self._processes:
                break
            (worker or self._new_worker()).give(job)
        answered = wait([worker.connection for worker in self._workers if worker.job])
        for worker in [worker for worker in self._workers if worker.connection in answered]:
            try:
                worker.take_answer()
                self._failed_starts = 0
            except (EOFError, OSError):
                self._replace(worker)

    def _new_worker(self) -> "_Worker":
        self._workers.append(_Worker(self._setting))
        return self._workers[-1]

    def _replace(self, worker: "_Worker") -> None:
        job = worker.job
        assert job
        self._workers.remove(worker)
        cause = worker.end()
        if not worker.ready:
            self._failed_starts += 1
            if self._failed_starts == MAX_FAILED_STARTS:
                raise ChildProcessError(f"the scoring processes cannot start: the last one {cause}")
            self._new_worker().give(job)
            return
        job.deaths += 1
        if job.alone:
            broken = Broken(f"the scoring process {cause} on this row")
            [job.result] = score_here([job.batch], broken, self._name)
        elif job.deaths == 1:
            self._new_worker().give(job)
        else:
            place = self.jobs.index(job)
            self.jobs[place : place + 1] = [_Job(row, alone=True) for row in job.batch.apart()]


class _Worker:
    """This process's end of a worker."""

    def __init__(self, setting: bytes) -> None:
        self.job: _Job | None = None
        self.ready = False
        self._process = ScorerProcess(__name__)
        self.connection = Connection(self._process.socket.detach())
        self._send(setting)

    def give(self, job: _Job) -> None:
        job.given, self.job = True, job
        self._send(b"%d\n" % job.batch.first_line + b"".join(job.batch.lines))

    def _send(self, message: bytes) -> None:
        with suppress(OSError):  # it has ended: the answer that does not come will tell
            self.connection.send_bytes(message)

    def take_answer(self) -> None:
        """Receives the first sign of life, or the result of the job.

        Raises:
            EOFError, OSError: if the worker has ended.
        """
        head, _, text = self.connection.recv_bytes().partition(b"\n")
        if not self.ready:
            self.ready = True
            return
        assert self.job
        answer = json.loads(head)
        if "tally" in answer:
            self.job.result = ScoredBatch(batch=self.job.batch, text=text, tally=Tally(**answer["tally"]))
        else:
            self.job.result = (GoldError if answer["error"] == "GoldError" else InputError)(answer["message"])
        self.job = None

    def release(self) -> None:
        """Tells it to end."""
        self._process.release()

    def end(self) -> str:
        """Ends it and says how it ended."""
        self.release()
        self.connection.close()
        return self._process.end()


# The worker's end.


def _work(descriptor: int) -> None:
    connection = Connection(descriptor)
    try:
        scorer, name = pickle.loads(connection.recv_bytes())
        connection.send_bytes(b"ready")
        while True:
            number, _, text = connection.recv_bytes().partition(b"\n")
            connection.send_bytes(_answer(io.BytesIO(text).readlines(), int(number), scorer, name))
    except (EOFError, ConnectionError):
        # The parent closes the pipe too, which ends in SIGTERM: what its handler raises inside of the connection's
        # __del__ would be printed.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise


def _answer(lines: Sequence[bytes], first_line: int, scorer: Scorer, name: str) -> bytes:
    head: dict[str, Any]
    try:
        text, tally = score_lines(lines, first_line, RowByRow(scorer), name)
        head = {"tally": asdict(tally)}
    except (InputError, GoldError) as error:
        text, head = b"", {"error": type(error).__name__, "message": str(error)}
    return json.dumps(head).encode() + b"\n" + text


if __name__ == "__main__":
    run_scorer_process(_work)
