"""Rows of a JSONL file with a score: batches of lines in, the same rows with a column `score` out."""

import gzip
import json
import zlib
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from markscheme.files import InputError, check_first_line, column, json_object
from markscheme.messages import answer_in, are_messages, prompt_of
from markscheme.scoring import GoldError, Outcome, Sample, Score, Scorer
from markscheme.solutions import marked_answer

# Of each of these the first that a row has counts. The answer comes last among the golds: in some logs it is the
# model's.
PROMPT_COLUMNS = ("prompt", "question", "problem")
INPUT_COLUMN = "input"
"""verl's prompt; elsewhere what an instruction is about, so it counts only beside a completion."""
COMPLETION_COLUMNS = ("completion", "response", "model_output", "generation", "output", "code")
GOLD_COLUMNS = ("gold", "gt", "ground_truth", "expected_answer", "target", "gts", "answer")
SOLUTION_COLUMN = "solution"
"""A worked one, whose marked answer is the gold of a row that has no other."""
META_COLUMNS = ("completion_tokens", "finish_reason", "choices", "step_ends")

MAX_BATCH_BYTES = 1 << 18
"""A batch ends with the line that brings it to this: several for each process are in memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Lines of a file that follow one another."""

    lines: tuple[bytes, ...]
    first_line: int
    """Its number in the file, from 1."""
    end_bytes: int
    """Where the last line ends in the file, unpacked."""
    read_bytes: int
    """How much of the file on disk had been read by then."""

    @property
    def end_line(self) -> int:
        """The number of the last line."""
        return self.first_line + len(self.lines) - 1

    def apart(self) -> Iterator["Batch"]:
        """Each line on its own."""
        end_bytes = self.end_bytes - sum(map(len, self.lines))
        for number, line in enumerate(self.lines, self.first_line):
            end_bytes += len(line)
            yield Batch(lines=(line,), first_line=number, end_bytes=end_bytes, read_bytes=self.read_bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What came of a number of rows."""

    rows: int = 0
    outcomes: Mapping[str, int] = field(default_factory=dict)
    value_sum: float = 0.0
    failure: str = ""
    """The first row that failed, and why."""
    mangled: int = 0
    """Rows of which `is_mangled` holds."""

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(
            rows=self.rows + other.rows,
            outcomes=dict(Counter(self.outcomes) + Counter(other.outcomes)),
            value_sum=self.value_sum + other.value_sum,
            failure=self.failure or other.failure,
            mangled=self.mangled + other.mangled,
        )

    @property
    def unscored(self) -> int:
        """Rows without a value."""
        return sum(count for outcome, count in self.outcomes.items() if not Outcome(outcome).has_value)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredBatch:
    """A batch, and what became of it."""

    batch: Batch
    text: bytes
    """Its rows with their scores, a line each; blank lines are left out."""
    tally: Tally


def read_batches(
    path: Path, *, batch_lines: Callable[[int], int], after_line: int = 0, after_bytes: int = 0
) -> Iterator[Batch]:
    """The lines of a .jsonl or .jsonl.gz file.

    Args:
        path: the file.
        batch_lines: how many in the batch that starts after this line; long lines make it fewer.
        after_line: where to start.
        after_bytes: where that line ends, unpacked.

    Raises:
        InputError: if a .gz file cannot be unpacked.
    """
    lines: list[bytes] = []
    first_line, end_bytes, size = after_line + 1, after_bytes, 0
    try:
        with path.open("rb") as file, gzip.GzipFile(fileobj=file) if path.suffix == ".gz" else file as source:
            source.seek(after_bytes)
            most = batch_lines(after_line)
            for line in source:
                lines.append(line)
                size += len(line)
                if len(lines) >= most or size >= MAX_BATCH_BYTES:
                    end_bytes += size
                    yield Batch(lines=tuple(lines), first_line=first_line, end_bytes=end_bytes, read_bytes=file.tell())
                    first_line, lines, size = first_line + len(lines), [], 0
                    most = batch_lines(first_line - 1)
            if lines:
                end_bytes += size
                yield Batch(lines=tuple(lines), first_line=first_line, end_bytes=end_bytes, read_bytes=file.tell())
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        line_number = first_line + len(lines)
        raise InputError(f"{path}:{line_number}: not readable as gzip ({error}); give it whole again") from error


def score_here(batches: Iterable[Batch], scorer: Scorer, name: str) -> Generator[ScoredBatch, None, None]:
    """Scores batch after batch in this process; `name` is the file's, for messages.

    Raises:
        InputError: naming a line that is no JSON object or lacks a column.
        GoldError: naming the line of a gold that cannot be read.
    """
    for batch in batches:
        text, tally = score_lines(batch.lines, batch.first_line, scorer, name)
        yield ScoredBatch(batch=batch, text=text, tally=tally)


def score_lines(lines: Sequence[bytes], first_line: int, scorer: Scorer, name: str) -> tuple[bytes, Tally]:
    """The rows with their scores as JSON lines, and what came of them. Raises as `score_here` does."""
    rows: list[dict[str, Any]] = []
    places: list[str] = []
    samples: list[Sample] = []
    for number, line in numbered_rows(lines, first_line):
        places.append(f"{name}:{number}")
        if number == 1:
            check_first_line(line, Path(name))
        try:
            rows.append(json_object(line, Path(name), number))
            samples.append(sample_of(rows[-1], places[-1]))
        except InputError as error:
            raise InputError(_with_way_out(str(error))) from error
    try:
        scores = scorer.score(samples)
    except GoldError:
        _name_the_gold(samples, places, scorer)
        raise
    scored = [{**row, "score": score.to_dict()} for row, score in zip(rows, scores, strict=True)]
    tally = replace(tally_of(scores, places), mangled=sum(is_mangled(one.completion, one.gold) for one in samples))
    return "".join(f"{json.dumps(row)}\n" for row in scored).encode(), tally


def numbered_rows(lines: Sequence[bytes], first_line: int) -> list[tuple[int, bytes]]:
    """The lines that are not blank, with their numbers in the file."""
    return [(number, line) for number, line in enumerate(lines, first_line) if line.strip()]


def sample_of(row: Mapping[str, Any], place: str) -> Sample:
    """What a row asks to be judged; `place` is where it stands, and its id if it has none.

    Raises:
        InputError: naming the place of a row that lacks a column.
    """
    said = next((name for name in COMPLETION_COLUMNS if name in row), None)
    if said is None:
        others = ", ".join(map(repr, COMPLETION_COLUMNS[1:]))
        raise InputError(
            f"{place}: no column 'completion'; it has {', '.join(map(repr, row)) or 'none'}; in place of it {others} "
            "would do"
        )
    asked = next((name for name in (*PROMPT_COLUMNS, INPUT_COLUMN) if name in row), None)
    return Sample(
        prompt="" if asked is None else prompt_of(_said(row, asked, place)),
        completion=answer_in(_said(row, said, place), f"{place}: column {said!r}"),
        gold=gold_in_row(row, place),
        id=_text_or_none(row.get("id")) or place,
        group=_text_or_none(row.get("group")),
        meta={name: row[name] for name in META_COLUMNS if name in row},
    )


def gold_in_row(row: Mapping[str, Any], place: str) -> str | None:
    """The gold, or what a worked solution marks as its answer; None where there is neither.

    Raises:
        InputError: naming the place of a row in which it is neither text nor a number.
    """
    named = next((name for name in GOLD_COLUMNS if name in row), None)
    if named is not None:
        return column(row, named, place)
    return marked_answer(column(row, SOLUTION_COLUMN, place)) if SOLUTION_COLUMN in row else None


def _said(row: Mapping[str, Any], name: str, place: str) -> str | list[Any]:
    """Text, or messages."""
    value = row[name]
    if isinstance(value, list) and not are_messages(value):
        raise InputError(
            f"{place}: column {name!r} must be text, got a list that does not hold messages, each with role and content"
        )
    return value if isinstance(value, list) else column(row, name, place)


def is_mangled(completion: str, gold: str | tuple[str, ...] | None) -> bool:
    r"""Whether a completion or its gold holds a backspace or a form feed, as JSON reads `"\boxed"` and `"\frac"`."""
    golds = gold if isinstance(gold, tuple) else (gold or "",)
    return any("\b" in text or "\f" in text for text in (completion, *golds))


def mangled_warning(count: int) -> str:
    """What to say about so many rows of which `is_mangled` holds."""
    who = "1 row holds" if count == 1 else f"{count:,} rows hold"
    return (
        rf"warning: {who} a backspace or form feed in a completion or gold: likely \boxed or \frac written with one "
        r'backslash, which JSON reads as such a character; write two ("\\boxed"), as json.dumps does'
    )


def score_of(row: Mapping[str, Any], place: str) -> Score:
    """The score that a row has been given; `place` is where it stands.

    Raises:
        InputError: naming the place of a row whose column `score` is none.
    """
    try:
        return Score.from_dict(row["score"])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        needed = "as `markscheme score` writes it: a value, an outcome"
        raise InputError(f"{place}: column 'score' must be {needed}; it is {str(row.get('score'))[:80]!r}") from error


def _text_or_none(value: object) -> str | None:
    return str(value) if isinstance(value, str | int) else None


def _name_the_gold(samples: Sequence[Sample], places: Sequence[str], scorer: Scorer) -> None:
    """Finds the line of the gold that cannot be read: the scorer knows the sample's id only."""
    for sample, place in zip(samples, places, strict=True):
        try:
            scorer.score([sample])
        except GoldError as error:
            message = str(error) if place in str(error) else f"{place}: {error}"
            raise GoldError(_with_way_out(message)) from error


def _with_way_out(message: str) -> str:
    return f"{message}; correct this line or take it out"


def tally_of(scores: Sequence[Score], places: Sequence[str]) -> Tally:
    """What came of rows at these places."""
    failed = (
        f"{place}: {failure_of(score)}"
        for score, place in zip(scores, places, strict=True)
        if score.outcome is Outcome.FAILED
    )
    return Tally(
        rows=len(scores),
        outcomes=dict(Counter(score.outcome.value for score in scores)),
        value_sum=sum(score.value for score in scores if score.value is not None),
        failure=next(failed, ""),
    )


def failure_of(score: Score) -> str:
    """Why there is no verdict, in the scorer's words."""
    return " ".join(str(score.evidence[key]) for key in ("reason", "message", "error") if key in score.evidence)
