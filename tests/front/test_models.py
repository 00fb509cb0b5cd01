import errno
import sys
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerBase

from markscheme.files import InputError
from markscheme.models import (
    adapter_off,
    add_lora,
    checkpoint_gradients,
    fingerprint,
    has_adapter,
    load_policy,
    plain_weights,
    save_policy,
)
from markscheme.policy.make import make_tokenizer


@pytest.fixture
def folder(tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> Path:
    save_policy(tiny_model, tokenizer, tmp_path / "policy")
    return tmp_path / "policy"


def test_saved_and_loaded_it_is_the_same(
    folder: Path, tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
) -> None:
    model, loaded = load_policy(str(folder))
    text = r"Mia's \boxed{12}<|endoftext|> \u0301e\n\n"  # as long as it is not a Qwen2's tokenizer that reads it
    assert loaded.encode(text) == tokenizer.encode(text)
    for name, tensor in tiny_model.state_dict().items():
        assert torch.equal(model.state_dict()[name].cpu(), tensor), name
    assert loaded.chat_template == tokenizer.chat_template
    assert fingerprint(model, loaded) == fingerprint(tiny_model, tokenizer)
    assert type(AutoModelForCausalLM.from_pretrained(folder)) is type(tiny_model)  # other libraries read it too
    save_policy(model, loaded, folder)  # an older one gives way
    assert [path.name for path in folder.parent.iterdir()] == ["policy"]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_the_dtype_is_the_one_asked_for(folder: Path, dtype: str) -> None:
    model, tokenizer = load_policy(str(folder), dtype=dtype)
    assert model.dtype == getattr(torch, dtype)
    assert len(fingerprint(model, tokenizer)) == 16


def test_one_weight_changes_the_fingerprint(tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    before = fingerprint(tiny_model, tokenizer)
    weight = tiny_model.state_dict()["model.layers.1.mlp.up_proj.weight"]
    old = weight[3, 5].clone()
    weight[3, 5] = torch.nextafter(old, old + 1)
    assert fingerprint(tiny_model, tokenizer) != before
    weight[3, 5] = old
    assert fingerprint(tiny_model, tokenizer) == before


def test_the_type_the_vocabulary_and_the_template_change_the_fingerprint(tiny_model: PreTrainedModel) -> None:
    found = {fingerprint(tiny_model, make_tokenizer())}
    assert found == {fingerprint(tiny_model, make_tokenizer())}
    other = make_tokenizer()
    other.chat_template += "!"
    found.add(fingerprint(tiny_model, other))
    other = make_tokenizer()
    other.add_tokens(["zyzzyva"])
    found.add(fingerprint(tiny_model, other))
    found.add(fingerprint(tiny_model.to(torch.bfloat16), make_tokenizer()))
    assert len(found) == 4


def test_a_missing_model_is_named() -> None:
    with pytest.raises(InputError, match="cannot load the model 'nobody/nothing': no folder here, nor a hub model"):
        load_policy("nobody/nothing")


def test_a_folder_that_is_no_model_is_named(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"no config\.json in this folder, so it holds no model"):
        load_policy(str(tmp_path / "empty"))
    with pytest.raises(InputError, match=f"a run folder; its policy is {folder}"):
        load_policy(str(folder.parent))
    with pytest.raises(InputError, match="no dtype 'int8'; there are float32"):
        load_policy(str(folder), dtype="int8")


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
@pytest.mark.parametrize("content", [b"", b"{", b'{"model_type": "x"}', None], ids=["empty", "torn", "odd", "none"])
def test_a_damaged_file_is_not_loaded(folder: Path, name: str, content: bytes | None) -> None:
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(content)
    with pytest.raises(InputError, match=rf"{folder}"):
        load_policy(str(folder))


def test_a_full_disk_leaves_the_older_policy(
    folder: Path, tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def full(*_: object, **__: object) -> None:
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(tiny_model, "save_pretrained", full)
    with pytest.raises(OSError, match="No space left on device") as caught:
        save_policy(tiny_model, tokenizer, folder)
    assert caught.value.errno == errno.ENOSPC
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in folder.parent.iterdir()] == ["policy"]


IDS = torch.arange(5, 25)[None]


def moved_adapters(model: PreTrainedModel) -> PreTrainedModel:
    """As if trained: no adapter says nothing any more."""
    stream = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad:
                weight.add_(torch.randn(weight.shape, generator=stream), alpha=0.05)
    return model


def test_an_adapter_says_nothing_at_first_and_is_all_that_is_trained(tiny_model: PreTrainedModel) -> None:
    before = tiny_model(input_ids=IDS).logits
    linears = {name for name, module in tiny_model.base_model.named_modules() if isinstance(module, torch.nn.Linear)}
    assert not has_adapter(tiny_model)
    add_lora(tiny_model, rank=4, seed=0)
    assert has_adapter(tiny_model)
    assert torch.equal(tiny_model(input_ids=IDS).logits, before)
    trained = {name: weight for name, weight in tiny_model.base_model.named_parameters() if weight.requires_grad}
    assert trained.keys() == {f"{name}.lora_{half}.default.weight" for name in linears for half in "AB"}
    assert {min(weight.shape) for weight in trained.values()} == {4}
    assert not any(weight.requires_grad for weight in tiny_model.get_output_embeddings().parameters())


def test_an_adapter_by_hand(tiny_model: PreTrainedModel) -> None:
    x = torch.randn(3, 32)
    layer = tiny_model.base_model.layers[0].self_attn.q_proj  # type: ignore[union-attr, index]
    before = layer(x)
    add_lora(tiny_model, rank=2, seed=0)
    layer = moved_adapters(tiny_model).base_model.layers[0].self_attn.q_proj  # type: ignore[union-attr, index]
    # alpha / rank = 2 * 2 / 2 = 2
    added = 2 * x @ layer.lora_A.default.weight.T @ layer.lora_B.default.weight.T
    torch.testing.assert_close(layer(x), before + added)


def test_the_seed_alone_decides_what_an_adapter_begins_with(tokenizer: PreTrainedTokenizerBase) -> None:
    def first(seed: int) -> torch.Tensor:
        model, _ = load_policy("embedded")
        add_lora(model, rank=2, seed=seed)
        return next(weight for weight in model.parameters() if weight.requires_grad)

    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    weight = first(0)
    assert torch.equal(torch.rand(1), expected)  # whoever else draws sees nothing of it
    assert torch.equal(weight, first(0))
    assert not torch.equal(weight, first(1))


def test_without_peft_the_way_out_is_named(tiny_model: PreTrainedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(InputError, match=r"LoRA needs peft, which is not here .*: pip install 'markscheme\[lora\]'"):
        add_lora(tiny_model, rank=2, seed=0)


def test_with_its_adapter_off_the_model_is_the_initial_one(tiny_model: PreTrainedModel) -> None:
    before = tiny_model(input_ids=IDS).logits
    add_lora(tiny_model, rank=4, seed=0)
    moved_adapters(tiny_model).train()
    after = tiny_model(input_ids=IDS).logits
    assert (after - before).abs().max() > 0.01
    trained = [name for name, weight in tiny_model.named_parameters() if weight.requires_grad]
    with adapter_off(tiny_model):
        assert not tiny_model.training  # a reference has no dropout
        assert torch.equal(tiny_model(input_ids=IDS).logits, before)
    assert tiny_model.training
    assert torch.equal(tiny_model(input_ids=IDS).logits, after)
    assert [name for name, weight in tiny_model.named_parameters() if weight.requires_grad] == trained


def test_the_adapter_is_on_again_after_an_error(tiny_model: PreTrainedModel) -> None:
    add_lora(tiny_model, rank=4, seed=0)
    after = moved_adapters(tiny_model)(input_ids=IDS).logits

    def fails() -> None:
        with adapter_off(tiny_model):
            raise KeyError("inside")

    with pytest.raises(KeyError):
        fails()
    assert torch.equal(tiny_model(input_ids=IDS).logits, after)


def test_a_model_without_an_adapter_cannot_turn_it_off(tiny_model: PreTrainedModel) -> None:
    with pytest.raises(ValueError, match="Qwen2ForCausalLM has no adapter"), adapter_off(tiny_model):
        pass


def test_an_adapter_is_merged_into_the_folder(
    tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    plain = tiny_model.state_dict().keys()
    add_lora(tiny_model, rank=4, seed=0)
    moved_adapters(tiny_model)
    before = {name: tensor.clone() for name, tensor in tiny_model.state_dict().items()}
    save_policy(tiny_model, tokenizer, tmp_path / "policy")
    assert not list((tmp_path / "policy").glob("adapter*"))
    loaded, _ = load_policy(str(tmp_path / "policy"))
    assert type(loaded) is type(tiny_model)
    assert loaded.state_dict().keys() == plain == dict(plain_weights(tiny_model)).keys()
    torch.testing.assert_close(loaded(input_ids=IDS).logits, tiny_model(input_ids=IDS).logits, atol=1e-5, rtol=1e-5)
    for name, tensor in tiny_model.state_dict().items():  # training goes on with what it had
        assert torch.equal(tensor, before[name]), name


def test_an_adapter_of_a_bfloat16_model_is_bfloat16_and_merged_by_float32() -> None:
    model, _ = load_policy("embedded", dtype="bfloat16")
    name = "model.layers.1.mlp.up_proj"
    weight = model.state_dict()[f"{name}.weight"].clone()
    add_lora(model, rank=4, seed=0)
    layer = moved_adapters(model).get_submodule(name)
    assert {weight.dtype for weight in model.parameters()} == {torch.bfloat16}
    expected = weight.float() + layer.get_delta_weight("default").float()  # type: ignore[operator]
    assert torch.equal(dict(plain_weights(model))[f"{name}.weight"], expected.bfloat16())


def test_a_model_without_gradient_checkpointing_is_named(
    tiny_model: PreTrainedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiny_model, "supports_gradient_checkpointing", False)
    with pytest.raises(InputError, match="Qwen2ForCausalLM has no gradient checkpointing: leave it out"):
        checkpoint_gradients(tiny_model)
