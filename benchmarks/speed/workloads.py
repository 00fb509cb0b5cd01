"""Models of given sizes, and the rollouts of an optimizer step on them.

Shapes: P problems, G completions of each.
"""

import math
import random
from dataclasses import dataclass

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedModel, PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from markscheme.models import checkpoint_gradients
from markscheme.problems import Problem

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """Sizes of a Qwen2 with random weights and tied embeddings."""

    vocabulary: int
    width: int
    layers: int
    heads: int
    kv_heads: int
    inner: int
    context: int = 2_048
    dtype: str = "float32"
    checkpointing: bool = False
    """Whether layers are run again in the backward pass instead of being kept."""

    def config(self) -> Qwen2Config:
        return Qwen2Config(
            vocab_size=self.vocabulary,
            hidden_size=self.width,
            intermediate_size=self.inner,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            num_key_value_heads=self.kv_heads,
            max_position_embeddings=self.context,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=0,
            pad_token_id=0,
        )

    def make(self) -> PreTrainedModel:
        """On the GPU, where there is one."""
        torch.manual_seed(0)
        model = Qwen2ForCausalLM(self.config())
        torch.nn.Module.to(model, DEVICE, getattr(torch, self.dtype))  # the model's own `to` is untyped
        if self.checkpointing:
            checkpoint_gradients(model)
        return model


SMALL = Model(vocabulary=4_096, width=128, layers=4, heads=4, kv_heads=4, inner=512)
MIDDLE = Model(vocabulary=8_192, width=512, layers=5, heads=8, kv_heads=8, inner=2_048)
WIDE_VOCABULARY = Model(vocabulary=151_936, width=256, layers=2, heads=4, kv_heads=4, inner=1_024)
GPU = Model(
    vocabulary=151_936,
    width=1_536,
    layers=28,
    heads=12,
    kv_heads=2,
    inner=8_960,
    context=8_192,
    dtype="bfloat16",
    checkpointing=True,
)
"""The sizes of Qwen2.5-1.5B."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """An optimizer step's worth of rollouts."""

    about: str
    model: Model = SMALL
    problems: int = 8
    group_size: int = 8
    prompt_tokens: int = 137
    completion_tokens: int = 128
    """The longest, where lengths are skewed."""
    median: int | None = None
    """Of completions whose lengths are log-normal, sigma 0.8; by default all have the same."""
    flat_groups: int = 0
    """Groups whose advantages are all 0."""
    kl_coef: float = 0.0
    entropy: bool = False
    """Whether ours measures the entropy too, as TRL always does."""


WHOLE = "whole_step"
WORKLOADS = {
    "even": Workload(about="8 x 8 completions of 128 tokens"),
    "skewed": Workload(about="8 x 8, log-normal lengths up to 512", completion_tokens=512, median=105),
    "long_prompt": Workload(about="8 x 8 x 128 after prompts of 512", prompt_tokens=512),
    "half_flat": Workload(about="even, 4 of 8 groups without variance", flat_groups=4),
    "real": Workload(
        about="prompts of 256, log-normal lengths up to 512, 3 of 8 groups flat",
        prompt_tokens=256,
        completion_tokens=512,
        median=105,
        flat_groups=3,
    ),
    "kl": Workload(about="even, with a reference", kl_coef=0.04),
    "entropy": Workload(about="even, entropy by both", entropy=True),
    "middle": Workload(about="4 x 8 x 128 at 25 M parameters", model=MIDDLE, problems=4),
    "vocab_152k": Workload(about="2 x 8 x 128 at a vocabulary of 152k", model=WIDE_VOCABULARY, problems=2),
    WHOLE: Workload(about="whole steps with sampling, 8 x 8 x 128"),
    "gpu": Workload(
        about="the sizes of Qwen2.5-1.5B, 8 x 8, log-normal lengths up to 4,096",
        model=GPU,
        prompt_tokens=256,
        completion_tokens=4_096,
        median=1_000,
    ),
}


Tokens = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Fixed rollouts."""

    prompts_P: list[Tokens]
    completions_PG: list[list[Tokens]]
    advantages_PG: list[list[float]]


def make_batch(workload: Workload, seed: int) -> Batch:
    rng = random.Random(seed)

    def tokens(count: int) -> Tokens:
        return tuple(rng.randrange(1, workload.model.vocabulary) for _ in range(count))

    def length() -> int:
        if workload.median is None:
            return workload.completion_tokens
        return max(4, min(workload.completion_tokens, round(rng.lognormvariate(math.log(workload.median), 0.8))))

    prompts_P = [tokens(workload.prompt_tokens) for _ in range(workload.problems)]
    completions_PG = [[tokens(length()) for _ in range(workload.group_size)] for _ in prompts_P]
    longest = max((len(one), p, g) for p, group in enumerate(completions_PG) for g, one in enumerate(group))
    _, p, g = longest  # one is always cut off, as in training: padding follows the longest
    completions_PG[p][g] += tokens(workload.completion_tokens - longest[0])
    advantages_PG = [
        [0.0 if index < workload.flat_groups else rng.gauss(0, 1) for _ in group]
        for index, group in enumerate(completions_PG)
    ]
    return Batch(prompts_P=prompts_P, completions_PG=completions_PG, advantages_PG=advantages_PG)


def tokenizer_of(workload: Workload) -> PreTrainedTokenizerFast:
    """One token for each number."""
    words = {"<end>": 0} | {str(number): number for number in range(1, workload.model.vocabulary)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<end>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>", pad_token="<end>")


def problems_of(workload: Workload, seed: int) -> list[Problem]:
    """Rows of numbers."""
    prompts_P = make_batch(workload, seed).prompts_P
    return [
        Problem(id=str(k), question=" ".join(map(str, prompt)), gold="0", source="", split="")
        for k, prompt in enumerate(prompts_P)
    ]


def evenness(text: str) -> float:
    """A reward that differs between completions and costs nothing: the share of even numbers."""
    numbers = text.split()
    return sum(number[-1] in "02468" for number in numbers) / max(1, len(numbers))
