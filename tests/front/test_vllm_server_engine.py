"""The engine on servers: its way with them on one of our own making, and on a real one (`make test-vllm`)."""

import copy
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from markscheme import vllm_server_engine
from markscheme.adapters import as_scorer
from markscheme.files import InputError
from markscheme.generation import Completion, FinishReason, Request, Sampling, generate
from markscheme.grpo.config import GRPOConfig
from markscheme.grpo.training import train_grpo
from markscheme.models import plain_weights, save_policy
from markscheme.policy.make import make_model
from markscheme.problems import Problem
from markscheme.run_log import RunLog
from markscheme.vllm_server_engine import ServerGoneError, VLLMServerEngine

SAMPLING = Sampling(max_completion_tokens=3)


class Stub:
    """Answers as vLLM does, with tokens that tell weights, prompt and seed: [mark of the weights, prompt, seed, end].

    `act` may break it: it is called before each completion.
    """

    def __init__(self, port: int = 0) -> None:
        self.began_with, self.version, self.mark = "default", "default", 1
        self.act: Callable[[], None] = lambda: None
        self.asked: list[str] = []
        self.is_closed, self.hang = False, threading.Event()
        self.hang.set()
        self.refused: dict[str, int] = {}
        self.fails_once = ""
        stub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one_request(self) -> None:
                super().handle_one_request()
                self.close_connection |= stub.is_closed

            def do_GET(self) -> None:
                stub.hang.wait()
                stub.asked.append(self.path)
                answers = {
                    "/health": {},
                    "/v1/models": {"data": [{"max_model_len": 20}]},
                    "/weight_info": {"weight_version": stub.version},
                }
                self.answer(answers[self.path])

            def do_POST(self) -> None:
                stub.asked.append(self.path)
                body = json.loads(self.rfile.read(int(self.headers.get("content-length", 0))) or b"{}")
                if self.path == "/update_weights":
                    stub.mark = int(load_file(body["update_info"]["path"])["mark"])
                if self.path == "/finish_weight_update":
                    stub.version = body["weight_version"]
                if self.path != "/inference/v1/generate":
                    self.answer({})
                    return
                try:
                    stub.act()
                except ConnectionError:
                    self.close_connection = True
                    return
                ids = [stub.mark, body["token_ids"][0], body["sampling_params"]["seed"]]
                self.answer(
                    {
                        "choices": [
                            {
                                "token_ids": ids,
                                "finish_reason": "length",
                                "weight_versions": [{"version": stub.version, "start": 0, "end": 3}],
                                "logprobs": {"content": [{"token_id": token, "logprob": -0.5} for token in ids]},
                            }
                        ]
                    }
                )

            def answer(self, found: Any) -> None:
                content = json.dumps(found).encode()
                fails = self.path == stub.fails_once
                stub.fails_once = "" if fails else stub.fails_once
                self.send_response(500 if fails else stub.refused.get(self.path, 200))
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            request_queue_size = 128
            daemon_threads = True

            def handle_error(self, *_: object) -> None:
                """Clients hang up."""

        self.server = Server(("127.0.0.1", port), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self.is_closed = True
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stub]:
    monkeypatch.setattr(vllm_server_engine, "POLL_S", 0.02)
    found = Stub()
    yield found
    found.close()


@pytest.fixture
def new_engine(
    tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> Callable[..., VLLMServerEngine]:
    return lambda *urls, patience_s=5.0: VLLMServerEngine(urls, tiny_model, tokenizer, tmp_path, patience_s)


REQUESTS = [Request(prompt_ids=(10 + k,), seeds=tuple(range(100 * k + 20, 100 * k + 28))) for k in range(4)]


def weights(mark: int) -> Iterator[tuple[str, torch.Tensor]]:
    return iter([("mark", torch.tensor(mark)), ("other", torch.ones(2))])


def ids_of(groups: list[list[Completion]]) -> list[list[tuple[int, ...]]]:
    return [[completion.ids for completion in group] for group in groups]


def expected(mark: int) -> list[list[tuple[int, ...]]]:
    return [[(mark, request.prompt_ids[0], seed) for seed in request.seeds] for request in REQUESTS]


def test_completions_have_their_places(stub: Stub, new_engine: Callable[..., VLLMServerEngine]) -> None:
    engine = new_engine(stub.url)
    groups = generate(engine, REQUESTS, SAMPLING)
    assert ids_of(groups) == expected(1)
    assert {c.finish_reason for group in groups for c in group} == {FinishReason.LENGTH}
    assert {c.logprobs for group in groups for c in group} == {(-0.5,) * 3}
    with pytest.raises(InputError, match="prompt 0 has 18 tokens: with max_completion_tokens 3 that is more than the"):
        generate(engine, [Request(prompt_ids=(1,) * 18, seeds=(0,))], SAMPLING)


def test_every_server_gets_the_weights_and_its_share_of_the_prompts(
    stub: Stub, new_engine: Callable[..., VLLMServerEngine]
) -> None:
    second = Stub()
    engine = new_engine(stub.url, second.url + "/")
    engine.load_weights(weights(7))
    assert ids_of(generate(engine, REQUESTS, SAMPLING)) == expected(7)
    for one in (stub, second):
        assert sum(path == "/inference/v1/generate" for path in one.asked) == 16
        order = [path for path in one.asked if path.startswith(("/pause", "/update", "/reset", "/resume"))]
        assert order == ["/pause?mode=wait", "/update_weights", "/reset_prefix_cache", "/resume"]
    second.close()


def test_a_server_that_comes_back_gets_the_weights_again(
    stub: Stub, new_engine: Callable[..., VLLMServerEngine]
) -> None:
    """It goes away in the middle, and the one in its place holds what it began with."""
    engine = new_engine(stub.url)
    engine.load_weights(weights(7))
    count = 0

    def break_down() -> None:
        nonlocal count
        count += 1
        if count == 6:
            stub.version, stub.mark = "default", 1  # what a new process holds
        if count >= 6 and stub.version == "default":
            raise ConnectionError

    stub.act = break_down
    assert ids_of(generate(engine, REQUESTS, SAMPLING)) == expected(7)
    assert stub.asked.count("/update_weights") == 2


@pytest.mark.parametrize("step", ["/reset_prefix_cache", "/resume"])
def test_a_server_that_fails_behind_the_weights_is_woken_all_the_same(
    stub: Stub, new_engine: Callable[..., VLLMServerEngine], step: str
) -> None:
    engine = new_engine(stub.url)
    stub.fails_once = step
    with pytest.warns(UserWarning, match="waiting for it"):
        engine.load_weights(weights(7))
    assert stub.asked.count("/update_weights") == 1
    assert stub.asked[-2:] == ["/reset_prefix_cache", "/resume"]
    assert stub.asked.count(step) > 1


def test_what_old_weights_wrote_is_asked_for_again(stub: Stub, new_engine: Callable[..., VLLMServerEngine]) -> None:
    """A server was replaced between two requests and nobody noticed, but it says whose tokens these are."""
    engine = new_engine(stub.url)
    engine.load_weights(weights(7))
    stub.version, stub.mark = "default", 1
    assert ids_of(generate(engine, REQUESTS, SAMPLING)) == expected(7)
    assert stub.asked.count("/update_weights") == 2


def test_a_server_that_is_away_is_waited_for(stub: Stub, new_engine: Callable[..., VLLMServerEngine]) -> None:
    engine = new_engine(stub.url)
    port = stub.server.server_port
    stub.close()
    back: list[Stub] = []
    timer = threading.Timer(0.3, lambda: back.append(Stub(port)))
    timer.start()
    with pytest.warns(UserWarning, match=rf"http://127.0.0.1:{port} does not answer .*: waiting for it"):
        engine.load_weights(weights(7))
    assert ids_of(generate(engine, REQUESTS, SAMPLING)) == expected(7)
    timer.join()
    back[0].close()


def test_nobody_waits_for_ever(stub: Stub, new_engine: Callable[..., VLLMServerEngine]) -> None:
    engine = new_engine(stub.url, patience_s=0.1)
    stub.close()
    with (
        pytest.warns(UserWarning, match="does not answer"),
        pytest.raises(ServerGoneError, match=r"has not answered for 0\.1 s .*: start it again, and give"),
    ):
        generate(engine, REQUESTS, SAMPLING)


def test_a_server_that_hangs_is_not_waited_for_either(
    stub: Stub, new_engine: Callable[..., VLLMServerEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vllm_server_engine, "WATCH_S", 0.05)
    monkeypatch.setattr(vllm_server_engine, "HEALTH_TIMEOUT", 0.05)
    engine = new_engine(stub.url, patience_s=0.3)

    def hang() -> None:
        stub.hang.clear()
        stub.hang.wait()

    stub.act = hang
    with pytest.raises(ServerGoneError, match=r"not answered for 0\.3 s \(ReadTimeout\)"):
        generate(engine, REQUESTS, SAMPLING)
    stub.hang.set()


def test_a_server_that_fails_again_and_again_ends_it(stub: Stub, new_engine: Callable[..., VLLMServerEngine]) -> None:
    engine = new_engine(stub.url)
    stub.refused["/inference/v1/generate"] = 500
    with pytest.raises(ServerGoneError, match=r"fails again and again \(500 "):
        generate(engine, REQUESTS[:1], SAMPLING)


@pytest.mark.parametrize(
    ("path", "code"), [("/inference/v1/generate", 403), ("/weight_info", 404), ("/update_weights", 400)]
)
def test_a_server_that_is_not_set_up_is_told_how(
    stub: Stub, new_engine: Callable[..., VLLMServerEngine], path: str, code: int
) -> None:
    engine = new_engine(stub.url)
    stub.refused[path] = code

    def work() -> None:
        engine.load_weights(weights(7))
        generate(engine, REQUESTS[:1], SAMPLING)

    with pytest.raises(InputError, match=rf"{code} .*start it with python -m markscheme.vllm_serve"):
        work()


def test_a_stream_that_is_closed_leaves_nothing_behind(stub: Stub, new_engine: Callable[..., VLLMServerEngine]) -> None:
    first, released = threading.Semaphore(1), threading.Event()
    stub.act = lambda: None if first.acquire(blocking=False) else released.wait(10) and None
    stream = new_engine(stub.url).stream(REQUESTS, SAMPLING)
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert "vLLM requests" not in {thread.name for thread in threading.enumerate()}
    released.set()


class RealServer:
    """vLLM on loopback."""

    def __init__(self, model: Path, log: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url, self.model, self.log = f"http://127.0.0.1:{self.port}", model, log
        self.start()

    def start(self) -> None:
        options = f"--port {self.port} --max-model-len 512 --block-size 32 --kv-cache-memory-bytes {64 << 20}"
        command = [sys.executable, "-m", "markscheme.vllm_serve", str(self.model), "--enforce-eager", *options.split()]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "--dtype", "float32"], stdout=log, stderr=log, start_new_session=True
            )

    def kill(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@pytest.fixture(scope="module")
def model(tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    return make_model(len(tokenizer), width=96, layers=2, seed=0)


@pytest.fixture(scope="module")
def real_server(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RealServer]:
    folder = tmp_path_factory.mktemp("server")
    save_policy(model, tokenizer, folder / "model")
    server = RealServer(folder / "model", folder / "log")
    yield server
    server.kill()


def mismatch(model: PreTrainedModel, request: Request, group: list[Completion]) -> float:
    """The largest difference between the sampler's log-probabilities and the model's own."""
    differences = []
    for completion in group:
        with torch.no_grad():
            logits = model(torch.tensor([request.prompt_ids + completion.ids])).logits[0]
        logprobs = logits[len(request.prompt_ids) - 1 : -1].log_softmax(-1)
        own = logprobs.gather(-1, torch.tensor(completion.ids)[:, None])[:, 0]
        differences.append(float((own - torch.tensor(completion.logprobs)).abs().max()))
    return max(differences)


@pytest.mark.vllm
def test_a_real_server_takes_weights_and_writes_with_them(
    real_server: RealServer, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    engine = VLLMServerEngine([real_server.url], model, tokenizer, tmp_path)
    text = "There are 12 boxes in the room, and 7 of them are red. "
    request = Request(prompt_ids=tuple(tokenizer.encode(text * 8)), seeds=tuple((1 << 62) + k for k in range(32)))
    sampling = Sampling(max_completion_tokens=12)
    for seed in range(3):
        torch.manual_seed(seed)
        changed = copy.deepcopy(model)
        with torch.no_grad():
            for weight in changed.parameters():
                weight.add_(0.05 * torch.randn_like(weight))
        engine.load_weights(plain_weights(changed))
        (group,) = generate(engine, [request], sampling)
        assert mismatch(changed, request, group) < 1e-4
        assert mismatch(model, request, group) > 1e-2
        many = [Request(prompt_ids=(*request.prompt_ids, 5 + k), seeds=(k,)) for k in range(80)]
        assert sum(len(one.prompt_ids) for one in many) > 2 * 4_096  # more than a batch of prompts
        assert len(generate(engine, many, sampling)) == 80
        few = Request(prompt_ids=request.prompt_ids, seeds=request.seeds[3:5])
        (again,) = generate(engine, [few], sampling)
        assert [one.ids for one in again] == [one.ids for one in group[3:5]]


@pytest.mark.vllm
def test_a_server_that_is_killed_in_the_middle_of_a_run_costs_time_only(
    real_server: RealServer, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    policy = copy.deepcopy(model)

    def kill_once(done: int, metrics: Any) -> None:
        if done == 1:
            real_server.kill()
            threading.Timer(1.0, real_server.start).start()

    with pytest.warns(UserWarning, match="does not answer .*: waiting for it"):
        lines = train(policy, VLLMServerEngine([real_server.url], policy, tokenizer, tmp_path), tmp_path, kill_once)
    assert [line["step"] for line in lines] == [1, 2, 3]
    assert all(line["sampler_mismatch"] < 1e-4 for line in lines)
    assert all(line["grad_norm"] > 0 for line in lines)


@pytest.mark.vllm
def test_a_server_that_stays_away_ends_the_run_which_goes_on_when_it_is_back(
    real_server: RealServer, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    """To the same bits as a run that nobody disturbed."""

    def start(
        folder: Path, patience_s: float = 600, on_step: Any = lambda *_: None
    ) -> tuple[Any, list[dict[str, Any]]]:
        policy = copy.deepcopy(model)
        engine = VLLMServerEngine([real_server.url], policy, tokenizer, tmp_path, patience_s)
        return policy, train(policy, engine, folder, on_step)

    def kill(done: int, metrics: Any) -> None:
        if done == 2:
            real_server.kill()

    VLLMServerEngine([real_server.url], model, tokenizer, tmp_path)  # waits until it is there
    with pytest.warns(UserWarning, match="waiting for it"), pytest.raises(ServerGoneError) as end:
        start(tmp_path / "broken", patience_s=1.0, on_step=kill)
    assert "start it again, and give the same command" in str(end.value)
    assert "\n" not in str(end.value)
    real_server.start()
    resumed, lines = start(tmp_path / "broken")
    whole, expected = start(tmp_path / "whole")
    assert [line["step"] for line in lines] == [1, 2, 3]
    assert [line["reward"] for line in lines] == [line["reward"] for line in expected]
    assert all(torch.equal(a, b) for a, b in zip(resumed.parameters(), whole.parameters(), strict=True))


def train(policy: PreTrainedModel, engine: VLLMServerEngine, folder: Path, on_step: Any) -> list[dict[str, Any]]:
    """Three steps of a reward for length."""
    problems = [Problem(id=f"p{k}", question=f"What is {k}?", gold="1", source="test", split="train") for k in range(4)]
    log = RunLog(folder / "run", {})
    train_grpo(
        policy,
        engine,
        as_scorer(lambda sample: float(len(sample.completion))),
        problems,
        lambda problem: tuple(engine.tokenizer.encode(problem.question)),
        GRPOConfig(
            steps=3,
            prompts_per_step=2,
            group_size=4,
            learning_rate=1e-2,
            warmup_steps=1,
            max_completion_tokens=8,
            checkpoint_every=1,
        ),
        log,
        on_step=on_step,
    )
    return log.read()
