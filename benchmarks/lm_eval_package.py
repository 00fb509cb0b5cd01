"""The files of the installed lm_eval package: settings of its tasks, and single functions of theirs.

Nothing of it is imported. A task's Python file holds its grader too, which may need what cannot be installed beside
this package: minerva_math's asks for another antlr than math-verify brings.
"""

import __future__

import ast
import importlib.metadata
import importlib.util
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from markscheme.files import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionTag:
    """`!function utils.doc_to_text` in a task's settings, not yet looked at."""

    folder: Path
    name: str


def installed_version() -> str:
    """Of lm_eval, for a record."""
    try:
        return importlib.metadata.version("lm_eval")
    except importlib.metadata.PackageNotFoundError:  # a folder on the path that nobody installed
        return "of unknown version"


def task_settings(task: str) -> dict[str, Any]:
    """What the YAML file of a task says, and the files that it includes.

    Raises:
        InputError: if lm_eval is not installed, has no such task, or a file cannot be read.
    """
    spec = importlib.util.find_spec("lm_eval")
    if spec is None or not spec.submodule_search_locations:
        raise InputError("needs lm_eval, which is not installed (pip install lm_eval)")
    return _read(_find(task, Path(spec.submodule_search_locations[0]) / "tasks"))


def _find(task: str, folder: Path) -> Path:
    """The file of a task: the first by path where several have its name, as lm-eval has it."""
    line = re.compile(rb"^(task|group):[ \t]*[\"']?" + re.escape(task.encode()) + rb"[\"']?[ \t]*(?:#.*)?\r?$", re.M)
    groups = []
    for path in sorted(folder.rglob("*.yaml"), key=Path.as_posix):
        found = line.search(path.read_bytes())
        if found and found[1] == b"task":
            return path
        if found:
            groups.append(path)
    if groups:
        raise InputError(f"is a group of tasks: name one of those listed in {groups[0]}")
    raise InputError(f"is no task of lm_eval {installed_version()} (`lm-eval ls tasks` lists them)")


def _read(path: Path) -> dict[str, Any]:
    """The settings in a file, over those that it includes; of two included ones, the second counts."""

    class Loader(yaml.SafeLoader):
        """Knows in which folder the file's functions stand."""

    Loader.add_constructor("!function", lambda _, node: FunctionTag(folder=path.parent, name=str(node.value)))
    try:
        own = yaml.load(path.read_bytes(), Loader)
    except (yaml.YAMLError, OSError) as error:
        raise InputError(f"cannot be read ({' '.join(str(error).split())})") from error
    if not isinstance(own, dict):
        raise InputError(f"cannot be read ({path} holds no settings)")
    includes = own.pop("include", [])
    settings: dict[str, Any] = {}
    for include in [includes] if isinstance(includes, str) else includes:
        settings |= _read(path.parent / include)
    return settings | own


def load_function(tag: FunctionTag) -> Callable[..., Any]:
    """One function out of its file, with the standard modules that the file imports and nothing else of the file.

    Raises:
        InputError: if there is no such function.
    """
    module, _, name = tag.name.rpartition(".")
    path = tag.folder / f"{module.replace('.', '/')}.py"
    statements = ast.parse(path.read_bytes()).body if path.is_file() else []
    definitions = [one for one in statements if isinstance(one, ast.FunctionDef) and one.name == name]
    if not definitions:
        raise InputError(f"has its function {tag.name} elsewhere than in {path}, which is not supported")
    body = [*filter(_imports_standard_modules, statements), definitions[-1]]
    # Annotations stay text: they may name what is not imported.
    code = compile(ast.Module(body=body, type_ignores=[]), path, "exec", flags=__future__.annotations.compiler_flag)
    namespace: dict[str, Any] = {}
    exec(code, namespace)  # a part of a package that the user has installed and named, never a model's text
    function: Callable[..., Any] = namespace[name]
    return function


def call(function: Callable[..., Any], *arguments: Any) -> Any:
    """What a loaded function returns.

    Raises:
        InputError: if it needs more of its file, or more columns than there are.
    """
    try:
        return function(*arguments)
    except (NameError, KeyError) as error:
        name = getattr(function, "__name__", "function")
        raise InputError(f"has a function {name} that needs more than is known here ({error})") from error


def _imports_standard_modules(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.Import):
        modules = [alias.name for alias in statement.names]
    elif isinstance(statement, ast.ImportFrom):
        modules = [statement.module or ""]
    else:
        return False
    return all(module.partition(".")[0] in sys.stdlib_module_names - {"__future__"} for module in modules)
