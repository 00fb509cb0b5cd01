"""`markscheme regrade`: judge the completions in a log of this or another harness again."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from itertools import chain, count
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from rich.table import Table
from rich.text import Text

from markscheme.benchmarks.examples import readable
from markscheme.benchmarks.findings import LEVELS, SUBJECTS
from markscheme.benchmarks.grading import finish, json_line, write_problems
from markscheme.benchmarks.logs import LoggedSample, write_lm_eval
from markscheme.benchmarks.outcomes import LOG_ENGINE, RECORDS
from markscheme.benchmarks.regrading import Regraded
from markscheme.benchmarks.regrading import regrade as judge_again
from markscheme.commands.logged import completions_hash, is_evaluation, samples_of_one_policy, what_was_taken
from markscheme.commands.shared import VERIFIERS, console, say, scorer_by_name
from markscheme.files import InputError, noun_of, sha256_of, whole_folder, write_lines
from markscheme.problems import Problem
from markscheme.progress import progress_bar
from markscheme.score_rows import is_mangled, mangled_warning
from markscheme.scoring import Outcome, Score, Scorer

DECIDERS = (*VERIFIERS, "choice")
SHOWN_CASES = 10
TAIL_CHARACTERS = 160  # of a completion: its answer stands at the end
DISAGREEMENTS = "disagreements.jsonl"
VERDICTS = {True: "right", False: "wrong", None: "none"}
OUTCOMES = {
    "right": (Outcome.CORRECT,),
    "wrong": (Outcome.INCORRECT,),
    "no answer": (Outcome.NO_ANSWER,),
    "not scored": (Outcome.UNDECIDED, Outcome.FAILED),
}


def regrade(
    log: Path,
    /,
    *,
    scorer: str = "math",
    lenient: bool = True,
    filter: str | None = None,
    verdict: str | None = None,
    keep: dict[str, str] | None = None,
    out: Path | None = None,
    export: Path | None = None,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
    config: Path | None = None,
) -> None:
    """Judge stored completions again, beside the verdicts of the log that they come from.

    Reads logs of lm-evaluation-harness (samples_*.jsonl), lighteval (details_*.parquet), Inspect (.eval, .json),
    simple-evals, rows of JSON with a completion and a gold (columns as score reads them), and folders of markscheme
    evaluate.

    Parameters
    ----------
    log
        The file, or a folder with one log in it.
    scorer
        Judges: math, gsm8k, cmath, generic or choice.
    lenient
        Without a stated answer, take what the last line ends with, as --lenient of score does: nobody asked these
        completions for our form. --no-lenient judges as a reward does.
    filter
        Whose verdicts of the log count, where it has several: a filter of lm-eval, a scorer of Inspect; by default the
        first. Of an evaluation of ours: greedy or sampled; by default the sampled completions where there are any.
    verdict
        The column or metric that is the log's verdict; by default the one that logs of this kind have.
    keep
        Of plain rows only those with this value in this column: --keep.model NAME.
    out
        Folder for an evaluation of the completions, which compare takes, and the disagreements, all of them.
    export
        File for the samples as lm-evaluation-harness logs them, our verdicts as one more filter.
    as_json
        Print one line of JSON and nothing else.
    config
        TOML file of options.
    """
    if scorer not in DECIDERS:
        raise InputError(f"no scorer {scorer!r} that decides; there are {', '.join(DECIDERS)}")
    verifier = scorer_by_name(scorer, lenient)
    _check_places(log, out, export)
    samples = samples_of_one_policy(log, filter=filter, verdict=verdict, keep=keep)
    if not samples:
        raise InputError(f"{log}: no samples{f' of {filter!r}' if filter else ''} in it")
    with nullcontext() if as_json else progress_bar(console, "grading", len(samples)) as bar:
        found = judge_again(verifier, samples, bar.update if bar else None)
    if out is not None:
        with whole_folder(out) as partial:
            write_evaluation(found, verifier, log, {"filter": filter, "verdict": verdict, "keep": keep}, partial)
    name = _free_name(samples)
    if export is not None:
        in_order = [(samples[place], found.scores[place].correct) for place in found.in_order]
        ordered, verdicts = zip(*in_order, strict=True)
        write_lm_eval(ordered, export, verdicts=verdicts, filter=name)
    if as_json:
        print(json.dumps(found.to_dict()))
        return
    print_regraded(found, log.name)
    if filter is None and (taken := what_was_taken(log, samples)):
        say(readable(taken))
    if mangled := sum(is_mangled(one.completion, one.gold) for one in samples):
        say(mangled_warning(mangled))
    if out is not None:
        say(f"in {out}: summary.json, records.jsonl, scores.jsonl, {DISAGREEMENTS}")
    if export is not None:
        say(f"samples for lm-eval: {export}; the verdicts of markscheme have the filter {name!r}")


def _check_places(log: Path, out: Path | None, export: Path | None) -> None:
    """
    Raises:
        InputError: if something stands where the results are to go.
    """
    if out is not None and out.exists() and (any(out.iterdir()) or out.samefile(".")):
        raise InputError(f"{out} is not empty, or is the folder you are in: choose another --out")
    if export is not None and export.is_dir():
        raise InputError(f"{export} is a folder: give the name of a file")
    if export is not None and export.suffix == ".gz":
        raise InputError(f"{export}: the samples are not packed: give a name that ends in .jsonl")
    if export is not None and export.exists() and log.exists() and export.samefile(log):
        raise InputError(f"{export} is the log itself: choose another --export")


def _free_name(samples: Sequence[LoggedSample]) -> str:
    """A filter that the log does not have yet: it may have been exported before."""
    taken = {row.get("filter") for one in samples for _, row in one.rows}
    names = chain(["markscheme"], (f"markscheme-{number}" for number in count(2)))
    return next(name for name in names if name not in taken)


def print_regraded(found: Regraded, name: str) -> None:
    """The confusion table, the figures by either verdict, and some cases that they disagree on."""
    record = found.to_dict()
    samples = f"{record['n']:,} {noun_of(record['n'], 'sample')}"
    problems = f"{record['problems']:,} {noun_of(record['problems'], 'problem')}"
    title = Text(readable(f"{name}: {samples} of {problems}"))
    table = Table(title=title, title_justify="left")
    table.add_column("by the log, by markscheme")
    for column in OUTCOMES:
        table.add_column(column, justify="right")
    for verdict, row in VERDICTS.items():
        counts = [sum(found.confusion[verdict, one] for one in outcomes) for outcomes in OUTCOMES.values()]
        if any(counts):
            table.add_row(row, *map("{:,}".format, counts))
    console.print(table)
    ours, theirs = found.metrics(found.own_verdicts), found.metrics(found.log_verdicts)
    figures = Table()
    for column in ("", "by the log", "by markscheme"):
        figures.add_column(column, justify="right" if column else "left")
    for metric in sorted({*ours, *theirs} - {"pass@1", "best@1"}, key=_order):  # those two are the accuracy
        figures.add_row(metric, *(f"{one[metric]:.4f}" if metric in one else "" for one in (theirs, ours)))
    console.print(figures)
    agreement = "no sample has a verdict on both sides"
    if record["agreement"] is not None:
        agreement = f"agreement {100 * record['agreement']:.2f} % of {record['compared']:,}"
        positives, negatives = record["false_positives"], record["false_negatives"]
        agreement += f"; {positives:,} right by us and wrong by the log, {negatives:,} the other way"
    say(f"{agreement}; not scored {record['unscored']:,}; {record['ms_per_grade']:.2f} ms a grade")
    for place in found.disagreements[:SHOWN_CASES]:
        sample, score = found.samples[place], found.scores[place]
        tail = readable(" ".join(sample.completion[-TAIL_CHARACTERS:].split()))
        answer = "none" if score.answer is None else repr(score.answer[:80])
        say(f"{readable(sample.where)}: {VERDICTS[sample.verdict]} by the log, {VERDICTS[score.correct]} by us")
        say(f"    gold {sample.gold!r}, answer {answer}; ... {tail}")
    if len(found.disagreements) > SHOWN_CASES:
        say(f"... and {len(found.disagreements) - SHOWN_CASES:,} more; --out FOLDER writes all")


def _order(metric: str) -> tuple[int, int]:
    name, _, k = metric.partition("@")
    return ("first", "accuracy", "pass", "maj", "cons", "best").index(name), int(k or 0)


def write_evaluation(found: Regraded, scorer: Scorer, log: Path, chosen: Mapping[str, Any], out: Path) -> None:
    """The log's samples as an evaluation of ours, and what we disagree with it about; `chosen` of the log."""
    samples = [found.samples[place] for place in found.in_order]
    scores = [found.scores[place] for place in found.in_order]
    votes = [found.votes[place] for place in found.in_order]
    own = is_evaluation(log)
    problems: dict[str, Problem] = {}
    for one in samples:
        if one.problem not in problems:
            problems[one.problem] = Problem(**one.row["problem"]) if own else _problem(one, log.name)
    records = [_record(one) for one in samples]
    written = completions_hash(samples)
    about = {
        "fingerprint": f"log {written[:16]}",
        "engine": LOG_ENGINE,
        "batch_invariant": None,
        "protocol": {
            "name": "log",
            "greedy": False,
            "num_samples": found.num_samples,
            "scorer": f"{scorer.name} {scorer.version}",
        },
        "seed": None,
        "log": {"name": log.name, "sha256": sha256_of(log) if log.is_file() else written, **chosen},
    }
    write_problems(out, list(problems.values()))
    write_lines(out / RECORDS, (json_line(record).rstrip("\n") for record in records))
    write_lines(
        out / DISAGREEMENTS, (json.dumps(_case(found.samples[at], found.scores[at])) for at in found.disagreements)
    )
    finish(out, list(problems.values()), records, scores, votes, about, found.num_samples)


def _problem(one: LoggedSample, source: str) -> Problem:
    golds = (one.gold,) if isinstance(one.gold, str) else one.gold
    # Where levels and subjects stand: in a row of lm-eval or lighteval, of Inspect, of plain columns.
    columns = next((one.row[name] for name in ("doc", "metadata") if isinstance(one.row.get(name), Mapping)), one.row)
    meta: dict[str, Any] = {name: columns[name] for name in (*LEVELS, *SUBJECTS) if name in columns}
    if len(golds) > 1:
        meta["golds"] = list(golds)
    return Problem(id=one.problem, question=one.question, gold=golds[0], source=source, split="", meta=meta)


def _record(one: LoggedSample) -> dict[str, Any]:
    reason = None if one.truncated is None else "length" if one.truncated else "stop"
    return {
        "key": hashlib.sha256(f"{one.problem} {one.k}".encode("utf-8", "surrogatepass")).hexdigest(),
        "problem": one.problem,
        "kind": "sampled",
        "k": one.k,
        "completion": one.completion,
        "completion_tokens": one.tokens,
        "finish_reason": reason,
        "where": one.where,
    }


def _case(one: LoggedSample, score: Score) -> dict[str, Any]:
    return {
        "where": one.where,
        "question": one.question,
        "gold": one.gold,
        "completion": one.completion,
        "log": one.verdict,
        "score": score.to_dict(),
    }
