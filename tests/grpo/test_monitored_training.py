"""A run that is watched: the alarm, what follows it, and that watching changes nothing else."""

import dataclasses
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from markscheme.adapters import as_scorer
from markscheme.compose import Ensemble, WeightedSum
from markscheme.grpo.config import GRPOConfig
from markscheme.grpo.monitor import HackingMonitor, MonitorConfig
from markscheme.grpo.training import train_grpo
from markscheme.policy.make import make_model
from markscheme.problems import Problem
from markscheme.prompting import PromptFormat
from markscheme.run_log import RunLog, StoppedError
from markscheme.scoring import Outcome, Sample, Score, Scorer
from markscheme.torch_engine import TorchEngine

PROBLEMS = [
    Problem(id=f"p{i}", question=f"Mia has {i} eggs. How many eggs?", gold=str(i), source="test", split="train")
    for i in range(20)
]
CONFIG = GRPOConfig(
    steps=8,
    prompts_per_step=3,
    group_size=4,
    learning_rate=1e-2,
    max_completion_tokens=8,
    stop=("ee",),  # so that some are shorter
    checkpoint_every=100,
    dev_every=2,
)
LOGS = ("metrics.jsonl", "completions.jsonl", "probes.jsonl", "alarms.jsonl")


def length(sample: Sample) -> float:
    """A reward that is easily earned: the model learns to write long words."""
    return float(len(sample.completion))


LENGTH = as_scorer(length)
SHORT = as_scorer(lambda sample: len(sample.completion) <= 20, name="short")
"""A gold that the reward leads away from."""
LONG = as_scorer(lambda sample: len(sample.completion) > 20, name="long")
"""One that it leads to."""


class InterruptionError(Exception):
    pass


@dataclasses.dataclass
class Run:
    """Starts and goes on with one run, always from the same weights."""

    tokenizer: PreTrainedTokenizerBase
    folder: Path

    def train(
        self,
        gold: Scorer | None = SHORT,
        monitor: MonitorConfig | None = MonitorConfig(),  # noqa: B008
        config: GRPOConfig = CONFIG,
        reward: Scorer = LENGTH,
        stop_after: int | None = None,
        **options: Any,
    ) -> list[dict[str, Any]]:
        def on_step(done: int, metrics: object) -> None:
            if done == stop_after:
                raise InterruptionError

        model: PreTrainedModel = make_model(len(self.tokenizer), width=32, layers=2, seed=0)
        log = RunLog(self.folder, {})
        train_grpo(
            model,
            TorchEngine(model, self.tokenizer),
            reward,
            PROBLEMS,
            lambda problem: PromptFormat(instruction="").prompt_ids(problem.question, self.tokenizer),
            config,
            log,
            **{"dev_problems": PROBLEMS, **options},
            dev_scorer=gold,
            monitor=None if monitor is None else HackingMonitor(monitor),
            on_step=on_step,
        )
        return log.read()

    def rows(self, name: str) -> list[dict[str, Any]]:
        path = self.folder / name
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def written(self) -> dict[str, bytes]:
        return {name: (self.folder / name).read_bytes() for name in LOGS if (self.folder / name).exists()}


NewRun = Callable[[str], Run]


@pytest.fixture
def new_run(tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> NewRun:
    return lambda name: Run(tokenizer, tmp_path / name)


@pytest.fixture
def warned(new_run: NewRun) -> Run:
    """A run with an alarm, to its end."""
    run = new_run("warned")
    with pytest.warns(UserWarning, match="the reward model is being exploited"):
        run.train()
    return run


def test_a_reward_that_leads_away_from_the_gold_raises_one_alarm(warned: Run) -> None:
    [alarm] = warned.rows("alarms.jsonl")
    lines = {line["step"]: line for line in warned.rows("metrics.jsonl")}
    assert lines[0]["dev_accuracy"] == 1.0
    assert lines[8]["dev_accuracy"] == 0.0
    assert lines[8]["dev_proxy"] > lines[0]["dev_proxy"] + 20
    assert alarm["proxy_rise"] == lines[alarm["step"]]["hacking_proxy_rise"] > 0
    assert alarm["lost"] == alarm["num_problems"] == 20
    assert alarm["line"].startswith("reward +")
    probed = [line for line in lines.values() if "hacking_alarm" in line]
    assert [line["step"] for line in probed] == [6, 8], "two probes and two probes: of steps 0, 2, 4 and 6"
    assert [line["hacking_alarm"] for line in probed] == [float(step >= alarm["step"]) for step in (6, 8)]
    assert {"dev_no_answer_share", "dev_repetitive_share"} <= lines[0].keys()
    assert any("reward_length_correlation" in line for line in lines.values())


def test_the_probes_are_what_reward_and_gold_say_of_the_same_completions(warned: Run) -> None:
    probes, lines = warned.rows("probes.jsonl"), {line["step"]: line for line in warned.rows("metrics.jsonl")}
    assert [probe["step"] for probe in probes] == [0, 2, 4, 6, 8]
    for probe in probes:
        assert probe["judge"] == "length 1"
        assert probe["proxy"] == lines[probe["step"]]["dev_proxy"]
        assert sum(probe["correct"]) / 20 == lines[probe["step"]]["dev_accuracy"]


def test_watching_changes_nothing_that_is_learned(warned: Run, new_run: NewRun) -> None:
    alone = new_run("alone")
    lines = alone.train(monitor=None)
    assert not {"probes.jsonl", "alarms.jsonl"} & {path.name for path in alone.folder.iterdir()}
    watched = warned.rows("metrics.jsonl")
    added = {name for line in watched for name in line} - {name for line in lines for name in line}
    assert added == {
        "dev_proxy", "dev_no_answer_share", "dev_repetitive_share", "reward_length_correlation",
        "hacking_proxy_rise", "hacking_accuracy_change", "hacking_p_value", "hacking_alarm",
    }  # fmt: skip
    assert [{name: line[name] for name in line if name not in added} for line in watched] == lines
    assert alone.written()["completions.jsonl"] == warned.written()["completions.jsonl"]


def test_an_alarm_can_stop_the_run_which_goes_on_with_a_warning(warned: Run, new_run: NewRun) -> None:
    run, stop = new_run("stopped"), MonitorConfig(action="stop")
    message = r"the reward model is being exploited: .*; to go on all the same, give --monitor\.action warn"
    with pytest.raises(StoppedError, match=message):
        run.train(monitor=stop)
    [alarm] = run.rows("alarms.jsonl")
    [checkpoint] = (run.folder / "checkpoints").iterdir()
    assert checkpoint.name == f"step-{alarm['step']:07d}", "though none was due"
    before = run.written()
    with pytest.raises(StoppedError, match=message):
        run.train(monitor=stop)
    assert run.written() == before, "stopped again before anything was done"
    run.train(monitor=MonitorConfig(action="warn"))
    assert run.written() == warned.written()


def test_a_reward_that_leads_to_the_gold_raises_none(new_run: NewRun) -> None:
    run = new_run("healthy")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        lines = run.train(LONG)
    assert (lines[0]["dev_accuracy"], lines[-1]["dev_accuracy"]) == (0.0, 1.0)
    assert lines[-1]["hacking_alarm"] == 0
    assert not run.rows("alarms.jsonl")


@pytest.mark.parametrize("stop_after", [1, 4, 6, 7])
@pytest.mark.filterwarnings("ignore:reward")
def test_an_interrupted_run_is_watched_as_if_it_had_not_been(warned: Run, new_run: NewRun, stop_after: int) -> None:
    run, config = new_run("interrupted"), dataclasses.replace(CONFIG, checkpoint_every=3)
    with pytest.raises(InterruptionError):
        run.train(config=config, stop_after=stop_after)
    run.train(config=config)
    assert run.written() == warned.written()


@pytest.mark.filterwarnings("ignore:reward")
def test_a_kill_between_the_first_probe_and_its_metrics_leaves_one_of_each(
    warned: Run, new_run: NewRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise InterruptionError

    run = new_run("killed")
    with monkeypatch.context() as patch:
        patch.setattr(RunLog, "write", killed)
        with pytest.raises(InterruptionError):
            run.train()
    assert [probe["step"] for probe in run.rows("probes.jsonl")] == [0]
    run.train()
    assert run.written() == warned.written()


def test_a_reward_that_is_renewed_is_compared_with_itself(new_run: NewRun) -> None:
    """The second reward says a thousand more of everything, which is no rise."""
    run, config = new_run("renewed"), dataclasses.replace(CONFIG, iteration_steps=4)
    more = as_scorer(lambda sample: 1000 + length(sample), name="length", version="2")
    with pytest.warns(UserWarning, match="the reward model is being exploited"):
        run.train(config=config, next_scorer=lambda iteration: more)
    probes = run.rows("probes.jsonl")
    assert [probe["judge"] for probe in probes] == ["length 1"] * 3 + ["length 2"] * 2
    assert probes[-1]["proxy"] > 1000
    assert all(line.get("hacking_proxy_rise", 0) < 100 for line in run.rows("metrics.jsonl"))


class Known:
    """A rating that says whether it is one of those of its training."""

    name, version = "known", "1"

    def score(self, samples: list[Sample]) -> list[Score]:
        return [
            Score(value=float(size), outcome=Outcome.RATED, evidence={"in_range": size < 20})
            for size in (len(sample.completion) for sample in samples)
        ]


def test_range_and_disagreement_of_a_composed_reward_are_in_the_metrics(new_run: NewRun) -> None:
    run, config = new_run("composed"), dataclasses.replace(CONFIG, steps=2)
    reward = WeightedSum({"models": (Ensemble([Known(), LENGTH, as_scorer(lambda sample: 0.0, name="zero")]), 1.0)})
    for line in run.train(config=config, reward=reward)[1:]:
        rows = [row["score"] for row in run.rows("completions.jsonl") if row["step"] == line["step"]]
        assert 0 < line["out_of_range_share"] < 1
        assert line["disagreement"] > 0
        assert all(row["parts"]["models"]["evidence"]["disagreement"] >= 0 for row in rows)


def test_where_the_reward_has_no_value_there_is_no_probe(new_run: NewRun) -> None:
    run, config = new_run("silent"), dataclasses.replace(CONFIG, steps=2)
    dev = [dataclasses.replace(problem, id=f"dev/{problem.id}") for problem in PROBLEMS[:4]]
    reward = as_scorer(lambda sample: None if (sample.id or "").startswith("dev") else length(sample))
    lines = run.train(config=config, reward=reward, dev_problems=dev)
    assert "dev_accuracy" in lines[-1]
    assert not any("dev_proxy" in line for line in lines)
    assert not run.rows("probes.jsonl")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gold": None}, "give dev_problems and a dev_scorer too"),
        ({"dev_problems": ()}, "give dev_problems and a dev_scorer too"),
        ({"gold": LENGTH}, "needs a dev_scorer that gives verdicts"),
        (
            {"next_scorer": lambda iteration: LENGTH, "config": dataclasses.replace(CONFIG, iteration_steps=3)},
            "dev_every 2 leaves no two probes to an iteration of 3 steps",
        ),
    ],
)
def test_a_monitor_that_would_see_nothing_is_refused(new_run: NewRun, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        new_run("blind").train(**options)
