"""What several commands need: scorers by name, golds read beforehand, prompt formats."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from rich.console import Console

from markscheme.benchmarks.tasks.generated import SOURCE
from markscheme.files import InputError
from markscheme.problems import Problem
from markscheme.prompting import BOXED_INSTRUCTION, PromptFormat
from markscheme.scoring import Sample, Scorer
from markscheme.verifiers import MathVerifier
from markscheme.verifiers.math_verifier import Profile

console = Console(highlight=False)

VERIFIERS: tuple[Profile, ...] = get_args(Profile)


def say(text: str) -> None:
    """Prints a line as it is: whole, whatever the width of the terminal, and without reading it as markup."""
    console.print(text, soft_wrap=True, markup=False)


def scorer_by_name(name: str, lenient: bool = False) -> Scorer:
    """A verifier by its profile, or a reward model by its folder.

    Raises:
        InputError: if it is neither.
    """
    if name in VERIFIERS:
        return verifier_by_name(name, lenient)
    if Path(name).is_dir():
        from markscheme.reward_models import RewardModel

        return RewardModel(Path(name))
    raise InputError(f"no scorer {name!r}; there are {', '.join(VERIFIERS)}, and the folders of reward models")


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


def room_of(policy: Any) -> int | None:
    """The positions that a model has, for a prompt and its completion together."""
    room: int | None = getattr(policy.config.get_text_config(), "max_position_embeddings", None)
    return room


def check_room(
    room: int | None, tokenizer: Any, form: PromptFormat, problems: Sequence[Problem], max_tokens: int
) -> None:
    """Finds out whether every problem leaves room for its completion, before anything is generated.

    Raises:
        InputError: naming the longest that does not.
    """
    if room is None:
        return
    length, id_ = max((len(form.prompt_ids(problem.question, tokenizer)), problem.id) for problem in problems)
    if length + max_tokens > room:
        way_out = f"give --max-completion-tokens {room - length} or less" if length < room else "leave it out"
        raise InputError(
            f"max_completion_tokens {max_tokens} after the {length} tokens of problem {id_} is more than "
            f"the model's {room} positions: {way_out}"
        )


def prompt_format(task: str, instruction: str | None) -> PromptFormat:
    """Generated problems are asked as they are, everything else asks for a boxed answer, unless told otherwise."""
    if instruction is None:
        instruction = "" if task == SOURCE else BOXED_INSTRUCTION
    return PromptFormat(instruction=instruction)
