"""Fixtures for the scoring server: a scorer that does what a completion says, and servers in processes of their own."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

TOY_SCORER = r'''
import os, re, signal, sys, time
from pathlib import Path

from markscheme.files import InputError
from markscheme.scoring import GoldError, Outcome, Score


class Toy:
    """Does what the completion says."""

    name, version = "toy", "1"

    def score(self, samples):
        return [self.score_one(sample, len(samples)) for sample in samples]

    def score_one(self, sample, count):
        verb, _, rest = sample.completion.partition(" ")
        if sample.gold == "unreadable":
            raise GoldError(f"sample {sample.id}: no gold")
        if verb == "refuse":
            raise InputError("not for this scorer")
        if verb == "hang":
            time.sleep(600)
        if verb in ("nap", "pid") and rest:
            time.sleep(float(rest))
        if verb == "spin":  # in C, where no other thread of Python gets its turn
            Path(rest).touch()
            re.match(r"(a+)+b", "a" * 60)
        if verb == "wait_for":
            Path(rest + ".begun").touch()
            while not Path(rest).exists():
                time.sleep(0.005)
        if verb == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if verb == "die_once" and not Path(rest).exists():
            Path(rest).touch()
            os._exit(7)
        if verb == "memory":
            raise MemoryError
        if verb == "raise":
            raise ZeroDivisionError("a bug")
        if verb == "undecided":
            return Score(value=None, outcome=Outcome.UNDECIDED, evidence={"tier": "limit", "reason": "too deep"})
        evidence = {
            "no_json": {"is": object()},
            "nan": {"is": float("nan")},
            "flood": {"is": "x" * (1 << 25)},
            "modules": {"loaded": sorted({"torch", "fastapi", "uvicorn", "httpx2"} & {*sys.modules})},
            "pid": {"pid": os.getpid()},
            "batch": {"samples": count},
            "echo": {"prompt": sample.prompt, "gold": sample.gold},
        }.get(verb, {})
        return Score(value=len(rest) / 8, outcome=Outcome.RATED, answer=rest, evidence=evidence)


class Short(Toy):
    """Gives one score too few."""

    def score(self, samples):
        return super().score(samples)[1:]


class Unloadable(Toy):
    """Cannot score even nothing."""

    def score(self, samples):
        raise OSError("no such weights")


class Mortal(Toy):
    """Ends its process as soon as it is there."""

    def score(self, samples):
        os._exit(3)


class Once(Toy):
    """Starts once."""

    def __init__(self, mark):
        self.mark = mark

    def score(self, samples):
        if not samples:
            with open(self.mark, "x"):
                pass
        return super().score(samples)
'''

DRIVER = """
import sys
from markscheme import cli
from markscheme.commands import serve
from served_toy import Toy

serve.scorer_by_name = lambda name, lenient: Toy()  # of any name; one that is no rule's gets batches
cli.main(sys.argv[1:])
"""


@pytest.fixture
def toys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module of the scorer, here and in processes that are started from here."""
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "served_toy.py").write_text(TOY_SCORER)
    (programs / "driver.py").write_text(DRIVER)
    monkeypatch.syspath_prepend(programs)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(programs), os.environ.get("PYTHONPATH")])))
    sys.modules.pop("served_toy", None)  # each test has its own
    import served_toy

    return served_toy


@dataclass
class Running:
    """A server in a process of its own."""

    process: subprocess.Popen[str]
    url: str
    client: httpx2.Client
    """Its requests do not use another proxy or certificates."""

    def workers(self) -> list[int]:
        """The processes that score."""
        return children_of(self.process.pid)

    def metric(self, name: str) -> float:
        """The number behind a name, with its labels, in /metrics; 0 if it is not there."""
        lines = self.client.get("/metrics").text.splitlines()
        return sum(float(line.removeprefix(f"{name} ")) for line in lines if line.startswith(f"{name} "))

    def ends_with(self, code: int) -> tuple[str, str]:
        """Waits for its end, and returns what it printed since it began."""
        out, error = self.process.communicate(timeout=60)
        assert self.process.returncode == code, error
        return out, error


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """Starts `markscheme serve` with these options, on a port that is free."""
    servers: list[Running] = []

    def start(*options: str, module: str = "driver") -> Running:
        process = subprocess.Popen(
            [sys.executable, "-m", module, "serve", "--port", "0", *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert process.stdout
        line = process.stdout.readline()
        assert line, process.communicate()
        url = line.split()[0]
        assert line.endswith(f"; see {url}/docs\n")
        server = Running(process, url, httpx2.Client(base_url=url, timeout=60.0, trust_env=False))
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.client.close()
        workers = server.workers()
        server.process.kill()
        server.process.communicate()
        _wait_until(lambda workers=workers: not any(map(lives, workers)))


@pytest.fixture
def wait_until() -> Callable[[Callable[[], object]], None]:
    """Waits for a condition, for a minute at most."""
    return _wait_until


@pytest.fixture
def wait_until_gone() -> Callable[[list[int]], None]:
    """Waits until no process has one of these ids."""
    return lambda pids: _wait_until(lambda: not any(map(lives, pids)))


def _wait_until(condition: Callable[[], object]) -> None:
    give_up_at = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < give_up_at
        time.sleep(0.01)


def lives(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def children_of(pid: int) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[1]) == pid and fields[0] != "Z":
            found.append(int(path.parent.name))
    return found
