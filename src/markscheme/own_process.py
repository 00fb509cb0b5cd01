"""A part of a measurement in a process of its own, so that its processor time and its memory are its own."""

import json
import os
import subprocess
import sys
from typing import Any

from markscheme.files import InputError

ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive", "HF_HUB_OFFLINE": "1"}


def run_module(module: str, *arguments: object) -> dict[str, Any]:
    """Runs `python -m module arguments` on one thread, without the hub; what it prints last is its result, in JSON.

    Raises:
        InputError: if it fails, with the last line of its complaint.
    """
    command = [sys.executable, "-m", module, *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, env=os.environ | ENVIRONMENT)
    if result.returncode:
        reason = result.stderr.strip().splitlines()[-1:] or [f"exit code {result.returncode}"]
        raise InputError(reason[0])
    found: dict[str, Any] = json.loads(result.stdout.strip().splitlines()[-1])
    return found
