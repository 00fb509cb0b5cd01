"""The table of conventions in the room's README, row by row, read from the README itself."""

import re
from pathlib import Path

import pytest

import markscheme.verifiers
from markscheme.verifiers.compare import compare_cheaply
from markscheme.verifiers.conventions import Conventions
from markscheme.verifiers.golds import read_gold

README = Path(__file__).parents[2] / "verifiers" / "README.md"
_CODE = re.compile(r"`([^`]*)`")


def rows() -> list[tuple[str, str, bool]]:
    found: list[tuple[str, str, bool]] = []
    for line in README.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if len(cells) >= 3 and cells[2] in ("equal", "different"):
            (gold,) = _CODE.findall(cells[0])
            found += [(gold, answer, cells[2] == "equal") for answer in _CODE.findall(cells[1])]
    return found


def switches() -> list[tuple[str, str, str, bool, bool]]:
    """(switch, gold, answer, verdict by default, verdict with the switch): those that the last column spells out."""
    return [
        ("lowest_terms=True", r"\frac{1}{2}", r"\frac{2}{4}", True, False),
        ("lowest_terms=True", "3:4", "6:8", True, False),
        ('percent="value"', r"50\%", "50", True, False),
        ('percent="value"', r"50\%", "0.5", True, True),
        ("rounding=False", "0.33", "1/3", True, False),
        ("rounding=False", "3.14", "3.14159", True, False),
        ("rounding=False", "1/12", "0.0833333333333333", True, False),
        ('units="required"', r"5 \text{ cm}", "5", True, False),
        ('units="ignored"', r"5 \text{ cm}", r"5 \text{ m}", False, True),
        ('bases="required"', "1011_2", "1011", True, False),
        ("ordered_lists=True", "1,2", "2,1", True, False),
        ("evaluated=False", "14", r"2 \cdot 3 + 8", False, True),
    ]


def conventions(switch: str) -> Conventions:
    name, value = switch.split("=")
    return Conventions(**{name: {"True": True, "False": False}.get(value, value.strip('"'))})


def test_the_table_is_there() -> None:
    assert len(rows()) > 60
    assert markscheme.verifiers.Conventions is Conventions


@pytest.mark.parametrize(("gold", "answer", "equal"), rows())
def test_row(gold: str, answer: str, equal: bool) -> None:
    assert compare_cheaply(answer, read_gold(gold), Conventions()).equal is equal


@pytest.mark.parametrize(("switch", "gold", "answer", "default", "switched"), switches())
def test_switch(switch: str, gold: str, answer: str, default: bool, switched: bool) -> None:
    assert f"`{switch}`" in README.read_text(encoding="utf-8")
    assert compare_cheaply(answer, gold, Conventions()).equal is default
    assert compare_cheaply(answer, gold, conventions(switch)).equal is switched


def test_every_switch_of_the_table_is_tested() -> None:
    named = set(re.findall(r"`(\w+=[^`]+)`", README.read_text(encoding="utf-8").partition("Not an answer")[0]))
    assert {switch for switch, *_ in switches()} == {name for name in named if name.split("=")[0] in SWITCHES}


SWITCHES = set(Conventions.__dataclass_fields__)
