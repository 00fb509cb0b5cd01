"""Comparison of two evaluations on the same problems: what changed, and how sure that is."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from markscheme.benchmarks.findings import LEVELS, SUBJECTS, group_names, group_of, values_by_metric
from markscheme.benchmarks.metrics import NEARLY, ConstantGuess, constant_guess_floor
from markscheme.benchmarks.outcomes import Evaluation, ProblemOutcome
from markscheme.benchmarks.paired import PairedDifference, holm, paired_difference
from markscheme.benchmarks.pairing import setting_differences, shared_problems
from markscheme.files import InputError

Values = Mapping[str, Mapping[str, float]]
"""Metric -> problem id -> value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricChange:
    """One metric before and after, over the problems that have it in all evaluations."""

    metric: str
    before: float
    after: float
    """Mean over training seeds, where there are several."""
    difference: PairedDifference


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupChange:
    """What changed on the problems of one level, of one subject, or of both."""

    level: str | None
    """None: of all levels."""
    subject: str | None
    before: float
    after: float
    difference: PairedDifference
    adjusted_p: float | None
    """Of the permutation test, by Holm over all groups of this kind: may be read beside the others."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Comparison:
    """Evaluations before and after, paired by problem id."""

    before: Evaluation
    afters: tuple[Evaluation, ...]
    """One for each training seed. All are cut down to the shared problems, in the order of `before`."""
    values: tuple[Values, ...]
    """Of `before`, then of each of `afters`."""
    changes: tuple[MetricChange, ...]
    groups: tuple[GroupChange, ...]
    """By level, by subject and by both, of the metric of the headline; empty where problems have neither."""
    verdict_metric: str
    """What `gained` and `lost` are about: greedy where it was measured, else pass@1."""
    gained: tuple[str, ...]
    """Ids of the problems that are better after."""
    lost: tuple[str, ...]
    constant_guess: ConstantGuess
    left_out: int
    """Problems that not every evaluation has."""
    set_aside: int
    """Problems that were to be left out."""
    differences: tuple[str, ...]
    """Settings in which the evaluations differ, as far as that was allowed."""

    def __str__(self) -> str:
        """Every metric in a table, what must be known about it, and what it says in one sentence."""
        from markscheme.benchmarks.shown import as_text, comparison_remarks, comparison_table  # it needs this class

        return as_text(comparison_table(self), comparison_remarks(self))

    def __repr__(self) -> str:
        figures = ", ".join(f"{one.metric} {one.before:.3f} -> {one.after:.3f}" for one in self.changes)
        return f"<{type(self).__name__} on {len(self.before.outcomes):,} problems: {figures}>"

    @property
    def headline(self) -> MetricChange:
        """The change to name first: pass@1 where it was measured, since it rests on more samples than greedy."""
        return _headline(self.changes)

    def to_dict(self) -> dict[str, Any]:
        """The comparison as JSON values, without the completions."""
        return {
            "num_problems": len(self.before.outcomes),
            "left_out": self.left_out,
            "set_aside": self.set_aside,
            "before": self.before.summary["fingerprint"],
            "after": [one.summary["fingerprint"] for one in self.afters],
            "protocol": dict(self.before.protocol),
            "differences": list(self.differences),
            "changes": [_as_json(change) for change in self.changes],
            "groups": [_as_json(change) for change in self.groups],
            "verdict_metric": self.verdict_metric,
            "gained": list(self.gained),
            "lost": list(self.lost),
            "constant_guess": asdict(self.constant_guess),
        }


def _headline(changes: Sequence[MetricChange]) -> MetricChange:
    by_name = {change.metric: change for change in changes}
    return by_name.get("pass@1", changes[0])


def _as_json(change: MetricChange | GroupChange) -> dict[str, Any]:
    """What is not a number, as the error of a single problem, is None."""
    record = asdict(change)
    for name, value in record["difference"].items():
        if isinstance(value, float) and math.isnan(value):
            record["difference"][name] = None
    return record


def compare(
    before: Evaluation, *afters: Evaluation, different_settings: bool = False, leave_out: Collection[str] = ()
) -> Comparison:
    """Pairs evaluations by problem id and measures every metric that all have.

    Args:
        afters: one, or one for each training seed.
        different_settings: allows evaluations that were made under different settings; what differs is kept.
        leave_out: ids of problems not to compare on, such as contaminated ones.

    Raises:
        InputError: if they were made under different settings, share no problem, mean different problems by one id,
            no problem was scored in all, or none of `leave_out` is among the problems.
    """
    weights = [one.summary["fingerprint"] for one in afters]
    if len(set(weights)) < len(weights):
        raise InputError("two of the training seeds have the same weights: give each evaluation once")
    differences = tuple(dict.fromkeys(line for one in afters for line in setting_differences(before, one)))
    if differences and not different_settings:
        raise InputError(
            f"the evaluations differ in their settings: {'; '.join(differences)}; evaluate both alike, "
            "or allow it with --different-settings"
        )
    every_id = {outcome.problem.id for one in (before, *afters) for outcome in one.outcomes}
    set_aside = len(every_id.intersection(leave_out))
    if leave_out and not set_aside:
        raise InputError(f"none of the {len(leave_out):,} problems to leave out is in the evaluations")
    old, *new = shared_problems([before, *afters], leave_out)
    values_old, *values_new = (values_by_metric(one.outcomes, one.num_samples) for one in (old, *new))

    changes, paired_ids = [], {}
    for metric, by_problem in values_old.items():
        ids = [id_ for id_ in by_problem if all(id_ in values.get(metric, {}) for values in values_new)]
        if ids:
            paired_ids[metric] = ids
            changes.append(MetricChange(metric=metric, **_change(metric, ids, values_old, values_new)))
    if not changes:
        raise InputError("no problem was scored in both evaluations; see the unscored counts in their summary.json")

    verdict = "greedy" if "greedy" in paired_ids else "pass@1"
    headline = _headline(changes).metric
    moves = {
        id_: fmean(values[verdict][id_] for values in values_new) - values_old[verdict][id_]
        for id_ in paired_ids[verdict]
    }
    return Comparison(
        before=old,
        afters=tuple(new),
        values=(values_old, *values_new),
        changes=tuple(changes),
        groups=tuple(_group_changes(headline, paired_ids[headline], old.outcomes, values_old, values_new)),
        verdict_metric=verdict,
        gained=tuple(id_ for id_, move in moves.items() if move > NEARLY),
        lost=tuple(id_ for id_, move in moves.items() if move < -NEARLY),
        constant_guess=constant_guess_floor([outcome.problem.gold for outcome in old.outcomes]),
        left_out=len(every_id) - set_aside - len(old.outcomes),
        set_aside=set_aside,
        differences=differences,
    )


def _change(metric: str, ids: Sequence[str], before: Values, afters: Sequence[Values]) -> dict[str, Any]:
    old = [before[metric][id_] for id_ in ids]
    new = [[values[metric][id_] for id_ in ids] for values in afters]
    return {
        "before": fmean(old),
        "after": fmean(map(fmean, new)),
        "difference": paired_difference(old, *new),
    }


def _group_changes(
    metric: str, ids: Sequence[str], outcomes: Sequence[ProblemOutcome], before: Values, afters: Sequence[Values]
) -> list[GroupChange]:
    problems = {outcome.problem.id: outcome.problem for outcome in outcomes}
    places = {id_: (group_of(problems[id_], LEVELS), group_of(problems[id_], SUBJECTS)) for id_ in ids}
    levels, subjects = (group_names([place[side] for place in places.values()]) for side in (0, 1))
    kinds: list[list[tuple[str | None, str | None]]] = [
        [(level, None) for level in levels] if len(levels) > 1 else [],
        [(None, subject) for subject in subjects] if len(subjects) > 1 else [],
        [(level, subject) for level in levels for subject in subjects] if len(levels) > 1 < len(subjects) else [],
    ]
    found = []
    for groups in kinds:
        rows = []
        for level, subject in groups:
            of_group = [id_ for id_ in ids if level in (None, places[id_][0]) and subject in (None, places[id_][1])]
            if of_group:
                rows.append((level, subject, _change(metric, of_group, before, afters)))
        p_values = [row[2]["difference"].permutation_p for row in rows]
        known = None not in p_values
        adjusted = holm(p_values) if known else [None] * len(rows)
        found += [
            GroupChange(level=level, subject=subject, **change, adjusted_p=p)
            for (level, subject, change), p in zip(rows, adjusted, strict=True)
        ]
    return found
