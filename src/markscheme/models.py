"""Loading and saving policies: the embedded one, a folder, or a model of the hub; adapters on them."""

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)
from transformers.models.auto.tokenization_auto import get_tokenizer_config

from markscheme import parallel
from markscheme.files import InputError, StrPath, whole_folder
from markscheme.parallel import whole

EMBEDDED = "embedded"
"""The name of the small policy that comes with the package."""
ADAPTER = "default"  # the name that peft gives to the first one
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
    with _source(name) as source, no_progress_bars():
        tokenizer = load_tokenizer(source, revision)
        model = AutoModelForCausalLM.from_pretrained(source, revision=revision, dtype=getattr(torch, dtype))
    if len(tokenizer) < FEWEST_TOKENS:
        raise InputError(f"the tokenizer of {name!r} has {len(tokenizer)} tokens only: a file of it must be missing")
    nn.Module.to(model, "cuda" if torch.cuda.is_available() else "cpu")  # the model's own `to` is untyped
    return model, tokenizer


def load_classifier(
    name: str, revision: str | None = None, *, dtype: str = "float32", seed: int = 0
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase, bool]:
    """A model that classifies sequences into one class, its tokenizer, and whether its head is new, drawn by `seed`.
    Else as `load_policy`; encoders too.

    Raises:
        InputError: if there is no such model, or transformers cannot classify sequences with it.
    """
    with _source(name) as source, no_progress_bars(), torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        tokenizer = load_tokenizer(source, revision)
        model, found = AutoModelForSequenceClassification.from_pretrained(
            source, revision=revision, num_labels=1, dtype=getattr(torch, dtype), output_loading_info=True
        )
    nn.Module.to(model, "cuda" if torch.cuda.is_available() else "cpu")
    return model, tokenizer, bool(found["missing_keys"])


def load_config(name: str, revision: str | None = None) -> PretrainedConfig:
    """The sizes of a policy, without its weights; else as `load_policy`.

    Raises:
        InputError: if there is no such model.
    """
    with _source(name) as source:
        config: PretrainedConfig = AutoConfig.from_pretrained(source, revision=revision)
    return config


@contextmanager
def _source(name: str) -> Iterator[str]:
    """Where the files of a model are.

    Raises:
        InputError: if they are not there, or the block cannot read them.
    """
    source = str(Path(__file__).parent / "policy") if name == EMBEDDED else name
    if Path(source).is_dir() and not (Path(source) / "config.json").exists():
        if (Path(source) / "policy" / "config.json").exists():
            raise InputError(f"{source}: a run folder; its policy is {Path(source) / 'policy'}")
        raise InputError(f"{source}: no config.json in this folder, so it holds no model")
    try:
        yield source
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        kind = "the files in this folder are no model" if Path(source).is_dir() else "no folder here, nor a hub model"
        reason = str(error).partition("\n")[0]
        raise InputError(f"cannot load the model {name!r}: {kind} ({reason})") from error


def load_tokenizer(source: str, revision: str | None = None) -> PreTrainedTokenizerBase:
    """A tokenizer as it was saved.

    For some types of model, Qwen2 among them, AutoTokenizer puts the pre-tokenizer, the normaliser and the special
    tokens of the original in the place of a tokenizer's own: it would read text otherwise than the model learned.
    """
    saved_as = get_tokenizer_config(source, revision=revision).get("tokenizer_class")
    kind: Any = PreTrainedTokenizerFast if saved_as == PreTrainedTokenizerFast.__name__ else AutoTokenizer
    tokenizer: PreTrainedTokenizerBase = kind.from_pretrained(source, revision=revision)
    return tokenizer


def save_policy(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: StrPath) -> None:
    """Writes model and tokenizer as a folder that `load_policy` and other libraries read; whole or not at all. Of
    several processes all must call this, and the first one writes.

    Raises:
        OSError: if they cannot be written.
    """
    is_first, is_alone = parallel.is_first(), parallel.count() == 1
    weights = {name: w if is_alone else w.cpu() for name, w in plain_weights(model) if is_first}
    if is_first:
        with whole_folder(Path(folder)) as partial:
            write_pretrained(model, tokenizer, partial, weights)


def write_pretrained(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    weights: Mapping[str, Tensor] | None = None,
) -> None:
    """Writes the files of model and tokenizer; an adapter is merged, so that the files are a plain model's.

    Raises:
        OSError: if they cannot be written.
    """
    try:
        with no_progress_bars():
            model.save_pretrained(folder, state_dict=dict(weights or plain_weights(model)))
    except SafetensorError as error:  # what becomes of a full disk
        number = re.search(r"os error (\d+)", str(error))
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1]))) from error
    tokenizer.save_pretrained(folder)


def add_lora(model: PreTrainedModel, rank: int, seed: int) -> None:
    """Puts low-rank adapters on all linear layers of the trunk, in place; from here on only these are trained.

    h = W x + (alpha / rank) B A x  (Hu et al. 2021, arXiv:2106.09685, eq. 3 and section 4.1), alpha = 2 * rank as in
    TRL's defaults: the factor is 2 whatever the rank, so another rank does not ask for another learning rate.
    B is 0 at first, and the model says what it said before; A is drawn by `seed`. Both have the dtype of W.

    Raises:
        InputError: if peft is not installed.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ModuleNotFoundError as error:
        raise InputError(f"LoRA needs peft, which is not here ({error}): pip install 'markscheme[lora]'") from error
    config = LoraConfig(r=rank, lora_alpha=2 * rank, lora_dropout=0.0, target_modules="all-linear")
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # the weights are drawn on the CPU
        inject_adapter_in_model(config, model)


def has_adapter(model: nn.Module) -> bool:
    """Whether `add_lora` has been here."""
    return bool(_adapted_layers(model))


@contextmanager
def adapter_off(model: nn.Module) -> Iterator[None]:
    """The model as it was before `add_lora`, and without dropout: a reference that takes no memory of its own.

    Raises:
        ValueError: if it has no adapter.
    """
    layers = _adapted_layers(model).values()
    if not layers:
        raise ValueError(f"{type(model).__name__} has no adapter that could be off")
    was_training = model.training
    model.eval()
    try:
        for layer in layers:
            layer.enable_adapters(False)
        yield
    finally:
        for layer in layers:
            layer.enable_adapters(True)
        model.train(was_training)


@torch.no_grad()
def plain_weights(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """The weights of the plain model, whole and one at a time: W + (alpha / rank) B A where there is an adapter, all
    else as it is. Where each process has a part, all must go through it together.
    """
    layers = _adapted_layers(model)
    for name, tensor in model.state_dict().items():
        owner, is_base, rest = name.partition(".base_layer.")
        if is_base and rest == "weight":
            tensor = (tensor.float() + layers[owner].get_delta_weight(ADAPTER).float()).to(tensor.dtype)
        if is_base:
            yield f"{owner}.{rest}", whole(tensor)
        elif name.split(".lora_")[0] not in layers:
            yield name, whole(tensor)


def _adapted_layers(model: nn.Module) -> dict[str, Any]:
    """The layers that peft has put adapters on, by name; peft need not be installed where there are none."""
    return {name: module for name, module in model.named_modules() if hasattr(module, "lora_A")}


def checkpoint_gradients(model: PreTrainedModel) -> None:
    """Has each layer forget its activations in training and work them out again for the backward pass
    (Chen et al. 2016, arXiv:1604.06174): less memory, one more forward pass, the same gradients.

    Raises:
        InputError: if the model cannot do that.
    """
    try:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    except ValueError as error:
        raise InputError(f"{type(model).__name__} has no gradient checkpointing: leave it out") from error


def fingerprint(model: nn.Module, tokenizer: Any) -> str:
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
    """The bars of transformers say nothing about a model that is read in seconds, and its warnings of weights that a
    file lacks or has too many nothing that is not meant.
    """
    log = transformers.utils.logging
    were_on, verbosity = log.is_progress_bar_enabled(), log.get_verbosity()
    log.disable_progress_bar()
    log.set_verbosity_error()
    try:
        yield
    finally:
        log.set_verbosity(verbosity)
        if were_on:
            log.enable_progress_bar()
