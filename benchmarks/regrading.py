"""Stored completions judged again: our verdicts beside those of the log that they come from."""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from statistics import fmean, multimode
from typing import Any

from markscheme.benchmarks.findings import sample_counts, sample_metrics
from markscheme.benchmarks.logs import LoggedSample
from markscheme.benchmarks.metrics import best_of_k
from markscheme.benchmarks.votes import Vote, votes_in_order
from markscheme.files import InputError
from markscheme.scoring import GoldError, Outcome, Sample, Score, Scorer

SAMPLES_PER_CHUNK = 1_000

Verdict = bool | None
Progress = Callable[[int], None]
"""Called with how many samples have been graded."""


@dataclass(frozen=True, kw_only=True)
class Regraded:
    """A log's samples with our scores."""

    samples: Sequence[LoggedSample]
    scores: Sequence[Score]
    votes: Sequence[Vote]
    """What each sample votes for among those of its problem."""
    seconds: float
    """That grading took, by the clock."""

    @property
    def unscored(self) -> int:
        return sum(score.correct is None for score in self.scores)

    @cached_property
    def confusion(self) -> Mapping[tuple[Verdict, Outcome], int]:
        """(the log's verdict, our outcome) -> samples."""
        return Counter((sample.verdict, score.outcome) for sample, score in zip(self.samples, self.scores, strict=True))

    @cached_property
    def disagreements(self) -> list[int]:
        """Places of the samples that one calls right and the other wrong."""
        return [
            place
            for place, (sample, score) in enumerate(zip(self.samples, self.scores, strict=True))
            if None not in (sample.verdict, score.correct) and sample.verdict != score.correct
        ]

    @cached_property
    def num_samples(self) -> int:
        """The commonest number of samples of a problem, K; of equals the least."""
        return min(multimode(map(len, self._places.values())))

    @property
    def in_order(self) -> list[int]:
        """Places of the samples, problem by problem, and of each problem in the order of `k`."""
        return list(chain.from_iterable(self._places.values()))

    @cached_property
    def _places(self) -> dict[str, list[int]]:
        return {
            problem: sorted(places, key=lambda place: self.samples[place].k)
            for problem, places in _by_problem(self.samples).items()
        }

    def metrics(self, verdicts: Sequence[Verdict]) -> dict[str, float]:
        """What follows from some verdicts, ours or the log's; samples without one are left out.

        Means over problems; `first`, pass@k, maj@k, cons@K and best@k (by the log's own values) over those that have
        enough samples.
        """
        found: dict[str, list[float]] = {}
        for places in self._places.values():
            first = verdicts[places[0]]
            if first is not None:
                found.setdefault("first", []).append(float(first))
            known = [place for place in places if verdicts[place] is not None]
            correct = [bool(verdicts[place]) for place in known]
            votes = [self._vote(place, verdicts) for place in known]
            values = [self.samples[place].value for place in known]
            if known:
                found.setdefault("accuracy", []).append(fmean(correct))
            for metric, value in sample_metrics(votes, correct, self.num_samples).items():
                found.setdefault(metric, []).append(value)
            given = [value for value in values if value is not None]
            for k in sample_counts(self.num_samples):
                if len(given) == len(known) >= k:
                    found.setdefault(f"best@{k}", []).append(best_of_k(given, correct, k))
        return {name: fmean(of_one) for name, of_one in found.items()}

    def _vote(self, place: int, verdicts: Sequence[Verdict]) -> Vote:
        """Right answers all equal the gold, whoever found them right."""
        if verdicts[place]:
            return True
        vote = self.votes[place]
        return f" not {self.samples[place].gold}" if vote is True else vote  # no spelling begins with a blank

    @property
    def own_verdicts(self) -> list[Verdict]:
        return [score.correct for score in self.scores]

    @property
    def log_verdicts(self) -> list[Verdict]:
        return [sample.verdict for sample in self.samples]

    def to_dict(self) -> dict[str, Any]:
        """One line for scripts. False positives are what we call right and the log wrong."""
        both = [
            (sample.verdict, score.correct)
            for sample, score in zip(self.samples, self.scores, strict=True)
            if None not in (sample.verdict, score.correct)
        ]
        ours = self.metrics(self.own_verdicts)
        record: dict[str, Any] = {
            "n": len(self.samples),
            "problems": len(self._places),
            "compared": len(both),
            "agreement": fmean(log == own for log, own in both) if both else None,
            "false_positives": sum(bool(own) and not log for log, own in both),
            "false_negatives": sum(bool(log) and not own for log, own in both),
            "unscored": self.unscored,
            "accuracy": ours.get("accuracy"),
            "first": ours.get("first"),
        }
        for kind in ("pass@k", "maj@k", "cons@k", "best@k"):
            start = kind[:-1]
            record[kind] = {name.removeprefix(start): ours[name] for name in ours if name.startswith(start)}
        return {**record, "ms_per_grade": round(1_000 * self.seconds / max(1, len(self.samples)), 3)}


def regrade(scorer: Scorer, samples: Sequence[LoggedSample], progress: Progress | None = None) -> Regraded:
    """Judges every sample of a log.

    Raises:
        GoldError: as `judge`.
        InputError: as `judge`.
    """
    began = time.perf_counter()
    scores = judge(scorer, samples, progress)
    seconds = time.perf_counter() - began
    votes = votes_in_order(scorer, [one.problem for one in samples], [one.question for one in samples], scores)
    return Regraded(samples=samples, scores=scores, votes=votes, seconds=seconds)


def judge(scorer: Scorer, samples: Sequence[LoggedSample], progress: Progress | None = None) -> list[Score]:
    """The scorer's verdicts on a log's samples.

    Raises:
        GoldError: if a gold cannot be read, naming the sample's place in the log.
        InputError: if the scorer rates instead of deciding.
    """
    scores: list[Score] = []
    for start in range(0, len(samples), SAMPLES_PER_CHUNK):
        try:
            scores += scorer.score([sample_of(one) for one in samples[start : start + SAMPLES_PER_CHUNK]])
        except GoldError as error:
            raise GoldError(f"{error}; correct it in the log or take it out") from error
        if any(score.outcome is Outcome.RATED for score in scores[start:]):
            raise InputError(f"the scorer {scorer.name} rates instead of deciding; take one that decides: math")
        if progress:
            progress(len(scores))
    return scores


def sample_of(one: LoggedSample) -> Sample:
    """What a scorer is asked about a log's sample."""
    return Sample(prompt=one.question, completion=one.completion, gold=one.gold, id=one.where, group=one.problem)


def _by_problem(samples: Sequence[LoggedSample]) -> dict[str, list[int]]:
    """Problem -> places of its samples."""
    places: dict[str, list[int]] = {}
    for place, sample in enumerate(samples):
        places.setdefault(sample.problem, []).append(place)
    return places
