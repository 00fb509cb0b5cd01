"""Rewards are worked out in a thread of their own while completions are still being written, and by a deadline."""

import atexit
import itertools
import threading
import time
from collections.abc import Iterable, Sequence
from queue import Empty, SimpleQueue
from typing import Any

from markscheme.files import InputError
from markscheme.scoring import GoldError, Outcome, Sample, Score, Scorer

CHUNK = 16
"""Samples in a call of the scorer. Fixed, because a reward model's scores depend, by rounding, on what else is in the
call, and that must not be a matter of timing."""
EXIT_GRACE_S = 2.0
"""A program that ends waits so long for calls that are still running: within torch's work, its end is a crash."""
THREAD_NAME = "markscheme-rewards"


def score_as_written(scorer: Scorer, samples: Iterable[Sample], deadline_s: float) -> list[Score]:
    """One score for each of `samples`, in order. The first are scored while the next are still being written.

    The scorer is called in one thread, which is not the main one, with `CHUNK` samples at a time and the rest at the
    end. Where it raises or returns something else than its scores, its samples are scored one at a time, and those
    for which it does so again are FAILED. So are those that have no score `deadline_s` seconds after the last sample
    was written: the call that hangs is left behind, and what it returns one day is thrown away. (Not so a call that
    never lets go of the interpreter's lock, such as one endless regular expression.)

    Raises:
        GoldError: if a gold cannot be read.
        InputError: if the scorer cannot work with what the user gave.
    """
    thread = _ScoringThread(scorer)
    thread.start()
    written = iter(samples)
    count = 0
    try:
        while chunk := list(itertools.islice(written, CHUNK)):
            thread.chunks.put(chunk)
            count += len(chunk)
        return thread.scores(count, deadline_s)
    finally:
        thread.leave()


class _ScoringThread(threading.Thread):
    """Scores chunk after chunk until it is left."""

    def __init__(self, scorer: Scorer) -> None:
        super().__init__(name=THREAD_NAME, daemon=True)  # a call that hangs does not keep the program from ending
        self.scorer = scorer
        self.chunks: SimpleQueue[list[Sample]] = SimpleQueue()
        self.found: SimpleQueue[list[Score] | BaseException] = SimpleQueue()
        self.is_left = False

    def run(self) -> None:
        try:
            while (chunk := self.chunks.get()) and not self.is_left:
                self._score(chunk)
        except BaseException as error:  # raised again where the scores are waited for
            self.found.put(error)

    def _score(self, chunk: list[Sample]) -> None:
        scores = _call(self.scorer, chunk)
        if isinstance(scores, list):
            self.found.put(scores)
            return
        for sample in chunk:
            if self.is_left:
                return
            alone = _call(self.scorer, [sample])
            self.found.put(alone if isinstance(alone, list) else [_failed(alone)])

    def scores(self, count: int, deadline_s: float) -> list[Score]:
        """The scores of all `count` samples; those that are not there within `deadline_s` seconds are FAILED."""
        ends_at = time.monotonic() + deadline_s
        scores: list[Score] = []
        while len(scores) < count:
            try:
                found = self.found.get(timeout=max(0.0, ends_at - time.monotonic()))
            except Empty:
                return scores + [_failed(f"no score within {deadline_s:g} s")] * (count - len(scores))
            if isinstance(found, BaseException):
                raise found
            scores += found
        return scores

    def leave(self) -> None:
        """Nobody waits for scores any more: the thread ends after the call that is running."""
        self.is_left = True
        self.chunks.put([])


@atexit.register
def _let_calls_end() -> None:
    """Waits for the calls that were left behind, up to `EXIT_GRACE_S` seconds in all."""
    ends_at = time.monotonic() + EXIT_GRACE_S
    for thread in threading.enumerate():
        if isinstance(thread, _ScoringThread):
            thread.join(max(0.0, ends_at - time.monotonic()))


def _call(scorer: Scorer, samples: Sequence[Sample]) -> list[Score] | str:
    """One score a sample, or what the scorer did instead."""
    try:
        scores: Any = scorer.score(list(samples))
    except (GoldError, InputError):
        raise
    except Exception as error:  # a boundary: whatever a scorer raises belongs to its samples alone
        return f"{type(error).__name__}: {error}"
    if not isinstance(scores, Sequence):
        return f"returned {scores!r}, not a list of scores"
    if len(scores) != len(samples):
        return f"{len(scores)} scores for {len(samples)} sample"
    return [score if isinstance(score, Score) else _failed(f"returned {score!r}, not a Score") for score in scores]


def _failed(error: str) -> Score:
    return Score(value=None, outcome=Outcome.FAILED, evidence={"error": error[:200]})
