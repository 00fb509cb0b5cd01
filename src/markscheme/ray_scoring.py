"""Scoring on a Ray cluster: a scorer over a data set of Ray's, and `python -m markscheme.ray_scoring IN OUT`."""

import io
import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import ray
import ray.data
from cyclopts import App, CycloptsError
from pyarrow.fs import FileSystem, FileType
from pyarrow.parquet import write_table
from ray.data.block import Block, BlockAccessor
from ray.data.datasource import BlockBasedFileDatasink, FileBasedDatasource, WriteResult
from ray.exceptions import RayError

import markscheme.workers as workers
from markscheme.commands.score import SOME_FAILED, summary
from markscheme.commands.shared import RULES, scorer_by_name
from markscheme.files import InputError, whole_folder
from markscheme.score_rows import Tally, sample_of, score_lines, tally_of
from markscheme.scorer_process import RowByRow
from markscheme.scoring import GoldError, Score, Scorer

BATCH_SIZE = 512
"""Rows that a scorer is given at once: a reward model reads many at a time, and rules do not mind."""
BLOCK_BYTES = 1 << 24
"""Of a job's blocks, each of which becomes a part of the output and is scored again if its actor dies: seconds of work
for rules, minutes for a reward model. Ray's own are eight times as large."""

FREE_FORM = ("steps", "parts", "evidence")
SCORE_TYPE = pa.struct(
    [
        *(("value", pa.float64()), ("outcome", pa.string()), ("answer", pa.string())),
        *((name, pa.string()) for name in FREE_FORM),
    ]
)
"""Of the column `score`. What differs from scorer to scorer is JSON text, so that all batches have one schema."""


def scored(
    rows: ray.data.Dataset,
    make_scorer: Callable[[], Scorer],
    *,
    concurrency: int | None = None,
    batch_size: int = BATCH_SIZE,
    **resources: Any,
) -> ray.data.Dataset:
    """The same rows with a column `score`, which `score_of` reads.

    Rows have the columns that `markscheme score` knows: completion and, where there are any, gold, prompt, id and so
    on; a null is no value. They keep their order if `DataContext.get_current().execution_options.preserve_order` is
    set; else those of a block stay together, and blocks come as they are done. An actor that dies is started again and
    given its rows once more, as often as it takes.

    Args:
        rows: whatever Ray Data has read.
        make_scorer: called once in each actor, so that a scorer with processes or a GPU need not be pickled.
        concurrency: actors at most. They start one by one as there is work and room; by default as many as there is
            room for.
        batch_size: rows that a scorer is given at once.
        resources: of each actor, as `map_batches` takes them: num_gpus, num_cpus, memory. By default one CPU.

    Raises:
        RayTaskError: once the rows are asked for. It holds the text of an InputError for a row without completion, or
            of the scorer's GoldError.
    """
    return rows.map_batches(
        _RowScorer,
        fn_constructor_args=(make_scorer,),
        compute=_actors(concurrency),
        batch_size=batch_size,
        batch_format="pyarrow",
        **resources,
    )


def score_of(record: Mapping[str, Any]) -> Score:
    """The score in the column `score` of a row.

    >>> score_of({"value": 0.5, "outcome": "rated", "answer": None, "steps": "[[3, 0.5]]"}).steps[0].end
    3
    """
    filled = {name: value for name, value in record.items() if value is not None}
    plain = {name: json.loads(value) if name in FREE_FORM else value for name, value in filled.items()}
    return Score.from_dict({"value": None, **plain})


def _actors(concurrency: int | None) -> ray.data.ActorPoolStrategy:
    """Not all at once: if they took every CPU, none would be left to read with, and the job would hang."""
    return ray.data.ActorPoolStrategy(min_size=1, max_size=concurrency)


def _in_actor(make_scorer: Callable[[], Scorer]) -> Scorer:
    workers.MAX_PROCESSES = 1  # every CPU has its actor: a pool that the scorer keeps gets one process
    return RowByRow(make_scorer())


class _RowScorer:
    """Lives in an actor, and gets tables."""

    def __init__(self, make_scorer: Callable[[], Scorer]) -> None:
        self._scorer = _in_actor(make_scorer)

    def __call__(self, table: pa.Table) -> pa.Table:
        rows = [{name: value for name, value in row.items() if value is not None} for row in table.to_pylist()]
        scores = self._scorer.score([sample_of(row, _place_of(row)) for row in rows])
        others = table.drop_columns(["score"]) if "score" in table.column_names else table
        return others.append_column("score", pa.array([_flat(score) for score in scores], SCORE_TYPE))


def _place_of(row: Mapping[str, Any]) -> str:
    return f"row {row['id']!r}" if "id" in row else "a row without id"


def _flat(score: Score) -> dict[str, Any]:
    return {name: json.dumps(value) if name in FREE_FORM else value for name, value in score.to_dict().items()}


# Files of lines. Ray's `read_json` makes numbers of texts that look like them, so that the gold "007" becomes 7 and
# "0.10" becomes 0.1, and its `read_text` also ends a line where a text holds U+2028.


class _Lines(FileBasedDatasource):
    """Batches of lines of .jsonl and .jsonl.gz files: path, first_line, text."""

    def __init__(self, path: str, batch_lines: int) -> None:
        super().__init__(path, file_extensions=["jsonl", "jsonl.gz"])
        self._batch_lines = batch_lines

    def _read_stream(self, f: pa.NativeFile, path: str) -> Iterator[Block]:
        first_line, lines = 1, io.BufferedReader(f)
        try:
            while batch := list(islice(lines, self._batch_lines)):
                yield pa.table({"path": [path], "first_line": [first_line], "text": [b"".join(batch)]})
                first_line += len(batch)
        except OSError as error:  # Ray tries again what looks like the network's fault, going by this text
            raise InputError(
                f"{path}: not readable after line {first_line - 1} ({error}); give it whole again"
            ) from error


def _scored_lines(
    source: str, make_scorer: Callable[[], Scorer], batch_lines: int, *, concurrency: int | None, num_gpus: float | None
) -> ray.data.Dataset:
    try:
        lines = _Lines(source, batch_lines)
    except ValueError as error:
        raise InputError(f"{source}: neither .jsonl nor .jsonl.gz, nor a folder of such files") from error
    judged: ray.data.Dataset = ray.data.read_datasource(lines).map(
        _LineScorer, fn_constructor_args=(make_scorer,), compute=_actors(concurrency), num_gpus=num_gpus
    )
    return judged


class _LineScorer:
    """Lives in an actor, and gets batches of lines."""

    def __init__(self, make_scorer: Callable[[], Scorer]) -> None:
        self._scorer = _in_actor(make_scorer)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        lines = io.BytesIO(batch["text"]).readlines()
        text, tally = score_lines(lines, batch["first_line"], self._scorer, batch["path"])
        return {"text": text, "tally": json.dumps(asdict(tally))}


class _Parts(BlockBasedFileDatasink):
    """A folder of files, and what came of their rows."""

    def __init__(self, folder: str, suffix: str) -> None:
        super().__init__(folder, file_format=suffix)
        self.tally = Tally()

    def write(self, blocks: Iterable[Block], ctx: Any) -> Tally:  # type: ignore[override]
        tables = [BlockAccessor.for_block(block).to_arrow() for block in blocks]
        super().write(tables, ctx)
        return sum(map(self.count, tables), Tally())

    def count(self, table: pa.Table) -> Tally:
        rows = table.to_pylist()
        return tally_of([score_of(row["score"]) for row in rows], [_place_of(row) for row in rows])

    def write_block_to_file(self, block: BlockAccessor, file: pa.NativeFile) -> None:
        write_table(block.to_arrow(), file)

    def on_write_complete(self, write_result: WriteResult[Any]) -> None:
        super().on_write_complete(write_result)
        self.tally = sum(write_result.write_returns, Tally())


class _LineParts(_Parts):
    """Of what `_LineScorer` returns."""

    def count(self, table: pa.Table) -> Tally:
        return sum((Tally(**json.loads(tally)) for tally in table["tally"].to_pylist()), Tally())

    def write_block_to_file(self, block: BlockAccessor, file: pa.NativeFile) -> None:
        for text in block.to_arrow()["text"]:
            file.write(text.as_buffer())


def job(
    source: str,
    out: str,
    /,
    *,
    scorer: str = "math",
    concurrency: int | None = None,
    batch_size: int = BATCH_SIZE,
    num_gpus_each: float = 0.0,
) -> int:
    """Score the completions in files on a Ray cluster: that of RAY_ADDRESS or of `ray job submit`, else this machine.

    Exit codes: 0 every row was judged, 2 the input cannot be used, 3 the scorer failed on some rows (which are written
    with the outcome `failed`).

    Parameters
    ----------
    source
        .jsonl, .jsonl.gz or .parquet, a folder of .jsonl files, or one of .parquet files whose name ends with .parquet;
        a path that all nodes see, or a URI. The columns are those of `markscheme score`.
    out
        A new folder of .jsonl files, or of .parquet files if the source is parquet. In the order of their names they
        hold the rows in order.
    scorer
        As of `markscheme score`: math, gsm8k, cmath, generic, choice, steps, or the folder of a reward model.
    concurrency
        Actors at most; by default as many as there is room for.
    batch_size
        Rows that a scorer is given at once.
    num_gpus_each
        GPUs, or a part of one, for each actor.
    """
    if concurrency is not None and concurrency < 1:
        raise InputError(f"concurrency must be at least 1, got {concurrency}")
    if batch_size < 1:
        raise InputError(f"batch_size must be at least 1, got {batch_size}")
    if not (0 <= num_gpus_each <= 1 or (num_gpus_each > 1 and num_gpus_each.is_integer())):
        raise InputError(f"num_gpus_each must be a whole number or a part of one, got {num_gpus_each}")
    judge = scorer_by_name(scorer)
    source, out = _whole_path(source), _whole_path(out)
    _check_paths(source, out)
    make_scorer = partial(scorer_by_name, scorer if scorer in RULES else str(Path(scorer).resolve()))
    actors: dict[str, Any] = {"concurrency": concurrency, "num_gpus": num_gpus_each or None}
    ray.init(ignore_reinit_error=True)
    if ray.cluster_resources().get("CPU", 0) < 2:  # a warning only: a cluster may grow
        print("markscheme: warning: the job waits until there are two CPUs, to score and to read with", file=sys.stderr)
    context = ray.data.DataContext.get_current()
    context.execution_options.preserve_order = True
    context.target_max_block_size = BLOCK_BYTES
    with _folder(out) as folder:
        if source.endswith(".parquet"):
            parts = _Parts(folder, "parquet")
            judged = scored(ray.data.read_parquet(source), make_scorer, batch_size=batch_size, **actors)
        else:
            parts = _LineParts(folder, "jsonl")
            judged = _scored_lines(source, make_scorer, batch_size, **actors)
        judged.write_datasink(parts)
        if not parts.tally.rows:
            raise InputError(f"{source}: no rows in it")
    tally = parts.tally
    print(f"{tally.rows} rows by {judge.name} {judge.version}: {summary(tally)}")
    if tally.failure:
        print(f"first that failed: {tally.failure}")
    print(f"scores: {out}")
    return SOME_FAILED if tally.failure else 0


def _is_uri(path: str) -> bool:
    return "://" in path


def _whole_path(path: str) -> str:
    return path if _is_uri(path) else os.path.abspath(path)


def _check_paths(source: str, out: str) -> None:
    if not _is_uri(source) and not os.path.exists(source):
        raise InputError(f"{source}: no such file")
    try:
        filesystem, path = FileSystem.from_uri(out)
    except ValueError as error:
        raise InputError(f"{out}: {error}") from error
    if filesystem.get_file_info(path).type is not FileType.NotFound:
        raise InputError(f"{out} exists: give a new folder")


@contextmanager
def _folder(out: str) -> Iterator[str]:
    """A folder beside `out` that takes its place when it is whole. Where there is no renaming, `out` itself."""
    if _is_uri(out):
        yield out
    else:
        with whole_folder(Path(out)) as folder:
            yield str(folder)


OURS = re.compile(r"^markscheme\.(?:files\.InputError|scoring\.GoldError): (.*)", re.MULTILINE)
"""In a traceback: what Ray raises has the text of an actor's error, but not its type."""


def main() -> None:
    app = App(name="python -m markscheme.ray_scoring")
    app.default(job)
    try:
        command, bound, _ = app.parse_args(sys.argv[1:], exit_on_error=False, print_error=False)
        sys.exit(command(*bound.args, **bound.kwargs))
    except RayError as error:
        messages = OURS.findall(str(error))
        if not messages:
            raise
        message = messages[-1]  # the ones before are its causes
    except (CycloptsError, InputError, GoldError, OSError) as error:
        message = str(error)
    print(f"markscheme: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(2)


if __name__ == "__main__":
    main()
