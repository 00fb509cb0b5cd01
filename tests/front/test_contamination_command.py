"""`markscheme contamination`: what it reads, prints and writes, and how it refuses."""

import gzip
import json
import re
from pathlib import Path
from typing import Any

import pytest

from markscheme import cli

STORY = "Ada packs {} boxes of pears in the morning and twice as many boxes of apples at night. How many boxes?"
TEST: list[dict[str, Any]] = [
    {"id": "leaked", "question": STORY.format(3), "gold": "9"},
    {"id": "renumbered", "question": "A bus has 40 seats. How many seats do 2 buses have?", "gold": "80"},
    {"id": "begun alike", "question": f"{STORY.format(5)[:-1]} are of pears?", "gold": "5"},
    {"id": "short", "question": "What is 2 + 3?", "gold": "5"},
    {"id": "clean", "question": "Ben reads four pages on each of nine days. How many pages has he read?", "gold": "36"},
]
TRAIN: list[dict[str, Any]] = [
    {"problem": STORY.format(3).upper()},
    {"question": "A bus has 52 seats. How many seats do three buses have?", "answer": "156"},
    {"messages": [{"role": "system", "content": "Go."}, {"role": "user", "content": "Be brief. What is 2 + 3? Go."}]},
    {"prompt": [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": TEST[4]["question"]}]},
]


def write(path: Path, rows: list[Any]) -> Path:
    text = "".join(json.dumps(row) + "\n" for row in rows)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    write(tmp_path / "test.jsonl", TEST)
    write(tmp_path / "train.jsonl.gz", TRAIN)
    return tmp_path


def run(command: str) -> int:
    return cli.run(["contamination", *command.split()])


def as_json(command: str, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    assert run(f"{command} --json") == 0
    shown = capsys.readouterr().out
    assert shown.count("\n") == 1
    result: dict[str, Any] = json.loads(shown)
    return result


def test_what_it_prints(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--task test.jsonl --against train.jsonl.gz") == 0
    shown = capsys.readouterr().out
    assert "test.jsonl against train.jsonl.gz: 5 problems, 4 texts" in shown
    for label, count in (
        ("the same text", 1),
        ("the same text with other numbers", 1),
        ("13 words in a row in a training text", 2),
        ("  and more than half of the words with one text", 2),
        ("fewer than 13 words, compared as a whole", 2),
        ("  and within a training text", 1),
        ("contaminated: the same text, 13 words, or within", 3),
    ):
        assert re.search(rf"│ {label} +│ +{count} │ +{20 * count}.0 % │", shown), label
    words = "boxes of pears in the morning and twice as many boxes of apples at night how many boxes"
    # "begun alike" has 24 words: three up to the number, the 18 that it shares, and three at the end.
    assert shown[shown.index("┘") + 2 :].splitlines() == [
        f'leaked in train.jsonl.gz:1, the same text: "ada packs 3 {words}"',
        f'begun alike in train.jsonl.gz:1, 75 % of the words: "{words}"',
        "renumbered in train.jsonl.gz:2, with other numbers",
        "short in train.jsonl.gz:3, within",
        "give --out FILE.json for all that was found, with the ids of the contaminated problems",
    ]


def test_one_line_of_json_is_what_the_file_holds(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = as_json("--task test.jsonl --against train.jsonl.gz --out new/out.json", capsys)
    assert json.loads((here / "new/out.json").read_text()) == result
    assert result["ids"]["contaminated"] == ["leaked", "begun alike", "short"]
    assert result["ids"]["short"] == ["renumbered", "short"]
    assert (result["task"]["name"], result["task"]["problems"]) == ("test.jsonl", 5)
    [source] = result["against"]
    assert (source["name"], source["texts"], len(source["sha256"])) == ("train.jsonl.gz", 4, 64)
    assert [one["id"] for one in result["findings"]] == ["leaked", "renumbered", "begun alike", "short"]


def test_the_options_of_an_evaluation_name_the_same_problems(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain, instructed = (
        as_json(f"--task test.jsonl --limit 3 --against train.jsonl.gz {more}", capsys)
        for more in ("", "--instruction Think.")
    )
    assert plain == instructed
    assert plain["num_problems"] == 3


def test_nothing_found_is_no_error(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(here / "other.jsonl", [{"question": "Quite another thing."}, {"question": ""}])
    assert run("--task test.jsonl --against other.jsonl") == 0
    assert capsys.readouterr().out.endswith("┘\n")


def test_strange_names_are_printed_as_they_are(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(here / "test.jsonl", [{**TEST[0], "id": "[red]\ud800"}])
    write(here / "train[1].jsonl", TRAIN)
    assert run("--task test.jsonl --against train[1].jsonl") == 0
    shown = capsys.readouterr().out
    assert "test.jsonl against train[1].jsonl: 1 problems, 4 texts" in shown
    assert "[red]\\ud800 in train[1].jsonl:1, the same text" in shown


def test_columns_that_are_named_are_searched_instead(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    solution = {"question": TEST[0]["question"], "solution": f"We are asked: {TEST[4]['question']} 36."}
    write(here / "solved.jsonl", [solution])
    write(here / "chat.jsonl", [{"messages": TRAIN[3]["prompt"]}])
    for options, contaminated in (
        ("solved.jsonl", ["leaked", "begun alike"]),
        ("solved.jsonl --column solution", ["clean"]),
        ("solved.jsonl --column solution question", ["leaked", "begun alike", "clean"]),
        ("chat.jsonl", []),
        ("chat.jsonl --column messages", ["clean"]),
    ):
        found = as_json(f"--task test.jsonl --against {options}", capsys)
        assert found["ids"]["contaminated"] == contaminated, options


def test_texts_that_are_equal_in_a_row_are_one(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(here / "twice.jsonl", [{"question": STORY.format(3), "prompt": STORY.format(3)}])
    assert as_json("--task test.jsonl --against twice.jsonl", capsys)["num_texts"] == 1


GSM8K = {"question": TEST[0]["question"], "answer": "3 + 6 = 9\n#### 9"}


def test_tasks_and_files_together(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "data/gsm8k").mkdir(parents=True)
    (here / "data/cmath").mkdir()
    write(here / "data/gsm8k/test.jsonl", [GSM8K, {**GSM8K, "question": TEST[4]["question"]}])
    write(here / "data/gsm8k/train.jsonl", [{**GSM8K, "question": "Something else."}, GSM8K])
    write(here / "data/cmath/dev.jsonl", [{"question": TEST[4]["question"], "answer": "36"}])
    assert as_json("--task gsm8k --data data --against gsm8k", capsys)["ids"]["exact"] == ["gsm8k/test/0"]
    (here / "options.toml").write_text('task = "gsm8k"\ndata = "data"\nagainst = ["gsm8k", "cmath/dev"]\n')
    found = as_json("--config options.toml", capsys)
    assert found["ids"]["exact"] == ["gsm8k/test/0", "gsm8k/test/1"]
    assert found["findings"][1]["exact"] == {"count": 1, "ids": ["cmath/dev/0"]}
    found = as_json("--task gsm8k --data data --against gsm8k cmath/dev train.jsonl.gz --limit 1 --n 5", capsys)
    assert [source["texts"] for source in found["against"]] == [2, 1, 4]
    assert (found["n"], found["num_problems"], found["num_texts"]) == (5, 1, 7)
    assert found["findings"][0]["exact"]["ids"] == ["gsm8k/train/1", "train.jsonl.gz:1"]


def test_the_parts_of_the_generated_task_are_disjoint(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert as_json("--task generated --limit 200 --against generated generated/sft", capsys)["counts"]["exact"] == 0


BAD: list[tuple[str, str]] = [
    ("--task test.jsonl", "--against"),
    ("--against train.jsonl.gz", "--task"),
    ("--task nothing --against train.jsonl.gz", "no task 'nothing'; there are gsm8k, "),
    ("--task test.jsonl --against nothing", "no task 'nothing'; there are gsm8k, "),
    ("--task test.jsonl --against ./data/train.json", "no task './data/train.json'; there are gsm8k, "),
    ("--task test.jsonl --against missing.jsonl", "missing.jsonl: no such file"),
    ("--task missing.jsonl --against train.jsonl.gz", "missing.jsonl: no such file"),
    ("--task test.jsonl --against empty.jsonl", "empty.jsonl: no rows in it"),
    ("--task test.jsonl --against torn.jsonl", "torn.jsonl:1: not JSON"),
    (
        "--task test.jsonl --against bare.jsonl",
        "bare.jsonl:1: no column of 'prompt', 'question', 'problem', 'messages'; it has 'text': name one with --column",
    ),
    ("--task test.jsonl --against bare.jsonl --column chosen", "bare.jsonl:1: no column 'chosen'; it has 'text'"),
    ("--task test.jsonl --against null.jsonl", "null.jsonl:1: column 'question' must be text, got null"),
    ("--task test.jsonl --against turns.jsonl", "turns.jsonl:1: column 'messages' must be text or a list of messages"),
    ("--task test.jsonl --against silent.jsonl", "silent.jsonl:1: column 'prompt' has no message of the role 'user'"),
    ("--task test.jsonl --against cmath", "cmath has no split 'train'; it has dev, test"),
    ("--task test.jsonl --against gsm8k/dev", "gsm8k has no split 'dev'; it has train, test"),
    ("--task gsm8k --data one.jsonl --against gsm8k", "--data one.jsonl is one file: give a folder that holds gsm8k"),
    ("--task test.jsonl --against generated --column chosen", "--column is of files, and --against names none"),
    ("--task test.jsonl --against train.jsonl.gz --n 0", "n must be at least 1, got 0"),
    ("--task test.jsonl --against train.jsonl.gz --n thirteen", "thirteen"),
    ("--task test.jsonl --against train.jsonl.gz --limit 0", "limit must be at least 1, got 0"),
    ("--task test.jsonl --against train.jsonl.gz --out .", ". is a folder: give the name of a file"),
    ("--task test.jsonl --against train.jsonl.gz --strict", "--strict"),
]


@pytest.mark.parametrize(("options", "message"), BAD)
def test_bad_input_gets_one_line_and_writes_nothing(
    options: str, message: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(here / "empty.jsonl", [])
    (here / "torn.jsonl").write_text('{"question": "wh')
    write(here / "bare.jsonl", [{"text": "no column for it"}])
    write(here / "null.jsonl", [{"question": None}])
    write(here / "turns.jsonl", [{"messages": [{"from": "human", "value": "Hello"}]}])
    write(here / "silent.jsonl", [{"prompt": [{"role": "assistant", "content": "Hello"}]}])
    write(here / "one.jsonl", [GSM8K])
    assert run(f"{options} --out out.json" if "--out" not in options else options) == cli.USAGE_ERROR
    shown = capsys.readouterr()
    assert shown.err.count("\n") == 1
    assert message in shown.err
    assert shown.out == ""
    assert not (here / "out.json").exists()


def test_gsm8k_train_is_not_in_its_test(shared_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert as_json(f"--task gsm8k --data {shared_data} --against gsm8k", capsys)["counts"]["exact"] == 0
    leaked = f"--task gsm8k --data {shared_data} --against {shared_data / 'processbench' / 'gsm8k.jsonl.gz'}"
    assert as_json(leaked, capsys)["counts"]["exact"] > 0, "whose problems are of the test set"
