"""The queue of the scoring server and its processes: one that dies or hangs costs no other sample its score."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import wraps
from pathlib import Path
from typing import Any

import pytest

from markscheme.files import InputError
from markscheme.scoring import Outcome, Sample, Score
from markscheme.serve import link, pool
from markscheme.serve.pool import BusyError, DrainingError, SampleError, ScoringPool


def in_loop(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    @wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        asyncio.run(asyncio.wait_for(test(*args, **kwargs), 120))

    return run


def pool_of(scorer: Any, **settings: Any) -> ScoringPool:
    return ScoringPool(scorer, **{"processes": 1, "batch_size": 8, "max_waiting": 100, "deadline_s": 60.0, **settings})


def samples(*completions: str) -> list[Sample]:
    return [Sample(prompt="", completion=text, id=str(index)) for index, text in enumerate(completions)]


async def until(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0.005)


@asynccontextmanager
async def held(busy: ScoringPool, gate: Path) -> AsyncIterator[asyncio.Task[list[Score]]]:
    """Keeps the only process of a pool at work as long as this lasts."""
    task = asyncio.create_task(busy.score(samples(f"wait_for {gate}")))
    await until(Path(f"{gate}.begun").exists)
    yield task
    gate.touch()
    [score] = await task
    assert score.answer == str(gate)


@pytest.mark.parametrize("batch_size", [1, 8])
@pytest.mark.parametrize(
    ("completion", "outcome", "evidence", "restarts"),
    [
        ("die", Outcome.FAILED, {"reason": "the scoring process was ended by SIGKILL on this sample"}, (2, 3)),
        ("memory", Outcome.FAILED, {"reason": "the scoring process ran out of memory on this sample"}, (2, 3)),
        ("flood", Outcome.FAILED, {"reason": "the scoring process sent no scores (ValueError) on this sample"}, (2, 3)),
        ("raise", Outcome.FAILED, {"message": "ZeroDivisionError: a bug"}, (0, 0)),
        ("undecided", Outcome.UNDECIDED, {"tier": "limit", "reason": "too deep"}, (0, 0)),
        (
            "no_json",
            Outcome.FAILED,
            {"message": "the score cannot be written as JSON: Object of type object is not JSON serializable"},
            (0, 0),
        ),
    ],
)
@in_loop
async def test_a_bad_sample_costs_itself_alone(
    completion: str,
    outcome: Outcome,
    evidence: dict[str, str],
    restarts: tuple[int, int],
    batch_size: int,
    toys: Any,
) -> None:
    # Alone it is tried twice; in a batch twice with the others, then alone.
    async with pool_of(toys.Toy(), batch_size=batch_size) as one:
        asked = samples("say a", "say b", completion, "say c", "say d")
        first, second = await asyncio.gather(one.score(asked), one.score(samples("say e")))
        assert [score.answer for score in first] == ["a", "b", None, "c", "d"]
        assert first[2] == Score(value=None, outcome=outcome, evidence=evidence)
        assert [score.answer for score in second] == ["e"]
        assert one.restarts == restarts[batch_size > 1]
        assert one.waiting == 0


@pytest.mark.parametrize("batch_size", [1, 8])
@in_loop
async def test_a_late_sample_is_undecided_and_the_others_are_not(batch_size: int, toys: Any) -> None:
    async with pool_of(toys.Toy(), batch_size=batch_size, deadline_s=1.0, processes=2) as one:
        first, second = await asyncio.gather(
            one.score(samples("say a", "hang", "say b")), one.score(samples("say c", "hang"))
        )
        late = Score(value=None, outcome=Outcome.UNDECIDED, evidence={"reason": "no score after 1 s"})
        assert [score.answer for score in first] == ["a", None, "b"]
        assert [score.answer for score in second] == ["c", None]
        assert first[1] == second[1] == late
        assert one.restarts == (2 if batch_size == 1 else 4)  # once with the others, once alone


@in_loop
async def test_the_deadline_is_each_samples_own(toys: Any) -> None:
    # Four samples are in hand at once: 2 s in all, and the last comes to its turn when 1.5 s have passed.
    async with pool_of(toys.Toy(), batch_size=1, deadline_s=1.5) as one:
        scores = await one.score(samples(*["nap 0.5"] * pool.IN_HAND))
        assert [score.outcome for score in scores] == [Outcome.RATED] * 4
        assert one.restarts == 0


@in_loop
async def test_a_process_that_is_killed_from_outside_costs_nothing(toys: Any, tmp_path: Path) -> None:
    async with pool_of(toys.Toy(), batch_size=1) as one:
        [before] = await one.score(samples("pid"))
        os.kill(before.evidence["pid"], signal.SIGKILL)  # idle
        await until(lambda: one.restarts == 1)
        await until(lambda: one.alive)
        [after] = await one.score(samples("pid"))
        assert after.evidence["pid"] != before.evidence["pid"]
        scores = await one.score(samples("say a", f"die_once {tmp_path / 'mark'}", "say b"))  # at work
        assert [score.value is None for score in scores] == [False, False, False]
        assert one.restarts == 2


@in_loop
async def test_a_gold_that_cannot_be_read_costs_its_own_request_alone(toys: Any, tmp_path: Path) -> None:
    async with pool_of(toys.Toy()) as one, held(one, tmp_path / "gate"):
        bad = [*samples("say a"), Sample(prompt="", completion="say b", gold="unreadable", id="7")]
        tasks = [asyncio.create_task(one.score(asked)) for asked in (samples("batch"), bad, samples("batch"))]
        await until(lambda: one.waiting == 4)  # all four will be one batch
        (tmp_path / "gate").touch()
        first, wrong, last = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(wrong, SampleError)
        assert (str(wrong), wrong.index, wrong.gold) == ("sample 7: no gold", 1, True)
        for scores in (first, last):
            assert isinstance(scores, list)
            assert [score.outcome for score in scores] == [Outcome.RATED]
        with pytest.raises(SampleError, match="not for this scorer") as caught:
            await one.score(samples("say a", "say b", "refuse"))
        assert (caught.value.index, caught.value.gold) == (2, False)
        assert one.waiting == one.restarts == 0


@in_loop
async def test_samples_of_several_requests_share_a_batch(toys: Any, tmp_path: Path) -> None:
    async with pool_of(toys.Toy(), batch_size=4) as one, held(one, tmp_path / "gate"):
        tasks = [asyncio.create_task(one.score(samples("batch", "batch"))) for _ in range(3)]
        await until(lambda: one.waiting == 6)
        (tmp_path / "gate").touch()
        found = [score.evidence["samples"] for scores in await asyncio.gather(*tasks) for score in scores]
        assert found == [4, 4, 4, 4, 2, 2]


@in_loop
async def test_the_queue_is_bounded_and_forgets_who_has_gone(toys: Any, tmp_path: Path) -> None:
    async with pool_of(toys.Toy(), max_waiting=3) as one, held(one, tmp_path / "gate"):
        two = asyncio.create_task(one.score(samples("say a", "say b")))
        await until(lambda: one.waiting == 2)
        with pytest.raises(BusyError) as caught:
            await one.score(samples("say c", "say d"))
        assert caught.value.wait_s >= 1
        third = asyncio.create_task(one.score(samples("say c")))
        await until(lambda: one.waiting == 3)
        two.cancel()
        await asyncio.wait([two])
        assert one.waiting == 1
        (tmp_path / "gate").touch()
        assert [score.answer for score in await third] == ["c"]


@in_loop
async def test_draining_takes_nothing_more_and_finishes_what_it_has(toys: Any, tmp_path: Path) -> None:
    async with pool_of(toys.Toy()) as one, held(one, tmp_path / "gate"):
        waiting = asyncio.create_task(one.score(samples("say a")))
        await until(lambda: one.waiting == 1)
        one.draining = True
        with pytest.raises(DrainingError):
            await one.score(samples("say b"))
        (tmp_path / "gate").touch()
        assert [score.answer for score in await waiting] == ["a"]


@in_loop
async def test_all_processes_work_and_end(toys: Any, wait_until_gone: Any) -> None:
    async with pool_of(toys.Toy(), batch_size=1, processes=3) as one:
        scores = await one.score(samples(*["pid 0.01"] * 60))
    pids = {score.evidence["pid"] for score in scores}
    assert len(pids) == 3
    wait_until_gone(sorted(pids))


@in_loop
async def test_a_process_loads_no_more_than_its_scorer(toys: Any) -> None:
    async with pool_of(toys.Toy()) as one:
        [score] = await one.score(samples("modules"))
        assert score.evidence["loaded"] == []


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("Unloadable", "OSError: no such weights"),
        ("Mortal", "the process ended with code 3"),
    ],
)
@in_loop
async def test_a_scorer_that_cannot_start_is_an_error(name: str, reason: str, toys: Any) -> None:
    with pytest.raises(InputError, match=f"^the scorer cannot start: {reason}$"):
        async with pool_of(getattr(toys, name)(), processes=2):
            pass


@in_loop
async def test_a_process_that_does_not_get_ready_is_given_up(toys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "START_DEADLINE_S", 0.01)
    with pytest.raises(InputError, match=r"^the scorer cannot start: not ready after 0.01 s$"):
        async with pool_of(toys.Toy()):
            pass


@in_loop
async def test_without_a_process_samples_fail_with_the_reason(
    toys: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "MAX_FAILED_STARTS", 1)
    async with pool_of(toys.Once(str(tmp_path / "mark"))) as one:
        [score] = await one.score(samples("die"))
        assert score.outcome is Outcome.FAILED
        assert score.evidence["reason"].startswith("the scoring processes cannot start: FileExistsError")
        assert not one.alive
        (tmp_path / "mark").unlink()
        assert [score.answer for score in await one.score(samples("say a"))] == ["a"]


@in_loop
async def test_a_scorer_that_gives_too_few_scores_is_broken(toys: Any) -> None:
    async with pool_of(toys.Short()) as one:
        message = "the scorer gave 1 scores for 2 samples"
        broken = Score(value=None, outcome=Outcome.FAILED, evidence={"message": message})
        assert await one.score(samples("say a", "say b")) == [broken, broken]
