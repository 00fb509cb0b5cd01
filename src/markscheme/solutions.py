"""The answers that worked solutions mark."""

import re

_THOUSANDS = re.compile(r"[^\d(\[{,]{0,9}\d{1,3}(?:,\d{3})+(?:\.\d+)?[^\d)\]},]{0,30}")


def marked_answer(solution: str) -> str | None:
    r"""What a solution names as its answer: after the last `####`, else in the last box; None where it has neither.

    >>> marked_answer("2 + 2 = 4 #### 4"), marked_answer("So 2 + 2 is four.")
    ('4', None)
    """
    return after_hashes(solution) if ends_in_hashes(solution) else last_box(solution)


def ends_in_hashes(text: str) -> bool:
    """Whether it ends as the solutions of GSM8K do: a heading has text under it, and a box is a mark of its own."""
    _, hashes, answer = text.rstrip().rpartition("####")
    return bool(hashes and answer.strip()) and "\n" not in answer.strip() and r"\boxed" not in answer


def after_hashes(text: str) -> str:
    """GSM8K's final answer: what follows the last `####`, without thousands commas.

    >>> after_hashes("#### 1,234"), after_hashes("#### (1,2)")
    ('1234', '(1,2)')
    """
    answer = text.rpartition("####")[2].strip()
    return answer.replace(",", "") if _THOUSANDS.fullmatch(answer) else answer


def last_box(text: str) -> str | None:
    r"""The content of the last `\boxed{...}` or `\fbox{...}`, braces balanced, or of a `\boxed 2` without braces.

    >>> last_box(r"first \boxed{1}, then \boxed{\frac{1}{2}}.")
    '\\frac{1}{2}'
    """
    boxes = list(re.finditer(r"\\(?:boxed|fbox)\s*(\{)|\\boxed\s+([^\s{$.,]+)", text))
    if not boxes:
        return None
    box = boxes[-1]
    if box[2] is not None:
        return box[2]
    depth = 0
    for offset in range(box.start(1), len(text)):
        # A backslash before a brace makes it a character of the answer, as in \{1, 2\}.
        if text[offset] in "{}" and text[offset - 1] != "\\":
            depth += 1 if text[offset] == "{" else -1
            if depth == 0:
                return text[box.end(1) : offset]
    return None
