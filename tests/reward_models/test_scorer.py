import pickle
import threading
from pathlib import Path

import pytest
import torch

from markscheme.files import InputError
from markscheme.reward_models import PreferencePair, RewardModel, RewardNetwork
from markscheme.scoring import Outcome, Sample, Scorer

TOLERANCE = 1e-5  # kernels round differently for batches of different shapes


@pytest.fixture
def folder(network: RewardNetwork, tmp_path: Path) -> Path:
    network.centre, network.spread = 0.1, 0.5
    network.low, network.high = -1.0, 1.0
    network.save(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def scorer(folder: Path) -> RewardModel:
    return RewardModel(folder, token_budget=120)  # three micro-batches or more


@pytest.fixture
def samples(lemon_pairs: list[PreferencePair]) -> list[Sample]:
    return [Sample(prompt=pair.prompt, completion=pair.chosen * (1 + index % 4)) for index, pair in
            enumerate(lemon_pairs[:12])]  # fmt: skip


def values(scorer: Scorer, samples: list[Sample]) -> list[float]:
    scores = scorer.score(samples)
    assert {score.outcome for score in scores} == {Outcome.RATED}
    return [score.value for score in scores if score.value is not None]


def test_a_score_is_the_standardised_reward_of_the_text_as_it_was_trained(
    scorer: RewardModel, samples: list[Sample], network: RewardNetwork
) -> None:
    # Training reads RewardNetwork.encode(prompt, completion), which ends with the end token; so must scoring.
    for sample, score in zip(samples, scorer.score(samples), strict=True):
        sequence = network.encode(sample.prompt, sample.completion)
        assert sequence.completion_ids[-1] == network.tokenizer.eos_token_id
        [reward] = network.rewards([sequence], token_budget=1_000)
        assert score.value == pytest.approx((reward - 0.1) / 0.5, abs=TOLERANCE)
        assert score.evidence == {
            "tokens": len(sequence),
            "reward": pytest.approx(reward, abs=TOLERANCE),
            "in_range": -1 <= score.value <= 1,
        }


def test_a_score_does_not_depend_on_the_batch(scorer: RewardModel, samples: list[Sample], folder: Path) -> None:
    together = values(scorer, samples)
    assert len({round(value, 3) for value in together}) > 6
    assert [values(scorer, [sample])[0] for sample in samples] == pytest.approx(together, abs=TOLERANCE)
    assert values(scorer, samples[::-1])[::-1] == pytest.approx(together, abs=TOLERANCE)
    assert values(RewardModel(folder, token_budget=10_000), samples) == pytest.approx(together, abs=TOLERANCE)


def test_an_over_long_completion_is_undecided_and_leaves_its_neighbours_alone(
    scorer: RewardModel, samples: list[Sample]
) -> None:
    over_long = Sample(prompt="How many?", completion=" Ada" * 600)
    first, undecided, second = scorer.score([samples[0], over_long, samples[1]])
    assert (undecided.outcome, undecided.value) == (Outcome.UNDECIDED, None)
    assert undecided.evidence["tokens"] > undecided.evidence["max_tokens"] == 512
    assert [first.value, second.value] == pytest.approx(values(scorer, samples[:2]), abs=TOLERANCE)


def test_the_longest_completion_that_fits_is_rated(scorer: RewardModel) -> None:
    [empty] = scorer.score([Sample(prompt="How many?", completion="")])
    for extra, outcome in ((0, Outcome.RATED), (1, Outcome.UNDECIDED)):
        completion = " Ada" * (512 - empty.evidence["tokens"] + extra)
        assert scorer.score([Sample(prompt="How many?", completion=completion)])[0].outcome is outcome


def test_a_reward_that_is_not_finite_is_a_failure(network: RewardNetwork, tmp_path: Path) -> None:
    network.head.weight.data.fill_(float("inf"))
    network.save(tmp_path / "broken")
    [score] = RewardModel(tmp_path / "broken").score([Sample(prompt="How many?", completion="3")])
    assert score.outcome is Outcome.FAILED
    assert "the reward is" in score.evidence["error"]


@pytest.mark.parametrize("completion", ["", "\x00", "\ud800", "<|end|>" * 9, "🙂"])
def test_any_text_is_rated(scorer: RewardModel, completion: str) -> None:
    values(scorer, [Sample(prompt="How many?", completion=completion)])


def test_no_samples_no_scores(scorer: RewardModel) -> None:
    assert scorer.score([]) == []


def test_version_names_weights_and_settings(folder: Path, network: RewardNetwork, tmp_path: Path) -> None:
    version = RewardModel(folder).version
    network.save(tmp_path / "copy")
    assert RewardModel(tmp_path / "copy").version == version
    network.head.weight.data[0] += 1
    network.save(tmp_path / "other_head")
    network.head.weight.data[0] -= 1
    network.centre = 7.0
    network.save(tmp_path / "other_centre")
    assert (
        len({version, RewardModel(tmp_path / "other_head").version, RewardModel(tmp_path / "other_centre").version})
        == 3
    )


def test_a_pickle_holds_the_path_not_the_weights(scorer: RewardModel, samples: list[Sample]) -> None:
    expected = values(scorer, samples)
    pickled = pickle.dumps(scorer)
    assert len(pickled) < 1_000
    copy = pickle.loads(pickled)
    assert (copy.name, copy.version) == (scorer.name, scorer.version)
    assert values(copy, samples) == expected


def test_threads_can_share_it(scorer: RewardModel, samples: list[Sample]) -> None:
    expected = values(scorer, samples)
    found: list[list[float]] = []
    threads = [threading.Thread(target=lambda: found.append(values(scorer, samples))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [pytest.approx(expected, abs=TOLERANCE)] * 3


def test_it_is_a_scorer_and_scores_without_gradients(scorer: RewardModel, samples: list[Sample]) -> None:
    assert isinstance(scorer, Scorer)
    scorer.score(samples)
    assert torch.is_grad_enabled()


def test_a_folder_without_reward_model_is_named(policy_folder: Path) -> None:
    with pytest.raises(InputError, match="no reward model in it"):
        RewardModel(policy_folder)
