"""The generated task: seeded grade-school word problems with a difficulty knob.

A problem is a *structure* (which operations follow one another), its *numbers*, and a *dress* (names, things,
phrasing). Structure and numbers together decide by a hash which part a problem belongs to, so the parts are
disjoint by construction, and a problem in another dress cannot leak from one part into another. The part
`unseen` holds whole structures that occur in no other part.
"""

import hashlib
import random
import re
from collections.abc import Callable, Iterator
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


@dataclass(slots=True)
class _State:
    """Who holds how much while a problem is being told."""

    holder: str
    amount: int
    other: str | None = None
    """The previous holder, who still has `other_amount`."""
    other_amount: int = 0


@dataclass(frozen=True, slots=True)
class _Operation:
    operand: Callable[[int, random.Random, Difficulty], int]
    """Draws the number for an amount."""
    result: Callable[[int, int], int | None]
    """The amount after it; None where it does not work out."""
    story: tuple[str, ...]
    equation: str
    question: str = "How many {things} does {A} have now?"
    new_holder: bool = False


def _addend(amount: int, rng: random.Random, level: Difficulty) -> int:
    return rng.randint(MIN_NUMBER, level.max_operand)


def _part(amount: int, rng: random.Random, level: Difficulty) -> int:
    return rng.randint(MIN_NUMBER, max(MIN_NUMBER, min(level.max_operand, amount - MIN_NUMBER)))


def _factor(amount: int, rng: random.Random, level: Difficulty) -> int:
    return rng.randint(2, level.max_factor)


def _two(amount: int, rng: random.Random, level: Difficulty) -> int:
    return 2


def _plus(x: int, y: int) -> int:
    return x + y


def _minus(x: int, y: int) -> int:
    return x - y


def _times(x: int, y: int) -> int:
    return x * y


def _over(x: int, y: int) -> int | None:
    return x // y if x % y == 0 else None


# A: who holds the things. B: somebody new. x: the amount before, n: the operation's number, y: the amount after.
_MIDDLE = {
    "gain": _Operation(
        _addend,
        _plus,
        ("{A} buys {n} more {things}.", "{A} finds {n} more {things}.", "Then {A} gets {n} more {things}."),
        "{A} has {x}+{n}={y} {things}.",
    ),
    "lose": _Operation(
        _part,
        _minus,
        ("{A} gives away {n} {things}.", "{A} loses {n} {things}.", "Then {A} sells {n} of the {things}."),
        "{A} has {x}-{n}={y} {things} left.",
    ),
    "more": _Operation(
        _addend,
        _plus,
        ("{B} has {n} more {things} than {A}.", "{B} has {n} {things} more than {A} has."),
        "{B} has {x}+{n}={y} {things}.",
        "How many {things} does {B} have?",
        new_holder=True,
    ),
    "fewer": _Operation(
        _part,
        _minus,
        ("{B} has {n} fewer {things} than {A}.", "{B} has {n} {things} fewer than {A} has."),
        "{B} has {x}-{n}={y} {things}.",
        "How many {things} does {B} have?",
        new_holder=True,
    ),
    "times": _Operation(
        _factor,
        _times,
        ("{B} has {n} times as many {things} as {A}.", "{B} has {n} times the number of {things} that {A} has."),
        "{B} has {x}*{n}={y} {things}.",
        "How many {things} does {B} have?",
        new_holder=True,
    ),
    "half": _Operation(
        _two,
        _over,
        ("{A} gives half of the {things} away.", "Then {A} loses half of the {things}."),
        "{A} has {x}/{n}={y} {things} left.",
    ),
}
_LAST = {
    "share": _Operation(
        _factor,
        _over,
        ("{A} puts the {things} into {n} bags, the same number in each.", "{A} shares the {things} among {n} bags."),
        "Each bag holds {x}/{n}={y} {things}.",
        "How many {things} are in each bag?",
    ),
    "price": _Operation(
        _factor,
        _times,
        ("{A} sells the {things} for {n} coins each.", "{A} gets {n} coins for each of the {things}."),
        "{A} gets {x}*{n}={y} coins.",
        "How many coins does {A} get?",
    ),
    "together": _Operation(
        _two,  # not shown: what is added is the other's amount
        _plus,
        ("",),
        "{C} and {A} have {x}+{n}={y} {things} together.",
        "How many {things} do {C} and {A} have together?",
    ),
}
_FIRST_STORY = ("{A} has {x} {things}.", "There are {x} {things} in {A}'s box.", "{A} starts with {x} {things}.")
_GROUPS_STORY = ("{A} has {n} boxes with {x} {things} in each.", "{A} fills {n} boxes with {x} {things} each.")
_GROUPS_EQUATION = "{A} has {n}*{x}={y} {things}."


def generated_problems(split: str, difficulty: int, seed: int = 0) -> Iterator[Problem]:
    """A stream of different problems of one part: the same for the same arguments.

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
        problem = _draw(rng, difficulty, split)
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
    operations = [*_MIDDLE.values(), *_LAST.values()]
    texts = [*_FIRST_STORY, *_GROUPS_STORY, _GROUPS_EQUATION]
    texts += [text for operation in operations for text in (*operation.story, operation.equation, operation.question)]
    for i in range(len(NAMES)):
        people = {letter: NAMES[(i + k) % len(NAMES)] for k, letter in enumerate("ABC")}
        things = THINGS[i % len(THINGS)]
        yield " ".join(text.format(x=12, n=3, y=45, things=things, **people) for text in texts) + f" {_final('0')}"


def _percent(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") % 100


def _final(answer: str) -> str:
    return f"The answer is \\boxed{{{answer}}}."


def _draw(rng: random.Random, difficulty: int, split: str) -> Problem | None:
    """One try: None where the numbers do not work out or the problem belongs to another part."""
    level = DIFFICULTIES[difficulty]
    num_steps = rng.randint(level.min_steps, level.max_steps)
    people = rng.sample(NAMES, num_steps + 1)
    things = rng.choice(THINGS)
    state = _State(holder=people.pop(), amount=rng.randint(MIN_NUMBER, 2 * level.max_operand))
    structure, numbers = ["have"], [state.amount]
    story, equations = [], []

    if rng.random() < 0.2:
        factor = _factor(0, rng, level)
        structure[0] = "groups"
        numbers.append(factor)
        dress = {"A": state.holder, "x": state.amount, "n": factor, "y": state.amount * factor, "things": things}
        story.append(rng.choice(_GROUPS_STORY).format(**dress))
        equations.append(_GROUPS_EQUATION.format(**dress))
        state.amount *= factor
    else:
        story.append(rng.choice(_FIRST_STORY).format(A=state.holder, x=state.amount, things=things))
    question = f"How many {things} does {state.holder} have?"

    while len(equations) < num_steps:
        last = len(equations) == num_steps - 1
        kinds = list(_MIDDLE)
        if last:
            kinds += [kind for kind in _LAST if kind != "together" or state.other]
        kind = rng.choice(kinds)
        operation = _MIDDLE.get(kind) or _LAST[kind]
        operand = operation.operand(state.amount, rng, level)
        if kind == "together":
            before, operand = state.other_amount, state.amount
        else:
            before = state.amount
            numbers.append(operand)
        after = operation.result(before, operand)
        if after is None or not MIN_NUMBER <= after <= MAX_NUMBER:
            return None
        dress = {"A": state.holder, "C": state.other, "B": people[-1], "things": things}
        dress |= {"x": before, "n": operand, "y": after}
        structure.append(kind)
        story.append(rng.choice(operation.story).format(**dress))
        equations.append(operation.equation.format(**dress))
        question = operation.question.format(**dress)
        if operation.new_holder:
            state = _State(holder=people.pop(), amount=after, other=state.holder, other_amount=state.amount)
        else:
            state.amount = after

    if part_of(tuple(structure), tuple(numbers)) != split:
        return None
    key = f"{' '.join(structure)} {' '.join(map(str, numbers))}"
    return Problem(
        id=f"{SOURCE}/{hashlib.sha256(key.encode()).hexdigest()[:12]}",
        question=" ".join(filter(None, [*story, question])),
        gold=str(state.amount),
        solution=" ".join([*equations, _final(str(state.amount))]),
        source=SOURCE,
        split=split,
        meta={"difficulty": difficulty, "steps": num_steps, "structure": " ".join(structure)},
    )
