"""`markscheme pairs`: preference pairs from completions and their verdicts."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from markscheme.benchmarks.logs import LoggedSample, read_log
from markscheme.benchmarks.logs.plain import VERDICTS
from markscheme.benchmarks.regrading import judge
from markscheme.commands.logged import is_log, is_unjudged_row
from markscheme.commands.score import score_rows
from markscheme.commands.shared import RULES, console, say, scorer_by_name
from markscheme.files import InputError, column, read_jsonl
from markscheme.progress import progress_bar
from markscheme.score_output import Output
from markscheme.score_rows import PROMPT_COLUMNS, ScoredBatch, numbered_rows, score_of
from markscheme.scorer_process import core_count
from markscheme.scoring import Outcome
from markscheme.verdict_pairs import Labelled, verdict_pairs, write_pairs


def pairs(
    file: Path,
    /,
    *,
    out: Path,
    scorer: str | None = None,
    pairs_per_problem: int = 4,
    seed: int = 0,
    config: Path | None = None,
) -> None:
    """Make preference pairs to train a reward model on: a correct completion against an incorrect one of a problem.

    A completion without a verdict is in no pair, nor is one that was judged both correct and incorrect.

    Parameters
    ----------
    file
        .jsonl or .jsonl.gz with prompt (or question, problem), completion and gold, or as `markscheme score` writes it;
        or a folder of markscheme evaluate, or any log that regrade reads.
    out
        The pairs, each of the weight 1 / (number of its problem's pairs).
    scorer
        Judges the completions: math, gsm8k, cmath, generic or choice (letters). By default the verdicts count that are
        there.
    pairs_per_problem
        At most so many of one problem.
    seed
        Decides which pairs, where there are more.
    config
        TOML file of options.
    """
    if pairs_per_problem < 1:
        raise InputError(f"pairs_per_problem must be at least 1, got {pairs_per_problem}")
    if out.is_dir():
        raise InputError(f"{out} is a folder: give the name of a file")
    if is_log(file, is_unjudged_row if scorer else _is_judged_row):
        labelled = _logged(file, scorer)
    else:
        labelled = _judged(file, scorer) if scorer else list(_judged_before(file))
    if not labelled:
        raise InputError(f"{file}: no rows in it")
    made, counts = verdict_pairs(labelled, pairs_per_problem, seed, file.name.partition(".")[0])
    say(f"{counts.completions} completions of {counts.problems} problems; {counts.unscored} without a verdict")
    if not made:
        raise InputError(f"{file}: no problem in it has both a correct and an incorrect completion; give more of each")
    write_pairs(out, made)
    say(f"{counts.pairs} pairs; {counts.without_both} problems without both a correct and an incorrect completion")
    say(f"pairs: {out}")


def _is_judged_row(row: Mapping[str, Any]) -> bool:
    """A row without any verdict counts as one: the complaint about it says how to get one."""
    return "completion" in row and (isinstance(row.get("score"), dict) or not any(name in row for name in VERDICTS))


def _logged(log: Path, scorer: str | None) -> list[Labelled]:
    samples = read_log(log)
    if scorer:
        with progress_bar(console, "judging", len(samples)) as bar:
            scores = judge(scorer_by_name(scorer), samples, bar.update)
        return [_of_log(one, score.correct) for one, score in zip(samples, scores, strict=True)]
    if samples and all(one.verdict is None for one in samples):
        raise InputError(f"{log}: no verdict in it; have the completions judged, such as by --scorer math")
    return [_of_log(one, one.verdict) for one in samples]


def _of_log(one: LoggedSample, correct: bool | None) -> Labelled:
    if not one.question:
        raise InputError(f"{one.where}: no question in it: which problem is it?")
    problem = _problem_named(one.question)
    return Labelled(problem=problem, question=one.question, completion=one.completion, correct=correct)


def _judged_before(file: Path) -> Iterator[Labelled]:
    for line_number, row in read_jsonl(file):
        where = f"{file}:{line_number}"
        if "score" not in row:
            raise InputError(f"{where}: no column 'score'; have the completions judged, such as by --scorer math")
        yield _labelled(row, where)


def _judged(file: Path, scorer: str) -> list[Labelled]:
    if not file.is_file():
        raise InputError(f"{file}: no such file")
    verdicts = _Verdicts(str(file))
    score_rows(file, scorer_by_name(scorer), core_count() if scorer in RULES else 0, verdicts, console, explain=False)
    if failure := verdicts.progress.tally.failure:
        say(f"first that the scorer failed on: {failure}")
    return verdicts.labelled


class _Verdicts(Output):
    """Keeps of scored rows what pairs are made of."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.labelled: list[Labelled] = []
        self._name = name

    def append(self, scored: ScoredBatch) -> None:
        super().append(scored)
        numbers = [number for number, _ in numbered_rows(scored.batch.lines, scored.batch.first_line)]
        for number, line in zip(numbers, scored.text.splitlines(), strict=True):
            self.labelled.append(_labelled(json.loads(line), f"{self._name}:{number}"))


def _labelled(row: Mapping[str, Any], where: str) -> Labelled:
    score = score_of(row, where)
    if score.outcome is Outcome.RATED:
        raise InputError(f"{where}: the score is a rating and no verdict; take a verifier, such as --scorer math")
    prompt = next((name for name in PROMPT_COLUMNS if name in row), None)
    if prompt is None:
        raise InputError(f"{where}: no column of {', '.join(map(repr, PROMPT_COLUMNS))}: which problem is it?")
    question = column(row, prompt, where)
    completion = column(row, "completion", where)
    problem = _problem_named(question)
    return Labelled(problem=problem, question=question, completion=completion, correct=score.correct)


def _problem_named(question: str) -> str:
    """Not by question_hash: $X$ and $x$ may be two problems."""
    return hashlib.sha256(question.encode("utf-8", "surrogatepass")).hexdigest()[:16]
