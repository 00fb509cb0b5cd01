"""A language model of a few thousand weights, and a preference that it learns in seconds."""

from pathlib import Path

import pytest

from markscheme.policy.make import make_model, make_tokenizer
from markscheme.reward_models import PreferencePair, RewardNetwork


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
