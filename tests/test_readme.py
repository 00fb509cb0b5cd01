"""What the README says is what the runs found. Its commands run in test_examples.py."""

import json
import re
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")


def test_there_are_five_uses() -> None:
    assert re.findall(r"^\*\*(\d)\. ", README, re.MULTILINE) == ["1", "2", "3", "4", "5"]


def test_the_results_are_those_of_the_runs() -> None:
    for path in sorted((REPOSITORY / "docs" / "results").glob("quickstart-seed*.json")):
        run = json.loads(path.read_text())
        row = re.search(rf"^\| {run['seed']} \| (.*)$", README, re.MULTILINE)
        assert row, path
        for metric, change in run["paired"].items():
            delta, low, high = (f"{100 * change[name]:+.1f}" for name in ("delta", "low", "high"))
            text = f"{run['before'][metric]:.3f} → {run['after'][metric]:.3f}, {delta} [{low}, {high}]"
            assert text in row[1], f"{path.name}: {metric}"


def test_the_other_results_are_those_of_their_runs() -> None:
    text = " ".join(README.split())
    unseen = json.loads((REPOSITORY / "docs" / "results" / "unseen-seed0.json").read_text())
    (greedy,) = (change for change in unseen["changes"] if change["metric"] == "greedy")
    delta, low, high = (f"{100 * greedy['difference'][name]:+.1f}" for name in ("mean", "low", "high"))
    assert f"n = {unseen['num_problems']}) the policy of seed 0 goes" in text
    assert f"from {greedy['before']:.3f} to {greedy['after']:.3f} greedy, {delta} [{low}, {high}]" in text
    gsm8k = json.loads((REPOSITORY / "docs" / "results" / "gsm8k-embedded.json").read_text())
    figures, guess = gsm8k["metrics"]["greedy"], gsm8k["constant_guess"]
    assert f"n = {figures['n']:,}, greedy, {gsm8k['protocol']['max_completion_tokens']} tokens)" in text
    assert f"{figures['value']:.3f} [{figures['low']:.3f}, {figures['high']:.3f}]" in text
    assert f'always answering "{guess["answer"]}" gets {guess["accuracy"]:.3f}' in text


def test_the_verifier_is_as_good_as_its_benchmark_says() -> None:
    run = json.loads((REPOSITORY / "docs" / "results" / "verifiers.json").read_text())
    assert f"math-verify {run['versions']['math-verify']}" in README
    suites = [suite["graders"] for suite in run["suites"]]
    rows = re.findall(
        r"^\| [^|]+ \| (\d+) \| ([^|]+ / [^|]+) \| ([^|]+ / [^|]+) \| ([\d,]+) : ([\d,]+) \|$", README, re.MULTILINE
    )
    measured = {
        (str(ours["n"]), both(ours), both(peer), speed(ours), speed(peer))
        for ours, peer in ((graders["markscheme"], graders.get("math-verify")) for graders in suites)
        if peer
    }
    assert len(rows) >= 9
    assert {*rows} <= measured


def test_the_blind_exams_went_as_their_record_says() -> None:
    exams = json.loads((REPOSITORY / "docs" / "results" / "blind-exams.json").read_text())["exams"]
    rows = re.findall(r"^\| (\d) \| [^|]+ \| ([^|]+) \| ([^|]+) \|$", README, re.MULTILINE)
    assert rows == [
        (str(exam["round"]), share(exam["right_accepted"]), share(exam["wrong_accepted"])) for exam in exams
    ]


def share(of: dict[str, Any] | None) -> str:
    return "–" if of is None else f"{of['count']} of {of['n']} [{100 * of['low']:.1f}, {100 * of['high']:.1f}]"


def both(figures: dict[str, Any]) -> str:
    values = [figures[name]["value"] for name in ("recall", "false_positive_rate")]
    return " / ".join("–" if value is None else f"{100 * value:.1f}" for value in values)


def speed(figures: dict[str, Any]) -> str:
    return f"{figures['items_per_cpu_second']:,.0f}"


def test_the_test_command_is_the_one_that_ci_runs() -> None:
    assert "make test" in README
    assert "make test" in (REPOSITORY / ".ci" / "run").read_text()
