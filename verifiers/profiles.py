"""The rules for each kind of task: what golds look like, and what counts as equal there."""

from dataclasses import dataclass
from typing import Literal

from markscheme.verifiers.conventions import Conventions

Profile = Literal["math", "gsm8k", "cmath", "generic"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """One row of the table of profiles."""

    numeric: bool
    """Whether every gold is a number: then an answer is its one numeral, whatever the words around it."""
    any_case: bool
    """Whether a single letter is a choice or a word, whose case does not count, and never a variable."""
    conventions: Conventions


PROFILES: dict[Profile, Rules] = {
    "math": Rules(numeric=False, any_case=False, conventions=Conventions()),
    "gsm8k": Rules(numeric=True, any_case=False, conventions=Conventions(units="ignored", rounding=False)),
    "cmath": Rules(numeric=True, any_case=False, conventions=Conventions(units="ignored")),
    "generic": Rules(numeric=False, any_case=True, conventions=Conventions()),
}
