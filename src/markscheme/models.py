"""Loading and saving policies: the embedded one, a folder, or a model of the hub."""

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)
from transformers.models.auto.tokenization_auto import get_tokenizer_config

from markscheme.files import InputError, whole_folder

EMBEDDED = "embedded"
"""The name of the small policy that comes with the package."""
FEWEST_TOKENS = 16  # without its vocabulary file, a tokenizer loads all the same, with its special tokens only


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
    try:
        with no_progress_bars():
            tokenizer = load_tokenizer(source, revision)
            model = AutoModelForCausalLM.from_pretrained(source, revision=revision, dtype=getattr(torch, dtype))
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        kind = "the files in this folder are no model" if Path(source).is_dir() else "no folder here, nor a hub model"
        reason = str(error).partition("\n")[0]
        raise InputError(f"cannot load the model {name!r}: {kind} ({reason})") from error
    if len(tokenizer) < FEWEST_TOKENS:
        raise InputError(f"the tokenizer of {name!r} has {len(tokenizer)} tokens only: a file of it must be missing")
    torch.nn.Module.to(model, "cuda" if torch.cuda.is_available() else "cpu")  # the model's own `to` is untyped
    return model, tokenizer


def load_tokenizer(source: str, revision: str | None = None) -> PreTrainedTokenizerBase:
    """A tokenizer as it was saved.

    For some types of model, Qwen2 among them, AutoTokenizer puts the pre-tokenizer, the normaliser and the special
    tokens of the original in the place of a tokenizer's own: it would read text otherwise than the model learned.
    """
    saved_as = get_tokenizer_config(source, revision=revision).get("tokenizer_class")
    kind: Any = PreTrainedTokenizerFast if saved_as == PreTrainedTokenizerFast.__name__ else AutoTokenizer
    tokenizer: PreTrainedTokenizerBase = kind.from_pretrained(source, revision=revision)
    return tokenizer


def save_policy(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Writes model and tokenizer as a folder that `load_policy` and other libraries read; whole or not at all.

    Raises:
        OSError: if they cannot be written.
    """
    with whole_folder(folder) as partial:
        write_pretrained(model, tokenizer, partial)


def write_pretrained(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Writes the files of model and tokenizer.

    Raises:
        OSError: if they cannot be written.
    """
    try:
        with no_progress_bars():
            model.save_pretrained(folder)
    except SafetensorError as error:  # what becomes of a full disk
        number = re.search(r"os error (\d+)", str(error))
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1]))) from error
    tokenizer.save_pretrained(folder)


def fingerprint(model: PreTrainedModel, tokenizer: Any) -> str:
    """Names weights, tokenizer and chat template by their content: a changed checkpoint has another one."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().contiguous().cpu().view(torch.uint8).numpy().data)
    digest.update(repr(sorted(tokenizer.get_vocab().items())).encode())
    digest.update(repr(tokenizer.chat_template).encode())
    return digest.hexdigest()[:16]


@contextmanager
def no_progress_bars() -> Iterator[None]:
    """The bars of transformers say nothing about a model that is read in seconds."""
    were_on = transformers.utils.logging.is_progress_bar_enabled()
    transformers.utils.logging.disable_progress_bar()
    try:
        yield
    finally:
        if were_on:
            transformers.utils.logging.enable_progress_bar()
