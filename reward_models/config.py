"""Settings of reward model training."""

from dataclasses import dataclass
from typing import Literal

from markscheme.optimizer import OptimizerConfig, check_settings

Loss = Literal["bradley-terry", "plackett-luce", "pointwise", "token-level"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardModelConfig(OptimizerConfig):
    """Settings of reward model training."""

    loss: Loss = "bradley-terry"
    """bradley-terry: pairs; plackett-luce: whole rankings; pointwise: whether each completion is right, by itself;
    token-level: the same at every token of it (decoders only)."""
    label_smoothing: float = 0.0
    """Probability that a pair is the wrong way round, for bradley-terry."""
    centring: float = 0.0
    """Weight of (r_chosen + r_rejected)^2 beside bradley-terry, which leaves the sum open; 0.01 is usual."""
    learning_rate: float = 1e-5
    """Of AdamW, at its peak."""
    warmup_steps: int = 20
    """Steps in which the learning rate rises to its peak."""
    batch_size: int = 32
    """Questions in an optimizer step, each with all of its completions and pairs. For a process model: beginnings of
    solutions, each with the labelled steps that go on from it (for an encoder: steps)."""
    epochs: float = 1.0
    """Passes over the training questions. Reward models overfit beyond one (Ouyang et al. 2022, appendix C.2)."""
    token_budget: int = 2_048
    """Tokens in a micro-batch; a larger question is alone. It changes memory and speed, never the gradient."""
    held_out_share: float = 0.1
    """Share of the questions that is kept out of training, to measure accuracy, centre and spread."""
    log_every: int = 10
    """Steps between lines of metrics."""

    def __post_init__(self) -> None:
        OptimizerConfig.__post_init__(self)  # super() does not know a class with slots
        check_settings(self, positive=("batch_size", "epochs", "log_every"))
        if not 0 < self.held_out_share < 1:
            raise ValueError(f"held_out_share must be above 0 and below 1, got {self.held_out_share}")
        if not 0 <= self.label_smoothing < 0.5:
            raise ValueError(f"label_smoothing must be at least 0 and below 0.5, got {self.label_smoothing}")
        if self.centring < 0:
            raise ValueError(f"centring must be at least 0, got {self.centring}")
        if self.loss != "bradley-terry" and (self.label_smoothing or self.centring):
            raise ValueError(f"label_smoothing and centring belong to bradley-terry: leave them out with {self.loss}")

    def num_steps(self, num_examples: int) -> int:
        """Optimizer steps in the run."""
        return max(1, int(num_examples * self.epochs / self.batch_size))
