"""The tree an answer is read into: a whitelist of what mathematics in answers is made of. Nothing here computes."""

from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias


@dataclass(slots=True)
class Number:
    """A rational number as it was written."""

    value: Fraction
    decimals: int = 0
    """Digits written behind the point."""


@dataclass(slots=True)
class Symbol:
    """A variable."""

    name: str


@dataclass(slots=True)
class Constant:
    r"""pi, e, i, infinity, or a set with a name: R, Z, empty."""

    name: str


@dataclass(slots=True)
class Sum:
    terms: "list[Node]"


@dataclass(slots=True)
class Product:
    factors: "list[Node]"
    explicit: bool = False
    """Whether a multiplication sign stood between two of them."""


@dataclass(slots=True)
class Quotient:
    above: "Node"
    below: "Node"


@dataclass(slots=True)
class Power:
    base: "Node"
    exponent: "Node"


@dataclass(slots=True)
class Function:
    """A known function of its arguments: sin, log with its base second, root with its degree second, binomial, ..."""

    name: str
    arguments: "list[Node]"


@dataclass(slots=True)
class Signs:
    """Plus-minus: both `value` and its negative, all signs of one answer together; `upper` is +1 for plus-minus."""

    value: "Node"
    upper: int


@dataclass(slots=True)
class BigOperator:
    """A sum, product, integral or limit that is still to be worked out."""

    name: str
    variable: str
    low: "Node | None"
    high: "Node | None"
    body: "Node"


@dataclass(slots=True)
class Quantity:
    """A value with a percent sign, degree mark or unit."""

    value: "Node"
    unit: str
    """A name in `units.UNITS`, with its power, such as cm^2; or another word."""


@dataclass(slots=True)
class Items:
    """Several values: a list without brackets, a tuple or interval, a set, a ratio."""

    brackets: str
    """"" for a list, "()", "[)", ..., "{}" for a set, "<>" for a vector, ":" for a ratio."""
    items: "list[Node]"


@dataclass(slots=True)
class Matrix:
    rows: "list[list[Node]]"
    determinant: bool = False


@dataclass(slots=True)
class Relation:
    """A chain a < b <= c: one sign fewer than sides. Signs: = != < <= > >= in notin ~ (approximately) equiv."""

    sides: "list[Node]"
    signs: list[str]


@dataclass(slots=True)
class Join:
    """Statements joined by "or", "and"; or sets by union, intersection, difference."""

    name: str
    parts: "list[Node]"


@dataclass(slots=True)
class SetBuilder:
    """The values of a variable for which a condition holds."""

    variable: "Node"
    condition: "Node"


@dataclass(slots=True)
class Piecewise:
    """Values, each with the condition under which it holds."""

    branches: "list[tuple[Node, Node]]"


@dataclass(slots=True)
class Words:
    """Words that are an answer, or a name, themselves."""

    text: str


Node: TypeAlias = (
    Number | Symbol | Constant | Sum | Product | Quotient | Power | Function | Signs | BigOperator
    | Quantity | Items | Piecewise | Matrix | Relation | Join | SetBuilder | Words
)  # fmt: skip
