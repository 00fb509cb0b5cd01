"""`markscheme compare`: ids to leave out, and what it prints."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from markscheme import cli

LINES = [
    {"question": f"{k} + 4?", "gold": str(k + 4), "completion": f"\\boxed{{{k + 4 - wrong}}}", "idx": k}
    for wrong in (1,)
    for k in range(4)
]


@pytest.fixture
def sides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Two evaluations of four problems each: all wrong, then all but the last right."""
    monkeypatch.chdir(tmp_path)
    for name, right in (("before", 0), ("after", 3)):
        rows = [{**line, "completion": f"\\boxed{{{k + 4 if k < right else 0}}}"} for k, line in enumerate(LINES)]
        Path(f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        assert cli.run(["regrade", f"{name}.jsonl", "--out", name]) == 0
    return ["before", "after"]


def compared(sides: list[str], *options: str) -> dict[str, Any]:
    assert cli.run(["compare", *sides, "--out", "report", *options]) == 0
    record: dict[str, Any] = json.loads(Path("report/comparison.json").read_text())
    return record


def ids(folder: str) -> list[str]:
    return [json.loads(line)["id"] for line in Path(folder, "problems.jsonl").read_text().splitlines()]


def test_ids_to_leave_out_are_lines_or_what_contamination_wrote(sides: list[str]) -> None:
    whole = compared(sides)
    assert (whole["num_problems"], whole["set_aside"], whole["changes"][0]["after"]) == (4, 0, 0.75)
    last, first = ids("before")[-1], ids("before")[0]
    Path("ids.txt").write_text(f"{last}\n\n")
    by_lines = compared(sides, "--leave-out", "ids.txt")
    assert (by_lines["num_problems"], by_lines["set_aside"], by_lines["changes"][0]["after"]) == (3, 1, 1.0)
    Path("found.json").write_text(json.dumps({"ids": {"contaminated": [first, last], "exact": [first]}}))
    assert compared(sides, "--leave-out", "found.json")["num_problems"] == 2
    Path("found.json").write_text(json.dumps({"ids": {"contaminated": []}}))
    assert compared(sides, "--leave-out", "found.json")["num_problems"] == 4


def test_the_report_names_what_was_compared(sides: list[str]) -> None:
    compared(sides)
    page = Path("report/report.html").read_text()
    assert "<h1>From before to after</h1>" in page
    for row in ("folder before</th><td>before<", "folder after</th><td>after<"):
        assert row in page
    compared(sides, "--title", "Sums")
    assert "<h1>Sums</h1>" in Path("report/report.html").read_text()
    shutil.copytree("after", "after2")
    summary = json.loads(Path("after2/summary.json").read_text())
    Path("after2/summary.json").write_text(json.dumps({**summary, "fingerprint": "another"}))
    compared([*sides, "after2"])
    page = Path("report/report.html").read_text()
    assert "<h1>From before to 2 training seeds</h1>" in page
    assert "folder after 2</th><td>after2<" in page


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "no ids in it"),
        (b"elsewhere", "none of the 1 problems to leave out"),
        (b'{"a": 1}', "not the file of contamination"),
        (b"\xff\xfe", "not a text file"),
    ],
)
def test_what_leaves_nothing_out_is_refused(
    sides: list[str], text: bytes, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("ids").write_bytes(text)
    assert cli.run(["compare", *sides, "--leave-out", "ids"]) == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert cli.run(["compare", *sides, "--leave-out", "nowhere"]) == 2


def test_n_stands_in_the_table_only_where_it_differs(sides: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    compared(sides)
    assert "│   n" not in capsys.readouterr().out
    scores = Path("after/scores.jsonl")
    lines = scores.read_text().splitlines()
    lost = json.loads(lines[0]) | {"score": {"value": None, "outcome": "failed"}}
    scores.write_text("\n".join([json.dumps(lost), *lines[1:]]) + "\n")
    assert cli.run(["compare", *sides]) == 0
    out = capsys.readouterr().out
    assert "n = 4" in out
    assert "3" in next(line for line in out.splitlines() if "pass@1" in line).split("│")[-2]
