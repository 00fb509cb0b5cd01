"""Models of a few thousand weights, and what they learn in seconds: a preference, and which steps are good."""

from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import AutoModel, BertConfig, PreTrainedTokenizerFast, RobertaConfig

from markscheme.policy.make import make_model, make_tokenizer
from markscheme.reward_models import LabelledSteps, PreferencePair, RewardNetwork


@pytest.fixture(scope="session")
def policy_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A causal language model, saved. Its pad token is its end token."""
    folder = tmp_path_factory.mktemp("policy")
    tokenizer = make_tokenizer()
    model = make_model(len(tokenizer), width=32, layers=1, seed=0)
    model.config.max_position_embeddings = 512
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def network(policy_folder: Path) -> RewardNetwork:
    return RewardNetwork.from_pretrained(str(policy_folder), seed=1)


@pytest.fixture(scope="session")
def lemon_pairs() -> list[PreferencePair]:
    """The completion that speaks of lemons is the better one, whichever is longer."""
    names, things = ("Ada", "Ben", "Mia", "Tom"), ("apples", "pears", "plums", "nuts")
    pairs = []
    for number in range(240):
        name, thing = names[number % 4], things[number // 4 % 4]
        extra = " Then Ada gets more." * (number % 3)
        more = " Then Ben sells more." * ((number // 3) % 3)
        pairs.append(
            PreferencePair(
                prompt=f"{name} has {number} {thing}. How many does {name} have?",
                chosen=f" {name} has {number} {thing} and lemons.{extra}",
                rejected=f" {name} has {number} {thing} and melons.{more}",
                id=f"lemon-{number}",
            )
        )
    return pairs


@pytest.fixture(scope="session")
def lemon_steps() -> list[LabelledSteps]:
    """A step that speaks of lemons is good, one of melons is wrong; none is labelled behind a wrong one."""
    names = ("Ada", "Ben", "Mia", "Tom")
    solutions = []
    for number in range(160):
        error, num_steps = (None, 0, 1, 2)[number * 7 // 4 % 4], 3 + number % 2
        fruits = ["melons" if k == error else "lemons" for k in range(num_steps)]
        solutions.append(
            LabelledSteps(
                prompt=f"{names[number % 4]} has {number} lemons. How many?",
                steps=tuple(f"{names[(number + k) % 4]} has {number + k} {fruit}." for k, fruit in enumerate(fruits)),
                labels=tuple(None if error is not None and k > error else float(k != error) for k in range(num_steps)),
                id=f"lemon-{number}",
            )
        )
    return solutions


ENCODERS = {
    "bert": BertConfig(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64),
    "roberta": RobertaConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, max_position_embeddings=514
    ),
}


@pytest.fixture(params=ENCODERS)
def encoder_folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """An encoder whose tokenizer has no end token, saved."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = [*special, *"abcdefghijklmnopqrstuvwxyz0123456789.?", "ada", "apples", "lemons", "melons"]
    tokenizer = Tokenizer(WordPiece({word: index for index, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1" if request.param == "bert" else "[CLS] $A [SEP] $B [SEP]",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    inputs = ["input_ids", "attention_mask"] + ["token_type_ids"] * (request.param == "bert")
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        pad_token="[PAD]",
        model_max_length=512,
        model_input_names=inputs,
    ).save_pretrained(tmp_path / "encoder")
    config = ENCODERS[request.param]
    config.vocab_size, config.pad_token_id = len(words), 0
    torch.manual_seed(0)
    AutoModel.from_config(config).save_pretrained(tmp_path / "encoder")
    return tmp_path / "encoder"
