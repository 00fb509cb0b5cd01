"""Options that several commands have: the problems, the model, and what writes completions."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from cyclopts import Group

from markscheme.benchmarks.tasks import task_problems
from markscheme.benchmarks.tasks.generated import SOURCE
from markscheme.files import InputError
from markscheme.generation import Generator, seed_of
from markscheme.problems import Problem, problems_hash
from markscheme.prompting import BOXED_INSTRUCTION, PromptFormat

# Where the options of a command stand in its help, in this order.
PROBLEMS_GROUP = Group("Problems", sort_key=1)
MODEL_GROUP = Group("Model", sort_key=2)
SAMPLING_GROUP = Group("Completions", sort_key=3)
REWARD_GROUP = Group("Reward", sort_key=4)
TRAINING_GROUP = Group("Training", sort_key=5)
MONITOR_GROUP = Group("Monitor", sort_key=6)
CRITIC_GROUP = Group("Critic (PPO)", sort_key=7)
RENEWAL_GROUP = Group("Renewed reward model", sort_key=8)

HELD_OUT = "held-out"
"""In place of a split: some of the problems to learn from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOptions:
    """Which model."""

    model: str = "embedded"
    """"embedded", a model folder, or a hub id."""
    revision: str | None = None
    """Commit of a hub model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedModelOptions(ModelOptions):
    """Which model is trained, and what of it."""

    dtype: Literal["float32", "bfloat16"] = "float32"
    """Of the weights; those of bfloat16, which most CPUs are slow at, have float32 copies that are trained."""
    lora_rank: int = 0
    """Of adapters that are trained in place of all weights; 0: all weights are trained."""
    gradient_checkpointing: bool = False
    """Whether activations are worked out again for the backward pass: less memory, more time."""

    def __post_init__(self) -> None:
        if self.lora_rank < 0:
            raise ValueError(f"lora_rank must be at least 0, got {self.lora_rank}")

    def prepare(self, policy: Any, seed: int) -> None:
        """Gives a loaded policy its adapters, drawn by `seed`, and its way through the backward pass.

        Raises:
            InputError: if that cannot be had.
        """
        from markscheme.models import add_lora, checkpoint_gradients

        if self.lora_rank:
            add_lora(policy, self.lora_rank, seed)
        if self.gradient_checkpointing:
            checkpoint_gradients(policy)


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratorOptions:
    """What writes the completions."""

    engine: str = "torch"
    """torch, vllm (in this process), or addresses of vLLM servers with commas between, such as http://localhost:8000."""
    gpu_share: float = 0.4
    """Of the memory of a GPU, what vLLM may take in this process."""
    server_patience_s: float = 600.0
    """How long a server may be away before the run ends."""

    def __post_init__(self) -> None:
        if self.engine not in ("torch", "vllm") and not all(map(_is_address, self.urls)):
            raise ValueError(f"no engine {self.engine!r}; there are torch, vllm, and addresses of servers (http://...)")
        if not 0 < self.gpu_share <= 1:
            raise ValueError(f"gpu_share must be above 0 and at most 1, got {self.gpu_share}")
        if self.server_patience_s < 0:
            raise ValueError(f"server_patience_s must be at least 0, got {self.server_patience_s}")

    @property
    def urls(self) -> list[str]:
        return self.engine.split(",")

    @property
    def kind(self) -> Literal["torch", "vllm", "vllm servers"]:
        """What a run's record says: where servers are may change."""
        return "torch" if self.engine == "torch" else "vllm" if self.engine == "vllm" else "vllm servers"

    def start(
        self, policy: Any, tokenizer: Any, tokens: int, folder: Path, *, batch_invariant: bool = False
    ) -> Generator:
        """An engine that holds the policy's weights.

        Args:
            tokens: that the longest prompt and its completion may have.
            folder: through which weights go to servers, which must see it too.
            batch_invariant: whether no batch shall decide a token, as far as the engine can.

        Raises:
            InputError: if vLLM or a server cannot be had.
        """
        from markscheme import parallel
        from markscheme.models import plain_weights

        if self.engine == "torch":
            from markscheme.torch_engine import MARGIN, TorchEngine

            if parallel.count() == 1:
                return TorchEngine(policy, tokenizer, margin=MARGIN if batch_invariant else 0.0)
            own = type(policy)(policy.config).to(policy.device, policy.dtype)  # the policy's weights will be in parts
            own.generation_config = policy.generation_config
            alone = TorchEngine(own, tokenizer)
            alone.load_weights(plain_weights(policy))
            return alone
        if self.engine == "vllm":
            from markscheme.vllm_engine import VLLMEngine

            on_gpu = {"gpu_memory_utilization": self.gpu_share} if policy.device.type == "cuda" else {}
            return VLLMEngine(policy, tokenizer, max_model_len=tokens, **on_gpu)
        from markscheme.vllm_server_engine import VLLMServerEngine

        engine = VLLMServerEngine(self.urls, policy, tokenizer, folder, self.server_patience_s)
        engine.load_weights(plain_weights(policy))
        return engine


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions(GeneratorOptions):
    """What writes the completions that a policy learns from."""

    async_depth: int = 0
    """1: servers draw the next step's rollouts while this one is learned from; needs an --objective.correction."""

    def __post_init__(self) -> None:
        GeneratorOptions.__post_init__(self)  # super() does not know a class with slots
        if self.async_depth not in (0, 1):
            raise ValueError(f"async_depth must be 0 or 1, got {self.async_depth}")
        if self.async_depth and self.kind != "vllm servers":
            raise ValueError(f"async_depth 1 needs vLLM servers (--engine http://...), not {self.engine}")


def _is_address(url: str) -> bool:
    return url.startswith(("http://", "https://"))


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskOptions:
    """Which problems, and how they are put to the model."""

    task: str
    """gsm8k, math, math500, cmath, generated, or a .jsonl[.gz] file with question, gold and, for sft, solution."""
    split: str = "train"
    """Part of the task: train, dev, test, as far as it has them; the generated task also has sft and unseen, a file
    none."""
    data: Path | None = None
    """Local file or folder to read the task from instead of the hub."""
    limit: int | None = None
    """The first so many problems only."""
    difficulty: int = 4
    """Of generated problems, 1 to 5."""
    problem_seed: int = 0
    """Of generated problems: another seed gives other problems."""
    instruction: str | None = None
    """Follows each question; by default a request for a boxed answer, and nothing for generated problems."""

    def problems(self) -> list[Problem]:
        """The problems that the options name.

        Raises:
            InputError: if there are none, or a split is asked of a file.
        """
        default = next(field.default for field in fields(self) if field.name == "split")
        if self.split != default and self.task.endswith((".jsonl", ".jsonl.gz")):
            raise InputError(f"{self.task} is a file, which has no split {self.split!r}")
        return task_problems(
            self.task, self.split, data=self.data, limit=self.limit, difficulty=self.difficulty, seed=self.problem_seed
        )

    def prompt_format(self) -> PromptFormat:
        """How a question is put to the model."""
        if self.instruction is None:
            return PromptFormat(instruction="" if self.task == SOURCE else BOXED_INSTRUCTION)
        return PromptFormat(instruction=self.instruction)

    def record(self, problems: Sequence[Problem]) -> dict[str, Any]:
        """What a run folder says of its problems."""
        return {"name": self.task, "split": self.split, "problems": len(problems), "sha256": problems_hash(problems)}


def held_out(problems: Sequence[Problem], count: int) -> tuple[list[Problem], list[Problem]]:
    """The problems to learn from and some `count` others, which a hash of their questions puts first: whoever asks the
    same is on the same side.

    Raises:
        InputError: if none would be held out, or nothing be left to learn from.
    """
    if count < 1:
        raise InputError(f"--dev-limit must be at least 1, got {count}")
    order = sorted({problem.question for problem in problems}, key=lambda text: seed_of("held-out", text))
    apart = set(order[:count])
    rest = [problem for problem in problems if problem.question not in apart]
    if not rest:
        raise InputError(f"--dev-limit {count} holds out all of the {len(problems):,} problems: give a smaller one")
    return rest, [problem for problem in problems if problem.question in apart]
