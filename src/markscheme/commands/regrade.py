"""`markscheme regrade`: judge the completions in a log of this or another harness again."""

import hashlib
import json
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from rich.table import Table

from markscheme.benchmarks.findings import LEVELS, SUBJECTS
from markscheme.benchmarks.grading import finish, json_line, write_problems
from markscheme.benchmarks.logs import LoggedSample, read_log, write_lm_eval
from markscheme.benchmarks.outcomes import RECORDS, SUMMARY
from markscheme.benchmarks.regrade import Regraded
from markscheme.benchmarks.regrade import regrade as judge_again
from markscheme.commands.shared import console, say, scorer_by_name
from markscheme.files import InputError, sha256_of, write_lines
from markscheme.problems import Problem
from markscheme.progress import progress_bar
from markscheme.scoring import Outcome, Scorer

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
    lenient: bool = False,
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
    simple-evals, rows of JSON with a completion and a gold, and folders of markscheme evaluate.

    Parameters
    ----------
    log
        The file, or a folder with one log in it.
    scorer
        Judges: math, gsm8k, cmath, generic or choice.
    lenient
        Without a stated answer, take the last number of the last line.
    filter
        Whose verdicts of the log count, where it has several: a filter of lm-eval, a scorer of Inspect, greedy or
        sampled. By default the first.
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
    verifier = scorer_by_name(scorer, lenient)
    if out is not None and out.exists() and any(out.iterdir()):
        raise InputError(f"{out} is not empty: choose another --out")
    samples = read_log(log, filter=filter or _own_kind(log), verdict=verdict, keep=keep)
    with nullcontext() if as_json else progress_bar(console, "grading", len(samples)) as bar:
        found = judge_again(verifier, samples, bar.update if bar else None)
    if any(score.outcome is Outcome.RATED for score in found.scores):
        raise InputError(f"the scorer {verifier.name} rates instead of deciding; regrade with one that decides: math")
    if out is not None:
        write_evaluation(found, verifier, log, out)
    if export is not None:
        write_lm_eval(samples, export, verdicts=found.own_verdicts)
    if as_json:
        print(json.dumps(found.to_dict()))
        return
    print_regraded(found, log.name)
    if out is not None:
        say(f"in {out}: summary.json, records.jsonl, scores.jsonl, {DISAGREEMENTS}")
    if export is not None:
        say(f"samples for lm-eval: {export}")


def _own_kind(log: Path) -> str | None:
    """Of an evaluation of ours the samples, else what is greedy: the two together would be no K samples."""
    if not (log / SUMMARY).is_file():
        return None
    protocol = json.loads((log / SUMMARY).read_text(encoding="utf-8")).get("protocol", {})
    return "sampled" if protocol.get("num_samples") else "greedy"


def print_regraded(found: Regraded, name: str) -> None:
    """The confusion table, the figures by either verdict, and some cases that they disagree on."""
    record = found.to_dict()
    table = Table(title=f"{name}: {record['n']:,} samples of {record['problems']:,} problems", title_justify="left")
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
    if record["agreement"] is not None:
        say(
            f"agreement {100 * record['agreement']:.2f} % of {record['compared']:,}; "
            f"{record['false_positives']:,} right by us and wrong by the log, {record['false_negatives']:,} the other "
            f"way; not scored {record['unscored']:,}; {record['ms_per_grade']:.2f} ms a grade"
        )
    for place in found.disagreements[:SHOWN_CASES]:
        sample, score = found.samples[place], found.scores[place]
        tail = " ".join(sample.completion[-TAIL_CHARACTERS:].split())
        answer = "none" if score.answer is None else repr(score.answer[:80])
        say(f"{sample.where}: {VERDICTS[sample.verdict]} by the log, {VERDICTS[score.correct]} by us")
        say(f"    gold {sample.gold!r}, answer {answer}; ... {tail}")
    if len(found.disagreements) > SHOWN_CASES:
        say(f"... and {len(found.disagreements) - SHOWN_CASES:,} more; --out FOLDER writes all")


def _order(metric: str) -> tuple[int, int]:
    name, _, k = metric.partition("@")
    return ("first", "accuracy", "pass", "maj", "cons", "best").index(name), int(k or 0)


def write_evaluation(found: Regraded, scorer: Scorer, log: Path, out: Path) -> None:
    """The log's samples as an evaluation of ours, and what we disagree with it about."""
    problems = {one.problem: _problem(one, log.name) for one in found.samples}
    records = [_record(one) for one in found.samples]
    source = sha256_of(log) if log.is_file() else hashlib.sha256(json.dumps(records).encode()).hexdigest()
    about = {
        "fingerprint": f"log {source[:16]}",
        "engine": "log",
        "batch_invariant": None,
        "protocol": {
            "name": "log",
            "greedy": False,
            "num_samples": found.num_samples,
            "scorer": f"{scorer.name} {scorer.version}",
        },
        "seed": None,
        "log": {"name": log.name, "sha256": source},
    }
    out.mkdir(parents=True, exist_ok=True)
    write_problems(out, list(problems.values()))
    write_lines(out / RECORDS, (json_line(record).rstrip("\n") for record in records))
    write_lines(
        out / DISAGREEMENTS,
        (
            json.dumps(
                {
                    "where": found.samples[place].where,
                    "question": found.samples[place].question,
                    "gold": found.samples[place].gold,
                    "completion": found.samples[place].completion,
                    "log": found.samples[place].verdict,
                    "score": found.scores[place].to_dict(),
                }
            )
            for place in found.disagreements
        ),
    )
    finish(out, scorer, list(problems.values()), records, about, found.num_samples, scores=found.scores)


def _problem(one: LoggedSample, source: str) -> Problem:
    golds = (one.gold,) if isinstance(one.gold, str) else one.gold
    columns = one.row.get("doc", one.row)
    meta: dict[str, Any] = {name: columns[name] for name in (*LEVELS, *SUBJECTS) if name in columns}
    if len(golds) > 1:
        meta["golds"] = list(golds)
    return Problem(id=one.problem, question=one.question, gold=golds[0], source=source, split="", meta=meta)


def _record(one: LoggedSample) -> dict[str, Any]:
    reason = None if one.truncated is None else "length" if one.truncated else "stop"
    return {
        "key": hashlib.sha256(f"{one.problem} {one.k}".encode()).hexdigest(),
        "problem": one.problem,
        "kind": "sampled",
        "k": one.k,
        "completion": one.completion,
        "completion_tokens": one.tokens,
        "finish_reason": reason,
        "where": one.where,
    }
