"""What others may build on is frozen: a name that goes, comes or is renamed must do so on purpose.

To take a change over, write what `names()` returns into tests/data/public_names.txt, and a line into the changelog.
"""

import importlib
import inspect
from pathlib import Path

FROZEN = Path(__file__).parent / "data" / "public_names.txt"

MODULES = (
    *("scoring", "compose", "adapters", "problems", "prompting", "generation"),
    *("verifiers", "reward_models"),
    *("grpo.config", "grpo.training", "grpo.advantage", "grpo.objective", "grpo.monitor"),
    *("grpo.baselines.sft", "grpo.baselines.rft", "grpo.baselines.dpo"),
    *("benchmarks.evaluate", "benchmarks.protocols", "benchmarks.tasks", "benchmarks.metrics", "benchmarks.paired"),
    *("benchmarks.compare", "benchmarks.report", "benchmarks.regrade", "benchmarks.logs", "benchmarks.contamination"),
    "benchmarks.best_of_n",
)
SINGLE = (
    *("files.InputError", "remote_scorer.RemoteScorer", "ray_scoring.scored", "run_log.RunLog"),
    *("models.load_policy", "models.save_policy", "models.fingerprint"),
    *("torch_engine.TorchEngine", "vllm_engine.VLLMEngine", "vllm_server_engine.VLLMServerEngine"),
)
"""Public names in modules that hold others too."""


def names() -> list[str]:
    """One line for each public class and function."""
    found = []
    for short in MODULES:
        module = importlib.import_module(f"markscheme.{short}")
        public = getattr(module, "__all__", None) or [
            name
            for name, value in vars(module).items()
            if not name.startswith("_")
            and (inspect.isclass(value) or inspect.isfunction(value))
            and value.__module__ == module.__name__
        ]
        found += [f"markscheme.{short}.{name}" for name in sorted(public)]
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
