"""The measurement of the scoring server, as small as it can be."""

import json
from pathlib import Path

import pytest

from markscheme.benchmarks.speed.serving import Settings, main


def test_the_server_is_measured_under_each_load(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(settings=Settings(clients=2, samples=(1, 4), seconds=0.3, processes=1), out=tmp_path)
    record = json.loads((tmp_path / "serving.json").read_text())
    assert record["in_one_process_samples_per_s"] > 0
    assert [one["samples"] for one in record["loads"]] == [1, 4]
    for one in record["loads"]:
        assert one["samples_per_s"] == pytest.approx(one["samples"] * one["requests"] / 0.3)
        assert 0 < one["p50_ms"] <= one["p99_ms"]
        assert one["server_mb"] > 10
    assert "samples a request" in capsys.readouterr().out
