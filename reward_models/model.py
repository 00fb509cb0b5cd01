"""The reward model's network: a transformers decoder and one number read at the last token.

Shapes: B rows, L tokens of the longest row, H hidden.
"""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn
from transformers import AutoModel, PreTrainedModel, PreTrainedTokenizerBase

from markscheme.files import InputError, whole_folder, write_json
from markscheme.models import load_tokenizer, no_progress_bars, write_pretrained
from markscheme.prompting import PromptFormat
from markscheme.scoring import Message

HEAD_FILE, SETTINGS_FILE = "head.safetensors", "reward_model.json"
MODEL_FOLDER = "model"
"""Where a run folder holds its reward model."""
PROMPT_FORMAT = PromptFormat(instruction="")  # Sample.prompt is the question, and what was asked beside it is no merit


class RewardNetwork(nn.Module):
    """A decoder with a scalar head. Weights and rewards are float32."""

    def __init__(self, trunk: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, head_H: Tensor) -> None:
        """
        Raises:
            InputError: if the tokenizer has no end token, since a completion must be ended before it is read.
        """
        super().__init__()
        if tokenizer.eos_token_id is None:
            raise InputError(f"the tokenizer {tokenizer.name_or_path} has no end token: take a causal language model")
        self.trunk = trunk
        self.tokenizer = tokenizer
        # Copied: where a file's bytes lie unaligned in memory, the same weights round to other rewards.
        self.head = nn.Parameter(head_H.float().clone())
        self.centre, self.spread = 0.0, 1.0
        self.max_tokens: int | None = getattr(trunk.config.get_text_config(), "max_position_embeddings", None)
        self.eval()  # for good: without dropout, training draws no random numbers

    @classmethod
    def from_language_model(
        cls, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, seed: int = 0
    ) -> "RewardNetwork":
        """The decoder of a causal language model, taken over, with a new head drawn from N(0, 1 / (H + 1)).

        Raises:
            InputError: if the model has an encoder, or its tokenizer no end token.
        """
        trunk = cast(PreTrainedModel, model.base_model).float()
        if trunk.config.is_encoder_decoder:
            raise InputError(f"{type(model).__name__} is an encoder-decoder: take a causal language model")
        hidden = trunk.config.get_text_config().hidden_size
        head_H = torch.randn(hidden, generator=torch.Generator().manual_seed(seed)) / math.sqrt(hidden + 1)
        return cls(trunk, tokenizer, head_H.to(trunk.device))

    @classmethod
    def load(cls, folder: Path) -> "RewardNetwork":
        """The inverse of `save`.

        Raises:
            InputError: if the folder holds no reward model.
        """
        check_folder(folder)
        try:
            with no_progress_bars():
                trunk: PreTrainedModel = AutoModel.from_pretrained(folder, dtype=torch.float32)
            network = cls(trunk, load_tokenizer(str(folder)), load_file(folder / HEAD_FILE)["head"])
            settings = json.loads((folder / SETTINGS_FILE).read_text(encoding="utf-8"))
            network.centre, network.spread = float(settings["centre"]), float(settings["spread"])
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            raise InputError(f"{folder}: the reward model in it cannot be read ({error}); train it again") from error
        return network

    def save(self, folder: Path) -> None:
        """Writes a folder, whole or not at all; an older reward model gives way.

        Raises:
            InputError: if the folder holds something else.
        """
        if folder.exists() and any(folder.iterdir()) and not (folder / SETTINGS_FILE).is_file():
            raise InputError(f"{folder} is not empty and holds no reward model: choose another folder")
        with whole_folder(folder) as partial:
            write_pretrained(self.trunk, self.tokenizer, partial)
            (partial / HEAD_FILE).write_bytes(save({"head": self.head.detach().cpu()}))
            write_json(partial / SETTINGS_FILE, {"centre": self.centre, "spread": self.spread})

    def encode(self, prompt: str | Sequence[Message], completion: str) -> tuple[int, ...]:
        """Token ids of a prompt and its completion, ended by the end token. Training and scoring both read these.

        The completion cannot name special tokens: it is a text, whatever it contains.

        Raises:
            InputError: if the prompt is messages and the tokenizer has no chat template.
        """
        completion_ids = self.tokenizer.encode(
            _encodable(completion), add_special_tokens=False, split_special_tokens=True, verbose=False
        )
        return (*self._prompt_ids(prompt), *completion_ids, int(self.tokenizer.eos_token_id))

    def _prompt_ids(self, prompt: str | Sequence[Message]) -> tuple[int, ...]:
        if isinstance(prompt, str):
            return PROMPT_FORMAT.prompt_ids(_encodable(prompt), self.tokenizer)
        if self.tokenizer.chat_template is None:
            raise InputError("the prompt is messages, but the reward model has no chat template: give it as text")
        messages = [{"role": message["role"], "content": _encodable(message["content"])} for message in prompt]
        text = self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        return tuple(self.tokenizer.encode(str(text), add_special_tokens=False))

    def fits(self, sequence: Sequence[int]) -> bool:
        """Whether the trunk has a position for every token."""
        return self.max_tokens is None or len(sequence) <= self.max_tokens

    def forward(self, input_ids_BL: Tensor, lengths_B: Tensor) -> Tensor:
        """The rewards [B] of rows padded on the right: read at the last token by length, whatever the pads are."""
        places_L = torch.arange(input_ids_BL.shape[1], device=input_ids_BL.device)
        mask_BL = places_L < lengths_B[:, None]
        output = self.trunk(input_ids=input_ids_BL, attention_mask=mask_BL.long(), use_cache=False)
        rows_B = torch.arange(len(lengths_B), device=lengths_B.device)
        last_BH = output.last_hidden_state[rows_B, lengths_B - 1]
        rewards_B: Tensor = last_BH.float() @ self.head
        return rewards_B

    def read(self, sequences: Sequence[Sequence[int]]) -> Tensor:
        """The rewards [B] of token sequences, in one forward."""
        lengths_B = torch.tensor([len(sequence) for sequence in sequences])
        input_ids_BL = torch.zeros(len(sequences), int(lengths_B.max()), dtype=torch.long)
        for row, sequence in enumerate(sequences):
            input_ids_BL[row, : len(sequence)] = torch.tensor(sequence)
        rewards_B: Tensor = self(input_ids_BL.to(self.head.device), lengths_B.to(self.head.device))
        return rewards_B

    @torch.no_grad()
    def rewards(self, sequences: Sequence[Sequence[int]], token_budget: int) -> list[float]:
        """The rewards of token sequences, in micro-batches of like length."""
        rewards = [0.0] * len(sequences)
        for batch in micro_batches([len(sequence) for sequence in sequences], token_budget):
            for index, reward in zip(batch, self.read([sequences[index] for index in batch]).tolist(), strict=True):
                rewards[index] = reward
        return rewards

    def standardise(self, reward: float) -> float:
        """(r - centre) / spread: on held-out pairs, rewards have mean 0 and standard deviation 1."""
        return (reward - self.centre) / self.spread


def micro_batches(lengths: Sequence[int], token_budget: int) -> list[list[int]]:
    """Indices sorted by length, in batches of at most `token_budget` padded tokens (a longer item is alone).

    >>> micro_batches([5, 2, 9, 3], token_budget=10)
    [[1, 3], [0], [2]]
    """
    batches: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda index: lengths[index]):
        if batches and (len(batches[-1]) + 1) * lengths[index] <= token_budget:
            batches[-1].append(index)
        else:
            batches.append([index])
    return batches


def check_folder(folder: Path) -> None:
    """
    Raises:
        InputError: if the folder holds no reward model.
    """
    if (folder / MODEL_FOLDER / SETTINGS_FILE).is_file():
        raise InputError(f"{folder}: a run folder; its reward model is {folder / MODEL_FOLDER}")
    if not (folder / SETTINGS_FILE).is_file():
        raise InputError(f"{folder}: no reward model in it (no {SETTINGS_FILE}): train one first")


def _encodable(text: str) -> str:
    """The text with halves of surrogate pairs replaced: a tokenizer refuses those."""
    return text.encode("utf-8", "replace").decode("utf-8")
