"""Files of preferences and of steps: each form with what it says, and what cannot be used with the words for it."""

import gzip
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from markscheme.files import InputError, read_jsonl
from markscheme.reward_models.formats import Loaded, load_comparisons, load_pairs, load_steps
from markscheme.reward_models.preferences import Comparison, PreferencePair, Prompt
from markscheme.reward_models.steps import LabelledSteps
from markscheme.scoring import Message, Outcome, Score

DATA = Path(__file__).parents[3] / "shared/data"
needs_data = pytest.mark.skipif(not DATA.exists(), reason="needs ../shared/data (local copies of the data sets)")


def write(path: Path, *rows: object) -> Path:
    text = "".join(json.dumps(row) + "\n" for row in rows)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def said(role: str, content: str) -> Message:
    return Message(role=role, content=content)


USER, FOUR, FIVE = said("user", "2 + 2?"), said("assistant", "4"), said("assistant", "5")
PAIR = {"prompt": "2 + 2?", "chosen": "4", "rejected": "5"}

# Pairs: (row, (prompt, chosen, rejected), reason).

PAIRS: list[tuple[dict[str, Any], tuple[Prompt, str, str], str]] = [
    (PAIR, ("2 + 2?", "4", "5"), "texts"),
    ({"problem": "2 + 2?", "chosen": 4, "rejected": 5}, ("2 + 2?", "4", "5"), "numbers are their digits"),
    ({"question": "2 + 2?", "chosen": "4", "rejected": ""}, ("2 + 2?", "4", ""), "nothing written"),
    ({**PAIR, "problem": None, "chosen_steps": None}, ("2 + 2?", "4", "5"), "null is not there"),
    (
        {"problem": "p", "prefix": ["one"], "chosen_steps": ["two", "three"], "rejected": "four"},
        ("p", "one\ntwo\nthree", "one\nfour"),
        "steps are joined by line ends after the prefix",
    ),
    ({**PAIR, "prompt": [USER]}, ((USER,), "4", "5"), "the prompt as messages"),
    ({**PAIR, "prompt": [{**USER, "name": "Mia"}]}, ((USER,), "4", "5"), "of messages, role and content count"),
    ({**PAIR, "prompt": [USER], "chosen": [FOUR], "rejected": [FIVE]}, ((USER,), "4", "5"), "all as messages"),
    ({**PAIR, "chosen": [USER, FOUR], "rejected": [USER, FIVE]}, ("2 + 2?", "4", "5"), "a text prompt, repeated"),
    (
        {"prompt": [USER, FIVE, USER], "chosen": [USER, FIVE, USER, FOUR], "rejected": "6"},
        ((USER, FIVE, USER), "4", "6"),
        "a conversation, repeated on one side",
    ),
    (
        {"chosen": [USER, FIVE, USER, FOUR], "rejected": [USER, FIVE, USER, FIVE]},
        ((USER, FIVE, USER), "4", "5"),
        "no prompt: the messages that both begin with",
    ),
    (
        {
            "chosen": "\n\nHuman: 2 + 2?\n\nAssistant: 5\n\nHuman: No.\n\nAssistant: It is 4",
            "rejected": "\n\nHuman: 2 + 2?\n\nAssistant: 5\n\nHuman: No.\n\nAssistant: It is 6",
        },
        ("\n\nHuman: 2 + 2?\n\nAssistant: 5\n\nHuman: No.\n\nAssistant:", " It is 4", " It is 6"),
        "no prompt: up to the assistant's last turn, though both go on alike",
    ),
    ({"chosen": "2 + 2 = 41", "rejected": "2 + 2 = 42"}, ("2 + 2 =", " 41", " 42"), "numbers stay whole"),
    ({"chosen": "2 + 2?\n\n4", "rejected": "2 + 2?\n\n5"}, ("2 + 2?", "\n\n4", "\n\n5"), "white space stays whole"),
    ({"chosen": "2 + 2?\n4", "rejected": "2 + 2? 5"}, ("2 + 2?", "\n4", " 5"), "each goes on with white space"),
    ({"chosen": "So it is", "rejected": "So it is not"}, ("So it", " is", " is not"), "one begins the other"),
]


@pytest.mark.parametrize(("row", "texts", "reason"), PAIRS)
def test_a_pair(tmp_path: Path, row: dict[str, Any], texts: tuple[Prompt, str, str], reason: str) -> None:
    path = write(tmp_path / "pairs.jsonl", row)
    prompt, chosen, rejected = texts
    pair = PreferencePair(prompt=prompt, chosen=chosen, rejected=rejected, id="pairs.jsonl:1")
    assert load_pairs(path) == [pair], reason
    comparison = Comparison(prompt=prompt, completions=(chosen, rejected), ratings=(1.0, 0.0), pairs=(pair,))
    assert load_comparisons(path) == Loaded(comparisons=[comparison], left_out={})


def test_what_is_known_of_a_pair(tmp_path: Path) -> None:
    known = {"id": "a", "weight": 0.5, "margin": -1, "certainty": 0.75}
    by, models = {"chosen_by": "A", "rejected_by": "B"}, {"chosen_model": "A", "rejected_model": "B"}
    path = write(tmp_path / "pairs.jsonl.gz", {**PAIR, **known, **by}, {**PAIR, **known, **models}, PAIR | {"id": 7})
    one, same, other = load_pairs(path)
    assert one == same == PreferencePair(**{**PAIR, **known, **by})  # type: ignore[arg-type]
    assert other == PreferencePair(prompt="2 + 2?", chosen="4", rejected="5", id="7")


# Other forms: (rows, [(prompt, completions, ratings, places of the pairs)], left out, reason).

ABC = ["a", "b", "c"]
FORMS: list[tuple[list[dict[str, Any]], list[tuple[Prompt, str, list[float], list[tuple[int, int]]]], Any, str]] = [
    (
        [{"prompt": "p", "responses": ABC, "scores": [0.5, 2, -1]}],
        [("p", "abc", [0.5, 2, -1], [(1, 0), (1, 2), (0, 2)])],
        {},
        "scores",
    ),
    (
        [{"problem": "p", "responses": ABC, "ranks": [2, 1, 2]}],
        [("p", "abc", [-2, -1, -2], [(1, 0), (1, 2)])],
        {},
        "ranks, 1 is best, two alike",
    ),
    (
        [{"question": "p", "responses": ABC, "labels": [True, False, 0], "scores": None}],
        [("p", "abc", [1, 0, 0], [(0, 1), (0, 2)])],
        {},
        "labels",
    ),
    (
        [{"prompt": [USER], "responses": [[FOUR], "5", [USER, said("assistant", "6")]], "labels": [1, 0, 0]}],
        [((USER,), "456", [1, 0, 0], [(0, 1), (0, 2)])],
        {},
        "messages, texts, and a whole conversation",
    ),
    (
        [{"prompt": "p", "responses": ["a", "b", "a", "c"], "scores": [1, 0, 1, None]}],
        [("p", "ab", [1, 0], [(0, 1)])],
        {"repeated": 1, "not decided": 1},
        "a text counts once, and one without a score not at all",
    ),
    ([{"prompt": "p", "responses": ["a", "b"], "scores": [3, 3]}], [("p", "ab", [3, 3], [])], {}, "all alike"),
    (
        [{"prompt": "p", "responses": [*texts], "ranks": [1, 2]} for texts in ("ab", "bc")],
        [("p", "ab", [-1, -2], [(0, 1)]), ("p", "bc", [-1, -2], [(0, 1)])],
        {},
        "ranks of two rows cannot be compared",
    ),
    (
        [
            {"prompt": "p", "completion": "a", "label": False},
            {"prompt": "q", "completion": "a", "label": 1},
            {"prompt": "p", "completion": "b", "label": True},
            {"prompt": "p", "completion": "c", "label": None},
            {"prompt": "p", "completion": "b", "label": 1},
        ],
        [("p", "ab", [0, 1], [(1, 0)]), ("q", "a", [1], [])],
        {"repeated": 1, "not decided": 1},
        "labels of single completions, over the whole file",
    ),
    (
        [
            {"prompt": "p", "completion": "a", "label": True},
            {"prompt": "p", "completion": "b", "label": True},
            {"prompt": "p", "completion": "b", "label": False},
            {"prompt": "p", "completion": "b", "label": True},
        ],
        [("p", "a", [1], [])],
        {"contradictory": 3},
        "labelled in two ways",
    ),
    (
        [
            {"prompt": [USER], "completion": [FOUR], "label": True},
            {"prompt": [USER], "completion": "5", "label": False},
            {"prompt": "2 + 2?", "completion": "5", "label": False},
        ],
        [((USER,), "45", [1, 0], [(0, 1)]), ("2 + 2?", "5", [0], [])],
        {},
        "messages are another prompt than a text",
    ),
    (
        [
            {"problem": "p", "completion": completion, "gold": "4", "score": Score(value=v, outcome=outcome).to_dict()}
            for completion, v, outcome in [
                ("a", 1.0, Outcome.CORRECT),
                ("b", 0.0, Outcome.INCORRECT),
                ("c", 0.1, Outcome.NO_ANSWER),  # whatever the verifier makes it worth
                ("d", None, Outcome.UNDECIDED),
                ("e", None, Outcome.FAILED),
            ]
        ],
        [("p", "abc", [1, 0, 0], [(0, 1), (0, 2)])],
        {"not decided": 2},
        "verdicts of a verifier",
    ),
    (
        [
            {"prompt": "p", "completion": "a", "score": Score(value=-0.5, outcome=Outcome.RATED).to_dict()},
            {"prompt": "p", "completion": "b", "score": Score(value=0.25, outcome=Outcome.RATED).to_dict()},
        ],
        [("p", "ab", [-0.5, 0.25], [(1, 0)])],
        {},
        "ratings of a reward model",
    ),
    (
        [{"prompt": "p", "completion": "a", "label": False, "score": {"value": 1.0, "outcome": "correct"}}],
        [("p", "a", [0], [])],
        {},
        "a label goes before a score",
    ),
]


@pytest.mark.parametrize(("rows", "comparisons", "left_out", "reason"), FORMS)
def test_completions_with_ratings(tmp_path: Path, rows: Any, comparisons: Any, left_out: Any, reason: str) -> None:
    loaded = load_comparisons(write(tmp_path / "rows.jsonl", *rows))
    found = [(one.prompt, one.completions, one.ratings, one.places()) for one in loaded.comparisons]
    assert found == [(prompt, tuple(texts), tuple(ratings), places) for prompt, texts, ratings, places in comparisons]
    assert loaded.left_out == left_out, reason
    for one in loaded.comparisons:
        assert sum(pair.weight for pair in one.pairs) == pytest.approx(1.0 if one.pairs else 0.0)


def test_who_wrote_what_and_what_pairs_are_called(tmp_path: Path) -> None:
    path = write(
        tmp_path / "rows.jsonl",
        {"id": "k", "prompt": "p", "responses": ["a", "b"], "labels": [True, False], "models": ["A", None]},
        {"id": "r1", "prompt": "q", "completion": "a", "label": False, "model": "B"},
        {"id": "r2", "prompt": "q", "completion": "b", "label": True, "model": "A"},
    )
    # The second prompt begins in line 2: no row's own id names its pair.
    assert [(pair.id, pair.chosen_by, pair.rejected_by) for pair in load_pairs(path)] == [
        ("k/0", "A", None),
        ("rows.jsonl:2/0", "A", "B"),
    ]


def test_forms_may_be_mixed_and_pairs_keep_the_order_of_the_file(tmp_path: Path) -> None:
    path = write(
        tmp_path / "rows.jsonl",
        {"prompt": "s", "completion": "x", "label": True},
        {"prompt": "p", "chosen": "a", "rejected": "b"},
        {"prompt": "r", "responses": ["x", "y"], "ranks": [2, 1]},
        {"prompt": "q", "chosen": "a", "rejected": "b"},
        {"prompt": "p", "chosen": "a", "rejected": "c"},
    )
    loaded = load_comparisons(path)
    assert [one.prompt for one in loaded.comparisons] == ["p", "q", "r", "s"]
    assert [len(one.pairs) for one in loaded.comparisons] == [2, 1, 1, 0]
    assert [pair.prompt for pair in load_pairs(path)] == ["p", "q", "p", "r"]


SCORED = {"prompt": "p", "completion": "a"}
BAD = [
    ({"prompt": "p"}, "no column of chosen and rejected, responses, or completion; it has 'prompt'"),
    ({}, "no column of chosen and rejected, responses, or completion; it has none"),
    ({"prompt": "p", "rejected": "a"}, "no column 'chosen'; it has 'prompt', 'rejected'"),
    ({"prompt": "p", "chosen_steps": ["a"]}, "no column 'rejected'; it has 'prompt', 'chosen_steps'"),
    (
        PAIR | {"chosen": None},
        "must be text or a list of messages, each of a role and a content, got null",
    ),
    (
        PAIR | {"chosen": True},
        "must be text or a list of messages, each of a role and a content, got true",
    ),
    (PAIR | {"chosen": []}, "column 'chosen' must be text or a list of messages"),
    (
        PAIR | {"chosen": [{"role": "user"}]},
        "must be text or a list of messages, each of a role and a content, got [{'",
    ),
    (PAIR | {"prompt": [{"role": "user", "content": ["a"]}]}, "column 'prompt' must be text or a list of messages"),
    (PAIR | {"prompt": {"role": "user", "content": "a"}}, "column 'prompt' must be text or a list of messages"),
    (PAIR | {"chosen": [FIVE, FOUR]}, "column 'chosen' must be one message, or the 1 of the prompt and one more, got"),
    (PAIR | {"chosen_steps": "a"}, "column 'chosen_steps' must be a list of texts, one a step, got 'a'"),
    (PAIR | {"chosen_steps": ["a", 1]}, "column 'chosen_steps' must be a list of texts, one a step, got ['a', 1]"),
    (PAIR | {"prefix": "a"}, "column 'prefix' must be a list of texts, one a step, got 'a'"),
    (PAIR | {"rejected": "4"}, "chosen and rejected are the same text '4': drop it"),
    (PAIR | {"rejected_steps": ["4"]}, "chosen and rejected are the same text"),
    (PAIR | {"weight": "1"}, "column 'weight' must be a number, got '1'"),
    (PAIR | {"margin": float("nan")}, "column 'margin' must be a number, got nan"),
    (PAIR | {"margin": 10**400}, "column 'margin' must be a number, got 1000"),
    (PAIR | {"weight": 0}, "weight must be finite and above 0, got 0.0"),
    (PAIR | {"certainty": 0.25}, "certainty must be 0.5 to 1, got 0.25; swap chosen and rejected"),
    (PAIR | {"chosen_by": ["A"]}, "column 'chosen_by' must be text, got a list"),
    ({"chosen": "a", "rejected": "b"}, "do not share a beginning after which both go on; the shared one is '': add a"),
    ({"chosen": "2+2=4", "rejected": "2+2=5"}, "the shared one is '2+2=': add a prompt"),
    ({"chosen": "2 + 2? ", "rejected": "2 + 2? 5"}, "the shared one is '2 + 2? ': add a prompt"),
    ({"chosen": "A\n\nAssistant:", "rejected": "A\n\nAssistant: b"}, "after which both go on"),
    ({"chosen": [USER, FOUR], "rejected": "5"}, "must be two texts or two lists of messages; or add a prompt"),
    (
        {"chosen": [USER, FOUR, USER, FIVE], "rejected": [USER, FIVE]},
        "after the 1 messages that they share, chosen has 3 and rejected has 1; at least one must be shared",
    ),
    ({"chosen": [FOUR], "rejected": [FIVE]}, "after the 0 messages that they share, chosen has 1 and rejected has 1"),
    ({"chosen": [USER, FOUR], "rejected": [USER, FOUR]}, "after the 2 messages that they share, chosen has 0 and"),
    ({"responses": ["a"], "scores": [1]}, "no column of 'prompt', 'question', 'problem'; it has 'responses', 'scores'"),
    ({"prompt": "p", "responses": "a", "scores": [1]}, "column 'responses' must be a list of completions, got 'a'"),
    ({"prompt": "p", "responses": [None], "scores": [1]}, "column 'responses' must be text or a list of messages"),
    ({"prompt": "p", "responses": ["a"]}, "responses need one of scores, ranks, labels; this row has none"),
    (
        {"prompt": "p", "responses": ["a"], "scores": [1], "ranks": [1]},
        "responses need one of scores, ranks, labels; this row has scores, ranks",
    ),
    (
        {"prompt": "p", "responses": ["a", "b"], "ranks": [1]},
        "column 'ranks' must be a list of 2, one for each response, got [1]",
    ),
    ({"prompt": "p", "responses": ["a"], "scores": [True]}, "column 'scores' must be numbers or null, got true"),
    ({"prompt": "p", "responses": ["a"], "labels": [0.5]}, "column 'labels' must be true, false or null each, got 0.5"),
    (
        {"prompt": "p", "responses": ["a", "a"], "scores": [1, 2]},
        "column 'scores' must be the same for equal responses ('a'), got [1, 2]",
    ),
    (
        {"prompt": "p", "responses": ["a"], "labels": [1], "models": "A"},
        "column 'models' must be a list of 1, one for each response, got 'A'",
    ),
    ({"completion": "a", "label": True}, "no column of 'prompt', 'question', 'problem'"),
    (SCORED, "no column of label or score beside completion (`markscheme score` writes one); it has 'prompt', 'compl"),
    (SCORED | {"label": "yes"}, "column 'label' must be true, false or null, got 'yes'"),
    (SCORED | {"label": 2}, "column 'label' must be true, false or null, got 2"),
    (
        SCORED | {"score": 0.5},
        "column 'score' must be as `markscheme score` writes it: a value, an outcome; it is '0.5'",
    ),
    (SCORED | {"score": {"value": 1.0}}, "column 'score' must be as `markscheme score` writes it"),
    (SCORED | {"score": {"value": 1.0, "outcome": "right"}}, "column 'score' must be as `markscheme score` writes it"),
    (SCORED | {"score": {"value": None, "outcome": "correct"}}, "column 'score' must be as `markscheme score` writes"),
]


@pytest.mark.parametrize("load", [load_comparisons, load_pairs])
@pytest.mark.parametrize(("row", "message"), BAD)
def test_an_unusable_row_is_named(tmp_path: Path, row: Any, message: str, load: Callable[[Path], object]) -> None:
    names_the_line(write(tmp_path / "rows.jsonl", PAIR, row), message, load)


def names_the_line(path: Path, message: str, load: Callable[[Path], object]) -> None:
    with pytest.raises(InputError) as error:
        load(path)
    assert str(error.value).startswith(f"{path}:2: ")
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < len(str(path)) + 250


NOTHING: list[tuple[list[object], str]] = [
    ([], "no pairs in it"),
    ([{"prompt": "p", "completion": "a", "label": None}], "no pairs in it, and no ratings (1 not decided); give"),
    (
        [{"prompt": "p", "completion": "a", "label": label} for label in (0, 1)],
        "no pairs in it, and no ratings (2 contradictory); give prompts with chosen and rejected, or with completions",
    ),
]


@pytest.mark.parametrize(("rows", "message"), NOTHING)
def test_a_file_with_nothing_to_learn_from_is_named(tmp_path: Path, rows: list[object], message: str) -> None:
    with pytest.raises(InputError) as error:
        load_comparisons(write(tmp_path / "rows.jsonl", *rows))
    assert message in str(error.value)


def test_ratings_without_a_pair_are_comparisons_and_no_pairs(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", {"prompt": "p", "completion": "a", "label": True})
    assert len(load_comparisons(path).comparisons) == 1
    with pytest.raises(InputError, match=r"rows.jsonl: no pairs in it; give"):
        load_pairs(path)
    for load in (load_comparisons, load_pairs, load_steps):
        with pytest.raises(InputError, match=r"missing\.jsonl: no such file"):
            load(tmp_path / "missing.jsonl")


# Steps: (row, [(steps, labels)], neutral, reason).

TRL = {"prompt": "p", "completions": ["one", "two"], "labels": [True, False]}
SHEPHERD = {"input": "How many? Step 1: one ки\nStep 2: two ки", "label": "How many? Step 1: one +\nStep 2: two -"}


def candidates(*ratings: list[int]) -> dict[str, Any]:
    texts = [{"text": f"next {k}", "ratings": given, "chosen": k == 0} for k, given in enumerate(ratings)]
    return {"problem": "p", "prefix": ["one", "two"], "candidates": texts}


def three(**label: int) -> dict[str, Any]:
    return {"problem": "p", "steps": ["one", "two", "three"], **label}


ONE_TWO, THREE = ("one", "two"), ("one", "two", "three")
STEPS: list[tuple[dict[str, Any], list[tuple[tuple[str, ...], tuple[float | None, ...]]], str, str]] = [
    (TRL, [(ONE_TWO, (1, 0))], "ignored", "TRL"),
    (TRL | {"labels": [None, 0]}, [(ONE_TWO, (None, 0))], "ignored", "TRL, one not known"),
    (TRL | {"labels": [0.25, 1]}, [(ONE_TWO, (0.25, 1))], "ignored", "shares of rollouts"),
    (TRL | {"labels": [None, None]}, [], "ignored", "nothing is labelled"),
    (
        candidates([1], [-1], [0], [], [1, -1]),
        [((*ONE_TWO, "next 0"), (None, None, 1)), ((*ONE_TWO, "next 1"), (None, None, 0))],
        "ignored",
        "PRM800K: a neutral one, one without a rating and one with two are left out",
    ),
    (candidates([0], [1, 0]), [((*ONE_TWO, "next 0"), (None, None, 1))], "good", "PRM800K, a neutral one is good"),
    ({**candidates([-1]), "prefix": []}, [(("next 0",), (0,))], "ignored", "PRM800K, a first step"),
    (three(label=-1), [(THREE, (1, 1, 1))], "ignored", "ProcessBench, none is wrong"),
    (three(label=0), [(THREE, (0, None, None))], "ignored", "ProcessBench, the first is wrong"),
    (three(label=2), [(THREE, (1, 1, 0))], "ignored", "ProcessBench, the last is wrong"),
    (three(first_error_step=1), [(THREE, (0, None, None))], "ignored", "MR-GSM8K counts from 1"),
    (three(first_error_step=3, label=0), [(THREE, (1, 1, 0))], "ignored", "MR-GSM8K, the last is wrong"),
    (SHEPHERD, [(("Step 1: one", "Step 2: two"), (1, 0))], "ignored", "Math-Shepherd"),
    (
        {"input": "How ки many? step 1: one ки Step 2: ки end", "label": "How + many? step 1: one - Step 2: + end"},
        [(("step 1: one", "Step 2:", "end"), (0, 1, None))],
        "ignored",
        "Math-Shepherd: a tag in the question, a small letter, a step after the last tag",
    ),
    (
        {"input": "How many? It is - one. ки ки", "label": "How many? It is - one. + -"},
        [(("It is - one.",), (1,))],
        "ignored",
        "Math-Shepherd: no number of a step, a minus in it, a tag after nothing",
    ),
]


@pytest.mark.parametrize(("row", "solutions", "neutral", "reason"), STEPS)
def test_steps(tmp_path: Path, row: dict[str, Any], solutions: Any, neutral: Any, reason: str) -> None:
    path = write(tmp_path / "steps.jsonl.gz", {**TRL, "id": "first"}, row)
    first, *others = load_steps(path, neutral)
    assert first == LabelledSteps(prompt="p", steps=ONE_TWO, labels=(1.0, 0.0), id="first")
    assert [(one.steps, one.labels) for one in others] == solutions, reason
    assert {one.prompt for one in others} <= {"p", "How many?", "How  many?"}
    ids = [one.id.removeprefix("steps.jsonl.gz:2") for one in others]
    assert ids == ([f"/{k}" for k in range(len(ids))] if "candidates" in row else [""] * len(ids))


def test_steps_after_messages(tmp_path: Path) -> None:
    [one] = load_steps(write(tmp_path / "steps.jsonl", {**TRL, "prompt": [USER]}))
    assert one.prompt == (USER,)


CANDIDATES = "column 'candidates' must be a list of steps, each of a text and ratings (1, 0, -1), got"
BAD_STEPS = [
    ({"prompt": "p"}, "no column of completions, candidates, steps or input, which hold the steps; it has 'prompt'"),
    (TRL | {"prompt": None}, "no column of 'prompt', 'question', 'problem'; it has"),
    (TRL | {"completions": "one"}, "column 'completions' must be a list of texts, one a step, got 'one'"),
    (TRL | {"labels": None}, "column 'labels' must be a list of true, false or null, one for each step, got null"),
    (TRL | {"labels": [True, "no"]}, "column 'labels' must be a list of true, false or null, one for each step, got"),
    (TRL | {"labels": [True]}, "2 steps and 1 labels: give one each"),
    (TRL | {"labels": [True, 2]}, "a label must be 0 to 1 or none, got 2"),
    (TRL | {"completions": [], "labels": []}, "0 steps and 0 labels"),
    ({**candidates([1]), "prefix": None}, "column 'prefix' must be a list of texts, one a step, got null"),
    ({**candidates([1]), "candidates": {}}, "column 'candidates' must be a list of steps, got {}"),
    (candidates([2]), f"{CANDIDATES} {{'text': 'next 0', 'ratings': [2]"),
    ({**candidates(), "candidates": [{"text": "a", "ratings": 1}]}, f"{CANDIDATES} {{'text': 'a', 'ratings': 1}}"),
    ({**candidates(), "candidates": [{"text": "a", "ratings": [[]]}]}, CANDIDATES),
    (three(), "column 'label' must be the number of the first wrong step, 0 to 2, or -1 for none, got null"),
    (three(label=3), "column 'label' must be the number of the first wrong step, 0 to 2, or -1 for none, got 3"),
    (three(label=True), "column 'label' must be the number of the first wrong step, 0 to 2, or -1 for none, got true"),
    (three(first_error_step=0), "column 'first_error_step' must be the number of the first wrong step, 1 to 3, got 0"),
    (
        three(first_error_step=-1),
        "column 'first_error_step' must be the number of the first wrong step, 1 to 3, got -1",
    ),
    (
        SHEPHERD | {"label": "How many? Step 1: one"},
        "column 'label' must be the input with + or - for each ки, got 'How",
    ),
    (
        {"input": "one ки", "label": "one +"},
        "column 'input' must be a question, from which 'Step 1:' or a question mark",
    ),
]


@pytest.mark.parametrize(("row", "message"), BAD_STEPS)
def test_an_unusable_row_of_steps_is_named(tmp_path: Path, row: Any, message: str) -> None:
    names_the_line(write(tmp_path / "steps.jsonl", TRL, row), message, load_steps)


def test_a_file_without_a_labelled_step_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"steps\.jsonl: no labelled steps in it; give steps with labels"):
        load_steps(write(tmp_path / "steps.jsonl", {**TRL, "labels": [None, None]}))


# The real files: counts are those of ../shared/data/README.md, or follow from it.


@needs_data
def test_the_gsm8k_pairs() -> None:
    path = DATA / "preferences/gsm8k_test_pairs.jsonl.gz"
    pairs, loaded = load_pairs(path), load_comparisons(path)
    assert (len(pairs), len({pair.group for pair in pairs})) == (2_429, 731)
    assert (len(loaded.comparisons), loaded.left_out) == (731, {})
    models = {"6b_finetuning", "6b_verification", "175b_finetuning", "175b_verification"}
    assert {pair.chosen_by for pair in pairs} == {pair.rejected_by for pair in pairs} == models


@needs_data
def test_the_gsm8k_labels_are_the_gsm8k_pairs() -> None:
    labelled = load_comparisons(DATA / "gsm8k_model_solutions.jsonl.gz")
    assert len(labelled.comparisons) == 1_319
    assert labelled.left_out == {"repeated": 8}
    assert sum(len(one.completions) for one in labelled.comparisons) == 5_276 - 8
    assert sum(bool(one.pairs) for one in labelled.comparisons) == 731
    there = {
        (pair.prompt, pair.chosen, pair.rejected) for pair in load_pairs(DATA / "preferences/gsm8k_test_pairs.jsonl.gz")
    }
    assert {(pair.prompt, pair.chosen, pair.rejected) for one in labelled.comparisons for pair in one.pairs} == there


@needs_data
@pytest.mark.parametrize(
    ("name", "num_pairs", "num_problems"), [("prm800k_step_pairs", 14_445, 670), ("prmbench_train_pairs", 2_960, 401)]
)
def test_the_pairs_of_steps(name: str, num_pairs: int, num_problems: int) -> None:
    comparisons = load_comparisons(DATA / f"preferences/{name}.jsonl.gz").comparisons
    assert (sum(len(one.pairs) for one in comparisons), len(comparisons)) == (num_pairs, num_problems)


@needs_data
def test_prm800k() -> None:
    path = DATA / "prm800k/phase1_train.jsonl.gz"
    ratings: Counter[tuple[int, ...]] = Counter()
    for _, row in read_jsonl(path):
        ratings.update(tuple(candidate["ratings"]) for candidate in row["candidates"])
    for neutral, good in (("ignored", ratings[1,]), ("good", ratings[1,] + ratings[0,])):
        solutions = load_steps(path, neutral)  # type: ignore[arg-type]
        assert Counter(one.labels[-1] for one in solutions) == {1.0: good, 0.0: ratings[-1,]}
        assert all(label is None for one in solutions for label in one.labels[:-1])
        assert len({one.id for one in solutions}) == len(solutions)


@needs_data
@pytest.mark.parametrize(("name", "num_rows", "num_right"), [("gsm8k", 400, 193), ("math", 1_000, 406)])
def test_processbench(name: str, num_rows: int, num_right: int) -> None:
    solutions = load_steps(DATA / f"processbench/{name}.jsonl.gz")
    assert len(solutions) == num_rows
    assert sum(one.first_error is None for one in solutions) == num_right
    assert sum(set(one.labels) == {1.0} for one in solutions) == num_right


@needs_data
def test_mr_gsm8k() -> None:
    path = DATA / "mr_gsm8k/wrong_solutions.jsonl.gz"
    solutions = load_steps(path)
    assert len(solutions) == 590
    assert [one.first_error for one in solutions] == [row["first_error_step"] - 1 for _, row in read_jsonl(path)]
