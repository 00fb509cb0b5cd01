"""`python -m markscheme.vllm_serve MODEL [options of vllm serve]`: a vLLM server that a trainer can give weights.

It answers this machine only, unless --host says otherwise: whoever can reach it can change its weights.
"""

import importlib.util
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from markscheme.files import InputError

BACKEND = "safetensors"
"""The way of transfer that `vllm_weights` adds to vLLM."""
CPU_CACHE_BYTES = 1 << 30
"""Of keys and values: on a CPU, vLLM wants nearly all memory by default."""
OPTIONS = {
    "--host": "127.0.0.1",
    "--dtype": "float32",  # as the trainer's default
    "--logprobs-mode": "processed_logprobs",  # of the distribution that was drawn from
    "--worker-extension-cls": "markscheme.vllm_weights.Extension",
    "--weight-transfer-config": json.dumps({"backend": BACKEND}),
}
ON_CPU = [
    *("--enforce-eager", "--block-size", "32"),
    *("--kv-cache-memory-bytes", str(CPU_CACHE_BYTES)),
    "--no-enable-chunked-prefill",  # half a prompt would rewind its seed, which a CPU cannot
]


def command_of(arguments: Sequence[str]) -> list[str]:
    """What starts the server; options that are given come last and overrule ours.

    Raises:
        InputError: if no model is named, or vLLM is not installed.
    """
    if not arguments or arguments[0].startswith("-"):
        raise InputError("name a model first: a folder, a hub id, or embedded")
    if importlib.util.find_spec("vllm") is None:
        raise InputError("vLLM is not installed: see docs/rollouts.md")
    model, *given = arguments
    if model == "embedded":
        model = str(Path(__file__).parent / "policy")
    ours = [word for option in OPTIONS.items() for word in option]
    if not torch.cuda.is_available():
        ours += ON_CPU
    entry = "vllm.entrypoints.openai.api_server"  # as `vllm serve`, which the CPU build does not have
    return [sys.executable, "-m", entry, "--model", model, "--enable-scale-out", *ours, *given]


def main() -> None:
    try:
        command = command_of(sys.argv[1:])
    except InputError as error:
        print(f"markscheme: {error}", file=sys.stderr)
        sys.exit(2)
    os.execve(command[0], command, os.environ | {"VLLM_SERVER_DEV_MODE": "1"})


if __name__ == "__main__":
    main()
