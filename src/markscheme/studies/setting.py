"""What all runs of a study share: the embedded policy, generated problems, and how it is evaluated."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from markscheme.benchmarks.evaluation import EvaluationConfig, evaluate
from markscheme.benchmarks.outcomes import Evaluation
from markscheme.benchmarks.protocols import EvaluationProtocol
from markscheme.benchmarks.tasks.generated import generated_problems
from markscheme.generation import Generator
from markscheme.models import EMBEDDED, load_policy
from markscheme.problems import Problem
from markscheme.prompting import PromptFormat
from markscheme.torch_engine import TorchEngine
from markscheme.verifiers import MathVerifier

DIFFICULTY = 4  # where the embedded policy has headroom
MAX_COMPLETION_TOKENS = 100
PROBLEMS_A_STEP, GROUP_SIZE = 32, 8
NUM_TEST, NUM_DEV, NUM_SAMPLES = 500, 200, 4
FORM = PromptFormat(instruction="")


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A run's policy and problems; another seed is other rollouts on other test problems."""

    policy: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    engine: Generator
    steps: int
    """Each of `PROBLEMS_A_STEP` problems, for the methods that learn while they sample; the others get as many
    problems and as many completions of each."""
    seed: int

    def prompt_ids(self, problem: Problem) -> tuple[int, ...]:
        return FORM.prompt_ids(problem.question, self.tokenizer)

    def decode(self, ids: Sequence[int]) -> str:
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def problems(self) -> list[Problem]:
        """To learn from."""
        return problems("train", self.steps * PROBLEMS_A_STEP, self.seed)

    def dev_problems(self) -> list[Problem]:
        return problems("dev", NUM_DEV, self.seed)

    def evaluation(self, folder: Path) -> Evaluation:
        """On the test problems of the seed: greedy, and some samples of each."""
        return evaluate(
            self.engine,
            MathVerifier(),
            problems("test", NUM_TEST, self.seed),
            folder,
            protocol=EvaluationProtocol(name="study", form=FORM, max_completion_tokens=MAX_COMPLETION_TOKENS),
            config=EvaluationConfig(num_samples=NUM_SAMPLES, seed=self.seed),
        )


def setting(steps: int, seed: int) -> Setting:
    """The embedded policy as it is shipped."""
    policy, tokenizer = load_policy(EMBEDDED)
    return Setting(
        policy=policy, tokenizer=tokenizer, engine=TorchEngine(policy, tokenizer), steps=steps, seed=seed
    )  # fmt: skip


def problems(split: str, count: int, seed: int) -> list[Problem]:
    return list(itertools.islice(generated_problems(split, DIFFICULTY, seed), count))
