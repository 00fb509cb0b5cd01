"""The measurement of verifiers against peers, a tiny slice of it, without any data set and without any peer but one."""

import json
import os
import random
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import pytest

from markscheme.benchmarks.speed.graders import bare, boxed
from markscheme.benchmarks.speed.measure import Judged, figures_of, judge
from markscheme.benchmarks.speed.rewrites import REWRITES, canonical, rewritten, top_terms, with_another_digit
from markscheme.benchmarks.speed.suites import SUITES, Case, Sources, cases_of
from markscheme.benchmarks.speed.worker import _share_out
from markscheme.workers import WorkerError

VERDICTS = Path(__file__).parents[1] / "data" / "verdicts.jsonl"


def case(answer: str, right: bool | None, gold: str = "1/2") -> Case:
    return Case(id=answer, gold=gold, completion=rf"\boxed{{{answer}}}", right=right)


def judged(right: bool | None, accepted: bool | None, ending: str = "answered", cpu_s: float = 0.5) -> Judged:
    return Judged(case=case("7", right), accepted=accepted, ending=ending, wall_s=2 * cpu_s, cpu_s=cpu_s)


def test_a_tiny_slice_end_to_end(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "markscheme.benchmarks.speed.verifiers", "--quick", "--most", "3"]
    paths = ["--data", str(tmp_path / "none"), "--verdicts", str(VERDICTS), "--out", str(tmp_path / "out")]
    chosen = ["--suites", "table: metamorphic", "--suites", "hostile", "--suites", "golds bare"]
    graders = ["--graders", "markscheme", "--graders", "math-verify", "--misses", str(tmp_path / "misses.jsonl")]
    result = subprocess.run(
        [*command, *paths, *chosen, *graders],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert result.returncode == 0, result.stderr
    metamorphic, hostile = json.loads(result.stdout.splitlines()[-1])
    assert list(metamorphic) == ["suite", "n", "recall", "false_positive_rate", "items_per_cpu_second", "peer"]
    assert (metamorphic["suite"], metamorphic["n"]) == ("table: metamorphic", 3)
    assert list(metamorphic["peer"]["math-verify"]) == ["recall", "false_positive_rate", "items_per_cpu_second"]
    assert metamorphic["items_per_cpu_second"] > 0
    assert (hostile["n"], hostile["recall"], hostile["false_positive_rate"]) == (3, None, None)
    assert "left out: suite golds bare" in result.stdout
    assert (tmp_path / "out" / "verifiers.png").stat().st_size > 10_000
    record = json.loads((tmp_path / "out" / "verifiers.json").read_text())
    figures = record["suites"][0]["graders"]["markscheme"]
    assert figures["recall"]["n"] + figures["false_positive_rate"]["n"] == figures["n"] == 3
    assert record["settings"]["seed"] == 0
    assert "math-verify" in record["versions"]
    assert (tmp_path / "misses.jsonl").exists()


@pytest.mark.parametrize(
    ("option", "message"),
    [(["--graders", "nobody"], "no grader 'nobody'"), (["--suites", "x"], "no suite 'x'"), (["--jobs", "0"], "jobs")],
)
def test_a_wrong_setting_gets_one_line(option: list[str], message: str) -> None:
    command = [sys.executable, "-m", "markscheme.benchmarks.speed.verifiers", *option]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode != 0
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_figures_by_hand() -> None:
    # right: accepted, refused, no verdict; wrong: accepted, refused. Right ones took 0.5, 0.5, 0.5, wrong ones 1, 2.
    figures = figures_of(
        [
            judged(True, True),
            judged(True, False),
            judged(True, None, "timed_out"),
            judged(False, True, cpu_s=1.0),
            judged(False, False, cpu_s=2.0),
        ]
    )
    assert figures.recall.value == pytest.approx(1 / 3)
    assert figures.false_positive_rate.value == pytest.approx(1 / 2)
    assert (figures.n, figures.unscored, figures.killed, figures.raised) == (5, 1, 1, 0)
    assert figures.items_per_cpu_second == pytest.approx(5 / 4.5)
    assert figures.wrong_to_right_cost == pytest.approx(1.5 / 0.5)
    assert (figures.wall_ms_p50, figures.wall_ms_max, figures.over_1_s) == (1_000.0, 4_000.0, 2)


@pytest.mark.parametrize(
    ("right", "accepted", "miss"),
    [
        (True, True, ""),
        (False, False, ""),
        (None, None, ""),
        (True, False, "false negative"),
        (False, True, "false positive"),
        (False, None, "unscored"),
    ],
)
def test_what_is_a_miss(right: bool | None, accepted: bool | None, miss: str) -> None:
    assert judged(right, accepted).miss == miss


def test_a_grader_that_hangs_loses_that_item_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _install_grader(tmp_path, monkeypatch)
    cases = [case("1", True), case("sleep", True), case("exit", True), case("raise", True), case("0", False)]
    found, start = judge(
        "graders_of_the_test.Fake", cases, cap_s=1.0, marker=tmp_path / "ran", update=lambda count: None
    )
    assert [one.ending for one in found] == ["answered", "timed_out", "died", "raised", "answered"]
    assert [one.accepted for one in found] == [True, None, None, None, False]
    assert start.peak_mb > 1


def test_a_payload_that_runs_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _install_grader(tmp_path, monkeypatch)
    marker = tmp_path / "ran"
    cases = [case(f"touch {marker}", None), case("1", None)]
    found, _ = judge("graders_of_the_test.Fake", cases, cap_s=5.0, marker=marker, update=lambda count: None, chunk=1)
    assert [one.executed for one in found] == [True, False]


def test_a_grader_that_is_not_installed_says_so(tmp_path: Path) -> None:
    with pytest.raises(WorkerError, match="no_such_package"):
        judge(
            "no_such_package.Scorer", [case("1", True)], cap_s=5.0, marker=tmp_path / "ran", update=lambda count: None
        )


def _install_grader(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "graders_of_the_test.py").write_text(
        "import os, time\n"
        "from pathlib import Path\n"
        "from markscheme.scoring import Outcome, Score\n"
        "class Fake:\n"
        "    def __init__(self, profile, lenient): pass\n"
        "    def score(self, samples):\n"
        "        answer = samples[0].completion[7:-1]\n"
        "        if answer == 'sleep': time.sleep(60)\n"
        "        if answer == 'exit': os._exit(3)\n"
        "        if answer == 'raise': raise ValueError(answer)\n"
        "        if answer.startswith('touch '): Path(answer[6:]).touch()\n"
        "        right = answer == '1'\n"
        "        return [Score(value=float(right), outcome=Outcome.CORRECT if right else Outcome.INCORRECT)]\n"
    )
    monkeypatch.syspath_prepend(folder)


def test_other_processes_cost_those_that_waited_for_them() -> None:
    # one item waited 0.3 s of 0.4, the other worked all its time: the 0.2 s of a child are the first one's
    items = [{"wall_s": 0.4, "cpu_s": 0.1}, {"wall_s": 0.5, "cpu_s": 0.5}]
    _share_out(0.2, items)
    assert [item["cpu_s"] for item in items] == pytest.approx([0.3, 0.5])
    at_work = [{"wall_s": 0.1, "cpu_s": 0.1}]
    _share_out(0.2, at_work)
    assert at_work[0]["cpu_s"] == pytest.approx(0.3)


def test_suites_without_data_have_right_and_wrong_answers(tmp_path: Path) -> None:
    sources = Sources(data=tmp_path, verdicts=VERDICTS, marker=tmp_path / "ran")
    for suite in SUITES:
        if suite.name.startswith("table: ") and suite.name != "table: hack":
            assert {one.right for one in cases_of(suite, sources)} == {True, False}, suite.name


def test_the_same_seed_draws_the_same_cases(tmp_path: Path) -> None:
    (suite,) = (suite for suite in SUITES if suite.name == "table: extraction")
    draws = [
        cases_of(suite, Sources(data=tmp_path, verdicts=VERDICTS, marker=tmp_path / "ran", seed=seed), most=20)
        for seed in (0, 0, 1)
    ]
    assert draws[0] == draws[1] != draws[2]
    assert len(draws[0]) == 20


def test_suites_of_the_data_sets(shared_data: Path, tmp_path: Path) -> None:
    sources = Sources(data=shared_data, verdicts=VERDICTS, marker=tmp_path / "ran")
    for suite in SUITES:
        cases = cases_of(suite, sources, most=50)
        assert len(cases) >= 23, suite.name
        assert len({one.id for one in cases}) == len(cases), suite.name


GOLDS = (
    *("7", "-12", "10080", "64", r"\frac{3}{4}", r"-\frac{7}{3}", r"\frac{1}{3}", "0.75", r"3\sqrt{13}", r"2\pi"),
    *(r"\frac{\sqrt{3}}{2}", r"-\frac{5\pi}{12}", "3 + 4i", "x^2 - 3x + 2", "1,2", r"3 \pm \sqrt{2}", "(1,2,3)"),
    *("[2,5)", r"(-\infty, 3]", r"[1,\infty)", r"(-\infty,1) \cup (2,\infty)", r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}"),
    *(r"5 \text{ cm}", r"40\%", r"\$12", r"90^\circ", r"\text{even}", r"\text{(B)}", "1011_2", "x = 5", r"1,\!000"),
    *(r"\left( \frac{1}{2}, 3, 4 \right)",),
)


def test_every_rewrite_applies_to_some_gold_and_changes_it() -> None:
    names = {name for name, gold, answer in rewritten(GOLDS, 40, random.Random(0)) if answer != gold}
    assert names == set(REWRITES)


@pytest.mark.parametrize(
    ("name", "gold", "answer"),
    [
        ("terminating decimal", r"-\frac{7}{8}", "-0.875"),
        ("terminating decimal", r"\frac{1}{3}", None),
        ("repeating decimal", r"\frac{15}{7}", r"2.\overline{142857}"),
        ("repeating decimal", r"\frac{1}{6}", None),  # 0.1666...: its period begins later
        ("mixed number", r"-\frac{7}{3}", r"-2\frac{1}{3}"),
        ("thousands: comma", "-1234567", "-1,234,567"),
        ("thousands: comma", "999", None),
        ("sum reversed", "x^2 - 3x + 2", "2-3x+x^2"),
        ("sum reversed", "x < 3 - y", None),
        ("imaginary part first", "3 - 4i", "-4i +3"),
        ("half-open interval as inequality", "[2,5)", r"2 \le x < 5"),
        ("half-open interval as inequality", "(2,5)", None),  # perhaps a point
        ("tuple as a column", "(1,2)", None),  # perhaps an interval
        ("list reversed", "1,000", None),  # a number
    ],
)
def test_rewrites_by_hand(name: str, gold: str, answer: str | None) -> None:
    assert REWRITES[name](gold) == answer


def test_a_changed_digit_changes_the_value() -> None:
    rng = random.Random(0)
    for gold in ("7", "3.50", "120", "1/2"):
        for _ in range(50):
            changed = with_another_digit(gold, rng)
            assert changed is None or "/0" in changed or Fraction(changed) != Fraction(gold)
    assert with_another_digit("x", rng) is None


def test_the_digits_of_a_base_stay() -> None:
    rng = random.Random(0)
    assert {str(with_another_digit("1_{7}", rng))[-4:] for _ in range(20)} == {"_{7}"}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (r"\dfrac{2}{4}", "0.5"),
        ("x=5", "5"),
        (r"(1, 2)", r"\left(1,2\right)"),
        (r"5 \text{ cm}", "5"),
        (r"50\%", "50"),
        (r"90^\circ", "90"),
        (r"\$10,\!000", "10000"),
        (r"\text{(B)}", "B"),
        ("1,2", "2,1"),
        ("1011_2", "1011"),
    ],
)
def test_answers_that_somebody_could_call_equal_are_never_shown_as_wrong(one: str, other: str) -> None:
    assert canonical(one) == canonical(other)


def test_terms_of_a_sum() -> None:
    assert top_terms(r"-\frac{a+b}{2} + 3(x-1)") == [r"-\frac{a+b}{2}", "+3(x-1)"]


@pytest.mark.parametrize("gold", ["7", "$7$", r"\boxed{7}"])
def test_a_gold_is_boxed_once(gold: str) -> None:
    assert (bare(gold), boxed(gold)) == ("7", r"\boxed{7}")
