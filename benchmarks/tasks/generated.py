"""The generated task: seeded grade-school word problems with a difficulty knob.

A problem is a *structure* (which operations follow one another), its *numbers*, and a *dress* (names, things,
phrasing). Structure and numbers together decide by a hash which part a problem belongs to, so the parts are
disjoint by construction, and a problem in another dress cannot leak from one part into another. The part
`unseen` holds whole structures that occur in no other part.
"""

import hashlib
import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from markscheme.files import InputError
from markscheme.generation import seed_of
from markscheme.problems import Problem

SOURCE = "generated"

# Share of structures held back for `unseen`; of the rest, the share of problems in each part.
UNSEEN_PERCENT = 12
PARTS_PERCENT = {"sft": 50, "train": 30, "dev": 10, "test": 10}
SPLITS = (*PARTS_PERCENT, "unseen")

MIN_NUMBER = 2  # "1 apples" would not read well
MAX_NUMBER = 300
GROUPS_SHARE = 0.2  # of the problems begin with "4 boxes with 6 eggs in each"
MAX_SLIP_DRAWS = 1_000  # for the solution of one problem
MAX_TRIES = 20_000  # draws without a new problem, after which a part counts as used up

NAMES = (
    *("Ada", "Amir", "Anna", "Ben", "Carla", "Chen", "Dana", "David", "Elif", "Emma", "Femi", "Finn", "Grace"),
    *("Hana", "Hugo", "Ines", "Ivan", "Jack", "Julia", "Kofi", "Lars", "Leila", "Lucy", "Marco", "Mia", "Nadia"),
    *("Noah", "Olga", "Omar", "Paul", "Priya", "Rosa", "Sam", "Sara", "Tariq", "Tom", "Vera", "Wei", "Yuki", "Zoe"),
)
THINGS = (
    *("apples", "balls", "beads", "books", "buttons", "cards", "cookies", "cups", "eggs", "flowers", "kites"),
    *("lemons", "marbles", "melons", "nuts", "oranges", "pears", "pencils", "pens", "plums", "rocks", "seeds"),
    *("shells", "stamps", "stickers", "tickets", "tomatoes", "toys"),
)


@dataclass(frozen=True, slots=True)
class Difficulty:
    """What a level of the knob means."""

    min_steps: int
    max_steps: int
    """Equations in the solution."""
    max_operand: int
    """Largest number added or taken away; the first number is at most twice this."""
    max_factor: int


DIFFICULTIES = {
    1: Difficulty(1, 1, 30, 5),
    2: Difficulty(1, 2, 30, 5),
    3: Difficulty(2, 3, 30, 5),
    4: Difficulty(3, 4, 30, 5),
    5: Difficulty(4, 6, 30, 5),
}


@dataclass(frozen=True, slots=True)
class _Operation:
    sign: str
    draw: Callable[[int, random.Random, Difficulty], int]
    """The operation's number, for an amount to apply it to."""
    story: tuple[str, ...]
    equation: str
    question: str = "How many {things} does {A} have now?"
    new_holder: bool = False
    """Whether the story goes on with B."""


@dataclass(frozen=True, slots=True)
class _Step:
    """One operation of a problem. A held the things so far, B is somebody new, C held them before A."""

    kind: str
    number: int
    people: Mapping[str, str]


def _addend(amount: int, rng: random.Random, level: Difficulty) -> int:
    return rng.randint(MIN_NUMBER, level.max_operand)


def _part(amount: int, rng: random.Random, level: Difficulty) -> int:
    return rng.randint(MIN_NUMBER, max(MIN_NUMBER, min(level.max_operand, amount - MIN_NUMBER)))


def _factor(amount: int, rng: random.Random, level: Difficulty) -> int:
    return rng.randint(2, level.max_factor)


def _two(amount: int, rng: random.Random, level: Difficulty) -> int:
    return 2


_GROUPS = _Operation(
    "*",
    _factor,
    ("{A} has {n} boxes with {x} {things} in each.", "{A} fills {n} boxes with {x} {things} each."),
    "{A} has {x}*{n}={y} {things}.",
    "How many {things} does {A} have?",
)
_MIDDLE = {
    "gain": _Operation(
        "+",
        _addend,
        ("{A} buys {n} more {things}.", "{A} finds {n} more {things}.", "Then {A} gets {n} more {things}."),
        "{A} has {x}+{n}={y} {things}.",
    ),
    "lose": _Operation(
        "-",
        _part,
        ("{A} gives away {n} {things}.", "{A} loses {n} {things}.", "Then {A} sells {n} of the {things}."),
        "{A} has {x}-{n}={y} {things} left.",
    ),
    "more": _Operation(
        "+",
        _addend,
        ("{B} has {n} more {things} than {A}.", "{B} has {n} {things} more than {A} has."),
        "{B} has {x}+{n}={y} {things}.",
        "How many {things} does {B} have?",
        new_holder=True,
    ),
    "fewer": _Operation(
        "-",
        _part,
        ("{B} has {n} fewer {things} than {A}.", "{B} has {n} {things} fewer than {A} has."),
        "{B} has {x}-{n}={y} {things}.",
        "How many {things} does {B} have?",
        new_holder=True,
    ),
    "times": _Operation(
        "*",
        _factor,
        ("{B} has {n} times as many {things} as {A}.", "{B} has {n} times the number of {things} that {A} has."),
        "{B} has {x}*{n}={y} {things}.",
        "How many {things} does {B} have?",
        new_holder=True,
    ),
    "half": _Operation(
        "/",
        _two,
        ("{A} gives half of the {things} away.", "Then {A} loses half of the {things}."),
        "{A} has {x}/{n}={y} {things} left.",
    ),
}
_LAST = {
    "share": _Operation(
        "/",
        _factor,
        ("{A} puts the {things} into {n} bags, the same number in each.", "{A} shares the {things} among {n} bags."),
        "Each bag holds {x}/{n}={y} {things}.",
        "How many {things} are in each bag?",
    ),
    "price": _Operation(
        "*",
        _factor,
        ("{A} sells the {things} for {n} coins each.", "{A} gets {n} coins for each of the {things}."),
        "{A} gets {x}*{n}={y} coins.",
        "How many coins does {A} get?",
    ),
    "together": _Operation(
        "+",
        _two,  # not told: what is added is A's amount to C's
        ("",),
        "{C} and {A} have {x}+{n}={y} {things} together.",
        "How many {things} do {C} and {A} have together?",
    ),
}
_OPERATIONS = {"groups": _GROUPS, **_MIDDLE, **_LAST}
_FIRST_STORY = ("{A} has {x} {things}.", "There are {x} {things} in {A}'s box.", "{A} starts with {x} {things}.")

CARELESS_SIGNS = {"fewer": "+", "times": "+", "price": "+"}
"""What a careless student does instead: adds, because the words hold a number and a comparison."""


def generated_problems(
    split: str, difficulty: int, seed: int = 0, slips: Mapping[str, float] | None = None
) -> Iterator[Problem]:
    """A stream of different problems of one part: the same for the same arguments.

    Args:
        split: sft, train, dev, test or unseen.
        difficulty: 1 to 5.
        seed: Another seed gives other problems of the same part.
        slips: Makes the solutions those of a careless student: the probability of each slip of CARELESS_SIGNS.
            Golds stay right, and so do the questions: the stream is the same with and without slips.

    Raises:
        InputError: if there is no such part or difficulty, or when an easy part is used up.
    """
    if split not in SPLITS:
        raise InputError(f"no split {split!r} of the generated task; there are {', '.join(SPLITS)}")
    if difficulty not in DIFFICULTIES:
        raise InputError(f"difficulty must be {min(DIFFICULTIES)} to {max(DIFFICULTIES)}, got {difficulty}")
    rng = random.Random(seed_of(SOURCE, split, difficulty, seed))
    seen: set[str] = set()
    tries = 0
    while tries < MAX_TRIES:
        tries += 1
        # One sampler with one rejection serves all parts, so that none is easier than another.
        problem = _draw(rng, difficulty, split, slips or {})
        if problem is not None and problem.id not in seen:
            seen.add(problem.id)
            tries = 0
            yield problem
    raise InputError(f"split {split!r} at difficulty {difficulty} has only some {len(seen)} problems: take fewer")


def part_of(structure: tuple[str, ...], numbers: tuple[int, ...]) -> str:
    """The part that a problem belongs to: a hash of structure and numbers, of nothing else."""
    shape = " ".join(structure)
    if len(structure) > 2 and _percent(shape) < UNSEEN_PERCENT:  # of the shortest structures there are too few
        return "unseen"
    place = _percent(f"{shape} {numbers}")
    for part, percent in PARTS_PERCENT.items():
        if place < percent:
            return part
        place -= percent
    raise AssertionError("the parts add up to 100 percent")


def strangers(question: str, completion: str) -> set[str]:
    """Names and things in a completion that are not in its question: signs that it was not read."""
    words = set(re.findall(r"[A-Za-z]+", completion))
    return (words & {*NAMES, *THINGS}) - set(re.findall(r"[A-Za-z]+", question))


def lexicon() -> Iterator[str]:
    """Every text that a problem or solution can contain, with each name and each thing at least once."""
    texts = list(_FIRST_STORY)
    for operation in _OPERATIONS.values():
        texts += [*operation.story, operation.equation, operation.question]
    for i in range(len(NAMES)):
        people = {letter: NAMES[(i + k) % len(NAMES)] for k, letter in enumerate("ABC")}
        things = THINGS[i % len(THINGS)]
        yield " ".join(text.format(x=12, n=3, y=45, things=things, **people) for text in texts) + f" {_final('0')}"


def _percent(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") % 100


def _final(answer: str) -> str:
    return f"The answer is \\boxed{{{answer}}}."


def _draw(rng: random.Random, difficulty: int, split: str, slips: Mapping[str, float]) -> Problem | None:
    """One try: None where the numbers do not work out or the problem belongs to another part."""
    level = DIFFICULTIES[difficulty]
    num_steps = rng.randint(level.min_steps, level.max_steps)
    people = rng.sample(NAMES, num_steps + 1)
    things = rng.choice(THINGS)
    holder, other = people.pop(), None
    amounts = {holder: rng.randint(MIN_NUMBER, 2 * level.max_operand)}
    start = dict(amounts)
    story: list[str] = []
    steps: list[_Step] = []
    if in_groups := rng.random() < GROUPS_SHARE:
        kinds = ["groups"]
    else:
        story.append(rng.choice(_FIRST_STORY).format(A=holder, x=amounts[holder], things=things))

    for place in range(num_steps):
        if place or not in_groups:
            kinds = [*_MIDDLE, *(_LAST if place == num_steps - 1 else ())]
            if other is None and "together" in kinds:
                kinds.remove("together")
        kind = rng.choice(kinds)
        operation = _OPERATIONS[kind]
        letters = {"A": holder, "B": people[-1], "C": other or ""}
        steps.append(_Step(kind, operation.draw(amounts[holder], rng, level), letters))
        equation = _work_out(steps[-1], operation.sign, amounts)
        if equation is None:
            return None
        dress = {"x": amounts[holder], "n": steps[-1].number, "things": things, **letters}
        if text := rng.choice(operation.story).format(**dress):
            story.append(text)
        if operation.new_holder:
            holder, other = people.pop(), holder
        amounts[holder] = equation[2]
    story.append(operation.question.format(**dress))

    structure = ("groups" if in_groups else "have", *(step.kind for step in steps[in_groups:]))
    numbers = (*start.values(), *(step.number for step in steps if step.kind != "together"))
    if part_of(structure, numbers) != split:
        return None
    key = f"{' '.join(structure)} {numbers}"
    return Problem(
        id=f"{SOURCE}/{hashlib.sha256(key.encode()).hexdigest()[:12]}",
        question=" ".join(story),
        gold=str(amounts[holder]),
        solution=_solution(steps, start, things, slips, random.Random(seed_of("slips", key))),
        source=SOURCE,
        split=split,
        meta={"difficulty": difficulty, "steps": num_steps, "structure": " ".join(structure)},
    )


def _work_out(step: _Step, sign: str, amounts: Mapping[str, int]) -> tuple[int, int, int] | None:
    """x, n and y of the step's equation x sign n = y; None where y is no number that the task uses."""
    x, n = amounts[step.people["A"]], step.number
    if step.kind == "together":
        x, n = amounts[step.people["C"]], x
    if sign == "/" and x % n:
        return None
    y = {"+": x + n, "-": x - n, "*": x * n, "/": x // n}[sign]
    return (x, n, y) if MIN_NUMBER <= y <= MAX_NUMBER else None


def _solution(
    steps: Sequence[_Step], start: Mapping[str, int], things: str, slips: Mapping[str, float], rng: random.Random
) -> str:
    """The worked solution. Slips that lead to a number which does not work out are drawn anew, in the end not made."""
    right = [_OPERATIONS[step.kind].sign for step in steps]
    for draw in range(MAX_SLIP_DRAWS + 1):
        signs = [
            CARELESS_SIGNS[step.kind] if draw < MAX_SLIP_DRAWS and rng.random() < slips.get(step.kind, 0) else sign
            for step, sign in zip(steps, right, strict=True)
        ]
        amounts, lines = dict(start), []
        for step, sign in zip(steps, signs, strict=True):
            operation = _OPERATIONS[step.kind]
            equation = _work_out(step, sign, amounts)
            if equation is None:
                break
            x, n, y = equation
            text = operation.equation.replace(f"{{x}}{operation.sign}", f"{{x}}{sign}")
            lines.append(text.format(x=x, n=n, y=y, things=things, **step.people))
            amounts[step.people["B" if operation.new_holder else "A"]] = y
        else:
            return " ".join([*lines, _final(str(y))])
    raise AssertionError("without slips every problem works out")
