import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from markscheme.files import InputError
from markscheme.reward_models import PreferencePair, load_pairs, split_pairs


def write_pairs(path: Path, *records: dict[str, Any]) -> Path:
    text = "".join(json.dumps(record) + "\n" for record in records)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


@pytest.mark.parametrize("name", ["prompt", "problem", "question"])
@pytest.mark.parametrize("file_name", ["pairs.jsonl", "pairs.jsonl.gz"])
def test_texts_are_read_under_each_name_of_the_prompt(tmp_path: Path, name: str, file_name: str) -> None:
    path = write_pairs(tmp_path / file_name, {name: "2 + 2?", "chosen": "4", "rejected": "5", "id": "a", "weight": 0.5})
    assert load_pairs(path) == [PreferencePair(prompt="2 + 2?", chosen="4", rejected="5", id="a", weight=0.5)]


def test_steps_are_joined_by_line_ends_after_the_prefix(tmp_path: Path) -> None:
    record = {"problem": "p", "prefix": ["one"], "chosen_steps": ["two", "three"], "rejected": "four"}
    [pair] = load_pairs(write_pairs(tmp_path / "pairs.jsonl", record))
    assert (pair.chosen, pair.rejected) == ("one\ntwo\nthree", "one\nfour")
    assert pair.id == "pairs.jsonl:1"


GOOD = {"prompt": "p", "chosen": "a", "rejected": "b"}
BAD = [
    ({"chosen": "a", "rejected": "b"}, "no column of 'prompt', 'problem', 'question'; it has 'chosen', 'rejected'"),
    ({"prompt": "p", "rejected": "b"}, "no column 'chosen'; it has 'prompt', 'rejected'"),
    ({"prompt": "p", "chosen": "a"}, "no column 'rejected'"),
    (GOOD | {"chosen": None}, "column 'chosen' must be text, got NoneType"),
    (GOOD | {"chosen_steps": "a"}, "column 'chosen_steps' must be a list of texts"),
    (GOOD | {"chosen_steps": ["a", 1]}, "column 'chosen_steps' must be a list of texts"),
    (GOOD | {"rejected": "a"}, "chosen and rejected are the same text 'a': drop it"),
    (GOOD | {"rejected_steps": ["a"]}, "chosen and rejected are the same text"),
    (GOOD | {"weight": "1"}, "column 'weight' must be a number, got '1'"),
    (GOOD | {"weight": 0}, "weight must be finite and above 0, got 0.0"),
]


@pytest.mark.parametrize(("record", "message"), BAD)
def test_an_unusable_line_is_named_with_its_column(tmp_path: Path, record: dict[str, Any], message: str) -> None:
    path = write_pairs(tmp_path / "pairs.jsonl", GOOD, record)
    with pytest.raises(InputError) as error:
        load_pairs(path)
    assert str(error.value).startswith(f"{path}:2: ")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_an_empty_or_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no pairs in it"):
        load_pairs(write_pairs(tmp_path / "empty.jsonl"))
    with pytest.raises(InputError, match="no such file"):
        load_pairs(tmp_path / "missing.jsonl")


def pair(prompt: str, number: int = 0) -> PreferencePair:
    return PreferencePair(prompt=prompt, chosen=f"good {number}", rejected=f"bad {number}", id=f"{prompt}/{number}")


def test_no_question_is_in_both_parts_however_it_is_spaced() -> None:
    pairs = [pair(text, k) for n in range(100) for k, text in enumerate((f"How many? {n}", f"how  many? {n}"))]
    train, held_out = split_pairs(pairs, held_out_share=0.3)
    assert not {p.group for p in train} & {p.group for p in held_out}
    assert len(train) + len(held_out) == 200
    assert 30 <= len(held_out) <= 90  # 30 of 100 questions on average, standard deviation 4.6, two pairs each


def test_a_question_stays_in_its_part_when_pairs_are_added() -> None:
    pairs = [pair(f"How many? {n}") for n in range(100)]
    _, held_out_before = split_pairs(pairs[:60], held_out_share=0.3)
    _, held_out_after = split_pairs(pairs, held_out_share=0.3)
    assert set(held_out_before) == {p for p in held_out_after if p in pairs[:60]}


def test_an_empty_part_is_an_error() -> None:
    with pytest.raises(InputError, match=r"held_out_share 0\.5 of 1 questions leaves"):
        split_pairs([pair("alone", 0), pair("alone", 1)], held_out_share=0.5)
