"""The reward model of iterative GRPO: what it is trained on and measured on, and that a kill changes nothing."""

import itertools
import json
import os
import pickle
import pkgutil
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.distributed.checkpoint.format_utils import dcp_to_torch_save

from markscheme.adapters import FunctionScorer, as_scorer
from markscheme.files import InputError
from markscheme.models import save_policy
from markscheme.policy.make import make_model, make_tokenizer
from markscheme.refresh_pairs import IterationPairs, draw_replayed
from markscheme.reward_models import (
    PreferencePair,
    RewardModelConfig,
    RewardNetwork,
    compared,
    evaluate_pairs,
    load_pairs,
    train_reward_model,
)
from markscheme.reward_models.preferences import is_held_out
from markscheme.reward_refresh import RefreshConfig, RefreshedRewardModel
from markscheme.run_log import RunLog
from markscheme.scoring import Outcome, Sample, Score, Scorer
from markscheme.verdict_pairs import write_pairs

TRAINING = RewardModelConfig(
    learning_rate=3e-3, warmup_steps=2, batch_size=4, epochs=2, held_out_share=0.25, checkpoint_every=3, log_every=1
)
CONFIG = RefreshConfig(pairs_per_problem=2, reward_model=TRAINING)
STEPS = 4  # of an iteration
GROUPS_A_STEP = 10


class KilledError(BaseException):
    """Stands for a kill: no handler of the code's own takes it for an error."""


def speaks_of_lemons(sample: Sample) -> bool | None:
    """A verdict: the gold is lemons or melons; None where the completion says that it cannot be told."""
    return None if "unclear" in sample.completion else str(sample.gold) in sample.completion


LABELLER = as_scorer(speaks_of_lemons)


def question(number: int) -> str:
    return f"Ada has {number} apples. How many does Ada have?"


def completion(number: int, word: str, k: int = 0) -> str:
    return f" Ada has {number} apples and {word}.{' Ada gets more.' * k}"


@pytest.fixture(scope="module")
def initial(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a reward model that knows a little of lemons, with the pairs it was trained on."""
    folder = tmp_path_factory.mktemp("initial")
    pairs = [
        PreferencePair(
            prompt=question(number),
            chosen=completion(number, "lemons", number % 3),
            rejected=completion(number, "melons", number // 3 % 3),
            id=f"initial/{number}",
        )
        for number in range(60)
    ]
    write_pairs(folder / "pairs.jsonl", pairs)
    tokenizer = make_tokenizer()
    model = make_model(len(tokenizer), width=32, layers=1, seed=0)
    model.config.max_position_embeddings = 512
    save_policy(model, tokenizer, folder / "policy")
    network = RewardNetwork.from_pretrained(str(folder / "policy"), seed=1)
    settings = replace(TRAINING, betas=(0.8, 0.9))  # others than those of the refreshes
    train_reward_model(network, compared(pairs), settings, RunLog(folder / "run", {"command": "test"}))
    network.save(folder / "run" / "model")
    return folder


def rows_of(step: int, gold: str = "lemons", words: tuple[str, ...] = ("lemons", "melons")) -> list[dict[str, Any]]:
    """What GRPO writes of a step: groups of four, of which the last one in every fifth cannot be told."""
    rows = []
    for number in range(1000 + step * GROUPS_A_STEP, 1000 + (step + 1) * GROUPS_A_STEP):
        for k in range(4):
            word = "unclear" if number % 5 == 0 and k == 3 else words[k % len(words)]
            rows.append(
                {
                    "step": step,
                    "problem": f"p{number}",
                    "question": question(number),
                    "gold": gold,
                    "completion": completion(number, word, k // 2),
                    "finish_reason": "stop",
                    "score": {"value": 0.5, "outcome": "rated"},
                    "advantage": 0.1,
                    "iteration": (step - 1) // STEPS,
                    "scorer": "reward_model abc",
                }
            )
    return rows


def write_run(folder: Path, iterations: int = 2, rows: Callable[..., list[dict[str, Any]]] = rows_of) -> Path:
    """A GRPO run folder with the completions of so many iterations."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(row) for step in range(1, iterations * STEPS + 1) for row in rows(step)]
    (folder / "completions.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def refreshed(
    run: Path, initial: Path, labeller: Scorer = LABELLER, config: RefreshConfig = CONFIG
) -> RefreshedRewardModel:
    return RefreshedRewardModel(run, initial / "run" / "model", labeller, STEPS, config, initial / "pairs.jsonl")


def record_of(run: Path, iteration: int) -> dict[str, Any]:
    found = json.loads((run / "reward-models" / str(iteration) / "refresh.json").read_text())
    assert isinstance(found, dict)
    return found


def pairs_of(run: Path, iteration: int) -> IterationPairs:
    return IterationPairs.load(run / "reward-models" / str(iteration) / "pairs")


def contents(run: Path) -> dict[str, bytes]:
    """Every file of the refreshes that the seed determines: all but times and checkpoints."""
    files: dict[str, bytes] = {}
    for path in sorted((run / "reward-models").rglob("*")):
        name = path.relative_to(run).as_posix()
        if path.name == "refresh.json":
            record = json.loads(path.read_text())
            assert record.pop("seconds") > 0
            files[name] = json.dumps(record).encode()
        elif path.is_file() and path.name != "timings.jsonl" and "checkpoints" not in path.parts:
            files[name] = path.read_bytes()
    return files


def optimizer_steps(run: Path) -> int:
    """How many steps AdamW has behind it, at the last checkpoint of a training."""
    [checkpoint] = run.glob("checkpoints/step-*")
    dcp_to_torch_save(checkpoint, run / "tensors.pt")
    tensors = torch.load(run / "tensors.pt")
    (run / "tensors.pt").unlink()
    steps = {
        float(value) for name, value in tensors.items() if name.startswith("optimizer.") and name.endswith(".step")
    }
    assert len(steps) == 1
    return int(steps.pop())


@pytest.fixture(scope="module")
def finished(initial: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with two iterations whose reward models are trained."""
    run = write_run(tmp_path_factory.mktemp("finished") / "run")
    refreshed(run, initial)(2)
    return run


# --- what it is trained on


@given(num_fresh=st.integers(0, 400), num_history=st.integers(0, 60), share=st.sampled_from([0.0, 0.1, 0.25]))
def test_the_replayed_share_is_exact_up_to_rounding_as_far_as_history_reaches(
    num_fresh: int, num_history: int, share: float
) -> None:
    history = [PreferencePair(prompt="?", chosen="1", rejected="2", id=f"old/{k}") for k in range(num_history)]
    replayed = draw_replayed(history, num_fresh, share, seed=0, iteration=1)
    assert len({pair.id for pair in replayed}) == len(replayed)
    assert {pair.id for pair in replayed} <= {pair.id for pair in history}
    # Half a pair is the rounding: |replayed - share * (fresh + replayed)| = (1 - share) * |replayed - wanted|
    if len(replayed) < num_history:
        assert abs(len(replayed) - share * (num_fresh + len(replayed))) <= 0.5


def test_ten_of_a_hundred_are_replayed_and_each_iteration_draws_anew() -> None:
    history = [PreferencePair(prompt="?", chosen="1", rejected="2", id=f"old/{k}") for k in range(50)]
    first, again, second = (
        draw_replayed(history, num_fresh=90, replay_share=0.1, seed=0, iteration=iteration) for iteration in (1, 1, 2)
    )
    assert len(first) == 10  # 10 / (90 + 10)
    assert first == again != second


def test_replayed_pairs_are_those_of_the_initial_model_and_of_earlier_iterations(finished: Path, initial: Path) -> None:
    first, second = pairs_of(finished, 1), pairs_of(finished, 2)
    of_initial = {pair.id for pair in load_pairs(initial / "pairs.jsonl")}
    assert {pair.id for pair in first.replayed} <= of_initial
    # In the second iteration there are 45 or so of the initial model's and 60 or so of the first iteration's.
    assert {pair.id for pair in second.replayed} <= of_initial | {pair.id for pair in first.fresh}
    for pairs in (first, second):
        wanted = len(pairs.fresh) / 9
        assert abs(len(pairs.replayed) - wanted) <= 0.5
        assert not {pair.id for pair in pairs.replayed} & {pair.id for pair in pairs.fresh}


def test_without_initial_pairs_the_first_iteration_has_nothing_to_replay(initial: Path, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    refreshed = RefreshedRewardModel(run, initial / "run" / "model", LABELLER, STEPS, CONFIG)
    refreshed(2)
    assert [record_of(run, i)["historical_pairs"] for i in (1, 2)] == [0, record_of(run, 1)["fresh_pairs"]]
    assert record_of(run, 1)["replayed_pairs"] == 0 < record_of(run, 2)["replayed_pairs"]
    assert {pair.id for pair in pairs_of(run, 2).replayed} <= {pair.id for pair in pairs_of(run, 1).fresh}


def test_a_held_out_question_is_trained_on_in_no_iteration(
    initial: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from markscheme.reward_models import training

    trained_on: set[str] = set()
    backward = training._backward

    def spy(network: Any, batch: Any, objective: Any, token_budget: int) -> Any:
        trained_on.update(one.comparison.group for one in batch)
        return backward(network, batch, objective, token_budget)

    monkeypatch.setattr(training, "_backward", spy)
    # The second iteration meets the questions of the first again.
    run = write_run(tmp_path / "run", rows=lambda step: [{**row, "step": step} for row in rows_of((step - 1) % 4 + 1)])
    refreshed(run, initial)(2)
    held_out = [pair for iteration in (1, 2) for pair in pairs_of(run, iteration).held_out]
    assert len(held_out) > 10
    assert trained_on
    assert not trained_on & {pair.group for pair in held_out}
    assert all(is_held_out(pair, TRAINING.held_out_share) for pair in held_out)


# --- what it records


def test_the_record_counts_what_the_completions_give(finished: Path, initial: Path) -> None:
    record, pairs = record_of(finished, 1), pairs_of(finished, 1)
    # 4 steps of 10 groups of 4; every fifth group lacks the verdict of one. Each group has both kinds, and two pairs.
    assert {name: record[name] for name in ("iteration", "first_step", "last_step", "completions", "problems")} == {
        "iteration": 1,
        "first_step": 1,
        "last_step": 4,
        "completions": 160,
        "problems": 40,
    }
    assert (record["unscored"], record["without_both"], record["too_long"], record["pairs"]) == (8, 0, 0, 80)
    assert record["fresh_pairs"] + record["held_out_pairs"] == 80
    assert [record[name] for name in ("fresh_pairs", "replayed_pairs", "held_out_pairs")] == [
        len(part) for part in (pairs.fresh, pairs.replayed, pairs.held_out)
    ]
    assert {pair.weight for pair in (*pairs.fresh, *pairs.held_out)} == {0.5}
    initial_training = [pair for pair in load_pairs(initial / "pairs.jsonl") if not is_held_out(pair, 0.25)]
    assert record["historical_pairs"] == len(initial_training)
    assert record["trained"] is record["optimizer_continued"] is True


def test_the_record_measures_both_models_on_the_fresh_held_out_questions(finished: Path, initial: Path) -> None:
    models = refreshed(finished, initial)
    for iteration in (1, 2):
        record, held_out = record_of(finished, iteration), pairs_of(finished, iteration).held_out
        for name, scorer in (("before", models(iteration - 1)), ("after", models(iteration))):
            expected = evaluate_pairs(scorer, held_out)
            assert record[name]["scorer"]["accuracy"] == expected.scorer.accuracy, name
            assert record[name]["num_pairs"] == len(held_out), name
        assert record["version"] == models(iteration).version
        network = RewardNetwork.load(models(iteration).folder)
        assert (record["centre"], record["spread"]) == (network.centre, network.spread)
    assert len({models(iteration).version for iteration in range(3)}) == 3


def test_a_preference_that_turned_is_learned_again(initial: Path, tmp_path: Path) -> None:
    config = replace(CONFIG, reward_model=replace(TRAINING, epochs=12))
    run = write_run(tmp_path / "run", iterations=1, rows=lambda step: rows_of(step, gold="melons"))
    refreshed(run, initial, config=config)(1)
    record = record_of(run, 1)
    assert record["before"]["scorer"]["accuracy"] < 0.5 < 0.9 < record["after"]["scorer"]["accuracy"]


def test_a_completion_that_is_too_long_for_the_reward_model_is_left_out_and_counted(
    initial: Path, tmp_path: Path
) -> None:
    def rows(step: int) -> list[dict[str, Any]]:
        first, *others = rows_of(step)
        return [{**first, "completion": first["completion"] + " Ada" * 600}, *others]

    run = write_run(tmp_path / "run", iterations=1, rows=rows)
    refreshed(run, initial)(1)
    record = record_of(run, 1)
    assert (record["too_long"], record["completions"]) == (4, 156)
    assert all(len(pair.chosen) < 600 for pair in pairs_of(run, 1).fresh)


# --- weights and optimizer go on


def own_steps_of(run: Path, iteration: int) -> int:
    """Optimizer steps of one refresh: a batch is of questions."""
    pairs = IterationPairs.load(run / "reward-models" / str(iteration) / "pairs")
    return TRAINING.num_steps(len({pair.prompt for pair in (*pairs.fresh, *pairs.replayed)}))


def test_weights_and_optimizer_go_on_from_the_model_of_before(initial: Path, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    models = refreshed(run, initial)
    models(1)
    steps_before = optimizer_steps(initial / "run")
    own_steps = own_steps_of(run, 1)
    assert optimizer_steps(run / "reward-models" / "1") == steps_before + own_steps
    [rest] = (run / "reward-models" / "1").glob("checkpoints/*/rest.pt")
    [group] = torch.load(rest)["groups"]
    assert group["betas"] == TRAINING.betas  # not the initial training's 0.8 and 0.9
    models(2)
    more_steps = own_steps_of(run, 2)
    assert optimizer_steps(run / "reward-models" / "2") == steps_before + own_steps + more_steps
    assert not (run / "reward-models" / "1" / "checkpoints").exists()  # no longer needed
    assert (initial / "run" / "checkpoints").exists()  # not ours


def test_an_initial_model_without_checkpoint_gets_a_new_optimizer(initial: Path, tmp_path: Path) -> None:
    shutil.copytree(initial / "run" / "model", tmp_path / "alone" / "model")
    run = write_run(tmp_path / "run", iterations=1)
    RefreshedRewardModel(run, tmp_path / "alone" / "model", LABELLER, STEPS, CONFIG)(1)
    assert record_of(run, 1)["optimizer_continued"] is False
    assert optimizer_steps(run / "reward-models" / "1") == own_steps_of(run, 1)


def test_a_checkpoint_of_other_weights_is_refused(initial: Path, tmp_path: Path) -> None:
    shutil.copytree(initial / "run", tmp_path / "other")
    network = RewardNetwork.load(tmp_path / "other" / "model")
    network.head.weight.data += 1
    network.save(tmp_path / "other" / "model")
    run = write_run(tmp_path / "run", iterations=1)
    with pytest.raises(InputError, match="is not of the training that this reward model comes from"):
        RefreshedRewardModel(run, tmp_path / "other" / "model", LABELLER, STEPS, CONFIG)(1)


# --- the same again, whatever happens


def test_the_same_call_gives_the_same_bytes_in_another_folder_and_process(
    finished: Path, initial: Path, tmp_path: Path
) -> None:
    run = write_run(tmp_path / "run")
    code = f"""if True:
        import torch
        from pathlib import Path
        from markscheme.adapters import as_scorer
        from markscheme.reward_models import RewardModelConfig
        from markscheme.reward_refresh import RefreshConfig, RefreshedRewardModel

        torch.set_num_threads(1)
        labeller = as_scorer(
            lambda sample: None if "unclear" in sample.completion else sample.gold in sample.completion,
            name={LABELLER.name!r},
        )
        run, initial = Path({str(run)!r}), Path({str(initial)!r})
        model = initial / "run" / "model"
        print(RefreshedRewardModel(run, model, labeller, {STEPS}, {CONFIG!r}, initial / "pairs.jsonl")(2).version)
    """
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert found.stdout.strip() == refreshed(finished, initial)(2).version
    assert contents(run) == contents(finished)


def test_a_finished_refresh_is_used_as_it_is(finished: Path, initial: Path) -> None:
    def refuse(sample: Sample) -> bool:
        raise KilledError("asked again")

    before = {path: path.stat().st_mtime_ns for path in (finished / "reward-models").rglob("*")}
    labeller = FunctionScorer(function=refuse, name=LABELLER.name, version=LABELLER.version)
    models = refreshed(finished, initial, labeller)
    assert models(2).version == record_of(finished, 2)["version"]
    assert models(1).version == record_of(finished, 1)["version"]
    assert {path: path.stat().st_mtime_ns for path in (finished / "reward-models").rglob("*")} == before


STAGES = {
    "before the pairs are labelled": ("markscheme.refresh_pairs.verdict_of", 0),
    "between two files of pairs": ("markscheme.refresh_pairs.write_pairs", 1),
    "before the pairs' folder takes its place": ("markscheme.refresh_pairs.write_json", 0),
    "when the pairs are made": ("markscheme.reward_refresh.IterationPairs.load", 1),
    "before the first checkpoint": ("markscheme.reward_models.training.take_step", 2),
    "between two checkpoints": ("markscheme.reward_models.training.take_step", 4),
    "before a checkpoint": ("markscheme.reward_models.training.save_checkpoint", 1),
    "after the last checkpoint": ("markscheme.reward_models.training.evaluate_rewards", 1),
    "while the model is saved": ("markscheme.reward_models.model.write_json", 0),
    "when the model is saved": ("markscheme.reward_refresh.write_json", 0),
}


@pytest.mark.parametrize("stage", STAGES)
def test_a_killed_refresh_goes_on_and_ends_bit_by_bit_like_one_in_one_piece(
    stage: str, finished: Path, initial: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = write_run(tmp_path / "run")
    refreshed(run, initial)(1)
    target, calls_before = STAGES[stage]
    original, calls = pkgutil.resolve_name(target), itertools.count()

    def killed(*arguments: Any, **options: Any) -> Any:
        if next(calls) == calls_before:
            raise KilledError
        return original(*arguments, **options)

    with monkeypatch.context() as patched:
        patched.setattr(target, killed)
        with pytest.raises(KilledError):
            refreshed(run, initial)(2)
    assert not (run / "reward-models" / "2" / "refresh.json").exists()
    refreshed(run, initial)(2)
    assert contents(run) == contents(finished)


def test_a_kill_after_the_record_leaves_a_finished_refresh(
    finished: Path, initial: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*arguments: Any, **options: Any) -> None:
        raise KilledError

    run = write_run(tmp_path / "run")
    refreshed(run, initial)(1)
    with monkeypatch.context() as patched:
        patched.setattr("markscheme.reward_refresh.shutil", SimpleNamespace(rmtree=killed))
        with pytest.raises(KilledError):
            refreshed(run, initial)(2)
    assert refreshed(run, initial)(2).version == record_of(finished, 2)["version"]


# --- nothing to learn from


@pytest.mark.parametrize("words", [("lemons",), ("melons",)])
def test_without_a_pair_the_model_of_before_goes_on_with_a_warning_and_a_record(
    words: tuple[str, ...], initial: Path, tmp_path: Path
) -> None:
    run = write_run(tmp_path / "run", rows=lambda step: rows_of(step, words=words) if step <= 4 else rows_of(step))
    models = refreshed(run, initial)
    with pytest.warns(
        UserWarning, match=r"iteration 1: no pairs to train on.*without_both 40.*: the reward model of b"
    ):
        scorer = models(1)
    assert scorer.version == models(0).version
    record = record_of(run, 1)
    assert (record["trained"], record["fresh_pairs"], record["without_both"]) == (False, 0, 40)
    assert record["version"] == models(0).version
    # The next iteration trains the initial model on, optimizer included.
    assert models(2).version != models(0).version
    own_steps = own_steps_of(run, 2)
    assert optimizer_steps(run / "reward-models" / "2") == optimizer_steps(initial / "run") + own_steps


def test_an_iteration_without_pairs_keeps_the_optimizer_for_the_next(initial: Path, tmp_path: Path) -> None:
    words = {1: ("lemons", "melons"), 2: ("lemons",)}
    run = write_run(tmp_path / "run", rows=lambda step: rows_of(step, words=words[(step - 1) // STEPS + 1]))
    with pytest.warns(UserWarning, match="iteration 2"):
        scorer = refreshed(run, initial)(2)
    assert scorer.version == record_of(run, 1)["version"] == record_of(run, 2)["version"]
    assert optimizer_steps(run / "reward-models" / "1") > optimizer_steps(initial / "run")


def test_pairs_of_which_none_is_held_out_train_nothing_but_can_be_replayed(initial: Path, tmp_path: Path) -> None:
    def rows(step: int) -> list[dict[str, Any]]:
        pairs = {row["question"]: PreferencePair(prompt=row["question"], chosen="1", rejected="2", id="") for row in
                 rows_of(step)}  # fmt: skip
        return [row for row in rows_of(step) if step > 4 or not is_held_out(pairs[row["question"]], 0.25)]

    run = write_run(tmp_path / "run", rows=rows)
    models = refreshed(run, initial)
    with pytest.warns(UserWarning, match="held_out_pairs 0"):
        models(1)
    models(2)
    fresh = {pair.id for pair in pairs_of(run, 1).fresh}
    initial_training = sum(not is_held_out(pair, 0.25) for pair in load_pairs(initial / "pairs.jsonl"))
    assert record_of(run, 2)["historical_pairs"] == initial_training + len(fresh)


# --- what is refused


def test_a_step_without_completions_is_named(initial: Path, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", iterations=1, rows=lambda step: rows_of(step) if step != 3 else [])
    with pytest.raises(InputError, match=r"completions.jsonl: no completion of step 3,.*steps 1 to 4"):
        refreshed(run, initial)(1)


def test_a_labeller_that_only_rates_is_refused(initial: Path, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", iterations=1)
    with pytest.raises(InputError, match="the labeller reward_model rates and gives no verdicts"):
        refreshed(run, initial, refreshed(run, initial)(0))(1)


def test_refreshes_with_other_settings_are_not_taken_for_these(finished: Path, initial: Path) -> None:
    with pytest.raises(InputError, match=r"other settings \(replay_share was 0.1, is 0.2\)"):
        refreshed(finished, initial, config=replace(CONFIG, replay_share=0.2))(2)


@pytest.mark.parametrize(("name", "value"), [("replay_share", 1.0), ("replay_share", -0.1), ("pairs_per_problem", 0)])
def test_a_setting_out_of_range_is_named(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"{name} must be .* got {value}"):
        RefreshConfig(**{name: value})  # type: ignore[arg-type]


def test_an_iteration_has_a_step_at_least(initial: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="steps_per_iteration must be at least 1, got 0"):
        RefreshedRewardModel(tmp_path, initial / "run" / "model", LABELLER, 0, CONFIG)


# --- it gives scorers


@pytest.mark.parametrize("iteration", [0, 1, 2])
def test_each_iterations_scorer_keeps_the_scorers_laws(iteration: int, finished: Path, initial: Path) -> None:
    scorer = refreshed(finished, initial)(iteration)
    assert isinstance(scorer, Scorer)
    samples = [
        Sample(prompt=question(k), completion=text)
        for k, text in enumerate((completion(3, "lemons"), completion(4, "melons"), "", "\ud800", " Ada" * 600))
    ]
    scores = scorer.score(samples)
    assert [score.outcome for score in scores] == [Outcome.RATED] * 4 + [Outcome.UNDECIDED]
    for same in (scorer.score(samples[::-1])[::-1], pickle.loads(pickle.dumps(scorer)).score(samples)):
        assert [score.outcome for score in same] == [score.outcome for score in scores]
        assert [one.value for one in same[:4]] == pytest.approx([one.value for one in scores[:4]], abs=1e-5)
    assert [Score.from_dict(json.loads(json.dumps(score.to_dict()))) for score in scores] == scores
    assert (scorer.name, scorer.version) == ("reward_model", pickle.loads(pickle.dumps(scorer)).version)


def test_group_relative_advantages_do_not_see_centre_and_spread(finished: Path, initial: Path) -> None:
    from markscheme.grpo.advantage import outcome_advantages

    scorer = refreshed(finished, initial)(1)
    scores = scorer.score([Sample(prompt=question(1), completion=completion(1, "lemons", k)) for k in range(4)])
    standardised = [score.value for score in scores]
    raw = [float(score.evidence["reward"]) for score in scores]
    [of_standardised], [of_raw] = outcome_advantages([standardised], "grpo"), outcome_advantages([raw], "grpo")
    assert of_standardised == pytest.approx(of_raw, rel=3e-2)  # but for eps
