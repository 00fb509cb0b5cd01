"""The settings of a GRPO run."""

from dataclasses import dataclass, field

from markscheme.generation import Sampling
from markscheme.grpo.advantage import Estimator
from markscheme.grpo.objective import Objective
from markscheme.optimizer import OptimizerConfig, check_settings


@dataclass(frozen=True, slots=True, kw_only=True)
class GRPOConfig(OptimizerConfig):
    """Settings of a GRPO run."""

    steps: int = 100
    """Batches of rollouts."""
    prompts_per_step: int = 32
    """Problems in a batch, P."""
    group_size: int = 8
    """Rollouts of a problem, G."""
    updates_per_batch: int = 1
    """Passes over one batch of rollouts (mu in Algorithm 1)."""
    mini_batches: int = 1
    """Optimizer steps in a pass, each on its share of the problems."""
    learning_rate: float = 1e-6
    """Of AdamW, at its peak."""
    betas: tuple[float, float] = (0.9, 0.95)
    """Of AdamW: memory of the gradient's mean and of its square."""
    decay_share: float = 1.0
    """The learning rate falls linearly to 0 over this last share of the steps."""
    estimator: Estimator = "grpo"
    """How the rollouts of a problem are compared: see `advantage.outcome_advantages`."""
    objective: Objective = field(default_factory=Objective)
    """What is maximised."""
    temperature: float = 1.0
    """Of the rollouts, and of the log-probabilities that are trained."""
    max_completion_tokens: int = 512
    """A longer completion is cut off, and scored as it is."""
    drop_truncated: bool = False
    """Whether completions that were cut off are in no loss (overlong filtering, DAPO); their rewards count in the
    group's comparison."""
    stop: tuple[str, ...] = ()
    """A completion ends before the first of these strings."""
    dev_every: int = 10
    """Steps between greedy evaluations on the dev problems, where there are any."""
    checkpoint_every: int = 10
    """Steps between checkpoints."""
    logged_groups: int = 1
    """Groups of a step whose completions are kept in completions.jsonl."""

    def __post_init__(self) -> None:
        OptimizerConfig.__post_init__(self)  # super() does not know a class with slots
        if self.group_size < 2:
            raise ValueError(f"group_size must be at least 2 to compare rollouts, got {self.group_size}")
        if self.temperature <= 0:
            raise ValueError(f"temperature must be above 0 to draw different rollouts, got {self.temperature}")
        check_settings(
            self,
            positive=("steps", "prompts_per_step", "updates_per_batch", "mini_batches", "dev_every"),
            not_negative=("logged_groups",),
        )
        if self.mini_batches > self.prompts_per_step:
            raise ValueError(f"mini_batches must not be above prompts_per_step, got {self.mini_batches}")
        self.sampling()  # checks the rest

    def sampling(self) -> Sampling:
        """How rollouts are drawn."""
        return Sampling(temperature=self.temperature, max_completion_tokens=self.max_completion_tokens, stop=self.stop)
