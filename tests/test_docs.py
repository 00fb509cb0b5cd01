"""What the pages in docs say is what the runs found."""

import json
from pathlib import Path
from statistics import stdev
from typing import Any

import pytest
from scipy import stats

DOCS = Path(__file__).resolve().parents[1] / "docs"
GRPO = (DOCS / "grpo.md").read_text(encoding="utf-8")
REWARD_MODELS = (DOCS / "reward-models.md").read_text(encoding="utf-8")
EVALUATION = (DOCS / "evaluation.md").read_text(encoding="utf-8")
METRICS = ("greedy", "pass@1")


def test_learning_beside_trl_is_what_was_measured() -> None:
    study = record_of("learning")
    peer, ours = study["rows"]
    assert f"| TRL 1.16, GRPOTrainer | {' | '.join(after(peer))} | {mean(peer['train_cpu_s']):.0f} |" in GRPO
    assert f"| markscheme | {' | '.join(changed(ours))} | {mean(ours['train_cpu_s']):.0f} |" in GRPO


def test_learning_from_rollouts_of_vllm_is_what_was_measured() -> None:
    page = (DOCS / "rollouts.md").read_text(encoding="utf-8")
    study = record_of("rollouts")
    by_torch, by_vllm = study["rows"]
    assert f"| torch engine | {' | '.join(after(by_torch))} | {mean(by_torch['train_cpu_s']):.0f} |" in page
    assert f"| vLLM | {' | '.join(changed(by_vllm))} | {mean(by_vllm['train_cpu_s']):.0f} |" in page


@pytest.mark.parametrize("name", ["paradigm", "process", "iterative", "presets"])
def test_a_study_is_what_was_measured(name: str) -> None:
    study = record_of(name)
    for row in study["rows"]:
        text = preset_row(row) if name == "presets" else study_row(row)
        assert text in GRPO, text
    before = study["rows"][0]["before"]
    shown = f"before: greedy {before['greedy']:.1%}, pass@1 {before['pass@1']:.1%}".replace("%", " %")
    assert shown in GRPO, shown


@pytest.mark.parametrize("name", json.loads((DOCS / "results" / "grpo-speed.json").read_text("utf-8"))["workloads"])
def test_speed_beside_trl_is_what_was_measured(name: str) -> None:
    row = speed_row(record_of("grpo-speed")["workloads"][name])
    assert row in GRPO, row


def test_plans_beside_what_was_measured() -> None:
    page, record = (DOCS / "planning.md").read_text(encoding="utf-8"), record_of("plan")
    for name, case in record["cases"].items():
        assert plan_row(name, case) in page, plan_row(name, case)
    assert max(abs(case["off"][key]) for case in record["cases"].values() for key in ("gib", "step_s")) <= record["bar"]


def plan_row(name: str, case: dict[str, Any]) -> str:
    planned, measured = case["planned"], case["measured"]
    cells = [f"{planned[key]:.3g}, {measured[key]:.3g}" for key in ("gib", "rollout_s", "update_s", "step_s")]
    off = f"{case['off']['gib']:+.0%}, {case['off']['step_s']:+.0%}".replace("%", " %")
    return f"| {name} | {' | '.join(cells)} | {off} |"


def test_the_readme_says_how_fast() -> None:
    found = {name: workload["contenders"] for name, workload in record_of("grpo-speed")["workloads"].items()}
    even, skewed, whole = (
        f"{found[name]['trl']['seconds'] / found[name]['ours']['seconds']:.1f}"
        for name in ("even", "skewed", "whole_step")
    )
    readme = " ".join((DOCS.parent / "README.md").read_text(encoding="utf-8").split())
    assert f"an update is {even} times as fast as TRL 1.16's at even lengths and {skewed} times at skewed" in readme
    assert f"a whole step with sampling is {whole} times as fast" in readme
    for name in ("even", "skewed"):
        memory = found[name]["ours"]["added_mb"] / found[name]["trl"]["added_mb"]
        assert round(memory, 1) == 0.5  # "half of its memory"


def record_of(name: str) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((DOCS / "results" / f"{name}.json").read_text(encoding="utf-8"))
    assert "date" not in record or record["date"][:10] in GRPO
    return record


def after(row: dict[str, Any]) -> list[str]:
    return [f"{100 * row['after'][metric]:.1f} %" for metric in METRICS]


def changed(row: dict[str, Any]) -> list[str]:
    cells = []
    for now, metric in zip(after(row), METRICS, strict=True):
        change, low, high = (f"{100 * row['change'][metric][key]:+.1f}" for key in ("mean", "low", "high"))
        cells.append(f"{now}, {change} [{low}, {high}]")
    return cells


def study_row(row: dict[str, Any]) -> str:
    about = [row["data"], row["reward"], row["coefficient"]]
    cost = [f"{mean(row['train_cpu_s']):.0f}", f"{mean(row['added_mb']):.0f}", f"{mean(row['trained_mb']):.1f}"]
    return f"| {' | '.join([row['method'], *about, *changed(row), *cost])} |"


def preset_row(row: dict[str, Any]) -> str:
    cells = [row["method"].removeprefix("preset-"), *changed(row), f"{mean(row['train_cpu_s']):.0f}"]
    return f"| {' | '.join(cells)} |"


def speed_row(workload: dict[str, Any]) -> str:
    found = workload["contenders"]
    ours, peer, compact = found["ours"], found["trl"], found.get("trl_compact")
    cells = [
        workload["about"],
        f"{ours['seconds']:.2f} : {peer['seconds']:.2f}",
        f"{peer['seconds'] / ours['seconds']:.1f}",
        f"{compact['seconds'] / ours['seconds']:.1f}" if compact else "–",
        f"{100 * ours['peak_share']:.0f} % : {100 * peer['peak_share']:.0f} %" if ours["peak_share"] else "–",
        f"{ours['added_mb']:.0f} : {peer['added_mb']:.0f}" if ours["added_mb"] else "–",
    ]
    return f"| {' | '.join(cells)} |"


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def test_the_reward_model_on_gsm8k_is_what_was_measured() -> None:
    evaluation = record_of("reward-model-gsm8k")["evaluation"]
    for name, one in (("reward model", evaluation), *evaluation["baselines"].items()):
        assert pair_row(name, one) in REWARD_MODELS, pair_row(name, one)
    for name in ("longer", "shorter"):
        row = f"| always the {name} one | {figure_of(evaluation[f'{name}_is_better'])} | |"
        assert row in REWARD_MODELS, row
    assert f"n = {evaluation['num_pairs']} pairs of {evaluation['num_questions']} questions" in REWARD_MODELS


def pair_row(name: str, evaluation: dict[str, Any]) -> str:
    return f"| {name} | {figure_of(evaluation['scorer'])} | {figure_of(evaluation['by_writer']['accuracy'])} |"


def figure_of(figure: dict[str, float]) -> str:
    return f"{figure['accuracy']:.3f} [{figure['low']:.3f}, {figure['high']:.3f}]"


def test_the_hacked_and_the_healthy_runs_are_what_was_measured() -> None:
    for seed in record_of("hacking")["seeds"]:
        assert hacking_row(seed) in REWARD_MODELS, hacking_row(seed)
        assert not seed["runs"]["careful"]["alarms"]
        assert len(seed["runs"]["careless"]["alarms"]) >= 1


def hacking_row(seed: dict[str, Any]) -> str:
    cells = [f"{seed['reward_model']['accuracy']:.3f} (n = {seed['reward_model']['pairs']})"]
    for name in ("careful", "careless"):
        run = seed["runs"][name]
        cells.append(f"{run['reward'][0]:+.2f} → {run['reward'][-1]:+.2f}")
        cells.append(
            " → ".join(f"{one:.3f}" for one in (run["accuracy"][0], max(run["accuracy"]), run["accuracy"][-1]))
        )
        cells.append(", ".join(f"step {step}" for step in run["alarms"]) or "none")
    return f"| {seed['seed']} | {' | '.join(cells)} |"


def test_the_process_models_are_what_was_measured() -> None:
    for name, run in record_of("process-reward-model")["runs"].items():
        for data, found in run["processbench"].items():
            assert process_row(name, data, found) in REWARD_MODELS, process_row(name, data, found)


def process_row(name: str, data: str, found: dict[str, Any]) -> str:
    errors = found["first_errors"]
    cells = [value_of(errors[key]["f1"]) for key in ("model", "at_half", "by_position")]
    n = errors["num_wrong"] + errors["num_right"]
    return f"| {name} | {data}, n = {n:,} | {' | '.join(cells)} | {value_of(found['auc'])} |"


def value_of(figure: dict[str, float]) -> str:
    return f"{figure['value']:.3f} [{figure['low']:.3f}, {figure['high']:.3f}]"


@pytest.mark.parametrize("name", ["reward-model-speed", "reward-model-speed-encoder", "reward-model-speed-generated"])
def test_the_trainer_beside_trl_is_what_was_measured(name: str) -> None:
    record = record_of(name)
    for contender, runs in record["contenders"].items():
        assert trainer_row(record, contender, runs) in REWARD_MODELS, trainer_row(record, contender, runs)
    if name == "reward-model-speed":  # of the generated ones, Python and torch are most of the memory
        assert record["ratios"]["pairs_per_cpu_second"] >= 1.6
        assert record["ratios"]["memory"] <= 0.6


def trainer_row(record: dict[str, Any], contender: str, runs: list[dict[str, Any]]) -> str:
    data = "generated" if record["settings"]["pairs"] is None else "GSM8K"
    model = "embedded" if record["settings"]["model"] == "embedded" else "all-MiniLM-L6-v2"
    who = {"ours": "markscheme", "trl": f"TRL {record['versions']['trl'].rpartition('.')[0]}"}[contender]
    speed = mean([run["pairs"] / run["seconds"] for run in runs])
    accuracies = [run["accuracy"] for run in runs]
    figures = f"{speed:.1f} | {mean([run['peak_mb'] for run in runs]):,.0f} | {mean(accuracies):.3f}"
    if contender == "ours":
        differences = [one - run["accuracy"] for one, run in zip(accuracies, record["contenders"]["trl"], strict=True)]
        reach = stats.t.ppf(0.975, len(runs) - 1) * stdev(differences) / len(runs) ** 0.5
        middle = 100 * mean(differences)
        figures += f", {middle:+.1f} [{middle - 100 * reach:+.1f}, {middle + 100 * reach:+.1f}]"
    pairs = record["pairs"]
    return f"| {data}, {model} | {who} | {len(runs)} | {pairs['train']:,} / {pairs['held_out']:,} | {figures} |"


def test_the_log_of_lm_eval_was_judged_again_as_its_record_says() -> None:
    run = record_of("lm-eval-regraded")["lm_eval"]
    for name, found in run["filters"].items():
        agreement, low, high = (f"{100 * found['agreement'][key]:.1f}" for key in ("value", "low", "high"))
        cells = [value_of(found["by_the_log"]), value_of(found["by_markscheme"])]
        cells += [str(found["right_by_us_only"]), str(found["right_by_the_log_only"])]
        row = f"| {name} | {' | '.join(cells)} | {agreement} % [{low}, {high}] |"
        assert row in EVALUATION, row
    same = run["same_texts"]
    text = " ".join(EVALUATION.split())
    assert f"{same['count']} of {same['n']} of the same texts and gets {value_of(run['evaluate'])}" in text


def test_the_metrics_of_one_file_are_those_of_its_log() -> None:
    found = record_of("lm-eval-regraded")["math_test_100x8"]
    metrics = ("first", "accuracy", "pass@2", "pass@4", "pass@8", "maj@8", "cons@8", "best@8")
    for name, by in (("the log's labels", "by_the_log"), ("markscheme", "by_markscheme")):
        row = f"| {name} | {' | '.join(f'{found[by][metric]:.4f}' for metric in metrics)} |"
        assert row in EVALUATION, row
    assert f"our avg@8 is {value_of(found['intervals_by_markscheme']['pass@1'])}" in " ".join(EVALUATION.split())


def test_the_paired_comparisons_are_what_was_measured() -> None:
    record = record_of("lm-eval-regraded")
    for found in record["paired"]:
        row = paired_row(found)
        assert row in EVALUATION, row
    three = record["training_seeds"]["three"]
    text = f"pass@1 {points_of(three['pass@1']['difference'])}, greedy {points_of(three['greedy']['difference'])}"
    assert f"By three training seeds it is {text}" in " ".join(EVALUATION.split()), text


def test_the_report_that_is_explained_is_what_was_measured() -> None:
    page = " ".join((DOCS / "concepts" / "reports.md").read_text(encoding="utf-8").split())
    found = record_of("lm-eval-regraded")["paired"][-1]
    change, low, high = (f"{100 * found['difference'][key]:+.1f}" for key in ("mean", "low", "high"))
    from_to = f"pass@1 rose from {found['accuracy_before']:.3f} to {found['accuracy_after']:.3f}"
    interval = f"95 % interval {low} to {high}"
    assert f"{from_to}: {change} points ({interval}), n = {found['difference']['n']}, one training seed." in page


def paired_row(found: dict[str, Any]) -> str:
    """A row of the table, from the number of questions on."""
    difference = found["difference"]
    p = difference["permutation_p"]
    cells = [
        f"{difference['n']:,}",
        f"{found['accuracy_before']:.3f} → {found['accuracy_after']:.3f}",
        f"{difference['gained']} / {difference['lost']}",
        f"{p:.2g}" if p >= 1e-4 else "< 0.0001",
        points_of(difference),
        f"{found['unpaired_worth']:.1f} times the questions",
    ]
    return f"| {' | '.join(cells)} |"


def points_of(difference: dict[str, float]) -> str:
    change, low, high = (f"{100 * difference[key]:+.1f}" for key in ("mean", "low", "high"))
    return f"{change} [{low}, {high}]"


@pytest.mark.parametrize("method", ["base", "sft", "grpo", "rloo", "ppo", "rft"])
def test_the_recipe_is_what_was_measured(method: str) -> None:
    record = record_of("recipe-gsm8k")
    page = (DOCS / "recipes" / "gsm8k.md").read_text(encoding="utf-8")
    assert recipe_row(method, record["rows"][method]) in page, recipe_row(method, record["rows"][method])
    assert f'| always "{record["floor"]["answer"]}" | {record["floor"]["accuracy"]:.3f} |' in page


def recipe_row(method: str, row: dict[str, Any]) -> str:
    cells = []
    for metric in ("greedy", "pass@1", "pass@4"):
        cell = f"{row['metrics'][metric]['value']:.3f}"
        if "change" in row:
            change = row["change"][metric]["difference"]
            mean_, low, high = (100 * change[name] for name in ("mean", "low", "high"))
            cell += f", {mean_:+.1f} [{low:+.1f}, {high:+.1f}]"
        cells.append(cell)
    seconds = row.get("train_cpu_s")
    cells += [f"{row['counts']['greedy']['mean_completion_tokens']:.0f}", f"{seconds:.0f}" if seconds else "-"]
    return f"| {method} | {' | '.join(cells)} |"


def test_the_speed_of_the_server_is_that_of_its_record() -> None:
    page = (DOCS / "how-to" / "serve.md").read_text(encoding="utf-8")
    record = json.loads((DOCS / "results" / "serving.json").read_text(encoding="utf-8"))
    assert record["date"][:10] in page
    assert f"scored at {record['in_one_process_samples_per_s']:,.0f} a second" in page
    for load in record["loads"]:
        cells = (f"{load['samples_per_s']:,.0f}", *(f"{load[name]:.0f}" for name in ("p50_ms", "p99_ms", "server_mb")))
        assert f"| {load['samples']} | {' | '.join(cells)} |" in page
