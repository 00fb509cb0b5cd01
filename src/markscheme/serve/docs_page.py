"""The page at /docs. FastAPI's own loads its scripts from the network, and is empty where there is none."""

import json
import shlex
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 50em; margin: 2em auto; padding: 0 1em }
pre { background: #8881; padding: .7em; overflow-x: auto; white-space: pre-wrap }
h2 { margin-top: 2em } h2 code { font-size: 1em }
"""


def docs_page(description: Mapping[str, Any], url: str) -> str:
    """Each operation of an OpenAPI description, with a command that tries it on the server at `url`, and its answer."""
    info = description["info"]
    refusals: dict[str, str] = {}
    parts: list[str] = []
    for path, operations in description["paths"].items():
        for method, operation in operations.items():
            parts += _operation(description, f"{url.rstrip('/')}{path}", path, method, operation)
            refusals |= {status: one["description"] for status, one in operation["responses"].items() if status > "200"}
    parts.append("<h2>Other answers</h2><p>An object with error (a word) and message (a line).</p>")
    parts += [f"<p><b>{status}</b> {escape(text)}</p>" for status, text in sorted(refusals.items())]
    parts.append('<p>All fields: <a href="openapi.json">openapi.json</a></p>')
    title = escape(info["title"])
    head = f'<meta charset="utf-8"><title>{title}</title><style>{STYLE}</style>'
    body = f"<h1>{title}</h1><p>{escape(info['description'])}</p>{''.join(parts)}"
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{body}</body></html>'


def _operation(
    description: Mapping[str, Any], url: str, path: str, method: str, operation: Mapping[str, Any]
) -> Iterator[str]:
    yield f"<h2><code>{method.upper()} {escape(path)}</code></h2><p>{escape(operation['description'])}</p>"
    words = ["curl", url]
    if "security" in description and operation.get("security") != []:
        words += ["-H", "Authorization: Bearer KEY"]
    asked = _example(description, operation.get("requestBody", {}))
    if asked is not None:
        words += ["-d", asked]
    yield f"<pre>{escape(shlex.join(words))}</pre>"
    answered = _example(description, operation["responses"]["200"])
    if answered is not None:
        yield f"<pre>{escape(answered)}</pre>"


def _example(description: Mapping[str, Any], body: Mapping[str, Any]) -> str | None:
    """The first example of a body of JSON."""
    schema = body.get("content", {}).get("application/json", {}).get("schema", {})
    if "$ref" in schema:
        schema = description["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return json.dumps(schema["examples"][0]) if "examples" in schema else None
