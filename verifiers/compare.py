"""Whether an answer equals the gold: a cascade of tiers, of which each says yes, no, or leaves it to the next.

text       the canonical texts are equal, or both are words or choice letters
number     both are exact rational numbers
equation   sides of an equation, each against the gold
items      tuples, intervals, lists, sets and matrices, item by item
symbolic   math-verify and sympy, in worker processes that are killed at the deadline; no verdict on a gold they
           cannot read
limit      no verdict: the answer is too long, or the worker ran out of time or memory
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from markscheme.verifiers.limits import (
    MAX_ANSWER_CHARS,
    MAX_GRAMMAR_NESTING,
    MAX_ITEMS,
    MAX_NESTING,
    MAX_SIDES,
    MAX_UNORDERED_ITEMS,
)
from markscheme.verifiers.normalise import Reading, exact_number, holds_word, read
from markscheme.workers import WorkerPool, WorkerStatus

SYMBOLIC_MEMORY_MB = 2_048
"""Address space of a worker of the symbolic tier. Python with sympy takes 300 of it."""

_CHOICE = re.compile(r"\(?([A-Z])\)?|\(?([A-Z])[).:](?!.*(?:[A-Z]\)|\bor\b|\band\b)).*", re.DOTALL)
_CLOCK = re.compile(r"0?([0-9]{1,2})(?::([0-9]{2}))?\s*([ap])\.?m\.?", re.IGNORECASE)
_NAME = re.compile(
    r"\([a-zA-Z](?:,[a-zA-Z])+\)"  # (x,y)
    r"|\\?[a-zA-Z][a-zA-Z ]*(?:_\{?[a-zA-Z0-9]+\}?)?'?(?:\([a-zA-Z](?:,[a-zA-Z])*\))?"  # x, x_1, f(x), Area
)
_EQUALS = re.compile(r"=|\\in(?![a-zA-Z])")
_MATRIX = re.compile(r"\\begin\{(p?matrix)\}(.*)\\end\{\1\}", re.DOTALL)
_LIST_WORD = re.compile(r",?\s*\b(?:and|or)\b\s*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What a cascade found."""

    equal: bool | None
    """None if a limit was hit, or, before the symbolic tier, if that has to decide."""
    tier: str
    open_pairs: tuple[tuple[str, str], ...] = ()
    """(answer, gold) texts that must all be equal for a yes; empty when decided."""
    message: str = ""
    """Which limit was hit, or how the scorer broke."""
    broken: bool = False
    """Whether the symbolic tier raised an error, which no answer should make it do."""


def compare(pairs: Sequence[tuple[str, str]], *, deadline_s: float) -> list[Comparison]:
    """Compares (answer, gold) pairs; the symbolic tier works on all that are open at once."""
    comparisons = [compare_cheaply(answer, gold) for answer, gold in pairs]
    open_pairs = list(dict.fromkeys(pair for comparison in comparisons for pair in comparison.open_pairs))
    if not open_pairs:
        return comparisons
    results = dict(zip(open_pairs, _compare_symbolically(open_pairs, deadline_s), strict=True))
    return [
        _all_equal([results[pair] for pair in comparison.open_pairs]) if comparison.open_pairs else comparison
        for comparison in comparisons
    ]


def _all_equal(found: Sequence[Comparison]) -> Comparison:
    for comparison in found:
        if comparison.equal is False:
            return comparison
    return next((comparison for comparison in found if comparison.equal is None), found[0])


@lru_cache(maxsize=8)
def _pool(deadline_s: float) -> WorkerPool:
    """One pool for all verifiers of a process."""
    return WorkerPool(
        function="markscheme.verifiers.symbolic:equal", deadline_s=deadline_s, memory_limit_mb=SYMBOLIC_MEMORY_MB
    )


def _compare_symbolically(pairs: Sequence[tuple[str, str]], deadline_s: float) -> list[Comparison]:
    found: list[Comparison] = []
    for result in _pool(deadline_s).run([list(pair) for pair in pairs]):
        if result.status is WorkerStatus.DONE:
            message = "the grammar cannot read the gold" if result.value is None else ""
            found.append(Comparison(equal=result.value, tier="symbolic", message=message))
        elif result.status is WorkerStatus.RAISED:
            found.append(Comparison(equal=None, tier="symbolic", message=result.message, broken=True))
        else:
            found.append(Comparison(equal=None, tier="limit", message=result.message))
    return found


def compare_cheaply(answer: str, gold: str) -> Comparison:
    """All tiers but the symbolic one."""
    if len(answer) > MAX_ANSWER_CHARS:
        return Comparison(equal=None, tier="limit", message=f"the answer has {len(answer)} characters")
    return _compare(answer, gold, MAX_NESTING)


def _compare(answer: str, gold: str, depth: int) -> Comparison:
    a, g = read(answer), read(gold)
    if a.unit and g.unit and a.unit != g.unit:
        return Comparison(equal=False, tier="unit")
    if a.base and g.base and a.base != g.base:
        return Comparison(equal=False, tier="base")
    if a.text == g.text:
        return Comparison(equal=True, tier="text")
    equal = equal_numbers(a, g)
    if equal is not None:
        return Comparison(equal=equal, tier="number")
    equal = _equal_words(a, g)
    if equal is not None:
        return Comparison(equal=equal, tier="text")
    if depth and (sides := _sides(a.text, g.text)):
        return _conjunction([_compare(answer, gold, depth - 1) for answer, gold in sides], "equation")
    if depth and (comparison := _compare_items(a.text, g.text, depth)):
        return comparison
    if not a.text:
        return Comparison(equal=False, tier="text")
    if max(_nesting(a.text), _nesting(g.text)) > MAX_GRAMMAR_NESTING:
        return Comparison(equal=None, tier="limit", message=f"brackets are nested more than {MAX_GRAMMAR_NESTING} deep")
    return Comparison(equal=None, tier="symbolic", open_pairs=((_for_grammar(a), _for_grammar(g)),))


def _nesting(text: str) -> int:
    depth = deepest = 0
    for character in text:
        depth += (character in "([{") - (character in ")]}")
        deepest = max(deepest, depth)
    return deepest


def _for_grammar(reading: Reading) -> str:
    return reading.text + (r"\%" if reading.percent else "")


def equal_numbers(a: Reading, g: Reading) -> bool | None:
    """A percent sign on one side only leaves open what the bare number means: the figure, or its hundredth."""
    if a.number is None or g.number is None:
        return None
    if a.percent == g.percent:
        return a.number == g.number
    figure, bare = (a.number, g.number) if a.percent else (g.number, a.number)
    return bare in (figure, figure / 100)


def _equal_words(a: Reading, g: Reading) -> bool | None:
    """Words are compared as words; a single letter is a choice if the other side writes it as one, such as (B).

    Two clock times are compared as such: 9 a.m. is 9:00 AM, and not 9 p.m.
    """
    clocks = [_CLOCK.fullmatch(reading.text.strip()) for reading in (a, g)]
    if clocks[0] and clocks[1]:
        times = [(clock[1], clock[2] or "00", clock[3].lower()) for clock in clocks if clock]
        return times[0] == times[1]
    choices = [_CHOICE.fullmatch(reading.text.strip()) for reading in (a, g)]
    if choices[0] and choices[1]:
        letters = [choice[1] or choice[2] for choice in choices if choice]
        return letters[0] == letters[1]
    if a.words == g.words and (a.worded or g.worded):
        return True
    if _is_prose(a) or _is_prose(g):
        return a.words == g.words
    return None


def _is_prose(reading: Reading) -> bool:
    return holds_word(reading.text) and not re.search(r"[=<>+^,;\\]|\b(?:and|or)\b", reading.text)


def _sides(answer: str, gold: str) -> list[tuple[str, str]]:
    """`x = 5` against `5`, and against `x = 6`: (answer, gold) pairs that must all be equal. Empty for anything else.

    Of a chain `A = 2 + 3 = 5` the last side counts, and so does each that is a plain number: `17 = 18` is not 18.
    """
    a, g = _EQUALS.split(answer), _EQUALS.split(gold)
    several_equations = "," in answer + gold and len(a) + len(g) > 3
    if several_equations or len(a) > MAX_SIDES or len(g) > MAX_SIDES:
        return []
    a_named, g_named = bool(_NAME.fullmatch(a[0])), bool(_NAME.fullmatch(g[0]))
    if len(a) > 1 and len(g) == 1:
        numbers = [side for side in a[:-1] if exact_number(side) is not None]
        return [(side, gold) for side in (a[-1], *numbers)]
    if len(a) == 1 and len(g) == 2 and g_named:
        return [(answer, g[1])]
    if len(a) == 2 and len(g) == 2 and a_named and a[0] == g[0]:
        return [(a[1], g[1])]
    return []


def _conjunction(found: Sequence[Comparison], tier: str) -> Comparison:
    """Yes if all are a yes, no if one is a no, else open with the pairs of all."""
    if any(comparison.equal is False for comparison in found):
        return Comparison(equal=False, tier=tier)
    limit = next((comparison for comparison in found if comparison.tier == "limit"), None)
    if limit:
        return limit
    open_pairs = tuple(pair for comparison in found for pair in comparison.open_pairs)
    return Comparison(equal=None if open_pairs else True, tier=tier, open_pairs=open_pairs)


def _compare_items(answer: str, gold: str, depth: int) -> Comparison | None:
    a, g = _items(answer), _items(gold)
    if (a and exact_number(gold) is not None) or (g and exact_number(answer) is not None):
        a, g = a or _single(answer), g or _single(gold)
    if a is None or g is None or max(len(a.items), len(g.items)) > MAX_ITEMS:
        return None
    if a.ordered != g.ordered or (a.ordered and (a.brackets != g.brackets)):
        return Comparison(equal=False, tier="items") if a.ordered and g.ordered else None
    if len(a.items) != len(g.items):
        return Comparison(equal=False, tier="items")
    if not a.ordered:
        return _compare_unordered(a.items, g.items, depth)
    return _conjunction([_compare(x, y, depth - 1) for x, y in zip(a.items, g.items, strict=True)], "items")


def _compare_unordered(answers: Sequence[str], golds: Sequence[str], depth: int) -> Comparison | None:
    """Pairs off equal items; None, for the symbolic tier, if that leaves more than one open."""
    left, rest = _without_common(answers, golds)
    if not left:
        return Comparison(equal=True, tier="items")
    if len(left) > MAX_UNORDERED_ITEMS:
        return None
    table = [[_compare(item, other, min(depth - 1, 1)) for other in rest] for item in left]
    if any(all(comparison.equal is False for comparison in row) for row in table):
        return Comparison(equal=False, tier="items")
    free = set(range(len(rest)))
    unmatched: list[list[Comparison]] = []
    for row in table:
        match = next((column for column in free if row[column].equal), None)
        if match is None:
            unmatched.append(row)
        else:
            free.remove(match)
    if not unmatched:
        return Comparison(equal=True, tier="items")
    return unmatched[0][free.pop()] if len(unmatched) == 1 else None


def _without_common(answers: Sequence[str], golds: Sequence[str]) -> tuple[list[str], list[str]]:
    """What is left of both when items of one canonical text or one value are paired off, each once."""
    rest = list(golds)
    keys = [_key(gold) for gold in golds]
    left: list[str] = []
    for item in answers:
        key = _key(item)
        if key in keys:
            position = keys.index(key)
            del keys[position], rest[position]
        else:
            left.append(item)
    return left, rest


def _key(item: str) -> tuple[object, ...]:
    reading = read(item)
    value = reading.text if reading.number is None else reading.number
    return value, reading.unit, reading.base, reading.percent


@dataclass(frozen=True, slots=True, kw_only=True)
class _Items:
    items: tuple[str, ...]
    brackets: str
    ordered: bool


def _items(text: str) -> _Items | None:
    r"""Takes (a,b), [a,b), \{a,b\}, "a, b", "a and b", A \cup B, a \pm b or a matrix apart; None for anything else."""
    if matrix := _MATRIX.fullmatch(text):
        rows = [row.split("&") for row in matrix[2].removesuffix(r"\\").split(r"\\")]
        shape = f"{matrix[1]} {[len(row) for row in rows]}"
        return _Items(items=tuple(item for row in rows for item in row), brackets=shape, ordered=True)
    union = _split_at_top_level(text, (r"\cup",))
    if len(union) > 1:
        return _Items(items=union, brackets="union", ordered=False)
    text = _LIST_WORD.sub(",", text)
    if text.startswith(r"\{") and text.endswith(r"\}") and _encloses_all(text[1:]):
        return _Items(items=_split_at_top_level(text[2:-2], (",", ";")), brackets="", ordered=False)
    if text[:1] in ("(", "[") and text[-1:] in (")", "]") and _encloses_all(text):
        items = _split_at_top_level(text[1:-1], (",", ";"))
        return _Items(items=items, brackets=text[0] + text[-1], ordered=True) if len(items) > 1 else None
    items = _split_at_top_level(text, (",", ";"))
    if len(items) == 1 and text.count(r"\pm") == 1:
        items = (text.replace(r"\pm", "+").removeprefix("+"), text.replace(r"\pm", "-"))
    elif len(items) == 2 and "=" in items[0] and "=" not in items[1]:
        # x = 1, 2 are two values of x
        items = (items[0], f"{items[0].split('=')[0]}={items[1]}")
    return _Items(items=items, brackets="", ordered=False) if len(items) > 1 else None


def _single(item: str) -> _Items:
    return _Items(items=(item,), brackets="", ordered=False)


def _split_at_top_level(text: str, separators: tuple[str, ...]) -> tuple[str, ...]:
    items: list[str] = []
    depth, start = 0, 0
    for index, character in enumerate(text):
        if character in "([{":
            depth += 1
        elif character in ")]}":
            depth -= 1
        elif depth == 0 and text.startswith(separators, index):
            items.append(text[start:index])
            start = index + len(next(separator for separator in separators if text.startswith(separator, index)))
    return (*items, text[start:])


def _encloses_all(text: str) -> bool:
    """Whether the bracket at the start is closed by the one at the end; kinds do not matter: [0,1)."""
    depth = 0
    for index, character in enumerate(text):
        depth += (character in "([{") - (character in ")]}")
        if depth == 0:
            return index == len(text) - 1
    return False
