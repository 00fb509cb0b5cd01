"""Words in and around equations: which are operators, which begin an equation, which change what its numbers mean."""

import re

from markscheme.verifiers.patterns import compiled_later


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


SPOKEN_OPERATORS = {
    "times": "*", "plus": "+", "minus": "-", "of": "*", "multiplied by": "*", "divided by": "/", "的": "*", "乘": "*",
    "乘以": "*", "除以": "/", "加": "+", "减": "-", "加上": "+", "减去": "-",
}  # fmt: skip
PERCENT_WORDS = _words("percent pct percentage")
NOT_UNITS = _words(
    "a an the and or so then is are was were be that which who what we he she it they i you this these those of to"
    " from in on at for with by as if but since because thus therefore hence now remaining rest total gives equals"
    " times plus minus than less more left mod modulo squared cubed half twice double triple am pm o'clock st nd rd th"
    " remainder hundred thousand million billion trillion dozen dozens pair pairs score couple quarter quarters gross"
    " triangle triangles"
)
"""Words behind a number that are not its unit, or change its value."""
STATING = _words(
    "is are was were be so thus therefore hence then now have has had get gets got makes make made earns earn earned"
    " spends spend spent costs cost pays pay paid equals total totals totaling gives leaves needs need uses used buys"
    " bought sells sold eats ate drinks runs walks we they he she it i answer means which that because since as does"
    " did do that's it's there's 共 是 为 有 得 即 剩 需要 一共 所以"
)
"""Words in front of an equation that begin it, whatever numbers stand before them."""
_ALTERING = _words(
    "times plus minus into than over twice thrice half double triple quarter third quarters thirds fourth fifths less"
    " more squared cubed dozen hundred thousand million billion one two three four five six seven eight nine ten eleven"
    " twelve twenty thirty forty fifty sixty seventy eighty ninety percent mod modulo base log ln sin cos tan max min"
    " gcd lcm exp sqrt negative 的 倍 比 除以 乘以 加 减 乘 除 加上 减去 百分之 万 千 百 亿"
)
JOINING = _ALTERING | _words("by to from per of and or x 和 与 每")
"""Words in front of an equation that may be a part of it."""
CHANGING = _ALTERING | _words(
    "trillion dozens pair pairs score couple halves remainder remaining r th st nd rd am pm o'clock"
    " triangle triangles 余 个半 打"
)
"""Words behind an equation that may change its last number."""
ARTICLES = _words("a an the this these those his her their its our my your")
QUANTITIES = _words("number amount price cost value length width height base area rate speed time")
"""Words at the beginning of a bracket that is a factor and no remark: 4 (number of boxes)."""
_SHORT = _words("up go me my us no do our its all ok oh")
KNOWN_WORDS = _SHORT | NOT_UNITS | STATING | JOINING | CHANGING | PERCENT_WORDS

_SUPPOSED = compiled_later(
    r"\b(?:suppose|assume|assuming|guess|whether|claim|would|instead of|mistake|incorrect|incorrectly|wrong|not|cannot"
    r"|isn't|doesn't|never|digits?)\b|假设|如果",
    re.IGNORECASE,
)
"""In the sentence in front of an equation."""
_TESTED = compiled_later(
    r"\b(?:try|trying|tried|check|checking|verify|verifying|test|testing|valid|satisfy|satisfies|holds|true)\b|检验|验证",
    re.IGNORECASE,
)
"""Somewhat further in front of it."""
_DIVIDED = compiled_later(r"\b(?:remainder|quotient)\b|余", re.IGNORECASE)
_REFUTED = compiled_later(
    r"\b(?:contradiction|contradicts|contradictory|false|impossible|invalid|extraneous|no solutions?"
    r"|not (?:a )?(?:valid|true|equal|possible|solution|hold)"
    r"|(?:doesn't|does not|don't|do not) (?:work|hold|satisfy|equal|match))\b|\\neq?\b|[≠✗❌]|矛盾|不成立",
    re.IGNORECASE,
)
"""Behind it."""
_TURNED = compiled_later(
    r"\b(?:not|n't|doesn't|isn't|cannot|incorrect|wrong|mistake|error|remainder|remaining|round|rounded|rounding"
    r"|approximately|left over|leftover|modulo|mod|digits?)\b|[?？]|\\pmod|\\equiv|错误|不|余|约",
    re.IGNORECASE,
)
"""In the rest of its sentence."""
_SENTENCE_END = compiled_later(r"[.!。！\n](?=\s|$)")
_MODULUS = compiled_later(
    r"(?:\bmod(?:ulo|ulus)?|\\[pb]?mod)\s{0,3}[{$(\\]{0,3}\s?([0-9]{1,6})|\b(?:units?|ones|last|final) (two )?digits?",
    re.IGNORECASE,
)
_MOST_MODULI = 20
_BASES = compiled_later(
    r"\bin (?:\w+ )?bases?\b|\bbase[- ]?[0-9]+ (?:number|representation|expansion|system)"
    r"|\b(?:binary|octal|hexadecimal)\b",
    re.IGNORECASE,
)
_OWN_OPERATION = compiled_later(
    r"\b(?:operation|operator)s?\b|\(?\b[a-zA-Z]\b\)?[\s$]{0,3}(?:\*|x|\\times|\\cdot|\\star|\\ast)[\s$]{0,3}"
    r"\(?\b[a-zA-Z]\b\)?[\s$]{0,3}="
)


def is_contested(text: str, start: int, end: int, *, divides: bool = False) -> bool:
    """Whether the words around an equation suppose, test, refute or round it; or name the remainder of its division."""
    before, after = text[max(0, start - 120) : start], text[end : end + 200]
    if divides and _DIVIDED.search(before):
        return True
    if _TESTED.search(before) or _REFUTED.search(after):
        return True
    sentence = _SENTENCE_END.split(before)[-1][-80:]
    return bool(_SUPPOSED.search(sentence) or _TURNED.search(_SENTENCE_END.split(after[:80])[0]))


def defines_signs(prompt: str) -> bool:
    """Whether a problem defines an operation of its own, so that 2 * 3 may be anything."""
    return bool(_OWN_OPERATION.search(prompt))


def reckons_in_bases(text: str) -> bool:
    """Whether a text writes numbers in another base than ten without saying so at each."""
    return bool(_BASES.search(text))


def moduli_of(text: str) -> frozenset[int]:
    """The moduli that a text reckons with; 10 and 100 for its last digits."""
    found: set[int] = set()
    for match in _MODULUS.finditer(text):
        found.add(int(match[1]) if match[1] else 100 if match[2] else 10)
        if len(found) >= _MOST_MODULI:
            break
    return frozenset(found - {0, 1})
