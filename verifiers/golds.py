"""Reading gold answers: a gold is an answer itself, never a text to search for one."""

import re
from functools import lru_cache

from markscheme.scoring import GoldError, Sample
from markscheme.verifiers.evaluate import exact
from markscheme.verifiers.limits import MAX_ANSWER_CHARS
from markscheme.verifiers.numeric_answers import only_number
from markscheme.verifiers.patterns import compiled_later
from markscheme.verifiers.reading import read, unwrap

_BRACE = compiled_later(r"\\.|[{}]", re.DOTALL)


def golds_of(sample: Sample, *, numeric: bool = False) -> tuple[str, ...]:
    """The alternatives of a sample's gold.

    Args:
        numeric: whether each must be an exact number.

    Raises:
        GoldError: naming the sample, if there is no gold or one cannot be read.
    """
    golds = (sample.gold,) if isinstance(sample.gold, str) else sample.gold
    if not golds:
        raise GoldError(f"{named(sample)}: a verifier needs a gold answer")
    try:
        return tuple([read_gold(gold, numeric) for gold in golds])
    except GoldError as error:
        raise GoldError(f"{named(sample)}: {error}") from error


def named(sample: Sample) -> str:
    """What a message calls a sample."""
    return "a sample" if sample.id is None else f"sample {sample.id}"


@lru_cache(maxsize=8_192)
def read_gold(gold: str, numeric: bool = False) -> str:
    """The gold, taken out of a box, dollar signs or GSM8K's `####`.

    Raises:
        GoldError: if it is empty or too long, if its braces do not match, or if it is no number but has to be one.
    """
    text = unwrap(unwrap(gold).rpartition("####")[2])
    if len(text) > MAX_ANSWER_CHARS:
        raise GoldError(f"the gold {gold[:100]!r}... has {len(text)} characters; the limit is {MAX_ANSWER_CHARS}")
    if not text.strip(" .,;$"):
        raise GoldError(f"the gold {gold!r} is empty")
    if not _braces_match(text):
        raise GoldError(f"the braces of the gold {gold!r} do not match")
    node = read(only_number(text)).node if numeric else None
    if numeric and (node is None or exact(node) is None):
        raise GoldError(f"the gold {gold!r} is not a number")
    return text


def _braces_match(text: str) -> bool:
    depth = 0
    for brace in _BRACE.findall(text):
        depth += (brace == "{") - (brace == "}")
        if depth < 0:
            return False
    return depth == 0
