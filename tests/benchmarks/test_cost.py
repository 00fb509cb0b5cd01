"""What an evaluation cost, by a clock and a meter that are set by hand."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from markscheme.benchmarks import cost as module
from markscheme.benchmarks.cost import COSTS, evaluation_cost, session_cost
from markscheme.generation import Completion, FinishReason


def completion(tokens: int) -> Completion:
    return Completion(text="x", ids=tuple(range(tokens)), logprobs=(0.0,) * tokens, finish_reason=FinishReason.STOP)


def meters(monkeypatch: pytest.MonkeyPatch, *, seconds: float, cpu_seconds: float, peak_kb: int) -> None:
    """The next session takes this."""
    clock, cpu_clock = iter((100.0, 100.0 + seconds)), iter((7.0, 7.0 + cpu_seconds))
    usage = SimpleNamespace(ru_maxrss=peak_kb)
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=clock.__next__, process_time=cpu_clock.__next__))
    monkeypatch.setattr(module, "resource", SimpleNamespace(getrusage=lambda who: usage, RUSAGE_SELF=0))


def lines(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / COSTS).read_text().splitlines()]


def two_sessions(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    meters(monkeypatch, seconds=2.5, cpu_seconds=4.0, peak_kb=300 * 1_024)
    with session_cost(out) as cost:
        cost.add(completion(3), 10)
        cost.add(completion(4), 10)  # another completion of that prompt
    meters(monkeypatch, seconds=0.25, cpu_seconds=0.125, peak_kb=200 * 1_024)
    with session_cost(out) as cost:
        cost.add(completion(5), 20)


def test_a_session_has_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    two_sessions(tmp_path, monkeypatch)
    assert lines(tmp_path) == [
        {
            "seconds": 2.5,
            "cpu_seconds": 4.0,
            "completions": 2,
            "prompt_tokens": 20,
            "completion_tokens": 7,
            "peak_mb": 300.0,
        },
        {
            "seconds": 0.25,
            "cpu_seconds": 0.125,
            "completions": 1,
            "prompt_tokens": 20,
            "completion_tokens": 5,
            "peak_mb": 200.0,
        },
    ]


def test_sessions_add_up_but_for_the_peak(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    two_sessions(tmp_path, monkeypatch)
    records = [{"prompt_tokens": 10, "completion_tokens": 3}, {"prompt_tokens": 20, "completion_tokens": 5}]
    assert evaluation_cost(tmp_path, records) == {
        "completions": 2,  # the records are the evaluation; one of the three that were generated is not in it
        "prompt_tokens": 30,
        "completion_tokens": 8,
        "seconds": 2.75,
        "cpu_seconds": 4.125,
        "peak_mb": 300.0,
        "measured_completions": 3,
        "measured_completion_tokens": 12,
    }


def test_a_line_that_a_kill_has_torn_is_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    two_sessions(tmp_path, monkeypatch)
    (tmp_path / COSTS).write_bytes((tmp_path / COSTS).read_bytes()[:-4])
    meters(monkeypatch, seconds=1.0, cpu_seconds=1.0, peak_kb=1_024)
    with session_cost(tmp_path) as cost:
        cost.add(completion(6), 1)
    assert [line["completion_tokens"] for line in lines(tmp_path)] == [7, 6]
    (tmp_path / COSTS).write_bytes((tmp_path / COSTS).read_bytes()[:-4])
    assert evaluation_cost(tmp_path, [])["measured_completion_tokens"] == 7


def test_where_nothing_was_generated_nothing_is_written(tmp_path: Path) -> None:
    with session_cost(tmp_path):
        pass
    assert not (tmp_path / COSTS).exists()
    assert set(evaluation_cost(tmp_path, []).values()) == {0}


def test_a_session_that_ends_early_has_its_line(tmp_path: Path) -> None:
    def interrupted() -> None:
        with session_cost(tmp_path) as cost:
            cost.add(completion(3), 10)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [line["completions"] for line in lines(tmp_path)] == [1]


def test_the_true_meters_are_read_in_seconds_and_megabytes(tmp_path: Path) -> None:
    with session_cost(tmp_path) as cost:
        cost.add(completion(3), 10)
        sum(range(1_000_000))  # some 20 ms
    (line,) = lines(tmp_path)
    assert 0 < line["cpu_seconds"] < 60
    assert 0 < line["seconds"] < 60
    assert 20 < line["peak_mb"] < 20_000  # of an interpreter, however much the tests before have loaded
