"""The samples that wait, and the processes that score them."""

import asyncio
import json
import math
from collections import deque
from collections.abc import Sequence
from itertools import count
from types import TracebackType
from typing import Self

from markscheme.files import InputError
from markscheme.scoring import GoldError, Outcome, Sample, Score, Scorer
from markscheme.serve.link import Job, Link, LostError, Result, StartError, start_link
from markscheme.serve.worker import setting_of

IN_HAND = 4
"""Batches of one sample that a process has at a time: more bring no speed, and wait behind one that takes its time."""
ALONE = 2
"""Strikes after which a sample is in no batch with others."""
MAX_FAILED_STARTS = 3
"""In a row; then samples wait for no process any more."""
MAX_START_WAIT_S = 30.0
"""Between tries to start a process."""
MAX_WAIT_S = 30
"""That a client is asked to wait before it tries again."""


class BusyError(Exception):
    """The queue is full."""

    def __init__(self, wait_s: int) -> None:
        super().__init__(f"too many samples wait: try again in {wait_s} s")
        self.wait_s = wait_s


class DrainingError(Exception):
    """The server is about to end."""


class SampleError(ValueError):
    """A sample cannot be scored by anyone: its gold is wrong, or the scorer does not take it."""

    def __init__(self, message: str, index: int, *, gold: bool) -> None:
        super().__init__(message)
        self.index = index
        """In its request."""
        self.gold = gold


class ScoringPool:
    """Scores samples of many requests, in processes that may die or hang.

    Samples that wait for a process are given out in batches, in order. A process that dies costs the batch that it
    worked on a strike each, one that takes longer than the deadline two; with two strikes a sample is scored alone.
    Alone, a sample that is late is UNDECIDED, and one that ends its process for the second time FAILED. So a batch is
    tried twice, then sample by sample, and no sample costs more than three processes.
    """

    def __init__(self, scorer: Scorer, *, processes: int, batch_size: int, max_waiting: int, deadline_s: float) -> None:
        """
        Args:
            processes: that score.
            batch_size: samples that the scorer is given at once.
            max_waiting: samples that no process has yet.
            deadline_s: for a batch, and for a sample of one that took longer.
        """
        self.max_waiting = max_waiting
        self.restarts = 0
        """Of processes that died or were ended."""
        self.draining = False
        self._setting = setting_of(scorer)
        self._processes, self._batch_size, self._deadline_s = processes, batch_size, deadline_s
        self._in_hand = IN_HAND if batch_size == 1 else 1
        self._waiting: deque[Job] = deque()
        self._links: list[Link] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._scored, self._work_s = 0, 0.0

    @property
    def waiting(self) -> int:
        """Samples that no process has yet."""
        return len(self._waiting)

    @property
    def alive(self) -> bool:
        """Whether there is a process to score with."""
        return bool(self._links)

    async def __aenter__(self) -> Self:
        """Starts the processes.

        Raises:
            InputError: if one does not start.
        """
        starts = [start_link(self._setting, self._deadline_s) for _ in range(self._processes)]
        started = await asyncio.gather(*starts, return_exceptions=True)
        self._links = [link for link in started if isinstance(link, Link)]
        for error in started:
            if isinstance(error, BaseException):
                await asyncio.gather(*(link.end() for link in self._links))
                if isinstance(error, StartError):
                    raise InputError(f"the scorer cannot start: {error}") from error
                raise error
        self._tasks = [asyncio.create_task(self._keep(link)) for link in self._links]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def score(self, samples: Sequence[Sample]) -> list[Score]:
        """One score a sample, in order. Cancelled, it takes its samples out of the queue.

        Raises:
            BusyError: if they do not fit into the queue.
            DrainingError: if the server is about to end.
            SampleError: if one cannot be scored by anyone.
            TypeError, RecursionError: if the meta of one is not made of JSON values, or nested too deep.
        """
        if self.draining:
            raise DrainingError
        if len(self._waiting) + len(samples) > self.max_waiting:
            raise BusyError(self._wait_s())
        loop = asyncio.get_running_loop()
        jobs = [Job(json.dumps(sample.to_dict()), loop.create_future()) for sample in samples]
        self._waiting.extend(jobs)
        self._hand_out()
        try:
            return list(await asyncio.gather(*(job.future for job in jobs)))
        except BaseException as error:
            index = next((index for index, job in enumerate(jobs) if _has_failed(job.future)), 0)
            for job in jobs:
                job.future.cancel()
            self._waiting = deque(job for job in self._waiting if not job.future.done())
            if isinstance(error, GoldError | InputError):
                raise SampleError(str(error), index, gold=isinstance(error, GoldError)) from error
            raise

    def _hand_out(self) -> None:
        """Gives waiting samples to the processes that have least in hand, as far as they have room."""
        while self._waiting and self._links:
            link = min(self._links, key=lambda link: len(link.in_hand))
            if len(link.in_hand) >= self._in_hand:
                return
            link.give(self._next_batch())

    def _next_batch(self) -> list[Job]:
        jobs = [self._waiting.popleft()]
        while (
            self._waiting and len(jobs) < self._batch_size and max(jobs[-1].strikes, self._waiting[0].strikes) < ALONE
        ):
            jobs.append(self._waiting.popleft())
        return jobs

    async def _keep(self, link: Link) -> None:
        """Keeps a place filled by a process, of which one follows another."""
        try:
            while True:
                try:
                    results = await link.answer()
                except LostError as lost:
                    self._links.remove(link)
                    self.restarts += 1
                    self._put_back(link, lost)
                    self._hand_out()
                    await link.end(kill=True)
                    link = await self._successor()
                    self._links.append(link)
                else:
                    jobs = link.in_hand.popleft()
                    self._scored += len(jobs)
                    self._work_s += asyncio.get_running_loop().time() - link.begun_at
                    for job, result in zip(jobs, results, strict=True):
                        _settle(job, result)
                self._hand_out()
        finally:
            await link.end()

    def _put_back(self, link: Link, lost: LostError) -> None:
        """Puts what a lost process had in hand back into the queue, apart from a sample that is to blame for it."""
        head, *others = link.in_hand or [()]
        for job in head:
            job.strikes += ALONE if lost.late else 1
        if len(head) == 1 and lost.late:
            _settle(head[0], _unscored(Outcome.UNDECIDED, f"no score after {self._deadline_s:g} s"))
        elif len(head) == 1 and head[0].strikes >= ALONE:
            _settle(head[0], _unscored(Outcome.FAILED, f"the scoring process {lost} on this sample"))
        jobs = [job for batch in (head, *others) for job in batch if not job.future.done()]
        self._waiting.extendleft(reversed(jobs))

    async def _successor(self) -> Link:
        """A process in place of one that is lost, however long it takes to get one."""
        for failures in count(1):
            try:
                return await start_link(self._setting, self._deadline_s)
            except StartError as error:
                if failures >= MAX_FAILED_STARTS and not self._links:
                    self._give_up(f"the scoring processes cannot start: {error}")
                await asyncio.sleep(min(2.0 ** (failures - MAX_FAILED_STARTS), MAX_START_WAIT_S))
        raise AssertionError

    def _give_up(self, reason: str) -> None:
        """Fails what waits."""
        while self._waiting:
            _settle(self._waiting.popleft(), _unscored(Outcome.FAILED, reason))

    def _wait_s(self) -> int:
        """Seconds until the queue will be empty, by the time that samples have taken so far."""
        sample_s = self._work_s / max(self._scored, 1)
        return min(max(math.ceil(len(self._waiting) * sample_s / self._processes), 1), MAX_WAIT_S)


def _settle(job: Job, result: Result) -> None:
    if job.future.done():  # its request is gone
        return
    if isinstance(result, Score):
        job.future.set_result(result)
    else:
        job.future.set_exception(result)


def _unscored(outcome: Outcome, reason: str) -> Score:
    return Score(value=None, outcome=outcome, evidence={"reason": reason})


def _has_failed(future: asyncio.Future[Score]) -> bool:
    return future.done() and not future.cancelled() and future.exception() is not None
