"""Measures the scoring server beside scoring in one process: same samples, clients on the same machine.

`python -m markscheme.benchmarks.speed.serving`. The samples are short sums, which rules judge at once: what is
measured is what the server adds. The clients take their share of the processors too.
"""

import asyncio
import json
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import cyclopts
from cyclopts import Parameter
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from markscheme.files import write_json
from markscheme.machine import origin
from markscheme.scoring import Sample
from markscheme.verifiers import MathVerifier

MODULE = "markscheme.benchmarks.speed.serving"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What is measured."""

    clients: int = 32
    """That ask at a time, each on a connection of its own."""
    samples: tuple[int, ...] = (1, 16, 64)
    """In a request; 64 is what RemoteScorer sends."""
    seconds: float = 10.0
    """For each number of samples."""
    processes: int = 2
    """That score."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """One load."""

    samples: int
    """In a request."""
    requests: int
    samples_per_s: float
    p50_ms: float
    p99_ms: float
    server_mb: float
    """Resident memory of the server and its processes, at the end."""


def sums(draw: random.Random, count: int) -> list[Sample]:
    """Samples with a right answer, or one that is too large by one."""
    found = []
    for _ in range(count):
        a, b, slip = draw.randint(2, 9_999), draw.randint(2, 9_999), draw.randint(0, 1)
        completion = rf"We add {a} and {b}. It is \boxed{{{a + b + slip}}}."
        found.append(Sample(prompt=f"{a} + {b}?", completion=completion, gold=str(a + b)))
    return found


def in_this_process(seconds: float) -> float:
    """Samples that a verifier judges in a second."""
    verifier, batches = MathVerifier(), [sums(random.Random(seed), 64) for seed in range(int(1_000 * seconds))]
    verifier.score(sums(random.Random(-1), 64))
    began, done = time.perf_counter(), 0
    for batch in batches:
        verifier.score(batch)
        done += len(batch)
        if time.perf_counter() - began > seconds:
            break
    return done / (time.perf_counter() - began)


async def load(port: int, settings: Settings, samples: int) -> list[float]:
    """The seconds that each request took."""
    start = asyncio.Barrier(settings.clients)

    async def ask(seed: int) -> list[float]:
        draw, taken = random.Random(seed), []
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await start.wait()
        ends_at = time.perf_counter() + settings.seconds
        while time.perf_counter() < ends_at:
            body = json.dumps({"samples": [sample.to_dict() for sample in sums(draw, samples)]}).encode()
            began = time.perf_counter()
            writer.write(b"POST /score HTTP/1.1\r\nhost: here\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))
            head = await reader.readuntil(b"\r\n\r\n")
            answer = await reader.readexactly(int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0]))
            taken.append(time.perf_counter() - began)
            if b" 200 " not in head or answer.count(b'"outcome"') != samples:
                raise AssertionError(answer[:300])
        writer.close()
        return taken

    return [one for taken in await asyncio.gather(*map(ask, range(settings.clients))) for one in taken]


def measure(settings: Settings) -> list[Figures]:
    """The server under each load."""
    command = [sys.executable, "-m", "markscheme", "serve", "--port", "0", "--processes", str(settings.processes)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout
            port = int(server.stdout.readline().split()[0].rpartition(":")[2])
            asyncio.run(load(port, Settings(clients=settings.clients, seconds=min(settings.seconds, 1.0)), 16))
            found = []
            for samples in settings.samples:
                taken = asyncio.run(load(port, settings, samples))
                found.append(_figures(taken, samples, settings, _memory_mb(server.pid)))
        finally:
            server.terminate()
    return found


def _figures(taken: Sequence[float], samples: int, settings: Settings, server_mb: float) -> Figures:
    ordered = sorted(taken)
    return Figures(
        samples=samples,
        requests=len(taken),
        samples_per_s=samples * len(taken) / settings.seconds,
        p50_ms=1_000 * ordered[len(ordered) // 2],
        p99_ms=1_000 * ordered[len(ordered) * 99 // 100],
        server_mb=server_mb,
    )


def _memory_mb(pid: int) -> float:
    """Of a process and its children."""
    total = 0.0
    for path in Path("/proc").glob("[0-9]*/status"):
        with suppress(OSError):
            fields = dict(line.split(":", 1) for line in path.read_text().splitlines() if ":" in line)
            if str(pid) in (fields["Pid"].strip(), fields["PPid"].strip()):
                total += float(fields.get("VmRSS", "0 kB").split()[0]) / 1_024
    return total


def main(
    *, settings: Annotated[Settings | None, Parameter(name="*")] = None, out: Annotated[Path | None, Parameter()] = None
) -> None:
    """Measure the scoring server.

    Parameters
    ----------
    out
        Folder for serving.json.
    """
    settings, console = settings or Settings(), Console(highlight=False)
    alone, loads = in_this_process(settings.seconds), measure(settings)
    table = Table(title=f"{settings.clients} clients; in one process {alone:,.0f} samples/s", box=SIMPLE_HEAD)
    for name in ("samples a request", "requests", "samples/s", "p50 ms", "p99 ms", "server MB"):
        table.add_column(name, justify="right")
    for one in loads:
        cells = (f"{one.samples_per_s:,.0f}", f"{one.p50_ms:.1f}", f"{one.p99_ms:.1f}", f"{one.server_mb:.0f}")
        table.add_row(str(one.samples), str(one.requests), *cells)
    console.print(table)
    if out:
        record: dict[str, Any] = {
            **origin(MODULE, "fastapi", "uvicorn"),
            "settings": asdict(settings),
            "in_one_process_samples_per_s": alone,
            "loads": [asdict(one) for one in loads],
        }
        write_json(out / "serving.json", record)


if __name__ == "__main__":
    cyclopts.run(main)
