"""What others may build on is frozen: a name that goes, comes or is renamed must do so on purpose.

To take a change over, write what `names()` returns into tests/data/public_names.txt, and a line into the changelog.
"""

import importlib
import inspect
from collections.abc import Iterable
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

FROZEN = Path(__file__).parent / "data" / "public_names.txt"

MODULES = (
    *("scoring", "compose", "adapters", "problems", "prompting", "generation"),
    *("verifiers", "reward_models", "grpo", "benchmarks"),
    *("grpo.advantage", "grpo.objective", "benchmarks.metrics", "benchmarks.paired"),
    *("benchmarks.logs", "benchmarks.tasks", "benchmarks.contamination", "benchmarks.best_of_n"),
)
SINGLE = (
    *("files.InputError", "remote_scorer.RemoteScorer", "ray_scoring.scored", "run_log.RunLog"),
    *("models.load_policy", "models.save_policy", "models.fingerprint"),
    *("torch_engine.TorchEngine", "vllm_engine.VLLMEngine", "vllm_server_engine.VLLMServerEngine"),
)
"""Public names in modules that hold others too."""


def names() -> list[str]:
    """One line for each public class and function, by the first of its names."""
    found, seen = [], set()
    for short in MODULES:
        module = importlib.import_module(f"markscheme.{short}")
        public = getattr(module, "__all__", None) or [
            name
            for name, value in vars(module).items()
            if not name.startswith("_")
            and (inspect.isclass(value) or inspect.isfunction(value))
            and value.__module__ == module.__name__
        ]
        new = [name for name in sorted(public) if id(getattr(module, name)) not in seen]
        seen.update(id(getattr(module, name)) for name in new)
        found += [f"markscheme.{short}.{name}" for name in new]
    return found + [f"markscheme.{name}" for name in SINGLE]


def test_public_names_are_frozen() -> None:
    assert names() == FROZEN.read_text().splitlines()


def test_every_public_name_says_what_it_is() -> None:
    for line in names():
        module, _, name = line.rpartition(".")
        value = getattr(importlib.import_module(module), name)
        documented = inspect.getdoc(value) if inspect.isclass(value) or inspect.isroutine(value) else True
        assert documented, line
        assert "TODO" not in str(documented), line


def test_folders_and_files_may_be_named_by_a_string() -> None:
    """Of settings that the command line reads, paths are made on the way."""
    seen = 0
    for line in names():
        module, _, name = line.rpartition(".")
        value = getattr(importlib.import_module(module), name)
        if is_dataclass(value) or not callable(value):
            continue
        methods = [getattr(value, name) for name in vars(value)] if inspect.isclass(value) else []
        for function in [value, *filter(callable, methods)]:
            for parameter in _parameters(function):
                if "Path" in str(parameter.annotation):
                    assert "str |" in str(parameter.annotation), f"{line} {parameter}"
                    seen += 1
    assert seen > 15


def _parameters(function: Any) -> Iterable[inspect.Parameter]:
    try:
        return inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # protocols, and what is written in C
        return ()
