"""Whether two trees are one answer: each kind against its kind, by the conventions.

An answer and a gold play different parts: a decimal gold may be rounded, a gold's name may be left off.
"""

from collections.abc import Sequence
from fractions import Fraction

from markscheme.verifiers.cases import equal_by_cases
from markscheme.verifiers.conventions import Conventions
from markscheme.verifiers.evaluate import exact, symbols_of
from markscheme.verifiers.free_constants import equal_but_for_constants
from markscheme.verifiers.limits import MAX_UNORDERED_ITEMS
from markscheme.verifiers.names import (
    are_numbered,
    bare,
    by_name,
    key_of_name,
    named_items,
    same_name,
    with_argument_of,
)
from markscheme.verifiers.real_sets import equal_sets, is_certainly_a_set
from markscheme.verifiers.relations import (
    equivalent_equations,
    equivalent_inequalities,
    is_name,
    is_unsolved,
    named_value,
)
from markscheme.verifiers.scalars import (
    equal_values,
    in_lowest_terms,
    is_constant,
    is_left_to_work_out,
    is_plain_number,
    is_written_out,
    rounds_to,
)
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
from markscheme.verifiers.units import measure_of
from markscheme.verifiers.vectors import components, multiplied_in

_SCALARS = (Number, Symbol, Constant, Sum, Product, Quotient, Power, Function, BigOperator, Signs, Quantity)
_EMPTY = Constant("empty")


class Judge:
    """Compares two trees; afterwards `tier` names what decided and `reason` why not."""

    def __init__(self, conventions: Conventions) -> None:
        self.conventions = conventions
        self.tier = ""
        self.reason = ""

    def equal(self, a: Node, g: Node) -> bool | None:
        """Whether the answer equals the gold; None if that cannot be worked out here.

        Raises:
            OverLimitError: if working it out would break a limit.
        """
        a, g = bare(a), bare(g)
        a, g = _with_unit(a, g), _with_unit(g, a)
        if isinstance(a, Quantity) or isinstance(g, Quantity):
            return self._equal_quantities(a, g)
        a, g = multiplied_in(_unchained(a, g)), multiplied_in(_unchained(g, a))
        if isinstance(a, Relation) or isinstance(g, Relation):
            return self._equal_relations(a, g)
        if is_certainly_a_set(a) or is_certainly_a_set(g):
            return self._equal_sets(a, g)
        if isinstance(a, Piecewise) or isinstance(g, Piecewise):
            return self._equal_cases(a, g)
        if isinstance(a, Matrix) or isinstance(g, Matrix):
            return self._equal_matrices(a, g)
        if isinstance(a, Items) or isinstance(g, Items):
            return self._equal_items(a, g)
        if isinstance(a, Words) or isinstance(g, Words):
            return self._because(a == g, "words", "the words differ")
        return self._equal_scalars(a, g)

    def _because(self, equal: bool | None, tier: str, reason: str) -> bool | None:
        self.tier = self.tier or tier
        if equal is False and not self.reason:
            self.reason = reason
        return equal

    # One value.

    def _equal_scalars(self, a: Node, g: Node) -> bool | None:
        if self.conventions.evaluated and is_plain_number(g) and is_left_to_work_out(a):
            return self._because(False, "form", "a sum or product is left to be worked out")
        if self.conventions.lowest_terms and not in_lowest_terms(a):
            return self._because(False, "form", "the fraction is not in lowest terms")
        equal = equal_values(a, g)
        if (
            equal is False
            and self.conventions.rounding
            and ((isinstance(g, Number) and rounds_to(a, g)) or is_written_out(a, g))
        ):
            return self._because(True, "rounding", "")
        if equal is False:
            equal = equal_but_for_constants(a, g)
        rational = exact(a) is not None and exact(g) is not None
        return self._because(equal, "number" if rational else "value", "the values differ")

    def _equal_quantities(self, a: Node, g: Node) -> bool | None:
        value_a, unit_a = (a.value, a.unit) if isinstance(a, Quantity) else (a, "")
        value_g, unit_g = (g.value, g.unit) if isinstance(g, Quantity) else (g, "")
        if self.conventions.units == "ignored" and not _is_special(unit_a) and not _is_special(unit_g):
            return self.equal(value_a, value_g)
        if unit_a == unit_g or "..." in (unit_a, unit_g):
            return self.equal(value_a, value_g)
        if not unit_a or not unit_g:
            return self._equal_with_one_unit(value_a, unit_a, value_g, unit_g)
        if unit_a.startswith("base ") and unit_g.startswith("base "):
            return self._because(exact(value_a) == exact(value_g), "unit", "the numbers in their bases differ")
        size_a, size_g = measure_of(unit_a), measure_of(unit_g)
        angles = {"degree", "radian", "rad"}
        if unit_a in angles and unit_g in angles:
            return self._because(equal_values(_in_radians(a), _in_radians(g)), "unit", "the angles differ")
        if size_a is None or size_g is None:
            if (
                unit_a.startswith("degree ")
                or unit_g.startswith("degree ")
                or _is_special(unit_a) != _is_special(unit_g)
            ):
                return self._because(False, "unit", f"{unit_a} is not {unit_g}")
            return self.equal(value_a, value_g)
        if size_a[0] != size_g[0]:
            return self._because(False, "unit", f"{unit_a} is not {unit_g}")
        return self.equal(_times(value_a, size_a[1] / size_g[1]), value_g)

    def _equal_with_one_unit(self, value_a: Node, unit_a: str, value_g: Node, unit_g: str) -> bool | None:
        unit = unit_a or unit_g
        if isinstance(value_a, Relation) or isinstance(value_g, Relation):
            named, other = (value_a, Quantity(value_g, unit_g)) if unit_g else (value_g, Quantity(value_a, unit_a))
            name, value, _ = named_value(named)
            if name is None:
                return self._because(False, "unit", f"only one side has {unit}")
            return self._equal_with_one_unit(value, "", value_g, unit_g) if unit_g else self.equal(other, value)
        if unit == "percent":
            number = exact(value_g if unit_a else value_a)
            is_figure = self.conventions.percent == "either" and not (number is not None and abs(number) < 1)
            if is_figure and self.equal(value_a, value_g):
                return True
            self.reason = ""
            share = Quantity(value_a, "percent") if unit_a else Quantity(value_g, "percent")
            exact_share = Quotient(share.value, Number(Fraction(100)))
            return self.equal(exact_share, value_g) if unit_a else self.equal(value_a, exact_share)
        if unit.startswith("base "):
            digits = unit.split()[2]
            if unit_g and self.conventions.bases == "required":
                return self._because(False, "unit", "the base is missing")
            bare = value_g if unit_a else value_a
            written = isinstance(bare, Number) and str(bare.value) == digits
            return self._because(written, "unit", "the digits in that base differ")
        if unit_g and self.conventions.units == "required":
            return self._because(False, "unit", f"{unit_g} is missing")
        if unit in ("degree", "radian", "rad"):
            bare = value_g if unit_a else value_a
            if unit == "degree" and isinstance(bare, _SCALARS) and _has_pi(bare):
                pair = (
                    Quantity(value_a, unit_a) if unit_a else value_a,
                    Quantity(value_g, unit_g) if unit_g else value_g,
                )
                return self._because(equal_values(*map(_in_radians, pair)), "unit", "the angles differ")
        return self.equal(value_a, value_g)

    # Names, equations, inequalities.

    def _equal_relations(self, a: Node, g: Node) -> bool | None:
        name_a, value_a, others = named_value(a)
        name_g, value_g, _ = named_value(g)
        if others and not all(self.equal(side, value_g if name_g is not None else g) for side in others):
            return self._because(False, "relation", "the sides of the answer differ from one another")
        if name_g is not None and name_a is None and not isinstance(value_a, Relation):
            if is_name(name_g) and (not isinstance(value_g, Relation)):
                return self.equal(value_a, value_g)
            return self._because(False, "relation", "a side of the equation is not the equation")
        if name_a is not None and name_g is None and not isinstance(g, Relation):
            if not is_name(name_a) and symbols_of(name_a) and not _is_chain(a):
                return self._because(False, "relation", "the answer is an equation")
            return self.equal(value_a, g)
        if name_a is not None and name_g is not None and same_name(name_a, name_g):
            return self.equal(value_a, value_g)
        if name_a is not None and name_g is not None and (value := with_argument_of(name_a, value_a, name_g)):
            return self.equal(value, value_g)
        if not isinstance(a, Relation) or (name_a is None and value_a is not a):
            if is_certainly_a_set(g) or isinstance(g, Relation):
                return (
                    self._equal_sets(value_a, g)
                    if not isinstance(value_a, _PLAIN)
                    else self._because(False, "relation", "a value is not a relation")
                )
            return self.equal(value_a, g)
        if self.conventions.evaluated and is_unsolved(a) and not (isinstance(g, Relation) and is_unsolved(g)):
            return self._because(False, "form", "left to be solved")
        if not isinstance(g, Relation):
            if g == _EMPTY or is_certainly_a_set(g) or isinstance(g, Items):
                return self._equal_sets(a, g)
            return self._because(False, "relation", "a relation is not a value")
        return self._equivalent(a, g)

    def _equivalent(self, a: Relation, g: Relation) -> bool | None:
        equations = {"=", "~", "equiv"}
        if set(a.signs) <= equations and set(g.signs) <= equations:
            if ("equiv" in a.signs) != ("equiv" in g.signs):
                return self._because(False, "relation", "one value is no residue class")
            if "equiv" in a.signs + g.signs:
                return self._because(_same_residues(a, g), "relation", "the residues differ")
            if len(a.sides) != len(g.sides):
                return self._because(False, "relation", "the numbers of sides differ")
            if len(a.sides) > 2:
                pairs = zip(a.sides, g.sides, strict=True)
                return self._because(all(equal_values(x, y) for x, y in pairs), "relation", "a side differs")
            return self._because(equivalent_equations(a, g), "relation", "the equations differ")
        if ("in" in a.signs or "in" in g.signs) and a.signs == g.signs and len(a.sides) == 2:
            same = a.sides[0] == g.sides[0] or not symbols_of(a.sides[0])
            return self.equal(a.sides[1], g.sides[1]) if same else self._because(False, "relation", "the names differ")
        a, g = _with_plain_names(a), _with_plain_names(g)
        names = symbols_of(a) | symbols_of(g)
        if len(names) == 1:
            found = equal_sets(a, g)
            if found is not None:
                return self._because(found, "set", "the solutions differ")
        return self._because(equivalent_inequalities(a, g), "relation", "the inequalities differ")

    # Sets.

    def _equal_sets(self, a: Node, g: Node) -> bool | None:
        a, g = (_with_plain_names(node) if isinstance(node, Relation) else node for node in (a, g))
        if isinstance(a, Items) and isinstance(g, Items) and a.brackets == g.brackets and len(a.items) == len(g.items):
            return self._in_order(a.items, g.items, "set")
        found = equal_sets(a, g)
        if found is None and type(a) is type(g) and isinstance(a, Join | SetBuilder | Constant):
            return self._same_shape(a, g)
        return self._because(found if found is not None else False, "set", "the sets differ")

    def _same_shape(self, a: Node, g: Node) -> bool | None:
        """Joins and set-builders over things that are no real intervals: part by part."""
        if isinstance(a, Join) and isinstance(g, Join) and a.name == g.name and len(a.parts) == len(g.parts):
            if a.name == "difference":
                return self._in_order(a.parts, g.parts, "set")
            return self._in_any_order(a.parts, g.parts, "set")
        if isinstance(a, SetBuilder) and isinstance(g, SetBuilder):
            return self._in_order([a.variable, a.condition], [g.variable, g.condition], "set")
        return self._because(a == g, "set", "the sets differ")

    # Several values.

    def _equal_cases(self, a: Node, g: Node) -> bool | None:
        """Definitions by cases agree as functions; where the conditions are words, case by case, in any order."""
        if (found := equal_by_cases(a, g)) is not None:
            return self._because(found, "value", "the values differ")
        if not isinstance(a, Piecewise) or not isinstance(g, Piecewise):
            return None
        if len(a.branches) != len(g.branches):
            return self._because(False, "items", "the numbers of cases differ")
        rest = list(g.branches)
        for value, condition in a.branches:
            same = (k for k, (v, c) in enumerate(rest) if self._same_case(value, condition, v, c))
            place = next(same, None)
            if place is None:
                return self._because(False, "items", "a case of the answer is not in the gold")
            del rest[place]
        return self._because(True, "items", "")

    def _same_case(self, value: Node, condition: Node, other: Node, when: Node) -> bool:
        judge = Judge(self.conventions)
        return judge.equal(value, other) is True and judge.equal(condition, when) is True

    def _equal_matrices(self, a: Node, g: Node) -> bool | None:
        if isinstance(a, Matrix) and isinstance(g, Matrix):
            if [len(row) for row in a.rows] != [len(row) for row in g.rows] or a.determinant != g.determinant:
                return self._because(False, "items", "the shapes differ")
            return self._in_order([x for row in a.rows for x in row], [x for row in g.rows for x in row], "items")
        matrix, other = (a, g) if isinstance(a, Matrix) else (g, a)
        assert isinstance(matrix, Matrix)
        entries = [entry for row in matrix.rows for entry in row]
        is_vector = len(matrix.rows) == 1 or len(matrix.rows[0]) == 1
        if is_vector and (parts := components(other, len(entries))) is not None:
            other = Items("()", parts)
        if isinstance(other, Items) and other.brackets in ("()", "<>", "[]") and is_vector:
            pair = (entries, other.items) if matrix is a else (other.items, entries)
            return self._in_order(*pair, "items")
        if "Matrix(" in repr(other) and isinstance(other, Product | Sum | Power | Quotient):
            return None  # matrices to be added or multiplied
        return self._because(False, "items", "a matrix is something else")

    def _equal_items(self, a: Node, g: Node) -> bool | None:
        names_a, list_a = named_items(a)
        names_g, list_g = named_items(g)
        if names_a and names_g and len(names_a) == len(list_a.items) and len(names_g) == len(list_g.items):
            list_a = by_name(names_a, list_a, names_g) or list_a
            if [key_of_name(name) for name in names_a] != [key_of_name(name) for name in names_g] and (
                by_name(names_a, list_a, names_g) is None
            ):
                return self._because(False, "items", "the names differ")
            return self._in_order(list_a.items, list_g.items, "items")
        if ":" in (list_a.brackets, list_g.brackets):
            return self._equal_ratios(list_a, list_g)
        for this, other in ((list_a, list_g), (list_g, list_a)):
            vector = components(this.items[0], len(other.items)) if len(this.items) == 1 < len(other.items) else None
            if vector is not None and other.brackets in ("()", "<>"):
                pair = (vector, other.items) if this is list_a else (other.items, vector)
                return self._in_order(*pair, "items")
        named = bool(names_a or names_g) and not are_numbered(names_a or names_g)
        return self._equal_lists(list_a, list_g, named=named)

    def _equal_ratios(self, a: Items, g: Items) -> bool | None:
        if len(a.items) != len(g.items):
            ratio, value = (a, g) if a.brackets == ":" else (g, a)
            if len(ratio.items) != 2 or len(value.items) != 1:
                return self._because(False, "items", "not the same ratio")
            quotient = Quotient(ratio.items[0], ratio.items[1])
            return self.equal(quotient, value.items[0]) if ratio is a else self.equal(value.items[0], quotient)
        if a.brackets != g.brackets:
            return self._because(False, "items", "a list is no ratio")
        if self.conventions.lowest_terms:
            return self._in_order(a.items, g.items, "items")
        first_a, first_g = a.items[0], g.items[0]
        crossed = [
            equal_values(Product([x, first_g]), Product([y, first_a])) for x, y in zip(a.items, g.items, strict=True)
        ]
        return self._because(_all(crossed), "items", "not the same ratio")

    def _equal_lists(self, a: Items, g: Items, *, named: bool) -> bool | None:
        kinds = {a.brackets, g.brackets}
        if kinds == {""} and (self.conventions.ordered_lists or named):
            return self._in_order(a.items, g.items, "items")
        if kinds <= {"{}", ""}:
            sets = kinds == {"{}"} and len(a.items) > 1 and len(g.items) > 1
            if sets or _are_points([*a.items, *g.items]):
                return self._in_any_order(self._distinct(a.items), self._distinct(g.items), "items")
            return self._in_any_order(a.items, g.items, "items")
        if len(kinds) == 1 or kinds <= {"()", "<>", ""}:
            if len(a.items) == 1 and len(g.items) == 1 and "" in kinds:
                return self.equal(a.items[0], g.items[0])
            return self._in_order(a.items, g.items, "items")
        if "{}" in kinds and len(a.items) == len(g.items) == 1:
            return self.equal(a.items[0], g.items[0])
        return self._because(False, "items", "the brackets differ")

    def _distinct(self, items: Sequence[Node]) -> list[Node]:
        kept: list[Node] = []
        for item in items:
            if len(kept) > MAX_UNORDERED_ITEMS or not any(Judge(self.conventions).equal(item, known) for known in kept):
                kept.append(item)
        return kept

    def _in_order(self, a: Sequence[Node], g: Sequence[Node], tier: str) -> bool | None:
        if len(a) != len(g):
            return self._because(False, tier, f"{len(a)} items instead of {len(g)}")
        verdicts: list[bool | None] = []
        for k, (x, y) in enumerate(zip(a, g, strict=True), 1):
            verdicts.append(Judge(self.conventions).equal(x, y))
            if verdicts[-1] is False:
                return self._because(False, tier, f"item {k} differs")
        return self._because(_all(verdicts), tier, "")

    def _in_any_order(self, a: Sequence[Node], g: Sequence[Node], tier: str) -> bool | None:
        if len(a) != len(g):
            return self._because(False, tier, f"{len(a)} items instead of {len(g)}")
        left, rest = _without_common(a, g)
        if len(left) > MAX_UNORDERED_ITEMS:
            return self._because(False, tier, "many items differ")
        unknown = False
        for x in left:
            verdicts = [Judge(self.conventions).equal(x, y) for y in rest]
            if True in verdicts:
                del rest[verdicts.index(True)]
            elif None in verdicts:
                unknown = True
            else:
                return self._because(False, tier, "an item of the answer is not in the gold")
        return self._because(None if unknown else True, tier, "")


def _are_points(items: Sequence[Node]) -> bool:
    """Which are the same points, whether one of them is listed twice or not; a number twice may be a double root."""
    return all(isinstance(item, Items) and item.brackets == "()" for item in items)


_PLAIN = (Number, Symbol, Sum, Product, Quotient, Power, Function)


def _with_unit(node: Node, other: Node) -> Node:
    """`5 m` beside `500 cm` is a length, and no multiple of m; beside `5` too."""
    is_quantity = isinstance(other, Quantity)
    if not isinstance(node, Product) or not (is_quantity or is_constant(other)):
        return node
    *factors, letter = node.factors
    number = factors[0] if len(factors) == 1 else Product(factors, node.explicit)
    if not is_constant(number) or not isinstance(letter, Symbol | Power):
        return node
    symbol, power = (letter.base, letter.exponent) if isinstance(letter, Power) else (letter, Number(Fraction(1)))
    if not isinstance(symbol, Symbol) or not isinstance(power, Number) or power.value not in (1, 2, 3):
        return node
    unit = symbol.name if power.value == 1 else f"{symbol.name}^{power.value}"
    if not isinstance(other, Quantity):
        return Quantity(number, unit) if symbol.name == "m" else node
    known, wanted = measure_of(unit), measure_of(other.unit) if not _is_special(other.unit) else None
    return Quantity(number, unit) if known and wanted and known[0] == wanted[0] else node


def _unchained(node: Node, other: Node) -> Node:
    """x = y = 2 beside a list of named values is one of two."""
    if not isinstance(other, Items) or not isinstance(node, Relation) or set(node.signs) != {"="}:
        return node
    names, value = node.sides[:-1], node.sides[-1]
    if len(names) < 2 or not all(isinstance(name, Symbol) for name in names):
        return node
    return Items("", [Relation([name, value], ["="]) for name in names])


def _with_plain_names(relation: Relation) -> Relation:
    """0 < f(x) < 1 says of f(x) what 0 < y < 1 says of y."""
    sides = [
        Symbol(key_of_name(side)) if isinstance(side, Product) and is_name(side) and len(side.factors) == 2 else side
        for side in relation.sides
    ]
    return Relation(sides, relation.signs)


def _without_common(a: Sequence[Node], g: Sequence[Node]) -> tuple[list[Node], list[Node]]:
    """What is left of both when items of one exact value or one tree are paired off."""
    rest: dict[object, list[Node]] = {}
    for item in g:
        rest.setdefault(_key(item), []).append(item)
    left: list[Node] = []
    for item in a:
        same = rest.get(_key(item))
        if same:
            same.pop()
        else:
            left.append(item)
    return left, [item for items in rest.values() for item in items]


def _key(node: Node) -> object:
    return node.value if isinstance(node, Number) else repr(node)


def _times(node: Node, factor: Fraction) -> Node:
    if factor == 1:
        return node
    if isinstance(node, Number):
        return Number(node.value * factor, node.decimals)
    return Product([Number(factor), node])


def _in_radians(node: Node) -> Node:
    return node.value if isinstance(node, Quantity) and node.unit != "degree" else node


def _has_pi(node: Node) -> bool:
    return "Constant(name='pi')" in repr(node)


def _is_special(unit: str) -> bool:
    return unit == "percent" or unit.startswith("base ")


def _is_chain(node: Node) -> bool:
    return isinstance(node, Relation) and len(node.sides) > 2


def _same_residues(a: Relation, g: Relation) -> bool | None:
    if len(a.sides) != 2 or len(g.sides) != 2 or a.sides[0] != g.sides[0]:
        return False
    parts: list[Fraction | None] = []
    for side in (a.sides[1], g.sides[1]):
        if not isinstance(side, Function) or side.name != "residue":
            return equal_values(a.sides[1], g.sides[1])
        parts += [exact(part) for part in side.arguments]
    if None in parts:
        return None
    value_a, modulus_a, value_g, modulus_g = (part or Fraction(0) for part in parts)
    return modulus_a == modulus_g != 0 and (value_a - value_g) % modulus_g == 0


def _all(verdicts: Sequence[bool | None]) -> bool | None:
    if False in verdicts:
        return False
    return None if None in verdicts else True
