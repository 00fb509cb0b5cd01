"""A pool of worker processes that can be killed in the middle of their work.

This stands on `subprocess` instead of `multiprocessing` (or pebble, which stands on that) for two reasons:

- multiprocessing imports the user's `__main__` again in each worker, which runs a script without a main guard a
  second time and fails in a notebook or behind `python - <<EOF`;
- it unpickles what its workers send, and a worker has just handled text that a model wrote.

A worker is `python -m markscheme.workers MODULE:FUNCTION MEMORY_MB DEADLINE_S`. Parent and worker exchange JSON, one
line a message. POSIX only: limits are set with `resource`, pipes are waited on with `selectors`.
"""

import importlib
import json
import math
import os
import resource
import select
import selectors
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, BinaryIO, NoReturn

JSON = Any  # whatever json.dumps takes

MAX_MESSAGE_BYTES = 4_000_000
"""A longer argument or result is refused: a worker must not fill the parent's memory."""
START_DEADLINE_S = 120.0
"""For starting Python and importing the function's module on a busy machine."""
CPU_GRACE_S = 2
"""A worker whose parent is gone ends itself after deadline_s plus this much processor time on one item."""
PARENT_CHECK_S = 5.0
"""An idle worker looks this often whether its parent still lives; usually the end of its input tells it first."""
OUT_OF_MEMORY_EXIT = 112
"""Exit code of a worker that ran into its memory limit."""
MAX_PROCESSES = 8
"""More workers than this bring nothing beside a training run."""


class WorkerError(RuntimeError):
    """Workers cannot start at all: the function cannot be imported."""


class WorkerStatus(StrEnum):
    """How the work on one argument ended."""

    DONE = "done"
    TIMED_OUT = "timed_out"
    """The deadline passed; the worker was killed."""
    DIED = "died"
    """The worker ended: out of memory, a crash in C code, an exit, or it did not start in time."""
    RAISED = "raised"
    """The function raised, or its result is no JSON or too long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerResult:
    """What came of one argument."""

    status: WorkerStatus
    value: JSON = None
    """The function's result; None unless DONE."""
    message: str = ""
    """Why there is no value."""


class WorkerPool:
    """Runs one function on JSON arguments in processes, each argument under a deadline and a memory limit.

    One worker more than work at once is kept ready, so that nobody waits for the successor of one that was killed.
    Workers start at the first `run` and end with `close`, with the pool, with the parent. Several threads may call
    `run`. After a fork the child's pool starts workers of its own. A pickled pool carries its settings only.

    >>> with WorkerPool(function="math:isqrt", processes=1, deadline_s=5.0) as pool:
    ...     [result.value for result in pool.run([16, 17])]
    [4, 4]
    """

    def __init__(
        self, *, function: str, processes: int | None = None, deadline_s: float = 5.0, memory_limit_mb: int = 2048
    ) -> None:
        """
        Args:
            function: "package.module:name" of a function of one JSON value that returns a JSON value.
            processes: how many workers work at once, at most; by default one a core, up to 8.
            deadline_s: seconds for one argument, counted from when a ready worker is given it.
            memory_limit_mb: address space of one worker, in MiB.
        """
        if function.count(":") != 1:
            raise ValueError(f"function must read 'module:name', got {function!r}")
        if processes is not None and processes < 1:
            raise ValueError(f"processes must be at least 1, got {processes}")
        if deadline_s <= 0:
            raise ValueError(f"deadline_s must be above 0, got {deadline_s}")
        if memory_limit_mb < 1:
            raise ValueError(f"memory_limit_mb must be at least 1, got {memory_limit_mb}")
        self.function = function
        self.processes = processes
        self.deadline_s = deadline_s
        self.memory_limit_mb = memory_limit_mb
        self._forget_workers()
        _POOLS.add(self)

    def __getstate__(self) -> dict[str, JSON]:
        names = ("function", "processes", "deadline_s", "memory_limit_mb")
        return {name: getattr(self, name) for name in names}

    def __setstate__(self, settings: dict[str, JSON]) -> None:
        self.__init__(**settings)  # type: ignore[misc]

    def __enter__(self) -> "WorkerPool":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _forget_workers(self) -> None:
        """Starts afresh; in a forked child the workers belong to the parent and are left alone."""
        self._count = self.processes or min(_core_count(), MAX_PROCESSES)
        self._slots = _Slots(self._count + 1)
        # Also runs when the interpreter ends.
        self._finalizer = weakref.finalize(self, _stop_workers, self._slots, os.getpid())

    def run(self, arguments: Sequence[JSON]) -> list[WorkerResult]:
        """One result an argument, in order; each argument has the deadline to itself.

        Raises:
            WorkerError: if a worker reports that the function cannot be imported.
        """
        threads = min(self._count, len(arguments))
        if threads <= 1:
            return [self._run_one(argument) for argument in arguments]
        with ThreadPoolExecutor(threads, thread_name_prefix="markscheme-worker") as executor:
            try:
                return list(executor.map(self._run_one, arguments))
            except BaseException:
                executor.shutdown(wait=False, cancel_futures=True)
                raise

    def close(self) -> None:
        """Ends the idle workers; the next `run` starts new ones."""
        self._finalizer()
        self._forget_workers()

    def _run_one(self, argument: JSON) -> WorkerResult:
        message = json.dumps(argument).encode() + b"\n"
        if len(message) > MAX_MESSAGE_BYTES:
            return WorkerResult(status=WorkerStatus.RAISED, message=f"an argument of {len(message)} bytes is too long")
        slots = self._slots
        worker = slots.take()
        try:
            if worker is None or worker.has_ended():
                worker = self._start()
            if slots.take_empty():
                slots.put(self._start())  # the spare
            result = worker.work(message, self.deadline_s)
            if result.status in (WorkerStatus.TIMED_OUT, WorkerStatus.DIED):
                worker = self._start()  # it gets ready while the spare goes on
        except BaseException:
            if worker is not None:
                worker.kill()
            worker = None
            raise
        finally:
            slots.put(worker)
        return result

    def _start(self) -> "_Worker":
        return _Worker(self.function, self.memory_limit_mb, self.deadline_s)


class _Slots:
    """The workers that are free: the ready ones first, then those that are starting, then places for more."""

    def __init__(self, count: int) -> None:
        self._free: list[_Worker | None] = [None] * count
        self._changed = threading.Condition()

    def take(self) -> "_Worker | None":
        with self._changed:
            while not self._free:
                self._changed.wait()
            best = min(range(len(self._free)), key=lambda k: _readiness(self._free[k]))
            return self._free.pop(best)

    def take_empty(self) -> bool:
        """Takes a place for another worker, if there is one and no worker is free."""
        with self._changed:
            if not self._free or any(self._free):
                return False
            self._free.pop()
            return True

    def take_all(self) -> "list[_Worker]":
        """All free workers, without waiting; empty places stay behind."""
        with self._changed:
            workers = [worker for worker in self._free if worker is not None]
            self._free = [None] * (len(self._free) - len(workers))
            return workers

    def put(self, worker: "_Worker | None") -> None:
        with self._changed:
            self._free.append(worker)
            self._changed.notify()


def _readiness(worker: "_Worker | None") -> float:
    return math.inf if worker is None else -worker.started_at if worker.is_ready else worker.started_at


def _core_count() -> int:
    if hasattr(os, "sched_getaffinity"):  # what this process may use, which containers set
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


_POOLS: "weakref.WeakSet[WorkerPool]" = weakref.WeakSet()


def _forget_after_fork() -> None:
    for pool in list(_POOLS):
        pool._finalizer.detach()
        pool._forget_workers()


os.register_at_fork(after_in_child=_forget_after_fork)


def _stop_workers(slots: _Slots, owner_pid: int) -> None:
    if os.getpid() == owner_pid:
        for worker in slots.take_all():
            worker.kill()


class _Worker:
    """The parent's end of one worker process. Used by one thread at a time."""

    def __init__(self, function: str, memory_limit_mb: int, deadline_s: float) -> None:
        self.started_at = time.monotonic()
        self.is_ready = False
        self._received = b""
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", __name__, function, str(memory_limit_mb), str(deadline_s)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)},
            start_new_session=True,  # Ctrl-C is the parent's to handle
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._input, self._output = self._process.stdin, self._process.stdout
        os.set_blocking(self._input.fileno(), False)

    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def work(self, message: bytes, deadline_s: float) -> WorkerResult:
        """Hands over one argument and waits for its result. After TIMED_OUT and DIED the worker is gone."""
        try:
            if not self.is_ready:
                self._wait_until_ready()
            ends_at = time.monotonic() + deadline_s
            self._send(message, ends_at)
            answer = json.loads(self._receive(ends_at))
        except TimeoutError:
            started = self.is_ready
            self.kill()
            if not started:
                return WorkerResult(status=WorkerStatus.DIED, message=f"did not start in {START_DEADLINE_S} s")
            return WorkerResult(status=WorkerStatus.TIMED_OUT, message=f"no result after {deadline_s} s")
        except (EOFError, BrokenPipeError, ConnectionResetError) as error:
            return WorkerResult(status=WorkerStatus.DIED, message=self._cause_of_death(error))
        if "raised" in answer:
            return WorkerResult(status=WorkerStatus.RAISED, message=answer["raised"])
        return WorkerResult(status=WorkerStatus.DONE, value=answer["value"])

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        self._input.close()
        self._output.close()

    def _wait_until_ready(self) -> None:
        answer = json.loads(self._receive(time.monotonic() + START_DEADLINE_S))
        if "raised" in answer:
            raise WorkerError(f"a worker cannot import its function: {answer['raised']}")
        self.is_ready = True

    def _cause_of_death(self, error: Exception) -> str:
        try:
            code = self._process.wait(timeout=1.0)
        except subprocess.TimeoutExpired:  # it closed its pipe, or sent too much, and lives on
            code = None
        self.kill()
        if code == OUT_OF_MEMORY_EXIT:
            return "out of memory"
        return str(error) or (f"ended with code {code}" if code is not None else "closed its pipe")

    def _send(self, message: bytes, ends_at: float) -> None:
        rest = memoryview(message)
        while rest:
            _wait_for(self._input, selectors.EVENT_WRITE, ends_at)
            rest = rest[os.write(self._input.fileno(), rest) :]

    def _receive(self, ends_at: float) -> bytes:
        while b"\n" not in self._received:
            _wait_for(self._output, selectors.EVENT_READ, ends_at)
            chunk = os.read(self._output.fileno(), 1 << 16)
            if not chunk:
                raise EOFError
            self._received += chunk
            if len(self._received) > 2 * MAX_MESSAGE_BYTES:
                raise EOFError(f"sent more than {2 * MAX_MESSAGE_BYTES} bytes")
        line, _, self._received = self._received.partition(b"\n")
        return line


def _wait_for(pipe: Any, event: int, ends_at: float) -> None:
    """Waits until a pipe is ready; TimeoutError when the time (of time.monotonic) has come."""
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, event)
        if not selector.select(max(0.0, ends_at - time.monotonic())):
            raise TimeoutError


# The worker's end.


def _serve(function_path: str, memory_limit_mb: int, deadline_s: float) -> None:
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    _mute_standard_streams()
    parent_pid = os.getppid()
    _lower_limit(resource.RLIMIT_AS, memory_limit_mb << 20)
    _lower_limit(resource.RLIMIT_CORE, 0)
    try:
        module_name, _, function_name = function_path.partition(":")
        function = getattr(importlib.import_module(module_name), function_name)
    except (ImportError, AttributeError) as error:
        _answer(answers, {"raised": f"{type(error).__name__}: {error}"})
        return
    _answer(answers, {"value": "ready"})
    while line := _next_request(requests, parent_pid):
        cpu_limit_s = int(time.process_time() + deadline_s) + CPU_GRACE_S
        _lower_limit(resource.RLIMIT_CPU, cpu_limit_s)
        _answer(answers, _work_safely(function, json.loads(line)))


def _mute_standard_streams() -> None:
    """What the function prints must not mix with the messages."""
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)


def _lower_limit(which: int, value: int) -> None:
    """Sets the soft limit alone, so that the limit of processor time can be moved on with each item."""
    hard = resource.getrlimit(which)[1]
    resource.setrlimit(which, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))


def _next_request(requests: BinaryIO, parent_pid: int) -> bytes:
    """The next line; empty when the parent closed the pipe or is gone.

    A fork of the parent keeps the pipe open after the parent's death, hence the look at the parent's pid.
    """
    while not select.select([requests], [], [], PARENT_CHECK_S)[0]:
        if os.getppid() != parent_pid:
            return b""
    return requests.readline()


def _work_safely(function: Callable[[JSON], JSON], argument: JSON) -> dict[str, JSON]:
    try:
        answer = {"value": function(argument)}
        size = len(json.dumps(answer))
    except MemoryError:
        _exit_out_of_memory()
    except Exception as error:  # the one boundary: any error of the function belongs to its item alone
        return {"raised": f"{type(error).__name__}: {error}"[:1000]}
    if size > MAX_MESSAGE_BYTES:
        return {"raised": f"a result of {size} bytes is too long"}
    return answer


def _exit_out_of_memory() -> NoReturn:
    """What a function leaves behind when memory ran out is not to be trusted: a new worker takes over."""
    os._exit(OUT_OF_MEMORY_EXIT)


def _answer(answers: BinaryIO, answer: dict[str, JSON]) -> None:
    answers.write(json.dumps(answer).encode() + b"\n")
    answers.flush()


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # the parent is gone: end quietly
    _serve(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
