"""`markscheme best-of-n`: the best rated completion of each problem, and whether a scorer picks right answers."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from markscheme.benchmarks.best_of_n import BestOfN, Choice, best_of_n_figure
from markscheme.benchmarks.best_of_n import best_of_n as curves_of
from markscheme.benchmarks.logs.plain import SCORE, VALUE
from markscheme.benchmarks.logs.values import number_of
from markscheme.benchmarks.regrading import sample_of as sample_of_log
from markscheme.benchmarks.votes import votes_in_order
from markscheme.commands.logged import completions_hash, is_log, is_unjudged_row, samples_of_one_policy
from markscheme.commands.shared import console, say, scorer_by_name, verifier_by_name
from markscheme.files import InputError, noun_of, read_jsonl, sha256_of, write_json, write_lines
from markscheme.score_rows import COMPLETION_COLUMNS, GOLD_COLUMNS, sample_of, score_of
from markscheme.scoring import Outcome, Sample, Score

LOG = "log"
"""In place of a reward model: the number that stands beside each completion already."""


def best_of_n(
    model: str,
    completions: Path,
    /,
    *,
    scorer: str = "math",
    num_samples: int | None = None,
    chosen: Path | None = None,
    out: Path | None = None,
    config: Path | None = None,
) -> None:
    """Choose among completions by a reward model, and see how many of the choices are right.

    Parameters
    ----------
    model
        Folder of a reward model; or "log": the number that the completions' own file carries, such as
        reward_model_score, or a score of `markscheme score` by a reward model.
    completions
        .jsonl or .jsonl.gz with prompt (or question, problem), completion and gold; several of each problem; or a
        folder of markscheme evaluate, or any log that regrade reads. Without golds the model only chooses.
    scorer
        Verifier that says what is right: math, gsm8k, cmath or generic.
    num_samples
        Completions of a problem; by default as many as most have. Problems with fewer are left out.
    chosen
        JSONL file for the best rated completion of each problem, with its rating and verdict: rows as those read here.
    out
        JSON file for the figures; a picture goes beside it. Without it nothing is written.
    config
        TOML file of options.
    """
    for written in (chosen, out):
        if written is not None and written.exists() and completions.exists() and written.samefile(completions):
            raise InputError(f"{written} is the completions' own file: choose another")
    verifier = verifier_by_name(scorer)
    chooser = None if model == LOG else scorer_by_name(model)
    given = _given(completions, rated=chooser is None)
    samples = given.samples
    if not samples:
        raise InputError(f"{completions}: no rows in it")
    if chooser is None and all(value is None for value in given.values):
        raise InputError(f"{completions}: no number in it to choose by; give the folder of a reward model")
    judged = any(sample.gold is not None for sample in samples)
    if out is not None and not judged:
        raise InputError(f"{completions}: no gold in it, and so no figures for --out; --chosen writes what is chosen")
    with console.status(f"{len(samples)} completions"):
        verdicts = verifier.score(samples) if judged else None
        values = given.values if chooser is None else [rating.value for rating in chooser.score(samples)]
    if chosen is not None:
        rows = _chosen_rows(samples, values, verdicts)
        write_lines(chosen, map(json.dumps, rows))
        count = len(set(map(problem_of, samples)))
        say(f"chosen: a completion for {len(rows):,} of {count:,} {noun_of(count, 'problem')}, in {chosen}")
    if verdicts is None:
        say(f"{completions}: no gold in it, so how many of the choices are right cannot be told")
        return
    with console.status("votes"):
        questions = [str(sample.prompt) for sample in samples]
        votes = votes_in_order(verifier, list(map(problem_of, samples)), questions, verdicts)
    choices = [
        Choice(
            problem=problem_of(sample),
            value=value,
            correct=bool(verdict.correct),
            label=vote,
        )
        for sample, verdict, value, vote in zip(samples, verdicts, values, votes, strict=True)
        if verdict.correct is not None and value is not None
    ]
    if len(choices) < len(samples):
        missing = len(samples) - len(choices)
        say(f"left out: {missing:,} {noun_of(missing, 'completion')} without a verdict or a value")
    try:
        found = curves_of(choices, num_samples)
    except ValueError as error:
        raise InputError(f"{completions}: {error}") from error
    print_best_of_n(found, completions.name, "log" if chooser is None else "model")
    if out is not None:
        record = {
            "scorer": {"name": LOG, "version": None}
            if chooser is None
            else {"name": chooser.name, "version": chooser.version},
            "verifier": {"name": verifier.name, "version": verifier.version},
            "completions": {"file": completions.name, "sha256": given.sha256, "rows": len(samples)},
            "without_verdict_or_value": len(samples) - len(choices),
            **asdict(found),
        }
        write_json(out, record)
        name = "the log's number" if chooser is None else chooser.name.replace("_", " ")
        best_of_n_figure(found, name).savefig(out.with_suffix(".png"), dpi=160)
        say(f"figures: {out}   picture: {out.with_suffix('.png')}")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Given:
    """Completions as they were given."""

    samples: Sequence[Sample]
    values: Sequence[float | None]
    """The number beside each of them, where there is one."""
    sha256: str


def _given(path: Path, *, rated: bool) -> _Given:
    """
    Args:
        rated: whether the numbers are asked for.
    """
    if is_log(path, _is_rated_row if rated else _is_row):
        logged = samples_of_one_policy(path)
        return _Given(
            samples=[sample_of_log(one) for one in logged],
            values=[one.value for one in logged],
            sha256=sha256_of(path) if path.is_file() else completions_hash(logged),
        )
    rows = [(f"{path}:{number}", _without_nulls(row)) for number, row in read_jsonl(path)]
    return _Given(
        samples=[sample_of(row, where) for where, row in rows],
        values=[_rating(row, where) if rated else None for where, row in rows],
        sha256=sha256_of(path),
    )


def _without_nulls(row: Mapping[str, Any]) -> dict[str, Any]:
    """Some writers have a null where they have no gold."""
    return {name: value for name, value in row.items() if name not in GOLD_COLUMNS or value is not None}


def _is_row(row: Mapping[str, Any]) -> bool:
    return is_unjudged_row(row) or _is_without_gold(row)


def _is_rated_row(row: Mapping[str, Any]) -> bool:
    return (is_unjudged_row(row) and isinstance(row.get("score"), dict)) or _is_without_gold(row)


def _is_without_gold(row: Mapping[str, Any]) -> bool:
    said = next((row[name] for name in COMPLETION_COLUMNS if name in row), None)
    is_one = isinstance(said, str) or (isinstance(said, list) and bool(said) and isinstance(said[0], Mapping))
    return is_one and all(row.get(name) is None for name in GOLD_COLUMNS)


def _rating(row: Mapping[str, Any], where: str) -> float | None:
    """Of a row as `markscheme score` writes it by a scorer that rates, or with a number beside the completion."""
    if not isinstance(row.get("score"), dict):
        name = next((name for name in (VALUE, SCORE) if name in row), VALUE)
        return number_of(row.get(name), where, name=name)
    score = score_of(row, where)
    return score.value if score.outcome is Outcome.RATED else None


def _chosen_rows(
    samples: Sequence[Sample], values: Sequence[float | None], verdicts: Sequence[Score] | None
) -> list[dict[str, Any]]:
    """Of each problem the completion with the highest value, of equals the first."""
    best: dict[str, int] = {}
    for index, (sample, value) in enumerate(zip(samples, values, strict=True)):
        if value is None:
            continue
        other = values[best.setdefault(problem_of(sample), index)]
        if other is None or value > other:
            best[problem_of(sample)] = index
    rows = []
    for index in best.values():
        sample = samples[index]
        row = {"id": sample.id, "group": sample.group, "prompt": sample.prompt, "completion": sample.completion}
        known = {**row, "gold": sample.gold, "rating": values[index]}
        if verdicts is not None:
            known["verdict"] = verdicts[index].outcome.value
        rows.append({name: value for name, value in known.items() if value is not None})
    return rows


def problem_of(sample: Sample) -> str:
    """What tells problems apart."""
    return str(sample.prompt) if sample.group is None else sample.group


def print_best_of_n(found: BestOfN, title: str, chooser: str) -> None:
    """A row for each k; `chooser` is who chose."""
    problems = f"{found.num_problems} {noun_of(found.num_problems, 'problem')}"
    samples = f"{found.num_samples} {noun_of(found.num_samples, 'sample')}"
    table = Table(title=f"{title}: {problems}, {samples}", title_justify="left")
    table.add_column("k", justify="right")
    for name in (f"best by the {chooser}", "95 % interval", "majority vote", "oracle", "nats"):
        table.add_column(name, justify="right")
    for k, best in found.best.items():
        table.add_row(
            str(k),
            f"{best.mean:.3f}",
            f"{best.low:.3f} to {best.high:.3f}",
            f"{found.majority[k].mean:.3f}",
            f"{found.oracle[k].mean:.3f}",
            f"{found.divergence[k]:.2f}",
        )
    console.print(table)
    if found.left_out:
        fewer = f"{found.left_out:,} {noun_of(found.left_out, 'problem')} with fewer than {found.num_samples} samples"
        say(f"left out: {fewer}")
    last = max(found.best)
    if found.majority[last].mean >= found.best[last].mean:
        say(f"no better than majority vote at k = {last}")
