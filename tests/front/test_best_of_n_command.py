"""`markscheme best-of-n`: by a model or by the number of a log; rows, logs and evaluations alike."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from markscheme import cli
from markscheme.scoring import Outcome, Sample, Score

ROWS: list[dict[str, Any]] = [
    {"prompt": f"{n}+{n}?", "completion": rf"{reason}\boxed{{{2 * n + off}}}", "gold": str(2 * n), "rating": rating}
    for n, ratings in ((1, [3.0, 1.0, 2.0, 0.0]), (2, [0.0, 1.0, 2.0, 3.0]))
    for reason, off, rating in zip(("so it is, at length, ", "", "well, ", "so "), (0, 1, 1, 2), ratings, strict=True)
]
"""Of each problem the longest of four is right, and of the first the best rated one too."""


class Length:
    """Rates what is longer higher."""

    name, version = "length_of_text", "1"

    def score(self, samples: Sequence[Sample]) -> list[Score]:
        self.prompts = [sample.prompt for sample in samples]
        return [Score(value=float(len(sample.completion)), outcome=Outcome.RATED) for sample in samples]


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Length:
    length = Length()
    monkeypatch.setattr("markscheme.commands.best_of_n.scorer_by_name", lambda name: length)
    return length


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(path: Path, *rows: Mapping[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def run(command: str) -> int:
    return cli.run(["best-of-n", *command.split()])


def best(out: Path) -> dict[str, float]:
    """k -> share of problems by the best of k."""
    return {k: interval["mean"] for k, interval in json.loads(out.read_text())["best"].items()}


def lm_eval(number: int, row: Mapping[str, Any]) -> dict[str, Any]:
    rows = [one for one in ROWS if one["prompt"] == row["prompt"]]
    return {
        "doc_id": number,
        "doc": {"question": row["prompt"]},
        "target": row["gold"],
        "resps": [[one["completion"] for one in rows]],
        "filter": "none",
    }


@pytest.mark.parametrize("kind", ["rows", "scored rows", "lm-eval", "an evaluation"])
def test_a_model_chooses(here: Path, capsys: pytest.CaptureFixture[str], model: Length, kind: str) -> None:
    verdict = {"value": 0.0, "outcome": "incorrect"}
    rows = {
        "scored rows": [{**row, "score": verdict} for row in ROWS],  # they do not count: a verifier says what is right
        "lm-eval": [lm_eval(number, row) for number, row in enumerate(ROWS[::4])],
    }.get(kind, ROWS)
    write(here / "log.jsonl", *rows)
    log = "log.jsonl"
    if kind == "an evaluation":
        assert cli.run(["regrade", log, "--out", "runs/ev"]) == 0
        log = "runs/ev"
        add_a_greedy_one(here / log)
    assert run(f"MODEL {log} --out figures.json") == 0
    shown = capsys.readouterr().out
    assert "2 problems, 4 samples" in shown
    assert "best by the model" in shown
    # The longest of 4 is right. Of 2 drawn it is there in 3 of 6 pairs.
    assert best(here / "figures.json") == pytest.approx({"1": 0.25, "2": 0.5, "4": 1.0})
    assert set(model.prompts) == {"1+1?", "2+2?"}
    record = json.loads((here / "figures.json").read_text())
    assert record["scorer"] == {"name": "length_of_text", "version": "1"}
    assert (record["completions"]["file"], record["completions"]["rows"]) == (log.rpartition("/")[2], 8)
    assert (here / "figures.png").is_file()


def add_a_greedy_one(evaluation: Path) -> None:
    """It is no sample, however long."""
    problem = json.loads((evaluation / "problems.jsonl").read_text().splitlines()[0])["id"]
    record = {"key": "g", "problem": problem, "kind": "greedy", "k": 0, "completion": "long" * 99}
    with (evaluation / "records.jsonl").open("a") as file:
        file.write(json.dumps({**record, "completion_tokens": 9, "finish_reason": "stop"}) + "\n")
    score = {"value": 0.0, "outcome": "no_answer"}
    with (evaluation / "scores.jsonl").open("a") as file:
        file.write(json.dumps({"key": "g", "problem": problem, "score": score, "vote": None}) + "\n")


@pytest.mark.parametrize("kind", ["reward_model_score", "score", "rows that a model has scored"])
def test_the_number_of_a_log_chooses(here: Path, capsys: pytest.CaptureFixture[str], kind: str) -> None:
    name = "score" if kind.startswith("rows") else kind
    rated = {"value": None, "outcome": "rated"}
    rows = [
        {**row, name: {**rated, "value": row["rating"]} if kind.startswith("rows") else row["rating"]} for row in ROWS
    ]
    write(here / "log.jsonl", *rows)
    assert run("log log.jsonl --out figures.json") == 0
    assert "best by the log" in capsys.readouterr().out
    # Of the first problem the right one is rated highest, of the second lowest: there only it alone is chosen.
    assert best(here / "figures.json") == pytest.approx({"1": 0.25, "2": 0.25, "4": 0.5})
    assert json.loads((here / "figures.json").read_text())["scorer"] == {"name": "log", "version": None}


def test_completions_without_a_number_are_left_out(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(here / "log.jsonl", *({**row, "reward_model_score": row["rating"] or None} for row in ROWS))
    assert run("log log.jsonl --out figures.json") == 0
    assert "left out: 2 completions without a verdict or a value\n" in capsys.readouterr().out
    # Three are left of each: of the first problem the right one, rated best, of the second three wrong ones.
    assert best(here / "figures.json")["3"] == 0.5


def test_a_published_reward_model(here: Path, shared_data: Path) -> None:
    log = shared_data / "model_outputs" / "math_test_100x8.jsonl.gz"
    assert run(f"log {log} --out figures.json") == 0
    # 0.94 by the publisher's labels; the verifier finds nine completions of two problems right that they missed.
    assert best(here / "figures.json")["8"] == pytest.approx(0.96, abs=1e-12)


def test_what_is_chosen_is_written(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{**row, "id": f"row {number}", "reward_model_score": row["rating"]} for number, row in enumerate(ROWS)]
    rows[0]["reward_model_score"] = rows[2]["reward_model_score"]  # of equals the first is taken
    write(here / "log.jsonl", *rows)
    assert run("log log.jsonl --chosen chosen.jsonl") == 0
    assert "chosen: a completion for 2 of 2 problems, in chosen.jsonl" in capsys.readouterr().out
    right, wrong = [json.loads(line) for line in (here / "chosen.jsonl").read_text().splitlines()]
    assert (right["prompt"], right["completion"], right["gold"]) == ("1+1?", ROWS[0]["completion"], "2")
    assert (right["rating"], right["verdict"]) == (2.0, "correct")
    assert (wrong["completion"], wrong["rating"], wrong["verdict"]) == (ROWS[7]["completion"], 3.0, "incorrect")
    assert cli.run(["score", "chosen.jsonl", "--scorer", "math"]) == 0  # rows as any others


@pytest.mark.parametrize("by", ["MODEL", "log"])
def test_without_golds_it_only_chooses(here: Path, capsys: pytest.CaptureFixture[str], model: Length, by: str) -> None:
    rows = [{"prompt": row["prompt"], "completion": row["completion"], "score": row["rating"]} for row in ROWS]
    write(here / "log.jsonl", *rows, {"prompt": "3+3?", "completion": "", "score": None})
    assert run(f"{by} log.jsonl --chosen chosen.jsonl") == 0
    out = capsys.readouterr().out
    assert f"a completion for {2 if by == 'log' else 3} of 3 problems" in out
    assert "log.jsonl: no gold in it, so how many of the choices are right cannot be told" in out
    first, second, *_ = [json.loads(line) for line in (here / "chosen.jsonl").read_text().splitlines()]
    assert first["completion"] == ROWS[0]["completion"]
    assert second["completion"] == ROWS[7 if by == "log" else 4]["completion"]
    assert first.keys() == {"id", "prompt", "completion", "rating"}
    assert run(f"{by} log.jsonl --out figures.json") == cli.USAGE_ERROR
    assert "no gold in it, and so no figures for --out" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["chosen", "out"])
def test_the_completions_are_not_overwritten(here: Path, capsys: pytest.CaptureFixture[str], option: str) -> None:
    before = write(here / "log.jsonl", *ROWS).read_bytes()
    assert run(f"log log.jsonl --{option} ./log.jsonl") == cli.USAGE_ERROR
    assert "log.jsonl is the completions' own file: choose another" in capsys.readouterr().err
    assert (here / "log.jsonl").read_bytes() == before


BAD: list[tuple[list[dict[str, Any]], str, str]] = [
    ([], "log log.jsonl", "log.jsonl: no rows in it"),
    (ROWS, "log log.jsonl", "log.jsonl: no number in it to choose by; give the folder of a reward model"),
    (ROWS, "log missing.jsonl", "missing.jsonl: no such file"),
    (ROWS, "missing log.jsonl", "no scorer 'missing'; there are math"),
    (ROWS, "log .", ".: no samples_*.jsonl or"),
    ([*ROWS, {"prompt": "a?", "gold": "4"}], "steps log.jsonl", "log.jsonl:9: no column 'completion'"),
    ([{**ROWS[0], "gold": r"\frac{1"}], "steps log.jsonl", "log.jsonl:1: the braces of the gold"),
    (
        [{**ROWS[0], "score": {"value": 1}}],
        "log log.jsonl",
        "log.jsonl:1: column 'score' must be as `markscheme",
    ),
    (
        [{**row, "score": row["rating"]} for row in ROWS],
        "log log.jsonl --num-samples 9",
        "none of 2 problems has 9 sam",
    ),
    (ROWS, "steps log.jsonl --scorer steps", "no verifier 'steps'; there are math"),
]


@pytest.mark.parametrize(("rows", "command", "message"), BAD)
def test_bad_input_gets_one_line(
    here: Path, capsys: pytest.CaptureFixture[str], rows: list[dict[str, Any]], command: str, message: str
) -> None:
    write(here / "log.jsonl", *rows)
    assert run(f"{command} --out figures.json") == cli.USAGE_ERROR
    complaint = capsys.readouterr().err
    assert complaint.count("\n") == 1
    assert message in complaint
    assert not (here / "figures.json").exists()
