"""Hostile input: no exception, no wrong verdict, no code executed, bounded time, memory and processes."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from markscheme.benchmarks.speed.hostile import hostile_completions
from markscheme.scoring import Outcome, Sample
from markscheme.verifiers import MathVerifier
from markscheme.verifiers.compare import compare_cheaply
from markscheme.verifiers.conventions import Conventions
from markscheme.verifiers.extract import extract

DEADLINE_S = 2.0


@pytest.fixture
def marker(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "executed"
    yield path
    assert not path.exists(), "a completion was executed"


@pytest.mark.parametrize("gold", ["x^2+5x-3", r"\frac{\sqrt{11}}{13}", "(17,19)", r"x \le 23", "no such place"])
def test_no_hostile_answer_is_right_or_raises(marker: Path, gold: str) -> None:
    verifier = MathVerifier(deadline_s=DEADLINE_S)
    samples = [
        Sample(prompt="", completion=text, gold=gold, id=name) for name, text in hostile_completions(str(marker))
    ]
    scores = verifier.score(samples)
    assert [(sample.id, score.answer) for sample, score in zip(samples, scores, strict=True) if score.value] == []
    assert not any(score.outcome is Outcome.FAILED for score in scores)


@pytest.mark.parametrize("profile", ["gsm8k", "cmath", "generic"])
@pytest.mark.parametrize("lenient", [False, True])
def test_no_profile_raises(marker: Path, profile: str, lenient: bool) -> None:
    verifier = MathVerifier(profile=profile, lenient=lenient, deadline_s=DEADLINE_S)  # type: ignore[arg-type]
    for name, text in hostile_completions(str(marker)):
        (score,) = verifier.score([Sample(prompt="", completion=text, gold="918273", id=name)])
        assert not score.value, name


def test_the_cheap_tiers_take_bounded_processor_time(marker: Path) -> None:
    """A second is no bar, it tells bounded work from endless; the benchmark measures the rest."""
    for name, text in hostile_completions(str(marker)):
        started = os.times().user
        statement = extract(text)
        if statement is not None:
            compare_cheaply(statement.answer, "x^2+5x-3", Conventions())
        assert os.times().user - started < 10, name


def test_the_good_ones_of_a_batch_get_their_verdicts() -> None:
    """Ten in a hundred would run for ever in the symbolic tier."""
    endless = r"\boxed{\int_0^1 x^{9^{9^{9}}} e^{x^{9^{9}}} dx + y}"
    samples = [
        Sample(
            prompt="", completion=endless if k % 10 == 0 else rf"\boxed{{{k}y - y + {k % 2}}}", gold=f"{k - 1}y", id="x"
        )
        for k in range(100)
    ]
    scores = MathVerifier(deadline_s=1.0).score(samples)
    for k, score in enumerate(scores):
        if k % 10 == 0:
            assert score.value is None
        else:
            assert score.value == (k % 2 == 0), k


def test_eight_threads_off_the_main_one() -> None:
    completions = [(r"\boxed{\frac{1}{2}}", "0.5", 1.0), (r"\boxed{x^2}", "x^3", 0.0), ("nothing", "7", 0.0)] * 20
    completions += [(r"\boxed{\int_0^1 2x\,dx + y}", "y + 1", 1.0)]
    wrong: list[str] = []

    def work() -> None:
        verifier = MathVerifier(deadline_s=60.0)
        for completion, gold, value in completions:
            (score,) = verifier.score([Sample(prompt="", completion=completion, gold=gold, id="x")])
            if score.value != value:
                wrong.append(f"{completion}: {score}")

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
