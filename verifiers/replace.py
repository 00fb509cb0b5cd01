"""Putting a tree in the place of a symbol."""

from markscheme.verifiers.tree import (
    BigOperator,
    Function,
    Items,
    Join,
    Matrix,
    Node,
    Piecewise,
    Power,
    Product,
    Quantity,
    Quotient,
    Relation,
    Signs,
    Sum,
    Symbol,
)


def replaced(node: Node, name: str, by: Node) -> Node:
    """A tree with another in place of each occurrence of a symbol."""
    match node:
        case Symbol():
            return by if node.name == name else node
        case Sum():
            return Sum([replaced(term, name, by) for term in node.terms])
        case Product():
            return Product([replaced(factor, name, by) for factor in node.factors], node.explicit)
        case Quotient():
            return Quotient(replaced(node.above, name, by), replaced(node.below, name, by))
        case Power():
            return Power(replaced(node.base, name, by), replaced(node.exponent, name, by))
        case Function():
            return Function(node.name, [replaced(part, name, by) for part in node.arguments])
        case Signs():
            return Signs(replaced(node.value, name, by), node.upper)
        case Quantity():
            return Quantity(replaced(node.value, name, by), node.unit)
        case Items():
            return Items(node.brackets, [replaced(item, name, by) for item in node.items])
        case BigOperator():
            if node.variable == name:
                return node
            low, high = (None if bound is None else replaced(bound, name, by) for bound in (node.low, node.high))
            return BigOperator(node.name, node.variable, low, high, replaced(node.body, name, by))
        case Piecewise():
            return Piecewise([(replaced(v, name, by), replaced(c, name, by)) for v, c in node.branches])
        case Join():
            return Join(node.name, [replaced(part, name, by) for part in node.parts])
        case Matrix():
            return Matrix([[replaced(entry, name, by) for entry in row] for row in node.rows], node.determinant)
        case Relation():
            return Relation([replaced(side, name, by) for side in node.sides], node.signs)
    return node
