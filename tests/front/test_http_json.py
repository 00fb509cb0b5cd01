"""The client against a server on this machine that does what servers do: fails, hangs, drips, talks nonsense."""

import gzip
import socket
import threading
from contextlib import suppress
from typing import Any

import pytest

from markscheme.files import InputError
from markscheme.http_json import JSONClient, RequestFailedError, base_url, read_key

KEY = "sk-very-secret"
OK = (200, {"well": True}, {})


def client(*, timeout_s: float = 10.0, tries: int = 3, key: str | None = None) -> JSONClient:
    return JSONClient(timeout_s=timeout_s, tries=tries, key=key)


def failure(url: str, **settings: Any) -> RequestFailedError:
    with client(**settings) as asking, pytest.raises(RequestFailedError) as caught:
        asking.post(f"{url}/x", {"a": 1})
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400
    return caught.value


def in_turn(*answers: Any) -> Any:
    """Answers one after the other, and the last for ever."""
    left = list(answers)
    return lambda asked: left.pop(0) if len(left) > 1 else left[0]


def test_json_goes_there_and_comes_back(loopback: Any) -> None:
    loopback.answer = lambda asked: (200, {"got": asked.body}, {})
    with client(key=KEY) as asking:
        assert asking.post(f"{loopback.url}/a", {"text": "ü\ud800"}) == {"got": {"text": "ü\ud800"}}
        assert asking.get(f"{loopback.url}/b") == {"got": None}
    assert [(asked.method, asked.path) for asked in loopback.asked] == [("POST", "/a"), ("GET", "/b")]
    assert loopback.asked[0].headers["authorization"] == f"Bearer {KEY}"
    assert loopback.asked[0].headers["content-type"] == "application/json"


def test_without_a_key_none_is_sent(loopback: Any) -> None:
    loopback.answer = in_turn(OK)
    with client() as asking:
        asking.get(loopback.url)
    assert "authorization" not in loopback.asked[0].headers


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504, 599])
def test_what_may_pass_is_tried_again(status: int, loopback: Any, waits: list[float]) -> None:
    loopback.answer = in_turn((status, {"error": "busy"}, {}), OK)
    with client() as asking:
        assert asking.post(loopback.url, {}) == {"well": True}
    assert len(loopback.asked) == 2
    assert len(waits) == 1


@pytest.mark.parametrize("elsewhere", ["/elsewhere", "http://["])
@pytest.mark.parametrize("status", [301, 307, 400, 401, 403, 404, 413, 422])
def test_what_does_not_pass_is_not(status: int, elsewhere: str, loopback: Any, waits: list[float]) -> None:
    loopback.answer = in_turn((status, {"error": "no"}, {"location": elsewhere}), OK)
    error = failure(loopback.url, key=KEY)  # a redirect neither: the key is for this server
    assert (error.status, error.body) == (status, {"error": "no"})
    assert str(error) == f'HTTP {status} {{"error": "no"}}'
    assert error.is_refusal == (status >= 400)
    assert len(loopback.asked) == 1
    assert waits == []


def test_the_number_of_tries_is_bounded(loopback: Any, waits: list[float]) -> None:
    loopback.answer = in_turn((503, b"<h1>over\nloaded</h1>", {}))
    error = failure(loopback.url, tries=3)
    assert (str(error), error.status, error.body) == ("HTTP 503 <h1>over loaded</h1>", 503, None)
    assert error.may_pass
    assert not error.is_refusal
    assert len(loopback.asked) == 3
    assert len(waits) == 2


def test_waits_double_up_to_a_limit(loopback: Any, waits: list[float]) -> None:
    loopback.answer = in_turn((500, b"", {}))
    assert str(failure(loopback.url, tries=2_000)) == "HTTP 500 Internal Server Error"
    # 0.5, 1, 2, 4, 8, 16, 30, 30, ...: of each between a half and the whole
    longest = [min(0.5 * 2 ** min(n, 9), 30.0) for n in range(1_999)]
    assert all(limit / 2 <= wait <= limit for wait, limit in zip(waits, longest, strict=True))


@pytest.mark.parametrize(
    ("retry_after", "wait_s"),
    [
        ("7", 7.0),
        ("0", 0.0),
        ("-5", 0.0),
        ("86400", 30.0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 30.0),
    ],
)
def test_retry_after_is_honoured_up_to_a_limit(retry_after: str, wait_s: float, loopback: Any, waits: Any) -> None:
    loopback.answer = in_turn((429, {}, {"retry-after": retry_after}), OK)
    with client() as asking:
        asking.get(loopback.url)
    assert waits == [wait_s]


@pytest.mark.parametrize("retry_after", ["soon", "nan", "inf", "", "Wed, 99 Oct 2015"])
def test_a_retry_after_that_says_nothing_is_left_aside(retry_after: str, loopback: Any, waits: list[float]) -> None:
    loopback.answer = in_turn((429, {}, {"retry-after": retry_after}), OK)
    with client() as asking:
        asking.get(loopback.url)
    assert 0.25 <= waits[0] <= 0.5


def test_a_server_that_hangs_times_out(loopback: Any, waits: list[float]) -> None:
    done = threading.Event()
    loopback.answer = lambda asked: done.wait(10)
    error = failure(loopback.url, timeout_s=0.2, tries=2)
    done.set()
    assert (str(error), error.status) == ("ReadTimeout: timed out", None)
    assert len(loopback.asked) == 2


def test_a_server_that_drips_times_out(waits: list[float]) -> None:
    """A byte comes before any wait for one is over, but the whole never does."""
    done = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def drip() -> None:
            connection, _ = listener.accept()
            with connection, suppress(OSError):
                connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")
                while not done.wait(0.02):
                    connection.sendall(b" ")

        thread = threading.Thread(target=drip)
        thread.start()
        error = failure(f"http://127.0.0.1:{listener.getsockname()[1]}", timeout_s=0.3, tries=1)
        done.set()
        thread.join()
    assert str(error) == "ReadTimeout: the answer was not whole in time"


def test_nobody_is_there(waits: list[float]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    error = failure(f"http://127.0.0.1:{port}", tries=3)
    assert str(error).startswith("ConnectError")
    assert error.status is None
    assert len(waits) == 2


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.9\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\ncontent-length: ten\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\n\x00: \xff\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 200_000,
    ],
)
def test_what_is_no_http_fails_in_transport(raw: bytes, loopback: Any, waits: list[float]) -> None:
    loopback.answer = in_turn(raw)
    assert failure(loopback.url, tries=2).status is None
    assert len(loopback.asked) == 2


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b'{"a": ', b"\xff\xfe\xfa", b"[" * 100_000, b"[NaN]", b"-Infinity", b"1e999", b"9" * 5000]
)
def test_what_is_no_json_fails_at_once(body: bytes, loopback: Any, waits: list[float]) -> None:
    loopback.answer = in_turn((200, body, {}))
    assert str(failure(loopback.url)).startswith("the answer is not JSON (")
    assert len(loopback.asked) == 1


def test_broken_compression_fails_at_once(loopback: Any, waits: list[float]) -> None:
    loopback.answer = in_turn((200, b"not gzip", {"content-encoding": "gzip"}))
    assert "DecodingError" in str(failure(loopback.url))
    assert len(loopback.asked) == 1


@pytest.mark.parametrize(
    ("body", "headers"),
    [(b"[" + b" " * 20_000_000 + b"]", {}), (gzip.compress(b" " * 50_000_000), {"content-encoding": "gzip"})],
    ids=["plain", "packed"],
)
def test_a_huge_answer_is_not_read_to_its_end(body: bytes, headers: Any, loopback: Any) -> None:
    loopback.answer = in_turn((200, body, headers))
    assert str(failure(loopback.url)) == f"the answer is larger than {1 << 24} bytes"


def test_a_huge_error_is_told_in_short(loopback: Any) -> None:
    loopback.answer = in_turn((404, b"no " * 1_000_000, {}))
    assert str(failure(loopback.url)).startswith("HTTP 404 no no no")


def test_the_key_is_in_no_reason(loopback: Any) -> None:
    loopback.answer = in_turn((401, {"error": f"wrong key {KEY}"}, {}))
    with client(key=KEY) as asking, pytest.raises(RequestFailedError) as caught:
        asking.get(loopback.url)
    assert caught.value.body == {"error": "wrong key ***"}
    assert KEY not in f"{caught.value!r} {asking!r}"


@pytest.mark.parametrize(
    "url", ["", "localhost:8000", "ftp://host", "http://", "http://a..b", "http://h:99999", "http://h/v1?x=1", "h#x"]
)
def test_what_is_no_base_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="URL"):
        base_url(url)


def test_a_password_in_a_url_is_refused_and_not_shown() -> None:
    with pytest.raises(ValueError, match="environment variable") as caught:
        base_url(f"http://user:{KEY}@host/v1")
    assert KEY not in str(caught.value)


def test_a_base_url_loses_its_slash() -> None:
    assert base_url("http://[::1]:8000/v1/") == "http://[::1]:8000/v1"


def test_a_key_is_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_key(None) is None
    monkeypatch.setenv("A_KEY", f" {KEY}\n")
    assert read_key("A_KEY") == KEY
    monkeypatch.setenv("A_KEY", f"{KEY}\n{KEY}")
    with pytest.raises(InputError, match="A_KEY holds no key") as caught:
        read_key("A_KEY")
    assert KEY not in str(caught.value)
    monkeypatch.delenv("A_KEY")
    with pytest.raises(InputError, match="A_KEY is not set"):
        read_key("A_KEY")


def test_many_threads_share_a_client(loopback: Any) -> None:
    loopback.answer = lambda asked: (200, asked.body, {})
    found: dict[int, Any] = {}
    with client() as asking:
        threads = [
            threading.Thread(target=lambda n: found.update({n: asking.post(loopback.url, n)}), args=(n,))
            for n in range(120)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert found == {n: n for n in range(120)}
