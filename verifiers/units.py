"""Units: which words are units, what they measure, and how large they are."""

from fractions import Fraction

_TABLE = """
length m 1: m meter metre
length 1/1000: mm millimeter millimetre
length 1/100: cm centimeter centimetre
length 1/10: dm decimeter decimetre
length 1000: km kilometer kilometre
length 254/10000: inch inches in
length 3048/10000: ft foot feet
length 9144/10000: yd yard
length 1609344/1000: mi mile
mass 1: g gm gram gramme
mass 1/1000: mg milligram
mass 1000: kg kilogram kilo
mass 1000000: ton tonne
mass 45359237/100000: lb lbs pound
mass 45359237/1600000: oz ounce
time 1: s sec second
time 60: min minute
time 3600: h hr hour
time 86400: day
time 604800: week
months 1: month
months 12: yr year
volume 1: l L liter litre
volume 1/1000: ml mL milliliter millilitre
money 1: dollar usd $ bucks
money 1/100: cent ¢ cents
euro 1: € euro eur
yuan 1: ¥ yuan rmb cny
rupee 1: ₹ rupee rs inr
sterling 1: £ gbp
angle 1: degree deg
angle pi: radian rad
speed 1609344/3600000: mph
speed 1000/3600: kph kmh
length-2 10000: hectare
percent 1/100: % percent pct percentage
"""
_CHINESE = {
    "米": "m", "厘米": "cm", "毫米": "mm", "分米": "dm", "千米": "km", "公里": "km", "克": "g", "千克": "kg",
    "公斤": "kg", "吨": "ton", "秒": "s", "分钟": "min", "分": "min", "小时": "h", "时": "h", "天": "day", "日": "day",
    "周": "week", "月": "month", "个月": "month", "年": "yr", "升": "l", "毫升": "ml", "元": "yuan", "美元": "dollar",
    "公顷": "hectare", "平方米": "m^2", "平方厘米": "cm^2", "平方分米": "dm^2", "平方千米": "km^2", "立方米": "m^3",
    "立方厘米": "cm^3", "立方分米": "dm^3", "度": "degree",
}  # fmt: skip


def _read_table() -> dict[str, tuple[str, Fraction]]:
    units: dict[str, tuple[str, Fraction]] = {}
    for line in _TABLE.strip().splitlines():
        head, _, words = line.partition(":")
        measure, size = head.split()[0], head.split()[-1]
        for word in words.split():
            # A radian's size is left to the comparison: it is no rational number of degrees.
            units[word] = ("radian" if size == "pi" else measure, Fraction(1 if size == "pi" else size))
    return units


UNITS = _read_table()
"""(measure, size in that measure's own unit) of each name."""
DERIVED = {("length", 3): ("volume", Fraction(1000)), ("length-2", 1): ("length", Fraction(1))}
"""A cubic metre is 1,000 litres; a hectare is an area."""
TEXT_ONLY = frozenset({"in", "a", "s", "m", "g", "h", "l", "L", "min", "rs", "sec", "deg", "mi", "day"})
"""Names that are units only behind a number."""
_WORD_LIKE = 3


def unit_name(word: str) -> str | None:
    """The unit a word names, in the singular: 'Centimeters' is 'centimeter'; None for any other word."""
    if word in _CHINESE:
        return _CHINESE[word]
    word = word.removesuffix(".")
    for form in (word, word.lower(), word.lower().removesuffix("s"), word.lower().removesuffix("es")):
        if form in UNITS:
            return "percent" if UNITS[form][0] == "percent" else form
    return None


def measure_of(unit: str) -> tuple[str, Fraction] | None:
    """What a unit such as 'cm^2' or 'km/h' measures, as a text, and its size; None for words that are no unit."""
    above, _, below = unit.partition("/")
    parts = [_power(part) for part in (above, below) if part]
    if any(part is None for part in parts):
        return None
    (measure, size), *rest = [part for part in parts if part is not None]
    if rest:
        below_measure, below_size = rest[0]
        if (measure, below_measure) == ("length", "time"):
            return "speed", size / below_size
        return f"{measure}/{below_measure}", size / below_size
    return measure, size


def _power(unit: str) -> tuple[str, Fraction] | None:
    name, _, power = unit.partition("^")
    if name not in UNITS:
        return None
    measure, size = UNITS[name]
    exponent = int(power or 1)
    if measure == "length-2":
        return "length^2", size
    if measure == "length" and exponent == 3:
        return "volume", size**3 * 1000
    return (f"{measure}^{exponent}" if exponent > 1 else measure), size**exponent
