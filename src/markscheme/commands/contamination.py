"""`markscheme contamination`: whether evaluated problems stand in what was trained on."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from rich.table import Table
from rich.text import Text

from markscheme import __version__
from markscheme.benchmarks.contamination import NGRAM_WORDS, Contamination, Finding, TrainingText
from markscheme.benchmarks.contamination import contamination as look_for
from markscheme.benchmarks.tasks import task_problems
from markscheme.benchmarks.tasks.datasets import HUB_DATASETS
from markscheme.benchmarks.tasks.generated import SOURCE
from markscheme.commands.options import PROBLEMS_GROUP, TaskOptions
from markscheme.commands.shared import console, say
from markscheme.files import InputError, read_jsonl, sha256_of, write_json
from markscheme.files import column as text_of
from markscheme.problems import problems_hash
from markscheme.score_rows import PROMPT_COLUMNS

QUESTION_COLUMNS = (*PROMPT_COLUMNS, "messages")
TASKS = (*HUB_DATASETS, SOURCE)
NUM_CASES, NUM_WORDS = 3, 30  # of each kind, and of the shared words: --out has all of them


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluatedOptions(TaskOptions):
    """Problems that are measured on."""

    split: str = "test"
    """Part of the task: train, dev, test; the generated task also has sft and unseen."""
    instruction: str | None = None
    """As for evaluate; it is no part of a question and changes nothing here."""


def contamination(
    *,
    task: Annotated[EvaluatedOptions, Parameter(name="*", group=PROBLEMS_GROUP)],
    against: Annotated[list[str], Parameter(consume_multiple=True, negative="")],
    column: Annotated[list[str] | None, Parameter(consume_multiple=True, negative="")] = None,
    n: int = NGRAM_WORDS,
    out: Path | None = None,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
    config: Path | None = None,
) -> None:
    """Look for the problems of an evaluation in training texts: word for word, with other numbers, or in part.

    Parameters
    ----------
    against
        What was trained on: .jsonl or .jsonl.gz files, and tasks, of which the split train is read unless another is
        named (cmath/dev). Only questions are searched: in a file the columns question, problem, prompt and messages, as
        many as a row has, and of messages what the user says.
    column
        Columns of the files to search instead, such as solution, completion or chosen; each row must have them.
    n
        Words of an n-gram; a question with fewer is compared as a whole.
    out
        JSON file for all that is found, with the ids of the contaminated problems.
    as_json
        Print all that is found as one line of JSON, and nothing else.
    config
        TOML file of options.
    """
    if n < 1:
        raise InputError(f"n must be at least 1, got {n}")
    if not against:
        raise InputError("--against names nothing; give a task or a .jsonl file that was trained on")
    if column and all(map(_is_task, against)):
        raise InputError("--column is of files, and --against names none: leave it out")
    if out is not None and out.is_dir():
        raise InputError(f"{out} is a folder: give the name of a file")
    problems = task.problems()
    record: list[dict[str, Any]] = []
    texts = (text for name in against for text in _texts(name, task, column, record))
    if as_json:
        found = look_for(problems, texts, n)
    else:
        with console.status(Text(f"{len(problems)} problems against {', '.join(against)}")):
            found = look_for(problems, texts, n)
    result = {"markscheme": __version__, "task": task.record(problems), "against": record, **found.to_dict()}
    if out is not None:
        write_json(out, result)
    if as_json:
        print(json.dumps(result))
        return
    print_contamination(found, f"{task.task} against {', '.join(against)}")
    if out is not None:
        say(f"all that was found: {out}")
    elif found.findings:
        say("give --out FILE.json for all that was found, with the ids of the contaminated problems")


def _is_task(name: str) -> bool:
    return not name.endswith((".jsonl", ".jsonl.gz"))


def _texts(
    name: str, task: TaskOptions, columns: Sequence[str] | None, record: list[dict[str, Any]]
) -> Iterator[TrainingText]:
    """The training texts of a task or file; when they have been read, `record` is told where they came from."""
    if not _is_task(name):
        num_texts = 0
        for line_number, row in read_jsonl(Path(name)):
            where = f"{name}:{line_number}"
            for text in _row_texts(row, columns, where):
                num_texts += 1
                yield TrainingText(id=where, text=text)
        if not num_texts:
            raise InputError(f"{name}: no rows in it")
        record.append({"name": name, "texts": num_texts, "sha256": sha256_of(Path(name))})
        return
    task_name, _, split = name.partition("/") if name.partition("/")[0] in TASKS else (name, "", "")
    if task_name in HUB_DATASETS and task.data is not None and task.data.is_file():
        raise InputError(f"--data {task.data} is one file: give a folder that holds {name} too, or --against a file")
    problems = task_problems(
        task_name, split or "train", data=task.data, difficulty=task.difficulty, seed=task.problem_seed
    )
    for problem in problems:
        yield TrainingText(id=problem.id, text=problem.question)
    record.append({"name": name, "texts": len(problems), "sha256": problems_hash(problems)})


def _row_texts(row: dict[str, Any], columns: Sequence[str] | None, where: str) -> list[str]:
    """The different texts in the columns of a row."""
    names = columns or [name for name in QUESTION_COLUMNS if name in row]
    if not names:
        there = ", ".join(map(repr, row)) or "none"
        raise InputError(
            f"{where}: no column of {', '.join(map(repr, QUESTION_COLUMNS))}; it has {there}: name one with --column"
        )
    texts: list[str] = []
    for name in names:
        if isinstance(row.get(name), list):
            texts += _messages(row[name], everyone=columns is not None, where=f"{where}: column {name!r}")
        else:
            texts.append(text_of(row, name, where))
    return list(dict.fromkeys(texts))


def _messages(messages: list[Any], *, everyone: bool, where: str) -> list[str]:
    if not all(isinstance(one, dict) and isinstance(one.get("content"), str) for one in messages):
        raise InputError(f"{where} must be text or a list of messages, each of a role and a content")
    said = [one["content"] for one in messages if everyone or one.get("role") == "user"]
    if not said:
        raise InputError(f"{where} has no message of the role 'user': name the columns to search with --column")
    return said


def print_contamination(found: Contamination, title: str) -> None:
    """The counts, and the first cases of each kind."""
    title = f"{title}: {found.num_problems:,} problems, {found.num_texts:,} texts"
    table = Table(title=Text(title), title_justify="left")  # no markup: a file may be called train[1].jsonl
    table.add_column("")
    table.add_column("problems", justify="right")
    table.add_column("share", justify="right")
    rows = {
        "exact": "the same text",
        "other_numbers": "the same text with other numbers",
        "overlap": f"{found.n} words in a row in a training text",
        "mostly": "  and more than half of the words with one text",
        "short": f"fewer than {found.n} words, compared as a whole",
        "inside": "  and within a training text",
        "contaminated": f"contaminated: the same text, {found.n} words, or within",
    }
    counts = found.to_dict()["counts"]
    for kind, label in rows.items():
        table.add_row(label, f"{counts[kind]:,}", f"{100 * counts[kind] / found.num_problems:.1f} %")
    console.print(table)
    shown: Counter[str] = Counter()
    for one in sorted(found.findings, key=lambda one: -one.words_share):
        kind, case = _case(one)
        shown[kind] += 1
        if shown[kind] <= NUM_CASES:
            say(case.encode("utf-8", "backslashreplace").decode())  # an id may hold half a surrogate pair


def _case(one: Finding) -> tuple[str, str]:
    """What a problem was found as first of all, and a line about it."""
    words = ""
    if one.overlaps:
        passage = one.overlaps[0].passage.split()
        words = f': "{" ".join(passage[:NUM_WORDS])}{" ..." * (len(passage) > NUM_WORDS)}"'
    for kind, seen in (("the same text", one.exact), ("within", one.inside)):
        if seen.count:
            return kind, f"{one.id} in {seen.ids[0]}, {kind}{words}"
    if one.overlaps:
        return "words", f"{one.id} in {one.overlaps[0].id}, {100 * one.words_share:.0f} % of the words{words}"
    return "numbers", f"{one.id} in {one.other_numbers.ids[0]}, with other numbers"
