import asyncio
import json
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from markscheme.workers import WorkerError, WorkerPool, WorkerStatus

WORK = """
import os, sys, time

STARTED = time.monotonic()

def work(task):
    kind, value = task
    if kind == "echo":
        return value
    if kind == "loop":
        while True:
            pass
    if kind == "sleep":
        time.sleep(value)
        return value
    if kind == "memory":
        return len([bytes(1 << 20) for _ in range(1 << 20)])
    if kind == "exit":
        os._exit(value)
    if kind == "segfault":
        os.kill(os.getpid(), 11)
    if kind == "raise":
        raise ValueError(value)
    if kind == "print":
        print(value)
        print(value, file=sys.stderr)
        os.system("echo from a grandchild")
        return value
    if kind == "huge":
        return "x" * value
    if kind == "no json":
        return object()
    if kind == "modules":
        return sorted(sys.modules)
    if kind == "pid":
        return os.getpid()
    if kind == "started":
        return STARTED
    if kind == "stdin":
        return sys.stdin.read()
"""


@pytest.fixture
def pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WorkerPool]:
    (tmp_path / "work_for_tests.py").write_text(WORK)
    monkeypatch.syspath_prepend(tmp_path)
    with WorkerPool(function="work_for_tests:work", processes=2, deadline_s=3.0, memory_limit_mb=512) as pool:
        yield pool


@pytest.mark.parametrize(
    ("task", "status", "reason"),
    [
        (["loop", 0], WorkerStatus.TIMED_OUT, "an endless loop ends at the deadline"),
        (["sleep", 600], WorkerStatus.TIMED_OUT, "so does waiting, which takes no processor time"),
        (["memory", 0], WorkerStatus.DIED, "the memory limit is the worker's, not the machine's"),
        (["exit", 0], WorkerStatus.DIED, "an exit is no result, whatever its code"),
        (["segfault", 0], WorkerStatus.DIED, "a crash in C code"),
        (["raise", "no such thing"], WorkerStatus.RAISED, "an exception is reported"),
        (["huge", 50_000_000], WorkerStatus.RAISED, "a result over the limit never reaches the parent"),
        (["no json", 0], WorkerStatus.RAISED, "a result must be JSON"),
        (["print", "not a message\n{}"], WorkerStatus.DONE, "prints do not mix with the messages"),
        (["stdin", 0], WorkerStatus.DONE, "reading standard input finds nothing"),
        (["echo", "x" * 1_000_000], WorkerStatus.DONE, "a long message is larger than a pipe"),
        (["echo", "\ud800\x00\u2028 é"], WorkerStatus.DONE, "any text survives the pipe"),
    ],
)
def test_a_bad_item_is_named_and_leaves_its_neighbours_alone(
    pool: WorkerPool, task: list[object], status: WorkerStatus, reason: str
) -> None:
    results = pool.run([["echo", 1], task, ["echo", 2], ["echo", 3]])
    assert results[1].status is status, reason
    assert [results[index].value for index in (0, 2, 3)] == [1, 2, 3]
    if status is not WorkerStatus.DONE:
        assert results[1].value is None
        assert results[1].message
    elif task[0] in ("echo", "print"):
        assert results[1].value == task[1]


def test_messages_say_what_happened(pool: WorkerPool) -> None:
    memory, exit_, raised, late = pool.run([["memory", 0], ["exit", 3], ["raise", "so"], ["loop", 0]])
    assert memory.message == "out of memory"
    assert exit_.message == "ended with code 3"
    assert raised.message == "ValueError: so"
    assert late.message == "no result after 3.0 s"


def test_the_deadline_does_not_count_queueing(pool: WorkerPool) -> None:
    # Six naps of 1.2 s on two workers: the last pair ends after 3.6 s, the deadline is 3 s.
    assert {result.status for result in pool.run([["sleep", 1.2]] * 6)} == {WorkerStatus.DONE}


def test_workers_are_kept_and_replaced(pool: WorkerPool) -> None:
    one_worker = WorkerPool(function=pool.function, processes=1, deadline_s=3.0)
    first, second = (one_worker.run([["pid", 0]])[0].value for _ in range(2))
    assert first == second
    assert one_worker.run([["loop", 0]])[0].status is WorkerStatus.TIMED_OUT
    assert one_worker.run([["pid", 0]])[0].value != first
    one_worker.close()


def test_nobody_waits_for_the_successor_of_a_killed_worker(pool: WorkerPool) -> None:
    one_worker = WorkerPool(function=pool.function, processes=1, deadline_s=3.0)
    one_worker.run([["echo", 1]])
    for _ in range(2):
        before = time.monotonic()
        assert one_worker.run([["sleep", 600]])[0].status is WorkerStatus.TIMED_OUT
        assert one_worker.run([["started", 0]])[0].value < before + one_worker.deadline_s
    one_worker.close()


def test_a_worker_that_was_killed_while_idle_is_replaced(pool: WorkerPool) -> None:
    one_worker = WorkerPool(function=pool.function, processes=1)
    pid = one_worker.run([["pid", 0]])[0].value
    os.kill(pid, signal.SIGKILL)
    wait_until_gone(pid)
    assert one_worker.run([["echo", 5]])[0].value == 5
    one_worker.close()


def test_close_ends_the_workers_and_run_starts_new_ones(pool: WorkerPool) -> None:
    pid = pool.run([["pid", 0]])[0].value
    pool.close()
    wait_until_gone(pid)
    assert pool.run([["echo", 1]])[0].value == 1


def test_threads_share_a_pool(pool: WorkerPool) -> None:
    with ThreadPoolExecutor(6) as threads:
        batches = list(threads.map(lambda start: pool.run([["echo", start + k] for k in range(5)]), range(0, 60, 10)))
    assert [[result.value for result in batch] for batch in batches] == [
        [start + k for k in range(5)] for start in range(0, 60, 10)
    ]


def test_works_inside_a_running_event_loop(pool: WorkerPool) -> None:
    async def score() -> list[object]:
        return [result.value for result in pool.run([["echo", 1], ["echo", 2]])]

    assert asyncio.run(score()) == [1, 2]


def test_a_forked_child_has_workers_of_its_own(pool: WorkerPool) -> None:
    parents_worker = {result.value for result in pool.run([["pid", 0]] * 4)}
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        values = [result.value for result in pool.run([["pid", 0]] * 4)]
        os.write(write_end, json.dumps(values).encode())
        pool.close()
        os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end) as pipe:
        childs_workers = set(json.loads(pipe.read()))
    os.waitpid(child, 0)
    assert not parents_worker & childs_workers
    assert {result.value for result in pool.run([["pid", 0]] * 4)} & parents_worker


def test_a_pickled_pool_is_its_settings(pool: WorkerPool) -> None:
    pool.run([["echo", 1]])
    copy = pickle.loads(pickle.dumps(pool))
    assert (copy.function, copy.processes, copy.deadline_s, copy.memory_limit_mb) == (pool.function, 2, 3.0, 512)
    assert copy.run([["echo", 2]])[0].value == 2
    copy.close()


def test_a_worker_imports_neither_torch_nor_the_users_main(pool: WorkerPool) -> None:
    modules = pool.run([["modules", 0]])[0].value
    assert "work_for_tests" in modules
    assert not {"torch", "numpy", "pytest", "multiprocessing"} & set(modules)


def test_no_arguments_start_no_worker() -> None:
    assert WorkerPool(function="no_such_module:work").run([]) == []


@pytest.mark.parametrize("function", ["no_such_module:work", "json:no_such_function"])
def test_a_function_that_cannot_be_imported_stops_the_run(function: str) -> None:
    with pytest.raises(WorkerError, match="no_such"):
        WorkerPool(function=function).run([1, 2])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"function": "json.loads"}, "module:name"),
        ({"processes": 0}, "processes must be at least 1, got 0"),
        ({"deadline_s": 0.0}, "deadline_s must be above 0, got 0.0"),
        ({"memory_limit_mb": 0}, "memory_limit_mb must be at least 1, got 0"),
    ],
)
def test_bad_settings_are_named(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        WorkerPool(**{"function": "json:loads", **settings})  # type: ignore[arg-type]


SCRIPT = """
from markscheme.workers import WorkerPool
print("main ran")
pool = WorkerPool(function="json:loads", processes=2)
print([result.value for result in pool.run(["1", "[2]"])])
"""


def test_a_script_without_a_main_guard_runs_once(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=120)
    assert done.stdout == "main ran\n[1, [2]]\n", done.stderr


def test_a_script_from_standard_input_works() -> None:
    done = subprocess.run([sys.executable, "-"], input=SCRIPT, capture_output=True, text=True, timeout=120)
    assert done.stdout == "main ran\n[1, [2]]\n", done.stderr
    assert done.stderr == ""


def test_workers_end_when_their_parent_is_killed(pool: WorkerPool, tmp_path: Path) -> None:
    script = textwrap.dedent(
        """
        import os, sys
        sys.path.insert(0, sys.argv[1])
        from markscheme.workers import WorkerPool
        pool = WorkerPool(function="work_for_tests:work", processes=1)
        print(pool.run([["pid", 0]])[0].value, flush=True)
        os.kill(os.getpid(), 9)
        """
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == -signal.SIGKILL
    wait_until_gone(int(done.stdout))


def test_a_worker_in_an_endless_loop_ends_after_its_parent_was_killed(pool: WorkerPool, tmp_path: Path) -> None:
    script = textwrap.dedent(
        """
        import os, sys, threading, time
        sys.path.insert(0, sys.argv[1])
        from markscheme.workers import WorkerPool
        pool = WorkerPool(function="work_for_tests:work", processes=1, deadline_s=1.0)
        print(pool.run([["pid", 0]])[0].value, flush=True)
        threading.Thread(target=pool.run, args=([["loop", 0]],)).start()
        time.sleep(0.3)
        os.kill(os.getpid(), 9)
        """
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, timeout=120)
    wait_until_gone(int(done.stdout))  # by its own limit of processor time: nobody is left to kill it


def wait_until_gone(pid: int) -> None:
    """Waits until no process, or only a zombie, has this id."""
    give_up_at = time.monotonic() + 60
    while time.monotonic() < give_up_at:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except FileNotFoundError:
            return
        if state == "Z":
            return
        time.sleep(0.05)
    pytest.fail(f"process {pid} still lives")
