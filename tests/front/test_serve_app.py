"""The operations of the scoring server, asked in this process: what they answer, and what they refuse."""

import asyncio
import dataclasses
import json
import re
import shlex
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import wraps
from html import unescape
from pathlib import Path
from typing import Any

import httpx2
import pytest

from markscheme.scoring import Sample, Score
from markscheme.serve import api, schema
from markscheme.serve.app import make_app
from markscheme.serve.pool import ScoringPool
from markscheme.verifiers import MathVerifier

KEY = "sk-very-secret"
LIMIT = 100_000


def in_loop(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    @wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        asyncio.run(asyncio.wait_for(test(*args, **kwargs), 120))

    return run


class Client(httpx2.AsyncClient):
    """Asks an app in this process."""

    pool: ScoringPool

    async def ask(self, path: str, body: Any, **options: Any) -> tuple[int, Any]:
        """Status and JSON of what is answered to JSON, or to bytes as they are."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        response = await self.post(path, content=content, **options)
        return response.status_code, response.json()

    async def metric(self, name: str) -> float:
        lines = (await self.get("/metrics")).text.splitlines()
        return sum(float(line.removeprefix(f"{name} ")) for line in lines if line.startswith(f"{name} "))


@asynccontextmanager
async def client_of(scorer: Any, **settings: Any) -> AsyncIterator[Client]:
    """Of an app with processes that score."""
    async with pool_of(scorer, **settings) as pool, client_of_pool(pool, scorer) as client:
        yield client


def pool_of(scorer: Any, **settings: Any) -> ScoringPool:
    settings = {"processes": 1, "batch_size": 1, "max_waiting": 100, "deadline_s": 60.0, **settings}
    return ScoringPool(scorer, **settings)


@asynccontextmanager
async def client_of_pool(pool: ScoringPool, scorer: Any, key: str | None = None) -> AsyncIterator[Client]:
    app = make_app(pool, name=scorer.name, version=scorer.version, key=key, max_body_bytes=LIMIT)
    transport = httpx2.ASGITransport(app=app)
    async with Client(transport=transport, base_url="http://here:1234", trust_env=False) as client:
        client.pool = pool
        yield client


async def until(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0.005)


@in_loop
async def test_scores_rewards_and_version_are_the_scorers() -> None:
    scorer = MathVerifier()
    samples = [
        Sample(prompt="1/4 + 1/4?", completion=r"\boxed{0.5}", gold=r"\frac{1}{2}"),
        Sample(prompt="", completion=r"\boxed{3}", gold=("4", "5"), id="a", group="b", meta={"n": [1, None]}),
        Sample(prompt=({"role": "user", "content": "3 + 4?"},), completion="no \ud800 idea", gold="7"),
        Sample(prompt="", completion=r"\boxed{" + "9" * 5_000 + "}", gold="7"),
    ]
    records = [sample.to_dict() for sample in samples]
    expected = scorer.score(samples)
    assert {score.value for score in expected} == {1.0, 0.0, None}
    async with client_of(scorer) as client:
        status, body = await client.ask("/score", {"samples": records})
        assert (status, [Score.from_dict(record) for record in body["scores"]]) == (200, expected)
        assert await client.ask("/v1/rewards", records) == (200, [score.value for score in expected])
        assert (await client.get("/version")).json() == {"name": scorer.name, "version": scorer.version}
        assert await client.ask("/score", {"samples": []}) == (200, {"scores": []})
        assert await client.ask("/v1/rewards", []) == (200, [])


@in_loop
async def test_what_openrlhf_sends(toys: Any) -> None:
    async with client_of(toys.Toy()) as client:
        ask = {"query": ["Why? say abcd", "say ab"], "prompts": ["Why? ", "Why? "], "labels": [7, None]}
        values = [0.5, 0.25]  # 4 / 8, 2 / 8: the second prompt does not stand in front
        assert await client.ask("/get_reward", ask) == (
            200,
            {"rewards": values, "scores": values, "extra_logs": {}},
        )
        templated = {"query": ["<s>Why? say abcd</s>"], "prompts": ["Why? "]}  # as OpenRLHF decodes it
        assert (await client.ask("/get_reward", templated))[1]["rewards"] == [0.5]
        long = (await client.ask("/get_reward", {"query": [f"say {'a' * 16}"]}))[1]
        assert (long["rewards"], long["scores"]) == ([2.0], [1.0])  # scores are to be from 0 to 1
        assert (await client.ask("/get_reward", {"query": [], "prompts": None}))[1]["rewards"] == []


@in_loop
async def test_a_query_without_a_value_is_a_503_or_null(toys: Any) -> None:
    async with client_of(toys.Toy()) as client:
        ask = {"query": ["say abcd", "undecided", "raise"]}
        status, body = await client.ask("/get_reward", ask)
        assert (status, body["error"], body["index"]) == (503, "unscored", 1)
        assert body["message"] == "query[1] is undecided: too deep; with ?nulls=1 it gets null"
        values = [0.5, None, None]
        assert await client.ask("/get_reward?nulls=1", ask) == (
            200,
            {"rewards": values, "scores": values, "extra_logs": {}},
        )
        status, body = await client.ask("/get_reward?nulls=maybe", ask)
        assert (status, body["error"]) == (422, "request")
        assert body["message"].startswith("nulls: ")


SAMPLE = {"completion": "say a"}


@pytest.mark.parametrize(
    ("path", "body", "status", "error", "message"),
    [
        ("/score", b"", 400, "json", "the body is not JSON: "),
        ("/score", b'{"samples": [', 400, "json", "the body is not JSON: "),
        ("/score", b"\xff\xfe\xfa", 400, "json", "the body is not JSON: "),
        ("/score", b"[" * 90_000, 400, "json", "the body is nested too deep"),
        ("/score", b'{"samples": [{"completion": NaN}]}', 422, "json", "NaN is not finite"),
        ("/score", b'{"samples": [{"completion": "", "meta": {"a": 1e999}}]}', 422, "json", "1e999 is not finite"),
        ("/score", b'{"samples": [{"completion": "", "meta": {"a": -Infinity}}]}', 422, "json", "not finite"),
        ("/score", [SAMPLE], 422, "request", 'an object with a list: {"samples": [...]}'),
        ("/score", {"samples": SAMPLE}, 422, "request", "an object with a list"),
        ("/score", {}, 422, "request", "an object with a list"),
        ("/score", {"samples": [SAMPLE, "say a"]}, 422, "sample", "samples[1]: a sample must be an object, got text"),
        ("/score", {"samples": [SAMPLE, {}]}, 422, "sample", "samples[1]: a sample's completion must be text, got not"),
        ("/score", {"samples": [{"completion": 7}]}, 422, "sample", "samples[0]: a sample's completion must be text"),
        ("/score", {"samples": [{**SAMPLE, "gold": 7}]}, 422, "sample", "samples[0]: a sample's gold must be text"),
        ("/score", {"samples": [{**SAMPLE, "gold": [7]}]}, 422, "sample", "samples[0]: a sample's gold must be text"),
        ("/score", {"samples": [{**SAMPLE, "prompt": None}]}, 422, "sample", "samples[0]: a sample's prompt must be"),
        ("/score", {"samples": [{**SAMPLE, "prompt": [{}]}]}, 422, "sample", "samples[0]: a sample's role must be"),
        ("/score", {"samples": [{**SAMPLE, "meta": []}]}, 422, "sample", "samples[0]: a sample's meta must be an obj"),
        (
            "/score",
            {"samples": [SAMPLE] * 101},
            413,
            "too_large",
            "101 samples are more than may wait: send at most 100",
        ),
        ("/score", {"samples": ["x" * LIMIT]}, 413, "too_large", "a body may have 100000 bytes"),
        ("/v1/rewards", {"samples": []}, 422, "request", "a list of samples"),
        ("/v1/rewards", [SAMPLE, None], 422, "sample", "[1]: a sample must be an object, got null"),
        ("/get_reward", {"query": "say a"}, 422, "request", "an object with a list"),
        ("/get_reward", {"query": ["a"], "prompts": []}, 422, "request", "prompts must be a list as long as query"),
        ("/get_reward", {"query": ["a"], "labels": "7"}, 422, "request", "labels must be a list as long as query"),
        ("/get_reward", {"query": ["a", 7]}, 422, "sample", "query[1]: a sample's completion must be text, got a num"),
        ("/get_reward", {"query": ["a"], "labels": [True]}, 422, "sample", "query[0]: a sample's gold must be text"),
        ("/nope", {}, 404, "not_found", "/docs lists what there is"),
        ("/version", {}, 405, "method_not_allowed", "/docs lists what there is"),
    ],
)
@in_loop
async def test_what_is_refused(path: str, body: Any, status: int, error: str, message: str) -> None:
    scorer = MathVerifier()
    async with client_of_pool(pool_of(scorer), scorer) as client:
        answered, refusal = await client.ask(path, body)
        assert (answered, refusal["error"]) == (status, error)
        assert message in refusal["message"]
        assert "\n" not in refusal["message"]
        place = re.search(r"\[(\d+)\]:", refusal["message"])
        assert refusal.get("index") == (int(place[1]) if place else None)
        counted = path if path in ("/score", "/v1/rewards", "/get_reward", "/version") else "other"
        assert await client.metric(f'markscheme_requests_total{{path="{counted}",status="{status}"}}') == 1


@in_loop
async def test_meta_may_be_nested_as_deep_as_json_is_read(toys: Any) -> None:
    async with client_of(toys.Toy()) as client:
        for depth in range(50, 1_000, 50):
            meta = b'{"a":' * depth + b"1" + b"}" * depth
            status, _ = await client.ask("/score", b'{"samples": [{"completion": "say a", "meta": %s}]}' % meta)
            assert status in (200, 400), depth
        assert status == 400
        assert client.pool.restarts == 0


@in_loop
async def test_a_gold_that_cannot_be_read_is_a_422(toys: Any) -> None:
    async with client_of(toys.Toy()) as client:
        bad = {"completion": "say a", "gold": "unreadable", "id": "7"}
        refusal = {"error": "gold", "message": "sample 7: no gold", "index": 1}
        assert await client.ask("/score", {"samples": [SAMPLE, bad, SAMPLE]}) == (422, refusal)
        status, body = await client.ask("/score", {"samples": [{"completion": "refuse"}]})
        assert (status, body["error"], body["index"]) == (422, "sample", 0)


@in_loop
async def test_the_key_opens_all_and_only_what_it_should() -> None:
    scorer = MathVerifier()
    async with client_of_pool(pool_of(scorer), scorer, KEY) as client:
        for path, status in {"/health": 503, "/docs": 200, "/openapi.json": 200}.items():
            assert (await client.get(path)).status_code == status
        for given in (None, "", KEY, f"Basic {KEY}", "Bearer", f"Bearer {KEY}x", f"Bearer {KEY[:-1]}", "Bearer \xfc"):
            headers = {} if given is None else {"authorization": given.encode("latin-1")}
            for path in ("/version", "/metrics", "/nope"):
                response = await client.get(path, headers=headers)
                assert (response.status_code, response.json()["error"]) == (401, "key")
                assert response.headers["www-authenticate"] == "Bearer"
            assert (await client.ask("/score", {"samples": []}, headers=headers))[0] == 401
        headers = {"authorization": f"bearer {KEY}"}
        assert (await client.get("/version", headers=headers)).status_code == 200
        assert (await client.ask("/score", {"samples": []}, headers=headers))[0] == 200
        assert KEY not in (await client.get("/docs")).text + (await client.get("/openapi.json")).text


@in_loop
async def test_a_full_queue_is_a_429(toys: Any, tmp_path: Path) -> None:
    async with client_of(toys.Toy(), batch_size=2, max_waiting=2) as client:
        gate = tmp_path / "gate"
        first = asyncio.create_task(client.ask("/score", {"samples": [{"completion": f"wait_for {gate}"}]}))
        await until(Path(f"{gate}.begun").exists)
        second = asyncio.create_task(client.ask("/v1/rewards", [SAMPLE, SAMPLE]))
        await until(lambda: client.pool.waiting == 2)
        assert await client.metric("markscheme_samples_waiting") == 2
        response = await client.post("/v1/rewards", content=json.dumps([SAMPLE]))
        assert (response.status_code, response.json()["error"]) == (429, "busy")
        assert int(response.headers["retry-after"]) >= 1
        gate.touch()
        assert [(await one)[0] for one in (first, second)] == [200, 200]
        assert await client.ask("/v1/rewards", [SAMPLE]) == (200, [0.125])
        assert await client.metric("markscheme_samples_waiting") == 0


@in_loop
async def test_bytes_in_progress_are_bounded(toys: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "HELD_BODIES", 1)
    async with client_of(toys.Toy()) as client:
        gate, large = tmp_path / "gate", [{"completion": "say a", "meta": {"x": "x" * (LIMIT // 2)}}]
        waits = [{"completion": f"wait_for {gate}"}, *large]
        first = asyncio.create_task(client.ask("/v1/rewards", waits))
        await until(Path(f"{gate}.begun").exists)
        status, body = await client.ask("/v1/rewards", large)
        assert (status, body["error"]) == (429, "busy")
        gate.touch()
        assert (await first)[0] == 200
        for _ in range(3):  # what was refused or answered is held no more
            assert await client.ask("/v1/rewards", large) == (200, [0.125])


@in_loop
async def test_a_body_that_does_not_come_is_a_408(toys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "BODY_DEADLINE_S", 0.05)

    async def dripping() -> AsyncIterator[bytes]:
        yield b"["
        await asyncio.Event().wait()

    async with client_of(toys.Toy()) as client:
        response = await client.post("/v1/rewards", content=dripping())
        assert (response.status_code, response.json()["error"]) == (408, "slow")
        assert response.headers["connection"] == "close"


@in_loop
async def test_draining_is_seen(toys: Any) -> None:
    async with client_of(toys.Toy()) as client:
        assert (await client.get("/health")).json() == {"status": "ok"}
        client.pool.draining = True
        response = await client.get("/health")
        assert (response.status_code, response.json()) == (503, {"status": "draining"})
        response = await client.post("/v1/rewards", content=json.dumps([SAMPLE]))
        assert (response.status_code, response.json()["error"]) == (503, "draining")
        assert response.headers["retry-after"] == "1"


@in_loop
async def test_what_is_counted(toys: Any) -> None:
    async with client_of(toys.Toy()) as client:
        await client.ask("/v1/rewards", [SAMPLE, SAMPLE, {"completion": "undecided"}])
        await client.ask("/score", {"samples": [{"completion": "die"}]})
        await client.ask("/score", b"{")
        expected = {
            'requests_total{path="/v1/rewards",status="200"}': 1,
            'requests_total{path="/score",status="200"}': 1,
            'requests_total{path="/score",status="400"}': 1,
            'request_seconds_count{path="/score"}': 2,
            'samples_total{outcome="rated"}': 2,
            'samples_total{outcome="undecided"}': 1,
            'samples_total{outcome="failed"}': 1,
            "worker_restarts_total": 2,
            "samples_waiting": 0,
        }
        assert {name: await client.metric(f"markscheme_{name}") for name in expected} == expected


def test_the_description_has_the_fields_of_what_is_sent() -> None:
    assert [*schema.SampleBody.model_fields] == [field.name for field in dataclasses.fields(Sample)]
    assert [*schema.ScoreBody.model_fields] == [field.name for field in dataclasses.fields(Score)]
    score = Score.from_dict(schema.SCORED)
    assert schema.ScoreBody.model_validate(schema.SCORED).outcome is score.outcome
    assert score.to_dict() == schema.SCORED


@pytest.mark.parametrize("key", [None, KEY])
@in_loop
async def test_the_commands_on_the_page_work_and_answer_as_it_says(key: str | None) -> None:
    scorer = MathVerifier()
    async with pool_of(scorer) as pool, client_of_pool(pool, scorer, key) as client:
        page = (await client.get("/docs")).text
        assert not re.search(r"<script|src=|@import|//(?!here:1234)", page)  # nothing comes from elsewhere
        shown = [unescape(text) for text in re.findall(r"<pre>(.*?)</pre>", page, re.DOTALL)]
        commands = [index for index, text in enumerate(shown) if text.startswith("curl ")]
        assert len(commands) == 6
        for index in commands:
            _, url, *words = shlex.split(shown[index].replace("Bearer KEY", f"Bearer {key}"))
            options = dict(zip(words[::2], words[1::2], strict=True))
            headers = dict([options["-H"].split(": ")]) if "-H" in options else {}
            if "-d" in options:
                response = await client.post(url, content=options["-d"], headers=headers)
            else:
                response = await client.get(url, headers=headers)
            assert response.status_code == 200
            if "metrics" not in url:
                assert response.json() == json.loads(shown[index + 1])


@in_loop
async def test_the_description_is_complete() -> None:
    scorer = MathVerifier()
    async with client_of_pool(pool_of(scorer), scorer, KEY) as client:
        text = (await client.get("/openapi.json")).text
    description = json.loads(text)
    paths = {"/score", "/v1/rewards", "/get_reward", "/version", "/health", "/metrics"}
    assert {*description["paths"]} == paths
    for name in re.findall(r'"#/components/schemas/(\w+)"', text):
        assert name in description["components"]["schemas"]
    assert description["security"] == [{"key": []}]
    assert description["paths"]["/health"]["get"]["security"] == []
