"""The whole story in small, and the embedded policy it begins with."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from markscheme.files import InputError
from markscheme.models import EMBEDDED, load_policy
from markscheme.policy.make import SETTINGS, make_tokenizer, measure, sft_problems
from markscheme.quickstart import QuickstartConfig, quickstart, reward_curve

SMALL = QuickstartConfig(num_test=8, num_dev=4, steps=4, prompts_per_step=4, group_size=4)


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("story") / "quickstart"
    quickstart(out, SMALL, Console(quiet=True))
    return out


def test_the_story_leaves_what_it_promises(story: Path) -> None:
    names = {path.name for path in story.iterdir()}
    assert names >= {"report.html", "summary.json", "policy", "before", "after", "grpo"}
    assert names >= {"pass_at_k.png", "training.png", "lengths.png"}
    assert (story / "policy" / "model.safetensors").stat().st_size > 1_000_000


def test_the_summary_has_its_fields(story: Path) -> None:
    summary = json.loads((story / "summary.json").read_text())
    metrics = {"greedy", "pass@1", "pass@8", "maj@8"}
    assert summary.keys() == {"n", "seed", "floor", "before", "after", "paired", "train_cpu_seconds", "steps"}
    assert (summary["n"], summary["seed"], summary["steps"]) == (8, 0, 4)
    assert summary["before"].keys() == summary["after"].keys() == summary["paired"].keys() == metrics
    for metric, change in summary["paired"].items():
        assert change["low"] <= change["delta"] <= change["high"]
        assert change["delta"] == pytest.approx(summary["after"][metric] - summary["before"][metric])
    assert summary["train_cpu_seconds"] > 0


def test_the_report_needs_nothing_from_outside(story: Path) -> None:
    page = (story / "report.html").read_text()
    assert not re.search(r"""(src|href)\s*=\s*["']?(https?:)?//""", page)
    assert "data:image/" in page


def test_the_same_command_again_generates_and_trains_nothing(story: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    shutil.copytree(story, again)
    quickstart(again, SMALL, Console(quiet=True))
    for name in ("summary.json", "before/records.jsonl", "after/records.jsonl", "grpo/metrics.jsonl"):
        assert (again / name).read_bytes() == (story / name).read_bytes(), name


def test_stopped_in_training_it_goes_on(story: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from markscheme import quickstart as module

    def interrupted(self: object, metrics: dict[str, float]) -> str:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module._Watch, "note", interrupted)
        with pytest.raises(KeyboardInterrupt):
            quickstart(tmp_path / "out", SMALL, Console(quiet=True))
    quickstart(tmp_path / "out", SMALL, Console(quiet=True))
    for name in ("before/records.jsonl", "after/records.jsonl", "grpo/metrics.jsonl"):
        assert (tmp_path / "out" / name).read_bytes() == (story / name).read_bytes(), name


def test_another_run_keeps_out_of_the_folder(story: Path) -> None:
    with pytest.raises(InputError, match=r"another run|other settings \(quickstart.seed was 0, is 1\)"):
        quickstart(story, replace(SMALL, seed=1), Console(quiet=True))


def test_senseless_settings_are_refused_before_anything_is_done() -> None:
    with pytest.raises(ValueError, match="group_size must be at least 2 to compare rollouts, got 1"):
        QuickstartConfig(group_size=1)
    with pytest.raises(ValueError, match="prompts_per_step must be above 0, got 0"):
        QuickstartConfig(prompts_per_step=0)


def test_the_curve_goes_from_low_to_high() -> None:
    assert reward_curve([0.0, 0.5, 1.0], width=3) == "▁▅█"  # 0.5 * 7 = 3.5, and the even neighbour is 4
    assert reward_curve([0.5] * 10, width=4) == "▁▁▁▁"
    assert len(reward_curve([0.1, 0.2], width=40)) == 2


def test_the_embedded_policy_reads_sensibly_and_has_headroom() -> None:
    figures = measure(*load_policy(EMBEDDED), num_problems=150)
    for kind in ("greedy", "sampled"):
        assert figures[kind]["one_box"] >= 0.98
        assert figures[kind]["speaks_of_the_question"] >= 0.95
    # 0.30 to 0.60 on n = 500; four standard errors more for n = 150
    assert 0.20 <= figures["greedy"]["pass@1"] <= 0.70
    assert figures["sampled"]["pass@8"] >= figures["sampled"]["pass@1"] + 0.15


def test_the_embedded_tokenizer_is_the_one_that_make_makes() -> None:
    _, tokenizer = load_policy(EMBEDDED)
    fresh = make_tokenizer()
    assert tokenizer.get_vocab() == fresh.get_vocab()
    assert tokenizer.chat_template == fresh.chat_template
    for text in ("Mia has 120 apples.", "¿Qué? 答案是 \\boxed{3}\t\n"):
        assert tokenizer.decode(tokenizer.encode(text)) == text
    digits = tokenizer.encode("9876543210", add_special_tokens=False)
    assert tokenizer.convert_ids_to_tokens(digits) == list("9876543210")


def test_the_policy_never_learns_from_what_it_is_tested_on() -> None:
    assert {problem.split for problem in sft_problems()} == {"sft"}
    assert SETTINGS.num_steps(len(sft_problems())) > 1_000
