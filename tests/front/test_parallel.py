"""Two processes, which torchrun starts, beside one."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from markscheme import parallel
from markscheme.cli import run as run_here
from markscheme.models import load_policy
from markscheme.reward_models import RewardNetwork

pytestmark = pytest.mark.processes

ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if not name.startswith("PYTEST")},
    "OMP_NUM_THREADS": "1",
    "TORCHELASTIC_ERROR_FILE": "",
}
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]


def torchrun(count: int, *arguments: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    command = [*TORCHRUN, str(count), *map(str, arguments)]
    found = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=300)
    assert not check or found.returncode == 0, found.stderr[-3000:]
    return found


GRADIENTS = """
import copy, sys, torch
from markscheme import parallel
from markscheme.generation import Completion, FinishReason
from markscheme.packing.attention import packing_for
from markscheme.grpo.config import GRPOConfig
from markscheme.packing.trunk import trunk_states
from markscheme.grpo.objective import Objective
from markscheme.grpo.rollout import Rollout
from markscheme.grpo.update import _Batch, trained_of
from markscheme.models import add_lora
from markscheme.policy.make import make_model, make_tokenizer
from markscheme.problems import Problem
from markscheme.scoring import Outcome, Score

torch.set_num_threads(1)
groups, lora, kl = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
draw = torch.Generator().manual_seed(0)

def rollout(p, k):
    length = int(torch.randint(1, 40, (), generator=draw))
    ids = tuple(torch.randint(5, 600, (length,), generator=draw).tolist())
    logprobs = tuple((-torch.rand(length, generator=draw)).tolist())
    return Rollout(
        problem=Problem(id=str(p), question="?", gold="1", source="test", split="train"),
        prompt_ids=tuple(range(5 + p, 17 + 2 * p)),
        completion=Completion(text="", ids=ids, logprobs=logprobs, finish_reason=FinishReason.STOP),
        score=Score(value=1.0, outcome=Outcome.CORRECT),
    )

drawn = [[rollout(p, k) for k in range(3)] for p in range(groups)]
advantages = [[[float(torch.randn((), generator=draw))] * len(r.completion.ids) for r in group] for group in drawn]
config = GRPOConfig(token_budget=60, objective=Objective(kl_coef=kl))

def gradients(model, reference):
    batch = _Batch(model, reference, trained_of(drawn, advantages, config), config, packing, on_policy=True)
    seen = batch.backward(with_entropy=True)
    old = batch.old_logprobs()
    named = {n: parallel.whole(w.grad) for n, w in model.named_parameters() if w.requires_grad}
    return named, seen, old

plain = make_model(len(make_tokenizer()), width=32, layers=2, seed=0)
if lora:
    add_lora(plain, lora, 0)
    with torch.no_grad():
        for name, weight in plain.named_parameters():
            if "lora_B" in name:
                weight.add_(0.1)
packing = packing_for(plain)
plain.train()
reference = copy.deepcopy(plain).eval().requires_grad_(False) if kl else None
parted, parted_reference = copy.deepcopy(plain), copy.deepcopy(reference)
expected, seen_alone, old_alone = gradients(plain, reference)
with parallel.processes():
    parallel.shard(parted, trunk_states)
    if parted_reference is not None:
        parallel.shard(parted_reference, trunk_states)
    found, seen, old = gradients(parted, parted_reference)
    assert parallel.count() == 2
for name, gradient in found.items():
    worst = float((gradient - expected[name]).norm() / expected[name].norm())
    assert worst < 1e-5, (name, worst)
assert seen.keys() == seen_alone.keys()
for name, value in seen.items():
    assert abs(value - seen_alone[name]) < 1e-5 * max(1, abs(value)), (name, value, seen_alone[name])
assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(old, old_alone, strict=True))
print("equal")
parallel.end(0)
"""


@pytest.mark.parametrize(("groups", "lora", "kl"), [(5, 0, 0.0), (5, 0, 0.1), (5, 2, 0.0), (1, 0, 0.0)])
def test_gradients_of_two_processes_are_those_of_one(tmp_path: Path, groups: int, lora: int, kl: float) -> None:
    """Also where one of them has more rows than the other, or the other none at all."""
    script = tmp_path / "gradients.py"
    script.write_text(textwrap.dedent(GRADIENTS))
    assert torchrun(2, script, str(groups), str(lora), str(kl)).stdout.count("equal") == 2


ENDS = """
import atexit, gc, os, sys
from markscheme.cli import main

gc.callbacks.append(lambda *_: sys.is_finalizing() and os.write(1, b"finalized"))
atexit.register(print, "handlers run")
main(sys.argv[1:])
"""


@pytest.mark.parametrize(("arguments", "code"), [(["--help"], 0), (["grpo", "--steps", "few"], 2)])
def test_a_command_ends_without_finalization(tmp_path: Path, arguments: list[str], code: int) -> None:
    """During which a thread of gloo that drops a tensor aborts the process."""
    script = tmp_path / "ends.py"
    script.write_text(ENDS)
    ended = torchrun(2, script, *arguments, check=False)
    assert (ended.returncode == 0) == (code == 0)
    assert code == 0 or f"exitcode  : {code}" in ended.stderr
    assert "handlers run" in ended.stdout
    assert "finalized" not in ended.stdout


def options(out: Path) -> list[str]:
    words = (
        "grpo --task generated --limit 16 --dev-split dev --dev-limit 4 --dev-every 2 --steps 4 --prompts-per-step 3 "
        "--group-size 4 --max-completion-tokens 70 --learning-rate 1e-3 --warmup-steps 1 --checkpoint-every 1 "
        "--updates-per-batch 2 --token-budget 256 --objective.kl-coef 0.1 --iteration-steps 2"
    )
    return [*words.split(), "--out", str(out)]


def metrics_of(out: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def assert_like(found: list[dict[str, float]], expected: list[dict[str, float]]) -> None:
    assert [line["step"] for line in found] == [line["step"] for line in expected]
    for one, other in zip(found, expected, strict=True):
        assert one.keys() == other.keys()
        for name, value in one.items():
            assert value == pytest.approx(other[name], rel=1e-3, abs=1e-4), (one["step"], name)


def weights_of(out: Path) -> dict[str, torch.Tensor]:
    weights: dict[str, torch.Tensor] = AutoModelForCausalLM.from_pretrained(out / "policy").state_dict()
    return weights


def test_a_run_of_two_processes_is_that_of_one(tmp_path: Path) -> None:
    torchrun(2, "-m", "markscheme", *options(tmp_path / "two"))
    assert run_here(options(tmp_path / "one")) == 0
    assert_like(metrics_of(tmp_path / "two"), metrics_of(tmp_path / "one"))
    assert sum(line.get("grad_norm", 0.0) > 0 for line in metrics_of(tmp_path / "two")) >= 3
    one, two = weights_of(tmp_path / "one"), weights_of(tmp_path / "two")
    assert one.keys() == two.keys()
    assert all(torch.allclose(one[name], two[name], atol=1e-3) for name in one)
    assert load_policy(str(tmp_path / "two" / "policy"))[0].num_parameters() > 0


def test_a_reward_model_is_watched_by_two_processes_as_by_one(tmp_path: Path) -> None:
    network = RewardNetwork.from_pretrained("embedded", seed=1)
    network.low, network.high = -0.5, 0.5
    network.save(tmp_path / "reward")
    more = ["--reward-model", str(tmp_path / "reward"), "--reward", "shaped", "--monitor.probes", "1"]
    torchrun(2, "-m", "markscheme", *options(tmp_path / "two"), *more)
    assert run_here([*options(tmp_path / "one"), *more]) == 0
    assert_like(metrics_of(tmp_path / "two"), metrics_of(tmp_path / "one"))
    assert "hacking_alarm" in metrics_of(tmp_path / "two")[-1]
    one, two = ((tmp_path / name / "probes.jsonl").read_text().splitlines() for name in ("one", "two"))
    assert [json.loads(line)["correct"] for line in one] == [json.loads(line)["correct"] for line in two]


@pytest.mark.vllm
def test_each_process_has_a_vllm_of_its_own(tmp_path: Path) -> None:
    """One for each, with the weights that none of them has whole; the rollouts are those of one process."""
    pytest.importorskip("vllm", reason="needs vLLM (make test-vllm)")
    ended = torchrun(2, "-m", "markscheme", *options(tmp_path / "two"), "--engine", "vllm")
    assert "Traceback" not in ended.stderr
    assert run_here([*options(tmp_path / "one"), "--engine", "vllm"]) == 0
    assert_like(metrics_of(tmp_path / "two"), metrics_of(tmp_path / "one"))
    assert all(line.get("sampler_mismatch", 0) < 1e-4 for line in metrics_of(tmp_path / "two"))


@pytest.mark.parametrize("count", [1, 2])
def test_a_checkpoint_of_two_processes_goes_on_in_any_number(tmp_path: Path, count: int) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    torchrun(2, "-m", "markscheme", *options(whole))
    process = subprocess.Popen(
        [*TORCHRUN, "2", "-m", "markscheme", *options(broken)],
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 120
    while not list(broken.glob("checkpoints/step-000000[2-5]")) and time.monotonic() < deadline:
        time.sleep(0.01)
    (child, *_) = [int(pid) for pid in children_of(process.pid)]
    os.kill(child, signal.SIGKILL)  # one of the two
    _, errors = process.communicate(timeout=120)
    assert process.returncode != 0
    assert not (broken / "policy").exists(), errors[-2000:]
    if count == 1:
        assert run_here(options(broken)) == 0
        assert_like(metrics_of(broken), metrics_of(whole))
    else:
        torchrun(2, "-m", "markscheme", *options(broken))
        assert (broken / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()
        assert all(torch.equal(value, weights_of(whole)[name]) for name, value in weights_of(broken).items())


def children_of(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def test_what_works_in_one_process_only_says_so(tmp_path: Path) -> None:
    found = torchrun(2, "-m", "markscheme", "evaluate", "--task", "generated", "--out", tmp_path / "out", check=False)
    assert found.returncode != 0
    assert "evaluate works in one process only: leave out torchrun" in found.stderr
    assert not (tmp_path / "out").exists()


def test_alone_a_process_is_the_first_of_one() -> None:
    assert (parallel.rank(), parallel.count(), parallel.is_first()) == (0, 1, True)
    assert parallel.share_of([1, 2, 3]) == [1, 2, 3]
    assert parallel.of_all("x") == ["x"]
    assert parallel.summed({"a": 1.5}) == {"a": 1.5}


def test_shares_come_together_in_order() -> None:
    assert parallel.joined([[0, 3], [1, 4], [2]]) == [0, 1, 2, 3, 4]
    assert parallel.joined([[], []]) == []
