"""What every request passes: the key, the count, and an end to bodies that nobody reads."""

import hmac
from collections.abc import Collection
from time import perf_counter

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from markscheme.serve.metrics import Metrics

OPEN_PATHS = ("/health", "/docs", "/openapi.json")
"""Which need no key: a load balancer and a browser send none, and nothing of these is secret."""
OTHER_PATH = "other"
"""What a path that does not exist is counted as."""


class Guard:
    """The app behind a check of its key; every request is counted.

    A request that is answered before its body is read ends its connection, or the server would read on for nothing.
    """

    def __init__(self, app: ASGIApp, *, key: str | None, metrics: Metrics, paths: Collection[str]) -> None:
        self._app, self._metrics, self._paths = app, metrics, paths
        self._expected = None if key is None else f"bearer {key}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        unread = headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
        status, began = 500, perf_counter()

        async def receive_noting() -> Message:
            nonlocal unread
            message = await receive()
            unread = unread and message.get("more_body", False)
            return message

        async def send_noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                if unread:
                    message = {**message, "headers": [*message["headers"], (b"connection", b"close")]}
            await send(message)

        app = self._app if self._is_allowed(scope["path"], headers) else _unauthorized
        try:
            await app(scope, receive_noting, send_noting)
        finally:
            path = scope["path"] if scope["path"] in self._paths else OTHER_PATH
            self._metrics.add_request(path, status, perf_counter() - began)

    def _is_allowed(self, path: str, headers: Headers) -> bool:
        if self._expected is None or path in OPEN_PATHS:
            return True
        scheme, _, key = headers.get("authorization", "").partition(" ")
        given = f"{scheme.lower()} {key.strip()}".encode()
        return hmac.compare_digest(given, self._expected)  # takes as long for every wrong key


async def _unauthorized(scope: Scope, receive: Receive, send: Send) -> None:
    body = {"error": "key", "message": "send the key of this server: Authorization: Bearer KEY"}
    await JSONResponse(body, 401, {"www-authenticate": "Bearer"})(scope, receive, send)
