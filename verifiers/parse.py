"""A parser for answers, LaTeX and plain text alike: tokens in, a tree of `markscheme.verifiers.tree` out.

Recursive descent, one method a level of precedence, weakest first:

    statements  a, b; c and d or e
    relation    = < <= > >= != in
    sets        union, intersection, difference
    ratio       a : b
    total       + - plus-minus
    product     * / and nothing at all
    signed      - +
    power       ^ ! % degrees
    atom        numbers, letters, functions, brackets, matrices
"""

from markscheme.verifiers.atoms import GREEK, NAMES_OF_THINGS, RELATIONS, Atoms
from markscheme.verifiers.building import added, is_lifted, product_of, quotient, with_sign
from markscheme.verifiers.cursor import sign_of, split
from markscheme.verifiers.limits import MAX_DEPTH, MAX_ITEMS
from markscheme.verifiers.numerals import ORDINAL_ENDINGS
from markscheme.verifiers.quantities import Quantities
from markscheme.verifiers.tokens import (
    FUNCTIONS,
    Kind,
    ManyItemsError,
    OutOfScopeError,
    Token,
    TooLargeError,
    UnreadableError,
    tokenise,
)
from markscheme.verifiers.tree import (
    Constant,
    Function,
    Items,
    Join,
    Node,
    Number,
    Piecewise,
    Power,
    Product,
    Quantity,
    Quotient,
    Relation,
    Sum,
    Symbol,
    Words,
)

_SET_OPERATIONS = {"cup": "union", "cap": "intersection", "setminus": "difference"}
_CASE_WORDS = frozenset({"if", "for", "when", "where", "is", "an", "otherwise", "else", "all"})


def parse(text: str) -> Node:
    """The tree of an answer.

    Raises:
        UnreadableError: if it is not mathematics, or over a limit.
        OutOfScopeError: if it is, but only the symbolic tier can work it out.
    """
    tokens = tokenise(text)
    try:
        return Parser(list(tokens)).whole()
    except OutOfScopeError:
        signs = [k for k, token in enumerate(tokens) if token.value == "="]
        if not signs or signs[-1] == len(tokens) - 1:
            raise
        return Relation([Words("..."), Parser(tokens[signs[-1] + 1 :]).whole()], ["="])  # what it comes to is written


class Parser(Atoms, Quantities):
    """The levels of precedence."""

    def whole(self) -> Node:
        self._drop_ends()
        if not self.tokens:
            raise UnreadableError("nothing in it")
        name = self._leading_name()
        node = self.statements()
        if self.at < len(self.tokens):
            raise UnreadableError(f"{self.tokens[self.at].value!r} does not fit in")
        return Relation([name, node], ["="]) if name is not None else node

    def _drop_ends(self) -> None:
        """A final dot or comma, line ends, quotes, and an approximate or equals sign in front."""
        while self.tokens and sign_of(self.tokens[-1]) in (".", ",", ";", "\\", "\\\\", ":"):
            self.replace(len(self.tokens) - 1, [])
        while self.tokens and self.signs[0] in ("approx", "=", ":", "\\\\", "therefore", "Rightarrow", "to"):
            self.replace(0, [])

    def _leading_name(self) -> Words | None:
        """`\\text{Area} = ...`: the words in front of the first equals sign are a name."""
        words: list[str] = []
        for index, token in enumerate(self.tokens):
            if token.value in ("=", "approx") and any(len(word) > 1 for word in words):
                if not any(t.kind is Kind.WORD for t in self.tokens[:index]):
                    return None
                self.at = index + 1
                return Words(" ".join(words).lower())
            if token.kind not in (Kind.WORD, Kind.LETTER) and token.value not in (
                "angle",
                "triangle",
                "and",
                "of",
                "'",
            ):
                return None
            words.append(token.value)
        return None

    def statements(self) -> Node:
        parts: list[Node] = [self.relation()]
        joins: set[str] = set()
        while self.at < len(self.tokens) and len(parts) <= MAX_ITEMS:
            joined = False
            while self.value() in (",", ";", "and", "or") or self._row_ends_statement():
                value = self.take().value
                joins.add(value)
                joined = True
            if not joined or self.ahead() is None:
                break
            parts.append(self.relation())
        if len(parts) > MAX_ITEMS:
            raise ManyItemsError(f"more than {MAX_ITEMS} items")
        if self.value() in ("pmod", "bmod") and isinstance(parts[0], Relation) and parts[0].signs == ["equiv"]:
            parts = self._residues(parts)
        if len(parts) == 1:
            return parts[0]
        if len(parts) == 2 and joins == {"and"} and (total := added(*parts)) is not None:
            return total
        inequalities = any(isinstance(part, Relation) and set(part.signs) & {"<", "<=", ">", ">="} for part in parts)
        if inequalities and "or" in joins:
            return Join("or", parts)
        if inequalities and "and" in joins:
            return Join("and", parts)
        return Items("", parts)

    def _residues(self, parts: list[Node]) -> list[Node]:
        """x = 1, 4 (mod 5): the modulus is that of all."""
        self.take()
        modulus = self.power()
        first = parts[0]
        assert isinstance(first, Relation)
        name, values = first.sides[0], [first.sides[1], *parts[1:]]
        return [Relation([name, Function("residue", [value, modulus])], ["equiv"]) for value in values]

    def _row_ends_statement(self) -> bool:
        return self.value() == "\\\\" and self.depth == 0

    def relation(self) -> Node:
        sides = [self.sets()]
        signs: list[str] = []
        while (sign := self.value()) in RELATIONS or (sign == "not" and self.value(1) in ("=", "in")):
            self.take()
            if sign == "not":
                sign = {"=": "ne", "in": "notin"}[self.take().value]
            if sign in ("<", ">") and self.accept("="):
                sign = {"<": "le", ">": "ge"}[sign]
            signs.append(RELATIONS[sign])
            side = self.sets()
            if sign in ("in", "notin") and isinstance(side, Symbol) and side.name in ("Z", "N", "R", "Q", "C"):
                side = Constant(side.name)
            sides.append(side)
        if self.value() in ("pmod", "bmod", "mod") and signs:
            self.take()
            modulus = self.power()
            sides[-1] = Function("residue", [sides[-1], modulus])
        elif self.value() == "(" and self.value(1) == "mod" and signs:
            self.at += 2
            sides[-1] = Function("residue", [sides[-1], self.power()])
            self.expect(")")
        return Relation(sides, signs) if signs else sides[0]

    def sets(self) -> Node:
        left = self.ratio()
        while (value := self.value()) in _SET_OPERATIONS:
            self.take()
            right = self.ratio()
            name = _SET_OPERATIONS[value]
            if isinstance(left, Join) and left.name == name and name != "difference":
                left.parts.append(right)
            else:
                left = Join(name, [left, right])
        return left

    def ratio(self) -> Node:
        first = self.total()
        if self.value() != ":" or self.in_set:
            return first
        parts = [first]
        while self.accept(":"):
            parts.append(self.total())
        return Items(":", parts)

    def total(self) -> Node:
        terms = [self.product()]
        while (sign := self.value()) in ("+", "-", "pm", "mp"):
            self.take()
            term = self.product()
            terms.append(with_sign(sign, term))
        if len(terms) == 1:
            return terms[0]
        last = terms[-1]
        if (
            isinstance(last, Quantity)
            and is_lifted(last)
            and not any(isinstance(term, Quantity) for term in terms[:-1])
        ):
            return Quantity(Sum([*terms[:-1], last.value]), last.unit)  # 2 + \sqrt3 cm
        return Sum(terms)

    def product(self) -> Node:
        signs: list[str] = []
        while self.value() in ("+", "-", "pm", "mp"):
            signs.append(self.take().value)
        if len(signs) > MAX_DEPTH:
            raise TooLargeError("too many signs")
        node = self._factors()
        for sign in reversed(signs):
            node = with_sign(sign, node)
        return node

    def _factors(self) -> Node:
        node = self.power_with_unit()
        factors, explicit = [node], False
        while self.at < len(self.tokens):
            if self.accept("*"):
                explicit = True
                factors.append(self._signed_factor())
            elif self.accept("/"):
                below = self._signed_factor()
                above = factors[0] if len(factors) == 1 else Product(factors, explicit)
                factors, explicit = [quotient(above, below)], False
            elif len(factors) == 1 and (whole := self._compound(factors[0])) is not None:
                factors = [whole]
            elif self.starts_factor():
                mixed = self._mixed_number(factors[-1]) if len(factors) == 1 else None
                factors[-1:] = [mixed] if mixed is not None else [factors[-1], self.power_with_unit()]
            else:
                break
            if len(factors) == 1 and self.at < len(self.tokens) and (unit := self._unit(factors[0])) is not None:
                factors[0] = unit
        return factors[0] if len(factors) == 1 else product_of(factors, explicit)

    def _signed_factor(self) -> Node:
        if self.value() in ("-", "+"):
            return with_sign(self.take().value, self._signed_factor())
        return self.power_with_unit()

    def starts_factor(self) -> bool:
        token = self.ahead()
        if token is None:
            return False
        if token.kind is Kind.NUMBER:
            previous = self.ahead(-1)
            if previous is not None and previous.kind is Kind.NUMBER:
                return self._is_plain_mixed()
            return True
        if token.kind is Kind.LETTER:
            return True
        if token.kind is Kind.WORD:
            return not token.in_text and len(token.value) <= 3 and token.value.isascii()
        if token.value in ("|", "||"):
            return self.open_bars == 0 and not self.in_set
        if token.value == "(" and self.value(1) == "mod":
            return False
        return (
            token.value in ("(", "[", "{", "lfloor", "lceil", "frac", "sqrt", "binom", "pi", "infty", "sum", "prod")
            or token.value in FUNCTIONS
            or token.value in GREEK
            or token.value in NAMES_OF_THINGS
            or token.value in ("log10", "overline", "cbrt", "begin pmatrix", "begin bmatrix", "int", "lim", "mathrm")
        )

    def _is_plain_mixed(self) -> bool:
        """`1 3/4`: an integer, space, an integer, a slash, an integer."""
        token, after = self.ahead(), self.ahead(2)
        return (
            token is not None
            and token.spaced
            and self.value(1) == "/"
            and after is not None
            and after.kind is Kind.NUMBER
        )

    def _mixed_number(self, whole: Node) -> Node | None:
        r"""3\frac12 and 3 1/2 are a sum where every other neighbourhood is a product."""
        if not (isinstance(whole, Number) and whole.value.denominator == 1 and whole.decimals == 0):
            return None
        start = self.at
        token = self.ahead()
        previous = self.ahead(-1)
        if previous is None or previous.kind is not Kind.NUMBER:
            return None
        if token is not None and token.kind is Kind.NUMBER:
            above = self.atom()
            self.expect("/")
            part: Node = quotient(above, self.atom())
        elif self.value() == "frac":
            part = self.atom()
        else:
            return None
        if (
            isinstance(part, Quotient)
            and isinstance(part.above, Number)
            and isinstance(part.below, Number)
            and part.above.value.denominator == part.below.value.denominator == 1
            and 0 < part.above.value < part.below.value
        ):
            return Number(whole.value + part.above.value / part.below.value)
        if token is not None and token.kind is Kind.NUMBER:
            raise UnreadableError("two numbers side by side")
        self.at = start
        return None

    def power_with_unit(self) -> Node:
        node = self.power()
        return node if self.at >= len(self.tokens) else self._unit(node) or node

    def power(self) -> Node:
        node = self.atom()
        while True:
            if self.accept("^"):
                if self.value() == "circ" or (self.value() == "{" and self.value(1) == "circ"):
                    braced = self.accept("{")
                    self.take()
                    if braced:
                        self.accept("'")
                        self.expect("}")
                    node = self._degrees(node)
                elif self._is_ordinal():
                    continue
                else:
                    node = Power(node, self._exponent())
            elif self.accept("circ"):
                node = self._degrees(node)
            elif self.value() == "!" and self.value(1) != "=":
                self.take()
                name = "factorial"
                if self.value() == "!":
                    self.take()
                    name = "double factorial"
                node = Function(name, [node])
            elif self.value() == "'" and isinstance(node, Symbol):
                self.take()
                node = Symbol(node.name + "'")
            else:
                return node

    def _is_ordinal(self) -> bool:
        """The rest of 5^{th}."""
        braced = self.value() == "{"
        token = self.ahead(1 if braced else 0)
        if token is not None and token.kind is Kind.WORD and token.value.lower() in ORDINAL_ENDINGS:
            self.at += 1 + 2 * braced
            return True
        return False

    def _cases(self, name: str) -> Node:
        end = next((k for k in range(self.at, len(self.signs)) if self.signs[k] == f"end {name}"), None)
        if end is not None and name != "cases":  # alignment marks stand in front of signs
            for index in range(end - 1, self.at - 1, -1):
                if self.signs[index] == "&":
                    self.replace(index, [])
        if end is not None and "&" in self.signs[self.at : end] and name == "cases":
            rows = split(self.tokens[self.at : end], "\\\\")
            self.at = end + 1
            return Piecewise([_branch(row) for row in rows if row])
        parts: list[Node] = []
        while not self.accept(f"end {name}"):
            if self.value() in ("\\\\", "&", ",", ";"):
                self.take()
                continue
            parts.append(self.relation())
            if len(parts) > MAX_ITEMS:
                raise TooLargeError("too many lines")
        if not parts:
            raise UnreadableError("nothing in it")
        return parts[0] if len(parts) == 1 else Items("", parts)


def _branch(row: list[Token]) -> tuple[Node, Node]:
    """One line of a definition by cases: a value, and when it holds."""
    cells = split(row, "&")
    if len(cells) != 2:
        raise UnreadableError("a case without its condition")
    condition = [token for token in cells[1] if token.value.lower() not in _CASE_WORDS]
    if any(token.kind is Kind.WORD for token in condition):
        words = " ".join(token.value.lower() for token in condition if token.kind in (Kind.WORD, Kind.LETTER))
        return Parser(cells[0]).whole(), Words(words)
    return Parser(cells[0]).whole(), Parser(condition).whole() if condition else Words("otherwise")
