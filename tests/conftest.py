"""Fixtures for all rooms. Nothing here, nor in any test, reaches the network."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, settings
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from markscheme.policy.make import make_model, make_tokenizer

# No test may fail because the machine is busy; in CI the examples are the same every time.
settings.register_profile(
    "markscheme", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize="CI" in os.environ
)
settings.load_profile("markscheme")

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> Iterator[None]:
    """Tiny models gain nothing from a second thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real data sets, where they are at hand."""
    if not SHARED_DATA.is_dir():
        pytest.skip("needs the data sets in ../shared/data")
    return SHARED_DATA


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A request that a server got."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any


class LoopbackServer(ThreadingHTTPServer):
    """A server on this machine that answers as a test says: (status, body, headers), or bytes in place of all that.

    A body of bytes is sent as it is, anything else as JSON.
    """

    daemon_threads, block_on_close = True, False
    request_queue_size = 128

    def __init__(self) -> None:
        self.answer: Callable[[Asked], Any] = lambda asked: (404, {}, {})
        self.asked: list[Asked] = []
        super().__init__(("127.0.0.1", 0), LoopbackHandler)
        self.url = f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away before it has its answer is what some tests are about."""


class LoopbackHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: LoopbackServer

    def do_GET(self) -> None:
        content = self.rfile.read(int(self.headers.get("content-length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = json.loads(content) if content else None
        asked = Asked(method=self.command, path=self.path, headers=headers, body=body)
        self.server.asked.append(asked)
        answer = self.server.answer(asked)
        if isinstance(answer, bytes):
            self.wfile.write(answer)
            self.close_connection = True
            return
        status, body, headers = answer
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"content-length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    do_POST = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def loopback() -> Iterator[LoopbackServer]:
    server = LoopbackServer()
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that an HTTP client would have waited between its tries; it does not."""
    seconds: list[float] = []
    monkeypatch.setattr("markscheme.http_json.sleep", seconds.append)
    return seconds


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerBase:
    return make_tokenizer()


@pytest.fixture
def tiny_model(tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    """A model with random weights, made anew for each test."""
    return make_model(len(tokenizer), width=32, layers=2, seed=0)
