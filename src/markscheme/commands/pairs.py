"""`markscheme pairs`: preference pairs from completions and their verdicts."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from markscheme.commands.score import score_rows
from markscheme.commands.shared import RULES, console, say, scorer_by_name
from markscheme.files import InputError, column, read_jsonl
from markscheme.score_output import Output
from markscheme.score_rows import PROMPT_COLUMNS, ScoredBatch, numbered_rows, score_of
from markscheme.score_workers import core_count
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
        .jsonl or .jsonl.gz with prompt (or question, problem), completion and gold, or as `markscheme score` writes it.
    out
        The pairs, each of the weight 1 / (number of its problem's pairs).
    scorer
        Judges the completions: math, gsm8k, cmath, generic or choice (letters). By default the rows' own scores count.
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
    # Not question_hash: $X$ and $x$ may be two problems.
    problem = hashlib.sha256(question.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    completion = column(row, "completion", where)
    return Labelled(problem=problem, question=question, completion=completion, correct=score.correct)
