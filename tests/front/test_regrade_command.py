"""`markscheme regrade`: a table, an evaluation, a log for lm-eval; and one line for what cannot be read."""

import errno
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from markscheme import cli
from markscheme.benchmarks.logs import filters_of, read_log
from markscheme.benchmarks.outcomes import load_evaluation

ROWS: list[dict[str, Any]] = [
    {"id": "a-1", "question": "1+3?", "completion": r"\boxed{5}", "gold": "4", "label": True, "level": 1},
    {"id": "a-0", "question": "1+3?", "completion": r"\boxed{4}", "gold": "4", "label": True, "level": 1},
    {"id": "b-0", "question": "2+5?", "completion": r"\boxed{7}", "gold": "7", "label": False, "level": 2},
    {"id": "b-1", "question": "2+5?", "completion": "no idea", "gold": "7", "label": False, "level": 2},
]
"""By the log a is solved by both and b by none; by us each by its first."""


def write(path: Path, *rows: Mapping[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def rows_in(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "log.jsonl", *ROWS)
    return tmp_path


def run(command: str) -> int:
    return cli.run(["regrade", *command.split()])


def cells(shown: str) -> list[list[str]]:
    """The rows of the tables."""
    return [[cell.strip() for cell in line.strip("│").split("│")] for line in shown.splitlines() if line[:1] == "│"]


def test_the_table(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("log.jsonl") == 0
    shown = capsys.readouterr().out
    assert "log.jsonl: 4 samples of 2 problems" in shown
    assert cells(shown) == [
        ["right", "1", "1", "0", "0"],
        ["wrong", "1", "0", "1", "0"],
        ["first", "0.5000", "1.0000"],
        ["accuracy", "0.5000", "0.5000"],
        ["pass@2", "0.5000", "1.0000"],
    ]
    end = shown.splitlines()
    place = next(number for number, line in enumerate(end) if line.startswith("agreement"))
    assert end[place].startswith(
        "agreement 50.00 % of 4; 1 right by us and wrong by the log, 1 the other way; not scored 0; "
    )
    assert end[place].endswith(" ms a grade")
    assert end[place + 1 :] == [
        "log.jsonl:1: right by the log, wrong by us",
        r"    gold '4', answer '5'; ... \boxed{5}",
        "log.jsonl:3: wrong by the log, right by us",
        r"    gold '7', answer '7'; ... \boxed{7}",
    ]
    assert {path.name for path in here.iterdir()} == {"log.jsonl"}


def test_a_log_without_verdicts(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(here / "log.jsonl", *({name: row[name] for name in row if name != "label"} for row in ROWS))
    assert run("log.jsonl") == 0
    shown = capsys.readouterr().out
    assert cells(shown)[0] == ["none", "2", "1", "1", "0"]
    assert cells(shown)[1] == ["first", "", "1.0000"]
    assert "no sample has a verdict on both sides; not scored 0; " in shown


def test_one_line_of_json(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("log.jsonl --json --out out --export lm-eval.jsonl") == 0
    shown = capsys.readouterr()
    assert (shown.out.count("\n"), shown.err) == (1, "")
    record = json.loads(shown.out)
    assert record.pop("ms_per_grade") >= 0
    assert record == {
        "n": 4,
        "problems": 2,
        "compared": 4,
        "agreement": 0.5,
        "false_positives": 1,
        "false_negatives": 1,
        "unscored": 0,
        "accuracy": 0.5,
        "first": 1.0,
        "pass@k": {"1": 0.5, "2": 1.0},
        "maj@k": {},
        "cons@k": {},
        "best@k": {},
    }
    assert (here / "out" / "summary.json").is_file()
    assert (here / "lm-eval.jsonl").is_file()


def test_the_folder_is_an_evaluation(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("log.jsonl --out runs/out") == 0
    assert "in runs/out: summary.json, records.jsonl, scores.jsonl, disagreements.jsonl" in capsys.readouterr().out
    evaluation = load_evaluation(here / "runs/out")
    # In the order of the samples' numbers, whatever the order of the rows.
    assert [[one.completion for one in outcome.sampled] for outcome in evaluation.outcomes] == [
        [r"\boxed{4}", r"\boxed{5}"],
        [r"\boxed{7}", "no idea"],
    ]
    assert evaluation.summary["metrics"]["pass@2"]["value"] == 1
    assert set(evaluation.summary["by_group"]["level"]) == {"1", "2"}
    assert evaluation.summary["log"]["name"] == "log.jsonl"
    cases = rows_in(here / "runs" / "out" / "disagreements.jsonl")
    assert [(one["where"], one["log"], one["score"]["outcome"]) for one in cases] == [
        ("log.jsonl:1", True, "incorrect"),
        ("log.jsonl:3", False, "correct"),
    ]
    # Regraded again: the same verdicts, problems and levels.
    assert run("runs/out --out runs/again") == 0
    assert "agreement 100.00 % of 4" in capsys.readouterr().out
    again = load_evaluation(here / "runs/again")
    assert [one.problem for one in again.outcomes] == [one.problem for one in evaluation.outcomes]
    assert again.summary["fingerprint"] == evaluation.summary["fingerprint"]
    assert {path.name for path in (here / "runs").iterdir()} == {"out", "again"}


def test_greedy_completions_are_no_samples(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("log.jsonl --out out --json") == 0
    records = rows_in(here / "out" / "records.jsonl")
    write(here / "out" / "records.jsonl", {**records[0], "kind": "greedy"}, *records[1:])
    scores = rows_in(here / "out" / "scores.jsonl")
    write(here / "out" / "scores.jsonl", {**scores[0], "kind": "greedy"}, *scores[1:])
    capsys.readouterr()
    for options, samples in (("", 3), ("--filter sampled", 3), ("--filter greedy", 1)):
        assert run(f"out --json {options}") == 0
        assert json.loads(capsys.readouterr().out)["n"] == samples
    for name, kept in (("records", {**records[0], "kind": "greedy"}), ("scores", {**scores[0], "kind": "greedy"})):
        write(here / "out" / f"{name}.jsonl", kept)
    assert run("out --json") == 0
    assert json.loads(capsys.readouterr().out)["n"] == 1
    assert run("out --filter sampled") == cli.USAGE_ERROR
    assert capsys.readouterr().err == "markscheme: out: no samples of 'sampled' in it\n"


def test_the_export_of_plain_rows_is_read_again(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("log.jsonl --export lm-eval/samples.jsonl") == 0
    assert "lm-eval/samples.jsonl; the verdicts of markscheme have the filter 'markscheme'" in capsys.readouterr().out
    exported = here / "lm-eval" / "samples.jsonl"
    assert filters_of(exported) == ("none", "markscheme")
    samples = {(one.question, one.k): one for one in read_log(here / "log.jsonl")}
    for filter, verdicts in (("none", [True, True, False, False]), ("markscheme", [True, False, True, False])):
        again = read_log(exported, filter=filter)
        assert [one.verdict for one in again] == verdicts
        for one in again:
            before = samples[one.question, one.k]
            assert (one.completion, one.gold) == (before.completion, before.gold)


def test_the_export_of_an_lm_eval_log_keeps_every_row(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = {"doc": {"question": "1+3?"}, "target": "4", "arguments": [["1+3?"]], "resps": [[r"\boxed{4}"]]}
    rows = [
        {"doc_id": doc, **base, "filter": filter, "exact_match": metric, "extra": [doc]}
        for filter, metric in (("strict-match", 0.0), ("flexible-extract", 1.0))
        for doc in (1, 0)
    ]
    write(here / "samples_gsm8k.jsonl", *rows)
    for source, target, name in (
        ("samples_gsm8k", "once", "markscheme"),
        ("once", "twice", "markscheme-2"),
    ):
        assert run(f"{source}.jsonl --filter flexible-extract --export {target}.jsonl") == 0
        assert f"have the filter {name!r}" in capsys.readouterr().out
    assert rows_in(here / "once.jsonl")[:4] == rows
    assert rows_in(here / "twice.jsonl")[:6] == rows_in(here / "once.jsonl")
    assert filters_of(here / "twice.jsonl") == ("strict-match", "flexible-extract", "markscheme", "markscheme-2")
    assert [one.verdict for one in read_log(here / "twice.jsonl", filter="markscheme")] == [True, True]


def test_which_of_several_filters_was_taken(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = {"doc": {"question": "1+3?"}, "target": "4", "arguments": [["1+3?"]], "resps": [[r"\boxed{4}"]]}
    names = ("strict-match", "flexible-extract")
    write(here / "samples.jsonl", *({"doc_id": 0, **base, "filter": name, "exact_match": 1.0} for name in names))
    said = "the log's verdicts are those of its filter 'strict-match', the first; --filter takes another: 'flexible-ext"
    assert run("samples.jsonl") == 0
    assert said in capsys.readouterr().out
    assert run("samples.jsonl --filter strict-match") == 0
    assert "--filter" not in capsys.readouterr().out
    write(here / "one.jsonl", {"doc_id": 0, **base, "filter": "strict-match", "exact_match": 1.0})
    assert run("one.jsonl") == 0
    shown = capsys.readouterr().out
    assert "--filter" not in shown
    assert "one.jsonl: 1 sample of 1 problem " in shown  # to the width of the table


def test_which_completions_of_an_evaluation_were_taken(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("log.jsonl --out out") == 0
    for name in ("records", "scores"):
        rows = rows_in(here / "out" / f"{name}.jsonl")
        write(here / "out" / f"{name}.jsonl", {**rows[0], "kind": "greedy"}, *rows[1:])
    capsys.readouterr()
    said = "judged are the 3 sampled completions, not the 1 greedy: --filter greedy takes the other kind\n"
    assert run("out") == 0
    assert said in capsys.readouterr().out
    assert run("out --filter greedy") == 0
    assert "judged are" not in capsys.readouterr().out


def test_one_backslash_where_json_needs_two_is_warned_of(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(here / "log.jsonl", {**ROWS[0], "completion": "\boxed{4}"}, *ROWS[1:])
    assert run("log.jsonl") == 0
    assert "warning: 1 row holds a backspace or form feed in a completion or gold: " in capsys.readouterr().out
    assert run("log.jsonl --json") == 0
    assert "warning" not in capsys.readouterr().out


def test_what_of_a_log_counts(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{**row, "model": model, "checked": row["id"][-1] == "0"} for model in "xy" for row in ROWS]
    write(here / "log.jsonl", *rows)
    for options, n, negatives in (("", 8, 2), ("--keep.model x", 4, 1), ("--keep.model y --verdict checked", 4, 0)):
        assert run(f"log.jsonl --json {options}") == 0
        record = json.loads(capsys.readouterr().out)
        assert (record["n"], record["false_negatives"]) == (n, negatives)


def test_a_full_disk_leaves_nothing(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def finish(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("markscheme.commands.regrade.finish", finish)
    assert run("log.jsonl --out out --export lm-eval.jsonl") == cli.USAGE_ERROR
    assert "out: No space left on device; make room" in capsys.readouterr().err
    assert {path.name for path in here.iterdir()} == {"log.jsonl"}


def test_hostile_text_steers_no_terminal(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    row = {
        "id": "\ud800[/]",
        "completion": "\x1b[31mred \ud800\n\\boxed{5}",
        "gold": "4",
        "label": True,
        "doc": "level",
    }
    write(here / "log.jsonl", row)
    assert run("log.jsonl --out out --export lm-eval.jsonl") == 0
    shown = capsys.readouterr().out
    shown.encode()
    assert "\x1b" not in shown
    assert read_log(here / "out")[0].completion == row["completion"]


BAD: list[tuple[str, str]] = [
    ("missing.jsonl", "missing.jsonl: no such file or folder"),
    ("log.jsonl --scorer steps", "no scorer 'steps' that decides; there are math, gsm8k, cmath, generic, choice"),
    ("log.jsonl --scorer full", "no scorer 'full' that decides"),  # such as the folder of a reward model
    ("bad-gold.jsonl", "bad-gold.jsonl:3: the braces of the gold"),
    ("bad-row.jsonl", "bad-row.jsonl:3: no column 'gold' or"),
    ("empty.jsonl", "empty.jsonl: nothing in it; needed is"),
    ("table.csv", "table.csv:1: begins with 'completion,gold', which is no JSON object; needed is"),
    ("log.jsonl --filter strict-match", "log.jsonl: a log of plain rows has nothing that filter could choose from"),
    ("log.jsonl --verdict right", "log.jsonl: no column 'right' in it; it has 'id', 'question'"),
    ("log.jsonl --keep.level 3", "log.jsonl: no row whose 'level' is '3'; there are '1', '2'"),
    ("log.jsonl --out full", "full is not empty, or is the folder you are in: choose another --out"),
    ("full/.. --out .", "choose another --out"),
    ("log.jsonl --out log.jsonl", "log.jsonl: Not a directory"),
    ("log.jsonl --export full", "full is a folder: give the name of a file"),
    ("log.jsonl --export samples.jsonl.gz", "give a name that ends in .jsonl"),
    ("log.jsonl --export ./log.jsonl", "is the log itself: choose another --export"),
    ("half", "half: the evaluation in it is unfinished"),
    ("broken", "broken/summary.json: not JSON"),
]


@pytest.mark.parametrize(("command", "message"), BAD)
def test_one_line_and_nothing_left_behind(
    here: Path, capsys: pytest.CaptureFixture[str], command: str, message: str
) -> None:
    write(here / "bad-gold.jsonl", *ROWS[:2], {**ROWS[2], "gold": r"\frac{1"}, ROWS[3])
    write(here / "bad-row.jsonl", *ROWS[:2], {"completion": "4"})
    write(here / "empty.jsonl")
    (here / "table.csv").write_text("completion,gold\n4,4\n")
    for name, file in (("full", "something"), ("half", "records.jsonl"), ("broken", "summary.json")):
        (here / name).mkdir()
        (here / name / file).write_text("{")
    before = {path: path.read_bytes() if path.is_file() else None for path in here.rglob("*")}
    places = {"--out": "out", "--export": "lm-eval.jsonl"}
    options = [f"{name} {place}" for name, place in places.items() if name not in command]
    assert run(" ".join([command, *options])) == cli.USAGE_ERROR
    shown = capsys.readouterr()
    assert shown.err.count("\n") == 1
    assert message in shown.err
    assert {path: path.read_bytes() if path.is_file() else None for path in here.rglob("*")} == before


@pytest.mark.parametrize(
    ("after", "gained", "lost", "p", "interval"),
    [
        ("6b_verification", 209, 152, 0.00315, "+1.5 to +7.1"),
        ("175b_verification", 360, 76, 0.0, "+18.7 to +24.4"),
    ],
)
def test_two_models_of_a_file_compared(
    here: Path,
    shared_data: Path,
    capsys: pytest.CaptureFixture[str],
    after: str,
    gained: int,
    lost: int,
    p: float,
    interval: str,
) -> None:
    log = shared_data / "gsm8k_model_solutions.jsonl.gz"
    for model in ("175b_finetuning", after):
        assert run(f"{log} --scorer gsm8k --keep.model {model} --out {model} --json") == 0
        assert json.loads(capsys.readouterr().out)["agreement"] == 1
    assert cli.run(["compare", "175b_finetuning", after, "--out", "report"]) == 0
    assert interval in capsys.readouterr().out
    [change] = json.loads((here / "report" / "comparison.json").read_text())["changes"]
    difference = change["difference"]
    assert (difference["n"], difference["gained"], difference["lost"]) == (1_319, gained, lost)
    assert difference["mcnemar_p"] == pytest.approx(p, abs=1e-5)
