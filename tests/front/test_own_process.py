from pathlib import Path

import pytest

from markscheme.files import InputError
from markscheme.own_process import run_module


def test_the_last_line_is_the_result(tmp_path: Path) -> None:
    path = tmp_path / "found.json"
    path.write_text('{"seconds": [1, 2]}', encoding="utf-8")
    assert run_module("json.tool", "--compact", path) == {"seconds": [1, 2]}


def test_the_last_line_of_a_complaint_is_the_reason() -> None:
    with pytest.raises(InputError, match=r"^[^\n]*No module named markscheme\.nothing$"):
        run_module("markscheme.nothing")
