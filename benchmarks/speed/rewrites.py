r"""Golds written another way, and golds made wrong: what a grader must accept, and what it must not.

A rewrite is a function of a gold's LaTeX that gives an answer of the same value, or None where it does not apply. None
rests on a verifier's reading: most match one narrow form, so that the value is plain to see.
"""

import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction

Rewrite = Callable[[str], str | None]

_INTEGER = re.compile(r"-?\d+")
_DECIMAL = re.compile(r"(-?)(\d*)\.(\d+)")
_FRACTION = re.compile(r"(-?)\\[dt]?frac\{(\d+)\}\{(\d+)\}")
_ANY_FRACTION = re.compile(r"\\frac\{")
_DIGIT_FRACTION = re.compile(r"\\frac\{(\d)\}\{(\d)\}")
_SURD = re.compile(r"(-?)(\d+) ?\\sqrt\{(\d+)\}")
_SURD_QUOTIENT = re.compile(r"(-?)\\frac\{\\sqrt\{(\d+)\}\}\{(\d+)\}")
_PI_MULTIPLE = re.compile(r"(\d+) ?\\pi")
_PI_QUOTIENT = re.compile(r"(-?)\\frac\{(\d*) ?\\pi\}\{(\d+)\}")
_GROUPED = re.compile(r"(-?)(\d{1,3})((?:(?:,|\\!|\{,\}|,\\!|\\,)\d{3})+)")
_HALF_OPEN = re.compile(r"(\[|\()\s*(-?\d+)\s*,\s*(-?\d+)\s*(\]|\))")
_RAY_UP = re.compile(r"(\[|\()\s*(-?\d+)\s*,\s*\\infty\s*\)")
_RAY_DOWN = re.compile(r"\(\s*-\\infty\s*,\s*(-?\d+)\s*(\]|\))")
_COORDINATES = re.compile(r"(?:\\left\s*)?\(([^()]*?)\s*(?:\\right\s*)?\)")
_COLUMN = re.compile(r"\\begin\{pmatrix\}([^&]*)\\end\{pmatrix\}")
_WITH_UNIT = re.compile(r"(\d[\d.]*)\s*(?:\\ ?)?\\(?:text|mbox)\{ ?([a-z]+(?: [a-z]+)?)\}")
_PERCENT = re.compile(r"(\d+)\\%")
_MONEY = re.compile(r"\\\$ ?(\d+(?:\.\d\d)?)")
_DEGREES = re.compile(r"(-?\d+)\s*\^\\circ")
_WORD = re.compile(r"\\text\{([A-Za-z]{3,})\}")
_CHOICE = re.compile(r"\\text\{\(?([A-F])\)?\}")
_BASED = re.compile(r"(\d+)_\{?(\d)\}?")
_COMPLEX = re.compile(r"(-?\d+) ?([-+]) ?(\d+) ?i")
_PLUS_MINUS = re.compile(r"([^,\\]*?) ?\\pm ?([^,+-]+)")
_NAMED = re.compile(r"[a-z] ?= ?([^=<>]+)")
_ITEMS = re.compile(r"[-0-9./ ]+(?:,[-0-9./ ]+)+")
_POLYNOMIAL = re.compile(r"[-+0-9a-z^{} ]*[a-z][-+0-9a-z^{} ]*")
_NUMBER_WORDS = "zero one two three four five six seven eight nine ten eleven twelve".split()
_BASE_WORDS = {"2": "two", "3": "three", "5": "five", "8": "eight", "9": "nine"}
_LONGEST_PERIOD = 6
_LONGEST_DECIMAL = 6


def _whole(pattern: re.Pattern[str], rewrite: Callable[[re.Match[str]], str | None]) -> Rewrite:
    """Where the whole gold has this form."""

    def apply(gold: str) -> str | None:
        match = pattern.fullmatch(gold)
        return rewrite(match) if match else None

    return apply


def _inside(pattern: re.Pattern[str] | str, replacement: str) -> Rewrite:
    """Wherever the form occurs in the gold."""

    def apply(gold: str) -> str | None:
        changed = re.sub(pattern, replacement, gold)
        return changed if changed != gold else None

    return apply


def _around(before: str, after: str, applies: Callable[[str], bool] = lambda gold: True) -> Rewrite:
    return lambda gold: f"{before}{gold}{after}" if applies(gold) else None


def _is_number(gold: str) -> bool:
    return bool(_INTEGER.fullmatch(gold) or _DECIMAL.fullmatch(gold) or _FRACTION.fullmatch(gold))


def _is_mathematics(gold: str) -> bool:
    return "\\text" not in gold and "\\mbox" not in gold and not gold.isalpha()


# Fractions and decimals.


def _value(match: re.Match[str]) -> Fraction:
    return Fraction(int(match[1] + match[2]), int(match[3]))


def _terminating(match: re.Match[str]) -> str | None:
    value = _value(match)
    places = next((n for n in range(_LONGEST_DECIMAL + 1) if (value * 10**n).denominator == 1), None)
    return f"{float(value):.{places}f}" if places else None


def _repeating(match: re.Match[str]) -> str | None:
    value = _value(match)
    if value <= 0:
        return None
    whole, rest = divmod(value.numerator, value.denominator)
    period = next((n for n in range(1, _LONGEST_PERIOD + 1) if (10**n - 1) % value.denominator == 0), None)
    if period is None or value.denominator == 1:
        return None
    return f"{whole}.\\overline{{{rest * (10**period - 1) // value.denominator:0{period}d}}}"


def _mixed(match: re.Match[str]) -> str | None:
    whole, rest = divmod(int(match[2]), int(match[3]))
    return f"{match[1]}{whole}\\frac{{{rest}}}{{{match[3]}}}" if whole and rest else None


def _decimal_as_fraction(match: re.Match[str]) -> str:
    value = Fraction(int(f"{match[2] or 0}{match[3]}"), 10 ** len(match[3]))
    return f"{match[1]}\\frac{{{value.numerator}}}{{{value.denominator}}}"


def _trailing_zero(gold: str) -> str | None:
    if _INTEGER.fullmatch(gold):
        return f"{gold}.0"
    return f"{gold}0" if _DECIMAL.fullmatch(gold) else None


def _thousands(separator: str) -> Rewrite:
    def apply(gold: str) -> str | None:
        if not _INTEGER.fullmatch(gold) or len(gold.lstrip("-")) < 4:
            return None
        return f"{int(gold):,}".replace(",", separator)

    return apply


# Roots and pi.


def _under_one_root(match: re.Match[str]) -> str:
    return f"{match[1]}\\sqrt{{{int(match[2]) ** 2 * int(match[3])}}}"


def _outside_a_fraction(match: re.Match[str]) -> str:
    return f"{match[1]}\\frac{{{match[2] or 1}}}{{{match[3]}}}\\pi"


# Sums, lists and sets of points.


def top_terms(gold: str) -> list[str]:
    """The terms of a sum, each with its sign; one term if it is no sum.

    >>> top_terms("x^{2+k} - 3x + 1")
    ['+x^{2+k}', '-3x', '+1']
    """
    terms, depth, start = [], 0, 0
    for position, character in enumerate(gold):
        depth += (character in "{([") - (character in "})]")
        if depth == 0 and character in "+-" and gold[start:position].strip():
            terms.append(gold[start:position].strip())
            start = position
    terms.append(gold[start:].strip())
    return [term if term[0] in "+-" else f"+{term}" for term in (re.sub(r"^([-+]) +", r"\1", t) for t in terms) if term]


def _reversed_sum(gold: str) -> str | None:
    if not _is_mathematics(gold) or re.search(r"[,=<>&|]|\\(?:le|ge|pm|mp|cup|in|begin|circ|left)(?![a-z])", gold):
        return None
    terms = top_terms(gold)
    return "".join(reversed(terms)).removeprefix("+") if len(terms) > 1 else None


def _reversed_items(match: re.Match[str]) -> str | None:
    items = [item.strip() for item in match[0].split(",")]
    grouped = all(re.fullmatch(r"\d{3}", item) for item in items[1:])  # 1,000 is no list
    return None if grouped else ", ".join(reversed(items))


def _items_with_and(match: re.Match[str]) -> str | None:
    items = _reversed_items(match)
    return items.replace(", ", r" \text{ and } ") if items and items.count(",") == 1 else None


def _sized_brackets(gold: str) -> str | None:
    if re.search(r"\\(?:left|begin|sqrt\[|text|mbox|bmod|pmod)", gold) or not re.search(r"[(\[]", gold):
        return None
    return re.sub(r"[)\]]", r"\\right\g<0>", re.sub(r"[(\[]", r"\\left\g<0>", gold))


def _half_open(match: re.Match[str]) -> str | None:
    if match[1] == "(" and match[4] == ")":
        return None  # it may be a point
    low, high = ("\\le" if bracket in "[]" else "<" for bracket in (match[1], match[4]))
    return f"{match[2]} {low} x {high} {match[3]}"


def _ray_up(match: re.Match[str]) -> str:
    return _relation(match[1] == "[", ">", match[2])


def _ray_down(match: re.Match[str]) -> str:
    return _relation(match[2] == "]", "<", match[1])


def _relation(closed: bool, sign: str, bound: str) -> str:
    name = {"<": r"\le", ">": r"\ge"}[sign] if closed else sign
    return f"x {name} {bound}"


def _coordinates(match: re.Match[str]) -> list[str]:
    """Three or more: two in round brackets may be an interval."""
    parts = [part.strip() for part in match[1].split(",")]
    return parts if len(parts) >= 3 and "infty" not in match[1] else []


def _as_column(match: re.Match[str]) -> str | None:
    rows = r" \\ ".join(_coordinates(match))
    return rf"\begin{{pmatrix}} {rows} \end{{pmatrix}}" if rows else None


def _named_coordinates(match: re.Match[str]) -> str | None:
    parts = _coordinates(match)
    return f"({','.join('abcdefgh'[: len(parts)])}) = {match[0]}" if parts and len(parts) <= 8 else None


def _column_as_tuple(match: re.Match[str]) -> str | None:
    parts = [part.strip() for part in re.split(r"\\\\(?:\[[^]]*\])?", match[1])]
    return f"({', '.join(parts)})" if len(parts) >= 2 and all(parts) else None


def _complex_reversed(match: re.Match[str]) -> str:
    sign = "-" if match[2] == "-" else ""
    return f"{sign}{match[3]}i {'' if match[1].startswith('-') else '+'}{match[1]}"


def _both_signs(match: re.Match[str]) -> str:
    return f"{match[1]}+{match[2]}, {match[1]}-{match[2]}" if match[1] else f"{match[2]}, -{match[2]}"


def _spaced(gold: str) -> str | None:
    if not _is_mathematics(gold) or "begin" in gold:
        return None
    changed = re.sub(r"(?<=[\w})])([-+=,])(?=[\w({]|\\(?!!))", r" \1 ", gold)
    return changed if changed != gold else None


def _number_word(gold: str) -> str | None:
    return rf"\text{{{_NUMBER_WORDS[int(gold)]}}}" if gold.isdigit() and int(gold) < len(_NUMBER_WORDS) else None


def _superscripts(gold: str) -> str | None:
    if not _POLYNOMIAL.fullmatch(gold) or "^" not in gold or re.search(r"\^(?:[^0-9]|\d\d)", gold):
        return None
    return re.sub(r"\^(\d)", lambda match: "⁰¹²³⁴⁵⁶⁷⁸⁹"[int(match[1])], gold)


def _stars(gold: str) -> str | None:
    if not _POLYNOMIAL.fullmatch(gold) or re.search(r"[a-z]{2}|[{}]", gold):
        return None
    changed = re.sub(r"(\d)(?=[a-z])", r"\1*", gold.replace("^", "**"))
    return changed if changed != gold else None


REWRITES: Mapping[str, Rewrite] = {
    # fractions and decimals
    r"\dfrac": _inside(_ANY_FRACTION, r"\\dfrac{"),
    r"\tfrac": _inside(_ANY_FRACTION, r"\\tfrac{"),
    r"\cfrac": _inside(_ANY_FRACTION, r"\\cfrac{"),
    "fraction with a slash": _whole(_FRACTION, lambda m: f"{m[1]}{m[2]}/{m[3]}"),
    "fraction without braces": _inside(_DIGIT_FRACTION, r"\\frac\1\2"),
    "fraction with spaces for braces": _inside(_DIGIT_FRACTION, r"\\frac \1 \2"),
    r"\over": _whole(_FRACTION, lambda m: rf"{m[1]}{{{m[2]} \over {m[3]}}}"),
    "division sign": _whole(_FRACTION, lambda m: rf"{m[1]}{m[2]} \div {m[3]}"),
    "sign in the numerator": _whole(_FRACTION, lambda m: rf"\frac{{-{m[2]}}}{{{m[3]}}}" if m[1] else None),
    "sign in the denominator": _whole(_FRACTION, lambda m: rf"\frac{{{m[2]}}}{{-{m[3]}}}" if m[1] else None),
    "not in lowest terms": _whole(_FRACTION, lambda m: rf"{m[1]}\frac{{{3 * int(m[2])}}}{{{3 * int(m[3])}}}"),
    "terminating decimal": _whole(_FRACTION, _terminating),
    "repeating decimal": _whole(_FRACTION, _repeating),
    "mixed number": _whole(_FRACTION, _mixed),
    "power to the minus one": _whole(_FRACTION, lambda m: f"{m[1]}{m[3]}^{{-1}}" if m[2] == "1" else None),
    "decimal as a fraction": _whole(_DECIMAL, _decimal_as_fraction),
    "trailing zero": _trailing_zero,
    "leading zero dropped": _whole(_DECIMAL, lambda m: f"{m[1]}.{m[3]}" if m[2] == "0" else None),
    # whole numbers
    "thousands: comma": _thousands(","),
    "thousands: braced comma": _thousands("{,}"),
    "thousands: comma and negative space": _thousands(r",\!"),
    "thousands: thin space": _thousands(r"\,"),
    "thousands: none": _whole(_GROUPED, lambda m: m[1] + m[2] + re.sub(r"\D", "", m[3])),
    "plus sign": _around("+", "", lambda gold: gold.isdigit()),
    "number word": _number_word,
    "equals one": _whole(_INTEGER, lambda m: rf"\frac{{{m[0]}}}{{1}}"),
    # names and marks around the value
    "name in front": _around("x = ", "", _is_number),
    "name dropped": _whole(_NAMED, lambda m: m[1] if _is_number(m[1]) else None),
    "trailing dot": _around("", ".", lambda gold: gold[-1] not in ".\\!"),
    "dollar signs": _around("$", "$", lambda gold: "$" not in gold),
    "round delimiters": _around(r"\(", r"\)"),
    r"\displaystyle": _around(r"\displaystyle ", ""),
    r"\boldsymbol": _around(r"\boldsymbol{", "}", _is_mathematics),
    r"\color": _around(r"{\color{blue}", "}", _is_mathematics),
    "line break behind": _around("", r" \\"),
    "spacing commands around": _around(r"\; ", r" \,", _is_mathematics),
    "tilde behind": _around("", "~", _is_mathematics),
    "braces around": _around("{", "}", _is_mathematics),
    r"\text around a number": _around(r"\text{", "}", lambda gold: bool(_INTEGER.fullmatch(gold))),
    r"\mathrm around a number": _around(r"\mathrm{", "}", lambda gold: bool(_INTEGER.fullmatch(gold))),
    "spaces around signs": _spaced,
    r"\left and \right": _sized_brackets,
    r"no \left and \right": _inside(r"\\(?:left|right)(?![a-z{}.\\])\s*", ""),
    # roots, pi, complex numbers
    "root without braces": _inside(r"\\sqrt\{(\d)\}", r"\\sqrt\1"),
    "root sign": _inside(r"\\sqrt\{(\d+)\}", r"√\1"),
    "root as a power": _whole(_SURD, lambda m: rf"{m[1]}{m[2]} \cdot {m[3]}^{{1/2}}"),
    "root as a function": _whole(_SURD, lambda m: f"{m[1]}{m[2]}*sqrt({m[3]})"),
    "factor behind the root": _whole(_SURD, lambda m: rf"{m[1]}\sqrt{{{m[3]}}} \cdot {m[2]}"),
    "factor times root": _whole(_SURD, lambda m: rf"{m[1]}{m[2]} \times \sqrt{{{m[3]}}}"),
    "under one root": _whole(_SURD, _under_one_root),
    "root times a fraction": _whole(_SURD_QUOTIENT, lambda m: rf"{m[1]}\frac{{1}}{{{m[3]}}}\sqrt{{{m[2]}}}"),
    "root over a slash": _whole(_SURD_QUOTIENT, lambda m: rf"{m[1]}\sqrt{{{m[2]}}}/{m[3]}"),
    "pi sign": _inside(r"\\pi(?![a-z])", "π"),
    "pi in letters": _whole(_PI_MULTIPLE, lambda m: f"{m[1]}pi"),
    "times pi": _whole(_PI_MULTIPLE, lambda m: rf"{m[1]} \cdot \pi"),
    "pi in front": _whole(_PI_MULTIPLE, lambda m: rf"\pi \cdot {m[1]}"),
    "pi behind the fraction": _whole(_PI_QUOTIENT, _outside_a_fraction),
    "pi over a slash": _whole(_PI_QUOTIENT, lambda m: rf"{m[1]}{m[2]}\pi/{m[3]}"),
    "imaginary part first": _whole(_COMPLEX, _complex_reversed),
    "imaginary unit upright": _whole(_COMPLEX, lambda m: rf"{m[1]} {m[2]} {m[3]}\mathrm{{i}}"),
    # letters and sums
    "sum reversed": _reversed_sum,
    "braces around exponents": _inside(r"\^(\d)(?!\d)", r"^{\1}"),
    "superscripts": _superscripts,
    "stars for products": _stars,
    "minus sign": _inside(r"^-(?=\d)", "−"),
    # lists, sets, points
    "list reversed": _whole(_ITEMS, _reversed_items),
    "list with and": _whole(_ITEMS, _items_with_and),
    "both signs written out": _whole(_PLUS_MINUS, _both_signs),
    "half-open interval as inequality": _whole(_HALF_OPEN, _half_open),
    "ray upwards as inequality": _whole(_RAY_UP, _ray_up),
    "ray downwards as inequality": _whole(_RAY_DOWN, _ray_down),
    "member of the interval": _around(r"x \in ", "", lambda gold: bool(_RAY_UP.fullmatch(gold))),
    "union sign": _inside(r"\\cup(?![a-z])", "∪"),
    "infinity sign": _inside(r"\\infty(?![a-z])", "∞"),
    "tuple as a column": _whole(_COORDINATES, _as_column),
    "named tuple": _whole(_COORDINATES, _named_coordinates),
    "column as a tuple": _whole(_COLUMN, _column_as_tuple),
    "square brackets around a matrix": _inside(r"\{pmatrix\}", "{bmatrix}"),
    # units and words
    "unit dropped": _whole(_WITH_UNIT, lambda m: m[1]),
    "unit in plain letters": _whole(_WITH_UNIT, lambda m: f"{m[1]} {m[2]}"),
    "unit upright": _whole(_WITH_UNIT, lambda m: rf"{m[1]}\,\mathrm{{{m[2]}}}" if " " not in m[2] else None),
    "percent sign without backslash": _whole(_PERCENT, lambda m: f"{m[1]}%"),
    "percent sign dropped": _whole(_PERCENT, lambda m: m[1]),
    "percent in words": _whole(_PERCENT, lambda m: rf"{m[1]} \text{{ percent}}"),
    "percent as a decimal": _whole(_PERCENT, lambda m: str(int(m[1]) / 100)),
    "money without sign": _whole(_MONEY, lambda m: m[1]),
    "money in words": _whole(_MONEY, lambda m: rf"{m[1]} \text{{ dollars}}"),
    "money with a plain sign": _whole(_MONEY, lambda m: f"${m[1]}"),
    "degrees in braces": _whole(_DEGREES, lambda m: rf"{m[1]}^{{\circ}}"),
    "degree sign": _whole(_DEGREES, lambda m: f"{m[1]}°"),
    "degrees in words": _whole(_DEGREES, lambda m: rf"{m[1]} \text{{ degrees}}"),
    "degrees dropped": _whole(_DEGREES, lambda m: m[1]),
    "bold word": _whole(_WORD, lambda m: rf"\textbf{{{m[1]}}}"),
    "word without macro": _whole(_WORD, lambda m: m[1]),
    "word in capitals": _whole(_WORD, lambda m: rf"\text{{{m[1].upper()}}}"),
    "word with a full stop": _whole(_WORD, lambda m: rf"\text{{{m[1]}.}}"),
    "choice as a letter": _whole(_CHOICE, lambda m: m[1]),
    "choice in brackets": _whole(_CHOICE, lambda m: f"({m[1]})"),
    "choice in bold": _whole(_CHOICE, lambda m: rf"\textbf{{({m[1]})}}"),
    "choice upright": _whole(_CHOICE, lambda m: rf"\mathrm{{{m[1]}}}"),
    "base in braces": _whole(_BASED, lambda m: f"{m[1]}_{{{m[2]}}}" if f"_{m[2]}" in m[0] else None),
    "base behind brackets": _whole(_BASED, lambda m: f"({m[1]})_{m[2]}"),
    "base in words": _whole(
        _BASED, lambda m: rf"{m[1]}_{{\text{{{_BASE_WORDS[m[2]]}}}}}" if m[2] in _BASE_WORDS else None
    ),
}
"""By name, so that a report can say which form was missed."""


def rewritten(golds: Sequence[str], per_rewrite: int, rng: random.Random) -> Iterator[tuple[str, str, str]]:
    """Yields (name of the rewrite, gold, the gold rewritten): for each rewrite so many golds that it applies to."""
    for name, rewrite in REWRITES.items():
        found: dict[str, str] = {}
        for gold in rng.sample(golds, len(golds)):
            if len(found) == per_rewrite:
                break
            answer = rewrite(gold)
            if answer is not None and answer != gold:
                found.setdefault(gold, answer)
        yield from ((name, gold, answer) for gold, answer in found.items())


def with_another_digit(gold: str, rng: random.Random) -> str | None:
    """One digit changed: another value, but for a base and other subscripts, which keep theirs."""
    places = [match.start() for match in re.finditer(r"(?<!_)(?<!_\{)\d", gold)]
    if not places:
        return None
    at = rng.choice(places)
    digit = rng.choice([digit for digit in "0123456789" if digit != gold[at]])
    changed = gold[:at] + digit + gold[at + 1 :]
    return changed if canonical(changed) != canonical(gold) else None


_NOISE = re.compile(
    r"\\(?:left|right|displaystyle|[,;:! ])|\\(?:text|mbox|mathrm)\{ ?[a-z .^0-9]+\}|\\(?:text|mbox|textbf)(?=\{)"
    r"|\\[$%]|%|\^\{?\\circ\}?|[\s(){}\[\]$]|_\{?\d\}?|\\(?:begin|end)\{.matrix\}"
)
"""What may be left off or stand there without another value, by one convention or another."""


def canonical(answer: str) -> str:
    r"""A text that is the same for answers that somebody could call equal; of unequal ones it is so for a few.

    >>> canonical(r"x = \dfrac12") == canonical("0.5")
    True
    >>> canonical("2, 1") == canonical(r"\left(1,2\right)")
    True
    """
    text = re.sub(r"\\[dtc]?frac\s*(?:\{([^{}]*)\}|(\w))\s*(?:\{([^{}]*)\}|(\w))", r"\1\2/\3\4", answer)
    text = _NOISE.sub("", re.sub(r"(\d),?\\!(?=\d{3})|(\d),(?=\d{3}(?!\d))", r"\1\2", text))
    text = re.sub(r"^[a-zA-Z]=", "", text).rstrip(".").lower()
    return ",".join(sorted(map(_canonical_number, text.split(","))))


def _canonical_number(text: str) -> str:
    try:
        return str(Fraction(text))
    except (ValueError, ZeroDivisionError):
        return text
