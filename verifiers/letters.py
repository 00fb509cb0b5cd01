r"""The letter of a choice in any dress, B, (b), \text{(B)}, B) 42, and the phrases that announce one.

The phrases are fixed words with single spaces between them, and what follows is read from a short piece: the time grows
with the length of the text and no faster.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from markscheme.verifiers.extract import extract, readable
from markscheme.verifiers.patterns import compiled_later

_PIECE_CHARS = 80
"""Behind an announcement, where its letter stands."""
_THOUGHT_ENDS = ("</think>", "</thinking>", "<|begin_of_solution|>")
_DRESS = compiled_later(
    r"\\(?:text|textbf|textrm|textit|mathrm|mathbf|mathsf|mbox|boxed|fbox|bf|rm)(?![a-zA-Z])"
    r"|\\[()\[\] ,;!]|[{}$*_`~\"“”]"
)
_PREFIX = compiled_later(
    r"\s*(?:(?:the\s)?(?:correct\s|right\s|final\s)?(?:option|choice|answer|letter|alternative)(?:\sis)?[:：]?\s?"
    r"|(?:just|simply|clearly|definitely|probably|likely|therefore|thus|hence|so|indeed|选项|选)[,，]?\s?){0,2}",
    re.IGNORECASE,
)
_BOLD = r"[*_]{0,3}"
_IS = (
    rf"{_BOLD}\s?(?:is|was|would be|must be|should be|has to be)?{_BOLD}\s?[:：=]?{_BOLD}\s?"
    r"(?:therefore|thus|then|clearly|simply|indeed|still)?,?\s?"
)
_DOUBT = compiled_later(
    r"(?:\b(?:if|whether|suppose|assume|unless|not|never|doubt|says|said|claims|claimed|thinks|thought|guesses|guessed|why)\b"
    r"|n['’]t\b|[不没未如若])[^,.!?，。！？\n]{0,50}$",
    re.IGNORECASE,
)
"""In front of an announcement: it is not one of the completion's own."""
_MARK = r"[)\].:*_}\s]{0,6}"
_ANNOUNCING = (
    rf"\b(?:correct|right|best|final|proper)\s(?:answer|option|choice|alternative)(?![a-z]){_IS}"
    rf"|\banswer(?:\s(?:choice|option|letter))?(?![a-z]){_IS}"
    r"|\b(?:I|we|let['’]s)(?:['’](?:d|ll))?\s(?:would\s|will\s|should\s|can\s|must\s|therefore\s|thus\s){0,2}"
    r"(?:choose|chose|pick|picked|select|selected|go with|opt for|vote for|answer|mark)\s(?:the\s)?"
    r"|(?<![不没未可勿挑])选(?:择)?(?![项择取出])(?:的?是|为)?[:：]?\s?"
    r"|(?:正确|最佳)的?(?:选项|答案|结论|一项)?(?:应该|应)?(?:是|为)?[:：]?\s?|答案(?:应该|应)?(?:是|为|选)?[:：]?\s?"
)
_REFUSING = (
    rf"{_MARK}(?:(?:is|was|are|seems|looks|would be)\s)?(?:also\s|clearly\s|definitely\s|therefore\s)?"
    r"(?:not\b|n['’]t\b|wrong|incorrect|false|impossible|eliminated|invalid|ruled|isn|doesn|does not|cannot|can['’]t"
    rf"|(?:can|could|should|must) be (?:eliminated|ruled|discarded|excluded)|错|不)|{_MARK}[?？]"
)
"""Behind a letter."""
_CONFIRMING = (
    rf"{_MARK}(?:is|must be|would be|should be)\s(?:the\s|our\s|my\s|therefore\s|thus\s|clearly\s){{0,2}}"
    rf"(?:correct|right|best|final\sanswer|answer)(?![a-z])|{_MARK}(?:是)?正确"
)
"""Behind a letter too."""
_NOUN = compiled_later(r"\b(?:option|choice|answer|alternative)s?\s|选项", re.IGNORECASE)
_JOINING = compiled_later(
    r"[\s,.;)\]]{0,4}(?:\b(?:or|and)\b|[/&,、或和与]|以及|或者)\s?(?:also\s|maybe\s|perhaps\s|possibly\s)?(?:option\s|choice\s)?"
)
_PROSE = compiled_later(r"\s+(?!(?:is|because|since|as|for|with|which|and|or|so|given|based|but)\b)[a-z]")
"""Behind A or I: it is a word of a sentence."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What a completion chooses."""

    letters: str
    """The different letters of its last statement, in order; none if it names no letter."""
    text: str
    """The statement."""
    kind: str
    """How it is stated: a kind of `extract`'s, "choice" for an announced letter, "last_line"."""


@dataclass(frozen=True, slots=True)
class _Named:
    letter: str
    marked: bool
    end: int
    """Where the letter with its marks ends."""


@lru_cache(maxsize=3)
def _phrase(pattern: str) -> re.Pattern[str]:
    """Compiled when first needed: that takes longer than importing the room."""
    return re.compile(pattern, re.IGNORECASE)


@lru_cache(maxsize=64)
def _letter_pattern(letters: str) -> re.Pattern[str]:
    some = f"[{letters}{letters.lower()}]"
    return re.compile(
        rf"\(\s?(?P<a>{some})\s?\)|\[\s?(?P<b>{some})\s?\]|(?P<c>{some})\s?(?:[):：、]|\.(?![\w.]))"
        rf"|(?P<bare>[{letters}])(?![a-zA-Z0-9_'’]|\s?[=+^<>|/]|[(\[\\-])|(?P<last>[{letters.lower()}])(?=\s*\Z|\s?\n|[.,;!](?:\s|\Z))"
    )


def _letter_at(text: str, at: int, letters: str) -> _Named | None:
    """The letter at `at`: in parentheses, with a mark behind it or as the last word in either case; else a capital."""
    match = _letter_pattern(letters).match(text, at)
    if match is None or match.lastgroup is None:
        return None
    letter, bare = match[match.lastgroup].upper(), match.lastgroup in ("bare", "last")
    if bare and letter in "AI" and _PROSE.match(text, match.end()):
        return None
    return _Named(letter, not bare, match.end())


def _letters_from(text: str, at: int, letters: str) -> tuple[str, int]:
    """The letter at `at` with those joined to it by "or", "and" or a comma; and where they end."""
    named = _letter_at(text, at, letters)
    if named is None:
        return "", at
    found, end = named.letter, named.end
    while (joining := _JOINING.match(text, end)) and (other := _letter_at(text, joining.end(), letters)):
        if (
            "," in joining[0]
            and not other.marked
            and text[other.end :].strip(" .,;)")
            and not _JOINING.match(text, other.end)
        ):
            break  # "C, A being wrong"
        found += other.letter if other.letter not in found else ""
        end = other.end
    return found, end


def _plain(text: str) -> str:
    return _DRESS.sub("", text).strip()


def letters_of(answer: str, letters: str) -> str:
    """The different letters that an answer is, or that stand in parentheses in it; "" if it is something else.

    >>> letters_of(r"\\textbf{(B)}\\ 42", "ABCDE"), letters_of("B or C", "ABCDE"), letters_of("42", "ABCDE")
    ('B', 'BC', '')
    """
    plain = _plain(answer)
    if len(plain) == 1:
        return plain.upper() if plain.upper() in letters else ""
    prefix = _PREFIX.match(plain)
    found, _ = _letters_from(plain, prefix.end() if prefix else 0, letters)
    if found:
        return found
    either = re.match(r"(?:either|both)\s", plain, re.IGNORECASE)
    if either:
        return _letters_from(plain, either.end(), letters)[0]
    inner = re.findall(rf"(?<!\w)\(([{letters}])\)", plain)
    return "".join(dict.fromkeys(inner))


def gold_letter(gold: str, letters: str) -> str:
    """The letter of a gold: bare, or with a mark and any text behind it; "" if it is none."""
    plain = _plain(gold)
    if len(plain) == 1:
        return plain.upper() if plain.upper() in letters else ""
    named = _letter_at(plain, 0, letters)
    return named.letter if named and (named.marked or named.end == len(plain)) else ""


def without_letter(text: str, letter: str) -> str:
    """The text of a choice without its own letter in front: "(A) 42" is "42"."""
    return (
        re.sub(rf"\s*(?:\({letter}\)|{letter}[).:])\s+", "", text, count=1)
        if text.lstrip()[:2].strip("(")[:1] == letter
        else text
    )


def last_choice(completion: str, letters: str, *, lenient: bool) -> Choice | None:
    """What a completion chooses last: a letter where it names one at all, else its statement; None if there is none."""
    text = _after_thought(completion, lenient=lenient)
    if text is None:
        return None
    text = readable(text)
    last_line = text.rfind("\n", 0, len(text.rstrip())) + 1
    announced = _last_announced(text, letters)
    if announced is None or announced[0] < last_line:
        announced = _on_last_line(text, letters, lenient=False) or announced
    at, choice = announced or (0, None)
    statement = extract(text[at:])
    if statement is None and choice is None and lenient:
        if on_last_line := _on_last_line(text, letters, lenient=True):
            return on_last_line[1]
        statement = extract(text, lenient=True)
    if statement is not None:
        found = letters_of(statement.answer, letters)
        if found or choice is None:
            return Choice(found, statement.answer, statement.kind.value)
    return choice


def _after_thought(completion: str, *, lenient: bool) -> str | None:
    end = max(completion.rfind(mark) for mark in _THOUGHT_ENDS)
    if end < 0 and not lenient and ("<think>" in completion or "<thinking>" in completion):
        return None
    return completion[max(end, 0) :]


def _last_announced(text: str, letters: str) -> tuple[int, Choice] | None:
    """The last announced letter, and where the announcement ends."""
    found: tuple[int, Choice] | None = None
    for start, end, behind in _announcements(text):
        if found is not None and end <= found[0]:
            continue
        piece = _plain_piece(text, end)
        prefix = _PREFIX.match(piece)
        named, stop = _letters_from(piece, prefix.end() if prefix else 0, letters)
        if (
            not named
            or _phrase(_REFUSING).match(piece, stop)
            or (behind and not _phrase(_CONFIRMING).match(piece, stop))
        ):
            continue
        if not _DOUBT.search(text[max(0, start - _PIECE_CHARS) : start]):
            found = end, Choice(named, piece[:stop].strip(), "choice")
    return found


def _announcements(text: str) -> Iterator[tuple[int, int, bool]]:
    """Where announcements begin and end, and whether "is correct" has to follow the letter."""
    for match in _phrase(_ANNOUNCING).finditer(text):
        yield *match.span(), False
    for match in _NOUN.finditer(text):
        yield *match.span(), True


def _plain_piece(text: str, at: int) -> str:
    return _DRESS.sub("", text[at : at + _PIECE_CHARS]).lstrip(" \t\n:：")


def _is_listed(before: str, letters: str) -> bool:
    """Whether the line before begins with a letter too: the choices are being told."""
    before = before.rstrip()
    named = _letter_at(_plain(before[before.rfind("\n") + 1 :][:_PIECE_CHARS]), 0, letters)
    return named is not None and named.marked


def _on_last_line(text: str, letters: str, *, lenient: bool) -> tuple[int, Choice] | None:
    """A last line that is a letter in bold print or parentheses, or names "option (C)" and no other."""
    text = text.rstrip()
    begin = max(text.rfind("\n") + 1, len(text) - 2 * _PIECE_CHARS)
    line = text[begin:]
    plain = _plain(line)
    bold = line.startswith(("**", "__")) and line.endswith(("**", "__"))
    alone = _letter_at(plain, 0, letters)
    if alone and (bold or lenient or plain.startswith("(")):
        rest = plain[alone.end :].strip(" .")
        if not rest or (alone.marked and (bold or (lenient and not _is_listed(text[:begin], letters)))):
            return begin, Choice(alone.letter, plain, "last_line")
    named: list[str] = []
    for noun in re.finditer(r"\b(?:option|choice)\s|选项", plain, re.IGNORECASE):
        found, stop = _letters_from(plain, noun.end(), letters)
        if _phrase(_REFUSING).match(plain, stop) or _DOUBT.search(plain[: noun.start()]):
            return None
        named.append(found)
    if not named or not all(named):
        return None
    return begin, Choice("".join(dict.fromkeys("".join(named))), plain, "last_line")
