"""Quantities: a value with a unit."""

from fractions import Fraction

from markscheme.verifiers.building import added, number, total_of
from markscheme.verifiers.cursor import Cursor
from markscheme.verifiers.tokens import Kind
from markscheme.verifiers.tree import (
    Constant,
    Function,
    Items,
    Node,
    Number,
    Power,
    Product,
    Quantity,
    Quotient,
    Signs,
    Sum,
    Symbol,
)
from markscheme.verifiers.units import measure_of, unit_name

SCALES = {"hundred": 100, "thousand": 1_000, "million": 1_000_000, "billion": 10**9, "trillion": 10**12, "dozen": 12}
_NO_UNIT_WORDS = frozenset("if unless or not maybe perhaps possibly either except assuming provided instead".split())
"""They make what stands in front something else than a statement."""
_POWER_WORDS = {"squared": 2, "cubed": 3}
_AREA_WORDS = {"square": 2, "sq": 2, "cubic": 3, "cu": 3}
_VALUES = (Number, Quotient, Product, Power, Function, Sum, Symbol, Constant, Quantity, Signs, Items)


class Quantities(Cursor):
    """Units, percent signs and degree marks behind a value."""

    def _compound(self, first: Node) -> Node | None:
        """2 hours 30 minutes and 1 degree 30' are one quantity."""
        token = self.ahead()
        if not isinstance(first, Quantity) or token is None or token.kind is not Kind.NUMBER:
            return None
        if first.unit == "degree" and self.value(1) == "'":
            minutes = number(self.take().value)
            self.take()
            return Quantity(total_of(first.value, Fraction(1), Number(minutes.value / 60)), "degree")
        start = self.at
        second = self.power_with_unit()
        total = added(first, second)
        if total is None:
            self.at = start
        return total

    def _unit(self, value: Node) -> Node | None:
        """A unit, a percent sign or other words behind a value."""
        if self.accept("%"):
            return Quantity(value, "percent")
        token = self.ahead()
        if isinstance(value, Quantity) and token is not None and token.value.lower() in SCALES:
            self.take()
            scale = Fraction(SCALES[token.value.lower()])
            inner = value.value
            scaled = Number(inner.value * scale) if isinstance(inner, Number) else Product([inner, Number(scale)])
            return Quantity(scaled, value.unit)
        if token is None or not isinstance(value, _VALUES):
            return None
        if self.value() in ("$", "€", "£", "¥", "₹"):
            following = self.ahead(1)
            if following is None or following.kind is not Kind.NUMBER:
                self.take()
                return Quantity(value, {"$": "dollar"}.get(token.value, token.value))
            return None
        if token.kind is Kind.WORD or (token.kind is Kind.LETTER and token.in_text and unit_name(token.value)):
            return self._unit_words(value)
        if self.value() == "frac" and self._is_unit_fraction():
            above, below = self.tokens[self.at + 2].value, self.tokens[self.at + 5].value
            self.at += 7
            return Quantity(value, unit_of([above, "per", below], 1))
        return None

    def _is_unit_fraction(self) -> bool:
        parts = self.tokens[self.at + 1 : self.at + 7]
        return (
            [part.value for part in parts if part.value in ("{", "}")] == ["{", "}", "{", "}"]
            and len(parts) == 6
            and all(parts[k].in_text and unit_name(parts[k].value) for k in (1, 4))
        )

    def _unit_words(self, value: Node) -> Node | None:
        words: list[str] = []
        start = self.at
        power = 1
        unit = ""
        while (token := self.ahead()) is not None:
            is_word = token.kind is Kind.WORD or (token.kind is Kind.LETTER and (token.in_text or bool(words)))
            if not is_word:
                if words and self.value() == "^" and not unit.count("^"):
                    self.take()
                    exponent = self._argument()
                    if isinstance(exponent, Number) and exponent.value in (2, 3):
                        power = int(exponent.value)
                        continue
                    self.at = start
                    return None
                if words and self.value() == "/":
                    following = self.ahead(1)
                    if following is not None and following.kind in (Kind.WORD, Kind.LETTER):
                        self.take()
                        words.append("per")
                        continue
                if self.value() in (".", "-", "'") and words:
                    self.take()
                    continue
                break
            words.append(self.take().value)
        if not words:
            return None
        if any(word.lower() in _NO_UNIT_WORDS for word in words):
            self.at = start
            return None
        if words[0].lower() in SCALES:
            scale = Number(Fraction(SCALES[words[0].lower()]))
            value = Number(value.value * scale.value) if isinstance(value, Number) else Product([value, scale])
            if len(words) == 1:
                return value
            words = words[1:]
        if isinstance(value, Symbol | Constant) and measure_of(unit_of(words, power)) is None:
            self.at = start
            return None
        if all(len(word) <= 3 and not word.isupper() for word in words) and not self.tokens[start].in_text:
            known = unit_name(words[0])
            if known is None:  # letters that are variables: 2xy
                self.at = start
                return None
        return Quantity(value, unit_of(words, power))

    def _degrees(self, value: Node) -> Node:
        token = self.ahead()
        if token is not None and token.value in ("C", "F", "K") and token.kind is Kind.LETTER:
            self.take()
            return Quantity(value, f"degree {token.value}")
        return Quantity(value, "degree")


def unit_of(words: list[str], power: int) -> str:
    """A unit's name with its power, such as `cm^2` or `km/h`; of other words, themselves."""
    lower = [word.lower() for word in words]
    if "per" in lower:
        middle = lower.index("per")
        if not 0 < middle < len(words) - 1:
            return " ".join(lower)
        return f"{unit_of(words[:middle], 1)}/{unit_of(words[middle + 1 :], power)}"
    if lower[0] in _AREA_WORDS and len(words) > 1:
        words, power = words[1:], _AREA_WORDS[lower[0]]
    elif lower[-1] in _POWER_WORDS and len(words) > 1:
        words, power = words[:-1], _POWER_WORDS[lower[-1]]
    name = unit_name(words[0]) if len(words) == 1 else unit_name(" ".join(words))
    if name is None:
        first = unit_name(words[0]) if words[0].lower() not in ("in", "a", "m", "s") else None
        return first or " ".join(lower)
    return name if power == 1 or "^" in name else f"{name}^{power}"
