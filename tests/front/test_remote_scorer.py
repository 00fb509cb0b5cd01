"""The scoring client against a server on this machine: its scores, and what comes of a server that misbehaves."""

import pickle
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest

from markscheme.files import InputError
from markscheme.remote_scorer import RemoteScorer
from markscheme.scoring import GoldError, Message, Outcome, Sample, Score, Scorer
from markscheme.verifiers import NumericVerifier, StepVerifier

KEY = "sk-very-secret"
RIGHT = {"value": 1.0, "outcome": "correct"}


def sample(completion: str, **fields: Any) -> Sample:
    return Sample(**{"prompt": "3 + 4?", "completion": completion, "gold": "7", **fields})


SAMPLES = [sample(rf"It is \boxed{{{number}}}.", id=str(number)) for number in range(5, 10)]


def serving(scorer: Scorer, refused: str = "") -> Callable[[Any], Any]:
    """What a server of this scorer answers; a completion that it refuses it answers by 400."""

    def answer(asked: Any) -> Any:
        if asked.path == "/version":
            return 200, {"name": scorer.name, "version": scorer.version}, {}
        samples = [Sample.from_dict(record) for record in asked.body["samples"]]
        if refused and any(refused in one.completion for one in samples):
            return 400, {"error": "too long"}, {}
        try:
            return 200, {"scores": [score.to_dict() for score in scorer.score(samples)]}, {}
        except GoldError as error:
            return 422, {"error": "gold", "message": str(error)}, {}

    return answer


def always(*answer: Any) -> Callable[[Any], Any]:
    return lambda asked: answer


def assert_failed(score: Score, reason: str) -> None:
    assert (score.value, score.outcome) == (None, Outcome.FAILED)
    assert reason in score.evidence["reason"]


def num_scorings(loopback: Any) -> int:
    return sum(asked.path == "/score" for asked in loopback.asked)


@pytest.mark.parametrize("scorer", [NumericVerifier(), StepVerifier()], ids=lambda scorer: scorer.name)
def test_scores_are_those_of_the_server(scorer: Scorer, loopback: Any) -> None:
    loopback.answer = serving(scorer)
    steps = sample("3 + 4 = 7\n7 + 1 = 9\n")
    remote = RemoteScorer(loopback.url + "/", chunk_size=2)
    assert remote.score([*SAMPLES, steps]) == scorer.score([*SAMPLES, steps])
    assert remote.score([]) == []
    assert num_scorings(loopback) == 3  # of 6 samples, 2 at a time
    assert (remote.name, remote.version) == (scorer.name, scorer.version)


def test_samples_arrive_whole(loopback: Any) -> None:
    messages = (Message(role="system", content="Be brief."), Message(role="user", content="3 + 4?"))
    samples = [
        Sample(prompt=messages, completion="7 \ud800", gold=("7", "seven"), id="a", group="b", meta={"n": 1}),
        Sample(prompt="", completion=""),
    ]
    loopback.answer = always(200, {"scores": [RIGHT, RIGHT]}, {})
    RemoteScorer(loopback.url).score(samples)
    assert [Sample.from_dict(record) for record in loopback.asked[0].body["samples"]] == samples


def test_name_and_version_are_asked_for_once_and_late(loopback: Any) -> None:
    loopback.answer = serving(NumericVerifier())
    remote = RemoteScorer(loopback.url)
    assert loopback.asked == []
    assert [remote.name, remote.version, remote.name, remote.version] == 2 * [remote.name, remote.version]
    assert [(asked.method, asked.path) for asked in loopback.asked] == [("GET", "/version")]


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (404, b"not found"),
        (500, {}),
        (200, b"<html>"),
        (200, []),
        (200, {"name": "math"}),
        (200, {"name": "math", "version": 1}),
        (200, {"name": "", "version": ""}),
    ],
)
def test_without_a_version_it_stops(status: int, body: Any, loopback: Any, waits: list[float]) -> None:
    loopback.answer = always(status, body, {})
    for ask in (lambda: RemoteScorer(loopback.url).version, lambda: RemoteScorer(loopback.url).name):
        with pytest.raises(InputError, match=rf"^{loopback.url}/version .*: (start|give) .*scoring server") as caught:
            ask()
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_what_may_pass_is_waited_for(status: int, loopback: Any, waits: list[float]) -> None:
    answers = [(status, {}, {"retry-after": "3"}), (status, {}, {}), (200, {"scores": [RIGHT]}, {})]
    loopback.answer = lambda asked: answers.pop(0)
    assert RemoteScorer(loopback.url).score(SAMPLES[:1])[0].value == 1.0
    assert waits[0] == 3.0
    assert len(waits) == 2


def test_a_server_that_keeps_failing_costs_no_zeros(loopback: Any, waits: list[float]) -> None:
    loopback.answer = always(503, {"error": "loading"}, {})
    for score in RemoteScorer(loopback.url, tries=2).score(SAMPLES):
        assert_failed(score, "HTTP 503")
    assert len(loopback.asked) == 2  # what is the server's fault is not asked about apart


def test_one_failing_chunk_leaves_the_others_untouched(loopback: Any, waits: list[float]) -> None:
    good = serving(NumericVerifier())
    loopback.answer = lambda asked: good(asked) if asked.body["samples"][0]["id"] != "7" else (500, {}, {})
    scores = RemoteScorer(loopback.url, chunk_size=2, tries=2).score(SAMPLES)
    expected = NumericVerifier().score(SAMPLES)
    assert [scores[0], scores[1], scores[4]] == [expected[0], expected[1], expected[4]]
    for score in scores[2:4]:
        assert_failed(score, "HTTP 500")


def test_a_server_that_hangs(loopback: Any, waits: list[float]) -> None:
    loopback.answer = lambda asked: time.sleep(1)
    for score in RemoteScorer(loopback.url, timeout_s=0.2, tries=2).score(SAMPLES):
        assert_failed(score, "ReadTimeout")


def test_nobody_is_there(waits: list[float]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    for score in RemoteScorer(f"http://127.0.0.1:{port}").score(SAMPLES):
        assert_failed(score, "ConnectError")
    with pytest.raises(InputError, match="ConnectError"):
        _ = RemoteScorer(f"http://127.0.0.1:{port}").version


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"<html>", "not JSON"),
        ([], "no list of scores"),
        ({"scores": None}, "no list of scores"),
        ({"scores": {"0": RIGHT}}, "no list of scores"),
        ({"scores": [RIGHT] * 4}, "4 scores for 5 samples"),
        ({"scores": [RIGHT] * 6}, "6 scores for 5 samples"),
        (b'{"scores": [' + b" " * (1 << 24) + b"]}", "larger than"),
    ],
)
def test_an_answer_that_fits_no_sample_fails_them_all(body: Any, reason: str, loopback: Any) -> None:
    loopback.answer = always(200, body, {})
    for score in RemoteScorer(loopback.url).score(SAMPLES):
        assert_failed(score, reason)


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (None, "an object is needed"),
        (1.0, "an object is needed"),
        ({"value": 1.0}, "there is no outcome"),
        ({"outcome": "correct"}, "there is no value"),
        ({"value": 1.0, "outcome": "great"}, "not a valid Outcome"),
        ({"value": "1.0", "outcome": "correct"}, "value must not be of the type str"),
        ({"value": True, "outcome": "correct"}, "value must not be of the type bool"),
        ({"value": 10**400, "outcome": "correct"}, "too large"),
        ({"value": None, "outcome": "correct"}, "cannot have the value None"),
        ({"value": 0.0, "outcome": "failed"}, "cannot have the value 0"),
        ({**RIGHT, "answer": 7}, "answer must not be"),
        ({**RIGHT, "answer": "\ud800"}, "surrogates"),
        ({**RIGHT, "steps": [3]}, "a step must be"),
        ({**RIGHT, "steps": [[3, "1"]]}, "a step must be"),
        ({**RIGHT, "steps": {"3": 1}}, "steps must not be"),
        ({**RIGHT, "evidence": ["tier"]}, "evidence must not be"),
        ({**RIGHT, "parts": {"rule": {"value": 1.0}}}, "there is no outcome"),
        ({**RIGHT, "parts": [RIGHT]}, "parts must not be"),
    ],
)
def test_one_malformed_score_leaves_the_others_untouched(record: Any, reason: str, loopback: Any) -> None:
    loopback.answer = always(200, {"scores": [RIGHT, RIGHT, record, RIGHT, RIGHT]}, {})
    scores = RemoteScorer(loopback.url).score(SAMPLES)
    assert_failed(scores.pop(2), reason)
    assert [score.value for score in scores] == [1.0] * 4


def test_parts_without_end_are_malformed(loopback: Any) -> None:
    body = b'{"scores": [' + b'{"value": 1.0, "outcome": "rated", "parts": {"a": ' * 900 + b"{}" + b"}}" * 900 + b"]}"
    loopback.answer = always(200, body, {})
    assert_failed(RemoteScorer(loopback.url).score(SAMPLES[:1])[0], "")


def test_a_refused_sample_leaves_the_others_untouched(loopback: Any) -> None:
    loopback.answer = serving(NumericVerifier(), refused="7")
    scores = RemoteScorer(loopback.url).score(SAMPLES)
    expected = NumericVerifier().score(SAMPLES)
    assert_failed(scores.pop(2), "too long")
    assert scores == expected[:2] + expected[3:]
    assert len(loopback.asked) == 1 + 5


def test_a_gold_that_cannot_be_read_stops(loopback: Any) -> None:
    loopback.answer = serving(NumericVerifier())
    with pytest.raises(GoldError, match=r"^sample b: .* 'many' is not a number$"):
        RemoteScorer(loopback.url).score([SAMPLES[0], sample("7", gold="many", id="b")])
    assert len(loopback.asked) == 1


def test_another_422_is_a_refusal(loopback: Any) -> None:
    loopback.answer = always(422, {"detail": "field required"}, {})
    for score in RemoteScorer(loopback.url).score(SAMPLES[:2]):
        assert_failed(score, "field required")


@pytest.mark.parametrize("meta", [{"model": object()}, {"loss": float("nan")}, {("a",): 1}], ids=["type", "nan", "key"])
def test_what_json_cannot_hold_of_a_samples_meta_stays_here(meta: Any, loopback: Any) -> None:
    loopback.answer = serving(NumericVerifier())
    scores = RemoteScorer(loopback.url).score([SAMPLES[0], sample("7", meta={**meta, "kept": 1}), SAMPLES[2]])
    assert scores[1] == NumericVerifier().score([sample("7")])[0]
    assert loopback.asked[0].body["samples"][1]["meta"] == {"kept": 1}
    assert [scores[0], scores[2]] == NumericVerifier().score([SAMPLES[0], SAMPLES[2]])


def test_the_key_is_sent_and_kept_nowhere(loopback: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCORING_KEY", KEY)
    remote = RemoteScorer(loopback.url, api_key_variable="SCORING_KEY")
    loopback.answer = lambda asked: (403, {"error": f"no entry with {asked.headers['authorization']}"}, {})
    scores = remote.score(SAMPLES[:1])
    assert loopback.asked[0].headers["authorization"] == f"Bearer {KEY}"
    assert_failed(scores[0], "no entry with Bearer ***")
    assert KEY not in repr(remote)
    assert KEY.encode() not in pickle.dumps(remote)
    monkeypatch.delenv("SCORING_KEY")
    with pytest.raises(InputError, match="SCORING_KEY is not set"):
        remote.score(SAMPLES[:1])


def test_a_copy_knows_the_version(loopback: Any) -> None:
    loopback.answer = serving(NumericVerifier())
    remote = RemoteScorer(loopback.url)
    version = remote.version
    copy = pickle.loads(pickle.dumps(remote))
    assert (copy.version, copy) == (version, remote)
    assert len(loopback.asked) == 1


@pytest.mark.parametrize(
    "settings",
    [{"url": "localhost:8000"}, {"chunk_size": 0}, {"concurrency": 0}, {"tries": 0}, {"timeout_s": 0.0}],
    ids=str,
)
def test_settings_are_checked(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"needed, got|must be (at least 1|above 0), got 0"):
        RemoteScorer(**{"url": "http://localhost:8000", **settings})
