import errno
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerBase

from markscheme.files import InputError
from markscheme.models import fingerprint, load_policy, save_policy
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
    with pytest.raises(InputError, match=r"no config\.json in this folder, so it holds no model"):
        load_policy(str(tmp_path))
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
