"""Names in front of values, and other dress that a value may wear."""

from collections.abc import Sequence

from markscheme.verifiers.evaluate import symbols_of
from markscheme.verifiers.limits import MAX_SIGNS
from markscheme.verifiers.plus_minus import choices, count_signs
from markscheme.verifiers.relations import is_name, named_value
from markscheme.verifiers.replace import replaced
from markscheme.verifiers.tree import Function, Items, Node, Product, Relation, Symbol, Words


def bare(node: Node) -> Node:
    """Signs become the list of their values; a list of one, its item; A(1,2) is A = (1,2)."""
    if isinstance(node, Relation) and node.signs == ["equiv"] and not isinstance(node.sides[1], Function):
        node = Relation(node.sides, ["="])  # identically equal
    if isinstance(node, Product) and len(node.factors) == 2:
        name, point = node.factors
        if isinstance(name, Symbol) and name.name.isupper() and isinstance(point, Items) and len(point.items) > 1:
            return Relation([name, point], ["="])
    if isinstance(node, Items) and node.brackets in ("()", "<>") and 0 < count_signs(node) <= MAX_SIGNS:
        return Items("", choices(node))
    if isinstance(node, Items) and node.brackets == "" and len(node.items) == 1:
        return node.items[0]
    if isinstance(node, Relation) and len(node.sides) == 2 and node.signs == ["="]:
        names, values = node.sides
        if (
            isinstance(names, Items)
            and isinstance(values, Items)
            and names.brackets == values.brackets == "()"
            and len(names.items) == len(values.items)
            and is_name(names)
        ):
            pairs = zip(names.items, values.items, strict=True)
            return Items("", [Relation([name, value], ["="]) for name, value in pairs])
    if isinstance(node, Relation) and len(node.sides) == 2 and node.signs == ["in"]:
        members = node.sides[1]
        if isinstance(members, Items) and members.brackets == "{}":
            return members
    count = count_signs(node) if not isinstance(node, Items | Relation) else 0
    if isinstance(node, Relation) and node.signs in (["="], ["equiv"]) and 0 < count_signs(node.sides[1]) <= MAX_SIGNS:
        return Items("", [Relation([node.sides[0], value], node.signs) for value in choices(node.sides[1])])
    if isinstance(node, Items) and node.brackets in ("", "{}"):
        counts = [count_signs(item) for item in node.items]
        if any(counts) and sum(counts) <= MAX_SIGNS:
            items = [value for item in node.items for value in (choices(item) if count_signs(item) else [item])]
            return Items(node.brackets, items)
    return Items("", choices(node)) if 0 < count <= MAX_SIGNS else node


def named_items(node: Node) -> tuple[list[Node], Items]:
    """The names in front of the items of a list, if they have any, and the list without them.

    `x = 1, 2` names both items, `(x, y) = (1, 2)` its coordinates. One name throughout is no name: it is the solutions
    that are listed.
    """
    if not isinstance(node, Items):
        return [], Items("", [node])
    if node.brackets != "":
        return [], node
    names: list[Node] = []
    values: list[Node] = []
    for item in node.items:
        name, value, _ = named_value(bare(item) if isinstance(item, Product | Relation) else item)
        if name is None and not names:
            return [], node
        names.append(names[-1] if name is None else name)
        values.append(value)
    if all(same_name(name, names[0]) for name in names):
        return [], Items("", values)
    repeat = _period(names)
    if repeat < len(names):  # p = 5, q = 2; p = 7, q = 2
        rows: list[Node] = [Items("()", values[k : k + repeat]) for k in range(0, len(values), repeat)]
        return [], Items("", rows)
    return names, Items("", values)


def are_numbered(names: Sequence[Node]) -> bool:
    """x_1, x_2, ...: the solutions of one unknown."""
    stems = {name.name.partition("_")[0] for name in names if isinstance(name, Symbol) and "_" in name.name}
    return len(stems) == 1 and all(isinstance(name, Symbol) and "_" in name.name for name in names)


def _period(names: Sequence[Node]) -> int:
    keys = [key_of_name(name) for name in names]
    for length in range(2, len(keys) // 2 + 1):
        if len(keys) % length == 0 and all(keys[k] == keys[k % length] for k in range(len(keys))):
            return length
    return len(keys)


def by_name(names: Sequence[Node], values: Items, wanted: Sequence[Node]) -> Items | None:
    found = {key_of_name(name): value for name, value in zip(names, values.items, strict=False)}
    if len(found) != len(names) or set(found) != {key_of_name(name) for name in wanted}:
        return None
    return Items("", [found[key_of_name(name)] for name in wanted])


def same_name(a: Node, g: Node) -> bool:
    return key_of_name(a) == key_of_name(g)


def with_argument_of(name: Node, value: Node, wanted: Node) -> Node | None:
    """The value of f(x) written for f(t), where that is the name that is wanted; None unless both are such names."""
    match name, wanted:
        case Product(factors=[Symbol(name=f), Symbol(name=x)]), Product(factors=[Symbol(name=g), Symbol(name=t)]):
            is_function = f == g and f in ("f", "g", "h") and t not in symbols_of(value)
            return replaced(value, x, Symbol(t)) if is_function else None
    return None


def key_of_name(name: Node) -> str:
    if isinstance(name, Words):
        return name.text
    return repr(name).replace("{", "").replace("}", "")
