"""The laws that every scorer keeps, whatever it is made of. To have a new scorer checked, add it to SCORERS."""

import asyncio
import json
import pickle
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from markscheme.adapters import as_scorer
from markscheme.compose import Cascade, Clip, Ensemble, Gate, Shaped, WeightedSum
from markscheme.models import save_policy
from markscheme.policy.make import make_model, make_tokenizer
from markscheme.remote_scorer import RemoteScorer
from markscheme.reward_models import Judge, JudgeConfig, ProcessRewardModel, RewardModel, RewardNetwork
from markscheme.scoring import Outcome, Sample, Score, Scorer
from markscheme.serve.config import ServeConfig
from markscheme.serve.server import ScoringServer, listen, url_of
from markscheme.verifiers import (
    AnswerKind,
    ChoiceVerifier,
    Conciseness,
    FormatVerifier,
    LengthPenalty,
    MathVerifier,
    NumericVerifier,
    RepetitionPenalty,
    StepVerifier,
)

DEADLINE_S = 20.0  # far above what any of these takes, so that a busy machine changes no verdict


def shortness(sample: Sample) -> float:
    return 1.0 / len(sample.completion)  # raises for an empty one


def agrees(sample: Sample) -> bool | None:
    return None if sample.completion.startswith("?") else sample.gold in sample.completion  # type: ignore[operator]


@dataclass(frozen=True)
class WithGold:
    """A scorer that needs golds of another kind than the samples have."""

    scorer: Scorer
    gold: str

    @property
    def name(self) -> str:
        return self.scorer.name

    @property
    def version(self) -> str:
        return self.scorer.version

    def score(self, samples: Sequence[Sample]) -> list[Score]:
        return self.scorer.score([replace(sample, gold=self.gold) for sample in samples])


FOLDER = tempfile.TemporaryDirectory(prefix="markscheme-contract-")  # goes with this process


def reward_models() -> list[Scorer]:
    """Reward models with random weights that read 512 tokens: some of the samples are longer."""
    tokenizer = make_tokenizer()
    model = make_model(len(tokenizer), width=32, layers=1, seed=0)
    model.config.max_position_embeddings = 512
    policy, folder = Path(FOLDER.name) / "policy", Path(FOLDER.name)
    save_policy(model, tokenizer, policy)
    RewardNetwork.from_pretrained(str(policy), seed=1).save(folder / "outcome")
    RewardNetwork.from_pretrained(str(policy), seed=1, kind="process").save(folder / "process")
    return [
        RewardModel(folder / "outcome"),
        ProcessRewardModel(folder / "process"),
        ProcessRewardModel(folder / "process", "min"),
    ]


class Answers(BaseHTTPRequestHandler):
    """A judge that gives a 7 to whatever has one, and a server of `SERVED`."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.answer({"name": SERVED.name, "version": SERVED.version})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.path == "/score":
            samples = [Sample.from_dict(record) for record in body["samples"]]
            self.answer({"scores": [score.to_dict() for score in SERVED.score(samples)]})
            return
        completion = body["messages"][0]["content"].partition("<<<completion ")[2].partition(">>>")[2]
        verdict = {"final_answer": "7", "grade": 7} if "7" in completion.partition("<<<")[0] else NO_ANSWER
        self.answer({"choices": [{"message": {"content": json.dumps(verdict)}, "finish_reason": "stop"}]})

    def answer(self, body: Any) -> None:
        content = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        pass


class Server(ThreadingHTTPServer):
    request_queue_size = 128


NO_ANSWER = {"final_answer": "", "grade": 0}
SERVED = NumericVerifier(lenient=True)
SERVER = Server(("127.0.0.1", 0), Answers)  # goes with this process
threading.Thread(target=SERVER.serve_forever, daemon=True).start()
URL = f"http://127.0.0.1:{SERVER.server_port}"


def served(scorer: Scorer) -> str:
    """The address of a scoring server, which goes with this process."""
    listener, ready = listen("127.0.0.1", 0), threading.Event()
    server = ScoringServer(scorer, ServeConfig(), processes=1, batch_size=1, key=None)
    threading.Thread(target=lambda: asyncio.run(server.serve(listener, ready.set)), daemon=True).start()
    assert ready.wait(60)
    return url_of(listener)


MATH = MathVerifier(deadline_s=DEADLINE_S)
SCORERS: list[Scorer] = [
    MATH,
    MathVerifier(lenient=True, deadline_s=DEADLINE_S),
    MathVerifier(profile="gsm8k", deadline_s=DEADLINE_S),
    MathVerifier(profile="cmath", lenient=True, deadline_s=DEADLINE_S),
    MathVerifier(profile="generic", deadline_s=DEADLINE_S),
    NumericVerifier(),
    StepVerifier(),
    StepVerifier(without_equations=1.0),
    LengthPenalty(max_tokens=100, buffer_tokens=50),
    Conciseness(target_tokens=20, limit_tokens=100),
    RepetitionPenalty(ngram=3),
    WithGold(ChoiceVerifier(), "B"),
    WithGold(ChoiceVerifier(lenient=True), "B"),
    FormatVerifier(),
    FormatVerifier(form=AnswerKind.TAG, thought=True),
    FormatVerifier(form=AnswerKind.HASHES),
    as_scorer(shortness),
    as_scorer(agrees, name="agrees"),
    WeightedSum({"math": (MATH, 1.0), "format": (FormatVerifier(), 0.1), "short": (as_scorer(shortness), -0.5)}),
    Gate(MATH, as_scorer(shortness), otherwise=-1.0),
    Cascade([as_scorer(agrees), MATH, NumericVerifier(lenient=True)]),
    Clip(as_scorer(shortness), low=0.1, high=0.5),
    Shaped(MATH, as_scorer(shortness)),
    Shaped(NumericVerifier(), Ensemble([RepetitionPenalty(ngram=3), FormatVerifier()], "min"), alpha=2.0),
    Ensemble([as_scorer(shortness), as_scorer(agrees, name="agrees"), FormatVerifier()]),
    Ensemble([MATH, NumericVerifier(), NumericVerifier(lenient=True)], "lower", penalty=0.5),
    WeightedSum({"math": (MATH, 1.0), "length": (LengthPenalty(max_tokens=100, buffer_tokens=50), 1.0)}),
    *reward_models(),
    Judge(JudgeConfig(url=f"{URL}/v1", model="judge")),
    Judge(JudgeConfig(url=f"{URL}/v1", model="judge", votes=3, temperature=1.0)),
    RemoteScorer(URL, chunk_size=10),
    RemoteScorer(served(MathVerifier(profile="gsm8k", lenient=True)), chunk_size=10),
    WeightedSum({"nested": (Clip(Gate(NumericVerifier(), FormatVerifier()), low=0.0, high=0.5), 2.0)}),
]

HOSTILE = [
    "",
    " \n\t ",
    "\x00\x00\x00",
    r"\boxed{" + "\x00" + "}",
    r"\boxed{}",
    r"\boxed{7",
    r"\boxed{7}}}}}",
    r"\boxed{{{{7}",
    r"\boxed" * 1000,
    "x" * 400_000,
    "{" * 50_000 + "}" * 50_000,
    r"\boxed{" + "9" * 100_000 + "}",
    r"\boxed{" + "(" * 300 + "1" + ")" * 300 + "}",
    r"\boxed{" + "1," * 500 + "1}",
    r"\boxed{" + r"\frac{1}{" * 30 + "2" + "}" * 30 + "}",
    r"\boxed{9**9**9}",
    r"\boxed{__import__('os').system('touch /tmp/markscheme_was_here')}",
    r"\boxed{exit()}",
    r"\boxed{\frac{1}{0}}",
    r"\boxed{x=x=x=x=x}",
    r"\boxed{=}",
    r"\boxed{,}",
    r"\boxed{\begin{pmatrix}1&2\\3\end{pmatrix}}",
    r"\boxed{\text{\text{\text{7}}}}",
    "\ud800 \\boxed{\ud800} \udfff",
    "🙂 \\boxed{🙂}",
    "\\boxed{\u202e7\u202c}",
    "<answer><answer>7</answer></answer>",
    "####",
    "the answer is",
    "The answer is not 7.",
    "\\" * 1001,
    "$" * 1001,
    "%s %d {0} {name} ${HOME}",
]
ORDINARY = [
    r"So it is \boxed{7}.",
    r"So it is \boxed{8}.",
    r"\boxed{\sqrt{49}}",
    r"\boxed{2^3}",
    "<answer>7</answer>",
    "#### 7",
    "I think 7",
    "? no idea",
]


def sample(index: int, completion: str) -> Sample:
    return Sample(prompt="3 + 4?", completion=completion, gold="7", id=str(index), meta={"completion_tokens": 75})


SAMPLES = [sample(index, completion) for index, completion in enumerate([*ORDINARY, *HOSTILE])]


class Near(float):
    """A reward: kernels round it otherwise in a batch of another shape."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, float) and float(self) == pytest.approx(float(other), abs=1e-5)

    __hash__ = None  # type: ignore[assignment]


def plain(scores: list[Score]) -> list[dict[str, Any]]:
    """The scores as JSON values, without times."""
    return [_without_times(score.to_dict()) for score in scores]


def _without_times(record: dict[str, Any]) -> dict[str, Any]:
    evidence = {key: value for key, value in record.get("evidence", {}).items() if "seconds" not in key}
    parts = {name: _without_times(part) for name, part in record.get("parts", {}).items()}
    if "reward" in evidence:
        record = {**record, "value": Near(record["value"])}
        evidence["reward"] = Near(evidence["reward"])
    if "steps" in record and "steps" in evidence:  # a process model's
        steps = [[end, Near(value)] for end, value in record["steps"]]
        record = {**record, "value": Near(record["value"]), "steps": steps}
    return {**record, "evidence": evidence, "parts": parts}


every_scorer = pytest.mark.parametrize("scorer", SCORERS, ids=[f"{index}-{x.name}" for index, x in enumerate(SCORERS)])


@pytest.fixture(scope="module")
def scores_of() -> Any:
    """Scores of SAMPLES as one batch, worked out once for each scorer."""
    known: dict[int, list[Score]] = {}

    def get(scorer: Scorer) -> list[Score]:
        if id(scorer) not in known:
            known[id(scorer)] = scorer.score(SAMPLES)
        return known[id(scorer)]

    return get


@every_scorer
def test_one_score_a_sample_with_a_value_unless_it_could_not_tell(scorer: Scorer, scores_of: Any) -> None:
    scores = scores_of(scorer)
    assert len(scores) == len(SAMPLES)
    for score in scores:
        assert (score.value is None) == (score.outcome in (Outcome.UNDECIDED, Outcome.FAILED))
    assert scorer.score([]) == []


@every_scorer
def test_order_is_kept_and_a_batch_can_be_permuted_split_and_repeated(scorer: Scorer, scores_of: Any) -> None:
    whole = plain(scores_of(scorer))
    assert plain(scorer.score(SAMPLES)) == whole
    assert plain(scorer.score(SAMPLES[::-1])) == whole[::-1]
    half = len(SAMPLES) // 2
    assert plain(scorer.score(SAMPLES[:half])) + plain(scorer.score(SAMPLES[half:])) == whole
    assert plain(scorer.score(SAMPLES[:3] * 2)) == whole[:3] * 2


@every_scorer
def test_one_bad_sample_leaves_the_others_untouched(scorer: Scorer, scores_of: Any) -> None:
    whole = plain(scores_of(scorer))
    for bad in (len(ORDINARY), SAMPLES.index(next(x for x in SAMPLES if "9**9" in x.completion))):
        scores = plain(scorer.score([SAMPLES[0], SAMPLES[bad], SAMPLES[1]]))
        assert [scores[0], scores[2]] == whole[:2]


@every_scorer
def test_scores_are_json(scorer: Scorer, scores_of: Any) -> None:
    for score in scores_of(scorer):
        text = json.dumps(score.to_dict(), allow_nan=False)
        assert Score.from_dict(json.loads(text)) == score
        json.dumps(score.to_dict(), ensure_ascii=False).encode()  # no lone surrogate: it can be written to a file


@every_scorer
def test_a_scorer_can_be_pickled(scorer: Scorer, scores_of: Any) -> None:
    copy = pickle.loads(pickle.dumps(scorer))
    assert (copy.name, copy.version) == (scorer.name, scorer.version)
    assert plain(copy.score(SAMPLES[:4])) == plain(scores_of(scorer))[:4]


@every_scorer
def test_works_off_the_main_thread(scorer: Scorer, scores_of: Any) -> None:
    found: list[list[Score]] = []
    threads = [threading.Thread(target=lambda: found.append(scorer.score(SAMPLES[:8]))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [plain(scores) for scores in found] == [plain(scores_of(scorer))[:8]] * 3


@every_scorer
def test_works_inside_a_running_event_loop(scorer: Scorer, scores_of: Any) -> None:
    async def score() -> list[Score]:
        return scorer.score(SAMPLES[:8])

    assert plain(asyncio.run(score())) == plain(scores_of(scorer))[:8]


@every_scorer
def test_name_and_version_are_text(scorer: Scorer) -> None:
    assert isinstance(scorer, Scorer)
    assert scorer.name
    assert scorer.version
    assert isinstance(scorer.name + scorer.version, str)


def test_no_two_scorers_share_name_and_version() -> None:
    assert len({(scorer.name, scorer.version) for scorer in SCORERS}) == len(SCORERS)
