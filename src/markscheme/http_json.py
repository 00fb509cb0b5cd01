"""JSON over HTTP: a request, its retries, and a reason where nothing comes of it."""

import json
import math
import os
import random
import ssl
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from time import monotonic, sleep
from types import TracebackType
from typing import Any, Self

import httpx2

from markscheme.files import InputError

MAX_BODY_BYTES = 1 << 24
"""Of an answer: some 16 MiB, far more than a thousand scores."""
MAX_ERROR_BYTES = 1 << 16
"""What is read of an answer that is an error."""
MAX_REASON_CHARS = 300
FIRST_WAIT_S = 0.5
MAX_WAIT_S = 30.0
"""Before the next try, whatever Retry-After asks for."""
PASSING = (408, 429)
"""The client errors that may pass, beside all of the server's own (5xx)."""
HEADERS = {"accept": "application/json", "content-type": "application/json"}


class RequestFailedError(Exception):
    """A request brought no JSON. The message is one line, without the key."""

    def __init__(self, reason: str, *, status: int | None = None, body: Any = None, wait_s: float | None = None):
        super().__init__(reason)
        self.status = status
        """Of the HTTP answer; None if there was none."""
        self.body = body
        """The JSON that came with an error; None if none did."""
        self.wait_s = wait_s
        """Seconds to wait before the next try, as the server asks for."""

    @property
    def may_pass(self) -> bool:
        """Whether the same request may well succeed a little later."""
        return self.status is None or self.status in PASSING or self.status >= 500

    @property
    def is_refusal(self) -> bool:
        """Whether the server finds fault with the request itself: 4xx, and it does not pass."""
        return self.status is not None and 400 <= self.status < 500 and not self.may_pass


class JSONClient:
    """Asks servers for JSON. Several threads may share one; it is closed at the end of its `with`."""

    def __init__(self, *, timeout_s: float, tries: int, key: str | None = None) -> None:
        """
        Args:
            timeout_s: seconds that a try may take to connect, until its answer begins, and until that is whole.
            tries: of a request that fails in transport, or with 408, 429 or 5xx; whatever else fails is not repeated.
            key: sent as a bearer token, and struck out of every reason.
        """
        self.timeout_s, self.tries, self._key = timeout_s, tries, key
        self._client = httpx2.Client(
            headers=HEADERS | ({"authorization": f"Bearer {key}"} if key else {}),
            timeout=httpx2.Timeout(timeout_s),
            limits=httpx2.Limits(max_connections=None),
            verify=_certificates(),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._client.close()

    def get(self, url: str) -> Any:
        """The JSON at a URL.

        Raises:
            RequestFailedError: saying why there is none.
        """
        return self._insist("GET", url, None)

    def post(self, url: str, body: Any) -> Any:
        """The JSON that a server answers to `body`, which must be JSON values.

        Raises:
            RequestFailedError: saying why there is none.
        """
        return self._insist("POST", url, json.dumps(body, allow_nan=False).encode())

    def _insist(self, method: str, url: str, content: bytes | None) -> Any:
        for tried in range(1, self.tries):
            try:
                return self._try(method, url, content)
            except RequestFailedError as error:
                if not error.may_pass:
                    raise
                wait_s = error.wait_s
            longest_s = min(FIRST_WAIT_S * 2 ** min(tried - 1, 16), MAX_WAIT_S)
            sleep(random.uniform(longest_s / 2, longest_s) if wait_s is None else min(wait_s, MAX_WAIT_S))
        return self._try(method, url, content)

    def _try(self, method: str, url: str, content: bytes | None) -> Any:
        deadline = monotonic() + self.timeout_s
        try:
            with self._client.stream(method, url, content=content) as response:
                body = _read(response, MAX_BODY_BYTES if response.is_success else MAX_ERROR_BYTES, deadline)
        except httpx2.DecodingError as error:  # the server's compression is broken: it will be so again
            raise RequestFailedError(self._words(error), status=response.status_code) from error
        except httpx2.HTTPError as error:
            raise RequestFailedError(self._words(error)) from error
        if not response.is_success:
            raise self._refusal(response, body)
        if len(body) > MAX_BODY_BYTES:
            reason = f"the answer is larger than {MAX_BODY_BYTES} bytes"
            raise RequestFailedError(reason, status=response.status_code)
        try:
            return decode_json(body)
        except (ValueError, RecursionError) as error:  # no UTF-8, 100,000 brackets, a number of 5,000 digits
            reason = f"the answer is not JSON ({self._words(error)})"
            raise RequestFailedError(reason, status=response.status_code) from error

    def _refusal(self, response: httpx2.Response, body: bytes) -> RequestFailedError:
        text = self._without_key(body.decode("utf-8", "replace"))
        try:
            decoded = decode_json(text)
        except (ValueError, RecursionError):
            decoded = None
        reason = f"HTTP {response.status_code} {_one_line(text) or response.reason_phrase}"
        wait_s = _wait_s(response.headers.get("retry-after", ""))
        return RequestFailedError(reason, status=response.status_code, body=decoded, wait_s=wait_s)

    def _words(self, error: Exception) -> str:
        return _one_line(self._without_key(f"{type(error).__name__}: {error}".removesuffix(": ")))

    def _without_key(self, text: str) -> str:
        return text.replace(self._key, "***") if self._key else text


@cache
def _certificates() -> ssl.SSLContext:
    """Those that are trusted: to read them takes longer than a short request."""
    return httpx2.create_ssl_context()


def base_url(url: str) -> str:
    """The URL to which paths are added: without a slash at its end.

    Raises:
        ValueError: if it is not http(s)://host, or holds a password, a query or a fragment.
    """
    try:
        parsed = httpx2.URL(url)
        parsed.host.encode("idna")  # as the look-up of its address will
    except (httpx2.InvalidURL, UnicodeError) as error:
        raise ValueError(f"{url!r} is not a URL ({error})") from error
    if parsed.userinfo:
        raise ValueError(f"the URL of {parsed.host} holds a password: give the key in an environment variable")
    is_plain = parsed.scheme in ("http", "https") and parsed.host and not parsed.query and not parsed.fragment
    if not is_plain or (parsed.port or 0) > 65_535:
        raise ValueError(f"a URL such as http://localhost:8000 is needed, got {url!r}")
    return url.rstrip("/")


def read_key(variable: str | None) -> str | None:
    """The key that an environment variable holds now; None for no variable.

    Raises:
        InputError: if it is not set, or holds what no header can.
    """
    if variable is None:
        return None
    key = os.environ.get(variable, "").strip()
    if not key:
        raise InputError(f"the environment variable {variable} is not set: export it with the key")
    if not (key.isascii() and key.isprintable()):
        raise InputError(f"the environment variable {variable} holds no key: only printable ASCII can be one")
    return key


def _read(response: httpx2.Response, max_bytes: int, deadline: float) -> bytes:
    """The body, or its first bytes if it has more than `max_bytes`: more than those then."""
    pieces, size = [], 0
    for piece in response.iter_bytes():
        pieces.append(piece)
        size += len(piece)
        if size > max_bytes:
            break
        if monotonic() > deadline:  # one that drips never times out otherwise
            raise httpx2.ReadTimeout("the answer was not whole in time")
    return b"".join(pieces)


def decode_json(text: bytes | str) -> Any:
    """JSON as the standard has it: no NaN, no infinity.

    Raises:
        ValueError: if it is not JSON, or holds a number that is not finite.
        RecursionError: if it is nested too deep.
    """
    return json.loads(text, parse_constant=_finite, parse_float=_finite)


def _finite(number: str) -> float:
    value = float(number)
    if not math.isfinite(value):
        raise ValueError(f"{number[:20]} is not finite")
    return value


def _wait_s(retry_after: str) -> float | None:
    """Seconds from a Retry-After header, which has seconds or a date (RFC 9110, 10.2.3); None if it cannot be read."""
    try:
        seconds = float(retry_after)
    except ValueError:
        try:
            moment = parsedate_to_datetime(retry_after)
        except ValueError:
            return None
        seconds = (moment.replace(tzinfo=moment.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
    return max(seconds, 0.0) if math.isfinite(seconds) else None


def _one_line(text: str) -> str:
    """Short, on one line, and fit for a file: half a surrogate pair becomes '?'."""
    return " ".join(text.encode("utf-8", "replace").decode().split())[:MAX_REASON_CHARS]
