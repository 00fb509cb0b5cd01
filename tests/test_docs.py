"""What the pages in docs say is what the runs found."""

import json
import re
from pathlib import Path

DOCS = Path(__file__).resolve().parents[1] / "docs"
GRPO = (DOCS / "grpo.md").read_text(encoding="utf-8")


def test_links_lead_somewhere() -> None:
    for page in DOCS.glob("*.md"):
        for link in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
            assert link.startswith("https://") or (DOCS / link).exists(), f"{page.name}: {link}"


def test_learning_beside_trl_is_what_was_measured() -> None:
    study = json.loads((DOCS / "results" / "learning.json").read_text(encoding="utf-8"))
    assert study["date"].startswith("2026-11-21")
    peer, ours = study["rows"]
    cells = [f"{100 * peer['after'][metric]:.1f} %" for metric in ("greedy", "pass@1")]
    assert f"| TRL 1.16, GRPOTrainer | {' | '.join(cells)} | {mean(peer['train_cpu_s']):.0f} |" in GRPO
    cells = []
    for metric in ("greedy", "pass@1"):
        change = {name: f"{100 * ours['change'][metric][name]:+.1f}" for name in ("mean", "low", "high")}
        cells.append(f"{100 * ours['after'][metric]:.1f} %, {change['mean']} [{change['low']}, {change['high']}]")
    assert f"| markscheme | {' | '.join(cells)} | {mean(ours['train_cpu_s']):.0f} |" in GRPO


def mean(values: list[float]) -> float:
    return sum(values) / len(values)
