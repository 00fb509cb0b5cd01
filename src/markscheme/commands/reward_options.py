"""What `markscheme grpo` and `serve` reward beside the verdict: a reward model, and how it counts."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from markscheme.commands.shared import scorer_by_name
from markscheme.compose import Clip, Gate, Shaped, WeightedSum
from markscheme.files import InputError
from markscheme.scoring import Scorer

GATE_LIMIT = 4.0
"""Behind a gate, ratings are held within so many standard deviations, and a wrong answer gets the least: with 0, it
would outrank a right one that is rated below the mean."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardOptions:
    """Whether a reward model counts, and how."""

    reward_model: Path | None = None
    """Folder of a reward model that counts too; --scorer is then the verifier, which alone judges dev problems."""
    reward: Literal["gate", "shaped", "sum", "model"] | None = None
    """How it counts. gate (the default): its rating where the verifier says correct, and less elsewhere; shaped:
    sigmoid(rating / 2) - 1, and 1 more where it says correct (Qwen2.5-Math); sum: the verdict + --reward-weight *
    rating; model: its rating alone."""
    reward_weight: float | None = None
    """Of a rating in the sum, where a verdict has 1; 1 by default."""

    def __post_init__(self) -> None:
        if self.reward_model is None and (self.reward is not None or self.reward_weight is not None):
            raise ValueError("--reward and --reward-weight say how a reward model counts: give --reward-model too")
        if self.reward_weight is not None and self.reward != "sum":
            raise ValueError(f"--reward-weight is of a sum, not of {self.reward or 'gate'}: give --reward sum too")

    def rating(self) -> Scorer | None:
        """The reward model.

        Raises:
            InputError: if there is none in its folder.
        """
        if self.reward_model is None:
            return None
        if not self.reward_model.is_dir():
            raise InputError(f"--reward-model {self.reward_model}: no such folder")
        return scorer_by_name(str(self.reward_model.resolve()))  # whole, so that no folder has a verifier's name

    def combined(self, verifier: Scorer, rating: Scorer) -> Scorer:
        """The reward."""
        match self.reward:
            case "model":
                return rating
            case "shaped":
                return Shaped(verifier, rating)
            case "sum":
                return WeightedSum({"verifier": (verifier, 1.0), "reward_model": (rating, self._weight)})
            case _:
                return Gate(verifier, Clip(rating, -GATE_LIMIT, GATE_LIMIT), otherwise=-GATE_LIMIT)

    @property
    def _weight(self) -> float:
        return 1.0 if self.reward_weight is None else self.reward_weight

    def record(self, verifier: Scorer, rating: Scorer) -> dict[str, Any]:
        """What a run's record says of it."""
        return {
            "how": self.reward or "gate",
            "weight": self._weight if self.reward == "sum" else None,
            "verifier": {"name": verifier.name, "version": verifier.version},
            "reward_model": {"name": rating.name, "version": rating.version},
        }
