"""What several commands need: scorers by name, prompt formats, a run folder's place."""

from pathlib import Path

from rich.console import Console

from markscheme.benchmarks.tasks.generated import SOURCE
from markscheme.files import InputError
from markscheme.prompting import BOXED_INSTRUCTION, PromptFormat
from markscheme.scoring import Scorer
from markscheme.verifiers import MathVerifier

console = Console(highlight=False)

VERIFIERS = ("math", "gsm8k", "cmath")


def scorer_by_name(name: str, lenient: bool = False) -> Scorer:
    """A verifier by its profile, or a reward model by its folder.

    Raises:
        InputError: if it is neither.
    """
    if name == "math":
        return MathVerifier(profile="math", lenient=lenient)
    if name == "gsm8k":
        return MathVerifier(profile="gsm8k", lenient=lenient)
    if name == "cmath":
        return MathVerifier(profile="cmath", lenient=lenient)
    if Path(name).is_dir():
        from markscheme.reward_models import RewardModel

        return RewardModel(Path(name))
    raise InputError(f"no scorer {name!r}; there are {', '.join(VERIFIERS)}, and the folders of reward models")


def prompt_format(task: str, instruction: str | None) -> PromptFormat:
    """Generated problems are asked as they are, everything else asks for a boxed answer, unless told otherwise."""
    if instruction is None:
        instruction = "" if task == SOURCE else BOXED_INSTRUCTION
    return PromptFormat(instruction=instruction)
