"""`markscheme score`: the same rows with a score."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from markscheme.commands.shared import console, say, scorer_by_name
from markscheme.files import InputError, column, read_jsonl, write_lines
from markscheme.progress import progress_bar
from markscheme.scoring import Outcome, Sample, Scorer

ROWS_AT_A_TIME = 512
PROMPT_COLUMNS = ("prompt", "question", "problem")


def score(
    file: Path, /, *, scorer: str = "math", lenient: bool = False, out: Path | None = None, config: Path | None = None
) -> None:
    """Score the completions in a file.

    Parameters
    ----------
    file
        .jsonl or .jsonl.gz with the columns completion, gold and, where there is one, prompt.
    scorer
        math, gsm8k or cmath, or the folder of a reward model.
    lenient
        Without a stated answer, take the last number of the last line.
    out
        The same rows with a score; by default beside the file, as NAME.scored.jsonl.
    config
        TOML file of options.
    """
    judge = scorer_by_name(scorer, lenient)
    total = sum(1 for _ in read_jsonl(file))
    if not total:
        raise InputError(f"{file}: no rows in it")
    if out is None:
        out = file.with_name(f"{file.name.removesuffix('.gz').removesuffix('.jsonl')}.scored.jsonl")
    outcomes: Counter[Outcome] = Counter()
    values: list[float] = []
    with progress_bar(console, "rows", total) as bar:

        def scored_lines() -> Iterator[str]:
            for row in scored_rows(read_jsonl(file), judge, str(file)):
                outcomes[Outcome(row["score"]["outcome"])] += 1
                if row["score"]["value"] is not None:
                    values.append(row["score"]["value"])
                bar.update(outcomes.total())
                yield json.dumps(row)

        write_lines(out, scored_lines())
    counted = ", ".join(f"{outcome.value} {outcomes[outcome]}" for outcome in Outcome if outcomes[outcome])
    mean = f"mean value {sum(values) / len(values):.4f}" if values else "no row could be scored"
    say(f"{total} rows by {judge.name} {judge.version}: {counted}; {mean}")
    say(f"scores: {out}")


def scored_rows(rows: Iterable[tuple[int, dict[str, Any]]], scorer: Scorer, name: str) -> Iterator[dict[str, Any]]:
    """Each row with a column `score`, in order.

    Raises:
        InputError: if a row has no completion.
        GoldError: if the scorer cannot read a gold.
    """
    rows = iter(rows)
    while batch := list(islice(rows, ROWS_AT_A_TIME)):
        samples = [_sample(row, f"{name}:{line}") for line, row in batch]
        for (_, row), result in zip(batch, scorer.score(samples), strict=True):
            yield {**row, "score": result.to_dict()}


def _sample(row: dict[str, Any], where: str) -> Sample:
    prompt = next((column(row, name, where) for name in PROMPT_COLUMNS if name in row), "")
    gold = next((column(row, name, where) for name in ("gold", "answer") if name in row), None)
    return Sample(prompt=prompt, completion=column(row, "completion", where), gold=gold, id=where)
