"""Solutions step by step, and what is known of each step: what process reward models learn from and are measured on."""

from dataclasses import dataclass

from markscheme.reward_models.preferences import Prompt, group_of


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledSteps:
    """A solution in steps, or its beginning, with a label for each step."""

    prompt: Prompt
    steps: tuple[str, ...]
    labels: tuple[float | None, ...]
    """1 for a good step, 0 for a wrong one, between for a share of votes or of rollouts; None where it is not known."""
    id: str

    def __post_init__(self) -> None:
        if not self.steps or len(self.steps) != len(self.labels):
            raise ValueError(
                f"solution {self.id}: {len(self.steps)} steps and {len(self.labels)} labels: give one each"
            )
        for label in self.labels:
            if label is not None and not 0 <= label <= 1:
                raise ValueError(f"{self.id}: a label must be 0 to 1 or none, got {label}")

    @property
    def group(self) -> str:
        """Names the question."""
        return group_of(self.prompt)

    @property
    def first_error(self) -> int | None:
        """Index of the first step labelled below one half; None if there is none."""
        return next((k for k, label in enumerate(self.labels) if label is not None and label < 0.5), None)
