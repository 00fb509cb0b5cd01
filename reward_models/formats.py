"""Files of preferences and of labelled steps, in the forms in which they are published and in which we write them."""

import json
import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from markscheme.files import InputError, StrPath, column, read_jsonl
from markscheme.reward_models.preferences import Comparison, PreferencePair, Prompt, compared, rated
from markscheme.reward_models.steps import LabelledSteps
from markscheme.score_rows import PROMPT_COLUMNS, score_of
from markscheme.scoring import Message

WAY_OUT = "give prompts with chosen and rejected, or with completions of different labels"

SIDES = ("chosen", "rejected")
PAIR_COLUMNS = (*SIDES, "chosen_steps", "rejected_steps")
RATING_COLUMNS = ("scores", "ranks", "labels")

NOT_DECIDED, CONTRADICTORY, REPEATED = "not decided", "contradictory", "repeated"
"""Why a completion is left out: its label is null, the same text has another label, the same text has the same."""

ASSISTANT = "\n\nAssistant:"
"""Where a turn of the assistant begins in texts such as HH-RLHF's."""
STEP_TAG = "ки"
"""Ends each step in Math-Shepherd's texts."""
MAX_SHOWN_CHARS = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """What a file knows of the completions of its prompts."""

    comparisons: list[Comparison]
    left_out: Mapping[str, int]
    """How many labelled completions are in none of them, by the reason."""


def load_comparisons(path: StrPath) -> Loaded:
    """The comparisons of a .jsonl or .jsonl.gz file, whose rows may be of any of these forms:

    - a pair: `chosen` and `rejected`, or lists of steps `chosen_steps` and `rejected_steps`; where there are any,
      `prefix` (steps that both share), `weight`, `margin`, `certainty`, `chosen_by` (or `chosen_model`) and
      `rejected_by`. Without a prompt, it is what both begin with. The pairs of one prompt are one comparison;
    - several completions: `responses` with `scores`, `ranks` (1 is best) or `labels`, and `models` that wrote them;
    - a completion with a verdict: `completion` with `label` (true, false; null: not decided), or else with the
      `score` that `markscheme score` writes, and the `model` that wrote it. Those of one prompt are one comparison.

    The prompt is in `prompt`, `question` or `problem`. Prompts and completions are texts or lists of messages.

    Raises:
        InputError: if the file holds nothing to learn from, or a row cannot be used.
    """
    rows = _read(Path(path))
    comparisons = [*compared(rows.pairs), *rows.rated]
    if not comparisons:
        raise InputError(f"{path}: no pairs in it, and no ratings{_beside(rows.left_out)}; {WAY_OUT}")
    return Loaded(comparisons=comparisons, left_out=dict(+rows.left_out))


def load_pairs(path: StrPath) -> list[PreferencePair]:
    """All pairs of a file that `load_comparisons` reads.

    Raises:
        InputError: if the file holds no pair, or a row cannot be used.
    """
    rows = _read(Path(path))
    pairs = [*rows.pairs, *(pair for comparison in rows.rated for pair in comparison.pairs)]
    if not pairs:
        raise InputError(f"{path}: no pairs in it{_beside(rows.left_out)}; {WAY_OUT}")
    return pairs


def _beside(left_out: Counter[str]) -> str:
    counted = ", ".join(f"{count} {reason}" for reason, count in (+left_out).items())
    return f" ({counted})" if counted else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rows:
    """What the rows of a file say, before the pairs of a prompt come together."""

    pairs: list[PreferencePair] = field(default_factory=list)
    rated: list[Comparison] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)


def _read(path: Path) -> _Rows:
    rows, labelled = _Rows(), _ByPrompt()
    for row in _rows_of(path):
        if row.has(*PAIR_COLUMNS):
            rows.pairs.append(_pair(row))
        elif row.has("responses"):
            rows.rated.extend(_rated_responses(row, rows.left_out))
        elif row.has("completion"):
            labelled.add(row)
        else:
            raise row.unknown("of chosen and rejected, responses, or completion")
    rows.rated.extend(labelled.comparisons(rows.left_out))
    return rows


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """A line of a file."""

    record: Mapping[str, Any]
    path: Path
    line_number: int

    @property
    def where(self) -> str:
        """For messages."""
        return f"{self.path}:{self.line_number}"

    @property
    def place(self) -> str:
        """For ids, which are the same wherever the file lies."""
        return f"{self.path.name}:{self.line_number}"

    @property
    def id(self) -> str:
        return self.text_or_none("id") or self.place

    def has(self, *names: str) -> bool:
        """Whether one of the columns is there and not null, which is how some writers say that it is not there."""
        return any(self.record.get(name) is not None for name in names)

    def unusable(self, name: str, needed: str, value: object) -> InputError:
        shown = json.dumps(value) if value is None or isinstance(value, bool) else repr(value)
        shown = shown if len(shown) <= MAX_SHOWN_CHARS else f"{shown[:MAX_SHOWN_CHARS]}..."
        return InputError(f"{self.where}: column {name!r} must be {needed}, got {shown}")

    def unknown(self, needed: str) -> InputError:
        it_has = ", ".join(map(repr, self.record)) or "none"
        return InputError(f"{self.where}: no column {needed}; it has {it_has}")

    def text(self, name: str) -> str:
        return column(self.record, name, self.where)

    def text_or_none(self, *names: str) -> str | None:
        return next((self.text(name) for name in names if self.has(name)), None)

    def texts(self, name: str) -> list[str]:
        """A list of steps."""
        value = self.items(name, "a list of texts, one a step")
        if not all(isinstance(text, str) for text in value):
            raise self.unusable(name, "a list of texts, one a step", value)
        return value

    def items(self, name: str, needed: str) -> list[Any]:
        value = self.record.get(name)
        if not isinstance(value, list):
            raise self.unusable(name, needed, value)
        return value

    def number(self, name: str, default: float) -> float:
        value = self.record[name] if self.has(name) else default
        if (number := _number(value)) is None:
            raise self.unusable(name, "a number", value)
        return number

    def said(self, name: str, value: object) -> Prompt:
        """A text, or messages."""
        if isinstance(value, str):
            return value
        if isinstance(value, int | float) and not isinstance(value, bool):
            return str(value)
        if not isinstance(value, list) or not value or not all(map(_is_message, value)):
            raise self.unusable(name, "text or a list of messages, each of a role and a content", value)
        return tuple(Message(role=message["role"], content=message["content"]) for message in value)

    def prompt_or_none(self) -> Prompt | None:
        return next((self.said(name, self.record[name]) for name in PROMPT_COLUMNS if self.has(name)), None)

    def prompt(self) -> Prompt:
        if (prompt := self.prompt_or_none()) is None:
            raise self.unknown(f"of {', '.join(map(repr, PROMPT_COLUMNS))}")
        return prompt

    def completion(self, name: str, said: Prompt, prompt: Prompt) -> str:
        """What follows the prompt: a text, or the last of messages that are it alone or repeat the prompt before it."""
        if isinstance(said, str):
            return said
        as_messages = (Message(role="user", content=prompt),) if isinstance(prompt, str) else prompt
        if said[:-1] not in ((), as_messages):
            needed = f"one message, or the {len(as_messages)} of the prompt and one more"
            raise self.unusable(name, needed, list(said))
        return said[-1]["content"]


def _rows_of(path: Path) -> Iterator[_Row]:
    for line_number, record in read_jsonl(path):
        yield _Row(record=record, path=path, line_number=line_number)


def _is_message(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(value.get(name), str) for name in ("role", "content"))


def _number(value: object) -> float | None:
    """None for what is no finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= sys.float_info.max:
        return None
    return float(value)


def _label(value: object) -> float | None:
    """1 for true, 0 for false; None for what is neither."""
    return float(value) if isinstance(value, int | float) and value in (0, 1) else None


# Pairs.


def _pair(row: _Row) -> PreferencePair:
    chosen, rejected = _side(row, "chosen"), _side(row, "rejected")
    prompt = row.prompt_or_none()
    if prompt is None:
        prompt, chosen, rejected = _shared_prompt(row, chosen, rejected)
    prefix = row.texts("prefix") if row.has("prefix") else []
    texts = [row.completion(name, said, prompt) for name, said in zip(SIDES, (chosen, rejected), strict=True)]
    better, worse = ("\n".join([*prefix, text]) for text in texts)
    id_, chosen_by, rejected_by = row.id, *(row.text_or_none(f"{side}_by", f"{side}_model") for side in SIDES)
    weight, margin, certainty = row.number("weight", 1.0), row.number("margin", 0.0), row.number("certainty", 1.0)
    try:
        return PreferencePair(
            prompt=prompt,
            chosen=better,
            rejected=worse,
            id=id_,
            weight=weight,
            margin=margin,
            certainty=certainty,
            chosen_by=chosen_by,
            rejected_by=rejected_by,
        )
    except ValueError as error:
        raise InputError(f"{row.where}: {error}") from error


def _side(row: _Row, name: str) -> Prompt:
    steps = f"{name}_steps"
    if row.has(steps):
        return "\n".join(row.texts(steps))
    if name not in row.record:
        raise row.unknown(repr(name))
    return row.said(name, row.record[name])


def _shared_prompt(row: _Row, chosen: Prompt, rejected: Prompt) -> tuple[Prompt, str, str]:
    """(prompt, chosen, rejected) of a pair without a prompt: what both begin with, and what is left of each."""
    if isinstance(chosen, str) and isinstance(rejected, str):
        return _shared_text(row, chosen, rejected)
    if isinstance(chosen, str) or isinstance(rejected, str):
        raise InputError(
            f"{row.where}: chosen and rejected must be two texts or two lists of messages; or add a prompt"
        )
    num_shared = _num_shared(chosen, rejected)
    left = (len(chosen) - num_shared, len(rejected) - num_shared)
    if not num_shared or left != (1, 1):
        raise InputError(
            f"{row.where}: after the {num_shared} messages that they share, chosen has {left[0]} and rejected has "
            f"{left[1]}; at least one must be shared and one each be left, or add a prompt"
        )
    return chosen[:-1], chosen[-1]["content"], rejected[-1]["content"]


def _shared_text(row: _Row, chosen: str, rejected: str) -> tuple[str, str, str]:
    """Cut behind the last "Assistant:" that both share, else where the last white space begins that both share."""
    shared = chosen[: _num_shared(chosen, rejected)]
    turn = shared.rfind(ASSISTANT)
    if turn >= 0:
        end = turn + len(ASSISTANT)
    else:
        both_go_on = [text[len(shared) :][:1].isspace() for text in (chosen, rejected)]
        before_space = re.match(r".*\S(?=\s)", f"{shared} " if all(both_go_on) else shared, re.DOTALL)
        end = before_space.end() if before_space else 0
    if not end or not chosen[end:].strip() or not rejected[end:].strip():
        raise InputError(
            f"{row.where}: no column of {', '.join(map(repr, PROMPT_COLUMNS))}, and chosen and rejected do not share a "
            f"beginning after which both go on; the shared one is {shared[:MAX_SHOWN_CHARS]!r}: add a prompt"
        )
    return chosen[:end], chosen[end:], rejected[end:]


def _num_shared(some: Sequence[object], others: Sequence[object]) -> int:
    return next((k for k, (a, b) in enumerate(zip(some, others, strict=False)) if a != b), min(len(some), len(others)))


# Completions with a rating each.


def _rated_responses(row: _Row, left_out: Counter[str]) -> list[Comparison]:
    """The comparison of a row, none if nothing in it is decided."""
    prompt = row.prompt()
    responses = row.items("responses", "a list of completions")
    given = [name for name in RATING_COLUMNS if row.has(name)]
    if len(given) != 1:
        it_has = ", ".join(given) or "none"
        raise InputError(f"{row.where}: responses need one of {', '.join(RATING_COLUMNS)}; this row has {it_has}")
    [name] = given
    values = _one_each(row, name, responses)
    models = _one_each(row, "models", responses) if row.has("models") else [None] * len(responses)
    rating_of: dict[str, float] = {}
    written_by: dict[str, str] = {}
    for response, value, model in zip(responses, values, models, strict=True):
        completion = row.completion("responses", row.said("responses", response), prompt)
        if value is None:
            left_out[NOT_DECIDED] += 1
            continue
        rating = _rating(row, name, value)
        if rating_of.get(completion, rating) != rating:
            raise row.unusable(name, f"the same for equal responses ({completion[:MAX_SHOWN_CHARS]!r})", values)
        left_out[REPEATED] += completion in rating_of
        rating_of[completion] = rating
        if model is not None:
            written_by.setdefault(completion, str(model))
    return [rated(prompt, rating_of, row.id, written_by)] if rating_of else []


def _one_each(row: _Row, name: str, responses: Sequence[object]) -> list[Any]:
    needed = f"a list of {len(responses)}, one for each response"
    values = row.items(name, needed)
    if len(values) != len(responses):
        raise row.unusable(name, needed, values)
    return values


def _rating(row: _Row, name: str, value: object) -> float:
    rating = _label(value) if name == "labels" else _number(value)
    if rating is None:
        raise row.unusable(name, "true, false or null each" if name == "labels" else "numbers or null", value)
    return -rating if name == "ranks" else rating


@dataclass(slots=True)
class _Answers:
    """The labelled completions of a prompt."""

    prompt: Prompt
    id: str
    ratings: dict[str, list[float]] = field(default_factory=dict)
    written_by: dict[str, str] = field(default_factory=dict)


class _ByPrompt:
    """Completions with a label each, which come together by their prompts as a file is read."""

    def __init__(self) -> None:
        self._prompts: dict[str, _Answers] = {}
        self._undecided = 0

    def add(self, row: _Row) -> None:
        prompt = row.prompt()
        completion = row.completion("completion", row.said("completion", row.record["completion"]), prompt)
        rating = _verdict(row)
        if rating is None:
            self._undecided += 1
            return
        answers = self._prompts.setdefault(json.dumps(prompt), _Answers(prompt, row.place))
        answers.ratings.setdefault(completion, []).append(rating)
        if model := row.text_or_none("model"):
            answers.written_by.setdefault(completion, model)

    def comparisons(self, left_out: Counter[str]) -> Iterator[Comparison]:
        """One for each prompt; a text that is labelled in two ways is in none."""
        for answers in self._prompts.values():
            rating_of: dict[str, float] = {}
            for completion, ratings in answers.ratings.items():
                if len(set(ratings)) > 1:
                    left_out[CONTRADICTORY] += len(ratings)
                else:
                    rating_of[completion] = ratings[0]
                    left_out[REPEATED] += len(ratings) - 1
            if rating_of:
                yield rated(answers.prompt, rating_of, answers.id, answers.written_by)
        left_out[NOT_DECIDED] += self._undecided


def _verdict(row: _Row) -> float | None:
    """The rating by the label, else by the score; None where it is not decided."""
    if row.has("label"):
        if (label := _label(row.record["label"])) is None:
            raise row.unusable("label", "true, false or null", row.record["label"])
        return label
    if row.has("score"):
        score = score_of(row.record, row.where)
        return score.value if score.correct is None else float(score.correct)
    if "label" not in row.record:
        raise row.unknown("of label or score beside completion (`markscheme score` writes one)")
    return None


# Solutions step by step.


def load_steps(path: StrPath, neutral: Literal["ignored", "good"] = "ignored") -> list[LabelledSteps]:
    """The solutions with at least one labelled step of a .jsonl or .jsonl.gz file of any of these forms:

    - TRL's: `prompt`, `completions` (the steps) and `labels` (true, false or null; or shares from 0 to 1);
    - PRM800K by prefixes: `problem`, `prefix` (the steps before) and `candidates` for the next step, each of a `text`
      and `ratings` (1, 0, -1). A solution is made of each: the steps before it are labelled in rows of their own, and
      one with several different ratings is left out;
    - ProcessBench's: `problem`, `steps` and `label`, the index of the first wrong step, -1 for none. What follows a
      wrong step is not labelled;
    - MR-GSM8K's: `problem`, `steps` and `first_error_step`, which counts from 1;
    - Math-Shepherd's: `input`, in which a tag ends each step, and `label`, with + or - in its place.

    Args:
        path: the file.
        neutral: what a rating of 0 means.

    Raises:
        InputError: if the file holds no labelled step, or a row cannot be used.
    """
    solutions: list[LabelledSteps] = []
    for row in _rows_of(Path(path)):
        if row.has("candidates"):
            solutions += _prm800k(row, neutral)
        elif row.has("completions"):
            solutions += _solution(row, row.prompt(), row.texts("completions"), _step_labels(row))
        elif row.has("steps"):
            steps = row.texts("steps")
            solutions += _solution(row, row.prompt(), steps, _until_error(row, len(steps)))
        elif row.has("input"):
            solutions += _math_shepherd(row)
        else:
            raise row.unknown("of completions, candidates, steps or input, which hold the steps")
    if not solutions:
        raise InputError(f"{path}: no labelled steps in it; give steps with labels")
    return solutions


def _solution(
    row: _Row, prompt: Prompt, steps: Sequence[str], labels: Sequence[float | None], id: str | None = None
) -> list[LabelledSteps]:
    """The solution, or nothing if no step is labelled."""
    try:
        solution = LabelledSteps(prompt=prompt, steps=tuple(steps), labels=tuple(labels), id=id or row.id)
    except ValueError as error:
        raise InputError(f"{row.where}: {error}") from error
    return [] if all(label is None for label in labels) else [solution]


def _step_labels(row: _Row) -> list[float | None]:
    needed = "a list of true, false or null, one for each step"
    labels = row.items("labels", needed)
    read = [float(label) if isinstance(label, bool) else _number(label) for label in labels]
    if any(number is None and label is not None for number, label in zip(read, labels, strict=True)):
        raise row.unusable("labels", needed, labels)
    return read


def _prm800k(row: _Row, neutral: Literal["ignored", "good"]) -> Iterator[LabelledSteps]:
    prompt, prefix = row.prompt(), row.texts("prefix")
    label_of = {1: 1.0, 0: 1.0 if neutral == "good" else None, -1: 0.0}
    for k, candidate in enumerate(row.items("candidates", "a list of steps")):
        match candidate:
            case {"text": str(text), "ratings": [*ratings]} if all(rating in (1, 0, -1) for rating in ratings):
                label = label_of[ratings[0]] if len(set(ratings)) == 1 else None
                labels = [*(None for _ in prefix), label]
                yield from _solution(row, prompt, [*prefix, text], labels, f"{row.id}/{k}")
            case _:
                raise row.unusable("candidates", "a list of steps, each of a text and ratings (1, 0, -1)", candidate)


def _until_error(row: _Row, num_steps: int) -> list[float | None]:
    """Good up to the first wrong step, and not labelled behind it."""
    name, first = ("first_error_step", 1) if row.has("first_error_step") else ("label", 0)
    place = row.record.get(name)
    if type(place) is not int or not (first <= place < first + num_steps or (name, place) == ("label", -1)):
        last = first + num_steps - 1
        needed = f"the number of the first wrong step, {first} to {last}" + (", or -1 for none" if not first else "")
        raise row.unusable(name, needed, place)
    error = place - first if place >= 0 else num_steps
    return [1.0 if k < error else 0.0 if k == error else None for k in range(num_steps)]


def _math_shepherd(row: _Row) -> list[LabelledSteps]:
    """Tags inside the question, which some rows have, are taken out."""
    tagged, signs = row.text("input"), _signs(row)
    begin = re.search(r"(?=[Ss]tep 1:)", tagged) or re.search(r"(?<=\?)", tagged)
    if not begin:
        raise row.unusable("input", "a question, from which 'Step 1:' or a question mark parts the steps", tagged)
    question, solution = tagged[: begin.end()], tagged[begin.end() :]
    labels = [*signs[question.count(STEP_TAG) :], None]  # what follows the last tag has no label
    steps = [(text.strip(), label) for text, label in zip(solution.split(STEP_TAG), labels, strict=True)]
    steps = [(text, label) for text, label in steps if text]
    prompt = question.replace(STEP_TAG, "").strip()
    return _solution(row, prompt, [text for text, _ in steps], [label for _, label in steps])


def _signs(row: _Row) -> list[float]:
    """What stands in the label where the tags are in the input."""
    signs, label, end = [], row.text("label"), 0
    for piece in row.text("input").split(STEP_TAG)[:-1]:
        end += len(piece) + 1
        signs.append(label[end - 1 : end])
    if not {*signs} <= {"+", "-"}:
        raise row.unusable("label", f"the input with + or - for each {STEP_TAG}", label)
    return [float(sign == "+") for sign in signs]
