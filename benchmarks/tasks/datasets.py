"""Problems of the public data sets GSM8K, MATH, MATH-500 and CMATH, from the hub or from local files."""

import re
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markscheme.files import InputError, StrPath, column, read_jsonl
from markscheme.problems import Problem
from markscheme.solutions import after_hashes, ends_in_hashes, last_box, marked_answer

Row = tuple[str, Mapping[str, Any]]
"""Where a row stands (`file:line`, or its place on the hub), and its columns."""


class UnpinnedWarning(UserWarning):
    """A data set is read at whatever revision the hub has today."""


class EmptyGoldWarning(UserWarning):
    """Rows without a gold were left out; the message says how many and which."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HubDataset:
    """Where a data set stands on the Hugging Face hub."""

    id: str
    configs: tuple[str | None, ...] = (None,)
    """Loaded one after the other; None where the data set has only one."""
    splits: Mapping[str, str]
    """Our name of each split -> the hub's."""
    revision: str | None
    """The commit to load; None takes the newest."""


GOLD_COLUMNS = ("gold", "answer", "ground_truth")
TRAIN_AND_TEST = {"train": "train", "test": "test"}

# In this order the seven subjects make up the rows of the original files, so ids agree with local copies.
MATH_SUBJECTS = (
    "algebra",
    "counting_and_probability",
    "geometry",
    "intermediate_algebra",
    "number_theory",
    "prealgebra",
    "precalculus",
)

HUB_DATASETS: Mapping[str, HubDataset] = {
    "gsm8k": HubDataset(
        id="openai/gsm8k",
        configs=("main",),
        splits=TRAIN_AND_TEST,
        revision="740312add88f781978c0658806c59bc2815b9866",
    ),
    "math": HubDataset(
        id="EleutherAI/hendrycks_math",
        configs=MATH_SUBJECTS,
        splits=TRAIN_AND_TEST,
        revision="21a5633873b6a120296cce3e2df9d5550074f4a3",
    ),
    "math500": HubDataset(
        id="HuggingFaceH4/MATH-500",
        splits={"test": "test"},
        revision="6e4ed1a2a79af7d8630a6b768ec859cb5af4d3be",
    ),
    "cmath": HubDataset(
        id="weitianwen/cmath",
        splits={"dev": "validation", "test": "test"},
        revision=None,  # no commit of it could be confirmed, so none is made up
    ),
}


def load_task(name: str, split: str, data: StrPath | None = None) -> list[Problem]:
    """The problems of one split of a data set; a problem's id is `name/split/row`, rows counted from 0.

    Two rows of MATH train have an empty box for an answer. They are left out with an EmptyGoldWarning that
    names them; the rows after them keep their numbers. Everywhere else a row without a gold is an error.

    Args:
        name: gsm8k, math, math500 or cmath.
        split: train or test (gsm8k, math), test (math500), dev or test (cmath).
        data: A .jsonl or .jsonl.gz file, or a folder that holds `name/split.jsonl.gz`; None loads from the hub.

    Raises:
        InputError: if there is no such data set, split or file, the hub cannot be reached, the data set is
            empty, or a row has no question or no gold.
    """
    if name not in HUB_DATASETS:
        raise InputError(f"no data set {name!r}; there are {', '.join(HUB_DATASETS)}")
    dataset = HUB_DATASETS[name]
    if split not in dataset.splits:
        raise InputError(f"{name} has no split {split!r}; it has {', '.join(dataset.splits)}")
    if data is None:
        source = f"{dataset.id}@{dataset.revision}" if dataset.revision else dataset.id
        if dataset.revision is None:
            message = (
                f"{name}: no revision of {dataset.id} is pinned, so the newest is read; --data PATH reads your own"
            )
            warnings.warn(message, UnpinnedWarning, stacklevel=2)
        rows = _hub_rows(dataset, split)
    else:
        path = _local_file(name, split, Path(data))
        source = str(path)
        rows = _local_rows(path)

    problems: list[Problem] = []
    empty: list[str] = []
    for index, (where, row) in enumerate(rows):
        problem = _problem(name, split, index, row, source, where)
        if problem.gold:
            problems.append(problem)
        elif (name, split) == ("math", "train"):
            empty.append(where)
        else:
            raise InputError(f"{where}: the gold is empty; correct the row or leave it out")
    if not problems:
        raise InputError(f"{source}: no problems in it; give another file with --data PATH")
    if empty:
        message = f"{name}/{split}: left out {len(empty)} rows whose answer is an empty box: {', '.join(empty)}"
        warnings.warn(message, EmptyGoldWarning, stacklevel=2)
    return problems


def load_problems(path: StrPath) -> list[Problem]:
    r"""The problems of any .jsonl or .jsonl.gz file with a question and a gold in each row.

    Columns: `question`, `problem` or `prompt`, which may be a list of one message; `gold`, `answer` or `ground_truth`,
    or else a `solution` that marks its answer; `id` and `solution` if there are any. A gold that is a worked solution
    in the manner of GSM8K counts from its `####` on. The rest goes to `meta`.

    Raises:
        InputError: if the file cannot be read or is empty, or a row lacks one of the two, has an empty gold, or
            has the id of another row.
    """
    path = Path(path)
    problems: list[Problem] = []
    seen: dict[str, str] = {}
    for index, (where, row) in enumerate(_local_rows(path)):
        question_name = _first_column(row, ("question", "problem", "prompt"), where)
        gold_name = _gold_column(row, where)
        text = column(row, gold_name, where)
        is_worked = gold_name == "solution" or ends_in_hashes(text)
        gold = ((marked_answer(text) or "") if is_worked else text).strip()
        if not gold:
            raise InputError(f"{where}: the gold is empty; correct the row or leave it out")
        id_ = column(row, "id", where) if "id" in row else f"{path.name.split('.')[0]}/{index}"
        if id_ in seen:
            raise InputError(f"{where}: the id {id_!r} is that of {seen[id_]} too; ids must differ")
        seen[id_] = where
        problems.append(
            Problem(
                id=id_,
                question=_question(row, question_name, where),
                gold=gold,
                solution=_gsm8k_solution(text, gold) if ends_in_hashes(text) else _optional(row, "solution", where),
                source=str(path),
                split="",
                meta={key: row[key] for key in row if key not in (question_name, gold_name, "id", "solution")},
            )
        )
    if not problems:
        raise InputError(f"{path}: no problems in it; a row needs a question and a gold")
    return problems


def _problem(name: str, split: str, index: int, row: Mapping[str, Any], source: str, where: str) -> Problem:
    question_name = "problem" if name in ("math", "math500") else "question"
    gold_names: tuple[str, ...] = ("answer",)
    if name == "gsm8k":
        gold = _gsm8k_gold(row, where)
        solution: str | None = _gsm8k_solution(row["answer"], gold)
    elif name == "cmath":
        gold_names = ("answer", "golden")  # the hub's name for it is golden
        solution = None
        gold = column(row, _first_column(row, gold_names, where), where).strip()
    else:
        solution = _optional(row, "solution", where)
        gold = _math_gold(row, where)
    return Problem(
        id=f"{name}/{split}/{index}",
        question=_question(row, question_name, where),
        gold=gold,
        solution=solution,
        source=source,
        split=split,
        meta={key: row[key] for key in row if key not in (question_name, *gold_names, "solution")},
    )


def _gsm8k_gold(row: Mapping[str, Any], where: str) -> str:
    text = column(row, "answer", where)
    if "####" not in text:
        raise InputError(f"{where}: no '####' before the answer in {text[-40:]!r}; is this GSM8K?")
    return after_hashes(text)


def _gsm8k_solution(text: str, gold: str) -> str:
    """The worked solution as the prompts ask for it: without calculator marks, the answer in a box."""
    steps = re.sub(r"<<[^<>]*>>", "", text.rpartition("####")[0]).strip()
    return f"{steps}\nThe answer is \\boxed{{{gold}}}."


def _math_gold(row: Mapping[str, Any], where: str) -> str:
    """The column `answer` where there is one, else the last box of the solution."""
    if "answer" in row:
        return column(row, "answer", where).strip()
    gold = last_box(column(row, "solution", where))
    if gold is None:
        raise InputError(f"{where}: no column 'answer', and no \\boxed{{...}} in the solution")
    return gold.strip()


def _gold_column(row: Mapping[str, Any], where: str) -> str:
    if not any(name in row for name in GOLD_COLUMNS) and marked_answer(str(row.get("solution", ""))) is not None:
        return "solution"
    return _first_column(row, GOLD_COLUMNS, where)


def _question(row: Mapping[str, Any], name: str, where: str) -> str:
    if isinstance(row.get(name), list):
        question = _only_message(row[name], f"{where}: column {name!r}")
    else:
        question = column(row, name, where)
    question = question.strip()
    if not question:
        raise InputError(f"{where}: column {name!r} is empty; correct the row or leave it out")
    return question


def _only_message(turns: list[Any], where: str) -> str:
    """The text of the one message of a conversation that asks a question."""
    roles = [turn.get("role") for turn in turns if isinstance(turn, Mapping)]
    if roles != ["user"] or len(turns) != 1 or not isinstance(turns[0].get("content"), str):
        raise InputError(f"{where} must be text, or a list of one message of the role 'user' with the question")
    return str(turns[0]["content"])


def _optional(row: Mapping[str, Any], name: str, where: str) -> str | None:
    return column(row, name, where) if row.get(name) is not None else None


def _first_column(row: Mapping[str, Any], names: tuple[str, ...], where: str) -> str:
    for name in names:
        if name in row:
            return name
    there = ", ".join(map(repr, row)) or "none"
    raise InputError(f"{where}: no column {' or '.join(map(repr, names))}; it has {there}")


def _local_file(name: str, split: str, data: Path) -> Path:
    if not data.is_dir():
        return data
    candidates = [folder / f"{split}{suffix}" for folder in (data / name, data) for suffix in (".jsonl.gz", ".jsonl")]
    for path in candidates:
        if path.is_file():
            return path
    raise InputError(f"{data}: holds no {name}/{split}.jsonl.gz, nor {split}.jsonl(.gz); give the file itself")


def _local_rows(path: Path) -> Iterator[Row]:
    for line_number, row in read_jsonl(path):
        yield f"{path}:{line_number}", row


def _hub_rows(dataset: HubDataset, split: str) -> Iterator[Row]:
    import datasets  # seconds to import, and not needed for local files

    for config in dataset.configs:
        try:
            rows: Iterable[Mapping[str, Any]] = datasets.load_dataset(
                dataset.id, config, split=dataset.splits[split], revision=dataset.revision
            )
        except OSError as error:  # the hub's own errors (not reached, not found, no such revision) are OSErrors
            reason = " ".join(str(error).split())
            raise InputError(
                f"{dataset.id} cannot be loaded from the hub ({reason}); give a local copy with --data PATH"
            ) from error
        for index, row in enumerate(rows):
            yield f"{dataset.id}{f'/{config}' if config else ''}/{split} row {index}", row
