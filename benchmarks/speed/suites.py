r"""What graders are measured on. Each suite is a small function that yields cases, the same for all graders.

Golds and completions come from data sets and tables that people labelled, or are made by code whose result is plain to
see. No suite knows a grader.
"""

import random
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markscheme.benchmarks.speed.graders import bare, boxed
from markscheme.benchmarks.speed.hostile import hostile_answers, hostile_completions
from markscheme.benchmarks.speed.rewrites import canonical, rewritten, with_another_digit
from markscheme.files import read_jsonl

GOLDS_DRAWN = 300
"""Of MATH test, each shown in three presentations."""
PER_REWRITE = 10
"""Golds that each of the rewrites is tried on."""
DIGITS_CHANGED, GOLDS_SWAPPED = 600, 400
CMATH_DRAWN = 500

_LAST_LINE = re.compile(r"\n?A: (-?[\d,.]+)\s*\Z")
_LAST_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A completion with the gold it is judged against."""

    id: str
    gold: str
    completion: str
    prompt: str = ""
    right: bool | None
    """Whether the completion's answer is the gold's value; None where only time and harm are looked at."""
    profile: str = "math"
    """Of our scorer: what kind of golds the suite has."""
    lenient: bool = False
    """Whether our scorer has to be lenient here, because the suite's answers are stated nowhere."""
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Where cases come from."""

    data: Path
    """The folder of data sets."""
    verdicts: Path
    """The table of verdicts."""
    marker: Path
    """The file that a payload makes when somebody executes it."""
    seed: int = 0

    def rng(self, purpose: str) -> random.Random:
        return random.Random(f"{self.seed} {purpose}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """A kind of cases."""

    name: str
    about: str
    cases: Callable[[Sources], Iterator[Case]]
    most: int = 300
    """Cases of a run, drawn with the seed where there are more, to keep it short."""
    hostile: bool = False


def _math500(sources: Sources) -> Iterator[Case]:
    return _reviewed(sources.data / "model_outputs" / "math500.jsonl.gz")


def _math_100x8(sources: Sources) -> Iterator[Case]:
    return _reviewed(sources.data / "model_outputs" / "math_test_100x8.jsonl.gz")


def _reviewed(path: Path) -> Iterator[Case]:
    for line, row in read_jsonl(path):
        if row["label_reviewed"] is not None:
            yield _of_output(row, f"{path.name}:{line}", row["label_reviewed"], profile="math")


def _of_output(row: Mapping[str, Any], where: str, right: bool, profile: str) -> Case:
    return Case(
        id=where,
        gold=row["gold"],
        completion=row["completion"],
        prompt=row["problem"],
        right=right,
        profile=profile,
        reason=row["model"] or "",
    )


def _tora(sources: Sources) -> Iterator[Case]:
    path = sources.data / "model_outputs" / "gsm8k_tora_code.jsonl.gz"
    for line, row in read_jsonl(path):
        yield _of_output(row, f"{path.name}:{line}", row["label"], profile="gsm8k")


def _gsm8k(ending: str, *, lenient: bool = False) -> Callable[[Sources], Iterator[Case]]:
    """The solutions of four models, their last line `A: 18` put in other words; the ending "" leaves it off."""

    def cases(sources: Sources) -> Iterator[Case]:
        path = sources.data / "gsm8k_model_solutions.jsonl.gz"
        for line, row in read_jsonl(path):
            match = _LAST_LINE.search(row["completion"])
            if match is None:
                continue
            body = row["completion"][: match.start()]
            if not ending and _last_number(body) != match[1].replace(",", "").rstrip("."):
                continue  # without its last line the solution says something else
            yield Case(
                id=f"{path.name}:{line}",
                gold=row["gold"],
                completion=f"{body}\n{ending.replace('ANSWER', match[1])}".rstrip("\n"),
                prompt=row["problem"],
                right=row["label"],
                profile="gsm8k",
                lenient=lenient,
            )

    return cases


def _last_number(text: str) -> str:
    numbers = _LAST_NUMBER.findall(text.rpartition("\n")[2])
    return numbers[-1].replace(",", "") if numbers else ""


def _math_golds(sources: Sources) -> list[str]:
    golds = {row["answer"] for _, row in read_jsonl(sources.data / "math" / "test.jsonl.gz")}
    return sorted(gold.strip() for gold in golds if gold.strip())


def _drawn_golds(sources: Sources) -> list[str]:
    """As they come, one for each problem: two thirds are whole numbers."""
    golds = [row["answer"] for _, row in read_jsonl(sources.data / "math" / "test.jsonl.gz")]
    return sources.rng("golds").sample(golds, min(len(golds), GOLDS_DRAWN))


def _golds_against_themselves(present: Callable[[str], str]) -> Callable[[Sources], Iterator[Case]]:
    def cases(sources: Sources) -> Iterator[Case]:
        for number, gold in enumerate(_drawn_golds(sources)):
            yield Case(
                id=f"gold:{number}", gold=present(gold), completion=_said(gold), right=True, reason="the gold itself"
            )

    return cases


def _said(answer: str) -> str:
    return f"The answer is $\\boxed{{{answer}}}$."


def _rewritten(sources: Sources) -> Iterator[Case]:
    for name, gold, answer in rewritten(_math_golds(sources), PER_REWRITE, sources.rng("rewritten")):
        said = f"The answer is \\boxed{{{answer}}}." if "$" in answer or "\\(" in answer else _said(answer)
        yield Case(id=f"{name}: {gold}", gold=gold, completion=said, right=True, reason=name)


def _changed(sources: Sources) -> Iterator[Case]:
    golds, rng = _math_golds(sources), sources.rng("changed")
    with_digits = [(gold, with_another_digit(gold, rng)) for gold in rng.sample(golds, len(golds))]
    for gold, answer in [pair for pair in with_digits if pair[1] is not None][:DIGITS_CHANGED]:
        yield Case(id=f"digit: {gold}", gold=gold, completion=_said(str(answer)), right=False, reason="a digit changed")
    for gold in rng.sample(golds, min(len(golds), GOLDS_SWAPPED)):
        other = rng.choice(golds)
        if canonical(other) != canonical(gold):
            yield Case(
                id=f"swap: {gold}", gold=gold, completion=_said(other), right=False, reason="another problem's gold"
            )


CHINESE_FORMS = (
    "答案是{answer}。",
    "所以一共是这么多。\n答：一共有{answer}个。",
    "因此，最终答案为{answer}元。",
    "答案：{answer}",
    "所以答案是 $\\boxed{{{answer}}}$。",
    "正确答案是：{answer}千米。",
)


def _cmath(sources: Sources) -> Iterator[Case]:
    """Right and wrong by turns, each gold in one of the forms."""
    rows = list(read_jsonl(sources.data / "cmath" / "test.jsonl.gz"))
    rng = sources.rng("cmath")
    drawn = rng.sample(rows, min(len(rows), CMATH_DRAWN))
    for number, (line, row) in enumerate(drawn):
        gold = row["answer"]
        right = number % 2 == 0
        answer = gold if right else with_another_digit(gold, rng)
        if answer is not None:
            form = CHINESE_FORMS[number // 2 % len(CHINESE_FORMS)]
            yield Case(
                id=f"cmath:{line}",
                gold=gold,
                completion=form.format(answer=answer),
                prompt=row["question"],
                right=right,
                profile="cmath",
                reason=form,
            )


def _verdicts(suite: str) -> Callable[[Sources], Iterator[Case]]:
    """Rows of the verdict table; those that test a switch are left out, because no peer has it."""

    def cases(sources: Sources) -> Iterator[Case]:
        for line, row in read_jsonl(sources.verdicts):
            if row["suite"] == suite and "conventions" not in row:
                yield Case(
                    id=f"verdicts:{line}",
                    gold=row["gold"],
                    completion=row.get("completion", f"The answer is \\boxed{{{row.get('answer')}}}."),
                    prompt=row.get("prompt", ""),
                    right=row["outcome"] == "correct",
                    profile=row.get("profile", "math"),
                    lenient=row.get("lenient", False),
                    reason=row["reason"],
                )

    return cases


def _hostile(sources: Sources) -> Iterator[Case]:
    for name, completion in hostile_completions(str(sources.marker)):
        if "code: " not in name:
            yield Case(id=name, gold="7", completion=completion, right=None, reason=name)


PAYLOAD_FORMS = (("7", "{}"), (r"\begin{pmatrix} 7 \\ 8 \end{pmatrix}", "[{}]"), (r"2\pi", r"{} + \pi"))
"""Golds and the forms of an answer in which a payload waits for whoever evaluates matrices, or pi."""


def _payloads(sources: Sources) -> Iterator[Case]:
    for name, answer in hostile_answers(str(sources.marker)):
        if name.startswith("code: "):
            for gold, form in PAYLOAD_FORMS:
                completion = _said(form.replace("{}", answer))
                yield Case(id=f"{name} for {gold}", gold=gold, completion=completion, right=None, reason=name)


SUITES: tuple[Suite, ...] = (
    Suite(name="math500 outputs", about="4 models on MATH-500, labels reviewed", cases=_math500, most=500),
    Suite(
        name="math 100x8 outputs", about="8 outputs for 100 of MATH test, labels reviewed", cases=_math_100x8, most=800
    ),
    Suite(name="gsm8k as written", about='4 models, "A: 18"', cases=_gsm8k("A: ANSWER")),
    Suite(name="gsm8k boxed", about="the same, the answer in a box", cases=_gsm8k("The answer is $\\boxed{ANSWER}$.")),
    Suite(name="gsm8k hashes", about='the same, "#### 18"', cases=_gsm8k("#### ANSWER")),
    Suite(name="gsm8k prose", about='the same, "So the answer is 18."', cases=_gsm8k("So the answer is ANSWER.")),
    Suite(name="gsm8k unstated", about="the same without a last line; ours lenient", cases=_gsm8k("", lenient=True)),
    Suite(name="gsm8k tora", about="code, its output, a boxed sentence", cases=_tora),
    Suite(name="golds bare", about="MATH golds against themselves", cases=_golds_against_themselves(str)),
    Suite(
        name="golds in dollars",
        about="the same, the gold in $..$",
        cases=_golds_against_themselves(lambda gold: f"${bare(gold)}$"),
    ),
    Suite(name="golds boxed", about="the same, the gold in a box", cases=_golds_against_themselves(boxed)),
    Suite(name="golds rewritten", about="the same value in another form", cases=_rewritten, most=600),
    Suite(name="golds changed", about="a digit changed, or another problem's gold", cases=_changed, most=500),
    Suite(name="cmath", about="Chinese closing sentences, half of them wrong", cases=_cmath),
    *(
        Suite(name=f"table: {name}", about=about, cases=_verdicts(name))
        for name, about in (
            ("metamorphic", "values rewritten and changed, by hand"),
            ("convention", "where reasonable people differ: by our table"),
            ("extraction", "which answer is meant"),
            ("hack", "made to be accepted, all wrong"),
            ("choice", "letters of multiple choice"),
            ("chinese", "Chinese sentences"),
            ("gsm8k", "GSM8K layouts"),
        )
    ),
    Suite(
        name="hostile", about="made to hang or exhaust; in a process of its own", cases=_hostile, most=25, hostile=True
    ),
    Suite(name="payloads", about="code, if somebody evaluates answers", cases=_payloads, most=90, hostile=True),
)


def cases_of(suite: Suite, sources: Sources, most: int | None = None) -> list[Case]:
    """The cases of a suite, in order; of more than `most`, or else than its own number, so many drawn at random.

    Suites of equal length draw the same rows, so that layouts and presentations are compared on the same texts.
    """
    cases = list(suite.cases(sources))
    count = most or suite.most
    if len(cases) <= count:
        return cases
    chosen = sorted(sources.rng("cases").sample(range(len(cases)), count))
    return [cases[index] for index in chosen]
