"""The symbolic tier from this side: pairs out to the worker processes, comparisons back."""

from collections.abc import Sequence
from functools import lru_cache

from markscheme.verifiers.compare import Comparison
from markscheme.verifiers.reading import read
from markscheme.workers import WorkerPool, WorkerStatus

SYMBOLIC_MEMORY_MB = 2_048
"""Address space of a worker of the symbolic tier. Python with sympy takes 300 of it."""


@lru_cache(maxsize=8)
def _pool(deadline_s: float) -> WorkerPool:
    """One pool for all verifiers of a process."""
    return WorkerPool(
        function="markscheme.verifiers.symbolic:equal", deadline_s=deadline_s, memory_limit_mb=SYMBOLIC_MEMORY_MB
    )


def compare_symbolically(pairs: Sequence[tuple[str, str]], deadline_s: float) -> list[Comparison]:
    """Compares (answer, gold) pairs; each for `deadline_s` at most, several at once."""
    found: list[Comparison] = []
    for result in _pool(deadline_s).run([[read(text).text for text in pair] for pair in pairs]):
        if result.status is WorkerStatus.DONE:
            reason = {None: "no tier can read the gold", True: "", False: "different in the grammar's reading"}
            found.append(Comparison(result.value, "symbolic", reason[result.value]))
        elif result.status is WorkerStatus.RAISED:
            found.append(Comparison(None, "symbolic", result.message, broken=True))
        else:
            found.append(Comparison(None, "limit", result.message))
    return found
