"""Completions of the initial policy with verdicts, drawn once and kept in the run folder: what RFT and DPO learn from.

Shapes: P problems, G completions of each.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from markscheme.files import InputError, drop_torn_line, write_json
from markscheme.generation import FinishReason, Generator, Sampling
from markscheme.grpo.baselines.sft import SFTConfig
from markscheme.grpo.rollout import UNSCORED_LIMIT, PromptIds, Rollout, rollout_seeds, sample_groups, stop_if_unscored
from markscheme.optimizer import check_settings
from markscheme.packing.sequences import TokenSequence
from markscheme.problems import Problem
from markscheme.run_log import RunLog
from markscheme.scoring import Score, Scorer

ROLLOUTS = "rollouts.jsonl"
"""One line a problem: its prompt and completions as token ids, with their texts and scores."""
PROBLEMS_AT_A_TIME = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class SampledConfig(SFTConfig):
    """Settings of training on completions of the initial policy."""

    num_samples: int = 8
    """Completions of a problem, G."""
    temperature: float = 1.0
    """Of the completions."""
    max_completion_tokens: int = 512
    """A longer completion is cut off, and then neither kept by RFT nor chosen by DPO."""
    threshold: float | None = None
    """Of a scorer that rates and gives no verdict: a completion rated above this counts as correct."""
    score_deadline_s: float = 60.0
    """Seconds after the last completion of a batch within which every score must be there."""

    def __post_init__(self) -> None:
        SFTConfig.__post_init__(self)  # super() does not know a class with slots
        check_settings(self, positive=("num_samples", "temperature"))
        if not 0 < self.score_deadline_s <= threading.TIMEOUT_MAX:
            raise ValueError(f"score_deadline_s must be above 0 and finite, got {self.score_deadline_s}")
        self.sampling()  # checks the rest

    def sampling(self) -> Sampling:
        """How completions are drawn."""
        return Sampling(temperature=self.temperature, max_completion_tokens=self.max_completion_tokens)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A completion as it was drawn, end token included, and whether it is correct."""

    sequence: TokenSequence
    correct: bool | None
    """None where it has no score."""
    is_cut_off: bool

    @property
    def is_example(self) -> bool:
        """Whether it is one to learn from: correct, and ended by the policy itself."""
        return self.correct is True and not self.is_cut_off


def judged_groups(
    generator: Generator,
    scorer: Scorer,
    problems: Sequence[Problem],
    prompt_ids: PromptIds,
    config: SampledConfig,
    log: RunLog,
    on_drawn: Callable[[int], None] = lambda done: None,
) -> list[list[Judged]]:
    """G judged completions of each problem: those in the run folder's rollouts.jsonl, and the rest drawn and added.

    `generator` must hold the initial policy; `on_drawn` is told (problems done). samples.json then counts them.

    Raises:
        GoldError: if a gold cannot be read.
        InputError: if the scorer gives no verdicts and there is no threshold.
        UnscoredError: if more than a fifth of the completions of a batch of problems could not be scored.
    """
    drop_torn_line(log.folder / ROLLOUTS)
    there, sampling = len(log.read(ROLLOUTS)), config.sampling()
    for first in range(0, len(problems), PROBLEMS_AT_A_TIME):
        batch = problems[first : first + PROBLEMS_AT_A_TIME]
        if there < first + len(batch):  # whole batches, since a completion depends, by rounding, on its neighbours
            seeds_PG = rollout_seeds(config.seed, 0, batch, config.num_samples)
            groups_PG = sample_groups(
                generator, scorer, batch, prompt_ids, sampling, seeds_PG, score_deadline_s=config.score_deadline_s
            )
            stop_if_unscored(groups_PG, UNSCORED_LIMIT)
            for group in groups_PG[max(0, there - first) :]:
                log.append(ROLLOUTS, _record(group, config.threshold))
        on_drawn(first + len(batch))
    groups = [_judged(record) for record in log.read(ROLLOUTS)]
    write_json(log.folder / "samples.json", counts_of(groups))
    return groups


def counts_of(groups_PG: Sequence[Sequence[Judged]]) -> dict[str, int]:
    """How many completions there are, and of which kind."""
    every = [one for group in groups_PG for one in group]
    return {
        "completions": len(every),
        "correct": sum(one.correct is True for one in every),
        "unscored": sum(one.correct is None for one in every),
        "cut_off": sum(one.is_cut_off for one in every),
    }


def is_correct(score: Score, threshold: float | None) -> bool | None:
    """The verdict of a score, or else whether its value is above the threshold; None where there is no value.

    Raises:
        InputError: if there is neither verdict nor threshold.
    """
    if score.value is None or score.correct is not None:
        return score.correct
    if threshold is None:
        raise InputError("the scorer rates and gives no verdicts: give the --threshold above which a rating is correct")
    return score.value > threshold


def _record(group: Sequence[Rollout], threshold: float | None) -> dict[str, Any]:
    completions = [
        {
            **{"ids": one.completion.ids, "text": one.completion.text, "score": one.score.to_dict()},
            **{"finish_reason": one.completion.finish_reason.value, "correct": is_correct(one.score, threshold)},
        }
        for one in group
    ]
    return {"step": 0, "problem": group[0].problem.id, "prompt_ids": group[0].prompt_ids, "completions": completions}


def _judged(record: dict[str, Any]) -> list[Judged]:
    return [
        Judged(
            sequence=TokenSequence(prompt_ids=tuple(record["prompt_ids"]), completion_ids=tuple(one["ids"])),
            correct=one["correct"],
            is_cut_off=one["finish_reason"] == FinishReason.LENGTH.value,
        )
        for one in record["completions"]
    ]
