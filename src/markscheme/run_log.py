"""A run's folder: its settings, one line of metrics a step, and nothing that a kill could leave torn."""

import dataclasses
import importlib.metadata
import json
import platform
import tomllib
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from markscheme.files import InputError, StrPath, drop_torn_line, read_jsonl, write_json, write_text

SHOWN_DIFFERENCES = 4
RECORDED = ("markscheme", "math-verify", "sympy", "torch", "transformers")


class StoppedError(RuntimeError):
    """A run stopped itself, since what it learns from cannot be trusted or had; mended, it goes on."""


class RunLog:
    """Writes a run folder.

    `metrics.jsonl` holds what the seed determines: two runs of one seed agree in every byte. What the machine
    determines (seconds) is in `timings.jsonl`. `config.toml` is the record of the settings, `versions.json` of the
    software that the run began with.
    """

    def __init__(self, folder: StrPath, config: Mapping[str, Any], *, writes: bool = True) -> None:
        """Opens a new folder, or one of a run with the same settings in order to go on.

        Args:
            writes: whether this process writes it; of several, one does.

        Raises:
            InputError: if the folder belongs to a run with other settings.
        """
        folder = Path(folder)
        self.folder, self.writes = folder, writes
        if not writes:
            return
        text = to_toml(config)
        path = folder / "config.toml"
        if path.exists() and path.read_text(encoding="utf-8") != text:
            raise InputError(
                f"{folder} holds a run with other settings ({_difference(path, text)}): choose another --out"
            )
        if not path.exists():
            if folder.exists() and any(found.name != f".{path.name}.partial" for found in folder.iterdir()):
                raise InputError(f"{folder} is not empty and holds no run: choose another --out")
            write_text(path, text)
        self._check_versions()

    def _check_versions(self) -> None:
        """Going on with other software is allowed, but then a run is not what it would have been."""
        path = self.folder / "versions.json"
        if not path.exists():
            write_json(path, versions())
            return
        began_with = json.loads(path.read_text(encoding="utf-8"))
        changed = [
            f"{name} {began_with.get(name)} -> {version}"
            for name, version in versions().items()
            if began_with.get(name) != version
        ]
        if changed:
            message = f"{self.folder} goes on with other software ({', '.join(changed)}): not as if never interrupted"
            warnings.warn(message, stacklevel=3)

    def write(self, step: int, metrics: Mapping[str, Any], timings: Mapping[str, float]) -> None:
        """Appends one line to each of the two logs."""
        for name, values in (("metrics.jsonl", metrics), ("timings.jsonl", timings)):
            self.append(name, {"step": step, **values})

    def append(self, name: str, record: Mapping[str, Any]) -> None:
        """Appends one JSON line, with its `step`, to another log of the run."""
        if not self.writes:
            return
        with (self.folder / name).open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def read(self, name: str = "metrics.jsonl") -> list[dict[str, Any]]:
        """The records written so far."""
        path = self.folder / name
        return [record for _, record in read_jsonl(path)] if path.exists() else []

    def rewind(self, step: int) -> None:
        """Drops every record after `step`: a run that goes on from a checkpoint writes them again."""
        for path in self.folder.glob("*.jsonl") if self.writes else ():
            drop_torn_line(path)
            kept = [record for record in self.read(path.name) if record["step"] <= step]
            write_text(path, "".join(json.dumps(record) + "\n" for record in kept))


def versions(*more: str) -> dict[str, str]:
    """Of Python, of what decides the numbers, and of `more`, as far as they are installed."""
    found = {"python": platform.python_version()}
    for name in (*RECORDED, *more):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def to_toml(config: Mapping[str, Any], prefix: str = "") -> str:
    """Settings as TOML: plain values first, then a table for each nested mapping or dataclass."""
    plain, tables = [], []
    for name, value in config.items():
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            value = dataclasses.asdict(value)
        if isinstance(value, Mapping):
            tables.append(f"\n[{prefix}{name}]\n{to_toml(value, f'{prefix}{name}.')}")
        elif value is not None:
            plain.append(f"{name} = {_toml_value(value)}\n")
    return "".join(plain + tables)


def _toml_value(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml_value, value))}]"
    scalar = value if isinstance(value, bool | int | float | str) else str(value)
    return json.dumps(scalar, ensure_ascii=False).replace("\x7f", "\\u007f")  # else a JSON scalar is a TOML scalar


def _difference(path: Path, new_text: str) -> str:
    """The settings that differ, for a message."""
    old, new = _flat(tomllib.loads(path.read_text(encoding="utf-8"))), _flat(tomllib.loads(new_text))
    found = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    telling = [name for name in found if not name.endswith(("sha256", "fingerprint"))] or found  # they follow others
    shown = "; ".join(f"{name} was {old.get(name)!r}, is {new.get(name)!r}" for name in telling[:SHOWN_DIFFERENCES])
    more = len(telling) - SHOWN_DIFFERENCES
    return f"{shown}; and {more} more" if more > 0 else shown or "written differently"


def _flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in table.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return flat
