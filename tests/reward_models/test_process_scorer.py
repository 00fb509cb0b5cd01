import pickle
import threading
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from markscheme.files import InputError
from markscheme.reward_models import LabelledSteps, ProcessRewardModel, RewardModel, RewardNetwork
from markscheme.reward_models.process import read_steps, step_values
from markscheme.reward_models.process_evaluation import probability
from markscheme.reward_models.process_scorer import AGGREGATES, step_ends
from markscheme.reward_models.process_training import encode_steps
from markscheme.scoring import Outcome, Sample, Scorer

TOLERANCE = 1e-5  # kernels round differently for batches of different shapes


@pytest.fixture
def network(policy_folder: Path) -> RewardNetwork:
    network = RewardNetwork.from_pretrained(str(policy_folder), seed=1, kind="process")
    with torch.no_grad():
        network.head.weight.mul_(4)  # probabilities that differ
    return network


@pytest.fixture
def folder(network: RewardNetwork, tmp_path: Path) -> Path:
    network.save(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def scorer(folder: Path) -> ProcessRewardModel:
    return ProcessRewardModel(folder, token_budget=120)  # three micro-batches or more


@pytest.fixture
def solutions(lemon_steps: list[LabelledSteps]) -> list[LabelledSteps]:
    return lemon_steps[:12]


@pytest.fixture
def samples(solutions: list[LabelledSteps]) -> list[Sample]:
    return [Sample(prompt=one.prompt, completion="\n".join(one.steps)) for one in solutions]


def values(scorer: Scorer, samples: list[Sample]) -> list[list[float]]:
    """The value of each sample, then those of its steps."""
    scores = scorer.score(samples)
    assert {score.outcome for score in scores} == {Outcome.RATED}
    return [[score.value or 0.0, *(step.value for step in score.steps)] for score in scores]


def near(expected: list[list[float]]) -> list[Any]:
    return [pytest.approx(one, abs=TOLERANCE) for one in expected]


def test_what_is_served_is_what_was_trained_and_measured(
    scorer: ProcessRewardModel, solutions: list[LabelledSteps], samples: list[Sample], network: RewardNetwork
) -> None:
    served = {one.group: score.steps for one, score in zip(solutions, scorer.score(samples), strict=True)}
    assert len({round(step.value, 3) for steps in served.values() for step in steps}) > 12
    for example in encode_steps(network, solutions)[0]:
        read = read_steps(network, example.read).sigmoid().tolist()
        assert [step.value for step in served[example.group]][: len(read)] == pytest.approx(read, abs=TOLERANCE)
    for one, its_values in zip(solutions, step_values(network, solutions, 10_000), strict=True):
        measured = [probability(value) for value in its_values if value is not None]
        assert [step.value for step in served[one.group]][: len(measured)] == pytest.approx(measured, abs=TOLERANCE)


def test_a_step_behind_a_shared_beginning_is_served_as_it_was_trained(
    scorer: ProcessRewardModel, network: RewardNetwork
) -> None:
    steps = ("Ada has 3 plums.", "Ben has 4.", "So 7.")
    [example], _ = encode_steps(
        network, [LabelledSteps(prompt="How many?", steps=steps, labels=(None, None, 1.0), id="x")]
    )
    [trained] = read_steps(network, example.read).sigmoid().tolist()
    for text in ("\n".join(steps), " \n" + " \n\n".join(steps) + "\n\n", "\n\n".join(steps)):
        [score] = scorer.score([Sample(prompt="How many?", completion=text)])
        assert score.steps[-1].value == pytest.approx(trained, abs=TOLERANCE)
        assert score.steps[-1].end == len(text.rstrip())


def test_a_score_does_not_depend_on_the_batch(scorer: ProcessRewardModel, samples: list[Sample], folder: Path) -> None:
    together = values(scorer, samples)
    assert [values(scorer, [sample])[0] for sample in samples] == near(together)
    assert values(scorer, samples[::-1])[::-1] == near(together)
    assert values(ProcessRewardModel(folder, token_budget=10_000), samples) == near(together)


def test_an_encoder_serves_what_it_was_trained_on(encoder_folder: Path, tmp_path: Path) -> None:
    network = RewardNetwork.from_pretrained(str(encoder_folder), seed=1, kind="process")
    network.save(tmp_path / "model")
    one = LabelledSteps(prompt="how many?", steps=("ada 3", "7 melons"), labels=(1.0, 0.0), id="x")
    trained = [read_steps(network, example.read).sigmoid().item() for example in encode_steps(network, [one])[0]]
    sample = Sample(prompt="how many?", completion="ada 3\n7 melons")
    over_long = [replace(sample, completion=text) for text in ("7 " * 600, "7\n" * 600)]
    score, *undecided = ProcessRewardModel(tmp_path / "model").score([sample, *over_long])
    assert [step.value for step in score.steps] == pytest.approx(trained, abs=TOLERANCE)
    assert score.evidence == {"steps": 2, "tokens": len(network.encode("how many?\nada 3", "7 melons"))}
    assert {one.outcome for one in undecided} == {Outcome.UNDECIDED}


def test_aggregates_by_hand() -> None:
    # values log 3, 0 and -log 3 are probabilities 3/4, 1/2 and 1/4
    three = [1.0986122886681098, -1.0986122886681098, 0.0]
    found = {name: aggregate(three) for name, aggregate in AGGREGATES.items()}
    assert found == pytest.approx({"prod": 3 / 32, "min": 0.25, "last": 0.5, "mean": 0.5})


def test_the_value_is_the_aggregate_of_the_steps(folder: Path, samples: list[Sample]) -> None:
    for name, expected in (("prod", "product"), ("min", "min"), ("last", "last"), ("mean", "mean")):
        for value, *steps in values(ProcessRewardModel(folder, name), samples):  # type: ignore[arg-type]
            product = torch.tensor(steps, dtype=torch.float64).prod().item()
            by_hand = {"product": product, "min": min(steps), "last": steps[-1], "mean": sum(steps) / len(steps)}
            assert value == pytest.approx(by_hand[expected], abs=1e-9)
    with pytest.raises(ValueError, match="no aggregate 'max'; there are prod, min, last, mean"):
        ProcessRewardModel(folder, "max")  # type: ignore[arg-type]


# Padding.


@given(st.lists(st.floats(-40, 40), min_size=1, max_size=6), st.lists(st.floats(-40, 40), min_size=1, max_size=6))
def test_further_steps_can_only_cost(values: list[float], more: list[float]) -> None:
    for name in ("prod", "min"):
        assert AGGREGATES[name]([*values, *more]) <= AGGREGATES[name](values)


def test_further_steps_can_pay_where_only_the_last_or_the_mean_counts() -> None:
    for name in ("last", "mean"):
        assert AGGREGATES[name]([-3.0, 3.0]) > AGGREGATES[name]([-3.0])


@given(st.text(st.sampled_from("ab \t\n\r"), max_size=30))
def test_what_follows_a_step_changes_none_before_it(text: str) -> None:
    ends = step_ends(text)
    for k, end in enumerate(ends):
        assert step_ends(text[:end]) == ends[: k + 1]
        for more in ("\nb", "\n\nb", "\n\nb\n\na\na"):
            assert step_ends(text[:end] + more)[:k] == ends[:k]


@given(st.text(st.sampled_from("ab \t\n\r\u2003"), max_size=30))
def test_steps_hold_all_that_is_written(text: str) -> None:
    ends = step_ends(text)
    assert ends == sorted(set(ends))
    steps = [text[a:b].strip() for a, b in zip([0, *ends], ends, strict=False)]
    assert all(steps)
    assert "".join("".join(steps).split()) == "".join(text.split())
    assert not text[ends[-1] if ends else 0 :].strip()


def test_a_completion_is_worth_no_more_than_its_beginning(folder: Path) -> None:
    padding = ["So it is right.", "Good.", "7", "", "The answer is 7.\n\nThe answer is 7."]
    text = "Ada has 3 plums.\nBen has 4."
    for name in ("prod", "min"):
        scorer = ProcessRewardModel(folder, name)  # type: ignore[arg-type]
        samples = [Sample(prompt="How many?", completion="\n".join([text, *padding[:k]])) for k in range(6)]
        found = [value for value, *_ in values(scorer, samples)]
        assert all(later <= earlier + TOLERANCE for earlier, later in pairwise(found))
        assert found[-1] < found[0]


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("a b", ["a b"]),
        (" a\n b \n\n\nc", ["a", "b", "c"]),
        ("a\n\nb\nc\n \t\nd ", ["a", "b\nc", "d"]),
        ("\n\n a\r\n\r\nb\r\nc\r\n", ["a", "b\r\nc"]),
        ("a\nb\n\n", ["a", "b"]),
        ("\n \n", []),
        ("\x00", ["\x00"]),
    ],
)
def test_steps_are_paragraphs_or_lines(text: str, steps: list[str]) -> None:
    ends = step_ends(text)
    assert [text[a:b].strip() for a, b in zip([0, *ends], ends, strict=False)] == steps


@pytest.mark.parametrize(
    "text", ["\n" * 200_000, " " * 200_000, "\n " * 100_000, "a\n" + " " * 200_000 + "b", "\r" * 9]
)
def test_white_space_without_end_is_cut_in_no_time(text: str) -> None:
    assert len(step_ends(text)) == len(text.split())


# Limits.


@pytest.mark.parametrize("completion", ["", " \n\t ", "\u2003"])
def test_without_a_step_there_is_no_answer_and_no_reward(folder: Path, completion: str) -> None:
    for name in AGGREGATES:
        for meta in ({}, {"step_ends": [1]}):
            [score] = ProcessRewardModel(folder, name).score(  # type: ignore[arg-type]
                [Sample(prompt="How many?", completion=completion, meta=meta)]
            )
            assert (score.outcome, score.value, score.steps) == (Outcome.NO_ANSWER, 0.0, ())


def test_the_sample_may_say_where_its_steps_end(scorer: ProcessRewardModel) -> None:
    sample = Sample(prompt="How many?", completion="Ada has 3. Ben has 4. So 7.", meta={"step_ends": [10, 27]})
    as_lines = replace(sample, completion="Ada has 3.\nBen has 4. So 7.", meta={})
    given_ends, lines = scorer.score([sample, as_lines])
    assert [step.end for step in given_ends.steps] == [10, 27]
    assert [step.value for step in given_ends.steps] == pytest.approx(
        [step.value for step in lines.steps], abs=TOLERANCE
    )
    for wrong in ([10, 10], [27, 10], [28], [0], "10", [1.5]):
        [score] = scorer.score([replace(sample, meta={"step_ends": wrong})])
        assert score.outcome is Outcome.FAILED
        assert "no rising list" in score.evidence["error"]


def test_an_over_long_completion_is_undecided_and_leaves_its_neighbours_alone(
    scorer: ProcessRewardModel, samples: list[Sample]
) -> None:
    over_long = [Sample(prompt="How many?", completion=text) for text in (" Ada" * 600, "Ada\n" * 400, "Ada\n" * 600)]
    first, *undecided, second = scorer.score([samples[0], *over_long, samples[1]])
    for one in undecided:
        assert (one.outcome, one.value) == (Outcome.UNDECIDED, None)
        assert one.evidence["max_tokens"] == 512
    assert [[first.value], [second.value]] == near([[value] for value, *_ in values(scorer, samples[:2])])


def test_values_that_are_not_finite_are_a_failure(network: RewardNetwork, tmp_path: Path) -> None:
    network.head.weight.data.fill_(float("inf"))
    network.save(tmp_path / "broken")
    [score] = ProcessRewardModel(tmp_path / "broken").score([Sample(prompt="How many?", completion="3")])
    assert score.outcome is Outcome.FAILED
    assert "the values of its steps are" in score.evidence["error"]


def test_steps_that_are_surely_wrong_make_a_product_of_zero(network: RewardNetwork, tmp_path: Path) -> None:
    sample = Sample(prompt="How many?", completion="Ada has 3.\nBen 4")
    found = []
    for sign in (1, -1):
        network.head.weight.data.mul_(sign * 1e3)
        network.save(tmp_path / "sure")
        found += values(ProcessRewardModel(tmp_path / "sure"), [sample])
    assert sorted(found) == [[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]]


@pytest.mark.parametrize("completion", ["\x00", "\ud800", "<|end|>" * 9, "🙂\n\n🙂"])
def test_any_text_is_rated(scorer: ProcessRewardModel, completion: str) -> None:
    values(scorer, [Sample(prompt="How many?", completion=completion)])


def test_version_names_weights_and_aggregate(folder: Path, network: RewardNetwork, tmp_path: Path) -> None:
    network.save(tmp_path / "copy")
    assert ProcessRewardModel(tmp_path / "copy").version == ProcessRewardModel(folder).version
    network.head.weight.data[0] += 1
    network.save(tmp_path / "other")
    models = [ProcessRewardModel(folder), ProcessRewardModel(folder, "min"), ProcessRewardModel(tmp_path / "other")]
    assert len({one.version for one in models}) == 3


def test_a_pickle_holds_the_path_not_the_weights(folder: Path, samples: list[Sample]) -> None:
    scorer = ProcessRewardModel(folder, "min")
    expected = values(scorer, samples)
    pickled = pickle.dumps(scorer)
    assert len(pickled) < 1_000
    copy = pickle.loads(pickled)
    assert (copy.name, copy.version) == (scorer.name, scorer.version)
    assert values(copy, samples) == expected


def test_threads_can_share_it(scorer: ProcessRewardModel, samples: list[Sample]) -> None:
    expected = values(scorer, samples)
    found: list[list[list[float]]] = []
    threads = [threading.Thread(target=lambda: found.append(values(scorer, samples))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [near(expected)] * 3


def test_no_samples_no_scores(scorer: ProcessRewardModel) -> None:
    assert isinstance(scorer, Scorer)
    assert scorer.score([]) == []


def test_each_kind_of_model_has_its_own_scorer(folder: Path, policy_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a process model, which values steps: take ProcessRewardModel"):
        RewardModel(folder)
    RewardNetwork.from_pretrained(str(policy_folder), seed=1).save(tmp_path / "outcome")
    with pytest.raises(InputError, match="a reward model of whole completions, not of steps: take RewardModel"):
        ProcessRewardModel(tmp_path / "outcome")
    with pytest.raises(InputError, match="no reward model in it"):
        ProcessRewardModel(policy_folder)
