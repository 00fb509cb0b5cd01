"""How Sphinx makes the site (`make docs`). Its sources are the pages as they are on GitHub, and the docstrings."""

import json
import re
from typing import Any

from docutils import nodes
from myst_parser.sphinx_ import Parser
from sphinx.application import Sphinx
from sphinx.ext.napoleon import Config, GoogleDocstring

import markscheme
from markscheme import cli

cli.app = cli.make_app()  # of which the page of commands is made

project = "markscheme"
version = release = markscheme.__version__
html_title = f"{project} {version}"
html_theme = "furo"
html_copy_source = html_show_copyright = False
smartquotes = False  # options begin with two dashes

# The whole repository is the source folder, so that a relative link leads to the same place here and on GitHub.
root_doc = "docs/index"
include_patterns = ["*.md", "docs/**", "verifiers/README.md", "src/markscheme/policy/README.md"]
exclude_patterns = [".*", "build", "dist", "runs", "tests"]
html_extra_path = ["site/index.html"]  # leads to docs/
html_static_path = ["site/site.css"]
html_css_files = ["site.css"]

extensions = ["myst_parser", "sphinx.ext.autodoc", "cyclopts.ext.sphinx"]
myst_heading_anchors = 3
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 90
default_role = "code"  # in docstrings, too, `this` is code


class NotebookParser(Parser):
    """Reads a notebook as the Markdown page that its cells make."""

    supported = ("notebook",)

    def parse(self, inputstring: str, document: nodes.document) -> None:
        cells = [(cell["cell_type"], "".join(cell["source"])) for cell in json.loads(inputstring)["cells"]]
        page = [f"```python\n{text}\n```" if kind == "code" else text for kind, text in cells]
        super().parse("\n\n".join(page), document)


def _read_docstring(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Sections such as Args and Raises; a backslash is one; and a table stands there as in a page of Markdown."""
    paragraphs = "\n".join(lines).split("\n\n")
    lines[:] = "\n\n".join(one if ">>>" in one else _with_backslashes(one) for one in paragraphs).split("\n")
    if what in ("module", "class", "exception", "function", "method"):  # behind a field, "x: y" is just a sentence
        lines[:] = str(GoogleDocstring(list(lines), Config(), app, what, name, obj, options)).split("\n")
    text = re.sub(r"^(?:\|.*\n)+", lambda table: _rst_table(table[0]), "\n".join(lines) + "\n", flags=re.MULTILINE)
    lines[:] = text.split("\n")


def _with_backslashes(text: str) -> str:
    return re.sub(r"`[^`]*`|\\", lambda found: "\\\\" if found[0] == "\\" else found[0], text)


def _rst_table(table: str) -> str:
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    head, _, *body = ["   " + ", ".join(f'"{cell}"' for cell in row) for row in rows]
    return "\n".join([".. csv-table::", f"   :header: {head.strip()}", "", *body, "", ""])


def _readable_defaults(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, signature: str | None, returns: str | None
) -> tuple[str | None, str | None]:
    """A default that is made by a function is no Python, and Sphinx would not take the signature apart."""
    return signature and signature.replace("<factory>", "..."), returns


def setup(app: Sphinx) -> None:
    app.add_source_suffix(".ipynb", "notebook")
    app.add_source_parser(NotebookParser)
    app.connect("autodoc-process-docstring", _read_docstring)
    app.connect("autodoc-process-signature", _readable_defaults)
