"""`markscheme evaluate`: what it says before, what it refuses, and what it says of the figures."""

import copy
import re
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import pytest

from markscheme import cli
from markscheme.benchmarks.outcomes import load_evaluation
from markscheme.commands import evaluate as module
from markscheme.commands.evaluate import print_evaluation, sensitivity
from markscheme.commands.options import GeneratorOptions

EVALUATE = "evaluate --task generated --limit 3 --num-samples 2 --max-completion-tokens 4"


def run(command: str, out: Path) -> int:
    return cli.run([*command.split(), "--out", str(out)])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished evaluation of the embedded policy."""
    out = tmp_path_factory.mktemp("evaluate") / "out"
    assert run(EVALUATE, out) == 0
    return out


@pytest.mark.parametrize(
    ("effects", "said"),
    [
        (
            (0.0637, 0.1113),
            "with n = 40 problems you will see gains above 6.4 to 11.1 points (four times in five, if 10 to 30 % of "
            "the verdicts change)",
        ),
        (
            (None, 0.274),
            "with n = 40 problems you will see gains above 27.4 points (four times in five, if 30 % of the verdicts "
            "change; if 10 % do, no gain is told from chance so often)",
        ),
        (
            (None, None),
            "n = 40 problems are too few to show any gain four times in five, even if 30 % of the verdicts change",
        ),
    ],
)
def test_what_problems_can_show(effects: tuple[float | None, ...], said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    by_share = dict(zip(module.DISCORDANCES, effects, strict=True))
    monkeypatch.setattr(module, "minimum_detectable_effect", lambda n, share: by_share[share])
    assert sensitivity(40) == said


def test_few_problems_show_no_gain_and_many_do() -> None:
    assert "too few to show any gain" in sensitivity(5)  # all five for the better: p = 2 / 2^5 = 0.06
    # A gain needs six changes, all for the better. Of 40 verdicts 4 or 12 change.
    assert re.search(r"above \d+\.\d points .*if 30 % .*; if 10 % do, no gain", sensitivity(40))
    assert re.search(r"above \d\.\d to \d+\.\d points .*if 10 to 30 %", sensitivity(200))


def test_another_evaluation_is_refused_before_an_engine_is_started(
    made: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def start(*_: Any, **__: Any) -> NoReturn:
        raise AssertionError("an engine was started")

    monkeypatch.setattr(GeneratorOptions, "start", start)
    before = {path.name: path.read_bytes() for path in made.iterdir()}
    assert run(f"{EVALUATE} --temperature 0.7", made) == 2
    message = f"{made} holds a finished evaluation, and this is another (temperature 1.0 there, 0.7 here): "
    assert capsys.readouterr().err == f"markscheme: {message}choose another --out\n"
    assert {path.name: path.read_bytes() for path in made.iterdir()} == before


def test_it_has_no_option_of_training(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["evaluate", "--help"]) == 0
    output = capsys.readouterr().out
    assert "--server-patience-s" in output
    assert "async" not in output


def printed(made: Path, capsys: pytest.CaptureFixture[str], **changes: Any) -> str:
    """What is said of the evaluation in `made` if its summary, the counts of samples and greedy accuracy are so."""
    evaluation = load_evaluation(made)
    summary = copy.deepcopy(dict(evaluation.summary))
    summary["counts"]["sampled"] |= changes.pop("sampled", {})
    summary["metrics"]["greedy"] |= changes.pop("greedy", {})
    capsys.readouterr()
    print_evaluation(replace(evaluation, summary=summary | changes), "a policy")
    return capsys.readouterr().out


@pytest.mark.parametrize(("truncated", "loud"), [(0, False), (20, False), (21, True), (400, True), (1_000, True)])
def test_truncation_is_said_beyond_two_percent(
    truncated: int, loud: bool, made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = printed(made, capsys, sampled={"completions": 1_000, "truncated": truncated})
    _, _, of_samples = output.partition("sampled: 1000 completions")
    assert f"truncated {truncated}" in of_samples
    warning = f"{truncated / 10:.0f} % of them were cut off at 4 tokens: give a higher --max-completion-tokens"
    assert (warning in of_samples) == loud


@pytest.mark.parametrize(("batch_invariant", "loud"), [(True, False), (False, True), (None, False)])
def test_an_engine_that_follows_the_batch_is_named(
    batch_invariant: bool | None, loud: bool, made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = printed(made, capsys, batch_invariant=batch_invariant, engine="vllm")
    assert ("the engine vllm does not promise the same completions again" in output) == loud


def test_each_metric_has_its_n_where_they_differ(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def cells(output: str) -> dict[str, list[str]]:
        rows = [[cell.strip() for cell in re.split("[│┃]", line)[1:-1]] for line in output.splitlines()]
        return {row[0]: row[1:] for row in rows if row}

    alike = cells(printed(made, capsys))
    assert alike[""] == ["accuracy", "95 % interval"]
    assert {len(row) for row in alike.values()} == {2}
    apart = cells(printed(made, capsys, greedy={"n": 2}))
    assert apart[""] == ["accuracy", "95 % interval", "n"]
    assert (apart["greedy"][-1], apart["pass@1"][-1], apart["pass@2"][-1]) == ("2", "3", "3")
