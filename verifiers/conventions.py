"""What counts as equal where reasonable people differ. The room's README shows each in a table."""

from dataclasses import dataclass, fields
from typing import Literal, get_args, get_type_hints


@dataclass(frozen=True, slots=True, kw_only=True)
class Conventions:
    """Switches of the comparison; the defaults are those of the README's table."""

    percent: Literal["either", "value"] = "either"
    """50% equals 0.5; with "either", a bare 50 too."""
    units: Literal["compared", "ignored", "required"] = "compared"
    """Two units must agree after conversion; or do not count; or must be there if the gold has one."""
    bases: Literal["optional", "required"] = "optional"
    """Whether an answer may leave off the base that the gold names."""
    rounding: bool = True
    """Whether a decimal gold stands for the values that round to it."""
    ordered_lists: bool = False
    """Whether the order counts in a list without brackets."""
    lowest_terms: bool = False
    """Whether 2/4 and 6:8 are refused."""
    evaluated: bool = True
    """Whether a sum or product left to be worked out, and a formula of the prompt, are refused where the gold is a
    number."""

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self))
        for field in fields(self):
            allowed = get_args(hints[field.name]) or (True, False)
            if getattr(self, field.name) not in allowed:
                raise ValueError(
                    f"{field.name} must be one of {', '.join(map(repr, allowed))}, got {getattr(self, field.name)!r}"
                )
