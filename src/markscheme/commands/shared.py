"""What several commands need: the console, scorers by name, golds read beforehand."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import get_args

from rich.console import Console

from markscheme.files import InputError
from markscheme.problems import Problem
from markscheme.progress import progress_bar
from markscheme.scoring import Sample, Scorer
from markscheme.verifiers import ChoiceVerifier, MathVerifier, StepVerifier
from markscheme.verifiers.profiles import Profile

console = Console(highlight=False, quiet=os.environ.get("RANK", "0") != "0")  # of several processes one speaks

VERIFIERS: tuple[Profile, ...] = get_args(Profile)
RULES = (*VERIFIERS, "choice", "steps")
"""Scorers that need no model; the last two are no verifiers of answers to a task."""


def say(text: str) -> None:
    """Prints a line as it is: whole, whatever the width of the terminal, and without reading it as markup."""
    console.print(text, soft_wrap=True, markup=False)


def say_resumed(run: Path, steps: int, *, checkpoints_a_step: int = 1) -> None:
    """Says after which of the `steps` a run goes on that was killed."""
    from markscheme.checkpoint import CHECKPOINTS, newest_step  # which imports torch

    done = newest_step(run / CHECKPOINTS) // checkpoints_a_step
    if 0 < done < steps:
        say(f"goes on after step {done:,} of {steps:,}, the last with a checkpoint")


@contextmanager
def shown_steps(run: Path, steps: int) -> Iterator[Callable[[int, float], None]]:
    """A progress bar of optimizer steps, which says where a run goes on; yields what to tell (steps done, loss)."""
    say_resumed(run, steps)
    with progress_bar(console, "steps", steps) as bar:
        yield lambda done, loss: bar.update(done, f"loss {loss:.3f}")


def scorer_by_name(name: str, lenient: bool = False) -> Scorer:
    """A verifier by its profile, "choice", "steps", or a reward model by its folder.

    Raises:
        InputError: if it is none of them, or `lenient` does not apply to it.
    """
    if name in VERIFIERS:
        return verifier_by_name(name, lenient)
    if name == "choice":
        return ChoiceVerifier(lenient=lenient)
    if lenient and (name in RULES or Path(name).is_dir()):
        raise InputError(f"the scorer {name} takes no answer from a completion: leave out --lenient")
    if name == "steps":
        return StepVerifier()
    if Path(name).is_dir():
        from markscheme.reward_models import ProcessRewardModel, RewardModel
        from markscheme.reward_models.model import kind_of

        return ProcessRewardModel(Path(name)) if kind_of(Path(name)) == "process" else RewardModel(Path(name))
    raise InputError(f"no scorer {name!r}; there are {', '.join(RULES)}, and the folders of reward models")


def verifier_by_name(name: str, lenient: bool = False) -> MathVerifier:
    """A verifier by its profile.

    Raises:
        InputError: if there is none of that name.
    """
    if name not in VERIFIERS:
        raise InputError(f"no verifier {name!r}; there are {', '.join(VERIFIERS)}")
    return MathVerifier(profile=name, lenient=lenient)


def check_golds(scorer: Scorer, problems: Sequence[Problem]) -> None:
    """Has a verifier read every gold, so that a bad one shows before anything is generated.

    Raises:
        GoldError: naming the problem.
    """
    if isinstance(scorer, MathVerifier):
        scorer.score([Sample(prompt="", completion="", gold=problem.gold, id=problem.id) for problem in problems])
