"""Killed evaluations go on to the very records of one that was not; overwritten weights get none of the old."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import torch

from markscheme.benchmarks.outcomes import load_evaluation
from markscheme.files import read_jsonl
from markscheme.models import EMBEDDED, load_policy, save_policy

OPTIONS = ("--task", "generated", "--max-completion-tokens", "100")
MANY = ("--limit", "300", "--num-samples", "2")  # the engine writes 256 at a time
WAIT_S = 300


def evaluation(out: Path, *more: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "markscheme", "evaluate", *OPTIONS, *more, "--out", str(out)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )


def finished(out: Path, *more: str) -> str:
    process = evaluation(out, *more)
    output, _ = process.communicate(timeout=WAIT_S)
    assert process.returncode == 0, output
    return output


def killed_after(out: Path, lines: int) -> int:
    """Kills an evaluation as soon as it has so many records, and says how many it has then."""
    process, records, began = evaluation(out, *MANY), out / "records.jsonl", time.monotonic()
    while not records.exists() or records.read_bytes().count(b"\n") < lines:
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() - began < WAIT_S
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    return records.read_bytes().count(b"\n")


def test_killed_twice_it_has_the_records_of_an_undisturbed_run(tmp_path: Path) -> None:
    finished(tmp_path / "whole", *MANY)
    greedy = killed_after(tmp_path / "cut", 40)
    sampled = killed_after(tmp_path / "cut", 420)
    assert 40 <= greedy < 300 < 420 <= sampled < 900  # once among the greedy completions, once among the drawn
    finished(tmp_path / "cut", *MANY)
    whole, cut = ((tmp_path / name / "records.jsonl").read_bytes().splitlines() for name in ("whole", "cut"))
    assert len(whole) == 900
    assert sorted(cut) == sorted(whole)
    assert (tmp_path / "cut/scores.jsonl").read_bytes() == (tmp_path / "whole/scores.jsonl").read_bytes()
    costs = {name: load_evaluation(tmp_path / name).summary["cost"] for name in ("whole", "cut")}
    for name in ("completions", "prompt_tokens", "completion_tokens"):
        assert costs["cut"][name] == costs["whole"][name] == costs["whole"].get(f"measured_{name}", costs["cut"][name])
    assert costs["cut"]["measured_completions"] == 900 - sampled  # the killed sessions could not say what they took


def test_weights_that_are_overwritten_in_place_get_records_of_their_own(tmp_path: Path) -> None:
    policy, tokenizer = load_policy(EMBEDDED)
    save_policy(policy, tokenizer, tmp_path / "policy")
    few = ("--limit", "10", "--num-samples", "0", "--model", str(tmp_path / "policy"))
    finished(tmp_path / "out", *few)
    old = load_evaluation(tmp_path / "out").summary["fingerprint"]
    with torch.no_grad():
        next(iter(policy.parameters())).mul_(0.5)
    save_policy(policy, tokenizer, tmp_path / "policy")

    refused = evaluation(tmp_path / "out", *few)
    message = f"{tmp_path / 'out'} holds a finished evaluation, and this is another (model fingerprint {old!r} there, "
    assert message in refused.communicate(timeout=WAIT_S)[0]
    assert refused.returncode == 2
    (tmp_path / "out/summary.json").unlink()  # an evaluation that was not finished goes on, with records of its own
    finished(tmp_path / "out", *few)
    evaluated = load_evaluation(tmp_path / "out")
    assert evaluated.summary["fingerprint"] != old
    records = [record for _, record in read_jsonl(tmp_path / "out/records.jsonl")]
    written = {record["problem"]: record["completion"] for record in records if record["fingerprint"] != old}
    assert len(records) == 20
    assert {one.problem.id: one.greedy.completion for one in evaluated.outcomes if one.greedy} == written
