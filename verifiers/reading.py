r"""Reading an answer once: its tree, its exact value if it is a plain number, its words if it is prose.

A reading is cached by its text: a group of completions repeats few answers, and all share one gold.
"""

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from markscheme.verifiers.building import in_base
from markscheme.verifiers.evaluate import exact
from markscheme.verifiers.limits import MAX_ANSWER_CHARS, MAX_NUMBER_CHARS
from markscheme.verifiers.number_words import chinese_number, fraction_of_words, number_of_words, with_chinese_fractions
from markscheme.verifiers.parameters import split_clauses
from markscheme.verifiers.parse import parse
from markscheme.verifiers.patterns import compiled_later
from markscheme.verifiers.tokens import (
    HiddenError,
    ManyItemsError,
    OutOfScopeError,
    TooLargeError,
    UnreadableError,
    plain_unicode,
    tokenise,
)
from markscheme.verifiers.tree import Constant, Function, Items, Node, Number, Power, Product, Quotient, Sum

_DOUBLED_BACKSLASH = compiled_later(r"\\\\(?=[a-zA-Z]{2})")
"""Of text that was escaped once too often."""
_PLAIN_FRACTION = compiled_later(r"(-)?\\[dtc]?frac\s?\{([0-9]{1,18})\}\s?\{([0-9]{1,18})\}")
_PLAIN_NUMBER = compiled_later(r"(-?)\s*\\?\$?\s*(-?)([1-9][0-9]{0,2}(?:,[0-9]{3})+|[0-9]+)(\.[0-9]+)?\.?")
_WRAPPING = compiled_later(
    r"\$\$(?P<a>[^$]*)\$\$|\$(?P<b>[^$]*)\$|\\\((?P<c>(?:[^\\]|\\[^)])*)\\\)|\\\[(?P<d>(?:[^\\]|\\[^\]])*)\\\]"
    r"|\*\*(?P<e>[^*]*)\*\*|\\(?:boxed|fbox)\s*\{(?P<f>[^{}]*(?:\{[^{}]*(?:\{[^{}]*(?:\{[^{}]*\}[^{}]*)*\}[^{}]*)*\}[^{}]*)*)\}"
    r"|`(?P<g>[^`]*)`"
)
_CLOCK = compiled_later(
    r"(?:\\text\{)?\s*0?([0-9]{1,2})(?::([0-9]{2}))?(?::([0-9]{2}))?\s*(?:\\?[,;~ ]\s*)?"
    r"(?:\\(?:text|mathrm|textrm|mbox)\s*\{\s*)?"
    r"(?:([ap])\.?\s?m\.?|o'clock|noon)?\s*\}?\.?",
    re.IGNORECASE,
)
_CHOICE = compiled_later(
    r"(?:\\(?:text|textbf|mathrm|mathbf|textrm|mbox|bf|rm)(?![a-zA-Z])\s*\{?\s*)?(?:option|choice|answer)?\s*"
    r"(?:\(\s*([A-J])\s*\)|([A-J])(?:\s*[).]|:(?=\s))(?![0-9])|\[([A-J])\]|([A-J])(?![a-zA-Z]))\s*\}?\s*[.:,)]?\s*(?:\\\s)?(.*)",
    re.DOTALL | re.IGNORECASE,
)
_SAYS_CHOICE = compiled_later(r"option|choice|answer", re.IGNORECASE)
_INTRODUCTION = compiled_later(
    r"\\(?:text[a-z]*|mbox|mathrm)\s*\{[a-zA-Z' ]*(?:\b(?:is|are|equals|value|point|points|probability|answer|so|thus"
    r"|therefore|hence|total|sum|area|maximum|minimum|interval|ratio)|:)\s*\}\s*(?=\S)",
    re.IGNORECASE,
)
_NO_INTRODUCTION = compiled_later(r"\b(?:not|no|or|never|least|most|than|except|if|between|maybe)\b|n't", re.IGNORECASE)
_OTHER_CHOICE = compiled_later(r"\(\s*[A-Ja-j]\s*\)|(?:^|\bor\b|\band\b|[,/&])\s*\(?[A-J]\)?\s*\.?$")
_TEXT_MARKS = compiled_later(
    r"\\(?:text[a-z]*|math(?:rm|bf|it|sf|tt)|mbox|hbox|operatorname|boldsymbol|bm|emph)\s*\{|[{}$]|\\[ ,;:!]|~|\*\*"
)
_MONTHS = (
    *("january", "february", "march", "april", "may ", "june", "july"),
    *("august", "september", "october", "november", "december"),
)
_ORDINAL = compiled_later(r"(?<=[0-9])()(?:st|nd|rd|th)\b")
_PARTS = compiled_later(r",|;|&|\band\b")
_WORD = compiled_later(r"[a-z0-9]+|[^\x00-\x7f\s]+")
_ARTICLES = frozenset({"a", "an", "the", "is", "are", "it"})
_FILLER = compiled_later(
    r"^(?:(?:\\text\s*\{\s*)?(?:so |thus |therefore,? |hence )?(?:the|my|our) (?:final |correct )?answer"
    r" (?:is|=):?\s*\}?|about|approximately|approx\.?|around|exactly|only|a total of|roughly"
    r"|约|大约|共|共有|一共|是|为|有)\s*",
    re.IGNORECASE,
)
_LABEL = compiled_later(
    r"(?:[,;]|\\q?quad|\\[,;: ]|and|\s)*(?:\\text\s*\{\s*)?\(([a-h])\)(?:\s*\})?(?:[:~]|\\[,;: ]|\s)*"
)
_GLUED_OR = compiled_later(r"(?<=[0-9)}])or(?=[a-zA-Z](?:\(|\s?=|_)|[-0-9(\\])")
_SPACING = compiled_later(r"\s*\\[!,;: ]\s*|~")
_LETTERED_BASE = compiled_later(r"\(?(?:\\(?:text|mathrm)\{)?([0-9]*[A-Z][0-9A-Z]*)\}?\)?_\{?\(?([0-9]{2})\)?\}?")
_BASE_WORDS = compiled_later(
    r"^([0-9A-Fa-f]+)\s*(?:\\?,?\s*(?:\\text\{\s*)?\(?(?:in\s+)?base[ -]([0-9]{1,2}|[a-z]+)\)?\s*\}?)$"
)
_MAY_BE_WORDS = compiled_later(r"(?<![\\a-zA-Z])[a-zA-Z]{2}|\\(?:text|mbox|math|emph|hbox|oper|bold)")
"""No formula alone has it."""
_EMPTY_SET = frozenset(
    {"no solution", "no solutions", "no real solution", "no real solutions", "empty set", "no real roots", "null set",
     "no values", "there are no solutions", "no such number exists"}
)  # fmt: skip
_NO_SOLUTION = compiled_later(
    r"(?:there |has |have |equation |are |exist |exists )*no (?:real |integer |such |positive |possible )*"
    r"(?:solutions?|roots?|values?)(?: exists?)?"
    r"|(?:there |are |exists? |does )*no such (?:[a-z]+ ){0,3}?(?:[a-z]+)(?: exists?)?"
)
_DOES_NOT_EXIST = {"dne": "does not exist", "doesnt exist": "does not exist", "not exist": "does not exist"}
_ALL_REALS = frozenset({"all real numbers", "all reals", "real numbers", "every real number", "any real number"})


@dataclass(slots=True, eq=False)
class Reading:
    """An answer, read."""

    text: str
    node: Node | None
    """None if it is no mathematics."""
    number: Fraction | None
    """Set for a bare rational number in any spelling; units and percent signs stay in the tree."""
    problem: str = ""
    """What the parser stumbled over."""
    out_of_scope: bool = False
    """Whether the symbolic tier may know more."""
    too_large: bool = False
    """Whether a limit was hit before it was read."""
    many_items: bool = False
    """Whether that limit was the length of a list."""
    hidden: bool = False
    """Whether something in it is made not to be seen."""
    choice: str = ""
    """The letter of a choice such as (B), and of a bare capital."""
    marked_choice: bool = False
    """Whether the letter is written as a choice: in parentheses, or with a text behind it."""
    rest: str = ""
    """What stands behind the letter of a choice."""
    parameters: tuple[tuple[str, str], ...] = ()
    """(name, set) of each letter that runs over a set: k in x = k pi, k in Z."""
    clock: tuple[int, int, str] | None = None
    """Hours, seconds behind the hour, and "a", "p" or "" for the half of the day."""

    @property
    def words(self) -> str:
        """Its words in lower case, without articles, dots and commas: what prose is compared by."""
        if self.number is not None:
            return self.text
        words = words_of(plain_unicode(self.text))
        return _DOES_NOT_EXIST.get(words, words)


@lru_cache(maxsize=8_192)
def read(text: str) -> Reading:
    """Reads an answer; never raises. One of more than MAX_ANSWER_CHARS characters is not read."""
    if len(text) > MAX_ANSWER_CHARS:
        return Reading("", None, None, problem=f"{len(text)} characters", too_large=True)
    text = unwrap(text)
    if "\\\\" in text and "begin" not in text:
        text = _DOUBLED_BACKSLASH.sub(r"\\", text)
    plain = _PLAIN_NUMBER.fullmatch(text)
    if plain and len(text) <= MAX_NUMBER_CHARS:
        digits, decimals = plain[3].replace(",", ""), plain[4] or ""
        value = Fraction(digits + decimals) if decimals else Fraction(int(digits))
        if plain[1] or plain[2]:
            value = -value
        if "$" not in text:
            return Reading(text, Number(value, max(0, len(decimals) - 1)), value)
    if (plain := _PLAIN_FRACTION.fullmatch(text)) and plain[3].strip("0"):
        return _read_fraction(text, -1 if plain[1] else 1, int(plain[2]), int(plain[3]))
    return _read_more(text)


def _read_fraction(text: str, sign: int, above: int, below: int) -> Reading:
    """What the parser would give, at a tenth of the cost: fractions are every tenth answer."""
    node: Node = Quotient(Number(Fraction(above)), Number(Fraction(below)))
    node = node if sign > 0 else Product([Number(Fraction(-1)), node])
    return Reading(text, node, Fraction(sign * above, below))


def _read_more(text: str) -> Reading:
    shown = plain_unicode(text)
    reading = Reading(text, None, None, clock=_clock(shown))
    words = words_of(shown) if _MAY_BE_WORDS.search(shown) else ""
    main, reading.parameters = split_clauses(text)
    if choice := _CHOICE.fullmatch(shown.strip()):
        letter = next(group for group in choice.groups()[:4] if group)
        is_bare = bool(choice[4]) and not _SAYS_CHOICE.search(shown)
        if _OTHER_CHOICE.search(choice[5]):
            pass
        elif not is_bare or (not choice[5] and letter.isupper()):
            reading.choice, reading.rest = letter.upper(), choice[5].strip(" .")
            reading.marked_choice = not is_bare
    if words in _EMPTY_SET or _NO_SOLUTION.fullmatch(words):
        reading.node = Constant("empty")
        return reading
    if words in _ALL_REALS:
        reading.node = Constant("R")
        return reading
    try:
        lettered = _LETTERED_BASE.fullmatch(text)
        parts = _labelled_parts(main) if "(a)" in main else []
        if parts:
            reading.node = Items("()", [parse(_prepared(part)) for part in parts])
        else:
            reading.node = in_base(lettered[1], int(lettered[2])) if lettered else parse(_prepared(main))
    except OutOfScopeError as problem:
        reading.problem, reading.out_of_scope = str(problem), True
    except ManyItemsError as problem:
        reading.problem, reading.too_large, reading.many_items = str(problem), True, True
    except TooLargeError as problem:
        reading.problem, reading.too_large = str(problem), True
    except HiddenError as problem:
        reading.problem, reading.hidden = str(problem), True
    except UnreadableError as problem:
        reading.problem = str(problem)
        reading.node = _behind_words(main)
    if reading.node is None and not (reading.hidden or reading.too_large or reading.out_of_scope):
        number = number_of_words(shown.lower()) if shown.isascii() else chinese_number(shown)
        if number is None and "text" in shown:
            number = number_of_words(words)
        value = fraction_of_words(shown.lower()) if number is None and shown.isascii() else number
        if value is not None:
            reading.node = Number(Fraction(value))
    if isinstance(reading.node, Number):
        reading.number = reading.node.value
    elif reading.node is not None:
        reading.number = exact_without_unit(reading.node)
    return reading


def _labelled_parts(text: str) -> list[str]:
    """The answers to (a), (b), ... in this order; none unless there are two of them or more."""
    first, *rest = _LABEL.split(text)
    labels, parts = rest[::2], [part.strip(" ,;.\n") for part in rest[1::2]]
    is_whole = not first.strip() and len(labels) > 1 and "".join(labels) == "abcdefgh"[: len(labels)]
    return parts if is_whole and all(parts) else []


def _behind_words(text: str) -> Node | None:
    r"""The value behind an introduction: \text{the probability is } \frac59, \text{Maximum value: } 3."""
    match = _INTRODUCTION.match(text)
    if match is None or _NO_INTRODUCTION.search(match[0]):
        return None
    try:
        return parse(text[match.end() :])
    except UnreadableError:
        return None


def exact_without_unit(node: Node) -> Fraction | None:
    """The exact value of an expression that has neither unit nor percent sign."""
    return exact(node) if isinstance(node, Sum | Product | Quotient | Power | Function) else None


def _prepared(text: str) -> str:
    text = with_chinese_fractions(text)
    text = _FILLER.sub("", text)
    if "or" in text:
        text = _GLUED_OR.sub(" or ", text)
    if base := _BASE_WORDS.match(text):
        return f"{base[1]}_{{{base[2]}}}"
    return text


def unwrap(text: str) -> str:
    r"""Takes an answer out of $...$, \(...\), **...**, \boxed{...} and the spaces and the dot around it."""
    text = text.strip()
    for _ in range(4):
        if not text or text[0] not in "$\\*`":
            break
        match = _WRAPPING.fullmatch(text) or _WRAPPING.fullmatch(text.rstrip(" .,"))
        if match is None:
            break
        text = match[match.lastgroup or 0].strip()
    return text


def words_of(text: str) -> str:
    """The words of a text in lower case, without articles, punctuation and text commands."""
    if any(month in text.lower() for month in _MONTHS):
        text = _ORDINAL.sub(r"\1", text)
        return " ".join(sorted(_WORD.findall(_TEXT_MARKS.sub(" ", text).lower())))
    if not any(character.isdigit() for character in text) and _PARTS.search(text):
        parts = [words_of(part) for part in _PARTS.split(text)]
        return " and ".join(sorted(part for part in parts if part))
    words = _WORD.findall(_TEXT_MARKS.sub(" ", text).lower().replace("'s", "s").replace(r"\\", " "))
    kept = [word for word in words if word not in _ARTICLES]
    return " ".join(kept or words)


def spelling(text: str) -> tuple[str, ...] | None:
    """The tokens of a text: two answers of one spelling are one answer. None if it cannot be tokenised."""
    try:
        return tuple(token.value for token in tokenise(text) if token.value not in ("{", "}", ".", "\\\\"))
    except UnreadableError:
        return None


def _clock(text: str) -> tuple[int, int, str] | None:
    match = _CLOCK.fullmatch(_SPACING.sub(" ", text).replace(" : ", ":").replace("{:}", ":").strip())
    if match is None or not (match[2] or match[4]) or int(match[1]) > 24 or int(match[2] or 0) > 59:
        return None
    return int(match[1]), 60 * int(match[2] or 0) + int(match[3] or 0), (match[4] or "").lower()
