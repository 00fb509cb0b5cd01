"""The reward model's network: a transformers model for sequence classification with one number as its only class.

A decoder is read at the last token, which its mask decides and no pad id; an encoder by the head of its own class.

Shapes: B sequences, L tokens of the longest, T tokens of one completion.
"""

import json
import math
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, cast

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.modeling_layers import GradientCheckpointingLayer

from markscheme.files import InputError, StrPath, whole_folder, write_json, write_lines
from markscheme.models import add_lora, checkpoint_gradients, load_classifier, load_tokenizer, write_pretrained
from markscheme.packing.attention import Packing, packing_for
from markscheme.packing.sequences import TokenSequence, pack
from markscheme.packing.trunk import hidden_states
from markscheme.prompting import PromptFormat
from markscheme.reward_models.preferences import Prompt

SETTINGS_FILE = "reward_model.json"
TRAINED_ON_FILE = "trained_on.txt"
MODEL_FOLDER = "model"
"""Where a run folder holds its reward model."""
PROMPT_FORMAT = PromptFormat(instruction="")  # Sample.prompt is the question, and what was asked beside it is no merit
Kind = Literal["outcome", "process"]


class RewardNetwork(nn.Module):
    """A transformers model, its tokenizer, and what its rewards are measured by. Rewards are float32."""

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, kind: Kind = "outcome") -> None:
        """
        Raises:
            InputError: if it is a decoder whose tokenizer has no end token: a completion must be ended to be read.
        """
        super().__init__()
        self.model, self.tokenizer, self.kind = model, tokenizer, kind
        self.is_encoder = not isinstance(getattr(model, "score", None), nn.Linear)
        if not self.is_encoder:
            if tokenizer.eos_token_id is None:
                raise InputError(f"the tokenizer {tokenizer.name_or_path} has no end token: take another model")
            self.head.float()
            _keep_the_end_apart(model, tokenizer)
        self.centre, self.spread = 0.0, 1.0
        self.low, self.high = -math.inf, math.inf
        """Between them lie 99 % of the standardised rewards of the held-out completions."""
        self.truncates = False
        """Whether a completion that is too long is read as far as there is room."""
        self.threshold = 0.5
        """Of a process model: a step is taken for wrong below this probability."""
        self.trained_on: frozenset[str] = frozenset()
        """Hashes of the questions that it was given to learn from; empty also if that is not known."""
        self.eval()  # for good: without dropout, training draws no random numbers

    @classmethod
    def from_pretrained(
        cls,
        name: str,
        revision: str | None = None,
        *,
        seed: int = 0,
        dtype: str = "float32",
        kind: Kind = "outcome",
    ) -> "RewardNetwork":
        """A language model or an encoder, with a new head drawn by `seed` where it has none.

        Args:
            name: "embedded", a folder, or a hub id.
            revision: The commit of a hub model.

        Raises:
            InputError: if there is no such model, or transformers cannot classify sequences with it.
        """
        model, tokenizer, is_new = load_classifier(name, revision, dtype=dtype, seed=seed)
        network = cls(model, tokenizer, kind)
        if is_new and not network.is_encoder:  # N(0, 1 / (H + 1)): the first rewards are about as far apart as 1
            hidden = model.config.get_text_config().hidden_size
            head_H = torch.randn(hidden, generator=torch.Generator().manual_seed(seed)) / math.sqrt(hidden + 1)
            with torch.no_grad():
                network.head.weight.copy_(head_H[None])
        network.trained_on = questions_trained_on(Path(name))
        return network

    @classmethod
    def load(cls, folder: StrPath) -> "RewardNetwork":
        """The inverse of `save`, in float32.

        Raises:
            InputError: if the folder holds no reward model.
        """
        folder = Path(folder)
        check_folder(folder)
        try:
            settings = json.loads((folder / SETTINGS_FILE).read_text(encoding="utf-8"))
            model, _, is_new = load_classifier(str(folder), None, dtype="float32", seed=0)
            if is_new:
                raise ValueError("its weights have no head")
            network = cls(model, load_tokenizer(str(folder)), settings["kind"])
            network.centre, network.spread = float(settings["centre"]), float(settings["spread"])
            low, high = settings.get("low"), settings.get("high")  # not in the files of older versions
            network.low, network.high = -math.inf if low is None else low, math.inf if high is None else high
            network.truncates = bool(settings["truncates"])
            network.trained_on = questions_trained_on(folder)
            if network.kind == "process":
                network.threshold = float(settings["threshold"])
        except (OSError, ValueError, KeyError, SafetensorError, InputError) as error:
            raise InputError(f"{folder}: the reward model in it cannot be read ({error}); train it again") from error
        return network

    def save(self, folder: StrPath) -> None:
        """Writes a folder, whole or not at all; an older reward model gives way. `AutoModelForSequenceClassification`
        reads it too: its logit is the reward before `standardise`.

        Raises:
            InputError: if the folder holds something else.
        """
        folder = Path(folder)
        if folder.exists() and any(folder.iterdir()) and not (folder / SETTINGS_FILE).is_file():
            raise InputError(f"{folder} is not empty and holds no reward model: choose another folder")
        settings: dict[str, Any] = {"kind": self.kind, "centre": self.centre, "spread": self.spread}
        settings |= {"low": _finite_or_none(self.low), "high": _finite_or_none(self.high), "truncates": self.truncates}
        if self.kind == "process":
            settings["threshold"] = self.threshold
        with whole_folder(folder) as partial:
            write_pretrained(self.model, self.tokenizer, partial)
            write_json(partial / SETTINGS_FILE, settings)
            write_lines(partial / TRAINED_ON_FILE, sorted(self.trained_on))

    @property
    def head(self) -> nn.Linear:
        """Of a decoder."""
        return cast(nn.Linear, self.model.score)

    def prepare(self, lora_rank: int, seed: int, *, gradient_checkpointing: bool = False) -> None:
        """Gives the trunk adapters, drawn by `seed`, which are then trained with the head, and has its layers forget
        their activations.

        Raises:
            InputError: if that cannot be had.
        """
        trunk = cast(PreTrainedModel, self.model.base_model)
        if lora_rank:
            add_lora(trunk, lora_rank, seed)
        if gradient_checkpointing:
            if not self.is_encoder:
                self._packing  # noqa: B018  # finding it out puts every layer into evaluation
            checkpoint_gradients(trunk)
            for layer in trunk.modules():
                if isinstance(layer, GradientCheckpointingLayer):
                    layer.training = True  # of this layer only: what is below it stays without dropout

    @property
    def max_tokens(self) -> int | None:
        """The longest sequence that can be read; None if the model does not say."""
        places = getattr(self.model.config.get_text_config(), "max_position_embeddings", None)
        known = [number for number in (places, self.tokenizer.model_max_length) if number and number < sys.maxsize]
        return min(known, default=None)

    def encode(self, prompt: Prompt, completion: str) -> TokenSequence:
        """The token ids of a prompt and of its completion with the end token. Training, evaluation and scoring all read
        these. The completion cannot name special tokens: it is a text, whatever it contains.

        Raises:
            InputError: if the prompt is messages and the tokenizer of a decoder has no chat template.
        """
        if self.is_encoder:
            return self._limited(self._encode_two_texts(_text_of(prompt), completion))
        completion_ids = (*self.plain_ids(completion), int(self.tokenizer.eos_token_id))
        return self._limited(TokenSequence(prompt_ids=self.prompt_ids(prompt), completion_ids=completion_ids))

    def plain_ids(self, text: str) -> tuple[int, ...]:
        """A text without special tokens, whatever it contains."""
        options: Any = {"add_special_tokens": False, "split_special_tokens": True, "verbose": False}
        return tuple(self.tokenizer.encode(_encodable(text), **options))

    def prompt_ids(self, prompt: Prompt) -> tuple[int, ...]:
        """How a decoder is given a prompt."""
        if isinstance(prompt, str):
            return PROMPT_FORMAT.prompt_ids(_encodable(prompt), self.tokenizer)
        if self.tokenizer.chat_template is None:
            raise InputError("the prompt is messages, but the reward model has no chat template: give it as text")
        messages = [{"role": message["role"], "content": _encodable(message["content"])} for message in prompt]
        text = self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        return tuple(self.tokenizer.encode(str(text), add_special_tokens=False))

    def _encode_two_texts(self, prompt: str, completion: str) -> TokenSequence:
        """As encoders are given two texts: [CLS] prompt [SEP] completion [SEP], or what their tokenizer has instead."""
        options: Any = {"split_special_tokens": True, "verbose": False}
        encoded = self.tokenizer(_encodable(prompt), _encodable(completion) or " ", **options)  # "" is taken for none
        ids, owners = encoded["input_ids"], encoded.sequence_ids(0)
        first = owners.index(1) if 1 in owners else len(ids) - 1
        return TokenSequence(prompt_ids=tuple(ids[:first]), completion_ids=tuple(ids[first:]))

    def _limited(self, sequence: TokenSequence) -> TokenSequence:
        """Cut before the end token, if it is too long and may be cut."""
        if self.fits(sequence) or not self.truncates or self.max_tokens is None:
            return sequence
        room = self.max_tokens - len(sequence.prompt_ids) - 1
        if room < 0:
            return sequence
        kept = (*sequence.completion_ids[:room], sequence.completion_ids[-1])
        return replace(sequence, completion_ids=kept)

    def fits(self, sequence: TokenSequence) -> bool:
        """Whether the model has a place for every token."""
        return self.max_tokens is None or len(sequence) <= self.max_tokens

    def read(self, sequences: Sequence[TokenSequence]) -> Tensor:
        """The rewards [B] of sequences, in one forward."""
        if self.is_encoder:
            return self._read_encoder(sequences)
        return torch.stack([values_T[-1] for values_T in self.read_tokens(sequences)])

    def read_tokens(self, sequences: Sequence[TokenSequence]) -> list[Tensor]:
        """What the head of a decoder says at each token of each completion, [T], in one forward.

        Sequences with the same prompt share it, so that it is read once.
        """
        # What is packed predicts its next token, and the last one has none: it gets one that is never read.
        ended = [replace(one, completion_ids=(*one.completion_ids, 0)) for one in sequences]
        [batch] = self._packing(ended, sys.maxsize)
        values_M = hidden_states(self.model, batch).float() @ self.head.weight[0]
        of_each = dict(zip(batch.sequences, values_M.split(list(batch.lengths)), strict=True))
        return [of_each[index][1:] for index in range(len(sequences))]  # the first is read at the prompt's last token

    @cached_property
    def _packing(self) -> Packing:
        return packing_for(self.model)

    def _read_encoder(self, sequences: Sequence[TokenSequence]) -> Tensor:
        shape = len(sequences), max(map(len, sequences))
        ids_BL, mask_BL, types_BL = (torch.zeros(shape, dtype=torch.long) for _ in range(3))
        for row, one in enumerate(sequences):
            ids_BL[row, : len(one)] = torch.tensor((*one.prompt_ids, *one.completion_ids))
            mask_BL[row, : len(one)] = 1
            types_BL[row, len(one.prompt_ids) : len(one)] = 1
        inputs = {"input_ids": ids_BL, "attention_mask": mask_BL}
        if "token_type_ids" in self.tokenizer.model_input_names:
            inputs["token_type_ids"] = types_BL
        output = self.model(**{name: tensor.to(self.model.device) for name, tensor in inputs.items()})
        rewards_B: Tensor = output.logits[:, 0].float()
        return rewards_B

    @torch.no_grad()
    def rewards(self, sequences: Sequence[TokenSequence], token_budget: int) -> list[float]:
        """The rewards of sequences, at most `token_budget` tokens at a time (a longer one is alone)."""
        rewards = [0.0] * len(sequences)
        for indices in self.batches([[one] for one in sequences], token_budget):
            values = self.read([sequences[index] for index in indices]).tolist()
            for index, reward in zip(indices, values, strict=True):
                rewards[index] = reward
        return rewards

    def batches(self, items: Sequence[Sequence[TokenSequence]], token_budget: int) -> list[list[int]]:
        """Indices of items, each of sequences that are read together, in batches of at most `token_budget` tokens (a
        larger item is alone): those of one prompt side by side, or, where rows are padded, those of like length.
        """
        if self._is_padded:
            order = sorted(range(len(items)), key=lambda index: max(map(len, items[index])))
        else:
            first: dict[tuple[int, ...], int] = {}
            places = [first.setdefault(item[0].prompt_ids, index) for index, item in enumerate(items)]
            order = sorted(range(len(items)), key=places.__getitem__)
        batches: list[list[int]] = []
        together: list[TokenSequence] = []
        for index in order:
            together = [*together, *items[index]]
            if not batches or self._num_tokens(together) > token_budget:
                batches.append([])
                together = list(items[index])
            batches[-1].append(index)
        return batches

    def _num_tokens(self, sequences: Sequence[TokenSequence]) -> int:
        """Tokens of a forward."""
        if self._is_padded:
            return len(sequences) * max(map(len, sequences))
        prompts = {one.prompt_ids for one in sequences}
        return sum(map(len, prompts)) + sum(len(one.completion_ids) for one in sequences)

    @property
    def _is_padded(self) -> bool:
        return self.is_encoder or self._packing is pack

    def standardise(self, reward: float) -> float:
        """(r - centre) / spread: on held-out completions, rewards have mean 0 and standard deviation 1."""
        return (reward - self.centre) / self.spread

    def in_range(self, value: float) -> bool:
        """Whether a standardised reward is one that was usual in training; outside, the model guesses."""
        return self.low <= value <= self.high


def check_folder(folder: Path) -> None:
    """
    Raises:
        InputError: if the folder holds no reward model.
    """
    if (folder / SETTINGS_FILE).is_file():
        return
    if (folder / MODEL_FOLDER / SETTINGS_FILE).is_file():
        raise InputError(f"{folder}: a run folder; its reward model is {folder / MODEL_FOLDER}")
    raise InputError(
        f"{folder}: no reward model in it (no {SETTINGS_FILE}); make one with markscheme train-reward-model"
    )


def kind_of(folder: Path) -> Kind:
    """What the reward model in a folder values: whole completions (outcome) or each of their steps (process).

    Raises:
        InputError: if the folder holds no reward model.
    """
    check_folder(folder)
    try:
        settings = json.loads((folder / SETTINGS_FILE).read_text(encoding="utf-8"))
        return "process" if settings["kind"] == "process" else "outcome"
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder}: its {SETTINGS_FILE} cannot be read ({error!r}); train it again") from error


def questions_trained_on(folder: Path) -> frozenset[str]:
    """Hashes of the questions that the reward model in a folder was given to learn from; none if the folder, being of
    an older version or no reward model, does not say.

    Raises:
        OSError: if the folder says it in a file that cannot be read.
    """
    said = folder / TRAINED_ON_FILE
    return frozenset(said.read_text(encoding="utf-8").split()) if said.is_file() else frozenset()


def _keep_the_end_apart(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Gives padding a token of its own. transformers reads a decoder at the last token that is no padding: where the
    end token is padding, it would read the one before.
    """
    end, pad = tokenizer.eos_token_id, tokenizer.pad_token_id
    if pad is None or pad == end:
        others = [one for one, token in tokenizer.added_tokens_decoder.items() if token.special and one != end]
        pad = others[0] if others else int(end == 0)
        # Without another special token, padding has no name: then it is an error rather than a wrong reward.
        tokenizer.pad_token = tokenizer.convert_ids_to_tokens(pad) if others else None
    model.config.get_text_config().pad_token_id = model.config.pad_token_id = pad


def _finite_or_none(number: float) -> float | None:
    """JSON has no infinity."""
    return number if math.isfinite(number) else None


def _text_of(prompt: Prompt) -> str:
    return prompt if isinstance(prompt, str) else "\n".join(message["content"] for message in prompt)


def _encodable(text: str) -> str:
    """Half a surrogate pair, which no tokenizer takes, becomes a question mark."""
    return text.encode("utf-8", "replace").decode("utf-8")
