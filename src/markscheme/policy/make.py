"""Makes the embedded policy again, from nothing: `python -m markscheme.policy.make FOLDER`, or `make policy`."""

import itertools
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cyclopts
import torch
from rich.console import Console
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from markscheme.benchmarks.tasks.generated import generated_problems, lexicon, strangers
from markscheme.commands.sft import sft_examples
from markscheme.files import write_json
from markscheme.generation import Request, Sampling, generate
from markscheme.grpo.baselines.sft import SFTConfig, train_sft
from markscheme.models import save_policy
from markscheme.problems import Problem
from markscheme.progress import progress_bar
from markscheme.prompting import PromptFormat
from markscheme.run_log import RunLog
from markscheme.scoring import Sample
from markscheme.torch_engine import TorchEngine
from markscheme.verifiers import MathVerifier

SEED = 0
WIDTH, LAYERS = 96, 3
MAX_TOKENS = 2_048
"""Positions: far more than generated problems need, so that GSM8K's questions fit byte by byte."""
EXAMPLES = {1: 500, 2: 15_000, 3: 22_000, 4: 25_000}
"""Examples of each difficulty."""
SLIPS = {"fewer": 0.6, "times": 0.45, "price": 0.4}
"""How often the student adds instead: what is left for reinforcement learning to mend."""
DIFFICULTY = 4
SETTINGS = SFTConfig(learning_rate=2.5e-3, warmup_steps=100, decay_share=0.5, batch_size=16, seed=SEED)
FORM = PromptFormat(instruction="")

END, QUESTION, ANSWER = "<|end|>", "<|question|>", "<|answer|>"
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}" + ANSWER + "{{ message['content'] }}" + END + "{% else %}"
    + QUESTION + " {{ message['content'] }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}" + ANSWER + "{% endif %}"
)  # fmt: skip


def make_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE in which every word of the generated task is one token and so is every digit.

    All 256 bytes are in the vocabulary: any other text can be read too, if slowly.
    """
    tokenizer = Tokenizer(models.BPE())
    digit = pre_tokenizers.Split(Regex(r"\d"), behavior="isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digit, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=10_000,  # more than the words need: training ends when every word is one token
        min_frequency=1,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=[END, QUESTION, ANSWER],
        show_progress=False,
    )
    tokenizer.train_from_iterator(lexicon(), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END,
        pad_token=END,
        chat_template=CHAT_TEMPLATE,
        model_max_length=MAX_TOKENS,
    )


def make_model(vocab_size: int, width: int, layers: int, seed: int) -> Qwen2ForCausalLM:
    """A Qwen2 with tied embeddings and random weights."""
    torch.manual_seed(seed)
    config = Qwen2Config(
        vocab_size=vocab_size,
        hidden_size=width,
        intermediate_size=3 * width,
        num_hidden_layers=layers,
        num_attention_heads=width // 32,
        num_key_value_heads=width // 32,
        max_position_embeddings=MAX_TOKENS,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=0,
        pad_token_id=0,
    )
    return Qwen2ForCausalLM(config)


def sft_problems() -> list[Problem]:
    """What the policy learns from: solutions of a careless student."""
    return [
        problem
        for difficulty, count in EXAMPLES.items()
        for problem in itertools.islice(generated_problems("sft", difficulty, SEED, SLIPS), count)
    ]


def make_policy(out: Path) -> None:
    """Trains the policy into `out / "policy"`, and measures it on the dev part into `out / "measured.json"`.

    Killed and called again, it goes on.
    """
    torch.set_num_threads(1)
    console = Console(highlight=False)
    tokenizer = make_tokenizer()
    model = make_model(len(tokenizer), WIDTH, LAYERS, SEED)
    examples = sft_examples(sft_problems(), tokenizer, FORM, room=MAX_TOKENS)
    log = RunLog(out / "sft", {"examples": str(EXAMPLES), "slips": SLIPS, "sft": asdict(SETTINGS)})
    with progress_bar(console, "training", SETTINGS.num_steps(len(examples))) as bar:
        train_sft(model, examples, SETTINGS, log, lambda done, loss: bar.update(done, f"loss {loss:.3f}"))
    save_policy(model, tokenizer, out / "policy")
    (out / "policy" / "generation_config.json").unlink(missing_ok=True)  # nothing in it but the end token
    measured = measure(model, tokenizer)
    write_json(out / "measured.json", measured)
    console.print_json(data=measured)


def measure(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, num_problems: int = 500) -> dict[str, Any]:
    """How the policy does on the dev part, and whether its solutions speak of what the question speaks of."""
    problems = list(itertools.islice(generated_problems("dev", DIFFICULTY, SEED), num_problems))
    return {
        "task": {"part": "dev", "difficulty": DIFFICULTY, "n": num_problems},
        "greedy": _figures(model, tokenizer, problems, temperature=0.0, num_samples=1),
        "sampled": _figures(model, tokenizer, problems, temperature=1.0, num_samples=8),
    }


def _figures(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    problems: Sequence[Problem],
    temperature: float,
    num_samples: int,
) -> dict[str, float]:
    requests = [
        Request(prompt_ids=FORM.prompt_ids(problem.question, tokenizer), seeds=tuple(range(num_samples)))
        for problem in problems
    ]
    groups = generate(
        TorchEngine(model, tokenizer), requests, Sampling(temperature=temperature, max_completion_tokens=100)
    )
    samples = [
        Sample(prompt=problem.question, completion=completion.text, gold=problem.gold)
        for problem, group in zip(problems, groups, strict=True)
        for completion in group
    ]
    right = [score.correct is True for score in MathVerifier().score(samples)]
    return {
        "pass@1": sum(right) / len(right),
        f"pass@{num_samples}": sum(any(right[i : i + num_samples]) for i in range(0, len(right), num_samples))
        / len(problems),
        "one_box": sum(sample.completion.count("boxed{") == 1 for sample in samples) / len(samples),
        "speaks_of_the_question": sum(not strangers(str(s.prompt), s.completion) for s in samples) / len(samples),
    }


if __name__ == "__main__":
    cyclopts.run(make_policy)
