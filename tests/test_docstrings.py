"""Every example in a docstring runs."""

import doctest
import importlib
import pkgutil

import pytest

import markscheme

MODULES = [
    module.name
    for module in pkgutil.walk_packages(markscheme.__path__, "markscheme.")
    if not module.name.startswith("markscheme.src") and module.name != "markscheme.vllm_weights"  # a part of vLLM
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_there_are_examples() -> None:
    finder = doctest.DocTestFinder()
    tests = [test for name in MODULES for test in finder.find(importlib.import_module(name)) if test.examples]
    assert len(tests) >= 10
