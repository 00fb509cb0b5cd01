"""Whether an answer equals the gold: a cascade of tiers, cheapest first, of which each decides or passes on.

text       one spelling; choices by their letter, clock times, words
number     both are plain rational numbers
value, rounding, unit, form, items, set, relation
           the trees agree or not (`equality`): exactly, modulo primes, or at points to sixty digits
unreadable the answer is no mathematics, and the gold is
symbolic   math-verify's grammar and sympy, in worker processes that are killed at the deadline: for what our parser
           does not read
limit      no verdict: the answer is too long or too large, or the worker ran out of time or memory
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from markscheme.verifiers.conventions import Conventions
from markscheme.verifiers.equality import Judge
from markscheme.verifiers.evaluate import OverLimitError, symbols_of
from markscheme.verifiers.families import equal_families
from markscheme.verifiers.limits import MAX_ANSWER_CHARS, MAX_NUMBER_CHARS
from markscheme.verifiers.magnitude import is_beyond
from markscheme.verifiers.numeric_answers import only_number
from markscheme.verifiers.parameters import with_common_names
from markscheme.verifiers.patterns import compiled_later
from markscheme.verifiers.reading import Reading, read, spelling, words_of
from markscheme.verifiers.relations import named_value
from markscheme.verifiers.scalars import in_lowest_terms, is_plain_number, rounds_to
from markscheme.verifiers.tokens import plain_unicode
from markscheme.verifiers.tree import Function, Items, Node, Number, Power, Product, Quantity, Quotient, Sum, Symbol

_MATHEMATICS = compiled_later(r"\\(?!text|mbox|mathrm|textbf|textit| |,|;|quad)[a-zA-Z]+|[=<>^+*/_|]|-[0-9]")
_TEXT_MARKS = compiled_later(r"\\(?:text\w*|mbox|math(?:rm|bf|it|sf)|boldsymbol|operatorname)\s*\{|[{}]|\\[ ,;:!]")
_DOUBT = compiled_later(
    r"\b(?:not|no|never|or|either|neither|maybe|perhaps|might|could|if|at least|at most|more|less|fewer|between|than"
    r"|unless|unknown|un\w+ined|except|nicht|kein\w*|pas|non|nunca|jamais)\b|n't|[?<>=]",
    re.IGNORECASE,
)
"""Words around a number that make it something else than a statement of that number."""
_PLAIN_SENTENCE = compiled_later(r"(?:\\text\{)?[a-zA-Z ,']*[$]?[0-9][0-9,.]*[$]?(?:\s[a-zA-Z ,']*)?\.?\}?")
_COMMAND = compiled_later(r"\\[a-zA-Z]+")
_FIRST_WORD = compiled_later(r"([a-z]+)[,.;:!]")
_DECIMAL_COMMA = compiled_later(r"(-?[0-9]+),([0-9]+)")
_LONG_NUMERAL = compiled_later(rf"-?[1-9][0-9]{{{MAX_NUMBER_CHARS},}}")
_CONVERT = compiled_later(
    r"\b(?:write|express|convert|simplify|reduce|rewrite|change|(?:prime )?factor)", re.IGNORECASE
)
_BASE_TEN = compiled_later(r"_\{?10\}?$")
_UNSPACED = compiled_later(r"\s|\\left|\\right|\\[,;!: ]|\\displaystyle|[${}]|\\cdot|\\times|\*")


@dataclass(frozen=True, slots=True)
class Comparison:
    """What the cascade found."""

    equal: bool | None
    """None if no tier could tell; before the symbolic tier, that it has to."""
    tier: str
    reason: str = ""
    broken: bool = False
    """Whether the symbolic tier raised an error, which no answer should make it do."""


_SINGLE = (Number, Quotient, Product, Power, Function, Sum, Symbol, Quantity)
OPEN = Comparison(None, "symbolic")
"""For the symbolic tier to decide."""
_OPERATIONS = frozenset({"an integral", "a limit"})
"""What is left to be worked out where the gold is a constant, as the parser names it."""
_ONE_WORD_ANSWERS = frozenset({"yes", "no", "true", "false"})
_UNREADABLE = Comparison(False, "unreadable", "the answer is no mathematics")
_SAME_TEXT = Comparison(True, "text")
SAME_NUMBER = Comparison(True, "number")
_OTHER_NUMBER = Comparison(False, "number", "the numbers differ")


def compare(pairs: Sequence[tuple[str, str]], *, conventions: Conventions, deadline_s: float) -> list[Comparison]:
    """Compares (answer, gold) pairs; the symbolic tier works on all that are open at once."""
    found = [compare_cheaply(answer, gold, conventions) for answer, gold in pairs]
    open_pairs = list(dict.fromkeys(pair for pair, one in zip(pairs, found, strict=True) if one is OPEN))
    if not open_pairs:
        return found
    from markscheme.verifiers.symbolic_pool import compare_symbolically  # a fifth of the room's import, seldom needed

    results = dict(zip(open_pairs, compare_symbolically(open_pairs, deadline_s), strict=True))
    return [results[pair] if one is OPEN else one for pair, one in zip(pairs, found, strict=True)]


@lru_cache(maxsize=8_192)
def compare_cheaply(answer: str, gold: str, conventions: Conventions) -> Comparison:
    """All tiers but the symbolic one."""
    if len(answer) > MAX_ANSWER_CHARS:
        return Comparison(None, "limit", f"the answer has {len(answer)} characters")
    a, g = read(answer), read(gold)
    if isinstance(a.node, Number) and isinstance(g.node, Number):
        return _compare_numbers(a.node, g.node, conventions)
    if a.text == g.text:
        return _SAME_TEXT
    return _compare_special(a, g, conventions) or _compare_trees(a, g, conventions)


def _compare_numbers(a: Number, g: Number, conventions: Conventions) -> Comparison:
    if a.value == g.value:
        return SAME_NUMBER
    if conventions.rounding and rounds_to(a, g):
        return Comparison(True, "rounding")
    return _OTHER_NUMBER


def _compare_special(a: Reading, g: Reading, conventions: Conventions) -> Comparison | None:
    """Choices and clock times: what looks like mathematics and is none."""
    if a.clock and g.clock:
        return Comparison(_equal_clocks(a.clock, g.clock), "text", "the times differ")
    if g.choice and a.choice and (g.marked_choice or a.marked_choice):
        equal = a.choice == g.choice
        return Comparison(equal, "text", "" if equal else "another choice")
    if g.marked_choice and g.rest and len(g.choice) == 1:
        return compare_cheaply(a.text, g.rest, conventions)
    return None


def _equal_clocks(a: tuple[int, int, str], g: tuple[int, int, str]) -> bool:
    (hour_a, second_a, half_a), (hour_g, second_g, half_g) = a, g
    if second_a != second_g:
        return False
    if not half_a and not half_g:
        return hour_a % 24 == hour_g % 24
    hours = [
        {(hour % 12) + 12 * (half == "p")}
        if half
        else ({hour % 24} if hour > 12 or hour == 0 else {hour % 12, hour % 12 + 12})
        for hour, half in ((hour_a, half_a), (hour_g, half_g))
    ]
    return bool(hours[0] & hours[1])


def _compare_trees(a: Reading, g: Reading, conventions: Conventions) -> Comparison:
    if a.node is None or g.node is None:
        return _compare_unread(a, g, conventions)
    judge = Judge(conventions)
    try:
        equal = _equal_with_parameters(a, g, judge) if a.parameters or g.parameters else judge.equal(a.node, g.node)
    except OverLimitError as limit:
        if g.number is not None and is_beyond(a.node, g.number):
            return Comparison(False, "number", "the answer is beyond every limit, and the gold is not")
        return Comparison(None, "limit", str(limit))
    except RecursionError:
        return Comparison(None, "limit", "nested too deep")
    if equal is False and (other := _another_reading(a, g, conventions)):
        return other
    if equal is None:
        return OPEN
    return Comparison(equal, judge.tier or "value", judge.reason)


def _equal_with_parameters(a: Reading, g: Reading, judge: Judge) -> bool | None:
    """What runs over a set may be named as one likes; a clause that only one side has does not count."""
    assert a.node is not None
    assert g.node is not None
    if a.parameters and g.parameters and [s for _, s in a.parameters] != [s for _, s in g.parameters]:
        judge.tier, judge.reason = "set", "the parameters run over other sets"
        return False
    families = equal_families(a.node, g.node, a.parameters, g.parameters)
    if families is not None:
        judge.tier, judge.reason = "value", "" if families else "the families differ"
        return families
    if a.parameters and g.parameters:
        return judge.equal(with_common_names(a.node, a.parameters), with_common_names(g.node, g.parameters))
    return judge.equal(a.node, g.node)


def _compare_unread(a: Reading, g: Reading, conventions: Conventions) -> Comparison:
    if g.words in _ONE_WORD_ANSWERS and g.words == _first_word(a.text):
        return _SAME_TEXT
    if a.words == g.words and a.words and not (_is_mathematics(a) or _is_mathematics(g)):
        return _SAME_TEXT
    spelled = spelling(a.text)
    if spelled and spelled == spelling(g.text):
        return _SAME_TEXT
    if (
        a.too_large
        and g.number is not None
        and abs(g.number) < 10**MAX_NUMBER_CHARS
        and _LONG_NUMERAL.fullmatch(a.text)
    ):
        return Comparison(False, "number", "the answer is longer than any number that is read, and the gold is not")
    if a.many_items and isinstance(g.node, _SINGLE):
        return Comparison(False, "items", a.problem)
    if a.too_large or g.too_large:
        return Comparison(None, "limit", a.problem or g.problem)
    if g.node is not None and a.node is None:
        is_operation = a.problem in _OPERATIONS and not symbols_of(g.node)
        if conventions.evaluated and a.out_of_scope and (is_plain_number(g.node) or is_operation):
            return Comparison(False, "form", f"{a.problem} is left to be worked out")
        if a.out_of_scope and not _is_sentence(a):
            return OPEN
        if isinstance(g.node, Number) and _is_plain_sentence(a):
            return compare_cheaply(only_number(a.text), g.text, conventions)
        return Comparison(False, "unreadable", f"the answer is not read: {a.problem}")
    if g.out_of_scope or _is_mathematics(g):
        return OPEN if not _has_words(g) else Comparison(None, "symbolic", "no tier can read the gold")
    return Comparison(False, "text", "the words differ")


def _is_mathematics(reading: Reading) -> bool:
    return bool(_MATHEMATICS.search(_TEXT_MARKS.sub(" ", plain_unicode(reading.text))))


def _first_word(text: str) -> str:
    """The first word of a sentence that goes on behind a comma or a dot."""
    match = _FIRST_WORD.match(_TEXT_MARKS.sub(" ", text).strip().lower())
    return match[1] if match and " but " not in text else ""


def _has_words(reading: Reading) -> bool:
    return any(len(word) > 2 and word.isalpha() for word in words_of(_COMMAND.sub(" ", reading.text)).split())


def _is_sentence(reading: Reading) -> bool:
    """More than three long words: prose, with formulas in it or not."""
    return sum(len(word) > 3 and word.isalpha() for word in reading.words.split()) > 3


def _is_plain_sentence(reading: Reading) -> bool:
    """Words and one numeral, and no word of doubt: there are 19 of them."""
    return (
        not reading.hidden
        and bool(_PLAIN_SENTENCE.fullmatch(_TEXT_MARKS.sub("", reading.text)))
        and not _DOUBT.search(reading.text)
        and only_number(reading.text) != reading.text
    )


def _another_reading(a: Reading, g: Reading, conventions: Conventions) -> Comparison | None:
    """Text that means one thing here and another there: 1,234 beside a list, and 3,14 beside a decimal number."""
    for text, other in ((a.text, g), (g.text, a)):
        if isinstance(other.node, Items) and other.node.brackets == "" and "," in text and ", " not in text:
            spaced = read(text.replace(",", ", "))
            if spaced.node is not None and isinstance(spaced.node, Items):
                pair = (spaced, g) if other is g else (a, spaced)
                judge = Judge(conventions)
                if pair[0].node and pair[1].node and judge.equal(pair[0].node, pair[1].node):
                    return Comparison(True, "items")
        if isinstance(other.node, Number) and other.node.decimals and (match := _DECIMAL_COMMA.fullmatch(text)):
            value = read(f"{match[1]}.{match[2]}").number
            if value == other.node.value:
                return Comparison(True, "number")
    return None


def is_copied(answer: str, gold: str, prompt: str) -> bool:
    """Whether an answer that equals the gold is a formula or a number of the prompt, written down again."""
    formula, number = _copyable(answer, gold)
    if not (formula or number):
        return False
    text = _unspaced(prompt)
    return (bool(formula) and formula in text) or (
        bool(number) and _CONVERT.search(prompt) is not None and _has_number(text, number)
    )


@lru_cache(maxsize=8_192)
def _copyable(answer: str, gold: str) -> tuple[str, str]:
    """The formula that would be no answer if the prompt had it, and the number that would be none if the prompt asked
    for another form of it, both unspaced; "" for none.
    """
    a, g = read(answer), read(gold)
    if a.node is None or g.node is None:
        return "", ""
    may_stand = bool(a.choice or a.clock) or _is_final(named_value(a.node)[1])
    is_another_form = is_plain_number(_value_of(a.node)) and _form(a) != _form(g)
    if (may_stand and not is_another_form) or spelling(a.text) == spelling(g.text):
        return "", ""
    formula = "" if may_stand or not in_lowest_terms(g.node) else _unspaced(answer)
    number = _unspaced(_BASE_TEN.sub("", answer)) if is_another_form else ""
    return formula if len(formula) > 2 else "", number


@lru_cache(maxsize=256)
def _unspaced(text: str) -> str:
    return _UNSPACED.sub("", text)


def _has_number(text: str, number: str) -> bool:
    """Whether the number stands there by itself, not as a part of a longer one."""
    at = text.find(number)
    while at >= 0:
        end = at + len(number)
        in_front, behind = text[at - 1 : at], text[end : end + 2]
        if not (in_front.isdigit() or in_front == "." or behind[:1].isdigit() or behind.lstrip(".").isdigit()):
            return True
        at = text.find(number, at + 1)
    return False


def _form(reading: Reading) -> str:
    """Integer, decimal, percent, fraction, unreduced, based (not on ten), or expression."""
    node = _value_of(reading.node) if reading.node is not None else None
    if "_" in reading.text:
        return "integer" if _BASE_TEN.search(reading.text) else "based"
    if "%" in reading.text:
        return "percent"
    if isinstance(node, Number):
        return "decimal" if node.decimals else "integer"
    if node is None or not is_plain_number(node):
        return "expression"
    return "fraction" if in_lowest_terms(node) else "unreduced"


def _is_final(node: Node) -> bool:
    return is_plain_number(_value_of(node))


def _value_of(node: Node) -> Node:
    return node.value if isinstance(node, Quantity) else node
