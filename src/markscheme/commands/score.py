"""`markscheme score`: the same rows with a score."""

import os
import time
from collections.abc import Callable
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

from rich.console import Console

from markscheme import __version__
from markscheme.commands.explanation import explanation
from markscheme.commands.shared import RULES, console, scorer_by_name
from markscheme.files import InputError, noun_of
from markscheme.progress import progress_bar
from markscheme.score_output import Output, is_stream, open_output
from markscheme.score_rows import Tally, mangled_warning, read_batches, score_here
from markscheme.score_workers import score_in_workers
from markscheme.scorer_process import core_count
from markscheme.scoring import Outcome, Scorer

MIN_BATCH_LINES, MAX_BATCH_LINES = 8, 128
"""More than the last bring no speed: 10 ms of work for rules, seconds where answers are compared symbolically."""
LEARNED_BATCH_LINES = 512
"""A reward model reads many rows at a time."""
SOME_FAILED = 3
READER_GONE = 141
"""What a shell reports of a program whose output is no longer read: 128 and the number of SIGPIPE."""


def score(
    file: Path,
    /,
    *,
    scorer: str = "math",
    lenient: bool = False,
    explain: bool = False,
    processes: int | None = None,
    out: Path | None = None,
    config: Path | None = None,
) -> int:
    """Score the completions in a file of any size.

    The rows stay in order. A run that was stopped or killed goes on where it was when the same command is given again.
    Exit codes: 0 every row was judged, 2 the input cannot be used, 3 the scorer failed on some rows (which are written
    with the outcome `failed`), 130 stopped by Ctrl-C, 141 the reader of the output went away.

    Parameters
    ----------
    file
        .jsonl or .jsonl.gz, one object a line, with the columns completion (or response, model_output, generation,
        output, code), gold (or gt, ground_truth, expected_answer, target, gts, answer; or a worked solution, of which
        the marked answer counts) and, where there are any, prompt (or question, problem, input), choices (texts in the
        order of the letters), step_ends (offsets), completion_tokens, finish_reason. Of several names for one thing the
        one named first counts. Completion and prompt are text or messages of a role and a content; of a completion
        those of the assistant count.
    scorer
        math, gsm8k, cmath, generic, choice (letters) or steps (the arithmetic, without a gold), or the folder of a
        reward model.
    lenient
        Without a stated answer, take what the last line ends with: bold print, a formula or a number, unless it is
        part of a calculation (7+1), denied, supposed, hedged (7 or 8) or in a question; and read a thought that never
        ended.
    explain
        Print of each row what was extracted, what decided and why. Without --out, no file is written.
    processes
        Worker processes; by default one a core. A reward model needs none.
    out
        The same rows with a score; by default beside the file, as NAME.scored.jsonl.
    config
        TOML file of options.
    """
    if not file.is_file():
        way_out = "is no file: write it to one first, since a run that is killed goes on in it"
        raise InputError(f"{file}: {way_out if file.exists() else 'no such file'}")
    judge = scorer_by_name(scorer, lenient)
    processes = _processes(processes, learned=scorer not in RULES)
    if out is None and not explain:
        out = file.with_name(f"{file.name.removesuffix('.gz').removesuffix('.jsonl')}.scored.jsonl")
    if out is not None and out.exists() and out.samefile(file):
        raise InputError(f"{out} is the input itself: choose another --out")
    talk = Console(stderr=True, highlight=False) if out and is_stream(out) else console
    started = time.monotonic()
    try:
        with open_output(out, _origin(file, judge, lenient)) as output:
            old_rows = output.progress.tally.rows
            if output.note:
                _say(talk, output.note)
            score_rows(file, judge, processes, output, talk, explain)
            tally = output.progress.tally
            if not tally.rows:
                raise InputError(f"{file}: no rows in it")
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # else Python complains about what it cannot print any more
        return READER_GONE
    _say(talk, f"{_rows(tally)} by {judge.name} {judge.version}: {summary(tally)}")
    seconds = time.monotonic() - started
    _say(talk, f"time: {seconds:.1f} s, {(tally.rows - old_rows) / seconds:,.0f} rows/s")
    if tally.failure:
        _say(talk, f"first that failed: {tally.failure}")
    if tally.mangled:
        _say(talk, mangled_warning(tally.mangled))
    if out:
        _say(talk, f"scores: {out}")
    return SOME_FAILED if tally.failure else 0


def _processes(asked: int | None, *, learned: bool) -> int:
    """How many worker processes; none for a reward model, which would have to be in the memory of each."""
    if asked is not None and asked < 1:
        raise InputError(f"processes must be at least 1, got {asked}")
    if learned and asked is not None:
        raise InputError(f"a reward model needs no worker processes: leave out --processes {asked}")
    return 0 if learned else asked or core_count()


def _origin(file: Path, judge: Scorer, lenient: bool) -> dict[str, Any]:
    """What must be the same for a run to go on with the output of another."""
    status = file.stat()
    return {
        "input": str(file.resolve()),
        "input_bytes": status.st_size,
        "input_mtime_ns": status.st_mtime_ns,
        "scorer": judge.name,
        "scorer_version": judge.version,
        "lenient": lenient,
        "markscheme": __version__,
    }


def _batch_lines(processes: int) -> Callable[[int], int]:
    """An eighth of what each process has done by then: a small file, too, is shared out evenly."""
    if not processes:
        return lambda line: LEARNED_BATCH_LINES
    return lambda line: min(MIN_BATCH_LINES + line // (8 * processes), MAX_BATCH_LINES)


def score_rows(file: Path, judge: Scorer, processes: int, output: Output, talk: Console, explain: bool) -> None:
    """Scores the rows that `output` does not have yet, in so many worker processes; in this one if that is 0."""
    done, lines = output.progress, _batch_lines(processes)
    batches = read_batches(file, batch_lines=lines, after_line=done.line, after_bytes=done.input_bytes)
    name, file_bytes = str(file), file.stat().st_size
    results = score_in_workers(batches, judge, name, processes) if processes else score_here(batches, judge, name)
    # A live bar would catch what is printed.
    with closing(results), nullcontext() if explain else progress_bar(talk, "percent of the file", 100) as bar:
        for scored in results:
            output.append(scored)
            if bar:
                percent = min(99, 100 * scored.batch.read_bytes // max(file_bytes, 1))  # a .gz file is read ahead
                bar.update(percent, _rows(output.progress.tally))
            if explain:
                print(explanation(scored, name, judge), end="", flush=True)
        if bar:
            bar.update(100, _rows(output.progress.tally))


def summary(tally: Tally) -> str:
    """The outcomes and the mean value."""
    counted = ", ".join(f"{outcome} {tally.outcomes[outcome]}" for outcome in Outcome if outcome in tally.outcomes)
    scored = tally.rows - tally.unscored
    if not scored:
        return f"{counted}; no row could be scored"
    if not tally.unscored:
        return f"{counted}; mean value {tally.value_sum / scored:.4f}"
    return (
        f"{counted}; mean value {tally.value_sum / scored:.4f} of the {scored} scored {noun_of(scored, 'row')}, "
        f"{tally.value_sum / tally.rows:.4f} with the {tally.unscored} unscored {noun_of(tally.unscored, 'one')} as 0"
    )


def _rows(tally: Tally) -> str:
    return f"{tally.rows} {noun_of(tally.rows, 'row')}"


def _say(talk: Console, text: str) -> None:
    talk.print(text, soft_wrap=True, markup=False)
