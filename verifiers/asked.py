"""What an answer says that the question cannot mean: kilometres where metres are asked for, base 16 where ten is.

A gold without a unit equals the same number with any: only the prompt tells which one is meant.
"""

import re
from functools import lru_cache

from markscheme.verifiers.patterns import compiled_later
from markscheme.verifiers.reading import read
from markscheme.verifiers.relations import named_value
from markscheme.verifiers.tree import Quantity
from markscheme.verifiers.units import TEXT_ONLY, measure_of, unit_name

_WORD = compiled_later(r"([0-9]\s?)?([a-zA-Z]+|[$€£¥])")
_AMBIGUOUS = TEXT_ONLY | {"second", "yard", "foot", "pound"}
"""Words that are no units as often as they are, unless a number stands in front."""
_ASKS_FOR_TEN = compiled_later(r"\b(?:to|in|as a|its) (?:decimal|denary|base[- ](?:10|ten))\b", re.IGNORECASE)


def is_another_unit(answer: str, gold: str, prompt: str) -> bool:
    """Whether the answer has a unit or a base, the gold has none, and the prompt asks for another."""
    unit = _unit_alone(answer, gold)
    if unit.startswith("base "):
        return unit.split()[1] != "10" and _ASKS_FOR_TEN.search(prompt) is not None
    size = measure_of(unit) if unit else None
    if size is None:
        return False
    asked = {found for found in map(measure_of, _units_in(prompt)) if found and found[0] == size[0]}
    return bool(asked) and size not in asked


@lru_cache(maxsize=8_192)
def _unit_alone(answer: str, gold: str) -> str:
    """The unit of the answer, of cm^2 the centimetre, where the gold has none; else ""."""
    a, g = (named_value(node)[1] if node is not None else None for node in (read(answer).node, read(gold).node))
    if not isinstance(a, Quantity) or isinstance(g, Quantity) or a.unit in ("percent", "...") or "/" in a.unit:
        return ""
    return a.unit if a.unit.startswith("base ") else a.unit.partition("^")[0]


@lru_cache(maxsize=256)
def _units_in(prompt: str) -> frozenset[str]:
    found = {unit_name(word) for number, word in _WORD.findall(prompt) if number or word.lower() not in _AMBIGUOUS}
    return frozenset(unit for unit in found if unit)
