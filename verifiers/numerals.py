"""Numerals."""

from fractions import Fraction

from markscheme.verifiers.building import in_base, number, repeating_number
from markscheme.verifiers.cursor import Cursor
from markscheme.verifiers.number_words import number_of_words
from markscheme.verifiers.tokens import Kind, Token, UnreadableError
from markscheme.verifiers.tree import Node, Number, Power, Product, Quantity

ORDINAL_ENDINGS = frozenset({"st", "nd", "rd", "th"})


class Numerals(Cursor):
    """Numbers as they are written: repeating, continued, scientific, in a base."""

    def _number(self, token: Token) -> Node:
        text = token.value
        if self.value() == "." and self.value(1) in ("overline", "bar", "dot"):
            self.take()
            return self._repeating(f"{text}.")
        if self.value() == "." and self.value(1) == "(":
            self.at += 2
            period = self._digits()
            self.expect(")")
            return repeating_number(f"{text}.", period)
        if "." in text and self.value() in ("overline", "bar", "dot"):
            return self._repeating(text)
        following = self.ahead()
        if (
            self.value() == "("
            and following is not None
            and not following.spaced
            and (inner := self.ahead(1)) is not None
            and inner.kind is Kind.NUMBER
            and self.value(2) == ")"
            and "." in text
        ):
            self.at += 3
            return repeating_number(text, inner.value)
        if self.value() == "ldots" and "." in text:
            return self._continued(text)
        if following is not None and following.kind is Kind.LETTER and following.value in "eE" and not following.spaced:
            return self._scientific(text)
        if self.value() == "_":
            return self._based(text)
        if following is not None and following.kind is Kind.WORD and following.value.lower() in ORDINAL_ENDINGS:
            self.take()
        return number(text)

    def _repeating(self, start: str) -> Node:
        if self.value() == "dot":
            digits = ""
            while self.accept("dot"):
                digits += self._digits()
                if (token := self.ahead()) is not None and token.kind is Kind.NUMBER and self.value(1) == "dot":
                    digits += self.take().value
            return repeating_number(start, digits)
        self.take()
        return repeating_number(start, self._digits())

    def _digits(self) -> str:
        braced = self.accept("{")
        token = self.take()
        if token.kind is not Kind.NUMBER or not token.value.isdigit():
            raise UnreadableError("digits are missing")
        if braced:
            self.expect("}")
        return token.value

    def _continued(self, text: str) -> Node:
        """0.333...: the last digits come again; at least twice must they have been written."""
        self.take()
        fraction = text.partition(".")[2]
        for length in range(1, len(fraction) // 2 + 1):
            period = fraction[-length:]
            if fraction[-2 * length : -length] == period and (
                length > 1 or len(fraction) >= 3 or fraction == period * 2
            ):
                return repeating_number(text[: len(text) - length], period)
        return Quantity(number(text), "...")

    def _scientific(self, text: str) -> Node:
        start = self.at
        self.take()
        sign = -1 if self.value() == "-" else 1
        if self.value() in ("-", "+"):
            self.take()
        token = self.ahead()
        if token is None or token.kind is not Kind.NUMBER or not token.value.isdigit() or token.spaced:
            self.at = start
            return number(text)
        self.take()
        return Product(
            [number(text), Power(Number(Fraction(10)), Number(Fraction(sign * int(token.value))))], explicit=True
        )

    def _based(self, digits: str) -> Node:
        self.take()
        base = self._base()
        return in_base(digits, base)

    def _base(self) -> int:
        braced = self.accept("{")
        bracketed = self.accept("(")
        token = self.take()
        if token.kind is Kind.NUMBER and token.value.isdigit() and len(token.value) <= 2:
            base = int(token.value)
        else:
            words = [token.value]
            while (word := self.ahead()) is not None and word.kind is Kind.WORD:
                words.append(self.take().value)
            number = number_of_words(" ".join(words).lower())
            if number is None:
                raise UnreadableError("a base that is no number")
            base = int(number)
        if bracketed:
            self.expect(")")
        if braced:
            self.expect("}")
        return base
