"""The server: its socket, its beginning and its end."""

import asyncio
import errno
import gc
import ipaddress
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn

from markscheme.files import InputError
from markscheme.scoring import Scorer
from markscheme.serve.app import make_app
from markscheme.serve.config import ServeConfig
from markscheme.serve.pool import ScoringPool

BACKLOG = 2_048
"""Connections that wait to be accepted."""
KEEP_ALIVE_S = 75
"""Longer than clients keep an idle connection, so that none is closed while a request is on its way."""


class _Uvicorn(uvicorn.Server):
    """Leaves signals to `run`: uvicorn would end this process by them once it has drained."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class ScoringServer:
    """A server that has not begun."""

    def __init__(self, scorer: Scorer, config: ServeConfig, *, processes: int, batch_size: int, key: str | None):
        """`processes` score, each `batch_size` samples at once."""
        self._pool = ScoringPool(
            scorer,
            processes=processes,
            batch_size=batch_size,
            max_waiting=config.max_waiting,
            deadline_s=config.deadline_s,
        )
        app = make_app(
            self._pool,
            name=scorer.name,
            version=scorer.version,
            key=key,
            max_body_bytes=config.max_body_mb << 20,
        )
        self._uvicorn = _Uvicorn(
            uvicorn.Config(
                app,
                http="h11",  # which reads no further where a request is refused
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                backlog=BACKLOG,
                timeout_keep_alive=KEEP_ALIVE_S,
            )
        )

    async def serve(self, listener: socket.socket, on_start: Callable[[], None]) -> None:
        """Answers what comes until `stop`; `on_start` is called before the first request.

        Raises:
            InputError: if the scorer does not start.
        """
        async with self._pool:
            if not self._uvicorn.should_exit:
                on_start()
                await self._uvicorn.serve(sockets=[listener])

    def stop(self) -> None:
        """Accepts nothing more, and ends when all that was accepted is answered; told twice, at once."""
        self._uvicorn.force_exit = self._uvicorn.should_exit
        self._uvicorn.should_exit = self._pool.draining = True


def run(server: ScoringServer, listener: socket.socket, on_start: Callable[[], None]) -> None:
    """Serves until SIGTERM or Ctrl-C.

    Raises:
        InputError: if the scorer does not start.
        KeyboardInterrupt: after Ctrl-C, once all is answered.
    """
    received: list[signal.Signals] = []

    async def main() -> None:
        def stop(number: signal.Signals) -> None:
            received.append(number)
            server.stop()

        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop, number)
        await server.serve(listener, on_start)

    gc.collect()
    gc.freeze()  # what is loaded by now stays: to look through it again and again would halt all requests for 30 ms
    asyncio.run(main())
    if signal.SIGINT in received:
        raise KeyboardInterrupt


def listen(host: str, port: int) -> socket.socket:
    """A socket that accepts connections.

    Raises:
        InputError: if there is no such host, or the port cannot be had.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
    except (socket.gaierror, UnicodeError) as error:
        raise InputError(f"--host {host}: no such address ({error}); give one of this machine") from error
    listener = socket.socket(family, kind, protocol)  # asyncio sets TCP_NODELAY only where the protocol is named
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise InputError(f"--port {port}: in use on {host}; give another, or 0 for any that is free") from error
        raise InputError(f"--host {host} --port {port}: cannot listen there ({error.strerror})") from error
    return listener


def is_loopback(listener: socket.socket) -> bool:
    """Whether only this machine can reach it."""
    return ipaddress.ip_address(listener.getsockname()[0]).is_loopback


def url_of(listener: socket.socket) -> str:
    """Where it listens."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
