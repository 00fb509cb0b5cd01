"""Walking over tokens."""

from collections.abc import Callable

from markscheme.verifiers.limits import MAX_DEPTH
from markscheme.verifiers.tokens import Kind, Token, TooLargeError, UnreadableError
from markscheme.verifiers.tree import Node

_PADDING = ["", "", ""]


class Cursor:
    """A place in the tokens, and the levels of precedence that every part of the parser calls."""

    def __init__(self, tokens: list[Token]) -> None:
        self.tokens = tokens
        self.signs = [sign_of(token) for token in tokens] + _PADDING
        self.at = 0
        self.depth = 0
        self.open_bars = 0
        self.in_set = False

    def ahead(self, offset: int = 0) -> Token | None:
        index = self.at + offset
        return self.tokens[index] if 0 <= index < len(self.tokens) else None

    def value(self, offset: int = 0) -> str:
        """The sign there, or up to two further on; "" for anything else and behind the end."""
        return self.signs[self.at + offset]

    def replace(self, index: int, tokens: list[Token]) -> None:
        """Puts other tokens in the place of one."""
        self.tokens[index : index + 1] = tokens
        self.signs[index : index + 1] = map(sign_of, tokens)

    def take(self) -> Token:
        if self.at >= len(self.tokens):
            raise UnreadableError("it breaks off")
        self.at += 1
        return self.tokens[self.at - 1]

    def accept(self, *values: str) -> bool:
        if self.signs[self.at] in values:
            self.at += 1
            return True
        return False

    def expect(self, *values: str) -> str:
        if self.value() not in values:
            raise UnreadableError(f"{values[0]!r} is missing")
        return self.take().value

    def nested(self, parse: Callable[[], Node]) -> Node:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise TooLargeError(f"nested more than {MAX_DEPTH} deep")
        node = parse()
        self.depth -= 1
        return node

    # Levels that other parts call; `parse.Parser` has them.

    def statements(self) -> Node:
        raise NotImplementedError

    def relation(self) -> Node:
        raise NotImplementedError

    def total(self) -> Node:
        raise NotImplementedError

    def product(self) -> Node:
        raise NotImplementedError

    def power(self) -> Node:
        raise NotImplementedError

    def power_with_unit(self) -> Node:
        raise NotImplementedError

    def starts_factor(self) -> bool:
        raise NotImplementedError

    def _argument(self) -> Node:
        raise NotImplementedError

    def _cases(self, name: str) -> Node:
        raise NotImplementedError


def sign_of(token: Token) -> str:
    return token.value if token.kind in (Kind.SIGN, Kind.COMMAND) else ""


def split(tokens: list[Token], sign: str) -> list[list[Token]]:
    parts: list[list[Token]] = [[]]
    for token in tokens:
        if token.value == sign:
            parts.append([])
        else:
            parts[-1].append(token)
    return parts
