"""The preference pairs of one iteration of iterative GRPO: of its own completions, and replayed ones of before."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markscheme.files import InputError, read_jsonl, whole_folder, write_json
from markscheme.generation import seed_of
from markscheme.reward_models.formats import load_pairs
from markscheme.reward_models.preferences import PreferencePair
from markscheme.scoring import Sample, Scorer
from markscheme.verdict_pairs import Labelled, verdict_of, write_pairs

KINDS = ("fresh", "replayed", "held_out")


@dataclass(frozen=True, slots=True, kw_only=True)
class IterationPairs:
    """What a reward model is trained on and measured on after an iteration."""

    fresh: Sequence[PreferencePair]
    """Of the iteration's completions, to train on."""
    replayed: Sequence[PreferencePair]
    """Of the time before, to train on."""
    held_out: Sequence[PreferencePair]
    """Of the iteration's completions, of questions that are never trained on."""
    counts: Mapping[str, int]
    """What they were made of."""

    def save(self, folder: Path) -> None:
        """Writes a folder, whole or not at all."""
        with whole_folder(folder) as partial:
            for kind in KINDS:
                write_pairs(partial / f"{kind}.jsonl", getattr(self, kind))
            write_json(partial / "counts.json", self.counts)

    @classmethod
    def load(cls, folder: Path) -> "IterationPairs":
        """The inverse of `save`."""
        pairs = {kind: _pairs_in(folder / f"{kind}.jsonl") for kind in KINDS}
        return cls(**pairs, counts=json.loads((folder / "counts.json").read_text(encoding="utf-8")))


def _pairs_in(path: Path) -> list[PreferencePair]:
    return load_pairs(path) if path.stat().st_size else []  # an iteration may have none of a kind


def completions_of(path: Path, first_step: int, last_step: int) -> list[dict[str, Any]]:
    """The lines of a GRPO run's completions.jsonl that belong to these steps.

    Raises:
        InputError: if the file is missing, or holds nothing of one of the steps.
    """
    rows = [row for _, row in read_jsonl(path) if first_step <= row["step"] <= last_step]
    missing = set(range(first_step, last_step + 1)) - {row["step"] for row in rows}
    if missing:
        raise InputError(
            f"{path}: no completion of step {min(missing)}, and a reward model is to be trained on those of steps "
            f"{first_step} to {last_step}: call it when they are done, and have every rollout written"
        )
    return rows


def label(rows: Sequence[Mapping[str, Any]], labeller: Scorer) -> list[Labelled]:
    """The completions with the labeller's verdicts.

    Raises:
        GoldError: if a gold cannot be read.
        InputError: if the labeller gives no verdicts.
    """
    samples = [
        Sample(
            prompt=row["question"],
            completion=row["completion"],
            gold=row["gold"],
            id=row["problem"],
            group=row["problem"],
            meta={"finish_reason": row["finish_reason"]},
        )
        for row in rows
    ]
    return [
        Labelled(
            problem=row["problem"],
            question=row["question"],
            completion=row["completion"],
            correct=verdict_of(score, labeller),
        )
        for row, score in zip(rows, labeller.score(samples), strict=True)
    ]


def draw_replayed(
    history: Sequence[PreferencePair], num_fresh: int, replay_share: float, seed: int, iteration: int
) -> list[PreferencePair]:
    """Different pairs of `history`, so many that they are `replay_share` of what is trained on, or all there are.

    With 90 fresh pairs and a share of 0.1 they are 10, since 10 / (90 + 10) = 0.1.
    """
    wanted = round(num_fresh * replay_share / (1 - replay_share))
    return sorted(history, key=lambda pair: seed_of("replay", seed, iteration, pair.id))[:wanted]
