"""The symbolic tier: math-verify's LaTeX grammar and sympy's simplification. Runs in worker processes only.

math-verify's own deadlines rest on signal.alarm and are off: the worker pool kills. Its second extraction target
(`ExprExtractionConfig`) evaluates text with sympy's parse_expr and is left out: LaTeX is parsed by a grammar.
"""

import sympy
from math_verify import LatexExtractionConfig, parse, verify


def equal(pair: list[str]) -> bool | None:
    """Whether [answer, gold] are equal mathematics; None if the gold cannot be read.

    An answer that cannot be read, where the gold can, is not equal to it. Each is wrapped in a box, because
    math-verify looks for the last number in a bare text.
    """
    answer, gold = (_parse(text) for text in pair)
    if gold is None:
        return None
    if answer is None:
        return False
    values = _rational(answer), _rational(gold)
    if None not in values:
        return values[0] == values[1]  # math-verify would round: 1/2^99 and 1/2^98 are both 0 to it
    # allow_set_relation_comp: by default an inequality is turned into a set on the answer's side only.
    return bool(verify(gold, answer, timeout_seconds=None, allow_set_relation_comp=True, raise_on_error=True))


def _parse(text: str) -> sympy.Basic | sympy.MatrixBase | None:
    found = parse(
        f"\\boxed{{{text}}}",
        extraction_config=[LatexExtractionConfig()],
        fallback_mode="no_fallback",
        extraction_mode="first_match",
        parsing_timeout=None,
    )
    return found[0] if found else None


def _rational(expression: sympy.Basic | sympy.MatrixBase) -> sympy.Rational | None:
    """The exact value of an expression without variables, if it is rational."""
    if not isinstance(expression, sympy.Expr) or expression.free_symbols:
        return None
    value = expression.doit()
    return value if isinstance(value, sympy.Rational) else None
