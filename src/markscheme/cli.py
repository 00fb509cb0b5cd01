"""The command line. Each command lives in `markscheme.commands` and is imported when it is called."""

import errno
import math
import os
import sys
import tomllib
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields, is_dataclass
from inspect import BoundArguments
from pathlib import Path
from typing import Any

from cyclopts import App, CycloptsError, Parameter, UnusedCliTokensError
from cyclopts.config import Dict, Toml
from rich.console import Console

from markscheme import __version__
from markscheme.files import InputError
from markscheme.run_log import StoppedError
from markscheme.scoring import GoldError

COMMANDS = {
    "quickstart": "The whole story on the embedded policy: evaluate, train, evaluate again, report.",
    "score": "Score the completions in a file.",
    "serve": "Score over HTTP.",
    "evaluate": "Measure a policy on a task.",
    "compare": "Compare two evaluations, problem by problem.",
    "regrade": "Judge the completions in a log of this or another harness again.",
    "contamination": "Look for the problems of an evaluation in what was trained on.",
    "sft": "Fine-tune a model on worked solutions.",
    "rft": "Fine-tune a model on its own correct completions.",
    "dpo": "Train a model to prefer its own correct completions to its incorrect ones.",
    "grpo": "Train a policy by GRPO on the verdicts of a verifier or the ratings of a reward model.",
    "plan": "What a GRPO run needs: memory, and the seconds of a step.",
    "pairs": "Make preference pairs from completions and their verdicts.",
    "train-reward-model": "Train a reward model on preference pairs or labelled steps.",
    "evaluate-reward-model": "Measure a reward model on preference pairs or labelled steps.",
    "best-of-n": "Choose among completions by a reward model.",
}

USAGE_ERROR = 2
INTERRUPTED = 130


def make_app() -> App:
    """The command line as cyclopts sees it."""
    app = App(
        name="markscheme",
        version=__version__,
        help="Score mathematics, train on the scores, measure what changed.",
        default_parameter=Parameter(negative_iterable=()),  # no --empty-betas
    )
    for place, (name, help_text) in enumerate(COMMANDS.items()):
        function = name.replace("-", "_")
        app.command(f"markscheme.commands.{function}:{function}", name=name, help=help_text, sort_key=place)
    return app


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs a command. Bad input ends in one line on stderr and exit code 2."""
    tokens = list(sys.argv[1:] if arguments is None else arguments)
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        sys.exit(run(tokens))
    if tokens[:1] not in (["grpo"], ["--help"]):
        sys.exit(_complain(InputError(f"{' '.join(tokens[:1])} works in one process only: leave out torchrun")))
    from markscheme import parallel  # which imports torch

    code = 0
    with suppress(_FailedError), parallel.processes():
        code = run(tokens)
        if code:
            raise _FailedError  # out of `processes` at once: torchrun ends the others
    parallel.end(code)


class _FailedError(Exception):
    """A command has said why, and ends with its code."""


def run(tokens: list[str]) -> int:
    """Runs a command and returns its exit code."""
    warnings.showwarning = _print_warning
    try:
        command, bound = bind(tokens)
    except UnusedCliTokensError as error:
        return _complain(InputError(f"do not know what to do with {' '.join(error.unused_tokens or ())}; see --help"))
    except (CycloptsError, ValueError, OSError) as error:
        return _complain(error)
    except ImportError as error:
        if not isinstance(error.__cause__, ModuleNotFoundError):
            raise
        needed = f"markscheme {tokens[0]} needs {error.__cause__.name}, which is not installed"
        extra = "serve" if tokens[0] == "serve" else "train"
        return _complain(InputError(f"{needed}: pip install 'markscheme[{extra}]'"))
    except KeyboardInterrupt:  # while a command was imported, which takes seconds
        return _interrupted()
    try:
        result = command(*bound.args, **bound.kwargs)
    except (InputError, GoldError, OSError, FloatingPointError) as error:
        return _complain(error)
    except StoppedError as error:
        return _complain(InputError(f"stopped: {error}"))
    except RuntimeError as error:
        if "gloo" not in str(error) and "NCCL" not in str(error):
            raise
        return _complain(InputError("another process has gone; give the same command again to go on"))
    except KeyboardInterrupt:
        return _interrupted()
    return result if isinstance(result, int) else 0


def bind(tokens: list[str]) -> tuple[Callable[..., Any], BoundArguments]:
    """The function that a command line calls, and with what; nothing is run yet.

    Raises:
        CycloptsError: if an option is unknown, missing or of another type.
        ValueError, OSError: if a setting is refused.
    """
    _check_command(tokens)
    app = make_app()
    app.config = (*_settings_file(tokens), *_preset(tokens))
    command, bound, _ = app.parse_args(tokens, exit_on_error=False, print_error=False)
    _check_numbers(bound.arguments)
    return command, bound


def _check_command(tokens: list[str]) -> None:
    """Names an unknown command before any command is imported, which takes seconds."""
    if tokens and not tokens[0].startswith("-") and tokens[0] not in COMMANDS:
        raise InputError(f"no command {tokens[0]!r}; there are {', '.join(COMMANDS)}")


def _check_numbers(arguments: Mapping[str, Any]) -> None:
    """NaN and infinity are numbers to `float`, but no setting."""
    for name, value in arguments.items():
        if is_dataclass(value) and not isinstance(value, type):
            _check_numbers({field.name: getattr(value, field.name) for field in fields(value)})
        elif isinstance(value, float) and not math.isfinite(value):
            raise InputError(f"{name} must be a finite number, got {value}")


def _settings_file(tokens: list[str]) -> tuple[Toml, ...]:
    """`--config FILE.toml`: the options of the command, which the command line overrules."""
    path = _value_of("--config", tokens)
    if path is None:
        return ()
    if not path:
        raise InputError("--config needs a TOML file of options")
    if not Path(path).is_file():
        raise InputError(f"--config {path}: no such file")
    try:
        tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"--config {path}: not TOML ({error})") from error
    return (Toml(path, must_exist=True, use_commands_as_keys=False),)


def _preset(tokens: list[str]) -> tuple[Dict, ...]:
    """`--preset NAME`: options that come with the program, which a file and the command line overrule."""
    name = _value_of("--preset", tokens)
    if name is None or tokens[0] not in ("grpo", "plan"):
        return ()
    from markscheme.grpo.config import PRESETS, preset_options  # which imports torch

    if name not in PRESETS:
        raise InputError(f"no preset {name!r}; there are {', '.join(PRESETS)}")
    return (Dict(preset_options(name), source=f"--preset {name}", use_commands_as_keys=False),)


def _value_of(option: str, tokens: list[str]) -> str | None:
    for position, token in enumerate(tokens):
        name, equals, value = token.partition("=")
        if name == option:
            return value if equals else "".join(tokens[position + 1 : position + 2])
    return None


def _interrupted() -> int:
    print("\nstopped; give the same command again to go on", file=sys.stderr)
    return INTERRUPTED


def _complain(error: Exception) -> int:
    message = " ".join(_words(error).split())
    who = f"markscheme, process {os.environ['RANK']}" if "RANK" in os.environ else "markscheme"
    Console(stderr=True, soft_wrap=True, highlight=False, markup=False).print(f"{who}: {message}")
    return USAGE_ERROR


def _words(error: Exception) -> str:
    """What happened, the file it happened to, and the way out."""
    if not isinstance(error, OSError) or error.strerror is None:
        return str(error)
    words = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return f"{words}; make room and give the same command again" if error.errno == errno.ENOSPC else words


def _print_warning(message: Warning | str, *_: object, **__: object) -> None:
    print(f"markscheme: warning: {message}", file=sys.stderr)
