import json
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close
from transformers import AutoTokenizer

from markscheme.files import InputError
from markscheme.models import load_policy
from markscheme.reward_models import RewardNetwork

TEXTS = ["", " Ada has 3 apples.", " The answer is \\boxed{12}. Then Ben gives away 4 of the 16 plums."]


def sequences(network: RewardNetwork) -> list[tuple[int, ...]]:
    return [network.encode("How many?", text) for text in TEXTS]


def test_reward_is_the_head_at_the_last_token(network: RewardNetwork) -> None:
    for sequence in sequences(network):
        hidden_LH = network.trunk(input_ids=torch.tensor([sequence])).last_hidden_state[0]
        assert_close(network.read([sequence]), hidden_LH[-1:] @ network.head, atol=1e-6, rtol=0)


@pytest.mark.parametrize("pad_id", [0, 17, 300])
def test_reward_does_not_depend_on_width_or_content_of_the_padding(network: RewardNetwork, pad_id: int) -> None:
    for sequence in sequences(network):
        padded_L = torch.full((len(sequence) + 23,), pad_id)
        padded_L[: len(sequence)] = torch.tensor(sequence)
        reward_B = network(padded_L[None], torch.tensor([len(sequence)]))
        assert_close(reward_B, network.read([sequence]), atol=1e-5, rtol=0)


def test_the_end_token_is_read_although_it_is_the_pad_token(network: RewardNetwork) -> None:
    assert network.tokenizer.pad_token_id == network.tokenizer.eos_token_id
    ended = network.encode("How many?", " Ada has 3 apples.")
    with_end, without_end = network.rewards([ended, ended[:-1]], token_budget=1_000)
    assert abs(with_end - without_end) > 1e-3


def test_sequence_is_prompt_completion_and_end_token(network: RewardNetwork) -> None:
    sequence = network.encode("How many?", " Ada has")
    assert network.tokenizer.decode(sequence) == "<|question|> How many?<|answer|> Ada has<|end|>"
    assert network.encode("How many?", "") == (*sequence[:-3], sequence[-1])  # " Ada" and " has" left out


def test_messages_are_read_like_the_same_question_as_text(network: RewardNetwork) -> None:
    messages = ({"role": "user", "content": "How many?"},)
    assert network.encode(messages, " 3") == network.encode("How many?", " 3")  # type: ignore[arg-type]


def test_messages_need_a_chat_template(network: RewardNetwork, policy_folder: Path) -> None:
    network.tokenizer = AutoTokenizer.from_pretrained(policy_folder)
    network.tokenizer.chat_template = None
    with pytest.raises(InputError, match="no chat template"):
        network.encode(({"role": "user", "content": "How many?"},), " 3")


def test_a_completion_cannot_name_special_tokens(network: RewardNetwork) -> None:
    end = network.tokenizer.eos_token_id
    assert network.encode("How many?", "3<|end|> 4 <|answer|>").count(end) == 1


def test_half_a_surrogate_pair_is_readable(network: RewardNetwork) -> None:
    assert network.encode("\ud800?", "3 \udfff") == network.encode("??", "3 ?")


def test_weights_and_rewards_are_float32(network: RewardNetwork) -> None:
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}
    assert network.trunk.to(torch.bfloat16).dtype == torch.bfloat16
    assert network.read(sequences(network)).dtype == torch.float32  # also over a trunk of another type


def test_saved_and_loaded_it_is_the_same(network: RewardNetwork, tmp_path: Path) -> None:
    network.centre, network.spread = 0.25, 3.0
    network.save(tmp_path / "model")
    network.save(tmp_path / "model")  # an older one gives way
    loaded = RewardNetwork.load(tmp_path / "model")
    assert all(torch.equal(tensor, loaded.state_dict()[name]) for name, tensor in network.state_dict().items())
    assert_close(loaded.read(sequences(loaded)), network.read(sequences(network)), atol=1e-6, rtol=0)
    assert (loaded.centre, loaded.spread) == (0.25, 3.0)
    assert loaded.standardise(6.25) == 2.0  # (6.25 - 0.25) / 3
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert json.loads((tmp_path / "model" / "reward_model.json").read_text()) == {"centre": 0.25, "spread": 3.0}


def test_the_head_is_drawn_from_the_seed(policy_folder: Path) -> None:
    def head(seed: int) -> Tensor:
        return RewardNetwork.from_language_model(*load_policy(str(policy_folder)), seed).head

    assert torch.equal(head(1), head(1))
    assert not torch.equal(head(1), head(2))


def test_a_wrong_folder_is_named(network: RewardNetwork, policy_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no reward model in it \(no reward_model.json\)"):
        RewardNetwork.load(policy_folder)
    network.save(tmp_path / "run" / "model")
    with pytest.raises(InputError, match=r"run: a run folder; its reward model is .*run/model"):
        RewardNetwork.load(tmp_path / "run")
    (tmp_path / "run" / "model" / "head.safetensors").write_bytes(b"torn")
    with pytest.raises(InputError, match="run/model: the reward model in it cannot be read"):
        RewardNetwork.load(tmp_path / "run" / "model")
    with pytest.raises(InputError, match="not empty and holds no reward model"):
        network.save(policy_folder)
    assert (policy_folder / "config.json").exists()


def test_a_tokenizer_without_end_token_is_refused(network: RewardNetwork, policy_folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(policy_folder)
    tokenizer.eos_token = None
    with pytest.raises(InputError, match="no end token"):
        RewardNetwork(network.trunk, tokenizer, network.head)
