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

from collections.abc import Callable
from fractions import Fraction

from markscheme.verifiers.limits import MAX_DEPTH, MAX_ITEMS, MAX_NUMBER_CHARS
from markscheme.verifiers.number_words import number_of_words
from markscheme.verifiers.tokens import FUNCTIONS, Kind, ManyItemsError, Token, TooLargeError, UnreadableError, tokenise
from markscheme.verifiers.tree import (
    BigOperator,
    Constant,
    Function,
    Items,
    Join,
    Matrix,
    Node,
    Number,
    Piecewise,
    Power,
    Product,
    Quantity,
    Quotient,
    Relation,
    SetBuilder,
    Signs,
    Sum,
    Symbol,
    Words,
)
from markscheme.verifiers.units import measure_of, unit_name

_RELATIONS = {
    "=": "=", "<": "<", ">": ">", "le": "<=", "ge": ">=", "ne": "!=", "in": "in", "notin": "notin", "approx": "~",
    "equiv": "equiv", "subset": "subset", "subseteq": "subset",
}  # fmt: skip
_SET_OPERATIONS = {"cup": "union", "cap": "intersection", "setminus": "difference"}
_GREEK = frozenset(
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi rho sigma tau upsilon phi chi psi omega"
    " Gamma Delta Theta Lambda Xi Pi Sigma Phi Psi Omega ell hbar imath jmath aleph partial nabla".split()
)
_CONSTANTS = {"pi": "pi", "infty": "infinity", "emptyset": "empty", "imath": "i", "exp1": "e"}
_NUMBER_SETS = {"set R": "R", "set Z": "Z", "set N": "N", "set Q": "Q", "set C": "C", "Re": "R"}
_OPENING = {"(": ")", "[": "]", "{": "}", "\\{": "\\}", "langle": "rangle", "lfloor": "rfloor", "lceil": "rceil"}
_MATRICES = frozenset("matrix pmatrix bmatrix Bmatrix vmatrix smallmatrix array psmallmatrix bsmallmatrix".split())
_ENDS = frozenset({")", "]", "}", "\\}", "|", "||", ",", ";", "rangle", "rfloor", "rceil", "&", "\\\\"})
_NAMES_OF_THINGS = frozenset({"angle", "triangle", "overline", "widehat", "arc", "measuredangle"})
_STOP_WORDS = frozenset(
    "of is if in no at by on as it be an we so do up us he me my go the all not any yes one".split()
)
_CASE_WORDS = frozenset({"if", "for", "when", "where", "is", "an", "otherwise", "else", "all"})
_ORDINAL_ENDINGS = frozenset({"st", "nd", "rd", "th"})
SCALES = {"hundred": 100, "thousand": 1_000, "million": 1_000_000, "billion": 10**9, "trillion": 10**12, "dozen": 12}
_POWER_WORDS = {"squared": 2, "cubed": 3}
_AREA_WORDS = {"square": 2, "sq": 2, "cubic": 3, "cu": 3}


class OutOfScopeError(UnreadableError):
    """Mathematics that this parser leaves to the symbolic tier: integrals, limits, derivatives."""


def parse(text: str) -> Node:
    """The tree of an answer.

    Raises:
        UnreadableError: if it is not mathematics, or over a limit.
        OutOfScopeError: if it is, but only the symbolic tier can work it out.
    """
    tokens = tokenise(text)
    try:
        return _Parser(list(tokens)).whole()
    except OutOfScopeError:
        signs = [k for k, token in enumerate(tokens) if token.value == "="]
        if not signs or signs[-1] == len(tokens) - 1:
            raise
        return Relation([Words("..."), _Parser(tokens[signs[-1] + 1 :]).whole()], ["="])  # what it comes to is written


class _Parser:
    def __init__(self, tokens: list[Token]) -> None:
        self.tokens = tokens
        self.signs = [_sign_of(token) for token in tokens]
        self.at = 0
        self.depth = 0
        self.open_bars = 0
        self.in_set = False

    # Looking and moving.

    def ahead(self, offset: int = 0) -> Token | None:
        index = self.at + offset
        return self.tokens[index] if 0 <= index < len(self.tokens) else None

    def value(self, offset: int = 0) -> str:
        index = self.at + offset
        return self.signs[index] if 0 <= index < len(self.signs) else ""

    def replace(self, index: int, tokens: list[Token]) -> None:
        """Puts other tokens in the place of one."""
        self.tokens[index : index + 1] = tokens
        self.signs[index : index + 1] = map(_sign_of, tokens)

    def take(self) -> Token:
        token = self.ahead()
        if token is None:
            raise UnreadableError("it breaks off")
        self.at += 1
        return token

    def accept(self, *values: str) -> bool:
        if self.value() in values:
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

    # Levels of precedence.

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
        while self.tokens and self.signs[-1] in (".", ",", ";", "\\", "\\\\", ":"):
            self.tokens.pop()
            self.signs.pop()
        while self.tokens and self.signs[0] in ("approx", "=", ":", "\\\\", "therefore", "Rightarrow", "to"):
            self.tokens.pop(0)
            self.signs.pop(0)

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
        if len(parts) == 2 and joins == {"and"} and (total := _added(*parts)) is not None:
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
        while (sign := self.value()) in _RELATIONS:
            self.take()
            if sign in ("<", ">") and self.accept("="):
                sign = {"<": "le", ">": "ge"}[sign]
            signs.append(_RELATIONS[sign])
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
            terms.append(_with_sign(sign, term))
        if len(terms) == 1:
            return terms[0]
        last = terms[-1]
        if (
            isinstance(last, Quantity)
            and _is_lifted(last)
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
            node = _with_sign(sign, node)
        return node

    def _factors(self) -> Node:
        node = self._power_with_unit()
        factors, explicit = [node], False
        while True:
            if self.accept("*"):
                explicit = True
                factors.append(self._signed_factor())
            elif self.accept("/"):
                below = self._signed_factor()
                above = factors[0] if len(factors) == 1 else Product(factors, explicit)
                factors, explicit = [_quotient(above, below)], False
            elif len(factors) == 1 and (whole := self._compound(factors[0])) is not None:
                factors = [whole]
            elif self._starts_factor():
                mixed = self._mixed_number(factors[-1]) if len(factors) == 1 else None
                factors[-1:] = [mixed] if mixed is not None else [factors[-1], self._power_with_unit()]
            else:
                break
            if len(factors) == 1 and (unit := self._unit(factors[0])) is not None:
                factors[0] = unit
        return factors[0] if len(factors) == 1 else _product(factors, explicit)

    def _compound(self, first: Node) -> Node | None:
        """2 hours 30 minutes and 1 degree 30' are one quantity."""
        token = self.ahead()
        if not isinstance(first, Quantity) or token is None or token.kind is not Kind.NUMBER:
            return None
        if first.unit == "degree" and self.value(1) == "'":
            minutes = _number(self.take().value)
            self.take()
            return Quantity(_total(first.value, Fraction(1), Number(minutes.value / 60)), "degree")
        start = self.at
        second = self._power_with_unit()
        total = _added(first, second)
        if total is None:
            self.at = start
        return total

    def _signed_factor(self) -> Node:
        if self.value() in ("-", "+"):
            return _with_sign(self.take().value, self._signed_factor())
        return self._power_with_unit()

    def _starts_factor(self) -> bool:
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
            or token.value in _GREEK
            or token.value in _NAMES_OF_THINGS
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
            part: Node = _quotient(above, self.atom())
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

    def _power_with_unit(self) -> Node:
        node = self.power()
        return self._unit(node) or node

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
            return Quantity(value, _unit_of([above, "per", below], 1))
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
        if words[0].lower() in SCALES:
            scale = Number(Fraction(SCALES[words[0].lower()]))
            value = Number(value.value * scale.value) if isinstance(value, Number) else Product([value, scale])
            if len(words) == 1:
                return value
            words = words[1:]
        if isinstance(value, Symbol | Constant) and measure_of(_unit_of(words, power)) is None:
            self.at = start
            return None
        if all(len(word) <= 3 and not word.isupper() for word in words) and not self.tokens[start].in_text:
            known = unit_name(words[0])
            if known is None:  # letters that are variables: 2xy
                self.at = start
                return None
        return Quantity(value, _unit_of(words, power))

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

    def _degrees(self, value: Node) -> Node:
        token = self.ahead()
        if token is not None and token.value in ("C", "F", "K") and token.kind is Kind.LETTER:
            self.take()
            return Quantity(value, f"degree {token.value}")
        return Quantity(value, "degree")

    def _is_ordinal(self) -> bool:
        """The rest of 5^{th}."""
        braced = self.value() == "{"
        token = self.ahead(1 if braced else 0)
        if token is not None and token.kind is Kind.WORD and token.value.lower() in _ORDINAL_ENDINGS:
            self.at += 1 + 2 * braced
            return True
        return False

    def _exponent(self) -> Node:
        if self.value() in ("-", "+"):
            return _with_sign(self.take().value, self.nested(self._exponent))
        if self.value() == "{":
            return self.nested(self._group)
        token = self.ahead()
        if token is not None and (token.kind in (Kind.NUMBER, Kind.LETTER) or token.value in _GREEK):
            node = self.atom()
            return Power(node, self.nested(self._exponent)) if self.accept("^") else node
        return self.nested(self.atom)

    # Atoms.

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
            return _number(token.value)
        self.at -= 1
        if self.value() == "-":
            self.take()
            return _with_sign("-", self._argument())
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
            node = _quotient(node, below) if infix == "over" else Function("binomial", [node, below])
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
        if value in _GREEK:
            return self._subscripted("\\" + value)
        if value in _NUMBER_SETS:
            name = _NUMBER_SETS[value]
            if self.accept("^"):
                name += "^" + _text_of(self._argument())
            if self.accept("_"):
                name += "_" + _text_of(self._argument())
            return Constant(name)
        method = _COMMANDS.get(value)
        if method is not None:
            return self.nested(lambda: method(self))
        if value.startswith("begin "):
            return self.nested(lambda: self._matrix(value.removeprefix("begin ")))
        if value in _NAMES_OF_THINGS:
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

    def _number(self, token: Token) -> Node:
        text = token.value
        if self.value() == "." and self.value(1) in ("overline", "bar", "dot"):
            self.take()
            return self._repeating(f"{text}.")
        if self.value() == "." and self.value(1) == "(":
            self.at += 2
            period = self._digits()
            self.expect(")")
            return _repeating_number(f"{text}.", period)
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
            return _repeating_number(text, inner.value)
        if self.value() == "ldots" and "." in text:
            return self._continued(text)
        if following is not None and following.kind is Kind.LETTER and following.value in "eE" and not following.spaced:
            return self._scientific(text)
        if self.value() == "_":
            return self._based(text)
        if following is not None and following.kind is Kind.WORD and following.value.lower() in _ORDINAL_ENDINGS:
            self.take()
        return _number(text)

    def _repeating(self, start: str) -> Node:
        if self.value() == "dot":
            digits = ""
            while self.accept("dot"):
                digits += self._digits()
                if (token := self.ahead()) is not None and token.kind is Kind.NUMBER and self.value(1) == "dot":
                    digits += self.take().value
            return _repeating_number(start, digits)
        self.take()
        return _repeating_number(start, self._digits())

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
                return _repeating_number(text[: len(text) - length], period)
        return Quantity(_number(text), "...")

    def _scientific(self, text: str) -> Node:
        start = self.at
        self.take()
        sign = -1 if self.value() == "-" else 1
        if self.value() in ("-", "+"):
            self.take()
        token = self.ahead()
        if token is None or token.kind is not Kind.NUMBER or not token.value.isdigit() or token.spaced:
            self.at = start
            return _number(text)
        self.take()
        return Product(
            [_number(text), Power(Number(Fraction(10)), Number(Fraction(sign * int(token.value))))], explicit=True
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
            if self.value() in _RELATIONS or self.value() == "_":
                return self._subscripted(token.value)
            raise UnreadableError("words")
        following, previous = self.ahead(), self.ahead(-2)
        adjacent = previous is not None and not token.spaced and previous.value not in (",", ";")
        joined = adjacent or (following is not None and (not following.spaced or following.value in "=+-*/^_"))
        if token.value.lower() in _STOP_WORDS:
            raise UnreadableError("words")
        if len(token.value) == 2 or (joined and len(token.value) <= 4) or self.value() in _RELATIONS:
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
        return _quotient(self._argument(), self._argument())

    def _root(self) -> Node:
        degree: Node = Number(Fraction(2))
        if self.value() == "[":
            self.take()
            degree = self.total()
            self.expect("]")
        token = self.ahead()
        if token is not None and token.kind is Kind.NUMBER:  # \sqrt12 is meant as the root of 12
            self.take()
            return Function("root", [_number(token.value), degree])
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
                return Power(_function(name, arguments, base, exponent), power)
        else:
            arguments = [self._function_argument()]
        return _function(name, arguments, base, exponent)

    def _argument_number(self) -> Node:
        """A subscript base: `\\log_2 8` and `\\log_{10} x`, and `log_10(x)` as plain text writes it."""
        token = self.ahead()
        if token is not None and token.kind is Kind.NUMBER:
            self.take()
            return _number(token.value)
        return self._argument()

    def _function_argument(self) -> Node:
        """`\\sin 2x` takes 2x, and `\\sin x \\cos x` only x."""
        if self.value() in ("-", "+"):
            return _with_sign(self.take().value, self._function_argument())
        factors = [self.power()]
        while (
            self._starts_factor()
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

    def _named_set(self) -> Node:
        return Constant("empty")

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

    def _cases(self, name: str) -> Node:
        end = next((k for k in range(self.at, len(self.signs)) if self.signs[k] == f"end {name}"), None)
        if end is not None and "&" in self.signs[self.at : end] and name == "cases":
            rows = _split(self.tokens[self.at : end], "\\\\")
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


_VALUES = (Number, Quotient, Product, Power, Function, Sum, Symbol, Constant, Quantity, Signs, Items)
_COMMANDS: dict[str, Callable[[_Parser], Node]] = {
    "frac": _Parser._fraction,
    "binom": _Parser._binomial,
    "langle": _Parser._angle_brackets,
    "lfloor": _Parser._floor,
    "lceil": _Parser._ceiling,
    "sum": _Parser._sum,
    "prod": _Parser._product_of,
    "int": _Parser._integral,
    "iint": _Parser._integral,
    "oint": _Parser._integral,
    "lim": _Parser._limit,
    "overline": _Parser._overline,
    "ldots": _Parser._long_dots,
}


def _is_lifted(quantity: Quantity) -> bool:
    return quantity.unit not in ("percent", "...") and not quantity.unit.startswith("base ")


def _product(factors: list[Node], explicit: bool) -> Node:
    """A unit behind the last factor is that of the whole: 12 \\sqrt{13} feet."""
    last = factors[-1]
    if isinstance(last, Quantity) and _is_lifted(last) and not any(isinstance(f, Quantity) for f in factors[:-1]):
        return Quantity(Product([*factors[:-1], last.value], explicit), last.unit)
    return Product(factors, explicit)


def _added(first: Node, second: Node) -> Node | None:
    """The sum of two quantities of one measure and different units, in the second unit; None for anything else."""
    if not isinstance(first, Quantity) or not isinstance(second, Quantity) or first.unit == second.unit:
        return None
    sizes = measure_of(first.unit), measure_of(second.unit)
    if sizes[0] is None or sizes[1] is None or sizes[0][0] != sizes[1][0] or sizes[0][1] <= sizes[1][1]:
        return None
    return Quantity(_total(first.value, sizes[0][1] / sizes[1][1], second.value), second.unit)


def _split(tokens: list[Token], sign: str) -> list[list[Token]]:
    parts: list[list[Token]] = [[]]
    for token in tokens:
        if token.value == sign:
            parts.append([])
        else:
            parts[-1].append(token)
    return parts


def _branch(row: list[Token]) -> tuple[Node, Node]:
    """One line of a definition by cases: a value, and when it holds."""
    cells = _split(row, "&")
    if len(cells) != 2:
        raise UnreadableError("a case without its condition")
    condition = [token for token in cells[1] if token.value.lower() not in _CASE_WORDS]
    if any(token.kind is Kind.WORD for token in condition):
        words = " ".join(token.value.lower() for token in condition if token.kind in (Kind.WORD, Kind.LETTER))
        return _Parser(cells[0]).whole(), Words(words)
    return _Parser(cells[0]).whole(), _Parser(condition).whole() if condition else Words("otherwise")


def _sign_of(token: Token) -> str:
    return token.value if token.kind in (Kind.SIGN, Kind.COMMAND) else ""


def _total(first: Node, factor: Fraction, second: Node) -> Node:
    if isinstance(first, Number) and isinstance(second, Number):
        return Number(first.value * factor + second.value)
    return Sum([Product([Number(factor), first]), second])


def _with_sign(sign: str, node: Node) -> Node:
    if sign == "+":
        return node
    if sign in ("pm", "mp"):
        return Signs(node, 1 if sign == "pm" else -1)
    if isinstance(node, Number):
        return Number(-node.value, node.decimals)
    if isinstance(node, Quantity):
        return Quantity(_with_sign(sign, node.value), node.unit)
    return Product([Number(Fraction(-1)), node])


def _quotient(above: Node, below: Node) -> Node:
    if isinstance(above, Items | Relation | Join) or isinstance(below, Items | Relation | Join):
        raise UnreadableError("a fraction of lists")
    if isinstance(below, Quantity) and not isinstance(above, Quantity):
        return Quantity(Quotient(above, below.value), below.unit)
    return Quotient(above, below)


def _function(name: str, arguments: list[Node], base: Node | None, exponent: Node | None) -> Node:
    if name in ("log", "log10") and base is not None:
        arguments, name = [*arguments, base], "log"
    node: Node = Function(name, arguments)
    return node if exponent is None else Power(node, exponent)


def _number(text: str) -> Number:
    return Number(Fraction(text), len(text.partition(".")[2]))


def _repeating_number(start: str, period: str) -> Number:
    whole, _, fixed = start.partition(".")
    if len(period) + len(fixed) > MAX_NUMBER_CHARS:
        raise TooLargeError("a period too long")
    tail = Fraction(int(period), (10 ** len(period) - 1) * 10 ** len(fixed))
    return Number(Fraction(f"{whole or 0}.{fixed or 0}") + tail)


def in_base(digits: str, base: int) -> Node:
    whole, _, fraction = digits.partition(".")
    if not 2 <= base <= 36 or not (whole + fraction).isalnum():
        raise UnreadableError(f"base {base}")
    try:
        value = Fraction(int(whole + fraction, base), base ** len(fraction))
    except ValueError as error:
        raise UnreadableError(f"{digits} is no number in base {base}") from error
    return Quantity(Number(value), f"base {base} {digits.upper()}")


def _unit_of(words: list[str], power: int) -> str:
    """A unit's name with its power, such as `cm^2` or `km/h`; of other words, themselves."""
    lower = [word.lower() for word in words]
    if "per" in lower:
        middle = lower.index("per")
        if not 0 < middle < len(words) - 1:
            return " ".join(lower)
        return f"{_unit_of(words[:middle], 1)}/{_unit_of(words[middle + 1 :], power)}"
    if lower[0] in _AREA_WORDS and len(words) > 1:
        words, power = words[1:], _AREA_WORDS[lower[0]]
    elif lower[-1] in _POWER_WORDS and len(words) > 1:
        words, power = words[:-1], _POWER_WORDS[lower[-1]]
    name = unit_name(words[0]) if len(words) == 1 else unit_name(" ".join(words))
    if name is None:
        first = unit_name(words[0]) if words[0].lower() not in ("in", "a", "m", "s") else None
        return first or " ".join(lower)
    return name if power == 1 or "^" in name else f"{name}^{power}"


def _text_of(node: Node) -> str:
    return str(node.value) if isinstance(node, Number) else getattr(node, "name", "?")
