r"""Answer text, LaTeX or plain, into tokens: spellings of one thing become one token, and spacing and fonts none.

`\dfrac` and `\frac`, `10{,}080` and `10080`, `x²` and `x^2`, `\text{ cm}` and `cm` leave no trace of their difference.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from markscheme.verifiers.limits import MAX_NUMBER_CHARS, MAX_TOKENS
from markscheme.verifiers.patterns import compiled_later


class UnreadableError(ValueError):
    """The text is not mathematics that this package reads. The message says what it stumbled over."""


class OutOfScopeError(UnreadableError):
    """Mathematics that this parser leaves to the symbolic tier: integrals, limits, commands it does not know."""


class TooLargeError(UnreadableError):
    """A limit was hit before the text was read."""


class ManyItemsError(TooLargeError):
    """A list longer than the limit: whatever it is, it is no single value."""


class HiddenError(UnreadableError):
    """Something in the text is made not to be seen: what is shown is not what is written."""


class Kind(StrEnum):
    NUMBER = "number"
    LETTER = "letter"
    WORD = "word"
    """Several letters that are no known function; also letters inside a text command."""
    COMMAND = "command"
    """A backslash word, or a function's name without its backslash."""
    SIGN = "sign"


@dataclass(slots=True)
class Token:
    kind: Kind
    value: str
    spaced: bool
    """Whether space stood before it."""
    in_text: bool = False


_UNICODE = str.maketrans(
    {
        **dict.fromkeys("−–‐‑‒﹣－—", "-"),
        **dict.fromkeys("\u00a0\u2009\u202f\u3000\u2002\u2003\u2005\u200a\u205f", " "),
        **dict.fromkeys("\u200b\u200c\u200d\ufeff\u2060\u00ad\u200e\u2061\u2062\u2063", ""),
        **{"×": "*", "·": "*", "⋅": "*", "∙": "*", "•": "*", "∗": "*", "＊": "*", "÷": "/", "∕": "/", "⁄": "/"},
        **{"√": r"\sqrt ", "∛": r"\sqrt[3] ", "π": r"\pi ", "∞": r"\infty ", "±": r"\pm ", "∓": r"\mp "},
        **{"≤": r"\le ", "≥": r"\ge ", "⩽": r"\le ", "⩾": r"\ge ", "≠": r"\ne ", "≈": r"\approx ", "≡": r"\equiv "},
        **{"∪": r"\cup ", "∩": r"\cap ", "∈": r"\in ", "∉": r"\notin ", "∅": r"\emptyset ", "∖": r"\setminus "},
        **{"ℝ": r"\mathbb{R}", "ℤ": r"\mathbb{Z}", "ℕ": r"\mathbb{N}", "ℚ": r"\mathbb{Q}", "ℂ": r"\mathbb{C}"},
        **{"°": r"^\circ ", "º": r"^\circ ", "′": "'", "’": "'", "‘": "'", "″": "''", "“": '"', "”": '"'},
        "…": r"\ldots ",
        **{"½": r"\frac12 ", "⅓": r"\frac13 ", "⅔": r"\frac23 ", "¼": r"\frac14 ", "¾": r"\frac34 ", "⅕": r"\frac15 "},
        **{"⅖": r"\frac25 ", "⅗": r"\frac35 ", "⅘": r"\frac45 ", "⅙": r"\frac16 ", "⅚": r"\frac56 ", "⅛": r"\frac18 "},
        **{"⅜": r"\frac38 ", "⅝": r"\frac58 ", "⅞": r"\frac78 ", "⟨": r"\langle ", "⟩": r"\rangle "},
        **{"〈": r"\langle ", "〉": r"\rangle ", "⌊": r"\lfloor ", "⌋": r"\rfloor ", "⌈": r"\lceil ", "⌉": r"\rceil "},
        **{"→": r"\to ", "⇒": r"\Rightarrow ", "∠": r"\angle ", "△": r"\triangle ", "∶": ":", "∣": "|", "ℓ": "l"},
        **{"，": ",", "。": ".", "：": ":", "；": ";", "（": "(", "）": ")", "、": ",", "％": "%", "＝": "="},
        "＋": "+",
        **{"＜": "<", "＞": ">", "／": "/", "．": ".", "［": "[", "］": "]", "｛": "{", "｝": "}", "￥": "¥"},
        "∧": " and ",
        **{"∨": " or ", "ϕ": r"\phi ", "ɸ": r"\phi ", "【": "[", "】": "]", "＄": "$", "𝑖": "i", "ⅈ": "i", "ⅇ": "e"},
        **{character: str(digit) for digit, character in enumerate("０１２３４５６７８９")},
        **{chr(0xFF21 + k): chr(0x41 + k) for k in range(26)},
        **{chr(0xFF41 + k): chr(0x61 + k) for k in range(26)},
        **{character: rf"\{name} " for character, name in zip(
            "αβγδεζηθικλμνξρστυφχψωΓΔΘΛΞΠΣΦΨΩ",
            "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi rho sigma tau upsilon phi chi psi"
            " omega Gamma Delta Theta Lambda Xi Pi Sigma Phi Psi Omega".split(),
            strict=True,
        )},
    }
)  # fmt: skip
_RAISED = compiled_later("[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁽⁾ⁿ]+")
_LOWERED = compiled_later("[₀₁₂₃₄₅₆₇₈₉]+")
_RAISED_PLAIN = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁽⁾ⁿ", "0123456789+-()n")
_LOWERED_PLAIN = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")
_HIDDEN = compiled_later("[\x00-\x08\x0e-\x1f\x7f\u200f\u202a-\u202e\u2066-\u2069]")
"""Control characters and those that turn the reading direction: what is seen is not what is written."""

_THOUSANDS = (
    r"[0-9]{1,3}(?:(?:\s?\{,\s?\}|\s?,?\s?\\[!,;:]|\{\\,\}|[ '](?=[0-9]{3}))\s?[0-9]{3})+(?![0-9])(?:\.[0-9]+)?"
)
_PLAIN_THOUSANDS = r"[1-9][0-9]{0,2}(?:,[0-9]{3})+(?![0-9])(?:\.[0-9]+)?"
_TOKEN_PATTERN = r"""
    (?P<space>(?:\s|~|\\[,;:!>\ ]|\\q?quad|\\(?:thinspace|enspace|hfill|newline|displaystyle|textstyle|scriptstyle
        |limits|nolimits|left|right|middle|[bB]igg?[lrm]?|rm|bf|it|sf|tt|cal|normalsize|large|Large|small|tiny|displaylimits
        |allowbreak|nonumber|strut|mathstrut|par|noindent|centering|protect|unboldmath|boldmath)(?![a-zA-Z]))+)
    |(?P<decimal>(?:0|[0-9]+(?=\{,\}[0-9]{1,2}(?![0-9])))\{,\}[0-9]+)
    |(?P<number>THOUSANDS[0-9]+(?:\.[0-9]+)?|\.[0-9]+)
    |(?P<braced>\{[:=<>+]\})
    |\\(?P<command>[a-zA-Z]+)\*?
    |(?P<word>[a-zA-Z]+|[^\x00-\x7f]+)
    |(?P<sign>\\\\(?:\s*\[-?[0-9.]+\s*(?:pt|em|ex|mm|cm|in)\])?|\\[^a-zA-Z]|<=|>=|!=|==|<>|=>|->|\*\*|\.\.\.|.)
"""
_THOUSANDS_MARK = compiled_later(r"[^0-9.]+")

FUNCTIONS = frozenset(
    "sin cos tan cot sec csc arcsin arccos arctan arccot arcsec arccsc sinh cosh tanh coth sech csch arcsinh arccosh"
    " arctanh asin acos atan ln log lg exp sqrt cbrt gcd lcm min max floor ceil abs det deg re im arg sgn mod".split()
)
"""Names that are functions without a backslash too."""
_PLAIN_COMMANDS = frozenset(
    FUNCTIONS
    | set(
        "pi infty infinity oo theta alpha beta gamma delta lambda sigma omega phi frac dfrac tfrac binom cdot times pm"
        " cup cap emptyset varnothing".split()
    )
)
_SAME_COMMAND = {
    "dfrac": "frac", "tfrac": "frac", "cfrac": "frac", "dbinom": "binom", "tbinom": "binom", "varphi": "phi",
    "leq": "le", "leqslant": "le", "geq": "ge", "geqslant": "ge", "neq": "ne", "lt": "<", "gt": ">", "vert": "|",
    "lvert": "|", "rvert": "|", "mid": "|", "lVert": "||", "rVert": "||", "Vert": "||", "cdot": "*", "cdotp": "*",
    "times": "*", "ast": "*", "div": "/", "varnothing": "emptyset", "empty": "emptyset", "lbrace": "\\{",
    "rbrace": "\\}", "lbrack": "[", "rbrack": "]", "colon": ":", "backslash": "setminus", "smallsetminus": "setminus",
    "dots": "ldots", "cdots": "ldots", "dotsc": "ldots", "dotsb": "ldots", "lgroup": "(", "rgroup": ")",
    "infin": "infty", "infinity": "infty", "oo": "infty", "degree": "circ", "prime": "'", "land": "and", "wedge": "and",
    "lor": "or", "vee": "or", "simeq": "approx", "thickapprox": "approx", "cong": "approx", "doteq": "approx",
    "varepsilon": "epsilon", "vartheta": "theta", "asin": "arcsin", "acos": "arccos", "atan": "arctan", "lg": "log10",
    "longrightarrow": "to", "rightarrow": "to", "Longrightarrow": "Rightarrow", "implies": "Rightarrow",
    "iff": "Leftrightarrow", "lparen": "(", "rparen": ")", "percent": "\\%", "textdegree": "circ", "tan^{-1}": "arctan",
    "dollar": "\\$", "textdollar": "\\$", "pounds": "£", "euro": "€", "choose": "choose", "arcctg": "arccot",
    "tg": "tan", "ctg": "cot", "cosec": "csc", "arctg": "arctan", "ce": "text", "cdotp ": "*", "sh": "sinh",
    "ch": "cosh", "th": "tanh", "owns": "ni", "ll": "<", "gg": ">",
}  # fmt: skip
_SIGN_COMMANDS = frozenset({"*", "/", "<", ">", "|", "||", "[", "]", "(", ")", ":", "'", "\\{", "\\}", "\\%", "\\$"})
_TEXT_COMMANDS = frozenset(
    "text textbf textit textrm textsf texttt textnormal textup textmd mathrm mbox hbox operatorname emph"
    " underline mathsf mathtt textsc operatornamewithlimits unit".split()
)
_FONT_COMMANDS = frozenset(
    "mathbf boldsymbol bm mathit mathcal mathscr mathfrak bold pmb vec overrightarrow hat widehat tilde widetilde"
    " boxed fbox mathopen mathclose mathord mathrel mathbin mathop ensuremath smash".split()
)
"""Dropped, their argument stays. A vector's arrow and a font say nothing about a value."""
_ARGUMENT_DROPPED = frozenset("color hspace vspace phantom hphantom vphantom label tag mspace kern".split())
_HIDING_COLOUR = compiled_later(r"\\(?:text)?color\s*\{\s*(?:white|transparent|#?[fF]{6}|background)\s*\}")
_SIGNS = {
    "<=": "le", ">=": "ge", "!=": "ne", "<>": "ne", "==": "=", "=>": "Rightarrow", "->": "to", "**": "^",
    "...": "ldots", "\\%": "%", "\\&": "and", "\\|": "||", "\\#": "#", "\\_": "_", "\\/": "", "\\-": "", "\\'": "'",
    "\\\n": "",
}  # fmt: skip
_PLAIN_SIGNS = frozenset("{}+-=^_/*,")
"""Which mean themselves and open nothing."""
_BEFORE_ONE_NUMERAL = frozenset({"_", "^", "log", "ln"})
_TO_COMMAND = frozenset({"le", "ge", "ne", "Rightarrow", "to", "ldots"})
_CONNECTIVES = frozenset({"and", "or"})
_DELIMITER = {"\\(": "", "\\)": "", "\\[": "", "\\]": "", "$": ""}


def plain_unicode(text: str) -> str:
    r"""Unicode's signs and digits as LaTeX or ASCII: '√2' is '\sqrt 2', 'x²' is 'x^{2}'."""
    if text.isascii():
        return text
    text = _RAISED.sub(lambda match: f"^{{{match[0].translate(_RAISED_PLAIN)}}}", text)
    text = _LOWERED.sub(lambda match: f"_{{{match[0].translate(_LOWERED_PLAIN)}}}", text)
    return text.translate(_UNICODE)


def tokenise(text: str, *, in_text: bool = False) -> list[Token]:
    """The tokens of an answer.

    Raises:
        UnreadableError: at hidden characters, unmatched braces of a text command, or over the limit of tokens.
    """
    if not in_text:
        text = plain_unicode(text)
        if hidden := _HIDDEN.search(text):
            raise HiddenError(f"hidden character {hidden[0]!r}")
        if "color" in text and _HIDING_COLOUR.search(text):
            raise HiddenError("hidden by its colour")
    patterns = _token_patterns()
    tokens: list[Token] = []
    position, depth, spaced = 0, 0, False
    while position < len(text):
        after = tokens[-1].value if tokens else ""
        match = patterns[2 if after in _BEFORE_ONE_NUMERAL else depth > 0].match(text, position)
        assert match is not None  # the last alternative takes any character
        position = match.end()
        kind, value = match.lastgroup, match[match.lastgroup or 0]
        if kind == "space":
            spaced = True
            continue
        if kind == "number":
            if len(value) > MAX_NUMBER_CHARS:
                raise TooLargeError(f"a numeral of {len(value)} digits")
            digits = value if value.isdigit() else _THOUSANDS_MARK.sub("", value)
            tokens.append(Token(Kind.NUMBER, digits, spaced))
        elif kind == "decimal":
            tokens.append(Token(Kind.NUMBER, value.replace("{,}", "."), spaced))
        elif kind == "braced":
            _sign(tokens, value[1], text, position, spaced)
        elif kind == "word":
            tokens += _words(value, spaced, in_text)
        elif kind == "command":
            position = _command(tokens, value, text, position, spaced)
        elif value in _PLAIN_SIGNS:
            tokens.append(Token(Kind.SIGN, value, spaced))
        else:
            depth += (value in ("(", "[", "\\{")) - (value in (")", "]", "\\}"))
            _sign(tokens, value, text, position, spaced)
        spaced = False
        if len(tokens) > MAX_TOKENS:
            raise TooLargeError(f"more than {MAX_TOKENS} signs")
    return tokens


@lru_cache(maxsize=1)
def _token_patterns() -> tuple[re.Pattern[str], re.Pattern[str], re.Pattern[str]]:
    """For the outermost level, within brackets, and behind some signs; compiled when first needed.

    A comma may separate thousands outside brackets; nothing may behind a subscript's sign: \\log_5 125.
    """
    numerals = (f"{_THOUSANDS}|{_PLAIN_THOUSANDS}|", f"{_THOUSANDS}|", "")
    outermost, within, plain = (
        re.compile(_TOKEN_PATTERN.replace("THOUSANDS", numeral), re.VERBOSE | re.DOTALL) for numeral in numerals
    )
    return outermost, within, plain


def _words(value: str, spaced: bool, in_text: bool) -> list[Token]:
    lower = value.lower()
    if len(value) == 1 and value.isascii():
        return [Token(Kind.LETTER, value, spaced, in_text)]
    if in_text and lower == "min":
        return [Token(Kind.WORD, value, spaced, in_text)]
    if value in _PLAIN_COMMANDS or (lower in _PLAIN_COMMANDS and value.istitle() and not in_text):
        return [_named(_SAME_COMMAND.get(lower, lower), spaced)]
    if lower == "to":
        return [Token(Kind.SIGN, ":", spaced)]
    if lower in _CONNECTIVES:
        return [Token(Kind.COMMAND, lower, spaced)]
    return [Token(Kind.WORD, value, spaced, in_text)]


def _named(name: str, spaced: bool) -> Token:
    return Token(Kind.SIGN if name in _SIGN_COMMANDS else Kind.COMMAND, name.removeprefix("\\") if name in
                 ("\\%", "\\$") else name, spaced)  # fmt: skip


def _command(tokens: list[Token], name: str, text: str, position: int, spaced: bool) -> int:
    """Appends what a command stands for; returns where to go on."""
    if name in _TEXT_COMMANDS:
        content, position = _argument(text, position)
        inner = tokenise(content, in_text=True)
        if inner:
            inner[0].spaced = inner[0].spaced or spaced
            tokens += inner
        return position
    if name in _FONT_COMMANDS:
        return position
    if name in _ARGUMENT_DROPPED:
        return _argument(text, position)[1]
    if name == "textcolor":
        return _argument(text, position)[1]
    if name == "mathbb":
        content, position = _argument(text, position)
        tokens.append(Token(Kind.COMMAND, f"set {content.strip()}", spaced))
        return position
    if name in ("begin", "end"):
        content, position = _argument(text, position)
        if content.rstrip("*") in ("array", "tabular") and name == "begin":
            _, position = _argument(text, position)
        tokens.append(Token(Kind.COMMAND, f"{name} {content.rstrip('*')}", spaced))
        return position
    tokens.append(_named(_SAME_COMMAND.get(name, name), spaced))
    return position


def _argument(text: str, position: int) -> tuple[str, int]:
    """What stands in the braces from `position` on, or the one character there; and where it ends."""
    while position < len(text) and text[position].isspace():
        position += 1
    if position >= len(text) or text[position] != "{":
        return text[position : position + 1], position + 1
    depth = 0
    for end in range(position, len(text)):
        if text[end] == "{" and text[end - 1] != "\\":
            depth += 1
        elif text[end] == "}" and text[end - 1] != "\\":
            depth -= 1
            if depth == 0:
                return text[position + 1 : end], end + 1
    raise UnreadableError("braces that do not match")


def _sign(tokens: list[Token], value: str, text: str, position: int, spaced: bool) -> None:
    if value == "\\$" or (value == "$" and text[position : position + 1].isdigit() and text.count("$") % 2):
        tokens.append(Token(Kind.SIGN, "$", spaced))
        return
    value = "\\\\" if value.startswith("\\\\") else value
    value = _DELIMITER.get(value, _SIGNS.get(value, value))
    if value and value not in ('"', "`"):
        tokens.append(Token(Kind.COMMAND if value in _TO_COMMAND or value == "and" else Kind.SIGN, value, spaced))
