"""What README.md and the pages in docs show runs here.

- bash and python blocks of a page are one story: they run in order in one fresh folder, each python block as a program
  of its own. A line `print(...)  # said` prints just that, and a text block right behind one of them is what it prints.
- console blocks cannot run here, and the paragraph before says why. A bash without programs works out what they would
  call, and each command is bound to the command line that it is for.
"""

import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
import yaml
from cyclopts import App

from markscheme.cli import COMMANDS, bind, make_app

REPOSITORY = Path(__file__).resolve().parents[1]
KINDS = ("bash", "python", "console", "text", "json", "toml", "yaml")
SITE_ONLY = ("{toctree}",)
STORY = re.compile(r"^(bash|python)$")
SAID = re.compile(r"^ *print\(.*\)  # (.*)$", re.MULTILINE)
REASON = re.compile(r"\b(GPUs?|hub|machines?|cluster|minutes?|hours|processes|installs?|clone|verl|servers?)\b")
FOREIGN = ("cat", "curl", "git", "ray")
"""Programs of others, whose options nobody checks here."""
FOREIGN_OPTIONS = {
    *("--nproc-per-node", "--nnodes", "--rdzv-backend", "--rdzv-endpoint"),  # of torchrun
    *("--tensor-parallel-size", "--kv-cache-memory-bytes", "--host"),  # of vLLM
    *("--concurrency", "--batch-size", "--num-gpus-each"),  # of markscheme.ray_scoring
    "--generated",  # of markscheme.benchmarks.speed.reward_model
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A block of code in a page."""

    line: int
    kind: str
    text: str
    before: str
    """The paragraph before it."""
    follows: "Block | None"
    """The block right before it, if there is nothing between."""


def blocks_of(page: Path) -> list[Block]:
    lines = page.read_text(encoding="utf-8").splitlines()
    fences = [number for number, line in enumerate(lines) if line.lstrip().startswith("```")]
    assert len(fences) % 2 == 0, f"{page}: a block has no end"
    found: list[Block] = []
    last = -1
    for begin, end in zip(fences[::2], fences[1::2], strict=True):
        between = "\n".join(lines[last + 1 : begin])
        found.append(
            Block(
                line=begin + 1,
                kind=lines[begin].strip().removeprefix("```").strip(),
                text="\n".join(lines[begin + 1 : end]) + "\n",
                before=between.strip().rpartition("\n\n")[2],
                follows=found[-1] if found and not between.strip() else None,
            )
        )
        last = end
    return found


PAGES = {
    path.relative_to(REPOSITORY).as_posix(): blocks_of(path)
    for path in (REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md")))
}
STORIES = [
    pytest.param(page, marks=pytest.mark.processes if "import ray" in text else ())
    for page, blocks in PAGES.items()
    if (text := "".join(block.text for block in blocks if STORY.match(block.kind)))
]
NOT_RUN = [
    pytest.param(block, id=f"{page}:{block.line}")
    for page, blocks in PAGES.items()
    for block in blocks
    if block.kind == "console"
]


@pytest.mark.parametrize("page", PAGES)
def test_every_block_says_what_it_is(page: str) -> None:
    allowed = (*KINDS, *SITE_ONLY) if page == "docs/index.md" else KINDS
    for block in PAGES[page]:
        assert block.kind in allowed, (
            f"{page}:{block.line}: {block.kind or 'no label'}, not one of {', '.join(allowed)}"
        )
        if block.kind == "json":
            json.loads(block.text)
        if block.kind == "toml":
            tomllib.loads(block.text)
        if block.kind == "yaml":
            yaml.compose(block.text)


@pytest.mark.parametrize("page", STORIES)
def test_the_story_of_a_page_runs(page: str, tmp_path: Path) -> None:
    folder, printed = tmp_path / "story", tmp_path / "printed"
    folder.mkdir()
    printed.mkdir()
    script = []
    for block in PAGES[page]:
        if block.kind == "python":
            (printed / f"{block.line}.py").write_text(block.text, encoding="utf-8")
            script.append(f"python {printed}/{block.line}.py > {printed}/{block.line}.txt")
        elif block.kind == "bash":
            script.append(f"{{\n{block.text}}} > {printed}/{block.line}.txt")
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "OMP_NUM_THREADS": "1",
        "COLUMNS": "100",
    }
    result = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "\n".join(script)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    for block in PAGES[page]:
        if block.kind == "python":
            said = (printed / f"{block.line}.txt").read_text(encoding="utf-8").splitlines()
            assert {*SAID.findall(block.text)} <= {*said}, f"{page}:{block.line}: {said}"
        elif block.kind == "text" and block.follows is not None and STORY.match(block.follows.kind):
            said = (printed / f"{block.follows.line}.txt").read_text(encoding="utf-8").splitlines()
            for line in block.text.splitlines():
                assert line.rstrip() in [one.rstrip() for one in said], f"{page}:{block.line}: {line!r} in {said}"
    if page == "README.md":
        scored = (folder / "completions.scored.jsonl").read_text(encoding="utf-8")
        assert re.findall(r'"outcome": "(\w+)"', scored) == ["correct", "incorrect", "no_answer"]
        assert (folder / "runs" / "comparison" / "report.html").exists()


@pytest.mark.parametrize("block", NOT_RUN)
def test_what_is_not_run_says_why_and_is_bound(block: Block, tmp_path: Path) -> None:
    assert REASON.search(block.before), f"no reason in {block.before!r}"
    calls = calls_of(block.text, tmp_path)
    assert calls
    for words in calls:
        check_call(words)


def calls_of(script: str, folder: Path) -> list[list[str]]:
    """The commands of a script, with variables, loops and quotes worked out by a bash that finds no program."""
    record = r"""exec 3>&1; cd() { :; }; command_not_found_handle() { printf '%s\0' "$@" >&3; printf '\n\0' >&3; }; """
    result = subprocess.run(
        ["/bin/bash", "-euo", "pipefail", "-c", record + script],
        cwd=folder,
        env={"PATH": str(folder / "nothing")},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    return [call.split("\0")[:-1] for call in result.stdout.split("\n\0")[:-1]]


def check_call(words: list[str]) -> None:
    program, *rest = words
    if program == "markscheme":
        bind(rest)
    elif program == "torchrun":
        from torch.distributed.run import get_args_parser

        options = get_args_parser().parse_args(rest)
        assert options.module
        assert options.training_script == "markscheme"
        bind(options.training_script_args)
    elif program == "python":
        option, module, *arguments = rest
        assert option == "-m"
        check_module(module, arguments)
    elif program == "make":
        targets = re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
        assert {word for word in rest if "=" not in word} <= {*targets}
    elif program == "pip":
        check_pip(rest)
    else:
        assert program in FOREIGN, f"no command {shlex.join(words)}"


def check_module(module: str, arguments: list[str]) -> None:
    if not module.startswith("markscheme"):
        return
    assert importlib.util.find_spec(module), module
    if module == "markscheme.ray_scoring":
        from markscheme.ray_scoring import job

        app = App()
        app.default(job)
        app.parse_args(arguments, exit_on_error=False, print_error=False)


def check_pip(arguments: list[str]) -> None:
    settings = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    for argument in arguments:
        if extras := re.search(r"^(?:markscheme|\.)\[(.*)\]$", argument):
            assert {*extras[1].split(",")} <= {*settings["project"]["optional-dependencies"]}, argument
        if argument.endswith(".txt"):
            assert (REPOSITORY / argument).is_file(), argument


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    path = REPOSITORY / page
    for link in re.findall(r"\]\(([^)]+)\)", text_of(path)):
        place, _, heading = link.partition("#")
        target = path.parent / place if place else path
        assert link.startswith("https://") or target.is_file(), f"{page}: {link}"
        assert not heading or link.startswith("https://") or heading in headings_of(target), f"{page}: {link}"


def headings_of(page: Path) -> set[str]:
    """The anchors that a page's headings get, on GitHub and on the site."""
    headings = re.findall(r"^#+ (.*)$", text_of(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def text_of(page: Path) -> str:
    """Without its blocks."""
    return re.sub(r"^ *```.*?^ *```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES)
def test_options_in_the_text_exist(page: str) -> None:
    anywhere = FOREIGN_OPTIONS.union(*(options_of(command) for command in COMMANDS))
    for span in re.findall(r"`([^`]+)`", text_of(REPOSITORY / page)):
        words = span.split()
        command = words[1] if words[:1] == ["markscheme"] and len(words) > 1 else ""
        known = options_of(command) if command in COMMANDS else anywhere
        for word in words if words[0] in ("markscheme", "...") or words[0].startswith("--") else ():
            option = re.match(r"--[\w.-]+\w", word)
            assert option is None or option[0] in known or option[0].startswith("--keep."), f"{page}: {span}"


@cache
def options_of(command: str) -> frozenset[str]:
    return frozenset(name for argument in make_app()[command].assemble_argument_collection() for name in argument.names)
