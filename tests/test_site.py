"""The site builds without a warning and loads nothing from elsewhere; its links lead somewhere; its notebook runs."""

import json
import re
import subprocess
import sys
import zlib
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
NOTEBOOK = REPOSITORY / "docs" / "notebooks" / "four_uses.ipynb"
PUBLIC_NAMES = REPOSITORY / "tests" / "data" / "public_names.txt"
LOADED = {"script": "src", "link": "href", "img": "src", "iframe": "src", "source": "src", "object": "data"}
"""What a browser fetches without being asked, by element."""
ELSEWHERE = re.compile(r"^(https?:)?//")


class Page(HTMLParser):
    """What a page loads, where it leads, and the places in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.links: list[str] = []
        self.places: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.places |= {found["id"]} if "id" in found else set()
        if tag in LOADED and LOADED[tag] in found:
            self.loaded.append(found[LOADED[tag]])
        elif tag == "a" and "href" in found:
            self.links.append(found["href"])


def test_the_site(tmp_path: Path) -> None:
    pytest.importorskip("sphinx", reason="the site needs Sphinx: pip install 'markscheme[docs]'")
    site = tmp_path / "site"
    result = subprocess.run(
        [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-d", tmp_path / "trees", "-c", "docs", ".", site],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")}
    assert len(pages) >= 40
    for path, page in pages.items():
        for link in page.loaded:
            assert not ELSEWHERE.match(link), f"{path.name} loads {link}"
        for link in (*page.loaded, *page.links):
            check_link(link, path, pages)
    for path in site.rglob("*.css"):
        fetched = re.findall(r"(?:url\(|@import)\s*['\"]?([^'\")]+)", path.read_text(encoding="utf-8"))
        assert not [one for one in fetched if ELSEWHERE.match(one)], path
    assert {*PUBLIC_NAMES.read_text().splitlines()} <= names_in_reference(site)


def check_link(link: str, page: Path, pages: dict[Path, Page]) -> None:
    parts = urlsplit(link)
    if parts.scheme:
        return
    target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
    assert target.is_file(), f"{page.name}: {link}"
    if parts.fragment and target in pages and target.name not in ("search.html", "genindex.html"):
        assert unquote(parts.fragment) in pages[target].places, f"{page.name}: {link}"


def names_in_reference(site: Path) -> set[str]:
    """Everything that the reference describes, by the inventory that Sphinx writes; nothing without a docstring."""
    inventory = (site / "objects.inv").read_bytes().split(b"\n", 4)[4]
    return {line.split(" ", 1)[0] for line in zlib.decompress(inventory).decode().splitlines()}


def test_the_notebook_holds_no_outputs() -> None:
    for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]:
        assert cell["cell_type"] == "markdown" or (cell["outputs"] == [] and cell["execution_count"] is None)


def test_the_notebook_runs(tmp_path: Path) -> None:
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbclient.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": tmp_path}}).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert (tmp_path / "runs" / "comparison" / "report.html").exists()
