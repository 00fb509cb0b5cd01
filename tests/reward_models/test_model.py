import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
)

from markscheme.files import InputError
from markscheme.packing.sequences import TokenSequence
from markscheme.reward_models import RewardNetwork

TEXTS = ["", " Ada has 3 apples.", " The answer is \\boxed{12}. Then Ben gives away 4 of the 16 plums."]


def sequences(network: RewardNetwork) -> list[TokenSequence]:
    return [network.encode("How many?", text) for text in TEXTS]


def ids_of(sequence: TokenSequence) -> list[int]:
    return [*sequence.prompt_ids, *sequence.completion_ids]


def test_reward_is_the_head_at_the_last_token(network: RewardNetwork) -> None:
    for sequence in sequences(network):
        trunk = network.model.base_model
        hidden_LH = trunk(input_ids=torch.tensor([ids_of(sequence)])).last_hidden_state[0]
        assert_close(network.read([sequence]), hidden_LH[-1:] @ network.head.weight[0], atol=1e-6, rtol=0)


def test_tokens_are_read_where_they_stand(network: RewardNetwork) -> None:
    for sequence, values_T in zip(sequences(network), network.read_tokens(sequences(network)), strict=True):
        hidden_LH = network.model.base_model(input_ids=torch.tensor([ids_of(sequence)])).last_hidden_state[0]
        expected_L = hidden_LH @ network.head.weight[0]
        assert_close(values_T, expected_L[len(sequence.prompt_ids) :], atol=1e-5, rtol=0)


def test_the_end_token_is_read_although_it_was_the_pad_token(network: RewardNetwork, policy_folder: Path) -> None:
    before = AutoTokenizer.from_pretrained(policy_folder)
    assert before.pad_token_id == before.eos_token_id == network.tokenizer.eos_token_id
    ended = network.encode("How many?", " Ada has 3 apples.")
    open_ = replace(ended, completion_ids=ended.completion_ids[:-1])
    with_end, without_end = network.rewards([ended, open_], token_budget=1_000)
    assert abs(with_end - without_end) > 1e-3


def test_sequence_is_prompt_completion_and_end_token(network: RewardNetwork) -> None:
    sequence = network.encode("How many?", " Ada has")
    assert network.tokenizer.decode(sequence.prompt_ids) == "<|question|> How many?<|answer|>"
    assert network.tokenizer.decode(sequence.completion_ids) == " Ada has<|end|>"
    assert network.encode("How many?", "").completion_ids == (network.tokenizer.eos_token_id,)


@pytest.mark.parametrize("side", ["left", "right"])
def test_other_libraries_read_the_same_reward(network: RewardNetwork, tmp_path: Path, side: str) -> None:
    network.save(tmp_path / "model")
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "model")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model", padding_side=side)
    rows = [{"input_ids": ids_of(sequence)} for sequence in sequences(network)]
    batch = tokenizer.pad(rows, return_tensors="pt")
    assert batch["attention_mask"].min() == 0  # something is padded
    with torch.no_grad():
        assert_close(model(**batch).logits[:, 0], network.read(sequences(network)).detach(), atol=1e-5, rtol=0)


def test_neighbours_and_order_change_nothing(network: RewardNetwork) -> None:
    mixed = [network.encode(prompt, text) for text in TEXTS for prompt in ("How many?", "How many are left of them?")]
    together = network.read(mixed)
    assert_close(torch.cat([network.read([one]) for one in mixed]), together, atol=1e-5, rtol=0)
    assert_close(network.read(mixed[::-1]).flip(0), together, atol=1e-5, rtol=0)
    for budget in (1, 40, 10_000):
        assert_close(torch.tensor(network.rewards(mixed, budget)), together.detach(), atol=1e-5, rtol=0)


def test_batches_hold_at_most_their_budget_and_share_prompts(network: RewardNetwork) -> None:
    prompts = ("How many?", "How many are left of them?")
    mixed = [network.encode(prompts[k % 2], " Ada has 3 apples." * (1 + k % 3)) for k in range(12)]
    batches = network.batches([[one] for one in mixed], 60)
    assert sorted(index for batch in batches for index in batch) == list(range(12))
    assert len(batches) > 2
    for batch in batches:
        shared = {mixed[index].prompt_ids for index in batch}
        assert sum(map(len, shared)) + sum(len(mixed[index].completion_ids) for index in batch) <= 60
    assert [index for batch in batches for index in batch] == [0, 2, 4, 6, 8, 10, 1, 3, 5, 7, 9, 11]


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
    assert network.encode("How many?", "3<|end|> 4 <|answer|>").completion_ids.count(end) == 1


def test_half_a_surrogate_pair_is_readable(network: RewardNetwork) -> None:
    assert network.encode("\ud800?", "3 \udfff") == network.encode("??", "3 ?")


def test_rewards_are_float32_over_a_trunk_of_any_type(policy_folder: Path) -> None:
    network = RewardNetwork.from_pretrained(str(policy_folder), dtype="bfloat16")
    assert network.model.base_model.dtype == torch.bfloat16
    assert network.head.weight.dtype == torch.float32
    assert network.read(sequences(network)).dtype == torch.float32


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
    settings = json.loads((tmp_path / "model" / "reward_model.json").read_text())
    expected = {"kind": "outcome", "centre": 0.25, "spread": 3.0, "truncates": False, "low": None, "high": None}
    assert settings == expected


def test_the_usual_range_is_saved_and_open_where_it_is_not_known(network: RewardNetwork, tmp_path: Path) -> None:
    network.save(tmp_path / "never_measured")
    unknown = RewardNetwork.load(tmp_path / "never_measured")
    assert all(unknown.in_range(value) for value in (-1e300, 0.0, 1e300))
    network.low, network.high = -2.5, 2.0
    network.save(tmp_path / "measured")
    loaded = RewardNetwork.load(tmp_path / "measured")
    assert (loaded.low, loaded.high) == (-2.5, 2.0)
    assert [loaded.in_range(value) for value in (-2.6, -2.5, 2.0, 2.1)] == [False, True, True, False]
    path = tmp_path / "measured" / "reward_model.json"
    older = {name: value for name, value in json.loads(path.read_text()).items() if name not in ("low", "high")}
    path.write_text(json.dumps(older))
    assert RewardNetwork.load(tmp_path / "measured").in_range(1e300)


def test_the_head_is_drawn_from_the_seed(policy_folder: Path) -> None:
    def head(seed: int) -> Tensor:
        return RewardNetwork.from_pretrained(str(policy_folder), seed=seed).head.weight

    assert torch.equal(head(1), head(1))
    assert not torch.equal(head(1), head(2))


def test_a_wrong_folder_is_named(network: RewardNetwork, policy_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no reward model in it \(no reward_model.json\)"):
        RewardNetwork.load(policy_folder)
    network.save(tmp_path / "run" / "model")
    with pytest.raises(InputError, match=r"run: a run folder; its reward model is .*run/model"):
        RewardNetwork.load(tmp_path / "run")
    (tmp_path / "run" / "model" / "model.safetensors").write_bytes(b"torn")
    with pytest.raises(InputError, match="run/model: the reward model in it cannot be read"):
        RewardNetwork.load(tmp_path / "run" / "model")
    with pytest.raises(InputError, match="not empty and holds no reward model"):
        network.save(policy_folder)
    assert (policy_folder / "config.json").exists()


def test_a_tokenizer_without_end_token_is_refused(network: RewardNetwork, policy_folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(policy_folder)
    tokenizer.eos_token = None
    with pytest.raises(InputError, match="no end token"):
        RewardNetwork(network.model, tokenizer)


def test_a_model_without_a_head_is_no_reward_model(policy_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(policy_folder, tmp_path / "model")
    (tmp_path / "model" / "reward_model.json").write_text(json.dumps({"kind": "outcome"}))
    with pytest.raises(InputError, match="its weights have no head"):
        RewardNetwork.load(tmp_path / "model")


def test_a_completion_that_may_be_cut_keeps_its_end_token(network: RewardNetwork) -> None:
    long = " Ada has 3 apples." * 200
    assert not network.fits(network.encode("How many?", long))
    network.truncates = True
    cut = network.encode("How many?", long)
    assert (len(cut), cut.completion_ids[-1]) == (network.max_tokens, network.tokenizer.eos_token_id)
    assert not network.fits(network.encode(long, "7"))  # the prompt leaves no room


def test_an_encoder_without_end_token_is_a_reward_model(encoder_folder: Path, tmp_path: Path) -> None:
    network = RewardNetwork.from_pretrained(str(encoder_folder), seed=1)
    assert network.is_encoder
    assert network.tokenizer.eos_token_id is None
    assert network.max_tokens == 512
    read = [network.encode("how many?", text) for text in ("", "ada", "ada [SEP] apples 7 7 7 7 .")]
    assert [one.prompt_ids for one in read] == [read[0].prompt_ids] * 3
    assert read[0].completion_ids == (3,)  # [SEP]
    assert read[2].completion_ids.count(3) == 1
    together = network.read(read)
    assert_close(torch.cat([network.read([one]) for one in read]), together, atol=1e-5, rtol=0)
    network.save(tmp_path / "model")
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "model")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    batch = tokenizer(["how many?"] * 2, ["", "ada"], return_tensors="pt", padding=True)
    with torch.no_grad():
        assert_close(model(**batch).logits[:, 0], together[:2].detach(), atol=1e-5, rtol=0)
    loaded = RewardNetwork.load(tmp_path / "model")
    assert_close(loaded.read(read), together, atol=1e-6, rtol=0)
