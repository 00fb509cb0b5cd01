r"""A question as the words and signs that make it this problem and no other, however it is typeset.

White space, case, punctuation, `$`, braces and layout commands go. Numbers and the signs of arithmetic stay: with
another number, or a minus for a plus, it is another problem.
"""

import hashlib
import re
import unicodedata

DRAWING = re.compile(r"\[asy\].*?\[/asy\]", re.DOTALL)

# \left( is a bracket and \dfrac a \frac: what only says how a formula looks does not tell problems apart.
LAYOUT = frozenset(r"\left \right \displaystyle \quad \qquad \text \mbox \textbf \mathrm".split())
SAME = {r"\dfrac": r"\frac", r"\tfrac": r"\frac"}

OPERATORS = frozenset("+-*/^=<>!%|")
BRACKETS = frozenset("()[]")
TYPOGRAPHIC = str.maketrans({"−": "-", "–": "-", "⁄": "/", "$": " ", "`": " ", "~": " "})  # ~ is a space in LaTeX

NUMBER_WORDS = frozenset(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred thousand million".split()
)
ANY_NUMBER = "#"

_TOKEN = re.compile(
    r"""
    \\[a-z]+                                # a LaTeX command
    | \\[^a-z%\s]                           # \, \{ \[ and the like: spaces and delimiters
    | (?<=_)\d                              # \log_781 is \log_7 81
    | \d+(?:,\d{3}(?!\d))*(?:\.\d+)?        # 80,000 and 2.5
    | (?<![\w.])\.\d+                       # .5, but not the 5 of "apples.5 of them"
    | [\u3040-\u30ff\u3400-\u9fff]          # Chinese and Japanese have no spaces: each character is a word
    | [^\W\d_\u3040-\u30ff\u3400-\u9fff]+   # letters
    | (?<=[\d)])!|(?<=\b[a-z])!             # a factorial, not an exclamation
    | (?<![^\W\d_])-|-(?![^\W\d_])          # a minus, not a hyphen between letters
    | [^\w\s!-]
    """,
    re.VERBOSE,
)
_SUPERSCRIPT = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹]+")  # NFKC would make 23 of 2³
_VULGAR_FRACTION = re.compile("[¼-¾⅐-⅞]")  # and 21/2 of 2½
_THOUSANDS = re.compile(r"(?<=\d)(?:\{,\}|,\\!)(?=\d{3})")  # 10{,}000 and 10,\!000


def tokens_of(text: str) -> list[str]:
    r"""Words, numbers, LaTeX commands and signs.

    >>> tokens_of(r"What is $\left(2x\right)^2 - 1{,}000$?")
    ['what', 'is', '(', '2', 'x', ')', '^', '2', '-', '1000']
    """
    text = _VULGAR_FRACTION.sub(r" \g<0>", _SUPERSCRIPT.sub(r"^\g<0>", text))
    text = unicodedata.normalize("NFKC", text).lower().translate(TYPOGRAPHIC)
    return [_plain(token) for token in _TOKEN.findall(_THOUSANDS.sub(",", text)) if _counts(token)]


def words_of(tokens: list[str]) -> list[str]:
    """Those that are words or numbers."""
    return [token for token in tokens if token[0] in "\\." or token[0].isalnum()]


def without_drawings(text: str) -> str:
    """The text without Asymptote code, which begins alike in many problems."""
    return DRAWING.sub(" ", text)


def text_hash(tokens: list[str]) -> str:
    """SHA-256 of a text by its tokens."""
    return hashlib.sha256(" ".join(tokens).encode("utf-8", "surrogatepass")).hexdigest()


def without_numbers(tokens: list[str]) -> list[str]:
    """The tokens with a placeholder for every number, in digits or spelt out.

    >>> without_numbers(tokens_of("Ben has three of 16 cards."))
    ['ben', 'has', '#', 'of', '#', 'cards']
    """
    return [ANY_NUMBER if is_number(token) else token for token in tokens]


def is_number(token: str) -> bool:
    """Whether a token is a number, in digits or spelt out."""
    return token[0].isdigit() or (token[0] == "." and len(token) > 1) or token in NUMBER_WORDS


def _counts(token: str) -> bool:
    if token[0] == "\\":
        return token[1:].isalpha() and token not in LAYOUT
    if len(token) > 1 or token.isalnum() or token in OPERATORS or token in BRACKETS:
        return True
    return unicodedata.category(token)[0] in "SM"  # other symbols, and the vowel signs of some scripts


def _plain(token: str) -> str:
    return token.replace(",", "") if token[0].isdigit() else SAME.get(token, token)
