"""Atoms: what binds strongest."""

from collections.abc import Callable
from fractions import Fraction

from markscheme.verifiers.building import function_of, number, quotient, text_of, with_sign
from markscheme.verifiers.limits import MAX_ITEMS
from markscheme.verifiers.number_words import number_of_words
from markscheme.verifiers.numerals import Numerals
from markscheme.verifiers.tokens import FUNCTIONS, Kind, OutOfScopeError, Token, TooLargeError, UnreadableError
from markscheme.verifiers.tree import (
    BigOperator,
    Constant,
    Function,
    Items,
    Matrix,
    Node,
    Number,
    Power,
    Product,
    Quantity,
    Relation,
    SetBuilder,
    Symbol,
    Words,
)

_CONSTANTS = {"pi": "pi", "infty": "infinity", "emptyset": "empty", "imath": "i", "exp1": "e"}
_NUMBER_SETS = {"set R": "R", "set Z": "Z", "set N": "N", "set Q": "Q", "set C": "C", "Re": "R"}
_MATRICES = frozenset("matrix pmatrix bmatrix Bmatrix vmatrix smallmatrix array psmallmatrix bsmallmatrix".split())
_STOP_WORDS = frozenset(
    "of is if in no at by on as it be an we so do up us he me my go the all not any yes one".split()
)
GREEK = frozenset(
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi rho sigma tau upsilon phi chi psi omega"
    " Gamma Delta Theta Lambda Xi Pi Sigma Phi Psi Omega ell hbar imath jmath aleph partial nabla".split()
)
NAMES_OF_THINGS = frozenset({"angle", "triangle", "overline", "widehat", "arc", "measuredangle"})
RELATIONS = {
    "=": "=", "<": "<", ">": ">", "le": "<=", "ge": ">=", "ne": "!=", "in": "in", "notin": "notin", "approx": "~",
    "equiv": "equiv", "subset": "subset", "subseteq": "subset",
}  # fmt: skip


class Atoms(Numerals):
    """What a value begins with: numbers, letters, brackets, functions, matrices."""

    def _exponent(self) -> Node:
        if self.value() in ("-", "+"):
            return with_sign(self.take().value, self.nested(self._exponent))
        if self.value() == "{":
            return self.nested(self._group)
        token = self.ahead()
        if token is not None and (token.kind in (Kind.NUMBER, Kind.LETTER) or token.value in GREEK):
            node = self.atom()
            return Power(node, self.nested(self._exponent)) if self.accept("^") else node
        return self.nested(self.atom)

    def _argument(self) -> Node:
        """What a command takes: a group in braces, one command with its own arguments, one letter or one digit."""
        if self.value() == "{":
            return self.nested(self._group)
        token = self.take()
        if token.kind is Kind.NUMBER:
            if len(token.value) > 1 and "." not in token.value:
                self.at -= 1
                self.replace(self.at, [Token(Kind.NUMBER, token.value[1:], False)])
                return Number(Fraction(token.value[0]))
            return number(token.value)
        self.at -= 1
        if self.value() == "-":
            self.take()
            return with_sign("-", self._argument())
        return self.nested(self.atom)

    def _group(self) -> Node:
        """`{...}`: braces that group, and in plain text those of a set."""
        self.expect("{")
        if self.accept("}"):
            raise UnreadableError("an empty group")
        bars, self.open_bars = self.open_bars, 0
        in_set, self.in_set = self.in_set, False
        node = self.statements()
        self.open_bars, self.in_set = bars, in_set
        if self.value() in ("over", "choose"):
            infix = self.take().value
            below = self.statements()
            node = quotient(node, below) if infix == "over" else Function("binomial", [node, below])
        self.expect("}")
        if isinstance(node, Items) and node.brackets == "":
            return Items("{}", node.items)
        return node

    def atom(self) -> Node:
        token = self.take()
        if token.kind is Kind.NUMBER:
            return self._number(token)
        if token.kind is Kind.LETTER:
            return self._letter(token)
        if token.kind is Kind.WORD:
            return self._word(token)
        value = token.value
        if value in ("(", "["):
            return self.nested(lambda: self._brackets(value))
        if value == "{":
            self.at -= 1
            return self.nested(self._group)
        if value == "\\{":
            return self.nested(self._set)
        if value in ("|", "||"):
            return self.nested(lambda: self._absolute(value))
        if value in ("$", "€", "£", "¥", "₹"):
            return Quantity(self.power(), {"$": "dollar"}.get(value, value))
        if value in FUNCTIONS or value == "log10":
            return self.nested(lambda: self._function(value))
        if value in _CONSTANTS:
            return Constant(_CONSTANTS[value])
        if value in GREEK:
            return self._subscripted("\\" + value)
        if value in _NUMBER_SETS:
            name = _NUMBER_SETS[value]
            if self.accept("^"):
                name += "^" + text_of(self._argument())
            if self.accept("_"):
                name += "_" + text_of(self._argument())
            return Constant(name)
        method = _COMMANDS.get(value)
        if method is not None:
            return self.nested(lambda: method(self))
        if value.startswith("begin "):
            return self.nested(lambda: self._matrix(value.removeprefix("begin ")))
        if value in NAMES_OF_THINGS:
            return Symbol(f"{value} {self._letters()}")
        if token.kind is Kind.COMMAND and len(value) > 1:
            raise OutOfScopeError(f"{value!r} is not known")
        raise UnreadableError(f"{value!r} does not begin a value")

    def _letters(self) -> str:
        braced = self.accept("{")
        name = ""
        while (token := self.ahead()) is not None and token.kind in (Kind.LETTER, Kind.WORD):
            name += self.take().value
        if braced:
            self.expect("}")
        if not name:
            raise UnreadableError("a name is missing")
        return name

    def _letter(self, token: Token) -> Node:
        if token.value == "e" and self.value() != "_":
            return Constant("e")
        if token.value == "i" and self.value() != "_":
            return Constant("i")
        return self._subscripted(token.value)

    def _subscripted(self, name: str) -> Node:
        if self.accept("_"):
            if self.value() == "{":
                self.take()
                depth, parts = 1, []
                while depth:
                    token = self.take()
                    depth += (token.value == "{") - (token.value == "}")
                    parts.append(token.value)
                name += "_" + "".join(parts[:-1])
            else:
                name += "_" + self.take().value
        return Symbol(name)

    def _word(self, token: Token) -> Node:
        if token.in_text or not token.value.isascii():
            number = number_of_words(token.value.lower())
            if number is not None and self.ahead() is None:
                return Number(Fraction(number))
            if self.value() in RELATIONS or self.value() == "_":
                return self._subscripted(token.value)
            raise UnreadableError("words")
        following, previous = self.ahead(), self.ahead(-2)
        adjacent = previous is not None and not token.spaced and previous.value not in (",", ";")
        joined = adjacent or (following is not None and (not following.spaced or following.value in "=+-*/^_"))
        if token.value.lower() in _STOP_WORDS and self.value() != "^":
            raise UnreadableError("words")
        if len(token.value) == 2 or (joined and len(token.value) <= 4) or self.value() in RELATIONS:
            letters = [Token(Kind.LETTER, letter, False) for letter in token.value]
            self.replace(self.at - 1, letters)
            self.at -= 1
            return self._letter(self.take())
        raise UnreadableError("words")

    def _brackets(self, opening: str) -> Node:
        bars, self.open_bars = self.open_bars, 0
        in_set, self.in_set = self.in_set, False
        inner = self.statements()
        self.open_bars, self.in_set = bars, in_set
        if self.value() == "|" and opening == "(":
            raise UnreadableError("a bar within brackets")
        closing = self.expect(")", "]")
        brackets = opening + closing
        if isinstance(inner, Items) and inner.brackets == "":
            if brackets == "()" and self.value() == "_":
                raise UnreadableError("a subscript to a tuple")
            return Items(brackets, inner.items)
        if brackets not in ("()", "[]"):
            raise UnreadableError(f"{brackets} around one value")
        if isinstance(inner, Number) and brackets == "()" and self.value() == "_" and inner.value.denominator == 1:
            return self._based(str(inner.value))
        if isinstance(inner, Relation) and brackets == "()":
            return inner
        return inner

    def _set(self) -> Node:
        if self.accept("\\}"):
            return Constant("empty")
        bars, self.open_bars = self.open_bars, 0
        in_set, self.in_set = self.in_set, True
        inner = self.statements()
        if self.value() in ("|", ":", "mid"):
            self.take()
            self.in_set = False
            condition = self.statements()
            self.expect("\\}")
            self.open_bars, self.in_set = bars, in_set
            return SetBuilder(inner, condition)
        self.open_bars, self.in_set = bars, in_set
        self.expect("\\}")
        items = inner.items if isinstance(inner, Items) and inner.brackets == "" else [inner]
        return Items("{}", items)

    def _absolute(self, bar: str) -> Node:
        self.open_bars += 1
        inner = self.total()
        self.open_bars -= 1
        self.expect(bar)
        return Function("abs", [inner])

    def _angle_brackets(self) -> Node:
        inner = self.statements()
        self.expect("rangle", ">")
        return Items("<>", inner.items if isinstance(inner, Items) and inner.brackets == "" else [inner])

    def _floor(self) -> Node:
        inner = self.total()
        self.expect("rfloor")
        return Function("floor", [inner])

    def _ceiling(self) -> Node:
        inner = self.total()
        self.expect("rceil")
        return Function("ceil", [inner])

    def _fraction(self) -> Node:
        return quotient(self._argument(), self._argument())

    def _root(self) -> Node:
        degree: Node = Number(Fraction(2))
        if self.value() == "[":
            self.take()
            degree = self.total()
            self.expect("]")
        token = self.ahead()
        if token is not None and token.kind is Kind.NUMBER:  # \sqrt12 is meant as the root of 12
            self.take()
            return Function("root", [number(token.value), degree])
        return Function("root", [self._argument(), degree])

    def _cube_root(self) -> Node:
        return Function("root", [self._argument(), Number(Fraction(3))])

    def _binomial(self) -> Node:
        return Function("binomial", [self._argument(), self._argument()])

    def _function(self, name: str) -> Node:
        if name in ("mod", "det"):
            raise UnreadableError(f"{name!r} is not known here")
        if name == "sqrt":
            return self._root()
        if name == "cbrt":
            return self._cube_root()
        exponent: Node | None = None
        base: Node | None = Number(Fraction(10)) if name in ("log", "log10") else None
        for _ in range(2):
            if self.accept("_"):
                base = self._argument_number()
            elif self.accept("^"):
                exponent = self._exponent()
        inverse = isinstance(exponent, Number) and exponent.value == -1 and name not in ("ln", "log", "exp")
        if inverse:
            name, exponent = f"arc{name}", None
        if self.value() in ("(", "[") or (self.value() == "{" and name in ("gcd", "lcm", "min", "max")):
            closing = {"(": ")", "[": "]", "{": "}"}[self.take().value]
            bars, self.open_bars = self.open_bars, 0
            inner = self.statements()
            self.open_bars = bars
            self.expect(closing)
            arguments = inner.items if isinstance(inner, Items) and inner.brackets == "" else [inner]
            if self.accept("^"):  # \sin(x)^2 is read as (\sin x)^2
                power = self._exponent()
                return Power(function_of(name, arguments, base, exponent), power)
        else:
            arguments = [self._function_argument()]
        return function_of(name, arguments, base, exponent)

    def _argument_number(self) -> Node:
        """A subscript base: `\\log_2 8` and `\\log_{10} x`, and `log_10(x)` as plain text writes it."""
        token = self.ahead()
        if token is not None and token.kind is Kind.NUMBER:
            self.take()
            return number(token.value)
        return self._argument()

    def _function_argument(self) -> Node:
        """`\\sin 2x` takes 2x, and `\\sin x \\cos x` only x."""
        if self.value() in ("-", "+"):
            return with_sign(self.take().value, self._function_argument())
        factors = [self.power()]
        while (
            self.starts_factor()
            and self.value() not in ("(", "[", "|", "||", "{")
            and not (self.value() in FUNCTIONS and self.value() != "sqrt")
        ):
            factors.append(self.power())
        return factors[0] if len(factors) == 1 else Product(factors)

    def _big_operator(self, name: str) -> Node:
        low: Node | None = None
        high: Node | None = None
        variable = ""
        for _ in range(2):
            if self.accept("_"):
                bound = self._argument()
                if isinstance(bound, Relation) and isinstance(bound.sides[0], Symbol | Constant):
                    variable, low = bound.sides[0].name, bound.sides[1]
                else:
                    raise OutOfScopeError("a sum without a running variable")
            elif self.accept("^"):
                high = self._exponent()
        return BigOperator(name, variable, low, high, self.product())

    def _sum(self) -> Node:
        return self._big_operator("sum")

    def _product_of(self) -> Node:
        return self._big_operator("product")

    def _integral(self) -> Node:
        raise OutOfScopeError("an integral")

    def _limit(self) -> Node:
        raise OutOfScopeError("a limit")

    def _long_dots(self) -> Node:
        return Words("...")

    def _overline(self) -> Node:
        name = self._letters()
        if len(name) == 1 and name.islower():
            return Function("conjugate", [Symbol(name)])
        return Symbol(f"overline {name}")

    def _matrix(self, name: str) -> Node:
        if name not in _MATRICES:
            if name in ("cases", "aligned", "align", "split", "gathered"):
                return self._cases(name)
            raise UnreadableError(f"an environment {name!r}")
        rows: list[list[Node]] = [[]]
        while not self.accept(f"end {name}"):
            if self.value() == "\\\\" or self.value() == "hline":
                self.take()
                if rows[-1]:
                    rows.append([])
                continue
            rows[-1].append(self.relation())
            self.accept("&")
        if not rows[-1]:
            rows.pop()
        if sum(map(len, rows)) > MAX_ITEMS:
            raise TooLargeError(f"more than {MAX_ITEMS} entries")
        if not rows or len({len(row) for row in rows}) != 1:
            raise UnreadableError("a matrix with uneven rows")
        return Matrix(rows, determinant=name == "vmatrix")


_COMMANDS: dict[str, Callable[[Atoms], Node]] = {
    "frac": Atoms._fraction,
    "binom": Atoms._binomial,
    "langle": Atoms._angle_brackets,
    "lfloor": Atoms._floor,
    "lceil": Atoms._ceiling,
    "sum": Atoms._sum,
    "prod": Atoms._product_of,
    "int": Atoms._integral,
    "iint": Atoms._integral,
    "oint": Atoms._integral,
    "lim": Atoms._limit,
    "overline": Atoms._overline,
    "ldots": Atoms._long_dots,
}
