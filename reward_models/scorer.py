"""A trained reward model behind the scoring interface."""

import hashlib
import math
import threading
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from markscheme.files import InputError, StrPath
from markscheme.reward_models.model import RewardNetwork, kind_of
from markscheme.scoring import Outcome, Sample, Score


class RewardModel:
    """Rates completions: how many standard deviations a reward lies above the mean of held-out completions.

    Evidence: tokens, the reward before it is standardised, and `in_range`: whether the value is within the 99 % that
    were usual among held-out completions.

    The weights are read at the first `score`, onto a GPU where there is one. A pickle holds the folder's path only.
    A sample's score does not depend on its neighbours but for rounding, some 1e-6.
    """

    name = "reward_model"

    def __init__(self, folder: StrPath, token_budget: int = 8_192) -> None:
        """`token_budget` tokens at most are read at a time.

        Raises:
            InputError: if the folder holds no reward model, or one that values steps.
        """
        folder = Path(folder)
        if kind_of(folder) != "outcome":
            raise InputError(f"{folder}: a process model, which values steps: take ProcessRewardModel")
        self.folder = folder
        self.token_budget = token_budget
        self._lock = threading.Lock()  # a tokenizer cannot be used by two threads at a time

    def __reduce__(self) -> tuple[Any, ...]:
        return RewardModel, (self.folder, self.token_budget)

    @cached_property
    def version(self) -> str:
        """A hash of the folder's files: weights, tokenizer, and what rewards are measured by."""
        return hash_of_files(self.folder)

    def score(self, samples: Sequence[Sample]) -> list[Score]:
        """One RATED score a sample; UNDECIDED if it is longer than the model can read. It is cut only for a model that
        was trained on cut completions.

        Raises:
            InputError: if a prompt is messages and the model has no chat template.
        """
        with self._lock:
            network = self._network
            sequences = [network.encode(sample.prompt, sample.completion) for sample in samples]
            fitting = [index for index, sequence in enumerate(sequences) if network.fits(sequence)]
            rewards = network.rewards([sequences[index] for index in fitting], self.token_budget)
        reward_of = dict(zip(fitting, rewards, strict=True))
        return [_score(network, len(sequence), reward_of.get(index)) for index, sequence in enumerate(sequences)]

    @cached_property
    def _network(self) -> RewardNetwork:
        return RewardNetwork.load(self.folder).to("cuda" if torch.cuda.is_available() else "cpu")


def hash_of_files(folder: Path) -> str:
    """Names what is in a folder by its content."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(path.relative_to(folder).as_posix().encode())
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:16]


def _score(network: RewardNetwork, num_tokens: int, reward: float | None) -> Score:
    evidence: dict[str, Any] = {"tokens": num_tokens}
    if reward is None:
        evidence |= {"reason": "longer than the reward model can read", "max_tokens": network.max_tokens}
        return Score(value=None, outcome=Outcome.UNDECIDED, evidence=evidence)
    if not math.isfinite(reward):
        evidence |= {"error": f"the reward is {reward}"}
        return Score(value=None, outcome=Outcome.FAILED, evidence=evidence)
    value = network.standardise(reward)
    evidence |= {"reward": reward, "in_range": network.in_range(value)}
    return Score(value=value, outcome=Outcome.RATED, evidence=evidence)
