"""Solutions step by step, and what is known of each step: what process reward models learn from and are measured on."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from markscheme.reward_models.preferences import Prompt, group_of

Beginning = tuple[str, tuple[str, ...]]


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
    def labelled(self) -> tuple[int, ...]:
        """Indices of the steps that have a label."""
        return tuple(k for k, label in enumerate(self.labels) if label is not None)

    def beginnings(self) -> list[Beginning]:
        """For each step, what is read when it is valued: the question, and the steps up to this one."""
        group = self.group
        return [(group, self.steps[: k + 1]) for k in range(len(self.steps))]

    @property
    def first_error(self) -> int | None:
        """Index of the first step labelled below one half; None if there is none."""
        return next((k for k, label in enumerate(self.labels) if label is not None and label < 0.5), None)


def whole_solutions(solutions: Sequence[LabelledSteps]) -> list[LabelledSteps]:
    """The solutions of which each step has a label, as far as the first wrong one.

    A step without a label takes the one that it has behind the same steps in another row: in PRM800K each step is
    labelled in a row of its own. A row that another one goes on from is left out.

    >>> rows = [(("a",), (1.0,)), (("a", "b"), (None, 0.0)), (("c", "d"), (None, 1.0))]
    >>> known = [LabelledSteps(prompt="?", steps=steps, labels=labels, id="x") for steps, labels in rows]
    >>> [(one.steps, one.labels) for one in whole_solutions(known)]
    [(('a', 'b'), (1.0, 0.0))]
    """
    label_of: dict[Beginning, float | None] = {}
    for one in solutions:
        label_of |= {
            beginning: label for beginning, label in zip(one.beginnings(), one.labels, strict=True) if label is not None
        }
    whole: dict[Beginning, LabelledSteps] = {}
    goes_on: set[Beginning] = set()
    for one in solutions:
        beginnings = one.beginnings()
        labels = [
            label_of.get(beginning) if label is None else label
            for beginning, label in zip(beginnings, one.labels, strict=True)
        ]
        known = replace(one, labels=tuple(labels))
        error = known.first_error
        if None not in labels[: None if error is None else error + 1]:
            whole[beginnings[-1]] = known
            goes_on.update(beginnings[:-1])
    return [one for beginning, one in whole.items() if beginning not in goes_on]
