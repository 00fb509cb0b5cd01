"""A monitor within a run: it is fed with the dev problems, and what it was fed with is in the run folder."""

import statistics
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from markscheme import parallel
from markscheme.grpo.batch import Draw
from markscheme.grpo.monitor import HackingMonitor, Probe, probe_figures
from markscheme.grpo.rollout import Rollout, scores_by
from markscheme.run_log import RunLog, StoppedError
from markscheme.scoring import Outcome

PROBES, ALARMS = "probes.jsonl", "alarms.jsonl"


@dataclass(frozen=True, slots=True)
class Watch:
    """Of several processes each has a monitor, and all of them see the same."""

    monitor: HackingMonitor
    log: RunLog

    def resume(self) -> None:
        """Feeds the monitor with the probes of a run that goes on.

        Raises:
            StoppedError: if that ended with an alarm, and an alarm stops.
        """
        if not parallel.of_all(self.log.read())[0]:
            self.log.rewind(-1)  # a kill came between the first probe and its metrics: both are written again
        records = parallel.of_all(self.log.read(PROBES))[0]
        self.monitor.resume(Probe(**{**record, "correct": tuple(record["correct"])}) for record in records)
        self.stop()

    def probe(self, step: int, rollouts: Sequence[Rollout], draw: Draw) -> dict[str, float]:
        """Has the reward judge what the gold has judged; returns the metrics, and warns of an alarm that is new.

        Raises:
            ValueError: if the gold gives no verdicts.
        """
        if all(rollout.score.outcome is Outcome.RATED for rollout in rollouts):
            raise ValueError("the monitor needs a dev_scorer that gives verdicts")
        figures = probe_figures(rollouts)
        scores = scores_by(draw.scorer, rollouts, draw.config.score_deadline_s)
        values = [score.value for score in scores if score.value is not None]
        if not values:
            return figures
        figures["dev_proxy"] = statistics.fmean(values)
        correct = tuple(rollout.score.correct for rollout in rollouts)
        probe = Probe(step=step, judge=draw.judge, proxy=figures["dev_proxy"], correct=correct)
        self.log.append(PROBES, asdict(probe))
        before, verdict = self.monitor.verdict, self.monitor.observe(probe)
        if verdict is None:
            return figures
        if verdict.is_alarm and not (before is not None and before.is_alarm):
            self.log.append(ALARMS, {**asdict(verdict), "line": verdict.line})
            if self.monitor.config.action == "warn":
                warnings.warn(verdict.line, stacklevel=2)
        return figures | verdict.metrics()

    @property
    def stops(self) -> bool:
        """Whether the run is to end here."""
        verdict = self.monitor.verdict
        return self.monitor.config.action == "stop" and verdict is not None and verdict.is_alarm

    def stop(self) -> None:
        """
        Raises:
            StoppedError: if the run is to end here.
        """
        verdict = self.monitor.verdict
        if self.stops and verdict is not None:
            raise StoppedError(f"{verdict.line}; to go on all the same, give --monitor.action warn")
