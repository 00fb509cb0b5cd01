"""Training when something is broken: the scorer, the completions, the prompts, the vocabulary.

What cannot be scored is never 0: it is counted, and moves nothing. Nothing hangs, and nothing is left half-written.
"""

import dataclasses
import json
import math
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from markscheme.cli import run
from markscheme.files import InputError
from markscheme.generation import Completion, Request, Sampling
from markscheme.grpo.advantage import outcome_advantages
from markscheme.grpo.config import GRPOConfig
from markscheme.grpo.objective import Objective
from markscheme.grpo.reward import CHUNK, THREAD_NAME
from markscheme.grpo.rollout import UnscoredError
from markscheme.grpo.training import train_grpo
from markscheme.policy.make import make_model
from markscheme.problems import Problem
from markscheme.prompting import PromptFormat
from markscheme.run_log import RunLog
from markscheme.scoring import Outcome, Sample, Score, Scorer
from markscheme.torch_engine import TorchEngine
from markscheme.verifiers import MathVerifier

PROBLEMS = [
    Problem(id=f"p{i}", question=f"Mia has {i} eggs. How many eggs?", gold=str(i), source="test", split="train")
    for i in range(10)
]
CONFIG = GRPOConfig(
    steps=2,
    prompts_per_step=10,  # each of the problems in each step
    group_size=8,  # 80 completions are 5 calls of the scorer
    learning_rate=1e-2,
    max_completion_tokens=8,
    checkpoint_every=1,
    logged_groups=10,
)
PATIENCE_S = 30.0
"""After so long a test fails instead of hanging."""
Answer = Callable[[Sequence[Sample]], Any]


@dataclass(frozen=True)
class Scripted:
    """A scorer that answers what a function says."""

    answer: Answer
    name: str = "scripted"
    version: str = "1"

    def score(self, samples: Sequence[Sample]) -> list[Score]:
        scores: list[Score] = self.answer(samples)
        return scores


def digits(samples: Sequence[Sample]) -> list[Score]:
    """A reward that a random model sometimes earns: the share of digits among what was written."""
    shares = [sum(map(str.isdigit, sample.completion)) / max(1, len(sample.completion)) for sample in samples]
    return [Score(value=share, outcome=Outcome.RATED) for share in shares]


class Watched(TorchEngine):
    """An engine that remembers what it wrote."""

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
        super().__init__(model, tokenizer)
        self.written: list[Completion] = []

    def stream(self, requests: Sequence[Request], sampling: Sampling) -> Iterator[tuple[int, int, Completion]]:
        for place in super().stream(requests, sampling):
            self.written.append(place[2])
            yield place


@dataclass
class Run:
    """A policy and the folder of its run."""

    model: PreTrainedModel
    engine: Watched
    folder: Path

    def train(
        self,
        scorer: Scorer | Answer,
        config: GRPOConfig = CONFIG,
        problems: Sequence[Problem] = PROBLEMS,
        on_step: Callable[[int, Any], None] = lambda done, metrics: None,
        dev_problems: Sequence[Problem] = (),
    ) -> list[dict[str, Any]]:
        """Trains, and returns the lines of metrics."""
        log = RunLog(self.folder, {"grpo": dataclasses.asdict(config)})
        tokenizer = self.engine.tokenizer
        train_grpo(
            self.model,
            self.engine,
            scorer if isinstance(scorer, Scorer) else Scripted(scorer),
            problems,
            lambda problem: PromptFormat(instruction="").prompt_ids(problem.question, tokenizer),
            config,
            log,
            dev_problems=dev_problems,
            decode=lambda ids: str(tokenizer.decode(list(ids), skip_special_tokens=True)),
            on_step=on_step,
        )
        return log.read()

    def rows(self, step: int) -> list[dict[str, Any]]:
        """The completions table of a step: group after group."""
        lines = (self.folder / "completions.jsonl").read_text().splitlines()
        return [row for row in map(json.loads, lines) if row["step"] == step]

    def weights(self) -> dict[str, torch.Tensor]:
        return {name: weight.clone() for name, weight in self.model.state_dict().items()}


NewRun = Callable[[str], Run]


@pytest.fixture
def new_run(tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> NewRun:
    """Makes runs that all begin with the same weights."""

    def make(name: str) -> Run:
        model = make_model(len(tokenizer), width=32, layers=2, seed=0)
        return Run(model=model, engine=Watched(model, tokenizer), folder=tmp_path / name)

    return make


@pytest.fixture
def released() -> Iterator[threading.Event]:
    """What a call that hangs waits for; it comes when the test is over, if not before."""
    event = threading.Event()
    yield event
    event.set()
    wait_for_the_hung_call()


def wait_for_the_hung_call() -> None:
    for thread in threading.enumerate():
        if thread.name == THREAD_NAME:
            thread.join(PATIENCE_S)
            assert not thread.is_alive()


def assert_same(mine: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> None:
    assert all(torch.equal(weight, theirs[name]) for name, weight in mine.items())


def assert_finite(lines: Sequence[dict[str, Any]]) -> None:
    assert all(math.isfinite(value) for line in lines for value in line.values())


def picked(sample: Sample) -> bool:
    """One completion in ten, whatever else is in the call."""
    return zlib.crc32(f"{sample.id}{sample.completion}".encode()) % 10 == 0


NEVER: list[tuple[Answer, str]] = [
    (lambda samples: 1 / 0, "ZeroDivisionError: division by zero"),
    (lambda samples: [Score(value=math.nan, outcome=Outcome.RATED)], "ValueError: a score must be finite, got nan"),
    (lambda samples: [math.nan] * len(samples), "returned nan, not a Score"),
    (lambda samples: [None] * len(samples), "returned None, not a Score"),
    (lambda samples: None, "returned None, not a list of scores"),
    (lambda samples: digits(samples) * 3, "3 scores for 1 sample"),
]


@pytest.mark.parametrize(("answer", "error"), NEVER, ids=[error for _, error in NEVER])
def test_a_reward_that_never_works_stops_the_run_which_can_go_on_once_it_is_mended(
    new_run: NewRun, answer: Answer, error: str
) -> None:
    undisturbed, stopped = new_run("undisturbed"), new_run("stopped")
    undisturbed.train(digits)
    works = True

    def at_first(samples: Sequence[Sample]) -> Any:
        return digits(samples) if works else answer(samples)

    def break_it(done: int, metrics: object) -> None:
        nonlocal works
        works = False

    with pytest.raises(UnscoredError, match=r"80 of 80 completions could not be scored, such as p\d: failed") as caught:
        stopped.train(at_first, on_step=break_it)
    assert error in str(caught.value)
    assert [path.name for path in (stopped.folder / "checkpoints").iterdir()] == ["step-0000001"]

    works = True
    stopped.train(at_first)
    assert_same(stopped.weights(), undisturbed.weights())
    for name in ("metrics.jsonl", "completions.jsonl"):
        assert (stopped.folder / name).read_bytes() == (undisturbed.folder / name).read_bytes()


def test_a_reward_that_raises_for_one_completion_in_ten_leaves_out_that_one(new_run: NewRun) -> None:
    def now_and_then(samples: Sequence[Sample]) -> list[Score]:
        if any(map(picked, samples)):
            raise RuntimeError("no luck")
        return digits(samples)

    config = dataclasses.replace(CONFIG, steps=1)
    broken = new_run("broken")
    with pytest.warns(UserWarning, match="could not be scored"):
        (line,) = broken.train(now_and_then, config)
    rows = broken.rows(1)
    assert len(rows) == 80
    rewards = []
    for row in rows:
        sample = Sample(prompt="", completion=row["completion"], id=row["problem"])
        value = None if picked(sample) else digits([sample])[0].value
        assert row["score"]["value"] == value
        assert ("RuntimeError: no luck" in row["score"].get("evidence", {}).values()) == (value is None)
        rewards.append(value)
    assert line["unscored_share"] == rewards.count(None) / 80 > 0
    assert line["reward"] == pytest.approx(sum(value or 0 for value in rewards) / (80 - rewards.count(None)))
    advantages_PG = outcome_advantages([rewards[start : start + 8] for start in range(0, 80, 8)])
    assert [row["advantage"] for row in rows] == [advantage for group in advantages_PG for advantage in group]
    assert line["trained_completions"] == sum(advantage != 0 for group in advantages_PG for advantage in group)

    undecided = new_run("undecided")  # a scorer that says so itself moves the weights by the same

    def cannot_tell(samples: Sequence[Sample]) -> list[Score]:
        nothing = Score(value=None, outcome=Outcome.UNDECIDED)
        return [nothing if picked(sample) else digits([sample])[0] for sample in samples]

    with pytest.warns(UserWarning, match="could not be scored"):
        undecided.train(cannot_tell, config)
    assert_same(broken.weights(), undecided.weights())


def test_a_reward_that_hangs_always_stops_the_run(new_run: NewRun, released: threading.Event) -> None:
    def hang(samples: Sequence[Sample]) -> list[Score]:
        released.wait(60)
        return digits(samples)

    hanging = new_run("run")
    before = hanging.weights()
    start = time.monotonic()
    with pytest.raises(UnscoredError, match=r"80 of 80 .*no score within 0\.5 s"):
        hanging.train(hang, dataclasses.replace(CONFIG, score_deadline_s=0.5))
    assert time.monotonic() - start < PATIENCE_S
    assert_same(hanging.weights(), before)


def test_a_reward_that_hangs_once_costs_what_it_was_asked_and_its_late_scores_never_appear(
    new_run: NewRun, released: threading.Event
) -> None:
    calls = 0

    def hang_in_the_fifth_call(samples: Sequence[Sample]) -> list[Score]:
        nonlocal calls
        calls += 1
        if calls == 5:  # the last of the first step
            released.wait(60)
            return [Score(value=1e6, outcome=Outcome.RATED) for _ in samples]
        return digits(samples)

    def let_go(done: int, metrics: object) -> None:
        released.set()
        wait_for_the_hung_call()

    hanging = new_run("run")
    with pytest.warns(UserWarning, match=r"20\.0% of the completions could not be scored"):
        lines = hanging.train(hang_in_the_fifth_call, dataclasses.replace(CONFIG, score_deadline_s=2.0), on_step=let_go)
    assert [line["unscored_share"] for line in lines] == [CHUNK / 80, 0.0]
    for row in [*hanging.rows(1), *hanging.rows(2)]:
        sample = Sample(prompt="", completion=row["completion"])
        assert row["score"]["value"] in (None, digits([sample])[0].value)
    assert_finite(lines)


def test_a_group_that_the_scorer_cannot_judge_is_counted_and_moves_nothing(new_run: NewRun) -> None:
    def all_but_p3(samples: Sequence[Sample]) -> list[Score]:
        nothing = Score(value=None, outcome=Outcome.UNDECIDED)
        return [nothing if sample.id == "p3" else digits([sample])[0] for sample in samples]

    def all_zero_for_p3(samples: Sequence[Sample]) -> list[Score]:
        zero = Score(value=0.0, outcome=Outcome.RATED)
        return [zero if sample.id == "p3" else digits([sample])[0] for sample in samples]

    config = dataclasses.replace(CONFIG, steps=1)
    unjudged, equal = new_run("unjudged"), new_run("equal")
    with pytest.warns(UserWarning, match=r"10\.0% of the completions could not be scored"):
        (line,) = unjudged.train(all_but_p3, config)
    assert line["unscored_share"] == 0.1
    rows = unjudged.rows(1)
    judged = [row["score"]["value"] for row in rows if row["problem"] != "p3"]
    assert line["reward"] == pytest.approx(sum(judged) / 72)  # the other eight are not 0
    assert [row["advantage"] for row in rows if row["problem"] == "p3"] == [0.0] * 8
    assert line["trained_completions"] == sum(row["advantage"] != 0 for row in rows) > 0
    equal.train(all_zero_for_p3, config)  # a group without variance moves nothing either
    assert_same(unjudged.weights(), equal.weights())


@pytest.mark.parametrize(
    "objective",
    [Objective(), Objective(average="token"), Objective(average="constant"), Objective(kl_coef=0.1)],
    ids=["completion", "token", "constant", "kl"],
)
def test_a_step_in_which_all_is_cut_off_and_left_out_is_logged_and_moves_nothing(
    new_run: NewRun, objective: Objective
) -> None:
    endless = new_run("run")
    endless.engine.end_ids = frozenset()
    before = endless.weights()
    lines = endless.train(
        digits, dataclasses.replace(CONFIG, drop_truncated=True, objective=objective, weight_decay=0.1)
    )
    assert_same(endless.weights(), before)
    assert [line["step"] for line in lines] == [1, 2]
    for line in lines:
        assert line["truncated_share"] == 1.0
        assert line["trained_completions"] == 0.0
        assert line["unscored_share"] == 0.0
        assert line["reward"] > 0
    assert_finite(lines)
    assert [path.name for path in (endless.folder / "checkpoints").iterdir()] == ["step-0000002"]


@pytest.mark.parametrize("supervision", ["outcome", "process"])
def test_a_completion_of_nothing_but_an_end_token_is_judged_as_the_empty_text(
    new_run: NewRun, supervision: Any
) -> None:
    curt = new_run("run")
    curt.engine.end_ids = frozenset(range(0, 636, 2))  # half of the completions end at once
    lines = curt.train(digits, dataclasses.replace(CONFIG, supervision=supervision))
    empty = [row for row in [*curt.rows(1), *curt.rows(2)] if row["completion"] == ""]
    assert len(empty) > 20
    assert all(row["score"] == {"value": 0.0, "outcome": "rated"} for row in empty)
    assert {row["finish_reason"] for row in empty} == {"stop"}
    assert any(row["advantage"] for row in empty)  # they are in the loss
    assert [line["unscored_share"] for line in lines] == [0.0, 0.0]
    assert_finite(lines)


def test_when_all_completions_are_empty_there_is_nothing_to_learn(new_run: NewRun) -> None:
    silent = new_run("run")
    silent.engine.end_ids = frozenset(range(636))
    before = silent.weights()
    (line,) = silent.train(MathVerifier(), dataclasses.replace(CONFIG, steps=1))
    assert {row["score"]["outcome"] for row in silent.rows(1)} == {"no_answer"}
    assert line["no_answer_share"] == line["zero_variance_share"] == 1.0
    assert line["completion_tokens"] == 1.0
    assert_finite([line])
    assert_same(silent.weights(), before)


LONG = Problem(id="long", question="egg " * 600, gold="1", source="test", split="train")


@pytest.mark.parametrize("where", ["train", "dev"])
def test_a_prompt_without_room_is_named_before_anything_is_written(new_run: NewRun, where: str) -> None:
    full = new_run("run")
    full.model.config.max_position_embeddings = 128
    before = full.weights()
    config = dataclasses.replace(CONFIG, prompts_per_step=1)
    problems, dev_problems = ([*PROBLEMS, LONG], []) if where == "train" else (PROBLEMS, [LONG])
    with pytest.raises(InputError) as caught:
        full.train(digits, config, problems, dev_problems=dev_problems)
    message = str(caught.value)
    assert "tokens of problem long is more than the model's 128 positions" in message
    assert "\n" not in message
    assert full.engine.written == []
    assert_same(full.weights(), before)
    assert {path.name for path in full.folder.iterdir()} == {"config.toml", "versions.json"}


def test_the_command_line_names_a_prompt_without_room_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    task = tmp_path / "task.jsonl"
    rows = [{"id": "short", "question": "1 + 1?", "gold": "2"}, {"id": "long", "question": "egg " * 3_000, "gold": "1"}]
    task.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert run(["grpo", "--task", str(task), "--out", str(tmp_path / "run")]) == 2
    (message,) = capsys.readouterr().err.splitlines()
    assert "tokens of problem long is more than the model's 2048 positions" in message
    assert not (tmp_path / "run").exists()


def test_tokens_that_the_tokenizer_does_not_know_are_no_text(
    tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    model = make_model(len(tokenizer), width=32, layers=2, seed=0)
    model.resize_token_embeddings(len(tokenizer) + 64)
    padded = Run(model=model, engine=Watched(model, tokenizer), folder=tmp_path / "run")
    before = padded.weights()
    lines = padded.train(digits, dataclasses.replace(CONFIG, stop=("17",)))
    strange = [one for one in padded.engine.written if max(one.ids) >= len(tokenizer)]
    assert strange
    for one in strange:
        known = [token for token in one.ids if token < len(tokenizer)]
        assert str(tokenizer.decode(known, skip_special_tokens=True)).startswith(one.text)
    assert [line["unscored_share"] for line in lines] == [0.0, 0.0]
    assert all(line["trained_completions"] > 0 for line in lines)
    assert_finite(lines)
    assert not torch.equal(padded.weights()["model.embed_tokens.weight"], before["model.embed_tokens.weight"])


def test_how_fast_the_scorer_is_changes_nothing(new_run: NewRun) -> None:
    def by_neighbours(samples: Sequence[Sample]) -> list[Score]:
        """Depends on what else is in the call, as a reward model's does by rounding."""
        share = zlib.crc32("".join(sample.completion for sample in samples).encode()) % 1_000 / 1_000
        return [Score(value=(score.value or 0.0) + share, outcome=score.outcome) for score in digits(samples)]

    def slowly(samples: Sequence[Sample]) -> list[Score]:
        time.sleep(0.05)
        return by_neighbours(samples)

    fast, slow = new_run("fast"), new_run("slow")
    assert fast.train(by_neighbours) == slow.train(slowly)
    assert_same(fast.weights(), slow.weights())
    assert fast.rows(2) == slow.rows(2)


@pytest.mark.parametrize("value", [0.0, -1.0, math.inf, math.nan])
def test_a_senseless_deadline_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="score_deadline_s must be above 0"):
        GRPOConfig(score_deadline_s=value)
