import itertools
import re
from collections import Counter

import pytest

from markscheme.benchmarks.tasks import task_problems
from markscheme.benchmarks.tasks.generated import (
    DIFFICULTIES,
    MAX_NUMBER,
    NAMES,
    SPLITS,
    THINGS,
    generated_problems,
    lexicon,
    part_of,
    strangers,
)
from markscheme.files import InputError
from markscheme.problems import Problem
from markscheme.scoring import Outcome, Sample
from markscheme.verifiers import MathVerifier


def some(split: str, difficulty: int = 4, count: int = 300, seed: int = 0) -> list[Problem]:
    return list(itertools.islice(generated_problems(split, difficulty, seed), count))


@pytest.mark.parametrize("difficulty", DIFFICULTIES)
def test_every_equation_of_a_solution_holds(difficulty: int) -> None:
    level = DIFFICULTIES[difficulty]
    for problem in some("train", difficulty):
        assert problem.solution is not None
        equations = re.findall(r"(\d+)([-+*/])(\d+)=(\d+)", problem.solution)
        assert level.min_steps <= len(equations) <= level.max_steps
        for left, sign, right, result in equations:
            x, y, z = int(left), int(right), int(result)
            assert {"+": x + y == z, "-": x - y == z, "*": x * y == z, "/": z * y == x}[sign], problem.solution
            assert z <= MAX_NUMBER
        assert problem.solution.endswith(f"The answer is \\boxed{{{problem.gold}}}.")
        assert equations[-1][3] == problem.gold


def test_a_solution_can_be_followed_from_its_question() -> None:
    # Every number of an equation stands in the question, or is the result of an earlier equation, or halves.
    for problem in some("train"):
        known = set(re.findall(r"\d+", problem.question)) | ({"2"} if "half" in problem.question else set())
        for left, right, result in re.findall(r"(\d+)[-+*/](\d+)=(\d+)", problem.solution or ""):
            assert {left, right} <= known, problem
            known.add(result)


def test_the_same_arguments_give_the_same_problems_and_another_seed_others() -> None:
    assert some("train") == some("train")
    assert some("train", seed=1) != some("train", seed=0)


def test_the_parts_share_no_structure_with_numbers() -> None:
    keys = {split: {problem.id for problem in some(split, count=1_000)} for split in SPLITS}
    for one, other in itertools.combinations(SPLITS, 2):
        assert not keys[one] & keys[other]


def test_an_id_is_structure_and_numbers_and_nothing_else() -> None:
    # Two problems that differ in dress only would have one id, and a stream never repeats an id.
    problems = some("train", count=2_000)
    assert len({problem.id for problem in problems}) == 2_000
    shapes = Counter((p.meta["structure"], tuple(re.findall(r"\d+", p.question))) for p in problems)
    assert shapes.most_common(1)[0][1] == 1


def test_unseen_structures_are_in_no_other_part() -> None:
    structures = {split: {str(problem.meta["structure"]) for problem in some(split, count=1_500)} for split in SPLITS}
    assert len(structures["unseen"]) > 20
    for split in ("sft", "train", "dev", "test"):
        assert not structures["unseen"] & structures[split]
    easy = {split: {str(p.meta["structure"]) for p in some(split, 3, 4_000)} for split in ("train", "test")}
    assert len(easy["test"] - easy["train"]) < 0.1 * len(easy["test"])  # new numbers, known structures


def test_the_part_does_not_depend_on_the_dress() -> None:
    assert {part_of(("have", "gain"), (3, 4)) for _ in range(5)} == {part_of(("have", "gain"), (3, 4))}


def test_the_knob_makes_problems_longer() -> None:
    steps = [sum(int(p.meta["steps"]) for p in some("train", difficulty)) / 300 for difficulty in DIFFICULTIES]
    assert steps == sorted(steps)
    assert steps[0] == 1


def test_solutions_speak_only_of_what_the_question_does() -> None:
    for split in SPLITS:
        for problem in some(split, count=100):
            assert not strangers(problem.question, problem.solution or "")


def test_a_stranger_is_noticed() -> None:
    question = "Mia has 3 eggs. Tom has 2 more eggs than Mia. How many eggs does Tom have?"
    assert strangers(question, "Tom has 3+2=5 books.") == {"books"}
    assert strangers(question, "Zoe has 3+2=5 eggs.") == {"Zoe"}


def test_the_lexicon_holds_every_word() -> None:
    words = set(re.findall(r"[A-Za-z]+", " ".join(lexicon())))
    assert {*NAMES, *THINGS} <= words
    for problem in some("train", 5, 500):
        assert set(re.findall(r"[A-Za-z]+", f"{problem.question} {problem.solution}")) <= words


def test_a_careless_student_changes_solutions_and_nothing_else() -> None:
    slips = {"fewer": 1.0, "times": 1.0}
    careless = list(itertools.islice(generated_problems("sft", 4, slips=slips), 300))
    right = some("sft")
    assert [(p.id, p.question, p.gold) for p in careless] == [(p.id, p.question, p.gold) for p in right]
    wrong = [c for c, r in zip(careless, right, strict=True) if c.solution != r.solution]
    assert len(wrong) > 100
    assert all({"fewer", "times"} & {*str(p.meta["structure"]).split()} for p in wrong)


def test_the_verifier_reads_the_solutions() -> None:
    problems = some("dev", count=50)
    right = [Sample(prompt=p.question, completion=p.solution or "", gold=p.gold) for p in problems]
    wrong = [Sample(prompt=p.question, completion=p.solution or "", gold=str(int(p.gold) + 1)) for p in problems]
    assert {score.outcome for score in MathVerifier().score(right)} == {Outcome.CORRECT}
    assert {score.outcome for score in MathVerifier().score(wrong)} == {Outcome.INCORRECT}


def test_bad_arguments_are_named() -> None:
    with pytest.raises(InputError, match="no split 'valid' of the generated task; there are sft, train, dev"):
        next(generated_problems("valid", 3))
    with pytest.raises(InputError, match="difficulty must be 1 to 5, got 9"):
        next(generated_problems("train", 9))
    with pytest.raises(InputError, match="has only some"):
        list(itertools.islice(generated_problems("dev", 1), 10_000))


def test_a_task_by_its_name() -> None:
    assert len(task_problems("generated", "test")) == 500
    assert len(task_problems("generated", "test", limit=7)) == 7
    with pytest.raises(InputError, match="no task 'gsm9k'; there are gsm8k, math, math500, cmath, generated"):
        task_problems("gsm9k", "test")
    with pytest.raises(InputError, match="limit must be at least 1, got 0"):
        task_problems("generated", "test", limit=0)
