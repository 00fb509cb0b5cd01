"""What a release needs: a workflow that is `.ci/run`, licences of all dependencies, and pages that tell the truth."""

import re
import tomllib
from pathlib import Path

import yaml

REPOSITORY = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]


def name_of(requirement: str) -> str:
    found = re.match(r"[A-Za-z0-9_.-]+", requirement)
    assert found
    return found[0].lower()


def test_the_workflow_is_ci_run() -> None:
    workflow = yaml.safe_load((REPOSITORY / ".github" / "workflows" / "ci.yml").read_text())
    [job] = workflow["jobs"].values()
    assert [step["run"] for step in job["steps"] if "run" in step] == [".ci/run"]
    python = next(step["with"]["python-version"] for step in job["steps"] if "setup-python" in step.get("uses", ""))
    assert PROJECT["requires-python"] == f">={python}"


def test_issue_templates_ask_for_what_is_needed() -> None:
    templates = [*(REPOSITORY / ".github" / "ISSUE_TEMPLATE").glob("*.yml")]
    forms = {path.stem: yaml.safe_load(path.read_text()) for path in templates if path.stem != "config"}
    assert {*forms} == {"bug", "wrong_verdict"}
    for form in forms.values():
        assert form["name"]
        assert form["description"]
        assert all(field["attributes"]["label"] for field in form["body"])
    assert [field["id"] for field in forms["wrong_verdict"]["body"]] == ["row", "explained", "why"]


def test_the_licence_of_every_dependency_is_listed() -> None:
    page = (REPOSITORY / "docs" / "licences.md").read_text()
    rows = re.findall(r"^\| ([^|]+) \| [^|]+ \| [^|]+ \|$", page, re.MULTILINE)
    listed = {name for row in rows for name in re.findall(r"[A-Za-z0-9_.-]+", row.lower())}
    extras = PROJECT["optional-dependencies"].values()
    needed = {name_of(one) for requirements in (PROJECT["dependencies"], *extras) for one in requirements}
    assert needed - {"markscheme"} <= listed


def test_contributing_names_what_ci_runs() -> None:
    text = (REPOSITORY / "CONTRIBUTING.md").read_text()
    targets = re.findall(r"^make ([a-z-]+)", (REPOSITORY / ".ci" / "run").read_text(), re.MULTILINE)
    assert targets
    for target in targets:
        assert f"make {target}" in text, target
    for path in re.findall(r"`((?:tests|docs|src)/[^`]+)`", text):
        assert (REPOSITORY / path).exists(), path
    for link in re.findall(r"\]\(([^)#]+)\)", text):
        assert (REPOSITORY / link).exists(), link


def test_the_changelog_speaks_of_this_version() -> None:
    assert re.search(rf"^## .*{re.escape(PROJECT['version'])}", (REPOSITORY / "CHANGELOG.md").read_text(), re.MULTILINE)
