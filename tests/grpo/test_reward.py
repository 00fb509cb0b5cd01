"""Scores are worked out beside the generator, by a deadline, and a scorer that breaks harms nobody else."""

import math
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from markscheme.files import InputError
from markscheme.generation import Completion, FinishReason, Request, Sampling
from markscheme.grpo.reward import CHUNK, THREAD_NAME, score_as_written
from markscheme.grpo.rollout import greedy_metrics, greedy_rollouts, sample_groups
from markscheme.problems import Problem
from markscheme.scoring import GoldError, Outcome, Sample, Score

PROBLEMS = [Problem(id=f"p{i}", question=f"{i}?", gold=str(i), source="test", split="train") for i in range(10)]
PATIENCE_S = 30.0
"""After so long a test fails instead of hanging."""


def rated(samples: Sequence[Sample]) -> list[Score]:
    """The number that is a sample's text."""
    return [Score(value=float(sample.completion), outcome=Outcome.RATED) for sample in samples]


@dataclass(frozen=True)
class Scripted:
    """A scorer that answers what a function says."""

    answer: Callable[[Sequence[Sample]], Any]
    name: str = "scripted"
    version: str = "1"

    def score(self, samples: Sequence[Sample]) -> list[Score]:
        scores: list[Score] = self.answer(samples)
        return scores


def numbers(count: int) -> list[Sample]:
    return [Sample(prompt="", completion=str(i)) for i in range(count)]


def values(scores: Sequence[Score]) -> list[float | None]:
    return [score.value for score in scores]


def errors(scores: Sequence[Score]) -> list[str | None]:
    """What went wrong with each sample; None where nothing did."""
    assert all(score.outcome is (Outcome.FAILED if "error" in score.evidence else Outcome.RATED) for score in scores)
    return [score.evidence.get("error") for score in scores]


def assert_no_thread_is_left() -> None:
    ends_at = time.monotonic() + PATIENCE_S
    while any(thread.name == THREAD_NAME for thread in threading.enumerate()):
        assert time.monotonic() < ends_at, "the scoring thread is still there"
        time.sleep(0.01)


@pytest.fixture
def released() -> Iterator[threading.Event]:
    """What a call that hangs waits for; it comes when the test is over, if not before."""
    event = threading.Event()
    yield event
    event.set()
    assert_no_thread_is_left()


class Backwards:
    """A generator whose completions finish from the last to the first; their text is their place."""

    def __init__(self, pause_s: float = 0.0) -> None:
        self.pause_s = pause_s
        self.ended_at = math.nan

    def stream(self, requests: Sequence[Request], sampling: Sampling) -> Iterator[tuple[int, int, Completion]]:
        for p, request in reversed(list(enumerate(requests))):
            for k in reversed(range(len(request.seeds))):
                time.sleep(self.pause_s)
                text = str(10 * p + k)
                yield p, k, Completion(text=text, ids=(1,), logprobs=(0.0,), finish_reason=FinishReason.STOP)
        self.ended_at = time.monotonic()

    def load_weights(self, named_tensors: object) -> None:
        """Has none."""


def groups_of(generator: Any, scorer: Any, deadline_s: float = PATIENCE_S, group_size: int = 4) -> list[list[float]]:
    """The scores of PROBLEMS' groups."""
    seeds_PG = [list(range(group_size))] * len(PROBLEMS)
    groups = sample_groups(generator, scorer, PROBLEMS, lambda problem: (1,), Sampling(), seeds_PG, deadline_s)
    for problem, group in zip(PROBLEMS, groups, strict=True):
        assert [rollout.problem for rollout in group] == [problem] * group_size
        assert [rollout.completion.text[-1] for rollout in group] == [str(k) for k in range(group_size)]
    return [[rollout.score.value for rollout in group] for group in groups]  # type: ignore[misc]


@pytest.mark.parametrize("generator_pause_s", [0.0, 0.005])
@pytest.mark.parametrize("scorer_pause_s", [0.0, 0.1])
def test_a_call_holds_what_the_generators_order_says_whoever_is_slower(
    generator_pause_s: float, scorer_pause_s: float
) -> None:
    calls: list[list[int]] = []

    def slow(samples: Sequence[Sample]) -> list[Score]:
        time.sleep(scorer_pause_s)
        calls.append([int(sample.completion) for sample in samples])
        return rated(samples)

    found = groups_of(Backwards(generator_pause_s), Scripted(slow))
    assert found == [[10.0 * p + k for k in range(4)] for p in range(10)]
    order = [10 * p + k for p in reversed(range(10)) for k in reversed(range(4))]
    assert calls == [order[:16], order[16:32], order[32:]]
    assert CHUNK == 16
    assert_no_thread_is_left()


def test_scoring_goes_on_while_the_generator_does() -> None:
    is_scored = threading.Event()

    def written() -> Iterator[Sample]:
        yield from numbers(CHUNK)
        assert is_scored.wait(PATIENCE_S), "nothing is scored before the last completion"
        yield from numbers(1)

    def tell(samples: Sequence[Sample]) -> list[Score]:
        is_scored.set()
        return rated(samples)

    assert len(score_as_written(Scripted(tell), written(), PATIENCE_S)) == CHUNK + 1


def test_nothing_written_is_nothing_scored() -> None:
    assert score_as_written(Scripted(lambda samples: 1 / 0), [], PATIENCE_S) == []


def test_a_scorer_that_hangs_costs_the_deadline_and_no_more(released: threading.Event) -> None:
    def hang(samples: Sequence[Sample]) -> list[Score]:
        released.wait(60)
        return rated(samples)

    generator = Backwards()
    assert groups_of(generator, Scripted(hang), 0.5) == [[None] * 4] * 10
    assert 0.5 <= time.monotonic() - generator.ended_at < 0.5 + 1


def test_what_was_scored_before_the_hang_is_kept(released: threading.Event) -> None:
    calls: list[int] = []

    def hang_at_the_second_call(samples: Sequence[Sample]) -> list[Score]:
        calls.append(len(samples))
        if len(calls) == 2:
            released.wait(60)
        return rated(samples)

    scores = score_as_written(Scripted(hang_at_the_second_call), numbers(40), 0.5)
    assert values(scores) == [float(i) for i in range(16)] + [None] * 24
    assert errors(scores)[16:] == ["no score within 0.5 s"] * 24
    released.set()
    assert_no_thread_is_left()
    assert calls == [16, 16]  # nobody waits for the third


def test_late_scores_never_appear(released: threading.Event) -> None:
    is_first = True

    def late_once(samples: Sequence[Sample]) -> list[Score]:
        nonlocal is_first
        if is_first:
            is_first = False
            released.wait(60)
            return [Score(value=-1.0, outcome=Outcome.RATED) for _ in samples]
        return rated(samples)

    scorer = Scripted(late_once)
    assert values(score_as_written(scorer, numbers(20), 0.2)) == [None] * 20

    def written() -> Iterator[Sample]:
        yield from numbers(20)
        released.set()  # while the next step waits for its own
        time.sleep(0.1)

    assert values(score_as_written(scorer, written(), PATIENCE_S)) == [float(i) for i in range(20)]


def test_a_broken_call_is_made_again_for_each_of_its_samples() -> None:
    calls: list[int] = []

    def break_at_20(samples: Sequence[Sample]) -> list[Score]:
        calls.append(len(samples))
        if any(sample.completion == "20" for sample in samples):
            raise KeyError("twenty" + 300 * "!")
        return rated(samples)

    scores = score_as_written(Scripted(break_at_20), numbers(40), PATIENCE_S)
    assert values(scores) == [float(i) if i != 20 else None for i in range(40)]
    assert [error for error in errors(scores) if error] == ["KeyError: 'twenty" + 183 * "!"]  # 200 characters
    assert calls == [16, 16, *[1] * 16, 8]


NO_SCORES: list[tuple[Callable[[Sequence[Sample]], Any], str]] = [
    (lambda samples: [Score(value=math.nan, outcome=Outcome.RATED)], "ValueError: a score must be finite, got nan"),
    (lambda samples: [math.nan] * len(samples), "returned nan, not a Score"),
    (lambda samples: [None] * len(samples), "returned None, not a Score"),
    (lambda samples: tuple(0.5 for _ in samples), "returned 0.5, not a Score"),
    (lambda samples: None, "returned None, not a list of scores"),
    (lambda samples: 0.5, "returned 0.5, not a list of scores"),
    (lambda samples: rated(samples) * 3, "3 scores for 1 sample"),
    (lambda samples: [], "0 scores for 1 sample"),
    (lambda samples: samples.clear(), "returned None, not a list of scores"),  # type: ignore[attr-defined]
]


@pytest.mark.parametrize(("answer", "error"), NO_SCORES, ids=[error for _, error in NO_SCORES])
def test_what_is_no_score_is_a_failure_that_says_so(answer: Callable[[Sequence[Sample]], Any], error: str) -> None:
    assert errors(score_as_written(Scripted(answer), numbers(18), PATIENCE_S)) == [error] * 18


def test_one_that_is_no_score_leaves_its_neighbours_alone() -> None:
    def all_but_one(samples: Sequence[Sample]) -> list[Any]:
        return [None if score.value == 3 else score for score in rated(samples)]

    scores = score_as_written(Scripted(all_but_one), numbers(5), PATIENCE_S)
    assert values(scores) == [0.0, 1.0, 2.0, None, 4.0]
    assert errors(scores)[3] == "returned None, not a Score"


def test_a_scorer_that_can_do_one_at_a_time_only_is_served() -> None:
    scores = score_as_written(Scripted(lambda samples: rated(samples)[:1]), numbers(20), PATIENCE_S)
    assert values(scores) == [float(i) for i in range(20)]


@pytest.mark.parametrize("error", [GoldError("problem p3: no gold"), InputError("no template"), SystemExit(3)])
def test_an_error_that_is_not_the_completions_stops_the_caller(error: BaseException) -> None:
    def stop(samples: Sequence[Sample]) -> list[Score]:
        raise error

    with pytest.raises(type(error)) as caught:
        groups_of(Backwards(), Scripted(stop))
    assert caught.value is error
    assert_no_thread_is_left()


def test_bad_data_stops_the_caller_in_the_second_try_too() -> None:
    def stop(samples: Sequence[Sample]) -> list[Score]:
        raise GoldError("no gold") if len(samples) == 1 else RuntimeError("a batch")

    with pytest.raises(GoldError, match="no gold"):
        score_as_written(Scripted(stop), numbers(20), PATIENCE_S)


@pytest.mark.parametrize("answer", [rated, lambda samples: 1 / 0, lambda samples: [None]], ids=["good", "raises", "no"])
def test_when_the_generator_breaks_its_error_is_seen_and_the_thread_ends(
    answer: Callable[[Sequence[Sample]], Any],
) -> None:
    def written() -> Iterator[Sample]:
        yield from numbers(40)
        raise ConnectionError("the server is gone")

    with pytest.raises(ConnectionError, match="the server is gone"):
        score_as_written(Scripted(answer), written(), PATIENCE_S)
    assert_no_thread_is_left()


def test_when_the_generator_breaks_nobody_waits_for_a_scorer_that_hangs(released: threading.Event) -> None:
    def written() -> Iterator[Sample]:
        yield from numbers(40)
        raise ConnectionError("the server is gone")

    start = time.monotonic()
    with pytest.raises(ConnectionError, match="the server is gone"):
        score_as_written(Scripted(lambda samples: released.wait(60)), written(), PATIENCE_S)
    assert time.monotonic() - start < PATIENCE_S / 2


def test_an_interrupt_ends_the_wait_for_a_scorer_that_hangs(released: threading.Event) -> None:
    def interrupt(samples: Sequence[Sample]) -> list[Score]:
        time.sleep(0.2)  # until the main thread waits
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        released.wait(60)
        return rated(samples)

    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        score_as_written(Scripted(interrupt), numbers(3), 60.0)
    assert time.monotonic() - start < PATIENCE_S


LATE_IN_TORCH = """
import time, torch
from markscheme.grpo.reward import score_as_written
from markscheme.scoring import Sample

class Late:
    name = version = "late"
    def score(self, samples):
        ends_at = time.monotonic() + 1
        while time.monotonic() < ends_at:
            torch.ones(500, 500) @ torch.ones(500, 500)

score_as_written(Late(), [Sample(prompt="", completion="")], 0.1)
raise SystemExit(2)
"""


def test_a_program_that_ends_while_torch_still_works_on_a_score_does_not_crash() -> None:
    assert subprocess.run([sys.executable, "-c", LATE_IN_TORCH], timeout=PATIENCE_S).returncode == 2


def test_the_likeliest_completions_are_scored_the_same_way(released: threading.Event) -> None:
    def hang(samples: Sequence[Sample]) -> list[Score]:
        released.wait(60)
        return rated(samples)

    def metrics(answer: Callable[[Sequence[Sample]], Any]) -> dict[str, float]:
        return greedy_metrics(
            greedy_rollouts(Backwards(), Scripted(answer), PROBLEMS, lambda problem: (1,), Sampling(), 0.5)
        )

    assert metrics(rated) == {"dev_unscored_share": 0.0, "dev_reward": 45.0}  # the mean of 0, 10, ... 90
    assert metrics(hang) == {"dev_unscored_share": 1.0}
