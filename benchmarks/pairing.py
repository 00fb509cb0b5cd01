"""Evaluations side by side: the problems that they share, and the settings in which they differ."""

from collections.abc import Collection, Sequence

from markscheme.benchmarks.outcomes import Evaluation, ProblemOutcome
from markscheme.files import InputError

IN_THE_HASH = ("name", "hash", "form", "note")


def setting_differences(before: Evaluation, after: Evaluation) -> list[str]:
    """Settings that differ. Whether prompts do, the hashes say: where exemplars lie does not count."""
    old, new = ({name: one.protocol[name] for name in one.protocol if name != "note"} for one in (before, after))
    found = []
    if "hash" in old and "hash" in new:
        if old["hash"] != new["hash"]:
            found.append(f"protocol {old['name']} ({old['hash']}) before, {new['name']} ({new['hash']}) after")
        old, new = ({name: one[name] for name in one if name not in IN_THE_HASH} for one in (old, new))
    found += [
        f"{name} {old[name]!r} before, {new[name]!r} after" for name in old if name in new and old[name] != new[name]
    ]
    for side, one, other in (("before", old, new), ("after", new, old)):
        if unknown := [name for name in other if name not in one]:
            found.append(f"not recorded {side}: {', '.join(unknown)}")
    return found


def shared_problems(evaluations: Sequence[Evaluation], leave_out: Collection[str] = ()) -> list[Evaluation]:
    """All of them, cut down to the problems that all have, in the order of the first.

    Args:
        leave_out: ids of problems that are not wanted.

    Raises:
        InputError: if no problem remains, or one id means different problems.
    """
    first, *others = evaluations
    by_id = [{outcome.problem.id: outcome for outcome in one.outcomes} for one in others]
    kept = [outcome for outcome in first.outcomes if all(outcome.problem.id in of_one for of_one in by_id)]
    if not kept:
        one, other = first.outcomes[0].problem.id, others[0].outcomes[0].problem.id
        raise InputError(f"the evaluations share no problem: one has {one!r}, another {other!r}; use one task")
    kept = [outcome for outcome in kept if outcome.problem.id not in leave_out]
    if not kept:
        raise InputError("every problem that the evaluations share is to be left out: nothing remains to compare")
    for outcome in kept:
        for of_one in by_id:
            _check_same_problem(outcome, of_one[outcome.problem.id])
    return [
        Evaluation(outcomes=tuple(kept), summary=first.summary),
        *(
            Evaluation(outcomes=tuple(of_one[outcome.problem.id] for outcome in kept), summary=one.summary)
            for one, of_one in zip(others, by_id, strict=True)
        ),
    ]


def _check_same_problem(before: ProblemOutcome, after: ProblemOutcome) -> None:
    one, other = before.problem, after.problem
    if (one.question, one.gold) != (other.question, other.gold):
        raise InputError(
            f"{one.id} is not one problem in both: {one.question[:40]!r} with gold {one.gold!r} before, "
            f"{other.question[:40]!r} with gold {other.gold!r} after; evaluate both on one version of the task"
        )
