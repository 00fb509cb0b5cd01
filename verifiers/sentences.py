"""Answers that a sentence states: the answer is 7; 答案是 7。"""

import re

from markscheme.verifiers.limits import MAX_ANSWER_CHARS
from markscheme.verifiers.patterns import compiled_later
from markscheme.verifiers.reading import read
from markscheme.verifiers.statements import (
    BOLD,
    COMMENT,
    FORMULA_SPAN,
    HEDGE,
    SHORT_GAP_CHARS,
    AnswerKind,
    Statement,
    is_value,
)

_ANSWER_IS = compiled_later(
    r"answers?(?P<bold>[*_]{0,3})\s?(?:to (?:the|this|our) (?:question|problem) |for (?:the|this) (?:question|problem) "
    r"|in \w{1,12} )?"
    r"(?:\([^()\n]{1,40}\)\s?)?"
    r"(?:(?:is|are|was|(?:would|will|must|should) (?:then |thus |therefore )?be|comes out to|equals)(?![a-zA-Z])"
    r"[*_]{0,3}\s?:?"
    r"|(?:[:=：→⇒|]|->|\$?\\to\b)(?P<b>[*_]{0,3})"
    r"|(?=[*_#]{0,3}:?[*_]{0,3}\s*\n)|\s(?=\$|\\\(|\\\[))",
    re.IGNORECASE,
)
_STEMS = ("inal ", "orrect ", "ight ", "est ")
_CHINESE_ANSWER = compiled_later(
    r"(?:最终|正确|最后的?)?(?:答案|结果)(?:应该|应|就)?(?:是|为)?\s?[：:]?|答\s?[：:]|答(?=[^案应题对え])"
    r"|(?:所以|因此|故|应)选(?:择|项)?\s?[：:]?\s?(?=[A-H](?![A-Za-z]))"
)
_FINAL_IS = compiled_later(
    r"[Ff]inal (?:result|value|solution|total|amount|count|number)(?:\s(?:is|was|will be)(?![a-zA-Z])|\s?[:=])"
    r"|(?:correct|right|best) (?:option|choice)(?:\s(?:is|would be|must be)(?![a-zA-Z])[*_]{0,3}\s?:?|\s?:)",
    re.IGNORECASE,
)
_ANSWER_LINE = compiled_later(r"[*_# ]*(?:A|Ans|Answer)\s?[*_]{0,2}\s?[:：.]\s?[*_]{0,2}", re.IGNORECASE)
_ADVERB = compiled_later(
    r"\s*(?:therefore|thus|hence|simply|just|then|also|indeed|clearly|now|equal to|option|choice|given by|found to be"
    r"|only|actually|finally|obviously|that|about|approximately|roughly|exactly)(?![a-zA-Z])[,:]?\s*|\s*[:：,]\s*",
    re.IGNORECASE,
)
_SENTENCE_END = compiled_later(
    r"[.!?](?=\s|$|[\"')*])|[。！；？]|\n|,?\s(?:because|since|so|which|where|when|after|as|I hope|based on|for the)\s"
    r"|,\s(?:and|but)\s(?=[a-z]{2,} [a-z]{2,})"
    r"|\*\*(?=,|\s*[^\w\s.$\\*(+/^=-])|\s\((?:since|because|as|which|from|using|after|see|by|i\.e\.)\s|<\||</|\s--?\s(?=[a-zA-Z])"
)
_DENIED = compiled_later(r"\bnot\b|n't\b|\bor\b|\beither\b|\bmaybe\b|\bif\b", re.IGNORECASE)
NEGATION = compiled_later(
    r"\s*(?:\\text\{)?\s*(?:(?:definitely|certainly|clearly|probably|surely)\s)?(?:not\b|n't\b|isn't\b|neither\s+\S|never\b"
    r"|(?:anything|everything) (?:but|except)\b|other than\b|different from\b|far from\b|unlikely\b"
    r"|(?:nicht|kein\w{0,2}|niemals|pas|jamais|nunca|não|non)\s|不是|不)",
    re.IGNORECASE,
)
_LONGEST_SENTENCE_CHARS = 400
_SUPPOSING = frozenset(
    "suppose assume assuming imagine if unless whether claims claimed says said thinks thought guesses guessed doubt "
    "wrote writes false untrue doubtful impossible supposedly".split()
)
_CLAIMING = frozenset({"claim", "say", "think", "believe", "guess"})
"""Of others; what "we claim" is one's own."""
_ANNOUNCED = compiled_later(r"answers?\s(?:is|was|must be|would be)[\s$:]*")
_FOREIGN_STEMS = ("espuesta", "esposta", "éponse", "ntwort", "isposta", "答え")
_FOREIGN_ANSWER = compiled_later(
    r"(?:respuesta|resposta|r[ée]ponse|antwort|risposta)(?:\s(?:final\w?|correct\w|finale))?"
    r"(?:\s(?:es|é|est|è|lautet|ist)(?:\s(?:donc|pues|entonces|por tanto|daher|also|portanto|quindi))?(?![a-zA-Z])"
    r"|[*_]{0,3}\s?:)|答え\s?(?:は|[:：】])",
    re.IGNORECASE,
)
_IF = compiled_later(r"\bif\b[^.\n]*$", re.IGNORECASE)
"""In front of "the answer would be"."""
_TURNED = (
    *(" says", " said", " claims", " claimed", " except", " not", "n't", " anything but"),
    *(" pas", " nicht", " kein", " no es", " non è", " não é", "不是", "并非", "不会是", "不等于", "不为"),
)
"""Right in front of a box."""
_REPORTED = compiled_later(
    r"\b(?:student|pupil|classmate|friend|somebody|someone|others|textbook)\s"
    r"(?:wrote|writes|suggest(?:s|ed)?|propose[sd]?|guess(?:es|ed)?|got)$"
)
_DOUBTED = frozenset({"that", "sure", "say", "think", "believe"})
"""Behind a "not", with a word or two between: I am not sure that the answer is 7."""
_DENYING = compiled_later(
    r"\b(?:mistake|wrong|incorrect|false|error|tempting|absurd|premature|hasty|naive)\s(?:here )?to \w+ (?:that )?"
    r"[^.,;]*$"
)
"""It would be wrong to say that the answer is 7."""
_OTHER_QUESTION = compiled_later(
    r"\b[Ff]or (?:the|an) ?(?:next|other|different|similar|previous) (?:exercise|problem|question|task)\b[^.]*$"
)
_BETWEEN = frozenset("the our my your his her their this final correct right true".split())
_BARE_BOX = compiled_later(r"\$?boxed\{([^{}]{1,60})\}\$?")
"""A box that lost its backslash."""
_NUMBER_ENDS_IT = compiled_later(r"[ \t:]*(-?[0-9][0-9,]*(?:\.[0-9]+)?)\.?\s*")
"""What most answers are: no more need be asked."""
_MOST_TRIES = 3
"""Lines in front of an answer that announce one too: parts (a) to (d) of a question are not yet a guess."""
_NO_WORDS = " \n\t.,;:!$*_)]}\\"
_QUOTES = "\"'“”‘’"
_CHINESE_WORDS = compiled_later(r"^[\u3040-\u30ff\u4e00-\u9fff，、：\s]+")
_CHINESE_COUNT = compiled_later(r"(?<=[0-9])\s?(?![百千万亿億兆十成折])[\u3040-\u30ff\u4e00-\u9fff]{1,12}$")
"""The thing that is counted."""
_CHINESE_NOT = compiled_later("[不没非]|或者?|可能|也许")


def last_sentence(text: str, start: int, *, boxed: str | None) -> Statement | None:
    """The last sentence that states an answer, from `start` on; behind a box it must state a value of its own."""
    if not text[start:].strip(_NO_WORDS):
        return None
    after_mark = boxed is not None
    anchor = _last_anchor(text, start)
    if anchor is None:
        return None
    begins, ends = anchor
    if not after_mark and _is_one_of_many(text, begins):
        return Statement("", AnswerKind.SENTENCE, begins, ends)
    if number := _NUMBER_ENDS_IT.fullmatch(text, ends):
        return Statement(number[1], AnswerKind.SENTENCE, begins, number.end(1))
    segment = text[ends : ends + _LONGEST_SENTENCE_CHARS]
    if text[ends - 1] == "|":  # a cell of a table
        segment = segment.partition("|")[0]
    at = len(segment) - len(segment.lstrip(" \t\n*_:：#"))
    if segment.startswith("</", at):
        at = segment.find(">", at) + 1
    if NEGATION.match(segment, at):
        withdrawn = after_mark and (boxed or "").strip() in segment[at : at + SHORT_GAP_CHARS]
        return None if after_mark and not withdrawn else Statement("", AnswerKind.SENTENCE, begins, ends)
    while (adverb := _ADVERB.match(segment, at)) and adverb.end() > at:
        at = adverb.end()
    at += len(segment[at:]) - len(segment[at:].lstrip(" \t\n*_"))
    answer, length = _sentence(segment, at)
    if segment[at + length : at + length + 1] in ("?", "？") or answer.endswith(("吗", "か")):
        return None
    if after_mark and not is_value(answer):
        return None
    if NEGATION.match(answer):
        answer = ""
    return Statement(answer, AnswerKind.SENTENCE, begins, ends + at + length)


def _is_one_of_many(text: str, begins: int) -> bool:
    """Whether the lines in front announce answers too: a policy that tries one after the other states none."""
    for _ in range(_MOST_TRIES):
        if begins == 0 or text[begins - 1] != "\n":
            return False
        begins = text.rfind("\n", 0, begins - 1) + 1
        if not _ANSWER_LINE.match(text, begins):
            return False
    return True


def _last_anchor(text: str, start: int) -> tuple[int, int] | None:
    """Where the last words that announce an answer begin and end."""
    found: tuple[int, int] | None = None
    last_line = text.rfind("\n", 0, len(text.rstrip())) + 1
    if last_line >= start and (line := _ANSWER_LINE.match(text, last_line)):
        found = line.span()
    if not text.isascii() and any(mark in text for mark in "答果选"):
        for match in _CHINESE_ANSWER.finditer(text, start):
            if match.end() > (found or (0, 0))[1]:
                found = match.span()
    before = len(text)
    capitals = text.find("NSWER", start) >= 0
    while (stem := max(text.rfind("nswer", start, before), text.rfind("NSWER", start, before) if capitals else -1)) > 0:
        at = stem - 1
        if found and at < found[0]:
            break
        said = _ANSWER_IS.match(text, at)
        in_front = text[max(0, at - _LONGEST_SENTENCE_CHARS) : at]
        if said and not _is_supposed(in_front) and not ("would" in said[0] and _IF.search(in_front)):
            return said.span()
        before = stem
    foreign = _last_foreign(text, start) if found is None else None
    if foreign is not None:
        return foreign.span()
    if found is None:
        found = max((last for stem in _STEMS if (last := _last_behind(text, stem, start))), default=None)
    return found


def _last_behind(text: str, stem: str, start: int) -> tuple[int, int] | None:
    """The last announcement that begins with a word of that stem."""
    before = len(text)
    while (at := text.rfind(stem, start, before)) > 0:
        said = _FINAL_IS.match(text, at - 1)
        if said and not _is_supposed(text[max(0, at - 1 - _LONGEST_SENTENCE_CHARS) : at - 1]):
            return said.span()
        before = at
    return None


def _last_foreign(text: str, start: int) -> re.Match[str] | None:
    """The last announcement in Spanish, Portuguese, French, German, Italian or Japanese."""
    if not any(text.find(stem, start) >= 0 for stem in _FOREIGN_STEMS):
        return None
    return max(_FOREIGN_ANSWER.finditer(text, start), key=lambda match: match.start(), default=None)


def is_anothers(before: str) -> bool:
    """Whether what stands in front of a box makes it another's statement: they claim that the answer is, it says."""
    at = before.rfind("answer")
    if at >= 0 and _ANNOUNCED.fullmatch(before, at):
        return _is_supposed(before[:at])
    before = before.rstrip(" $\\([:")
    return before.endswith(_TURNED) or _REPORTED.search(before) is not None


def _is_supposed(before: str) -> bool:
    """Whether what stands in front of "answer is" makes it another's statement, or none at all."""
    if "%" in before and COMMENT.search(before):
        return True
    line = before.rpartition("\n")[2]
    if line.lstrip().startswith("[^"):  # a footnote
        return True
    if (" to " in line and _DENYING.search(line)) or ("or " in line and _OTHER_QUESTION.search(line)):
        return True
    if before[-1:] in ('"', "“") and line.strip(_QUOTES + " "):
        return True
    words = line.split()
    quoted = False
    while words and not quoted and words[-1].strip(_QUOTES).lower() in _BETWEEN:
        quoted = words.pop()[0] in _QUOTES
    if quoted or not words:
        return bool(words)
    if len(words) > 1 and words[-1].lower() in ("then", "that") and _is_supposing(words[:-1]):
        return True
    if words[-1].strip(_QUOTES + ":,").lower() in _DOUBTED:
        return any(word.lower().endswith(("n't", "cannot", "not", "never")) for word in words[-4:-1])
    return _is_supposing(words)


def _is_supposing(words: list[str]) -> bool:
    last = words[-1].strip(_QUOTES + ":,").lower()
    if last in _CLAIMING:
        return len(words) > 1 and words[-2].lower() not in ("i", "we")
    return last in _SUPPOSING


def _sentence(segment: str, at: int) -> tuple[str, int]:
    """The answer that a sentence gives from `at` on, and how long the sentence is."""
    end = _SENTENCE_END.search(segment, at)
    while end and end[0] == "\n" and not segment[at : end.start()].strip(" $\\[("):  # a display on its own lines
        end = _SENTENCE_END.search(segment, end.end())
    stop = end.start() if end else len(segment)
    span = FORMULA_SPAN.match(segment, at)
    if span and span.end() >= stop:  # a dot inside a formula ends no sentence
        return next(group for group in span.groups() if group).strip(), span.end() - at
    whole = segment[at:stop].strip(" \t\n*_,;:")
    if bare := _BARE_BOX.fullmatch(whole):
        return bare[1], stop - at
    if "boxed{" in whole:  # never closed, or it would be the statement itself: what it holds may be cut off
        return "", stop - at
    if " or " in whole and len(whole) <= MAX_ANSWER_CHARS:
        values = {read(part.strip(" ,$")).number for part in whole.split(" or ")}
        if len(values) == 1 and None not in values:  # the same number twice: 3/8, or 0.375
            return whole.partition(" or ")[0].strip(" ,$"), stop - at
    if len(whole) <= MAX_ANSWER_CHARS and read(whole).node is None:
        spans = list(FORMULA_SPAN.finditer(whole))
        if len(spans) == 1:
            rest = whole[: spans[0].start()] + whole[spans[0].end() :]
            if not any(map(str.isdigit, rest)) and not HEDGE.search(rest):
                return next(group for group in spans[0].groups() if group).strip(), stop - at
        value = _CHINESE_WORDS.sub("", whole)
        value = value if is_value(value) else _CHINESE_COUNT.sub("", value)
        if value != whole and not HEDGE.search(whole) and not _CHINESE_NOT.search(whole) and is_value(value):
            return value, stop - at
        value = whole.replace("**", "")
        if value != whole and is_value(value):
            return value, stop - at
        value = whole.rpartition(" is ")[2].strip()
        if value != whole and not HEDGE.search(value) and not _DENIED.search(whole) and read(value).node is not None:
            return value, stop - at
        bold = list(BOLD.finditer(segment, at, stop + 2))
        if len(bold) == 1 and not HEDGE.search(whole) and read(bold[0][1]).node is not None:
            return bold[0][1].strip(), stop - at
    return whole, stop - at
