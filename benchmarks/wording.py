"""What a comparison says, in sentences and in numbers as they are read."""

from collections.abc import Sequence

from markscheme.benchmarks.comparison import Comparison
from markscheme.benchmarks.examples import readable, sides
from markscheme.benchmarks.findings import LEVELS, counts_of
from markscheme.benchmarks.metrics import NEARLY
from markscheme.benchmarks.outcomes import KINDS, LOG_ENGINE
from markscheme.benchmarks.paired import PairedDifference, minimum_detectable_effect
from markscheme.files import noun_of

LOUD_SHARE = 0.02  # of completions cut off or not scored: beyond, it is said before the figures


def headline(comparison: Comparison) -> str:
    """What changed, in one sentence, with its interval, its n and its number of seeds."""
    change = comparison.headline
    difference = change.difference
    name = "Greedy accuracy" if change.metric == "greedy" else change.metric
    interval = f"95 % interval {points(difference.low)} to {points(difference.high)}"
    p = difference.permutation_p
    verb = "went"
    if difference.low <= 0 <= difference.high:
        interval += ", which includes no change"
    elif p is not None and p >= 0.05:  # a bootstrap of a handful of changes is too sure
        interval += f", but p {_equal(p)} does not rule out chance"
    else:
        verb = "rose" if difference.mean > 0 else "fell"
    return (
        f"{name} {verb} from {number(change.before)} to {number(change.after)}: "
        f"{points(difference.mean)} points ({interval}), n = {difference.n:,}, {seeds_of(difference)}."
    )


def seeds_of(difference: PairedDifference) -> str:
    """How many training seeds a difference rests on: one must say so."""
    return "one training seed" if difference.seeds == 1 else f"mean of {difference.seeds} training seeds"


def metric_name(metric: str) -> str:
    return "greedy accuracy" if metric == "greedy" else metric


def p_text(p: float | None) -> str:
    """
    >>> p_text(0.0312), p_text(0.00001), p_text(None)
    ('0.031', '< 0.0001', '')
    """
    return "" if p is None else f"{p:.2g}" if p >= 1e-4 else "< 0.0001"


def number(value: float) -> str:
    """A share, to three places."""
    return f"{value:.3f}"


def points(difference: float) -> str:
    """A difference of shares in percentage points, with its sign.

    >>> points(0.21), points(-0.004), points(0.0)
    ('+21.0', '−0.4', '0.0')
    """
    rounded = round(100 * difference, 1)
    return f"{rounded:+.1f}".replace("-", "−") if rounded else "0.0"


def measured(comparison: Comparison) -> str:
    protocol = comparison.before.protocol
    kinds = ["one greedy completion"] if protocol["greedy"] else []
    if samples := protocol["num_samples"]:
        heat = f" at temperature {protocol['temperature']:g}" if protocol.get("temperature") is not None else ""
        kinds.append(f"{samples} {noun_of(samples, 'sample')}{heat}")
    most = protocol.get("max_completion_tokens")
    limit = f", of at most {most:,} {noun_of(most, 'token')}" if most else ""
    left_out = "".join(f" {sentence}" for sentence in left_out_of(comparison))
    if unwanted := comparison.set_aside:
        left_out += f" Left out on request: {unwanted:,} {noun_of(unwanted, 'problem')}."
    n = len(comparison.before.outcomes)
    return (
        f"{n:,} {noun_of(n, 'problem')}; for each {' and '.join(kinds)}{limit}; "
        f"judged by {protocol['scorer']}.{left_out}"
    )


def left_out_of(comparison: Comparison) -> list[str]:
    """What not all sides have, in a sentence if there is any."""
    count = comparison.left_out
    return [f"Left out: {count:,} {noun_of(count, 'problem')} that not all sides have."] if count else []


def sensitivity(comparison: Comparison) -> str:
    """How many verdicts changed, and how small a gain these problems could have shown."""
    difference = next(one.difference for one in comparison.changes if one.metric == comparison.verdict_metric)
    gained, lost, n = difference.gained, difference.lost, difference.n
    better = f"{gained:,} {noun_of(gained, 'problem')} got better"
    sentence = f"By {metric_name(comparison.verdict_metric)}, {better} and {lost:,} got worse"
    if difference.mcnemar_p is None or gained + lost == 0:
        return f"{sentence}."
    changed = (gained + lost) / n
    least = minimum_detectable_effect(n, changed)
    seen = "no gain" if least is None else f"a true gain of {100 * least:.1f} points"
    worth = ""
    if difference.standard_error > NEARLY:  # NaN for a single problem
        times = (difference.unpaired_standard_error / difference.standard_error) ** 2
        worth = f" Without pairing that would take {times:.1f} times as many problems."
    return (
        f"{sentence} (exact McNemar test: p {_equal(difference.mcnemar_p)}). With {n:,} {noun_of(n, 'problem')}, "
        f"{100 * changed:.0f} % of which change their verdict, {seen} would be found four times in five.{worth}"
    )


def _equal(p: float) -> str:
    return p_text(p) if p < 1e-4 else f"= {p_text(p)}"


def warnings_of(comparison: Comparison) -> list[str]:
    """What a reader must know before the figures."""
    found = [f"Made under different settings: {line}." for line in comparison.differences]
    for name, evaluation in sides(comparison):
        for kind in KINDS:
            counts = counts_of(evaluation.outcomes, kind)
            for what, words in (("truncated", "were cut off at the token limit"), ("unscored", "could not be scored")):
                count = counts.get(what)  # None where a log does not say, and where there are no completions
                if count is not None and count > LOUD_SHARE * counts["completions"]:
                    share = 100 * count / counts["completions"]
                    found.append(f"{share:.1f} % of the {kind} completions {name} {words}.")
    summaries = [evaluation.summary for _, evaluation in sides(comparison)]
    engines = [str(one.get("engine", "unknown")) for one in summaries]
    if len(known := sorted({*engines} - {LOG_ENGINE})) > 1:
        found.append(f"Generated by different engines: {' and '.join(known)}.")
    if known and LOG_ENGINE in engines:
        found.append("One side was read from a log: whether it was sampled like the other cannot be checked.")
    loose = {engine for engine, one in zip(engines, summaries, strict=True) if one.get("batch_invariant") is False}
    if loose:
        found.append(
            f"The engine ({', '.join(sorted(loose))}) does not promise the same completions in other batches: "
            "a second run may differ in close calls."
        )
    return found


def column_of(comparison: Comparison, names: Sequence[str]) -> str:
    """What the problems call their level or subject; the first of `names` if they have neither."""
    metas = [outcome.problem.meta for outcome in comparison.before.outcomes]
    return next((name for name in names if any(meta.get(name) is not None for meta in metas)), names[0])


def worst_group(comparison: Comparison) -> str:
    """The level or subject that gained least or lost most; empty where there are no groups."""
    single = [one for one in comparison.groups if None in (one.level, one.subject)]
    if not single:
        return ""
    worst = min(single, key=lambda one: one.difference.mean)
    name = readable(str(worst.level if worst.subject is None else worst.subject))
    if worst.subject is None and name[:1].isdecimal():
        name = f"{column_of(comparison, LEVELS)} {name}"
    difference = worst.difference
    how = "Gained least" if difference.mean >= 0 else "Lost most"
    return (
        f"{how}: {name}, {points(difference.mean)} points (95 % interval {points(difference.low)} to "
        f"{points(difference.high)}), n = {difference.n:,}; the last of {len(single)} groups is that by chance, too."
    )
