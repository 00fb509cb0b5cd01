"""Who may import whom: rooms know the front door's plain modules, never one another."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import markscheme

ROOT = Path(markscheme.__file__).parent
BESIDE_PEERS = {
    **{name: {"markscheme.grpo"} for name in ("contenders.py", "plan.py", "whole_steps.py")},
    "reward_model.py": {"markscheme.reward_models", "markscheme.verifiers"},  # a verifier makes its pairs
    "reward_model_worker.py": {"markscheme.reward_models"},
    "serving.py": {"markscheme.verifiers"},
}
"""Benchmarks that measure a room from inside import that room."""
ROOMS = ("verifiers", "reward_models", "grpo", "benchmarks")
PLAIN = (
    *("scoring", "compose", "problems", "prompting", "generation", "files", "run_log", "workers"),
    *("score_rows", "score_workers", "score_output", "scorer_process", "messages", "solutions"),
)


def imports_of(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names.add(node.module or "")
    return names


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_never_import_one_another(room: str) -> None:
    files = list((ROOT / room).rglob("*.py"))
    assert files
    others = {f"markscheme.{other}" for other in (*ROOMS, "cli", "commands", "quickstart", "policy") if other != room}
    for path in files:
        strange = others - BESIDE_PEERS.get(path.name, set())
        for name in imports_of(path):
            assert not any(name == other or name.startswith(f"{other}.") for other in strange), f"{path}: {name}"


@pytest.mark.parametrize("module", PLAIN)
def test_plain_modules_need_only_the_standard_library(module: str) -> None:
    allowed = {"markscheme", *sys.stdlib_module_names}
    plain = {f"markscheme.{name}" for name in PLAIN}
    for name in imports_of(ROOT / f"{module}.py"):
        assert name.partition(".")[0] in allowed, f"{module}: {name}"
        assert not name.startswith("markscheme") or name in plain, f"{module}: {name}"


def test_the_verifiers_need_neither_torch_nor_much_time() -> None:
    code = "import sys, markscheme.verifiers, markscheme.cli; print({'torch', 'sympy', 'numpy'} & {*sys.modules})"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"
