"""From a judge's reply to a vote, or to the reason why it is none."""

import json
import re
from dataclasses import dataclass
from typing import Any

from markscheme.reward_models.openers import says_nothing

MAX_GRADE = 10
MAX_REPLY_CHARS = 1 << 18
MAX_BRACES = 1_000
"""The last ones of a reply: at these an object is looked for."""
BACKSLASH = re.compile(r'\\(["\\]?)')


class InvalidVoteError(Exception):
    """A judge's reply that is not a vote. The message says why, in one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Vote:
    """What a judge made of a completion."""

    grade: int
    """From 0 to 10."""
    final_answer: str
    """As it stands in the completion; empty if the judge found none there."""


def read_vote(answer: Any, completion: str) -> Vote:
    """The vote in the answer of a `/chat/completions` endpoint.

    Raises:
        InvalidVoteError: if the reply is refused, cut off or empty, has no grade, or quotes what is not there.
    """
    reply = _content(answer)
    # LaTeX in JSON has its backslashes doubled, or it should: \frac is a form feed and "rac" otherwise.
    doubled = BACKSLASH.sub(lambda found: found[0] if found[1] else r"\\", reply)
    try:
        return _vote(last_object(doubled), completion)
    except InvalidVoteError:
        return _vote(last_object(reply), completion)


def last_object(reply: str) -> dict[str, Any]:
    r"""The JSON object with which a reply ends, bare or in a fence.

    Nothing may follow it: else a completion that holds such an object, quoted carelessly, would be the verdict.

    >>> last_object('The sets {1} and {2} differ.\n```json\n{"final_answer": "{1}", "grade": 3}\n```')
    {'final_answer': '{1}', 'grade': 3}

    Raises:
        InvalidVoteError: if there is none, or one with a name twice.
    """
    if len(reply) > MAX_REPLY_CHARS:
        raise InvalidVoteError(f"the reply has more than {MAX_REPLY_CHARS} characters")
    decoder = json.JSONDecoder(object_pairs_hook=_object)
    end = 0
    for start in [brace.start() for brace in re.finditer("{", reply)][-MAX_BRACES:]:
        if start < end:
            continue
        try:
            found, end = decoder.raw_decode(reply, start)
        except (ValueError, RecursionError):  # no JSON, a number of 5,000 digits, 1,000 brackets
            continue
        if reply[end:].strip() in ("", "```"):
            return dict(found)
    raise InvalidVoteError("the reply does not end with a JSON object")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise InvalidVoteError("the reply's JSON object has a name twice")
    return found


def _content(answer: Any) -> str:
    match answer:
        case {"choices": [{"message": dict(message)} as choice, *_]}:
            pass
        case _:
            raise InvalidVoteError("the answer is not that of a /chat/completions endpoint: it has no message")
    if choice.get("finish_reason") == "content_filter" or message.get("refusal"):
        raise InvalidVoteError("the judge refused, or its reply was filtered")
    if choice.get("finish_reason") == "length":
        raise InvalidVoteError("the reply was cut off: it needs more than max_completion_tokens")
    content = message.get("content")
    if not isinstance(content, str) or not content.strip():
        raise InvalidVoteError("the reply has no content")
    return content


def _vote(found: dict[str, Any], completion: str) -> Vote:
    if list(found) != ["final_answer", "grade"]:  # in another order a careless quotation could set the grade
        raise InvalidVoteError("the reply's JSON object must hold final_answer, then grade, and nothing else")
    grade, quote = found["grade"], found["final_answer"]
    if not isinstance(grade, int) or isinstance(grade, bool) or not 0 <= grade <= MAX_GRADE:
        raise InvalidVoteError(f"the grade must be an integer from 0 to {MAX_GRADE}, got {repr(grade)[:50]}")
    if not isinstance(quote, str):
        raise InvalidVoteError(f"final_answer must be text, got {type(quote).__name__}")
    if _squeezed(quote) not in _squeezed(completion):
        quote = ""
    if grade > 0 and says_nothing(quote):
        raise InvalidVoteError(f"the judge gives a {grade} and quotes no final answer that is there")
    return Vote(grade=grade, final_answer=quote.strip())


def _squeezed(text: str) -> str:
    return "".join(text.casefold().split())
