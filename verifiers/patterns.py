"""Patterns that are compiled when they are first used: to compile them all takes longer than to import the room."""

import re
from typing import Any, cast


def compiled_later(text: str, flags: int = 0) -> re.Pattern[str]:
    """What `re.compile` gives, later; an error in the text shows only then."""
    return cast("re.Pattern[str]", _Pattern(text, flags))


class _Pattern:
    def __init__(self, text: str, flags: int) -> None:
        self._given = (text, flags)

    def __getattr__(self, name: str) -> Any:
        """Is called for each method once, and keeps it."""
        value = getattr(re.compile(*self._given), name)
        setattr(self, name, value)
        return value
