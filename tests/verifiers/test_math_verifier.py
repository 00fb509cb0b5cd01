import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from markscheme.scoring import GoldError, Outcome, Sample
from markscheme.verifiers import MathVerifier, NumericVerifier


def sample(completion: str, gold: Any) -> Sample:
    return Sample(prompt="What is it?", completion=completion, gold=gold, id="s1")


CASES = [
    (r"It is \boxed{0.5}.", r"\frac{1}{2}", Outcome.CORRECT, "decimal against fraction"),
    (r"\boxed{8}", ("7", "8"), Outcome.CORRECT, "one of two golds"),
    (r"\boxed{18}", "#### 18", Outcome.CORRECT, "a gold with its mark"),
    (r"\boxed{18}", r"$\boxed{18}$", Outcome.CORRECT, "a gold in a box"),
    (r"\boxed{3\sqrt{13}}", r"3\sqrt{13}", Outcome.CORRECT, "the gold is an answer"),
    (r"\boxed{3}", r"3\sqrt{13}", Outcome.INCORRECT, "never a text to find a number in"),
    (r"\boxed{42}", "4", Outcome.INCORRECT, "the gold is a substring of the answer"),
    (r"\boxed{7} or \boxed{8}", "7", Outcome.INCORRECT, "a hedge"),
    (r"\boxed{7} or \boxed{8}", "8", Outcome.INCORRECT, "a hedge, the right one last"),
    (" ".join(rf"\boxed{{{k}}}." for k in range(100)), "7", Outcome.INCORRECT, "all numbers: the last box counts"),
    (r"\boxed{1, 2, 3, 4}", "3", Outcome.INCORRECT, "all numbers in one box"),
    ("7", "7", Outcome.NO_ANSWER, "a bare number is not stated"),
    ("", "7", Outcome.NO_ANSWER, "nothing written earns nothing"),
    (r"\boxed{}", "7", Outcome.NO_ANSWER, "an empty box"),
    ("What is it?", "7", Outcome.NO_ANSWER, "the question echoed"),
    (r"\boxed{" + "9" * 3000 + "}", "7", Outcome.UNDECIDED, "an answer over the limit"),
]


@pytest.mark.parametrize(("completion", "gold", "outcome", "reason"), CASES)
def test_verdicts(completion: str, gold: Any, outcome: Outcome, reason: str) -> None:
    (score,) = MathVerifier().score([sample(completion, gold)])
    assert score.outcome is outcome, reason
    assert score.value == {Outcome.CORRECT: 1.0, Outcome.UNDECIDED: None}.get(outcome, 0.0)


def test_evidence_names_tier_and_kind() -> None:
    (score,) = MathVerifier().score([sample(r"\boxed{0.50}", "1/2")])
    assert score.answer == "0.50"
    assert score.evidence == {"tier": "number", "kind": "box"}


NUMBERS = [
    (r"\boxed{18\text{ dollars a day}}", "18", Outcome.CORRECT, "words beside the number"),
    ("She makes 9 * 2.\n#### $18.00", "18", Outcome.CORRECT, "money"),
    ("A: 9 * 2 = 18 dollars", "18", Outcome.CORRECT, "the right side of an equation"),
    (r"\boxed{1,250}", "1250", Outcome.CORRECT, "thousands"),
    (r"\boxed{18 \text{ or } 19}", "18", Outcome.INCORRECT, "two numbers"),
    (r"\boxed{\$1.80}", "18", Outcome.INCORRECT, "another amount"),
    (r"\boxed{180}", "18", Outcome.INCORRECT, "the gold is a substring"),
    ("So she makes 18.", "18", Outcome.NO_ANSWER, "strict: not stated"),
]


@pytest.mark.parametrize(("completion", "gold", "outcome", "reason"), NUMBERS)
@pytest.mark.parametrize("verifier", [MathVerifier(profile="gsm8k"), NumericVerifier()], ids=["gsm8k", "numeric"])
def test_numeric_verdicts(
    verifier: MathVerifier | NumericVerifier, completion: str, gold: str, outcome: Outcome, reason: str
) -> None:
    assert verifier.score([sample(completion, gold)])[0].outcome is outcome, reason


def test_only_the_lenient_policy_takes_the_last_number() -> None:
    completion = sample("So she makes 18.", "18")
    assert MathVerifier(lenient=True).score([completion])[0].outcome is Outcome.CORRECT
    assert NumericVerifier(lenient=True).score([completion])[0].outcome is Outcome.CORRECT
    assert NumericVerifier().score([completion])[0].outcome is Outcome.NO_ANSWER


def test_the_numeric_verifier_leaves_nothing_open() -> None:
    hostile = [r"\boxed{9^{9^9}}", r"\boxed{x}", r"\boxed{" + "9" * 100_000 + "}"]
    scores = NumericVerifier().score([sample(completion, "4") for completion in hostile])
    assert [score.outcome for score in scores] == [Outcome.INCORRECT] * 3


@pytest.mark.parametrize(
    ("gold", "message"),
    [
        (None, "needs a gold"),
        ((), "needs a gold"),
        ("", "is empty"),
        (r"\boxed{}", "is empty"),
        ("$ $", "is empty"),
        (r"\frac{1}{2", "braces"),
        ("7}", "braces"),
        ("9" * 3000, "3000 characters"),
        (("7", ""), "is empty"),
    ],
)
@pytest.mark.parametrize("verifier", [MathVerifier(), MathVerifier(profile="gsm8k"), NumericVerifier()])
def test_a_gold_that_cannot_be_read_stops(verifier: Any, gold: Any, message: str) -> None:
    with pytest.raises(GoldError, match=message) as error:
        verifier.score([sample(r"\boxed{7}", "7"), sample(r"\boxed{7}", gold)])
    assert "sample s1" in str(error.value)


@pytest.mark.parametrize("verifier", [MathVerifier(profile="gsm8k"), MathVerifier(profile="cmath"), NumericVerifier()])
def test_a_number_is_needed_where_golds_are_numbers(verifier: Any) -> None:
    with pytest.raises(GoldError, match="'x' is not a number"):
        verifier.score([sample(r"\boxed{7}", "x")])


def test_bad_settings_are_named() -> None:
    with pytest.raises(ValueError, match="profile must be one of math, gsm8k, cmath, generic, got 'maths'"):
        MathVerifier(profile="maths")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="deadline_s must be above 0"):
        MathVerifier(deadline_s=0)


def test_settings_show_in_the_version() -> None:
    verifiers = [MathVerifier(), MathVerifier(lenient=True), MathVerifier(deadline_s=9.0)]
    assert len({verifier.version for verifier in verifiers}) == 3
    assert MathVerifier(profile="gsm8k").name == "gsm8k"


def test_equal_pairs_are_compared_once() -> None:
    from markscheme.verifiers.compare import compare_cheaply

    compare_cheaply.cache_clear()
    MathVerifier().score([sample(r"\boxed{7}", "7")] * 8 + [sample(r"\boxed{8}", "7")])
    assert compare_cheaply.cache_info().misses == 2


def test_open_pairs_are_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def compare_nothing(pairs: Any, **settings: Any) -> list[Any]:
        asked.extend(pairs)
        return real(pairs, **settings)

    from markscheme.verifiers import math_verifier

    real = math_verifier.compare
    monkeypatch.setattr(math_verifier, "compare", compare_nothing)
    integral = r"\int_0^1 2x\,dx + y"
    scores = MathVerifier(deadline_s=60.0).score([sample(rf"\boxed{{{integral}}}", "y+1"), sample("", "7")] * 4)
    assert asked == [(integral, "y+1")]
    assert [score.value for score in scores] == [1.0, 0.0] * 4


def test_importing_the_verifiers_loads_neither_sympy_nor_torch() -> None:
    script = "import markscheme.verifiers, sys; print({'sympy', 'math_verify', 'torch', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "set()", done.stderr


@pytest.mark.parametrize("lenient", [False, True])
def test_no_text_of_a_model_is_executed(tmp_path: Path, lenient: bool) -> None:
    trace = tmp_path / "trace"
    code = f"__import__('pathlib').Path('{trace}').touch()"
    payloads = [code, f"exec({code!r})", f"(lambda: {code})()", f"[{code} for x in [1]]", f"S({code!r})"]
    wrappings = [
        r"\boxed{%s}",
        r"\boxed{x = %s}",
        r"\boxed{\text{%s}}",
        "#### %s",
        "The answer is %s",
        "<answer>%s</answer>",
    ]
    samples = [sample(wrapping % payload, "7") for wrapping in wrappings for payload in payloads]
    samples += [sample(r"\boxed{7+x}", payload) for payload in payloads]
    scores = MathVerifier(lenient=lenient, deadline_s=20.0).score(samples)
    assert not trace.exists()
    assert not any(score.value for score in scores)


def test_a_gold_that_no_tier_can_read_is_no_reason_for_a_zero() -> None:
    gold = r"\frac\pi4+q!!@@"
    sample = Sample(prompt="", completion=r"So \boxed{x^2+1}.", gold=gold)
    same = Sample(prompt="", completion=rf"So \boxed{{{gold}}}.", gold=gold)
    unread, equal = MathVerifier().score([sample, same])
    assert (unread.value, unread.outcome) == (None, Outcome.UNDECIDED)
    assert unread.evidence["reason"] == "no tier can read the gold"
    assert equal.outcome is Outcome.CORRECT  # equal texts need no reading


def test_an_answer_that_cannot_be_read_is_wrong_where_the_gold_can() -> None:
    sample = Sample(prompt="", completion=r"So \boxed{\frac\pi4+q!!@@}.", gold="x^2+1")
    assert MathVerifier().score([sample])[0].outcome is Outcome.INCORRECT
