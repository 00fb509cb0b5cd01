"""`markscheme best-of-n`: whether a scorer picks right answers."""

from collections.abc import Sequence
from dataclasses import asdict
from itertools import chain
from pathlib import Path

from rich.table import Table

from markscheme.benchmarks.best_of_n import BestOfN, Choice, best_of_n_figure
from markscheme.benchmarks.best_of_n import best_of_n as curves_of
from markscheme.benchmarks.votes import Vote, votes_of
from markscheme.commands.shared import console, say, scorer_by_name, verifier_by_name
from markscheme.files import InputError, read_jsonl, sha256_of, write_json
from markscheme.score_rows import sample_of
from markscheme.scoring import Sample, Score, Scorer


def best_of_n(
    model: str,
    completions: Path,
    /,
    *,
    scorer: str = "math",
    num_samples: int | None = None,
    out: Path | None = None,
    config: Path | None = None,
) -> None:
    """Choose among completions by a reward model, and see how many of the choices are right.

    Parameters
    ----------
    model
        Folder of a reward model.
    completions
        .jsonl or .jsonl.gz with prompt (or question, problem), completion and gold; several of each problem.
    scorer
        Verifier that says what is right: math, gsm8k, cmath or generic.
    num_samples
        Completions of a problem; by default as many as most have. Problems with fewer are left out.
    out
        JSON file for the figures; a picture goes beside it. Without it nothing is written.
    config
        TOML file of options.
    """
    chooser, verifier = scorer_by_name(model), verifier_by_name(scorer)
    samples = [sample_of(row, f"{completions}:{number}") for number, row in read_jsonl(completions)]
    if not samples:
        raise InputError(f"{completions}: no rows in it")
    with console.status(f"{len(samples)} completions"):
        verdicts, ratings = verifier.score(samples), chooser.score(samples)
        votes = votes_by_sample(verifier, samples, verdicts)
    choices = [
        Choice(
            problem=problem_of(sample),
            value=rating.value,
            correct=bool(verdict.correct),
            label=vote,
        )
        for sample, verdict, rating, vote in zip(samples, verdicts, ratings, votes, strict=True)
        if verdict.correct is not None and rating.value is not None
    ]
    if len(choices) < len(samples):
        say(f"{len(samples) - len(choices)} completions without a verdict or a value are left out")
    try:
        found = curves_of(choices, num_samples)
    except ValueError as error:
        raise InputError(f"{completions}: {error}") from error
    print_best_of_n(found, completions.name)
    if out is not None:
        record = {
            "scorer": {"name": chooser.name, "version": chooser.version},
            "verifier": {"name": verifier.name, "version": verifier.version},
            "completions": {"file": completions.name, "sha256": sha256_of(completions), "rows": len(samples)},
            "without_verdict_or_value": len(samples) - len(choices),
            **asdict(found),
        }
        write_json(out, record)
        best_of_n_figure(found, chooser.name.replace("_", " ")).savefig(out.with_suffix(".png"), dpi=160)
        say(f"figures: {out}   picture: {out.with_suffix('.png')}")


def votes_by_sample(verifier: Scorer, samples: Sequence[Sample], verdicts: Sequence[Score]) -> list[Vote]:
    """In the order of the samples."""
    places: dict[str, list[int]] = {}
    for place, sample in enumerate(samples):
        places.setdefault(problem_of(sample), []).append(place)
    by_problem = votes_of(
        verifier,
        [str(samples[of_one[0]].prompt) for of_one in places.values()],
        [[verdicts[place] for place in of_one] for of_one in places.values()],
    )
    votes = dict(zip(chain.from_iterable(places.values()), chain.from_iterable(by_problem), strict=True))
    return [votes[place] for place in range(len(samples))]


def problem_of(sample: Sample) -> str:
    """What tells problems apart."""
    return str(sample.prompt) if sample.group is None else sample.group


def print_best_of_n(found: BestOfN, title: str) -> None:
    """A row for each k."""
    table = Table(title=f"{title}: {found.num_problems} problems, {found.num_samples} samples", title_justify="left")
    table.add_column("k", justify="right")
    for name in ("best by the model", "95 % interval", "majority vote", "oracle", "nats"):
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
        say(f"{found.left_out} problems with fewer than {found.num_samples} samples are left out")
    last = max(found.best)
    if found.majority[last].mean >= found.best[last].mean:
        say(f"no better than majority vote at k = {last}")
