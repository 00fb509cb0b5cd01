"""What the columns of a log mean: verdicts, golds, numbers, texts. A log is hostile input: every value is checked."""

import math
from collections.abc import Mapping
from typing import Any

from markscheme.files import InputError, kind_of
from markscheme.solutions import last_box


def verdict_of(value: Any) -> bool | None:
    """True and false, 1 and 0; None for whatever else.

    >>> verdict_of(1.0), verdict_of(False), verdict_of(0.5), verdict_of("yes")
    (True, False, None, None)
    """
    if isinstance(value, bool):
        return value
    return bool(value) if isinstance(value, int | float) and value in (0, 1) else None


def gold_of(text: str) -> str:
    r"""The answer in a gold text: what follows the last `####`, without thousands commas; else what stands in the last
    box; else the text itself.

    >>> gold_of("3 * 400 = <<3*400=1200>>1,200\n#### 1,200"), gold_of(r"so $x = \boxed{\frac12}$."), gold_of(" 7 ")
    ('1200', '\\frac12', '7')
    """
    if "####" in text:
        return text.rpartition("####")[2].strip().replace(",", "")
    box = last_box(text)
    return (text if box is None else box).strip()


def answer_of(gold: Any, where: str, *, name: str) -> str:
    """The answer in a gold column: text, or a number taken as its digits.

    Raises:
        InputError: if it is neither, or nothing is left of it.
    """
    if isinstance(gold, bool) or not isinstance(gold, str | int | float) or gold != gold:  # NaN: a gap in a table
        raise InputError(f"{where}: the gold in {name!r} must be text, got {kind_of(gold)}; correct or remove the row")
    answer = gold_of(str(gold))
    if not answer:
        raise InputError(f"{where}: the gold in {name!r} is empty; correct or remove the row")
    return answer


def answers_of(gold: Any, where: str, *, name: str) -> str | tuple[str, ...]:
    """As `answer_of`, for logs in which a list names several answers that are each right.

    Raises:
        InputError: as `answer_of`; also if the list is empty.
    """
    if not isinstance(gold, list):
        return answer_of(gold, where, name=name)
    if not gold:
        raise InputError(f"{where}: the gold in {name!r} is an empty list; correct or remove the row")
    answers = tuple(dict.fromkeys(answer_of(one, where, name=name) for one in gold))
    return answers[0] if len(answers) == 1 else answers


def number_of(value: Any, where: str, *, name: str) -> float | None:
    """A finite number; None for none, and for NaN and the infinities, by which logs mark that there is none.

    Raises:
        InputError: if it is something else.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(f"{where}: {name!r} must be a number, got {kind_of(value)}; correct or remove the row")
    try:
        number = float(value)
    except OverflowError as error:
        raise InputError(f"{where}: {name!r} is too large a number; correct or remove the row") from error
    return number if math.isfinite(number) else None


def count_of(value: Any, where: str, *, name: str) -> int | None:
    """A count, or None for none.

    Raises:
        InputError: if it is something else.
    """
    number = number_of(value, where, name=name)
    if number is None:
        return None
    if number < 0 or number != int(number):
        raise InputError(f"{where}: {name!r} must count something, got {number:g}; correct or remove the row")
    return int(number)


def text_of(content: Any) -> str | None:
    """The text of a message's content: itself, or its text parts one after the other; None if it is neither."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list) or not all(isinstance(part, Mapping) for part in content):
        return None
    texts = [part.get("text") for part in content if part.get("type") == "text"]
    return "".join(text for text in texts if isinstance(text, str))


def prompt_of(prompt: Any) -> str | None:
    """The text of a prompt: itself, or the contents of its messages; None if it is neither."""
    if isinstance(prompt, str):
        return prompt
    if not isinstance(prompt, list) or not all(isinstance(message, Mapping) for message in prompt):
        return None
    texts = [text_of(message.get("content")) for message in prompt]
    return "\n\n".join(text for text in texts if text)


def id_of(value: Any, where: str, *, name: str) -> str:
    """An id: text or a whole number.

    Raises:
        InputError: if it is something else.
    """
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise InputError(
            f"{where}: {name!r} must be text or a whole number, got {kind_of(value)}; correct or remove the row"
        )
    return str(value)


def listed(names: Any) -> str:
    """Names for a message, the first ten of them.

    >>> listed(["a", "b"]), listed([])
    ("'a', 'b'", 'none')
    """
    names = list(names)
    return ", ".join(repr(str(name)[:120]) for name in names[:10]) + (", ..." if len(names) > 10 else "") or "none"
