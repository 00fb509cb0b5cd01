"""What is installed: every folder with Python in it is listed, and the data files are there."""

import os
import tomllib
from importlib import resources
from pathlib import Path

import pytest

import markscheme

REPOSITORY = Path(__file__).resolve().parents[1]
ROOMS = ("verifiers", "reward_models", "grpo", "benchmarks")


def test_the_list_of_packages_is_the_tree() -> None:
    listed = set(tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    found = set()
    for base, prefix in [("src/markscheme", "markscheme"), *((room, f"markscheme.{room}") for room in ROOMS)]:
        for init in (REPOSITORY / base).rglob("__init__.py"):
            parts = init.parent.relative_to(REPOSITORY / base).parts
            if not parts or parts[0] not in ROOMS:  # through a link: counted at its own place
                found.add(".".join((prefix, *parts)))
    assert listed == found


@pytest.mark.parametrize("room", ROOMS)
def test_the_links_lead_to_the_rooms(room: str) -> None:
    link = REPOSITORY / "src" / "markscheme" / room
    assert os.readlink(link) == f"../../{room}"


def test_data_files_are_installed() -> None:
    root = resources.files("markscheme")
    for name in ("py.typed", "benchmarks/report.html.jinja"):
        assert root.joinpath(name).is_file(), name
    for name in ("model.safetensors", "config.json", "tokenizer.json", "README.md"):
        assert root.joinpath("policy", name).is_file(), name


def test_the_embedded_policy_is_small() -> None:
    folder = Path(str(resources.files("markscheme"))) / "policy"
    assert sum(path.stat().st_size for path in folder.iterdir() if path.is_file()) <= 4_000_000


@pytest.mark.skipif("CI" not in os.environ, reason="only CI must test the wheel; an editable install is fine elsewhere")
def test_ci_tests_the_wheel() -> None:
    assert "site-packages" in markscheme.__file__


def test_nothing_shadows_the_package() -> None:
    assert not (REPOSITORY / "markscheme").exists()
    assert not (REPOSITORY / "tests" / "__init__.py").exists()


def test_version_is_one() -> None:
    assert tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["version"] == markscheme.__version__
