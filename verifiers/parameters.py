r"""Answers with a parameter: x = \frac{\pi}{4} + k \pi, k \in \mathbb{Z}. The clause is taken off; the name does not
count.

Over the integers, two expressions linear in their parameter are one family if they have one period, up to its sign, and
their offsets differ by whole periods; x \equiv 3 \pmod 7 is the family 3 + 7k.
"""

import re

from markscheme.verifiers.patterns import compiled_later
from markscheme.verifiers.replace import replaced
from markscheme.verifiers.tree import Node, Symbol

_TEXT = compiled_later(r"\\(?:text|mbox|textrm|mathrm|textnormal)\s*\{([^{}]*)\}")
_SET = r"\\(?:mathbb|mathbf|Bbb|mathrm)\s*\{?\s*(?P<set>[ZRNQC])\s*\}?(?:\^\{?[+*-]\}?|_\{?[^{}]{1,6}\}?)?"
_KIND = (
    r"(?P<kind>(?:arbitrary |fixed |any )*(?:real |rational |positive |nonnegative |non-negative |natural |nonzero )*"
    r"(?:integers?|numbers?|constants?|reals?|real|parameters?))"
)
_FOR = r"(?:[,;]|\\quad|\\qquad|\\,|\s)*\s*\(?\s*(?:where|with|for|and|as)?\s*(?:any|all|some|every|each|an?)?\s*"
_NAME = r"\$?(?<![a-zA-Z])(?P<name>[a-zA-Z](?:\s*,\s*[a-zA-Z])*)\$?"
_CLAUSES = tuple(
    compiled_later(pattern)
    for pattern in (
        rf"{_FOR}{_NAME}\s*\\in\s*{_SET}\s*(?:is an? (?:arbitrary |real |fixed )*\w+)?\)?\s*\.?$",
        rf"(?:[,;]|\\quad|\\,|\s)\s*\(?(?:where|with|for|and)?\s*{_NAME}\s+"
        rf"(?:is |being |are )?(?:an? |any |some )?{_KIND}\)?\.?$",
        rf"(?:[,;]|\\quad|\\,|\s)\s*\(?(?:where|with|for|and)\s+(?:an?|any|all|some|every|each)?\s*{_KIND}\s+{_NAME}\)?\.?$",
    )
)
_ALL = compiled_later(rf"^(?:all|any|the)\s+{_KIND}\s+(?P<rest>\$?[a-zA-Z]\W.*)$")
_ASIDE = compiled_later(
    r"\s*[,;(]\s*(?:which is |this is |it is )?(?:attained|achieved|reached|obtained|with equality|and equality)\b.*$",
    re.DOTALL,
)
_MAY_HAVE_A_CLAUSE = compiled_later(
    r"\\in(?![a-z])|integer|real|constant|number|parameter|ttained|quality|\b(?:where|with|for|if|when|provided)\b"
    r"|(?:quad|\s|\\,)\s*\([^()]*(?:\\[gln]e|<|>)"
)
_BUILT = compiled_later(rf"^\\\{{(.*?)(?:\\mid|\\colon|\||:)\s*([a-zA-Z]\s*\\in\s*{_SET})\s*\\\}}$")
_SUCH_THAT = compiled_later(
    r"^(?:all|any|every)\s+(?:real |positive |rational |values of )*(?:numbers?|integers?)?\s*"
    r"\$?(?P<name>[a-zA-Z])\$?\s+"
    r"(?:with|such that|satisfying|for which)\s+(?P<rest>.*)$"
)
_FOR_ALL = compiled_later(r"\s*,?\s*\bfor (?:all|every|each|any)\b.*$")
_CONDITION_WORD = compiled_later(
    r"\s*[,;]?\s*(?:\\quad|\\,)?\s*\b(?:where|with|for|if|when|provided(?: that)?)"
    r"\s+(?=[a-zA-Z]\s*(?:\\[gln]e|[<>]))"
)
_CONDITION_IN_BRACKETS = compiled_later(
    r"(?:\\q?quad|\\,|\s)\s*\(([^()]*(?:\\(?:ge|le|ne|geq|leq|neq|geqslant|leqslant)(?![a-z])|<|>)[^()]*)\)$"
)


def split_clauses(text: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    """The answer without its clauses, and (name, set) of each parameter: sets are Z, R, N, Q, C."""
    if "begin" in text or not _MAY_HAVE_A_CLAUSE.search(text):
        return text, ()
    flat = " ".join(_TEXT.sub(r" \1 ", text).split())
    if match := _SUCH_THAT.match(flat):
        return match["rest"], ((match["name"], "Z"),) if "integer" in flat else ()
    plain, flat = flat, _without_asides(flat)
    if built := _BUILT.match(flat):
        flat = f"{built[1]}, {built[2]}"
    parameters: list[tuple[str, str]] = []
    if match := _ALL.match(flat):
        flat, name = match["rest"], match["rest"].lstrip("$")[0]
        parameters.append((name, _set_of(match["kind"])))
    for _ in range(3):
        for clause in _CLAUSES:
            match = clause.search(flat)
            if match and flat[: match.start()].strip(" $,;"):
                found = match.groupdict()
                names = [name.strip() for name in found["name"].split(",")]
                set_name = found.get("set") or _set_of(found.get("kind") or "")
                parameters += [(name, set_name) for name in reversed(names)]
                flat = flat[: match.start()]
                break
        else:
            break
    if "=" in flat:
        flat = _FOR_ALL.sub("", flat)
    if not parameters:
        return (flat if flat != plain else text), ()
    return flat.strip(" ,;"), tuple(reversed(parameters))


def _without_asides(flat: str) -> str:
    """Conditions behind commas, remarks left out."""
    flat = _CONDITION_WORD.sub(", ", _ASIDE.sub("", flat))
    return _CONDITION_IN_BRACKETS.sub(r", \1", flat).strip()


def _set_of(kind: str) -> str:
    if "integer" in kind:
        return "N" if "positive" in kind or "natural" in kind else "Z"
    if "natural" in kind:
        return "N"
    return "Q" if "rational" in kind else "R"


def with_common_names(node: Node, parameters: tuple[tuple[str, str], ...]) -> Node:
    """The tree with its parameters named by their order."""
    for index, (name, _) in enumerate(parameters):
        node = replaced(node, name, Symbol(f"parameter {index}"))
    return node
