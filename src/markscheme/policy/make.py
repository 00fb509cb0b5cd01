"""Makes the embedded policy again, from nothing: `python -m markscheme.policy.make --out FOLDER`."""

from collections.abc import Sequence
from typing import overload

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from markscheme.benchmarks.tasks.generated import lexicon
from markscheme.grpo.pack import TokenSequence
from markscheme.problems import Problem
from markscheme.prompting import PromptFormat

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
        tokenizer_object=tokenizer, eos_token=END, pad_token=END, chat_template=CHAT_TEMPLATE, model_max_length=512
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
        max_position_embeddings=512,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=0,
        pad_token_id=0,
    )
    return Qwen2ForCausalLM(config)


class Examples(Sequence[TokenSequence]):
    """Problems with solutions, tokenised when asked for."""

    def __init__(self, problems: Sequence[Problem], tokenizer: PreTrainedTokenizerFast, prompt_format: PromptFormat):
        self._problems, self._tokenizer, self._format = problems, tokenizer, prompt_format

    def __len__(self) -> int:
        return len(self._problems)

    @overload
    def __getitem__(self, index: int) -> TokenSequence: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[TokenSequence]: ...
    def __getitem__(self, index: int | slice) -> TokenSequence | Sequence[TokenSequence]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        problem = self._problems[index]
        completion = self._tokenizer.encode(f" {problem.solution}{END}", add_special_tokens=False)
        prompt = self._format.prompt_ids(problem.question, self._tokenizer)
        return TokenSequence(prompt_ids=prompt, completion_ids=tuple(completion))
