"""`markscheme serve` as a process of its own: what it answers, whom it disturbs, and how it ends."""

import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from markscheme import cli
from markscheme.models import save_policy
from markscheme.remote_scorer import RemoteScorer
from markscheme.reward_models import RewardModel, RewardNetwork
from markscheme.scoring import GoldError, Outcome, Sample
from markscheme.serve.server import is_loopback, listen, url_of
from markscheme.verifiers import MathVerifier

KEY = "sk-very-secret"


def problems(count: int, seed: int = 0) -> list[Sample]:
    """Sums and products with right answers in several forms, wrong ones, and none."""
    draw = random.Random(seed)
    found = []
    for index in range(count):
        a, b, sign = draw.randint(2, 99), draw.randint(2, 99), draw.choice("+-*/")
        gold = rf"\frac{{{a}}}{{{b}}}" if sign == "/" else str(eval(f"{a} {sign} {b}"))
        answer = draw.choice([gold, gold, f"{gold}.0", f"{a}{sign}{b}", f"{gold}7", "x"])
        completion = draw.choice([rf"It is \boxed{{{answer}}}.", f"The answer is {answer}.", "Who knows?"])
        found.append(Sample(prompt=f"{a} {sign} {b}?", completion=completion, gold=gold, id=str(index)))
    return found


def test_a_thousand_samples_get_the_scores_of_this_process(start_server: Any) -> None:
    server = start_server(module="markscheme")
    samples, verifier = problems(1_000), MathVerifier()
    remote, expected = RemoteScorer(server.url), verifier.score(samples)
    scores = remote.score(samples)
    assert [(one.value, one.outcome, one.answer) for one in scores] == [
        (one.value, one.outcome, one.answer) for one in expected
    ]
    assert (remote.name, remote.version) == (verifier.name, verifier.version)
    counts = {outcome: sum(score.outcome is outcome for score in expected) for outcome in Outcome}
    assert min(counts[outcome] for outcome in (Outcome.CORRECT, Outcome.INCORRECT, Outcome.NO_ANSWER)) > 100
    for outcome, count in counts.items():
        assert server.metric(f'markscheme_samples_total{{outcome="{outcome}"}}') == count
    with pytest.raises(GoldError, match="sample b: the gold ' ' is empty"):
        remote.score([samples[0], Sample(prompt="", completion="7", gold=" ", id="b")])


def test_a_reward_model_is_served(
    start_server: Any, tmp_path: Path, tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
) -> None:
    save_policy(tiny_model, tokenizer, tmp_path / "policy")
    RewardNetwork.from_pretrained(str(tmp_path / "policy"), seed=1).save(tmp_path / "model")
    samples, words = problems(20), f"--reward-model {tmp_path / 'model'} --reward sum --reward-weight 2"
    ratings = [score.value for score in RewardModel(tmp_path / "model").score(samples)]
    verdicts = [score.value for score in MathVerifier().score(samples)]
    server = start_server(*words.split(), module="markscheme")
    scores = RemoteScorer(server.url).score(samples)
    assert [score.parts["reward_model"].value for score in scores] == pytest.approx(ratings, abs=1e-5)
    sums = [verdict + 2 * rating for verdict, rating in zip(verdicts, ratings, strict=True)]
    assert [score.value for score in scores] == pytest.approx(sums, abs=1e-4)
    assert len(server.workers()) == 1


@pytest.mark.usefixtures("toys")
def test_a_process_that_dies_costs_its_sample_alone(start_server: Any) -> None:
    server = start_server("--scorer", "a-model")
    samples = [Sample(prompt="", completion=text) for text in ("say a", "die", "say b", "raise", "say c")]
    scores = RemoteScorer(server.url).score(samples)
    assert [score.answer for score in scores] == ["a", None, "b", None, "c"]
    assert [score.outcome for score in scores].count(Outcome.FAILED) == 2
    assert server.metric("markscheme_worker_restarts_total") == 3  # twice with the others, once alone


@contextmanager
def somebody_else(url: str) -> Iterator[list[int]]:
    """A client that asks again and again, and the statuses of its answers."""
    statuses: list[int] = []
    stop = threading.Event()

    def ask() -> None:
        with httpx2.Client(base_url=url, timeout=60.0, trust_env=False) as client:
            while not stop.is_set():
                statuses.append(client.post("/v1/rewards", json=[{"completion": "say a"}]).status_code)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield statuses
    finally:
        stop.set()
        thread.join()


def sent_until_refused(url: str, head: str, piece: bytes, size: int) -> tuple[int, bytes]:
    """Sends a request of this size by hand: how many bytes went out, and what was answered."""
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall(f"POST /v1/rewards HTTP/1.1\r\nHost: {host}\r\n{head}\r\n\r\n".encode())
        sent = 0
        try:
            while sent < size:
                sent += connection.send(piece)
        except (BrokenPipeError, ConnectionResetError):
            pass
        answer = b""
        try:
            while more := connection.recv(1 << 16):
                answer += more
        except ConnectionResetError:
            pass
        return sent, answer


@pytest.mark.usefixtures("toys")
def test_bad_requests_disturb_nobody_else(start_server: Any, wait_until: Any) -> None:
    server, large = start_server("--max-body-mb", "1"), 100_000_000
    chunk = b"10000\r\n" + b"x" * 65_536 + b"\r\n"
    with somebody_else(server.url) as statuses:
        for head, piece in ((f"Content-Length: {large}", b"x" * 65_536), ("Transfer-Encoding: chunked", chunk)):
            sent, answer = sent_until_refused(server.url, head, piece, large)
            assert answer.startswith(b"HTTP/1.1 413 ")
            assert b"connection: close" in answer
            assert sent < large / 2  # what is on its way, but not the rest
        _, answer = sent_until_refused(server.url, f"Content-Length: {large}", b"", 0)
        assert answer.startswith(b"HTTP/1.1 413 ")
        refused = {
            b'{"samples": [': 400,
            b"[" * 100_000: 400,
            b'[{"completion": NaN}]': 422,
            b'[{"completion": 7}]': 422,
            b"[{}]": 422,
        }
        for body, status in refused.items():
            assert server.client.post("/v1/rewards", content=body).status_code == status
        assert server.client.get("/nope").status_code == 404
        _, answer = sent_until_refused(server.url, "no header", b"", 0)
        assert answer.startswith(b"HTTP/1.1 400 ")
        before = len(statuses)
        wait_until(lambda: len(statuses) > before + 10)
    assert {*statuses} == {200}
    assert server.metric("markscheme_worker_restarts_total") == 0


@pytest.mark.usefixtures("toys")
def test_without_the_key_no_body_is_read(start_server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCORING_KEY", KEY)
    server, large = start_server("--api-key-variable", "SCORING_KEY", "--host", "0.0.0.0"), 100_000_000
    sent, answer = sent_until_refused(server.url, f"Content-Length: {large}", b"x" * 65_536, large)
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert sent < large / 2
    remote = RemoteScorer(server.url, api_key_variable="SCORING_KEY")
    assert remote.score([Sample(prompt="", completion="say a")])[0].answer == "a"


def waiting_request(server: Any, gate: Path, pool: ThreadPoolExecutor, wait_until: Any) -> Any:
    """A request whose sample is scored when the gate is there."""
    body = [{"completion": f"wait_for {gate}"}]
    asked = pool.submit(httpx2.post, f"{server.url}/v1/rewards", json=body, timeout=60.0, trust_env=False)
    wait_until(Path(f"{gate}.begun").exists)
    return asked


@pytest.mark.usefixtures("toys")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_told_to_end_it_answers_what_it_has(
    number: int, code: int, start_server: Any, tmp_path: Path, wait_until: Any, wait_until_gone: Any
) -> None:
    server, gate = start_server("--processes", "2"), tmp_path / "gate"
    workers = server.workers()
    assert len(workers) == 2
    with ThreadPoolExecutor() as pool:
        asked = waiting_request(server, gate, pool, wait_until)
        os.kill(server.process.pid, number)
        wait_until(lambda: not accepts(server.url))
        with pytest.raises(subprocess.TimeoutExpired):  # it does not end by itself
            server.process.wait(0.5)
        gate.touch()
        assert asked.result().json() == [len(str(gate)) / 8]
    out, error = server.ends_with(code)
    assert (out, error) == ("" if code == 0 else "\nstopped; what was accepted is answered\n", "")
    wait_until_gone(workers)


@pytest.mark.usefixtures("toys")
def test_told_twice_it_ends_at_once(start_server: Any, tmp_path: Path, wait_until: Any, wait_until_gone: Any) -> None:
    server = start_server()
    workers = server.workers()
    with ThreadPoolExecutor() as pool:
        asked = waiting_request(server, tmp_path / "never", pool, wait_until)
        server.process.terminate()
        wait_until(lambda: not accepts(server.url))
        server.process.terminate()
        server.ends_with(0)
        assert asked.exception() or asked.result().is_server_error
    wait_until_gone(workers)


def accepts(url: str) -> bool:
    host, port = url.removeprefix("http://").split(":")
    try:
        socket.create_connection((host, int(port))).close()
    except ConnectionRefusedError:
        return False
    return True


@pytest.mark.usefixtures("toys")
def test_killed_it_leaves_no_process_behind(
    start_server: Any, tmp_path: Path, wait_until: Any, wait_until_gone: Any
) -> None:
    server, mark = start_server("--processes", "2"), tmp_path / "mark"
    workers = server.workers()
    with ThreadPoolExecutor() as pool:
        # One works in C, where no Python code runs; the other is idle.
        asked = pool.submit(server.client.post, "/v1/rewards", json=[{"completion": f"spin {mark}"}])
        wait_until(mark.exists)
        server.process.kill()
        assert isinstance(asked.exception(), httpx2.TransportError)
    wait_until_gone(workers)


@pytest.mark.usefixtures("toys")
def test_samples_of_a_client_that_has_gone_are_dropped(start_server: Any, tmp_path: Path, wait_until: Any) -> None:
    server, gate = start_server("--scorer", "a-model"), tmp_path / "gate"
    with ThreadPoolExecutor() as pool:
        asked = waiting_request(server, gate, pool, wait_until)
        body = json.dumps([{"completion": f"die_once {tmp_path / 'scored'}"}] * 5).encode()
        host, port = server.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as connection:
            head = f"POST /v1/rewards HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(body)}\r\n\r\n"
            connection.sendall(head.encode() + body)
            wait_until(lambda: server.metric("markscheme_samples_waiting") == 5)
        wait_until(lambda: server.metric("markscheme_samples_waiting") == 0)
        gate.touch()
        assert asked.result().status_code == 200
    assert server.client.post("/v1/rewards", json=[{"completion": "say a"}]).json() == [0.125]
    assert not (tmp_path / "scored").exists()
    assert server.metric('markscheme_requests_total{path="/v1/rewards",status="499"}') == 1


def test_a_port_in_use_costs_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert cli.run(["serve", "--port", str(port)]) == 2
    error = f"markscheme: --port {port}: in use on 127.0.0.1; give another, or 0 for any that is free\n"
    assert capsys.readouterr().err == error


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--host 0.0.0.0", "--host 0.0.0.0: other machines could reach it: give --api-key-variable NAME too"),
        ("--host ::", "--host ::: other machines could reach it: give --api-key-variable NAME too"),
        ("--host nowhere.invalid", "--host nowhere.invalid: no such address"),
        ("--host 192.0.2.1", "--host 192.0.2.1 --port 8000: cannot listen there (Cannot assign requested address)"),
        ("--api-key-variable NO_SUCH_KEY", "the environment variable NO_SUCH_KEY is not set: export it with the key"),
        ("--port 65536", "port must be between 0 and 65535, got 65536"),
        ("--processes 0", "processes must be at least 1, got 0"),
        ("--max-body-mb 0", "max_body_mb must be at least 1, got 0"),
        ("--max-waiting 0", "max_waiting must be at least 1, got 0"),
        ("--deadline-s 0", "deadline_s must be above 0, got 0"),
        ("--deadline-s nan", "deadline_s must be above 0, got nan"),
        ("--deadline-s inf", "deadline_s must be a finite number, got inf"),
        ("--scorer maths", "no scorer 'maths'; there are math, gsm8k"),
        ("--reward-model nowhere", "--reward-model nowhere: no such folder"),
        ("--reward sum", "give --reward-model too"),
    ],
)
def test_bad_settings_cost_one_line(words: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["serve", *words.split()]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_weights_that_cannot_be_read_cost_one_line(
    tmp_path: Path,
    tiny_model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    capsys: pytest.CaptureFixture[str],
) -> None:
    save_policy(tiny_model, tokenizer, tmp_path / "policy")
    RewardNetwork.from_pretrained(str(tmp_path / "policy"), seed=1).save(tmp_path / "model")
    [weights] = (tmp_path / "model").rglob("*.safetensors")
    weights.write_bytes(weights.read_bytes()[:1_000])
    assert cli.run(["serve", "--port", "0", "--scorer", str(tmp_path / "model")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("markscheme: the scorer cannot start: ")
    assert error.count("\n") == 1


def test_without_the_extra_it_says_what_to_install() -> None:
    script = "import sys; sys.modules['fastapi'] = None; from markscheme.cli import run; sys.exit(run(['serve']))"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert result.returncode == 2
    needed = "markscheme serve needs fastapi, which is not installed: pip install 'markscheme[serve]'"
    assert result.stderr == f"markscheme: {needed}\n"


@pytest.mark.parametrize(
    ("host", "url"), [("127.0.0.1", r"http://127\.0\.0\.1:\d+"), ("::1", r"http://\[::1\]:\d+"), ("127.9.9.9", "")]
)
def test_a_loopback_socket_sends_without_delay(host: str, url: str) -> None:
    with listen(host, 0) as listener:
        assert is_loopback(listener)
        assert re.match(url, url_of(listener))
        # asyncio sets TCP_NODELAY by this; without it an answer waits 40 ms for the client to acknowledge its head.
        assert listener.proto == socket.IPPROTO_TCP
