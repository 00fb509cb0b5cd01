"""Whether a scorer picks right answers: the best of k samples by its values, beside majority vote and an oracle."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from matplotlib.figure import Figure

from markscheme.benchmarks.findings import sample_counts
from markscheme.benchmarks.metrics import best_of_k, best_of_k_divergence, bootstrap_interval, majority_at_k, pass_at_k
from markscheme.benchmarks.plots import (
    AFTER_COLOUR,
    BEFORE_COLOUR,
    CURVE_COLOURS,
    WIDTH_INCHES,
    draw_intervals,
    new_axes,
    new_legend,
    room_above,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A completion among which to choose."""

    problem: str
    value: float
    """By the scorer that chooses."""
    correct: bool
    label: Hashable | None
    """What it votes for in a majority vote; None for no answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A mean over problems with its 95 % interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BestOfN:
    """Shares of problems that are solved by k samples, over the problems that have n."""

    num_problems: int
    num_samples: int
    """n, which each of the problems has; of those that have more, all count."""
    left_out: int
    """Problems with fewer."""
    best: Mapping[int, Interval]
    """k -> by the scorer."""
    majority: Mapping[int, Interval]
    oracle: Mapping[int, Interval]
    """pass@k: what a perfect scorer would reach."""
    divergence: Mapping[int, float]
    """k -> nats that the best of k is away from one sample, at most."""


def best_of_n(choices: Sequence[Choice], num_samples: int | None = None) -> BestOfN:
    """
    Args:
        num_samples: n; by default as many as the commonest number of samples of a problem.

    Raises:
        ValueError: if no problem has so many samples.
    """
    problems: dict[str, list[Choice]] = {}
    for choice in choices:
        problems.setdefault(choice.problem, []).append(choice)
    sizes = [len(of_one) for of_one in problems.values()]
    n = num_samples or max(sorted(set(sizes)), key=sizes.count, default=0)
    kept = [of_one for of_one in problems.values() if len(of_one) >= n]
    if not n or not kept:
        raise ValueError(f"none of {len(problems)} problems has {n} samples with a value and a verdict")
    curves: dict[str, dict[int, Interval]] = {"best": {}, "majority": {}, "oracle": {}}
    for k in sample_counts(n):
        found: dict[str, list[float]] = {name: [] for name in curves}
        for of_one in kept:
            values, correct = [one.value for one in of_one], [one.correct for one in of_one]
            found["best"].append(best_of_k(values, correct, k))
            found["majority"].append(majority_at_k([one.label for one in of_one], correct, k))
            found["oracle"].append(pass_at_k(len(of_one), sum(correct), k))
        for name, shares in found.items():
            low, high = bootstrap_interval(shares)
            curves[name][k] = Interval(mean=fmean(shares), low=low, high=high)
    return BestOfN(
        num_problems=len(kept),
        num_samples=n,
        left_out=len(problems) - len(kept),
        divergence={k: best_of_k_divergence(k) for k in sample_counts(n)},
        **curves,
    )


def best_of_n_figure(found: BestOfN, name: str) -> Figure:
    """The three curves against k, with 95 % intervals over problems."""
    figure = Figure(figsize=(WIDTH_INCHES, 3.2), layout="constrained")
    axes = new_axes(figure)
    for label, curve, colour, shift in (
        ("oracle", found.oracle, BEFORE_COLOUR, -1),
        ("majority vote", found.majority, CURVE_COLOURS[1], 0),
        (f"best by {name}", found.best, AFTER_COLOUR, 1),
    ):
        ks = list(curve)
        axes.plot(ks, [curve[k].mean for k in ks], color=colour, marker="o", markersize=4, label=label)
        draw_intervals(figure, axes, ks, [(curve[k].low, curve[k].high) for k in ks], colour, shift)
    axes.set_xscale("log", base=2)
    axes.set_xticks(list(found.best), [str(k) for k in found.best])
    axes.set_xlabel("k, samples per problem")
    axes.set_ylabel("share of problems")
    room_above(axes)
    new_legend(figure, columns=3)
    return figure
