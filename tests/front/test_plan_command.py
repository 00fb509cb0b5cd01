"""`markscheme plan`: what it prints, and how it refuses."""

import json
import re
from pathlib import Path

import pytest

from markscheme import cli

BIG = {  # the sizes of Qwen2.5-1.5B
    "model_type": "qwen2",
    "hidden_size": 1_536,
    "intermediate_size": 8_960,
    "num_hidden_layers": 28,
    "num_attention_heads": 12,
    "num_key_value_heads": 2,
    "max_position_embeddings": 32_768,
    "vocab_size": 151_936,
    "tie_word_embeddings": True,
}


@pytest.fixture
def big(tmp_path: Path) -> Path:
    """A model of which there is no more than its sizes."""
    (tmp_path / "config.json").write_text(json.dumps(BIG))
    return tmp_path


def run(command: str) -> int:
    return cli.run(["plan", *command.split()])


def test_a_plan_of_a_gpu_that_is_not_here(big: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(f"--model {big} --gpu h100 --dtype bfloat16 --prompts-per-step 8") == 0
    shown = capsys.readouterr().out
    assert "1,543.7 M parameters in bfloat16, 1 x H100 SXM (79.2 GiB each)" in shown
    assert "8 x 8 completions of 512 tokens (at most 512) after prompts of 256" in shown
    assert re.search(r"weights +2\.88 +2\.88\n", shown)
    assert re.search(r"seconds of a step: \d", shown)
    assert "not measured, but worked out" in shown


def test_a_plan_of_this_machine_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--prompts-per-step 2 --max-completion-tokens 16 --prompt-tokens 8") == 0
    assert "times measured here, on slices" in capsys.readouterr().out


def test_a_preset_is_planned_with_what_it_sets(big: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(f"--model {big} --gpu h200 --preset deepseekmath --prompts-per-step 2 --gradient-checkpointing") == 0
    assert re.search(r"reference +5\.75 +5\.75\n", capsys.readouterr().out), "a copy in float32"


def test_what_does_not_fit_is_refused_and_the_way_out_is_one(big: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = f"--model {big} --gpu rtx4090 --prompts-per-step 8"
    assert run(command) == 2
    complaint = capsys.readouterr().err
    assert complaint.count("\n") == 1
    assert re.match(
        r"markscheme: this does not fit: a process needs \d+\.\d GiB and has 23\.5; it would with --", complaint
    )
    ways = re.findall(r"(--[^()]+) \(\d", complaint)
    assert 1 <= len(ways) <= 3
    assert run(f"{command} {ways[-1]}") == 0


@pytest.mark.parametrize(
    ("command", "named"),
    [
        ("--gpu h1000", "no GPU 'h1000'; there are here, a100, h100"),
        ("--gpus 0", "gpus must be at least 1, got 0"),
        ("--prompt-tokens 0", "prompt_tokens must be above 0, got 0"),
        ("--completion-tokens 600", "from 1 to max_completion_tokens 512, got 600"),
        ("--max-completion-tokens 100000", "more than the model's"),
        ("--completion-tokens 0", "from 1 to max_completion_tokens 512, got 0"),
        ("--preset ppo", "PPO's value model cannot be planned for"),
        ("--model nowhere", "cannot load the model 'nowhere'"),
    ],
)
def test_bad_input_costs_one_line(command: str, named: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(command) == 2
    complaint = capsys.readouterr().err
    assert complaint.count("\n") == 1
    assert named in complaint
