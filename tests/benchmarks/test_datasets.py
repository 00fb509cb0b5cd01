"""Loading of data sets: rows of our own making in the schemas of the public ones, and no network."""

import doctest
import gzip
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import datasets
import pytest

import markscheme.benchmarks.tasks.datasets
from markscheme.benchmarks.tasks.datasets import (
    HUB_DATASETS,
    EmptyGoldWarning,
    UnpinnedWarning,
    load_problems,
    load_task,
)
from markscheme.files import InputError
from markscheme.solutions import last_box

SHARED = Path(__file__).parents[3] / "shared/data"

GSM8K = {"question": "Ada has 3 bags of 400 nuts. How many nuts?", "answer": "3*400=<<3*400=1200>>1200\n#### 1,200"}
GSM8K_SOLUTION = "3*400=1200\nThe answer is \\boxed{1200}."  # as the prompts ask for it
MATH = {
    "problem": "Find $x$ if $2x = 1$.",
    "level": "Level 1",
    "type": "Algebra",
    "solution": r"$x = \boxed{\frac{1}{2}}$.",
}
MATH500 = {**MATH, "answer": r"\frac{1}{2}", "subject": "Algebra", "level": 1, "unique_id": "test/algebra/1.json"}
CMATH = {"question": "3加4等于几？", "answer": "7", "grade": 1, "reasoning_step": 1, "num_digits": 1}


def write(path: Path, *rows: Mapping[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(row) + "\n" for row in rows)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text)
    return path


def test_docstring_examples() -> None:
    assert doctest.testmod(markscheme.benchmarks.tasks.datasets).failed == 0


@pytest.mark.parametrize(
    ("name", "row", "gold"),
    [
        ("gsm8k", GSM8K, "1200"),
        ("math", MATH, r"\frac{1}{2}"),
        ("math500", MATH500, r"\frac{1}{2}"),
        ("cmath", CMATH, "7"),
    ],
)
def test_schema_of_each_data_set(tmp_path: Path, name: str, row: dict[str, Any], gold: str) -> None:
    write(tmp_path / name / "test.jsonl.gz", row, row)
    problems = load_task(name, "test", tmp_path)
    assert [problem.id for problem in problems] == [f"{name}/test/0", f"{name}/test/1"]
    assert problems[0].question == row.get("question", row.get("problem"))
    assert (problems[0].gold, problems[0].split) == (gold, "test")
    assert problems[0].solution == (GSM8K_SOLUTION if name == "gsm8k" else row.get("solution"))
    assert not {"question", "problem", "answer", "solution"} & set(problems[0].meta)


def test_a_file_or_the_folder_of_one_data_set_will_do(tmp_path: Path) -> None:
    path = write(tmp_path / "test.jsonl", GSM8K)
    assert load_task("gsm8k", "test", path) == load_task("gsm8k", "test", tmp_path)


def test_empty_boxes_of_math_train_are_left_out_loudly(tmp_path: Path) -> None:
    empty = {**MATH, "solution": r"there are $\boxed{}$ of them"}
    path = write(tmp_path / "train.jsonl", MATH, empty, MATH)
    with pytest.warns(EmptyGoldWarning, match=r"left out 1 rows whose answer is an empty box: .*train\.jsonl:2"):
        problems = load_task("math", "train", path)
    assert [problem.id for problem in problems] == ["math/train/0", "math/train/2"]
    with pytest.raises(InputError, match=r":2: the gold is empty"):
        load_task("math", "test", path)


@pytest.mark.parametrize(
    ("name", "row", "message"),
    [
        ("gsm8k", {"question": "1 + 1?", "answer": "2"}, "no '####'"),
        ("gsm8k", {"question": "1 + 1?", "answer": "two\n#### "}, "the gold is empty"),
        ("gsm8k", {"question": " ", "answer": "#### 2"}, "column 'question' is empty"),
        ("gsm8k", {"problem": "1 + 1?", "answer": "#### 2"}, "no column 'question'; it has 'problem', 'answer'"),
        ("math", {"problem": "1 + 1?", "solution": "2"}, "no column 'answer', and no"),
        ("cmath", {"question": "1 + 1?"}, "no column 'answer' or 'golden'"),
        ("cmath", {"question": "1 + 1?", "answer": None}, "must be text, got null"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, name: str, row: dict[str, Any], message: str) -> None:
    path = write(tmp_path / "test.jsonl", row)
    with pytest.raises(InputError, match=message) as error:
        load_task(name, "test", path)
    assert str(error.value).startswith(f"{path}:1: ")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "split", "message"),
    [
        ("gms8k", "test", "no data set 'gms8k'; there are gsm8k, math"),
        ("math500", "train", "math500 has no split 'train'; it has test"),
        ("gsm8k", "test", r"holds no gsm8k/test\.jsonl\.gz"),
    ],
)
def test_a_wrong_name_shows_the_right_ones(tmp_path: Path, name: str, split: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_task(name, split, tmp_path)


def test_an_empty_file_is_an_error(tmp_path: Path) -> None:
    path = write(tmp_path / "test.jsonl")
    with pytest.raises(InputError, match="no problems in it"):
        load_task("gsm8k", "test", path)
    with pytest.raises(InputError, match="no problems in it"):
        load_problems(path)


class Hub:
    """Stands in for `datasets.load_dataset`."""

    def __init__(self, rows: Sequence[Mapping[str, Any]]) -> None:
        self.rows = rows
        self.calls: list[tuple[Any, ...]] = []

    def __call__(self, id_: str, config: str | None, *, split: str, revision: str | None) -> Any:
        self.calls.append((id_, config, split, revision))
        return self.rows


def test_hub_rows_of_math_come_subject_by_subject(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = Hub([MATH, MATH])
    monkeypatch.setattr(datasets, "load_dataset", hub)
    problems = load_task("math", "test")
    assert [problem.id for problem in problems] == [f"math/test/{index}" for index in range(14)]
    assert [call[1] for call in hub.calls] == sorted(call[1] for call in hub.calls)
    assert hub.calls[0] == ("EleutherAI/hendrycks_math", "algebra", "test", HUB_DATASETS["math"].revision)
    assert problems[0].source == f"EleutherAI/hendrycks_math@{HUB_DATASETS['math'].revision}"


def test_hub_names_of_cmath(monkeypatch: pytest.MonkeyPatch) -> None:
    row = {key: value for key, value in CMATH.items() if key != "answer"} | {"golden": "7"}
    hub = Hub([row])
    monkeypatch.setattr(datasets, "load_dataset", hub)
    with pytest.warns(UnpinnedWarning, match="cmath: no revision of weitianwen/cmath is pinned"):
        (problem,) = load_task("cmath", "dev")
    assert (problem.id, problem.gold) == ("cmath/dev/0", "7")
    assert hub.calls == [("weitianwen/cmath", None, "validation", None)]


def test_a_bad_hub_row_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, "load_dataset", Hub([GSM8K, {**GSM8K, "answer": "1200"}]))
    with pytest.raises(InputError, match="openai/gsm8k/main/test row 1: no '####'"):
        load_task("gsm8k", "test")


def test_an_unreachable_hub_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: Any, **__: Any) -> Any:
        raise ConnectionError("Couldn't reach\nthe Hub")

    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    with pytest.raises(
        InputError, match=r"openai/gsm8k cannot be loaded .* \(Couldn't reach the Hub\); .* --data PATH"
    ):
        load_task("gsm8k", "test")


@pytest.mark.parametrize("name", list(HUB_DATASETS))
def test_revisions_are_whole_commits(name: str) -> None:
    revision = HUB_DATASETS[name].revision
    assert revision is None or (len(revision) == 40 and int(revision, 16))


def test_problems_of_any_file(tmp_path: Path) -> None:
    path = write(
        tmp_path / "mine.jsonl",
        {"question": "1 + 1?", "gold": 2},
        {"problem": "2 + 2?", "answer": "4", "id": "four", "level": 3},
        {"prompt": "Nuts?", "answer": GSM8K["answer"]},
    )
    first, second, third = load_problems(path)
    assert (first.id, first.gold) == ("mine/0", "2")
    assert (second.id, second.gold, second.meta) == ("four", "4", {"level": 3})
    assert (third.gold, third.solution) == ("1200", GSM8K_SOLUTION)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"text": "1 + 1?", "gold": "2"}], "1: no column 'question' or 'problem' or 'prompt'; it has 'text', 'gold'"),
        ([{"question": "1 + 1?"}], "1: no column 'gold' or 'answer'"),
        ([{"question": "1 + 1?", "gold": " "}], "1: the gold is empty"),
        ([{"question": "1?", "gold": "1", "id": "a"}] * 2, r"2: the id 'a' is that of .*:1 too"),
    ],
)
def test_bad_rows_of_any_file(tmp_path: Path, rows: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_problems(write(tmp_path / "mine.jsonl", *rows))


@pytest.mark.skipif(not SHARED.exists(), reason="needs ../shared/data (local copies of the data sets)")
@pytest.mark.filterwarnings("ignore::markscheme.benchmarks.tasks.datasets.EmptyGoldWarning")
@pytest.mark.parametrize(
    ("name", "split", "count"),
    [
        ("gsm8k", "train", 7_473),
        ("gsm8k", "test", 1_319),
        ("math", "train", 7_500 - 2),
        ("math", "test", 5_000),
        ("math500", "test", 500),
        ("cmath", "dev", 600),
        ("cmath", "test", 1_098),
    ],
)
def test_real_copies(name: str, split: str, count: int) -> None:
    problems = load_task(name, split, SHARED)
    assert len(problems) == len({problem.id for problem in problems}) == count
    if name.startswith("math"):  # the rule for copies without a column `answer` agrees with that column
        assert all((last_box(problem.solution or "") or "").strip() == problem.gold for problem in problems)


def test_golds_and_questions_as_other_tools_write_them(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"prompt": [{"role": "user", "content": "2 + 2?"}], "answer": "4"},
        {"question": "2 + 2?", "ground_truth": 4},
        {"question": "2 + 2?", "solution": "Two and two. #### 4"},
        {"question": "2 + 2?", "solution": r"Two and two is $\boxed{4}$."},
    ]
    problems = load_problems(write(tmp_path / "mine.jsonl", *rows))
    assert [(problem.question, problem.gold) for problem in problems] == [("2 + 2?", "4")] * 4
    assert problems[2].solution == "Two and two.\nThe answer is \\boxed{4}."
    assert problems[3].solution == rows[3]["solution"]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"question": "2 + 2?", "solution": "It is four."}, "no column 'gold' or 'answer' or 'ground_truth'"),
        ({"prompt": [], "answer": "4"}, "column 'prompt' must be text, or a list of one message of the role 'user'"),
        (
            {"prompt": [{"role": "system", "content": "a"}, {"role": "user", "content": "b"}], "answer": "4"},
            "one message",
        ),
        ({"prompt": [{"role": "user", "content": 4}], "answer": "4"}, "one message of the role 'user'"),
        ({"prompt": ["2 + 2?"], "answer": "4"}, "one message of the role 'user'"),
    ],
)
def test_other_rows_of_other_tools_are_named(row: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        load_problems(write(tmp_path / "mine.jsonl", row))
