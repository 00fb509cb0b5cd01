"""Reading rows of completion and gold, whoever wrote them: JSON lines, or a JSON list of objects.

The columns are known by name. Besides files of one's own these names are those of Qwen2.5-Math, ToRA and
math-evaluation-harness (`code`, `gt`, `score`), DeepSeek-Math (`model_output`, `answer`, `accuracy`), NeMo-Skills
(`generation`, `expected_answer`, `symbolic_correct`) and the generations that verl dumps (`input`, `output`, `gts`).
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from markscheme.benchmarks.logs.sample import LoggedSample
from markscheme.benchmarks.logs.values import (
    answer_of,
    count_of,
    id_of,
    listed,
    number_of,
    prompt_of,
    verdict_of,
)
from markscheme.files import InputError, kind_of, noun_of
from markscheme.messages import answer_in, are_messages
from markscheme.problems import question_hash
from markscheme.score_rows import COMPLETION_COLUMNS, GOLD_COLUMNS, INPUT_COLUMN, PROMPT_COLUMNS

QUESTIONS = (*reversed(PROMPT_COLUMNS), INPUT_COLUMN)
"""The bare question first: it tells problems apart, and a prompt may hold examples too. The first that a row has
counts, as of COMPLETION_COLUMNS and GOLD_COLUMNS."""
IDS = ("id", "problem_id", "question_id", "unique_id", "idx")
# The first of these whose values are verdicts in every row.
VERDICTS = ("label", "label_reviewed", "correct", "is_correct", "accuracy", "acc", "symbolic_correct", "score")
VALUE, SCORE = "reward_model_score", "score"
# Which of its problem's samples a row is: the first of these by which they are told apart. Inspect calls it an epoch.
NUMBERS = ("sample_index", "sample_idx", "completion_idx", "rollout_idx", "repeat_idx", "repeat", "epoch", "k")
NUMBERED_ID = re.compile(r"(.*?)([0-9]{1,18})", re.DOTALL)
Place = tuple[str, Mapping[str, Any]]
"""Where a row stands, and the row."""


def read_plain(
    rows: Iterable[Place], path: Path, *, verdict: str | None = None, keep: Mapping[str, str] | None = None
) -> list[LoggedSample]:
    """The samples of such rows; a row may hold a list of completions. A completion is text, or
    messages of which those of the assistant count.

    Ids name problems if each of them stands for one question, and each question for one of them; else they name
    samples, and a problem is known by its question's words. `k` counts what is kept, in whatever order the rows stand:
    one of the columns NUMBERS decides, else the number that ids of samples end in, else the order of the log. Where a
    file holds several models, keep one of them before you ask for pass@k.

    Args:
        rows: Those of the file.
        path: The file, for messages.
        verdict: The column that is the verdict; None chooses from VERDICTS.
        keep: Column -> value; only rows that have these are kept.

    Raises:
        InputError: if a row lacks a completion or a gold, or there is no such column or value.
    """
    everything = list(rows)
    if not everything:
        raise InputError(f"{path}: no rows in it; a row needs a completion and a gold")
    if verdict is not None:
        _check_column(everything, verdict, path)
    column = verdict or next((name for name in VERDICTS if _is_verdict(name, everything)), None)
    rated = VALUE if any(VALUE in row for _, row in everything) else SCORE if _is_rating(SCORE, everything) else None
    kept = _kept(everything, keep or {}, path)
    texts = [_completions(row, where) for _, (where, row) in kept]
    samples: list[LoggedSample] = []
    for (problem, (where, row)), completions, k in zip(kept, texts, _first_numbers(kept, texts), strict=True):
        gold, question = _gold(row, where), _question(row)
        verdicts = _each(row, column, len(completions), where)
        ratings = _each(row, rated, len(completions), where)
        tokens = _each(row, "completion_tokens", len(completions), where)
        reasons = _each(row, "finish_reason", len(completions), where)
        for index, completion in enumerate(completions):
            samples.append(
                LoggedSample(
                    problem=problem,
                    question=question,
                    completion=completion,
                    gold=gold,
                    verdict=verdict_of(verdicts[index]),
                    k=k + index,
                    tokens=count_of(tokens[index], where, name="completion_tokens"),
                    truncated=None if reasons[index] is None else reasons[index] == "length",
                    value=number_of(ratings[index], where, name=rated or SCORE),
                    row=row,
                    where=where,
                )
            )
    return samples


def _kept(rows: Sequence[Place], keep: Mapping[str, str], path: Path) -> list[tuple[str, Place]]:
    """The rows to keep, with their problems' names, which are the same whichever rows are kept."""
    kept = list(zip(_problems(rows), rows, strict=True))
    for name, value in keep.items():
        _check_column(rows, name, path)
        values = dict.fromkeys(str(row.get(name)) for _, (_, row) in kept)
        if value not in values:
            raise InputError(f"{path}: no row whose {name!r} is {value!r}; there are {listed(values)}")
        kept = [entry for entry in kept if str(entry[1][1].get(name)) == value]
    return kept


def _problems(rows: Sequence[Place]) -> list[str]:
    """What names the problem of each row."""
    ids = [_id(row, where) for where, row in rows]
    questions = [_question(row) for _, row in rows]
    hashes = {question: question_hash(question) for question in set(questions)}
    ids_of: dict[str, set[str | None]] = defaultdict(set)
    questions_of: dict[str | None, set[str]] = defaultdict(set)
    for id_, question in zip(ids, questions, strict=True):
        ids_of[question].add(id_)
        questions_of[id_].add(question)
    ids_name_problems = all(len(group) == 1 for group in ids_of.values()) and all(
        len(group) == 1 for group in questions_of.values()
    )
    problems: list[str] = []
    for index, (id_, question) in enumerate(zip(ids, questions, strict=True)):
        if question and not (ids_name_problems and id_ is not None):
            problems.append(hashes[question])
        else:
            problems.append(id_ if id_ is not None else f"row {index}")
    return problems


def _id(row: Mapping[str, Any], where: str) -> str | None:
    return next((id_of(row[name], where, name=name) for name in IDS if row.get(name) is not None), None)


def _first_numbers(rows: Sequence[tuple[str, Place]], texts: Sequence[Sequence[str]]) -> list[int]:
    """Of each row's completions, `texts`, the first one's number among those of its problem."""
    places: dict[str, list[int]] = defaultdict(list)
    for place, (problem, _) in enumerate(rows):
        places[problem].append(place)
    firsts = [0] * len(rows)
    for of_one in places.values():
        count = 0
        for _, place in sorted(zip(_numbers([rows[place][1] for place in of_one]), of_one, strict=True)):
            firsts[place] = count
            count += len(texts[place])
    return firsts


def _numbers(rows: Sequence[Place]) -> Sequence[int]:
    """What orders the rows of a problem."""
    for name in NUMBERS:
        given = [row.get(name) for _, row in rows]
        numbers = [one for one in given if isinstance(one, int) and not isinstance(one, bool)]
        if len(set(numbers)) == len(rows):
            return numbers
    ids = [NUMBERED_ID.fullmatch(_id(row, where) or "") for where, row in rows]
    found = [(id_[1], int(id_[2])) for id_ in ids if id_ is not None]
    if len(set(found)) == len(rows) and len({start for start, _ in found}) == 1:
        return [number for _, number in found]
    return range(len(rows))


def _completions(row: Mapping[str, Any], where: str) -> list[str]:
    name = _first(row, COMPLETION_COLUMNS, where)
    value = row[name]
    completions = value if isinstance(value, list) and not are_messages(value) else [value]
    strange = [one for one in completions if not isinstance(one, str) and not are_messages(one)]
    if strange or not completions:
        kinds = ", ".join(dict.fromkeys(map(kind_of, strange))) or "none"
        raise InputError(f"{where}: {name!r} must be text or texts, not {kinds}; correct or remove the row")
    return [answer_in(one, f"{where}: {name!r}") for one in completions]


def _gold(row: Mapping[str, Any], where: str) -> str:
    name = _first(row, GOLD_COLUMNS, where)
    gold = row[name]
    if isinstance(gold, list):
        if len(gold) != 1:
            raise InputError(f"{where}: {name!r} is a list of {len(gold)}: is each right, or all needed? Give one gold")
        gold = gold[0]
    return answer_of(gold, where, name=name)


def _question(row: Mapping[str, Any]) -> str:
    for name in QUESTIONS:
        if name in row and (text := prompt_of(row[name])):
            return text
    messages = row.get("messages")
    if not isinstance(messages, list):
        return ""
    asked = [message for message in messages if isinstance(message, Mapping) and message.get("role") == "user"]
    return prompt_of(asked[-1:]) or ""


def _each(row: Mapping[str, Any], name: str | None, number: int, where: str) -> list[Any]:
    """A column's value for each of the row's completions; None where one value stands for several."""
    value = row.get(name) if name is not None else None
    if not isinstance(value, list):
        return [value if number == 1 else None] * number
    if len(value) != number:
        values = f"{len(value)} {noun_of(len(value), 'value')}"
        completions = f"{number} {noun_of(number, 'completion')}"
        raise InputError(f"{where}: {name!r} has {values} for {completions}; correct the row")
    return value


def _is_verdict(name: str, rows: Sequence[Place]) -> bool:
    values = _values(name, rows)
    return bool(values) and all(verdict_of(value) is not None for value in values)


def _is_rating(name: str, rows: Sequence[Place]) -> bool:
    values = _values(name, rows)
    are_numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    return are_numbers and not _is_verdict(name, rows)


def _values(name: str, rows: Sequence[Place]) -> list[Any]:
    values: list[Any] = []
    for _, row in rows:
        value = row.get(name)
        values.extend(value if isinstance(value, list) else [value])
    return [value for value in values if value is not None]


def _check_column(rows: Sequence[Place], name: str, path: Path) -> None:
    if not any(name in row for _, row in rows):
        names = dict.fromkeys(name for _, row in rows for name in row)
        raise InputError(f"{path}: no column {name!r} in it; it has {listed(names)}")


def _first(row: Mapping[str, Any], names: Sequence[str], where: str) -> str:
    for name in names:
        if name in row:
            return name
    raise InputError(f"{where}: no column {' or '.join(map(repr, names))}; it has {listed(row)}")
