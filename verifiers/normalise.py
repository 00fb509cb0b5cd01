r"""Reading an answer: canonical text, its unit, percent sign and number base, and its exact value if it is a number.

`read` is the entry. Two answers of one canonical text are the same answer; what is merely spelled differently
(\dfrac and \frac, 10{,}000 and 10000, a trailing dot, dollar signs) has one canonical text.
"""

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from markscheme.verifiers.limits import MAX_EXPONENT, MAX_NUMBER_CHARS

_UNICODE = str.maketrans(
    {
        **dict.fromkeys("−–‐‑﹣－", "-"),
        **dict.fromkeys("\u00a0\u2009\u202f\u3000", " "),
        **dict.fromkeys("\u200b\ufeff\x00", ""),
        **{"×": r"\times ", "·": r"\cdot ", "⋅": r"\cdot ", "÷": "/", "√": r"\sqrt", "π": r"\pi ", "∞": r"\infty "},
        **{"≤": r"\le ", "≥": r"\ge ", "≠": r"\ne ", "±": r"\pm ", "∪": r"\cup ", "°": r"^\circ ", "′": "'"},
        **{"½": r"\frac{1}{2}", "¼": r"\frac{1}{4}", "¾": r"\frac{3}{4}", "θ": r"\theta ", "＝": "=", "％": "%"},
        **{"²": "^{2}", "³": "^{3}", "，": ",", "。": ".", "：": ":", "（": "(", "）": ")", "￥": "¥"},
        **{"∅": r"\emptyset ", "∈": r"\in ", "⟨": r"\langle ", "⟩": r"\rangle "},
    }
)
_UNITS = {
    "mm": "millimeter millimetre", "cm": "centimeter centimetre", "m": "meter metre", "km": "kilometer kilometre",
    "in": "inch inches", "ft": "foot feet", "yd": "yard", "mi": "mile mph", "g": "gram", "kg": "kilogram",
    "mg": "milligram", "lb": "pound", "oz": "ounce", "s": "second sec", "min": "minute", "h": "hour hr", "day": "",
    "week": "", "month": "", "year": "yr", "dollar": "usd", "cent": "", "l": "liter litre", "ml": "milliliter",
    "degree": "deg", "unit": "", "point": "", "percent": "",
}  # fmt: skip
_NO_UNITS = frozenset(
    {"and", "or", "not", "am", "pm", "i", "e", "pi", "mod", "squared", "cubed", "factorial"}
    | {"hundred", "thousand", "million", "billion", "dozen"}
)
"""Words and letters behind a number that change what it is."""
_FUNCTION_NAMES = frozenset(
    {"sin", "cos", "tan", "cot", "sec", "csc", "arcsin", "arccos", "arctan", "log", "exp", "sqrt", "frac"}
    | {"mod", "gcd", "lcm", "max", "min", "and", "cup", "cap"}
)
_UNIT_OF_WORD = {word: unit for unit, words in _UNITS.items() for word in (unit, *words.split())}
_UNIT_WORD = "|".join(sorted((word for word in _UNIT_OF_WORD if len(word) > 1), key=len, reverse=True))
_PLAIN_UNIT = re.compile(
    rf"(?<=[0-9}})])\s*((?:(?:sq|square|cu|cubic)\.?\s+)?(?:{_UNIT_WORD})e?s?\.?(?:\s*(?:/|per)\s*(?:{_UNIT_WORD}))?)"
    r"(\^\{?[23]\}?)?$",
    re.IGNORECASE,
)
_PLAIN_WORDS = re.compile(r"(?<=[0-9])\s+([a-zA-Z]{3,}(?:\s+[a-zA-Z]+)*)()$")
_TEXT_UNIT = re.compile(r"(?<=\S)\s*\\(?:text|textrm|textnormal|mathrm|mbox|rm)\s*\{([^{}0-9]*)\}(\^\{?[23]\}?)?$")
_TEXT_COMMAND = re.compile(
    r"\\(?:text|textbf|textit|textrm|textnormal|textup|mathrm|mathbf|mathit|mbox|hbox|operatorname|boldsymbol|bold|emph|rm|bf)"
    r"\*?\s*\{([^{}]*)\}"
)
_DROPPED_COMMAND = re.compile(
    r"\\(?:left|right|displaystyle|textstyle|limits|quad|qquad|bigl?|bigr|Bigl?|Bigr|rm|bf|hfill|newline)(?![a-zA-Z])"
    r"|(?<!\\)\\[!,;:> ()\[\]]|~"
)
_FRACTION_COMMAND = re.compile(r"\\[dtc]frac(?![a-zA-Z])")
_SHORT_FRACTION = re.compile(r"\\frac\s*(?:\{([^{}]*)\}|([0-9a-zA-Z]))\s*(?:\{([^{}]*)\}|([0-9a-zA-Z]))")
_SHORT_ROOT = re.compile(r"\\sqrt\s*([0-9]+|[a-zA-Z])")
_ROOT_OF_PARENTHESES = re.compile(r"\\sqrt\s*\(([^()]*)\)")
_PLAIN_COMMAND = re.compile(r"(?<![a-zA-Z\\])(pi|sqrt|infinity|infty|theta|sin|cos|tan|log|ln)(?![a-zA-Z])")
_EXPLICIT_THOUSANDS = re.compile(r"(?<=[0-9])(?:\{,\}|,?\\[!,]|,\s*\\!)(?=[0-9]{3}(?![0-9]))")
_THOUSANDS = re.compile(r"(?<![0-9.,])[0-9]{1,3}(?:,[0-9]{3})+(?![0-9,])")
_SPACED_THOUSANDS = re.compile(r"(?<![0-9.,])[0-9]{1,3}(?: [0-9]{3})+(?![0-9, ])")
_PLAIN_MIXED = re.compile(r"(?<![0-9./])([0-9]+)\s+([0-9]+)/([0-9]+)(?![0-9./])")
_ORDINAL = re.compile(r"(?<=[0-9])\s*\^?\{?\s*(?:st|nd|rd|th)(?![a-zA-Z])\s*\}?")
_BASE = re.compile(r"^([0-9][0-9A-F]*)_\{?([0-9]{1,2})\}?$")
_PUNCTUATION = re.compile(r"\s|(?<![0-9])[.,]|[.,](?![0-9])|['\"`*]")
_SPACE = re.compile(r"\s+")
_SYNONYMS = {
    "leq": r"\le ", "geq": r"\ge ", "neq": r"\ne ", "leqslant": r"\le ", "geqslant": r"\ge ", "lt": "<", "gt": ">",
    "varnothing": r"\emptyset ", "lbrace": r"\{", "rbrace": r"\}", "lbrack": "[", "rbrack": "]", "infin": r"\infty ",
    "degree": r"^\circ ", "cdotp": r"\cdot ", "land": " and ", "lor": " or ", "colon": ":", "dots": r"\ldots ",
}  # fmt: skip
_SYNONYM = re.compile(rf"\\({'|'.join(_SYNONYMS)})(?![a-zA-Z])")

_INTEGER = re.compile(r"[0-9]+")
_DECIMAL = r"(?:[0-9]+\.?[0-9]*|\.[0-9]+)"
_PLAIN_DECIMAL = re.compile(_DECIMAL)
_REPEATING = re.compile(r"([0-9]*)\.([0-9]*)\\(?:overline|bar)\{?([0-9]+)\}?")
_QUOTIENT = re.compile(rf"\\frac\{{(-?{_DECIMAL})\}}\{{(-?{_DECIMAL})\}}|({_DECIMAL})/({_DECIMAL})")
_MIXED = re.compile(r"([0-9]+)\\frac\{([0-9]+)\}\{([0-9]+)\}")
_SCIENTIFIC = re.compile(
    rf"(?:({_DECIMAL})(?:\\times|\\cdot|\*|x)|)10\^(?:\{{(-?[0-9]+)\}}|(-?[0-9]+))|({_DECIMAL})[eE]([+-]?[0-9]+)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """An answer as it was understood."""

    text: str
    """Canonical, without unit, percent sign and base."""
    unit: str = ""
    """Such as "cm^2"; empty if there is none or it is none we know."""
    base: int | None = None
    """Of a numeral such as 1011_2."""
    percent: bool = False
    worded: bool = False
    r"""Whether it was written in \text{...} or holds a word: then case and punctuation do not count."""

    @property
    def number(self) -> Fraction | None:
        """The exact value; of a percentage, the figure before the sign."""
        return None if self.base else exact_number(self.text)

    @property
    def words(self) -> str:
        """The text for a comparison of words: in lower case, without punctuation other than inside numbers."""
        return _PUNCTUATION.sub("", self.text).casefold()


@lru_cache(maxsize=4096)
def read(answer: str) -> Reading:
    r"""Reads an answer of at most MAX_ANSWER_CHARS.

    >>> read(r"$10{,}080 \text{ cm}^2$.")
    Reading(text='10080', unit='cm^2', base=None, percent=False, worded=False)
    """
    text = unwrap(answer.translate(_UNICODE))
    text = _SYNONYM.sub(lambda match: _SYNONYMS[match[1]], text)
    text = text.replace(r"\%", "%").replace("bmatrix", "pmatrix").replace("<=", r"\le ").replace(">=", r"\ge ")
    text = _EXPLICIT_THOUSANDS.sub("", text)
    text = _DROPPED_COMMAND.sub(" ", text)
    text = unwrap(text)
    text, unit = _split_unit(text)
    text, percent = _split_percent(text)
    had_text_command = bool(_TEXT_COMMAND.search(text))
    text = _ORDINAL.sub("", _plain_words(text))
    text = _PLAIN_COMMAND.sub(lambda match: f"\\{match[1].replace('infinity', 'infty')} ", text)
    text = _fractions_and_roots(text)
    if not any(bracket in text for bracket in "([{") or exact_number(text) is not None:
        text = _SPACED_THOUSANDS.sub(lambda match: match[0].replace(" ", ""), text)
        text = _THOUSANDS.sub(lambda match: match[0].replace(",", ""), text)
    text = _without_needless_space(text)
    text, base = _split_base(text)
    return Reading(
        text=text, unit=unit, base=base, percent=percent, worded=bool(text) and (had_text_command or holds_word(text))
    )


def unwrap(text: str) -> str:
    r"""Takes off what surrounds an answer: white space, dollar signs, \(...\), boxes, bold marks, a trailing dot."""
    for _ in range(8):
        before = text
        text = text.strip().rstrip(".,;:").rstrip()
        text = text.removesuffix(r"\\").rstrip()
        for left, right in (("$$", "$$"), ("$", "$"), (r"\(", r"\)"), (r"\[", r"\]"), ("`", "`"), ("**", "**")):
            if len(text) >= len(left) + len(right) and text.startswith(left) and text.endswith(right):
                text = text[len(left) : len(text) - len(right)]
        for box in (r"\boxed", r"\fbox"):
            inner = text.removeprefix(box).strip()
            if text.startswith(box) and inner.startswith("{") and _closing_brace(inner) == len(inner) - 1:
                text = inner[1:-1]
        if text.startswith("{") and _closing_brace(text) == len(text) - 1:
            text = text[1:-1]
        if text == before:
            break
    return text


def _closing_brace(text: str) -> int:
    """Where the brace at the start of the text is closed; -1 if nowhere."""
    depth = 0
    for index, character in enumerate(text):
        escaped = index > 0 and text[index - 1] == "\\"
        if character == "{" and not escaped:
            depth += 1
        elif character == "}" and not escaped:
            depth -= 1
            if depth == 0:
                return index
    return -1


def _split_unit(text: str) -> tuple[str, str]:
    """(text without its unit, the unit if it is one of those we know)."""
    in_dollars = text.lstrip("-").startswith((r"\$", "$")) and text.count("$") == 1  # two enclose a formula
    text = text.replace(r"\$", "").replace("$", "").lstrip("€£¥")
    if re.search(r"\^\{?\\circ\}?\s*$", text) and not re.search(r"\\(?:sin|cos|tan|cot|sec|csc)", text):
        return re.sub(r"\^\{?\\circ\}?\s*$", "", text).rstrip(), "degree"
    match = _TEXT_UNIT.search(text) or _PLAIN_UNIT.search(text) or _PLAIN_WORDS.search(text)
    words = set(re.findall(r"[a-z]+", match[1].casefold().replace(".", ""))) if match else set()
    if match and match.start() > 0 and words and not words & (_NO_UNITS | _FUNCTION_NAMES):
        body = text[: match.start()].rstrip(" ,")
        if not body.endswith((r"\text", "=", "+", "-")) and re.search(r"[0-9a-zA-Z})]$", body):
            return body, _known_unit(match[1], match[2] or "")
    return text, "dollar" if in_dollars else ""


def _known_unit(words: str, power: str) -> str:
    power = power.strip("^{}")
    units: list[str] = []
    for word in re.findall(r"[a-z]+|/", words.casefold()):
        if word in ("square", "sq"):
            power = "2"
        elif word in ("cubic", "cu"):
            power = "3"
        elif word in ("per", "/"):
            units.append("/")
        else:
            unit = _UNIT_OF_WORD.get(word) or _UNIT_OF_WORD.get(word.removesuffix("s"))
            if unit in (None, "unit", "point", "percent"):
                return ""
            units.append(str(unit))
    return "".join(units) + (f"^{power}" if power else "")


def _split_percent(text: str) -> tuple[str, bool]:
    for sign in ("%", r"\text{percent}", "percent"):
        if text.endswith(sign) and len(text) > len(sign):
            return text.removesuffix(sign).rstrip(), True
    return text, False


def _plain_words(text: str) -> str:
    r"""\text{...} and its kin replaced by what they hold, innermost first."""
    for _ in range(3):
        replaced = _TEXT_COMMAND.sub(r" \1 ", text)
        if replaced == text:
            break
        text = replaced
    return text


def _fractions_and_roots(text: str) -> str:
    text = _FRACTION_COMMAND.sub(r"\\frac", text)
    text = _SHORT_FRACTION.sub(
        lambda match: (
            rf"\frac{{{match[1] if match[1] is not None else match[2]}}}"
            rf"{{{match[3] if match[3] is not None else match[4]}}}"
        ),
        text,
    )
    text = _SHORT_ROOT.sub(r"\\sqrt{\1}", _ROOT_OF_PARENTHESES.sub(r"\\sqrt{\1}", text))
    return _PLAIN_MIXED.sub(r"\1\\frac{\2}{\3}", text)


def _without_needless_space(text: str) -> str:
    r"""White space stays, as one blank, between two letters or two digits: "\pi r", "1 2", but not "x + 1", "2 x"."""

    def blank(match: re.Match[str]) -> str:
        before, after = text[match.start() - 1 : match.start()], text[match.end() : match.end() + 1]
        return " " if (before.isalpha() and after.isalpha()) or (before.isdigit() and after.isdigit()) else ""

    text = text.strip()
    return _SPACE.sub(blank, text)


def _split_base(text: str) -> tuple[str, int | None]:
    match = _BASE.match(text)
    return (match[1], int(match[2])) if match else (text, None)


def holds_word(text: str) -> bool:
    """Whether the text holds a word of prose: three letters or more, no command and no function."""
    words = re.findall(r"(?<![a-zA-Z\\])[a-zA-Z]{3,}", text)
    return "\\begin" not in text and any(word.lower() not in _FUNCTION_NAMES for word in words)


def exact_number(text: str) -> Fraction | None:
    r"""The value of a canonical numeral: integer, decimal, fraction, mixed, repeating or scientific; else None.

    >>> exact_number(r"-1\frac{1}{2}"), exact_number(r"0.1\overline{6}"), exact_number("two")
    (Fraction(-3, 2), Fraction(1, 6), None)
    """
    if len(text) > MAX_NUMBER_CHARS:
        return None
    unsigned = text.replace(" ", "") if not re.search(r"[0-9] [0-9]", text) else text
    negative = unsigned.startswith("-")
    unsigned = unsigned.removeprefix("-").removeprefix("+") if negative else unsigned.removeprefix("+")
    if _THOUSANDS.fullmatch(unsigned.partition(".")[0]):
        unsigned = unsigned.replace(",", "")
    try:
        value = _unsigned_number(unsigned)
    except ZeroDivisionError:
        return None
    return -value if negative and value is not None else value


def _unsigned_number(text: str) -> Fraction | None:
    if _INTEGER.fullmatch(text):
        return Fraction(int(text))
    if _PLAIN_DECIMAL.fullmatch(text):
        return Fraction(text.removesuffix("."))
    if match := _QUOTIENT.fullmatch(text):
        above, below = (match[1], match[2]) if match[1] else (match[3], match[4])
        return Fraction(above.removesuffix(".")) / Fraction(below.removesuffix("."))
    if match := _MIXED.fullmatch(text):
        return int(match[1]) + Fraction(int(match[2]), int(match[3]))
    if match := _REPEATING.fullmatch(text):
        whole, start, period = match[1] or "0", match[2], match[3]
        tail = Fraction(int(period), (10 ** len(period) - 1) * 10 ** len(start))
        return Fraction(f"{whole}.{start or '0'}") + tail
    if match := _SCIENTIFIC.fullmatch(text):
        exponent = match[2] or match[3] or match[5]
        if len(exponent.lstrip("+-")) > len(str(MAX_EXPONENT)) or abs(int(exponent)) > MAX_EXPONENT:
            return None
        factor = (match[1] or match[4] or "1").removesuffix(".")
        return Fraction(factor) * Fraction(10) ** int(exponent)
    return None
