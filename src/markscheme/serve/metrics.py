"""What a scoring server counts, for Prometheus."""

from collections import Counter as Tally
from collections.abc import Iterator, Sequence

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from markscheme.scoring import Score
from markscheme.serve.pool import ScoringPool

BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
"""From a few samples for rules to a large batch for a reward model."""


class Metrics:
    """The counts of one server."""

    def __init__(self, pool: ScoringPool) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_PoolMetrics(pool))
        self._requests = Counter(
            "markscheme_requests", "Requests by path and status", ["path", "status"], registry=self._registry
        )
        self._seconds = Histogram(
            "markscheme_request_seconds",
            "Seconds from a request's head to the end of its answer",
            ["path"],
            buckets=BUCKETS_S,
            registry=self._registry,
        )
        self._samples = Counter(
            "markscheme_samples", "Samples that were answered, by outcome", ["outcome"], registry=self._registry
        )

    def add_request(self, path: str, status: int, seconds: float) -> None:
        """Counts a request. `path` must be one of few."""
        self._requests.labels(path, str(status)).inc()
        self._seconds.labels(path).observe(seconds)

    def add_scores(self, scores: Sequence[Score]) -> None:
        for outcome, count in Tally(score.outcome for score in scores).items():
            self._samples.labels(outcome.value).inc(count)

    def text(self) -> bytes:
        """All counts, in Prometheus's text format."""
        return generate_latest(self._registry)


class _PoolMetrics(Collector):
    def __init__(self, pool: ScoringPool) -> None:
        self._pool = pool

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily("markscheme_samples_waiting", "Samples that no process has yet", self._pool.waiting)
        yield CounterMetricFamily(
            "markscheme_worker_restarts", "Scoring processes that died or were ended", self._pool.restarts
        )
