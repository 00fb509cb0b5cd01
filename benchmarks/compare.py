"""Comparison of two evaluations on the same problems: what changed, and how sure that is."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from markscheme.benchmarks.findings import values_by_metric
from markscheme.benchmarks.metrics import ConstantGuess, constant_guess_floor
from markscheme.benchmarks.outcomes import Evaluation, ProblemOutcome
from markscheme.benchmarks.paired import PairedDifference, paired_difference
from markscheme.files import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricChange:
    """One metric before and after, over the problems that have it in both."""

    metric: str
    before: float
    after: float
    difference: PairedDifference


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two evaluations, paired by problem id."""

    before: Evaluation
    after: Evaluation
    """Both cut down to the shared problems, in the order of `before`."""
    changes: tuple[MetricChange, ...]
    verdict_metric: str
    """What `gained` and `lost` are about: greedy where it was measured, else pass@1."""
    gained: tuple[str, ...]
    """Ids of the problems that are better after."""
    lost: tuple[str, ...]
    constant_guess: ConstantGuess
    left_out: int
    """Problems that only one of the two evaluations has."""

    @property
    def headline(self) -> MetricChange:
        """The change to name first: pass@1 where it was measured, since it rests on more samples than greedy."""
        by_name = {change.metric: change for change in self.changes}
        return by_name.get("pass@1", self.changes[0])

    def to_dict(self) -> dict[str, Any]:
        """The comparison as JSON values, without the completions."""
        return {
            "num_problems": len(self.before.outcomes),
            "left_out": self.left_out,
            "before": self.before.summary["fingerprint"],
            "after": self.after.summary["fingerprint"],
            "protocol": dict(self.before.protocol),
            "changes": [asdict(change) for change in self.changes],
            "verdict_metric": self.verdict_metric,
            "gained": list(self.gained),
            "lost": list(self.lost),
            "constant_guess": asdict(self.constant_guess),
        }


def compare(before: Evaluation, after: Evaluation) -> Comparison:
    """Pairs two evaluations by problem id and measures every metric that both have.

    Raises:
        InputError: if the two were made under different settings, share no problem, mean different problems
            by one id, or no problem was scored in both.
    """
    _check_protocol(before.protocol, after.protocol)
    shared_before, shared_after = _paired(before, after)
    values_before = values_by_metric(shared_before.outcomes, before.num_samples)
    values_after = values_by_metric(shared_after.outcomes, after.num_samples)

    changes, paired_ids = [], {}
    for metric in values_before:
        ids = [id_ for id_ in values_before[metric] if id_ in values_after.get(metric, {})]
        if ids:
            paired_ids[metric] = ids
            changes.append(
                _change(metric, [values_before[metric][i] for i in ids], [values_after[metric][i] for i in ids])
            )
    if not changes:
        raise InputError("no problem was scored in both evaluations; see the unscored counts in their summary.json")

    verdict = "greedy" if "greedy" in paired_ids else "pass@1"
    old, new = values_before[verdict], values_after[verdict]
    return Comparison(
        before=shared_before,
        after=shared_after,
        changes=tuple(changes),
        verdict_metric=verdict,
        gained=tuple(id_ for id_ in paired_ids[verdict] if new[id_] > old[id_]),
        lost=tuple(id_ for id_ in paired_ids[verdict] if new[id_] < old[id_]),
        constant_guess=constant_guess_floor([outcome.problem.gold for outcome in shared_before.outcomes]),
        left_out=len(before.outcomes) + len(after.outcomes) - 2 * len(shared_before.outcomes),
    )


def _change(metric: str, before: list[float], after: list[float]) -> MetricChange:
    return MetricChange(
        metric=metric,
        before=sum(before) / len(before),
        after=sum(after) / len(after),
        difference=paired_difference(before, after),
    )


def _check_protocol(before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    different = [
        f"{name} {before.get(name)!r} before, {after.get(name)!r} after"
        for name in dict.fromkeys([*before, *after])
        if before.get(name) != after.get(name)
    ]
    if different:
        raise InputError(f"the evaluations differ in their settings: {'; '.join(different)}; evaluate both alike")


def _paired(before: Evaluation, after: Evaluation) -> tuple[Evaluation, Evaluation]:
    """Both evaluations, cut down to the problems that they share."""
    by_id = {outcome.problem.id: outcome for outcome in after.outcomes}
    pairs = [(outcome, by_id[outcome.problem.id]) for outcome in before.outcomes if outcome.problem.id in by_id]
    if not pairs:
        first, second = before.outcomes[0].problem.id, after.outcomes[0].problem.id
        raise InputError(f"the evaluations share no problem: one has {first!r}, the other {second!r}; use one task")
    for one, other in pairs:
        _check_same_problem(one, other)
    return (
        Evaluation(outcomes=tuple(one for one, _ in pairs), summary=before.summary),
        Evaluation(outcomes=tuple(other for _, other in pairs), summary=after.summary),
    )


def _check_same_problem(before: ProblemOutcome, after: ProblemOutcome) -> None:
    one, other = before.problem, after.problem
    if (one.question, one.gold) != (other.question, other.gold):
        raise InputError(
            f"{one.id} is not one problem in both: {one.question[:40]!r} with gold {one.gold!r} before, "
            f"{other.question[:40]!r} with gold {other.gold!r} after; evaluate both on one version of the task"
        )
