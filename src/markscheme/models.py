"""Loading and saving policies: the embedded one, a folder, or a model of the hub."""

import hashlib
import shutil
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from markscheme.files import InputError

EMBEDDED = "embedded"
"""The name of the small policy that comes with the package."""


def load_policy(
    name: str, revision: str | None = None, dtype: str = "float32"
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A causal language model and its tokenizer, on the GPU where there is one.

    Args:
        name: "embedded", a folder, or a hub id.
        revision: The commit of a hub model.
        dtype: float32, bfloat16 or float16.

    Raises:
        InputError: if there is no such model, or it is not a causal language model.
    """
    if dtype not in ("float32", "bfloat16", "float16"):
        raise InputError(f"no dtype {dtype!r}; there are float32, bfloat16, float16")
    source = str(Path(__file__).parent / "policy") if name == EMBEDDED else name
    if Path(source).is_dir() and not (Path(source) / "config.json").exists():
        raise InputError(f"{source}: no config.json in this folder, so it holds no model")
    progress_bar_was_on = transformers.utils.logging.is_progress_bar_enabled()
    transformers.utils.logging.disable_progress_bar()
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, revision=revision)
        model = AutoModelForCausalLM.from_pretrained(source, revision=revision, dtype=getattr(torch, dtype))
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"cannot load the model {name!r}: it is neither a folder here nor a hub model ({reason})"
        ) from error
    finally:
        if progress_bar_was_on:
            transformers.utils.logging.enable_progress_bar()
    torch.nn.Module.to(model, "cuda" if torch.cuda.is_available() else "cpu")  # the model's own `to` is untyped
    return model, tokenizer


def save_policy(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Writes model and tokenizer as a folder that `load_policy` and other libraries read; whole or not at all."""
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    model.save_pretrained(partial)
    tokenizer.save_pretrained(partial)
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)


def fingerprint(model: PreTrainedModel, tokenizer: Any) -> str:
    """Names weights, tokenizer and chat template by their content: a changed checkpoint has another one."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().contiguous().cpu().view(torch.uint8).numpy().data)
    digest.update(repr(sorted(tokenizer.get_vocab().items())).encode())
    digest.update(repr(tokenizer.chat_template).encode())
    return digest.hexdigest()[:16]
