r"""Graders under one face: a case goes in, whether its answer is accepted comes out, or None where nobody can tell.

A peer is an installed package, called as its own documentation calls it, and imported in the worker that runs it. None
is needed for anything. A scorer of ours is named by where it is imported from, because rooms never import one another:
it is handed in, like every scorer.
"""

import importlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from markscheme.scoring import Sample, Scorer

Case = Mapping[str, Any]
"""The fields of `suites.Case` as JSON values."""
Verdict = tuple[bool | None, Mapping[str, Any]]
"""Whether the answer is accepted, and what the grader has to say about it."""
Grade = Callable[[Case], Verdict]
GradeText = Callable[[str, str], bool | None]
"""Of a peer: (gold, completion)."""

LENIENT = "+lenient"
"""Behind the name of a scorer: made with `lenient=True` whatever the case says."""

_WRAPPED = re.compile(r"\$+(.*?)\$+|\\boxed\{(.*)\}", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """Somebody else's grader."""

    make: Callable[[], GradeText]
    packages: tuple[str, ...]
    """Distributions whose versions decide its verdicts."""
    note: str
    only: tuple[str, ...] = ()
    """The suites it is shown: all by default, some where another peer is the same but for the gold's presentation."""


def bare(gold: str) -> str:
    """The gold without a box or dollar signs of its own."""
    match = _WRAPPED.fullmatch(gold)
    return (match[1] or match[2] or "") if match else gold


def boxed(gold: str) -> str:
    return f"\\boxed{{{bare(gold)}}}"


def _math_verify(*, box_the_gold: bool) -> GradeText:
    from math_verify import parse, verify

    def grade(gold: str, completion: str) -> bool:
        return bool(verify(parse(boxed(gold) if box_the_gold else gold), parse(completion)))

    return grade


def _trl(*, box_the_gold: bool) -> GradeText:
    from trl.rewards import accuracy_reward

    def grade(gold: str, completion: str) -> bool | None:
        message = [{"role": "assistant", "content": completion}]
        (reward,) = accuracy_reward([message], [boxed(gold) if box_the_gold else gold])
        return None if reward is None else reward == 1.0

    return grade


def _inspect_ai() -> GradeText:
    import asyncio
    from types import SimpleNamespace

    from inspect_ai.scorer import CORRECT, Target, math

    scorer = math()
    runner = asyncio.Runner()

    def grade(gold: str, completion: str) -> bool | None:
        state = SimpleNamespace(output=SimpleNamespace(completion=completion))  # all that it reads of a TaskState
        score = runner.run(scorer(state, Target(gold)))
        assert score is not None
        if score.value == CORRECT:
            return True
        return None if (score.metadata or {}).get("math_scorer_status") == "target_timeout" else False

    return grade


def _lm_eval_minerva() -> GradeText:
    from lm_eval.tasks.minerva_math.utils import is_equiv, last_boxed_only_string, normalize_final_answer, remove_boxed

    def grade(gold: str, completion: str) -> bool:
        box = last_boxed_only_string(completion)
        if box is None:
            return False
        return bool(is_equiv(normalize_final_answer(remove_boxed(box)), normalize_final_answer(bare(gold))))

    return grade


def _lm_eval_hendrycks() -> GradeText:
    from lm_eval.tasks.hendrycks_math.utils import is_equiv, last_boxed_only_string, remove_boxed

    def grade(gold: str, completion: str) -> bool:
        box = last_boxed_only_string(completion)
        return box is not None and bool(is_equiv(remove_boxed(box), bare(gold)))

    return grade


def _verl_prime_math() -> GradeText:
    from verl.utils.reward_score import prime_math

    def grade(gold: str, completion: str) -> bool:
        return bool(prime_math.compute_score(completion, bare(gold))[0])

    return grade


_OF_PRESENTATION = ("math 100x8 outputs", "golds bare", "golds in dollars", "golds boxed")
_OF_BOXES = ("math500 outputs", "gsm8k boxed", "golds rewritten", "golds changed", "table: extraction", "table: hack")
_ANTLR = ("latex2sympy2_extended", "antlr4-python3-runtime", "sympy")

PEERS: Mapping[str, Peer] = {
    "math-verify": Peer(
        make=lambda: _math_verify(box_the_gold=True),
        packages=("math-verify", *_ANTLR),
        note="verify(parse(gold), parse(completion)), the gold in a box: its best presentation",
    ),
    "math-verify-bare": Peer(
        make=lambda: _math_verify(box_the_gold=False),
        packages=("math-verify", *_ANTLR),
        note="the same with the gold as it comes",
        only=_OF_PRESENTATION,
    ),
    "inspect_ai": Peer(make=_inspect_ai, packages=("inspect_ai", *_ANTLR), note="scorer.math(), awaited item by item"),
    "trl": Peer(
        make=lambda: _trl(box_the_gold=False),
        packages=("trl", "math-verify", *_ANTLR),
        note="rewards.accuracy_reward, the gold as it comes",
        only=_OF_PRESENTATION,
    ),
    "trl-boxed": Peer(
        make=lambda: _trl(box_the_gold=True),
        packages=("trl", "math-verify", *_ANTLR),
        note="rewards.accuracy_reward, the gold in a box; it takes nothing but LaTeX",
        only=(*_OF_PRESENTATION, *_OF_BOXES),
    ),
    "lm-eval-minerva": Peer(
        make=_lm_eval_minerva,
        packages=("lm_eval", "antlr4-python3-runtime", "sympy"),
        note="tasks.minerva_math: is_equiv on its normalised last box",
    ),
    "lm-eval-hendrycks": Peer(
        make=_lm_eval_hendrycks, packages=("lm_eval",), note="tasks.hendrycks_math: is_equiv on its last box"
    ),
    "verl-prime-math": Peer(
        make=_verl_prime_math,
        packages=("verl", "pylatexenc", "sympy"),
        note="utils.reward_score.prime_math.compute_score",
    ),
}


def grade_by(name: str) -> Grade:
    """A grader ready to work: a peer by its key, a scorer by `package.module.Name`, perhaps with LENIENT behind it.

    Raises:
        ImportError: if what it stands on is not installed, or does not start.
    """
    if name in PEERS:
        return _of_peer(PEERS[name].make())
    return _of_scorer(name.removesuffix(LENIENT), lenient=name.endswith(LENIENT))


def _of_peer(grade_text: GradeText) -> Grade:
    return lambda case: (grade_text(case["gold"], case["completion"]), {})


def _of_scorer(path: str, *, lenient: bool) -> Grade:
    """A scorer with the profile and the leniency that the case's suite asks for; it is made once for each."""
    module, _, attribute = path.rpartition(".")
    factory = getattr(importlib.import_module(module), attribute)
    scorers: dict[tuple[str, bool], Scorer] = {}

    def grade(case: Case) -> Verdict:
        settings = (case["profile"], lenient or case["lenient"])
        if settings not in scorers:
            scorers[settings] = factory(profile=settings[0], lenient=settings[1])
        sample = Sample(prompt=case["prompt"], completion=case["completion"], gold=case["gold"], id=case["id"])
        (score,) = scorers[settings].score([sample])
        return score.correct, {"outcome": score.outcome.value, "answer": score.answer, "evidence": dict(score.evidence)}

    return grade
