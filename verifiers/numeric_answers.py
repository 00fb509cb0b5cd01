"""The number of an answer that has words around it."""

import re

from markscheme.verifiers.limits import MAX_ANSWER_CHARS
from markscheme.verifiers.patterns import compiled_later
from markscheme.verifiers.reading import read

_NUMERAL = compiled_later(
    r"-?\s?\\?[$¥￥€£]?\s?(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)(?:\.[0-9]+)?(?:\s?/\s?[0-9]+)?(?:\s?\\?[%％])?|-?\.[0-9]+"
    r"|[0-9一二三四五六七八九十百]+分之[0-9一二三四五六七八九十百.]+"
)
_WORDS_AND_NUMBER = compiled_later(
    r"(?:[\w\s.,'’%$¥￥€£/:：°²³!*-]|\\[a-zA-Z]+\s?\{|\\[a-zA-Z ,;!%$]|[{}^]|[、，。；！（）])*"
)
"""Words around a number, and no signs of code: brackets, quotes, operators."""
_CURRENCY = compiled_later(r"\s?\\?[$¥￥€£]\s?")
_LETTERS_IN_FRONT = compiled_later(r"(?<![\\a-zA-Z])[a-zA-Z]{1,3}$")
_CURRENCIES = frozenset({"USD", "EUR", "GBP", "INR", "CNY", "RMB", "RS", "US", "AUD", "CAD", "HK", "NT", "SGD", "PHP"})
CALCULATOR_MARK = compiled_later(r"<<[^<>]*>>")
_FRACTION = compiled_later(r"-?\s?(?:[0-9]+\s?)?\\[dtc]?frac\s?(?:\{[0-9.]+\}|[0-9])\s?(?:\{[0-9.]+\}|[0-9])")


def _is_part_of_a_name(text: str, numeral: re.Match[str]) -> bool:
    """Whether letters stand right in front that are no currency: room B150."""
    letters = _LETTERS_IN_FRONT.search(text[: numeral.start()]) if numeral[0][0].isdigit() else None
    return letters is not None and letters[0].upper() not in _CURRENCIES


def only_number(answer: str) -> str:
    """The one numeral of an answer with words around it, such as "18 dollars a day"; else the answer as it is.

    Of an equation the right side counts: 9 * 2 = 18, if what stands left of it comes to the same.
    """
    answer = answer[-MAX_ANSWER_CHARS:]
    if "<<" in answer:
        answer = CALCULATOR_MARK.sub("", answer)
    reading = read(answer)
    if reading.number is not None:
        return answer
    left, sign, right = answer.rpartition("=")
    if sign:
        first, last = read(left.rpartition("=")[2]).number, read(right).number
        if last is None:
            right = only_number(right)
            last = read(right).number
        return right if last is not None and first in (None, last) else answer
    if not _WORDS_AND_NUMBER.fullmatch(answer):
        return answer
    for pattern in (_FRACTION, _NUMERAL):
        numerals = list(pattern.finditer(answer))
        if len(numerals) == 1 and not _is_part_of_a_name(answer, numerals[0]):
            return _CURRENCY.sub("", numerals[0][0])
        if numerals:
            break
    return answer
