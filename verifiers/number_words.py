"""Numbers written as words, English to nine hundred ninety-nine thousand and Chinese: twelve, 百分之四十."""

import re
from fractions import Fraction

from markscheme.verifiers.patterns import compiled_later

_SMALL = {
    word: number
    for number, word in enumerate(
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
        " seventeen eighteen nineteen".split()
    )
}
_TENS = {word: 10 * k for k, word in enumerate("twenty thirty forty fifty sixty seventy eighty ninety".split(), 2)}
_ORDINALS = {
    "first": "one", "second": "two", "third": "three", "fifth": "five", "eighth": "eight", "ninth": "nine",
    "twelfth": "twelve", "twentieth": "twenty", "thirtieth": "thirty", "fortieth": "forty", "fiftieth": "fifty",
}  # fmt: skip
_PARTS = {"half": 2, "third": 3, "quarter": 4, "fourth": 4, "fifth": 5, "sixth": 6, "seventh": 7, "eighth": 8,
          "ninth": 9, "tenth": 10, "eleventh": 11, "twelfth": 12, "sixteenth": 16, "twentieth": 20}  # fmt: skip
_FRACTION_IN_WORDS = compiled_later(r"([a-z]+(?:[ -][a-z]+)?)[ -]([a-z]{3,10})(?: of (?:an?|one|the) [a-z]+)?")
_CHINESE_DIGITS = {character: number for number, character in enumerate("零一二三四五六七八九")} | {"两": 2, "〇": 0}
_CHINESE_TENS = {"十": 10, "百": 100, "千": 1000, "万": 10_000}
_CHINESE_NUMBER = "[零一二三四五六七八九两〇十百千万]+"
_FRACTION = compiled_later(rf"({_CHINESE_NUMBER}|[0-9.]+)分之({_CHINESE_NUMBER}|[0-9.]+)")
_MIXED = compiled_later(rf"({_CHINESE_NUMBER}|[0-9]+)又({_CHINESE_NUMBER}|[0-9]+)分之({_CHINESE_NUMBER}|[0-9]+)")


def number_of_words(text: str) -> int | None:
    """The number that English words are, or None: 'twenty-one', 'one hundred and five'."""
    words = [
        _ORDINALS.get(word, word.removesuffix("th") if len(word) > 4 else word)
        for word in re.split(r"[\s-]+", text.strip())
        if word and word != "and"
    ]
    if not words or len(words) > 12:
        return None
    total, current = 0, 0
    for position, word in enumerate(words):
        if word in _SMALL and (current % 100 == 0 or (_SMALL[word] < 10 and current % 100 in _TENS.values())):
            current += _SMALL[word]
        elif word in _TENS and current % 100 == 0:
            current += _TENS[word]
        elif word == "hundred" and position:
            current *= 100
        elif word in ("thousand", "million") and position:
            total, current = total + current * (1000 if word == "thousand" else 1_000_000), 0
        else:
            return None
    return total + current


def fraction_of_words(text: str) -> Fraction | None:
    """The fraction that English words are, or None: 'two thirds', 'three quarters of a cup', 'one half'."""
    match = _FRACTION_IN_WORDS.fullmatch(text.strip())
    above = number_of_words(match[1].replace("-", " ")) if match else None
    below = _PARTS.get(match[2].removesuffix("s").replace("halve", "half")) if match else None
    return Fraction(above, below) if above and below else None


def chinese_number(text: str) -> int | None:
    """一百零五 is 105; None for anything else."""
    total, section, digit = 0, 0, 0
    if not text:
        return None
    for character in text:
        if character in _CHINESE_DIGITS:
            digit = _CHINESE_DIGITS[character]
        elif character == "万":
            total, section, digit = (total + section + digit) * 10_000, 0, 0
        elif character in _CHINESE_TENS:
            section += (digit or 1) * _CHINESE_TENS[character]
            digit = 0
        else:
            return None
    return total + section + digit


def with_chinese_fractions(text: str) -> str:
    """Writes 五分之二 as 2/5, 百分之四十 as 40% and 3又1/2 as 3 1/2; other text stays."""
    if "分之" not in text and "又" not in text:
        return text

    def digits(number: str) -> str:
        value = number if number[0].isdigit() else chinese_number(number)
        return str(value)

    text = re.sub(rf"百分之({_CHINESE_NUMBER}|[0-9.]+)", lambda match: f"{digits(match[1])}%", text)
    text = _MIXED.sub(lambda match: f"{digits(match[1])} {digits(match[3])}/{digits(match[2])}", text)
    text = _FRACTION.sub(lambda match: f"{digits(match[2])}/{digits(match[1])}", text)
    return re.sub(r"([0-9]+)又", r"\1 ", text)


def value_of_fraction(text: str) -> Fraction | None:
    """The value of `2/5` and `12`; None for other text."""
    return Fraction(text) if re.fullmatch(r"-?[0-9]+(/[0-9]*[1-9])?", text) else None
