"""A process that scores: the end of it that starts it, and what each such process does first and last.

It is `python -m MODULE DESCRIPTOR`, and its MODULE calls `run_scorer_process`. Nothing that it sends is unpickled: it
has handled text that a model wrote.
"""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NoReturn

import markscheme.workers as workers
from markscheme.files import InputError
from markscheme.scoring import GoldError, Outcome, Sample, Score, Scorer

END_GRACE_S = 1.0
"""For a process to end the processes of its own, then it is killed."""


def core_count() -> int:
    """The processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # what containers set
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class ScorerProcess:
    """The end that starts it."""

    def __init__(self, module: str) -> None:
        self.socket, other_end = socket.socketpair()
        with other_end:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", module, str(other_end.fileno())],
                stdin=subprocess.PIPE,  # never written to: it closes when this process is gone, however that came
                stdout=2,  # what a scorer prints must not mix with what this process prints
                pass_fds=[other_end.fileno()],
                env={**os.environ, "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)},
                start_new_session=True,  # Ctrl-C is for this process to handle
            )

    def release(self) -> None:
        """Tells it to end."""
        assert self._process.stdin
        self._process.stdin.close()

    def kill(self) -> None:
        """Ends it at once, whatever it does."""
        self._process.kill()

    def end(self) -> str:
        """Ends it, within `END_GRACE_S`, and says how it ended."""
        self.release()
        try:
            code = self._process.wait(END_GRACE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        if code == workers.OUT_OF_MEMORY_EXIT:
            return "ran out of memory"
        return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"


# The process itself.


def run_scorer_process(work: Callable[[int], None]) -> None:
    """Gives the descriptor of its socket to `work`, which works until that is closed, and sees to the end."""
    signal.signal(signal.SIGTERM, _leave)
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    workers.MAX_PROCESSES = 1  # every core has such a process: a pool that the scorer keeps gets one
    try:
        work(int(sys.argv[1]))
    except (EOFError, ConnectionError):  # the parent is gone
        return
    except MemoryError:
        os._exit(workers.OUT_OF_MEMORY_EXIT)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it is leaving


def _end_with_the_parent() -> None:
    os.read(0, 1)
    os.kill(os.getpid(), signal.SIGTERM)


def _leave(*_: object) -> NoReturn:
    """Raises where the process is, so that a scorer can end processes of its own."""
    sys.exit()


@dataclass(frozen=True, slots=True)
class RowByRow:
    """A scorer whose error costs no sample but the one it belongs to."""

    scorer: Scorer
    name = version = "row by row"

    def score(self, samples: Sequence[Sample]) -> list[Score]:
        try:
            return self.scorer.score(samples)
        except (InputError, GoldError, MemoryError):  # after the last one, a fresh process is better
            raise
        except Exception as error:  # the one boundary: a bug of the scorer is an outcome
            if len(samples) == 1:
                return Broken(f"{type(error).__name__}: {error}").score(samples)
            return [score for sample in samples for score in self.score([sample])]


@dataclass(frozen=True, slots=True)
class Broken:
    """What stands in for a scorer where it broke."""

    message: str
    name = version = "broken"

    def score(self, samples: Sequence[Sample]) -> list[Score]:
        return [Score(value=None, outcome=Outcome.FAILED, evidence={"message": self.message}) for _ in samples]
