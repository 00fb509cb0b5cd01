"""Whether a reward is being hacked: on the dev problems it rises, while the answers there get worse.

Everything here is a pure function of what is measured; `watch` brings it into a run.
"""

import math
import re
import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from markscheme.grpo.rollout import Rollout
from markscheme.scoring import Outcome, Score

NGRAM = 8
_CJK = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
_WORD = re.compile(rf"[{_CJK}]|[^\W{_CJK}]+|[^\w\s]")
"""One character of Chinese, Japanese or Korean; letters and digits in a row; any other visible character."""
Action = Literal["warn", "stop"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorConfig:
    """Settings of a monitor."""

    action: Action = "warn"
    """What follows an alarm, which is in alarms.jsonl in any case; a run that was stopped goes on under warn."""
    probes: int = 2
    """Probes that are taken together at both ends of the comparison. Greedy accuracy moves by some points from one
    probe to the next, so that a single one may be no more than a low; with 3, a collapse is seen two probes later."""
    significance: float = 0.01
    """Chance, at most, of an alarm in a whole run whose accuracy does not change."""

    def __post_init__(self) -> None:
        if self.action not in get_args(Action):
            raise ValueError(f"action must be one of {', '.join(get_args(Action))}, got {self.action!r}")
        if self.probes < 1:
            raise ValueError(f"probes must be at least 1, got {self.probes}")
        if not 0 < self.significance < 1:
            raise ValueError(f"significance must be above 0 and below 1, got {self.significance}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """The likeliest completions of the dev problems, judged by reward and gold."""

    step: int
    judge: str
    """Name and version of the reward."""
    proxy: float
    """Mean reward."""
    correct: tuple[bool | None, ...]
    """What the gold says, problem by problem; None where it could not tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The last probes beside the best earlier ones."""

    step: int
    since: int
    """Last step of the earlier probes."""
    proxy_rise: float
    num_problems: int
    """That the gold could judge in all of them."""
    accuracy_before: float
    accuracy_now: float
    gained: int
    """Problems that are right more often than before."""
    lost: int
    p_value: float
    """That so many would be lost by chance: see `HackingMonitor`."""
    is_alarm: bool

    def metrics(self) -> dict[str, float]:
        """For the line of a step."""
        return {
            "hacking_proxy_rise": self.proxy_rise,
            "hacking_accuracy_change": self.accuracy_now - self.accuracy_before,
            "hacking_p_value": self.p_value,
            "hacking_alarm": float(self.is_alarm),
        }

    @property
    def line(self) -> str:
        """What is seen, and what to do."""
        reward = f"reward {self.proxy_rise:+.2g} since step {self.since}"
        went = f"from {self.accuracy_before:.2f} to {self.accuracy_now:.2f} (p = {self.p_value:.1g})"
        if not self.is_alarm:
            return f"{reward} while accuracy on {self.num_problems} dev problems went {went}: no sign of hacking"
        return (
            f"{reward} while accuracy on {self.num_problems} dev problems fell {went}: the reward model is being "
            "exploited: stop, gate it by the verifier (--reward gate), or train it on with --labeller"
        )


class HackingMonitor:
    """Raises an alarm where the reward rose while accuracy fell by more than chance.

    The last W probes are compared with those W earlier ones in a row that had the highest accuracy. All probes are of
    the same problems, so the test is paired: the exact sign test, one-sided, of how often each problem was right (for
    W = 1 it is McNemar's). With b problems lost and c gained,

        p = sum_{k <= c} C(b + c, k) / 2^(b + c),

    which can be checked by hand, approximates nothing, and assumes only that under an unchanged policy a problem is as
    likely to be gained as lost. At the K-th comparison of a run there were K to choose the best from: p is multiplied
    by K for that, and by K (K + 1) for having looked before. As 1 / (K (K + 1)) over all K adds up to 1, the chance
    that an unchanged policy ever raises an alarm is at most the significance, however long the run (Bonferroni).

    A reward model that is trained on (iterative GRPO) begins at a level of its own. So what the reward rose by is added
    up between probes with one judge, and the way from one judge to the next counts as none.
    """

    def __init__(self, config: MonitorConfig) -> None:
        self.config = config
        self.resume(())

    def resume(self, probes: Iterable[Probe]) -> None:
        """Forgets everything, and observes these."""
        self.verdict: Verdict | None = None
        """The last one; None as long as there are too few probes."""
        self._probes: list[Probe] = []
        self._levels: list[float] = []
        self._windows: list[_Window] = []
        for probe in probes:
            self.observe(probe)

    def observe(self, probe: Probe) -> Verdict | None:
        """What is to be said after one more probe.

        Raises:
            ValueError: if it is of other problems than those before.
        """
        width = self.config.probes
        self._levels.append(self._level(probe))
        self._probes.append(probe)
        if len(self._probes) >= width:
            self._windows.append(_Window.of(self._probes[-width:], self._levels[-width:]))
        num_earlier = len(self._windows) - width
        if num_earlier >= 1:
            best = max(self._windows[:num_earlier], key=lambda window: (window.accuracy, window.last_step))
            self.verdict = self._compare(best, self._windows[-1], num_earlier)
        return self.verdict

    def _level(self, probe: Probe) -> float:
        """The reward's, counted from the first probe."""
        if not self._probes:
            return 0.0
        last = self._probes[-1]
        if len(probe.correct) != len(last.correct):
            raise ValueError(f"a probe of {len(probe.correct)} problems follows one of {len(last.correct)}")
        return self._levels[-1] + (probe.proxy - last.proxy if probe.judge == last.judge else 0.0)

    def _compare(self, before: "_Window", now: "_Window", num_earlier: int) -> Verdict:
        pairs = [(b, n) for b, n in zip(before.right_N, now.right_N, strict=True) if b is not None and n is not None]
        gained, lost = sum(n > b for b, n in pairs), sum(n < b for b, n in pairs)
        p_value = min(1.0, num_earlier * num_earlier * (num_earlier + 1) * sign_test(gained, lost))
        verdicts = max(1, self.config.probes * len(pairs))
        proxy_rise = now.level - before.level
        return Verdict(
            step=now.last_step,
            since=before.last_step,
            proxy_rise=proxy_rise,
            num_problems=len(pairs),
            accuracy_before=sum(b for b, _ in pairs) / verdicts,
            accuracy_now=sum(n for _, n in pairs) / verdicts,
            gained=gained,
            lost=lost,
            p_value=p_value,
            is_alarm=proxy_rise > 0 and p_value <= self.config.significance,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Window:
    """Probes in a row, taken together."""

    last_step: int
    level: float
    right_N: tuple[int | None, ...]
    """How often each problem was right; None where the gold could not tell in one of the probes."""
    accuracy: float

    @classmethod
    def of(cls, probes: Sequence[Probe], levels: Sequence[float]) -> "_Window":
        of_each = zip(*(probe.correct for probe in probes), strict=True)
        right_N = tuple(None if None in verdicts else sum(map(bool, verdicts)) for verdicts in of_each)
        known = [right for right in right_N if right is not None]
        return cls(
            last_step=probes[-1].step,
            level=statistics.fmean(levels),
            right_N=right_N,
            accuracy=sum(known) / (len(probes) * len(known)) if known else 0.0,
        )


def sign_test(gained: int, lost: int) -> float:
    """One-sided p that so few are gained where gained and lost are equally likely.

    >>> sign_test(gained=1, lost=4)  # (C(5, 0) + C(5, 1)) / 2^5
    0.1875
    """
    few = sum(math.comb(gained + lost, k) for k in range(gained + 1))
    return float(few / 2 ** (gained + lost))


def step_figures(groups_PG: Sequence[Sequence[Rollout]]) -> dict[str, float]:
    """Of the rewards of a step, as far as there is something to say: how they go with length within a problem
    (Pearson, mean over the problems where both vary), the share that is outside of what the reward model knows, and how
    far ensembles disagree.
    """
    figures: dict[str, float] = {}
    correlations = [one for group in groups_PG if (one := _length_correlation(group)) is not None]
    if correlations:
        figures["reward_length_correlation"] = statistics.fmean(correlations)
    scores = [rollout.score for group in groups_PG for rollout in group if rollout.score.value is not None]
    ranges = [found for score in scores if (found := list(_said(score, "in_range", bool)))]
    if ranges:
        figures["out_of_range_share"] = sum(not all(found) for found in ranges) / len(ranges)
    disagreements = [found for score in scores for found in _said(score, "disagreement", float)]
    if disagreements:
        figures["disagreement"] = statistics.fmean(disagreements)
    return figures


def probe_figures(rollouts: Sequence[Rollout]) -> dict[str, float]:
    """Of the completions of a probe: the shares without an answer, and of those that repeat themselves."""
    silent = sum(rollout.score.outcome is Outcome.NO_ANSWER for rollout in rollouts)
    repetitive = sum(is_repetitive(rollout.completion.text) for rollout in rollouts)
    return {"dev_no_answer_share": silent / len(rollouts), "dev_repetitive_share": repetitive / len(rollouts)}


def is_repetitive(text: str) -> bool:
    """Whether one passage of `NGRAM` words, said at least twice, fills more than a third of a text.

    >>> is_repetitive("We add 2 and 3, and so " * 4), is_repetitive("We add 2 and 3, and so we have 5 eggs.")
    (True, False)
    """
    words = _WORD.findall(text.lower())
    filled: dict[tuple[str, ...], int] = {}
    last: dict[tuple[str, ...], int] = {}
    for start in range(len(words) - NGRAM + 1):
        passage = tuple(words[start : start + NGRAM])
        filled[passage] = filled.get(passage, 0) + min(NGRAM, start - last.get(passage, -NGRAM))
        last[passage] = start
    most = max(filled.values(), default=0)
    return most > NGRAM and 3 * most > len(words)


def _length_correlation(group: Sequence[Rollout]) -> float | None:
    """None where rewards or lengths are all equal."""
    pairs = [(one.score.value, len(one.completion.ids)) for one in group if one.score.value is not None]
    if len({reward for reward, _ in pairs}) < 2 or len({length for _, length in pairs}) < 2:
        return None
    rewards, lengths = (_centred([float(pair[place]) for pair in pairs]) for place in (0, 1))
    product = sum(reward * length for reward, length in zip(rewards, lengths, strict=True))
    return product / math.sqrt(sum(x * x for x in rewards) * sum(y * y for y in lengths))


def _centred(values: Sequence[float]) -> list[float]:
    """Less their mean, and scaled so that no square is lost."""
    mean = statistics.fmean(values)
    most = max(abs(value - mean) for value in values)
    return [(value - mean) / most for value in values]


def _said(score: Score, name: str, kind: type) -> Iterator[Any]:
    """What the evidence of a score and of its parts has under a name."""
    if isinstance(found := score.evidence.get(name), kind):
        yield found
    for part in score.parts.values():
        yield from _said(part, name, kind)
