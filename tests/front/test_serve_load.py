"""32 clients at a time: every answer is the right one, and goes to who asked."""

import json
import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from itertools import islice
from typing import Any

import pytest

from markscheme.scoring import Sample
from markscheme.verifiers import MathVerifier

CLIENTS = 32


def sums(draw: random.Random) -> Iterator[Sample]:
    while True:
        a, b, slip = draw.randint(2, 9_999), draw.randint(2, 9_999), draw.choice([0, 0, 1])
        completion = rf"We add: \boxed{{{a + b + slip}}}." if draw.random() < 0.9 else "Who knows?"
        yield Sample(prompt=f"{a} + {b}?", completion=completion, gold=str(a + b))


def client(address: tuple[str, int], seed: int, seconds: float, start: threading.Barrier) -> int:
    """Asks for so long, each time for other samples, and returns how often."""
    draw, samples, verifier = random.Random(seed), sums(random.Random(seed)), MathVerifier()
    connection = HTTPConnection(*address, timeout=60)
    connection.connect()
    start.wait()
    ends_at, asked = time.monotonic() + seconds, 0
    while time.monotonic() < ends_at:
        batch = list(islice(samples, draw.randint(1, 16)))
        connection.request("POST", "/score", json.dumps({"samples": [sample.to_dict() for sample in batch]}))
        response = connection.getresponse()
        body = json.loads(response.read())
        assert response.status == 200, body
        assert body["scores"] == [score.to_dict() for score in verifier.score(batch)]
        asked += 1
    connection.close()
    return asked


@pytest.mark.parametrize("seconds", [3, pytest.param(60, marks=pytest.mark.processes)])
def test_many_clients_get_what_they_asked_for(seconds: int, start_server: Any) -> None:
    server = start_server(module="markscheme")
    host, port = server.url.removeprefix("http://").split(":")
    start = threading.Barrier(CLIENTS)
    with ThreadPoolExecutor(CLIENTS) as pool:
        clients = [pool.submit(client, (host, int(port)), seed, seconds, start) for seed in range(CLIENTS)]
        asked = [one.result() for one in clients]
    assert min(asked) >= 1
    assert server.metric('markscheme_requests_total{path="/score",status="200"}') == sum(asked)
    assert server.metric("markscheme_samples_waiting") == server.metric("markscheme_worker_restarts_total") == 0
    server.process.terminate()
    assert server.ends_with(0) == ("", "")
