"""Building nodes: signs, quotients, units lifted out of products, numerals."""

from fractions import Fraction

from markscheme.verifiers.limits import MAX_NUMBER_CHARS
from markscheme.verifiers.tokens import TooLargeError, UnreadableError
from markscheme.verifiers.tree import (
    Function,
    Items,
    Join,
    Node,
    Number,
    Power,
    Product,
    Quantity,
    Quotient,
    Relation,
    Signs,
    Sum,
)
from markscheme.verifiers.units import measure_of


def with_sign(sign: str, node: Node) -> Node:
    if sign == "+":
        return node
    if sign in ("pm", "mp"):
        return Signs(node, 1 if sign == "pm" else -1)
    if isinstance(node, Number):
        return Number(-node.value, node.decimals)
    if isinstance(node, Quantity):
        return Quantity(with_sign(sign, node.value), node.unit)
    return Product([Number(Fraction(-1)), node])


def quotient(above: Node, below: Node) -> Node:
    if isinstance(above, Items | Relation | Join) or isinstance(below, Items | Relation | Join):
        raise UnreadableError("a fraction of lists")
    if isinstance(below, Quantity) and not isinstance(above, Quantity):
        return Quantity(Quotient(above, below.value), below.unit)
    return Quotient(above, below)


def product_of(factors: list[Node], explicit: bool) -> Node:
    """A unit behind the last factor is that of the whole: 12 \\sqrt{13} feet."""
    last = factors[-1]
    if isinstance(last, Quantity) and is_lifted(last) and not any(isinstance(f, Quantity) for f in factors[:-1]):
        return Quantity(Product([*factors[:-1], last.value], explicit), last.unit)
    return Product(factors, explicit)


def is_lifted(quantity: Quantity) -> bool:
    return quantity.unit not in ("percent", "...") and not quantity.unit.startswith("base ")


def total_of(first: Node, factor: Fraction, second: Node) -> Node:
    if isinstance(first, Number) and isinstance(second, Number):
        return Number(first.value * factor + second.value)
    return Sum([Product([Number(factor), first]), second])


def added(first: Node, second: Node) -> Node | None:
    """The sum of two quantities of one measure and different units, in the second unit; None for anything else."""
    if not isinstance(first, Quantity) or not isinstance(second, Quantity) or first.unit == second.unit:
        return None
    sizes = measure_of(first.unit), measure_of(second.unit)
    if sizes[0] is None or sizes[1] is None or sizes[0][0] != sizes[1][0] or sizes[0][1] <= sizes[1][1]:
        return None
    return Quantity(total_of(first.value, sizes[0][1] / sizes[1][1], second.value), second.unit)


def function_of(name: str, arguments: list[Node], base: Node | None, exponent: Node | None) -> Node:
    if name in ("log", "log10") and base is not None:
        arguments, name = [*arguments, base], "log"
    node: Node = Function(name, arguments)
    return node if exponent is None else Power(node, exponent)


def number(text: str) -> Number:
    if text.isdigit():
        return Number(Fraction(int(text)))
    return Number(Fraction(text), len(text.partition(".")[2]))


def repeating_number(start: str, period: str) -> Number:
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


def text_of(node: Node) -> str:
    return str(node.value) if isinstance(node, Number) else getattr(node, "name", "?")
