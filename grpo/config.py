"""The settings of a GRPO run."""

import threading
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from markscheme.generation import Sampling
from markscheme.grpo.advantage import ALONE, NOT_BY_PARTS, Estimator
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
    refill_rounds: int = 0
    """Further batches that may be drawn in a step to replace groups whose rewards are all equal (dynamic sampling,
    DAPO); the rewards that are logged are those of the first."""
    learning_rate: float = 1e-6
    """Of AdamW, at its peak."""
    betas: tuple[float, float] = (0.9, 0.95)
    """Of AdamW: memory of the gradient's mean and of its square."""
    decay_share: float = 1.0
    """The learning rate falls linearly to 0 over this last share of the steps."""
    iteration_steps: int = 0
    """Steps of an iteration, at whose beginning the reference becomes the policy as it is, and the reward may be
    renewed (Algorithm 1 of DeepSeekMath); 0 makes the whole run one iteration."""
    supervision: Literal["outcome", "parts", "process"] = "outcome"
    """outcome: a reward for each completion; parts: the parts of a `compose.WeightedSum` are compared one by one, and
    added with their weights then; process: a reward for each step that the scorer values (section 4.1.3 of
    DeepSeekMath), and one for the whole where it values none."""
    estimator: Estimator = "grpo"
    """How the rollouts of a problem are compared, but under process supervision: see `advantage.outcome_advantages`."""
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
    score_deadline_s: float = 60.0
    """Seconds after the last completion within which every score must be there; one that is not there counts as not to
    be had (FAILED), and the step goes on."""
    dev_every: int = 10
    """Steps between greedy evaluations on the dev problems, where there are any."""
    checkpoint_every: int = 10
    """Optimizer steps between checkpoints."""
    logged_groups: int = 1
    """Groups of a step whose completions are kept in completions.jsonl."""

    def __post_init__(self) -> None:
        OptimizerConfig.__post_init__(self)  # super() does not know a class with slots
        if self.group_size < 2 and self.estimator not in ALONE:
            raise ValueError(f"group_size must be at least 2 to compare rollouts, got {self.group_size}")
        if self.temperature <= 0:
            raise ValueError(f"temperature must be above 0 to draw different rollouts, got {self.temperature}")
        check_settings(
            self,
            positive=("steps", "prompts_per_step", "group_size", "updates_per_batch", "mini_batches", "dev_every"),
            not_negative=("iteration_steps", "logged_groups", "refill_rounds"),
        )
        if not 0 < self.score_deadline_s <= threading.TIMEOUT_MAX:
            raise ValueError(f"score_deadline_s must be above 0 and finite, got {self.score_deadline_s}")
        if self.mini_batches > self.prompts_per_step:
            raise ValueError(f"mini_batches must not be above prompts_per_step, got {self.mini_batches}")
        if self.supervision == "process" and self.estimator != "grpo":
            raise ValueError(f"process supervision has its own comparison: leave out estimator {self.estimator!r}")
        if self.supervision == "parts" and self.estimator in NOT_BY_PARTS:
            raise ValueError(f"the estimator {self.estimator!r} takes the whole reward, not its parts")
        self.sampling()  # checks the rest

    @property
    def optimizer_steps(self) -> int:
        """Of a step."""
        return self.updates_per_batch * self.mini_batches

    def iteration(self, step: int) -> int:
        """The iteration to which a step belongs."""
        return step // self.iteration_steps if self.iteration_steps else 0

    def sampling(self) -> Sampling:
        """How rollouts are drawn."""
        return Sampling(temperature=self.temperature, max_completion_tokens=self.max_completion_tokens, stop=self.stop)


PRESETS = {
    "deepseekmath": GRPOConfig(objective=Objective(kl_coef=0.04)),
    "dapo": GRPOConfig(objective=Objective(clip_high=0.28, average="token"), drop_truncated=True, refill_rounds=3),
    "dr-grpo": GRPOConfig(objective=Objective(average="constant"), estimator="no_std"),
    "gspo": GRPOConfig(objective=Objective(sequence_ratio=True, clip_low=3e-4, clip_high=4e-4)),
    "cispo": GRPOConfig(objective=Objective(surrogate="cispo", clip_low=1.0, clip_high=4.0, average="token")),
    "sapo": GRPOConfig(objective=Objective(surrogate="sapo")),
    "rloo": GRPOConfig(estimator="rloo"),
    "reinforce++": GRPOConfig(estimator="reinforce_baseline"),
    "ppo": GRPOConfig(objective=Objective(average="token"), estimator="gae"),
    "online-rft": GRPOConfig(objective=Objective(surrogate="plain"), estimator="raw"),
}
"""Objective and estimator of the papers: arXiv 2402.03300, 2503.14476, 2503.20783, 2507.18071, 2506.13585, 2511.20347,
2402.14740, 2501.03262, and 2402.03300 (section 5.2) once more.
Sizes and learning rates stay the default's; overlong shaping, which is a part of DAPO's reward, is
`verifiers.LengthPenalty`."""


def preset_options(name: str) -> dict[str, Any]:
    """The settings in which a preset differs from the default, as nested options."""
    chosen, default = asdict(PRESETS[name]), asdict(GRPOConfig())
    options = {key: value for key, value in chosen.items() if value != default[key] and key != "objective"}
    objective = {key: value for key, value in chosen["objective"].items() if value != default["objective"][key]}
    return options | ({"objective": objective} if objective else {})
