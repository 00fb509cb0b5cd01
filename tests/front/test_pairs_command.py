"""`markscheme pairs`: from judged completions to a file that a reward model is trained on."""

import json
from pathlib import Path
from typing import Any

import pytest

from markscheme import cli
from markscheme.reward_models.formats import load_comparisons, load_pairs
from markscheme.reward_models.preferences import PreferencePair
from markscheme.scoring import Message, Outcome, Score
from markscheme.verdict_pairs import write_pairs


def row(prompt: str, completion: str, outcome: Outcome = Outcome.CORRECT, **columns: Any) -> dict[str, Any]:
    value = float(outcome is Outcome.CORRECT) if outcome.has_value else None
    return {
        "prompt": prompt,
        "completion": completion,
        "score": Score(value=value, outcome=outcome).to_dict(),
        **columns,
    }


def write(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(one) + "\n" for one in rows), encoding="utf-8")
    return path


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(command: str) -> int:
    return cli.run(["pairs", *command.split()])


def texts(path: Path) -> set[tuple[object, str, str, float]]:
    return {(pair.prompt, pair.chosen, pair.rejected, pair.weight) for pair in load_pairs(path)}


def test_the_rows_own_scores_decide(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(
        here / "rows.jsonl",
        row("a?", "1"),
        row("b?", "7"),
        row("a?", "2", Outcome.INCORRECT),
        row("a?", "none", Outcome.NO_ANSWER),
        row("a?", "hard", Outcome.UNDECIDED),
        row("a?", "broken", Outcome.FAILED),
        row("b?", "8"),  # all right: no pair
        row("A?", "3", Outcome.INCORRECT),  # another problem: the case may matter
        row("c?", "1"),
        row("c?", "1", Outcome.INCORRECT),  # judged both ways: no verdict
        row("c?", "2", Outcome.INCORRECT),
    )
    assert run("rows.jsonl --out out/pairs.jsonl") == 0
    assert texts(here / "out/pairs.jsonl") == {("a?", "1", "2", 0.5), ("a?", "1", "none", 0.5)}
    shown = capsys.readouterr().out.splitlines()
    assert shown == [
        "11 completions of 4 problems; 4 without a verdict",
        "2 pairs; 3 problems without both a correct and an incorrect completion",
        "pairs: out/pairs.jsonl",
    ]
    [comparison] = load_comparisons(here / "out/pairs.jsonl").comparisons
    assert sorted(zip(comparison.completions, comparison.ratings, strict=True)) == [("1", 1), ("2", 0), ("none", 0)]


COMPLETIONS = [
    {"question": f"What is {n} + {n}?", "gold": str(2 * n), "completion": rf"{start} \boxed{{{answer}}}"}
    for n in range(3)
    for start, answer in (("It is", 2 * n), ("Hence", 2 * n), ("So", 2 * n + 1))
]


def test_a_verifier_judges_as_markscheme_score_does(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(here / "rows.jsonl", *COMPLETIONS)
    assert run("rows.jsonl --out at-once.jsonl --scorer math") == 0
    assert "9 completions of 3 problems; 0 without a verdict" in capsys.readouterr().out
    assert cli.run(["score", "rows.jsonl", "--scorer", "math", "--out", "rows.scored.jsonl"]) == 0
    assert run("rows.scored.jsonl --out later.jsonl") == 0
    at_once, later = texts(here / "at-once.jsonl"), texts(here / "later.jsonl")
    assert at_once == later
    assert at_once == {
        (f"What is {n} + {n}?", rf"{start} \boxed{{{2 * n}}}", rf"So \boxed{{{2 * n + 1}}}", 0.5)
        for n in range(3)
        for start in ("It is", "Hence")
    }


def test_a_scorer_goes_before_the_rows_own_scores(here: Path) -> None:
    wrong = Score(value=0.0, outcome=Outcome.INCORRECT).to_dict()
    write(here / "rows.jsonl", *({**one, "score": wrong} for one in COMPLETIONS))
    assert run("rows.jsonl --out pairs.jsonl --scorer math") == 0
    assert len(load_pairs(here / "pairs.jsonl")) == 6


def test_the_limit_and_the_seed_decide_which_pairs(here: Path) -> None:
    rights = [row("a?", f"right {k}") for k in range(5)]
    write(here / "rows.jsonl", *rights, *(row("a?", f"wrong {k}", Outcome.INCORRECT) for k in range(5)))
    for name, options in (
        ("four", ""),
        ("again", "--seed 0"),
        ("other", "--seed 1"),
        ("all", "--pairs-per-problem 99"),
    ):
        assert run(f"rows.jsonl --out {name} {options}") == 0
    four, again, other, every = ((here / name).read_bytes() for name in ("four", "again", "other", "all"))
    assert four == again != other
    assert [len(content.splitlines()) for content in (four, other, every)] == [4, 4, 25]


LOGS: dict[str, list[dict[str, Any]]] = {
    "labelled rows": [{**one, "label": "So" not in one["completion"]} for one in COMPLETIONS],
    "rows of several completions": [
        {"problem": f"What is {n} + {n}?", "gt": str(2 * n)}
        | {"code": [one["completion"] for one in COMPLETIONS[3 * n : 3 * n + 3]], "score": [True, True, False]}
        for n in range(3)
    ],
    "lm-eval": [
        {"doc_id": number, "doc": {"question": one["question"]}, "target": one["gold"], "filter": "strict-match"}
        | {"resps": [[one["completion"]]], "exact_match": float("So" not in one["completion"])}
        for number, one in enumerate(COMPLETIONS)
    ],
}
PAIRS = {
    (f"What is {n} + {n}?", rf"{start} \boxed{{{2 * n}}}", rf"So \boxed{{{2 * n + 1}}}", 0.5)
    for n in range(3)
    for start in ("It is", "Hence")
}


@pytest.mark.parametrize("kind", LOGS)
@pytest.mark.parametrize("options", ["", " --scorer math"])
def test_any_log_that_regrade_reads(here: Path, capsys: pytest.CaptureFixture[str], kind: str, options: str) -> None:
    write(here / "log.jsonl", *LOGS[kind])
    assert run(f"log.jsonl --out pairs.jsonl{options}") == 0
    assert "9 completions of 3 problems; 0 without a verdict" in capsys.readouterr().out
    assert texts(here / "pairs.jsonl") == PAIRS


def test_an_evaluation(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(here / "rows.jsonl", *COMPLETIONS)
    assert cli.run(["regrade", "rows.jsonl", "--out", "runs/ev"]) == 0
    assert run("runs/ev --out pairs.jsonl") == 0
    assert texts(here / "pairs.jsonl") == PAIRS
    assert {pair.id.partition("/")[0] for pair in load_pairs(here / "pairs.jsonl")} == {"ev"}
    assert run("rows.jsonl --out at-once.jsonl --scorer math") == 0
    assert texts(here / "at-once.jsonl") == PAIRS


def test_the_verdicts_of_a_log_or_those_of_a_scorer(here: Path) -> None:
    write(here / "log.jsonl", *({**one, "label": one["completion"].startswith("It")} for one in COMPLETIONS))
    assert run("log.jsonl --out pairs.jsonl") == 0
    assert {pair.chosen[:2] for pair in load_pairs(here / "pairs.jsonl")} == {"It"}
    assert run("log.jsonl --out pairs.jsonl --scorer math") == 0
    assert texts(here / "pairs.jsonl") == PAIRS


def test_case_tells_problems_of_a_log_apart(here: Path) -> None:
    rows = [{"question": "$X$?", "completion": "1", "gold": "1", "label": True}]
    write(here / "log.jsonl", *rows, {**rows[0], "question": "$x$?", "completion": "2", "label": False})
    assert run("log.jsonl --out pairs.jsonl") == cli.USAGE_ERROR


LABELLED = [{"question": "a?", "completion": text, "gold": "1", "label": text == "1"} for text in "12"]
BAD_LOGS: list[tuple[list[dict[str, Any]], str, str]] = [
    (
        [{**one, "label": -1} for one in LABELLED],
        "",
        "log.jsonl: no verdict in it; have the completions judged, such",
    ),
    ([{**one, "question": ""} for one in LABELLED], "", "log.jsonl:1: no question in it: which problem is it?"),
    ([LABELLED[0], {**LABELLED[1], "gold": ""}], "", "log.jsonl:2: the gold in 'gold' is empty; correct or remove"),
    ([{**one, "completion": ["1 + 0 = 1"]} for one in LABELLED], "--scorer steps", "the scorer steps rates instead of"),
    (
        [{**LABELLED[0], "completion": ["1"], "gold": r"\frac{1"}],
        "--scorer math",
        "log.jsonl:1: the braces of the gold",
    ),
]


@pytest.mark.parametrize(("rows", "options", "message"), BAD_LOGS)
def test_a_bad_log_gets_one_line(
    here: Path, capsys: pytest.CaptureFixture[str], rows: list[dict[str, Any]], options: str, message: str
) -> None:
    write(here / "log.jsonl", *rows)
    assert run(f"log.jsonl --out pairs.jsonl {options}") == cli.USAGE_ERROR
    complaint = capsys.readouterr().err
    assert complaint.count("\n") == 1
    assert message in complaint
    assert not (here / "pairs.jsonl").exists()


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    messages = (Message(role="system", content="Be brief."), Message(role="user", content="2 + 2?\n\ud800"))
    pairs = [
        PreferencePair(prompt=messages, chosen="4\n", rejected="", id="a", weight=1 / 3),
        PreferencePair(prompt="2 + 2?", chosen="4", rejected="5", id="b", margin=-1.5, certainty=0.75, chosen_by="A"),
        PreferencePair(prompt=messages, chosen="4", rejected="☃", id="c", rejected_by="B"),
    ]
    write_pairs(tmp_path / "pairs.jsonl", pairs)
    assert load_pairs(tmp_path / "pairs.jsonl") == pairs


GOOD = [row("a?", "1", gold="1"), row("a?", "2", Outcome.INCORRECT, gold="1")]
BAD: list[tuple[list[Any], str, str]] = [
    ([], "", "rows.jsonl: no rows in it"),
    ([], "--scorer math", "rows.jsonl: no rows in it"),
    ([*GOOD, {"prompt": "a?", "completion": "1"}], "", "rows.jsonl:3: no column 'score'; have the completions judged"),
    ([*GOOD, {**GOOD[0], "score": 1.0}], "", "rows.jsonl:3: column 'score' must be as `markscheme score` writes it"),
    ([*GOOD, row("a?", "3", Outcome.RATED)], "", "rows.jsonl:3: the score is a rating and no verdict; take a verifier"),
    ([*GOOD, {**GOOD[0], "prompt": ["a?"]}], "", "rows.jsonl:3: column 'prompt' must be text, got a list"),
    (
        [*GOOD, {"completion": "1", "score": GOOD[0]["score"]}],
        "",
        "rows.jsonl:3: no column of 'prompt', 'question', 'pr",
    ),
    ([*GOOD, {"prompt": "a?", "score": GOOD[0]["score"]}], "", "rows.jsonl:3: no column 'completion'"),
    ([*GOOD, [1]], "", "rows.jsonl:3: a JSON object is needed, got a list"),
    ([GOOD[0], GOOD[0]], "", "rows.jsonl: no problem in it has both a correct and an incorrect completion"),
    ([*GOOD, {"prompt": "a?", "completion": "1"}], "--scorer math", "rows.jsonl:3: "),
    ([*GOOD, {"completion": "1", "gold": "1"}], "--scorer math", "rows.jsonl:3: no column of 'prompt', 'question'"),
    ([*GOOD, {**GOOD[0], "completion": "1 + 0 = 1"}], "--scorer steps", "rows.jsonl:3: the score is a rating and no"),
    ([*GOOD, {**GOOD[0], "gold": " "}], "--scorer math", "rows.jsonl:3: "),
    (GOOD, "--scorer nothing", "no scorer 'nothing'; there are math"),
    (GOOD, "--pairs-per-problem 0", "pairs_per_problem must be at least 1, got 0"),
    (GOOD, "--out .", ". is a folder: give the name of a file"),
]


@pytest.mark.parametrize(("rows", "options", "message"), BAD)
def test_bad_input_gets_one_line_and_leaves_what_was_there(
    here: Path, capsys: pytest.CaptureFixture[str], rows: list[object], options: str, message: str
) -> None:
    write(here / "rows.jsonl", *rows)
    (here / "pairs.jsonl").write_text("old")
    assert run(f"rows.jsonl {options if '--out' in options else f'--out pairs.jsonl {options}'}") == cli.USAGE_ERROR
    complaint = capsys.readouterr().err
    assert complaint.count("\n") == 1
    assert message in complaint
    assert {path.name: path.read_text() for path in here.iterdir() if path.name != "rows.jsonl"} == {
        "pairs.jsonl": "old"
    }


@pytest.mark.parametrize("options", ["", "--scorer math"])
def test_a_missing_file_is_named(here: Path, capsys: pytest.CaptureFixture[str], options: str) -> None:
    assert run(f"missing.jsonl --out pairs.jsonl {options}") == cli.USAGE_ERROR
    assert capsys.readouterr().err == "markscheme: missing.jsonl: no such file\n"
