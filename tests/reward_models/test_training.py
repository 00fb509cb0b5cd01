import statistics
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from markscheme.files import InputError
from markscheme.reward_models import (
    PreferencePair,
    RewardModelConfig,
    RewardNetwork,
    compared,
    split_by_question,
    train_reward_model,
)
from markscheme.reward_models.config import Loss
from markscheme.run_log import RunLog

CONFIG = RewardModelConfig(
    learning_rate=3e-3, warmup_steps=5, batch_size=16, epochs=4, held_out_share=0.25, checkpoint_every=4, log_every=1
)
SHORT = replace(CONFIG, epochs=0.9)


def run_log(folder: Path, config: RewardModelConfig) -> RunLog:
    return RunLog(folder, asdict(config))


def test_learns_which_word_is_preferred(
    network: RewardNetwork, lemon_pairs: list[PreferencePair], tmp_path: Path
) -> None:
    log = run_log(tmp_path / "run", CONFIG)
    evaluation = train_reward_model(network, compared(lemon_pairs), CONFIG, log)
    assert evaluation.scorer.accuracy > 0.9
    assert 0.2 < evaluation.longer_is_better.accuracy < 0.8
    losses = [record["loss"] for record in log.read()]
    assert losses[0] == pytest.approx(0.693, abs=0.15)  # a new head knows nothing: log 2
    assert losses[-1] < 0.2


def test_centre_spread_and_range_are_those_of_the_held_out_rewards(
    network: RewardNetwork, lemon_pairs: list[PreferencePair], tmp_path: Path
) -> None:
    train_reward_model(network, compared(lemon_pairs), SHORT, run_log(tmp_path / "run", SHORT))
    _, held_out = split_by_question(compared(lemon_pairs), SHORT.held_out_share)
    texts = [network.encode(one.prompt, text) for one in held_out for text in one.completions]
    values = [network.standardise(reward) for reward in network.rewards(texts, token_budget=10_000)]
    assert statistics.fmean(values) == pytest.approx(0, abs=1e-4)
    assert statistics.pstdev(values) == pytest.approx(1, abs=1e-4)
    # Of 134 rewards, 0.5 % of the way from the first to the last is 0.005 * 133 = 0.665 of the way to the second.
    assert len(values) == 134
    first, second, *_, last_but_one, last = sorted(values)
    assert network.low == pytest.approx(first + 0.665 * (second - first), abs=1e-4)
    assert network.high == pytest.approx(last - 0.665 * (last - last_but_one), abs=1e-4)
    assert sum(map(network.in_range, values)) == 132


class KilledError(Exception):
    """Stands for a kill."""


@pytest.mark.parametrize("killed_at", [3, 6, 8])
def test_an_interrupted_run_ends_bit_by_bit_like_one_in_one_piece(
    policy_folder: Path, lemon_pairs: list[PreferencePair], tmp_path: Path, killed_at: int
) -> None:
    def kill(done: int, num_steps: int, loss: float) -> None:
        assert num_steps > 8
        if done == killed_at:
            raise KilledError

    whole, broken = (RewardNetwork.from_pretrained(str(policy_folder), seed=1) for _ in range(2))
    expected = train_reward_model(whole, compared(lemon_pairs), SHORT, run_log(tmp_path / "whole", SHORT))
    with pytest.raises(KilledError):
        train_reward_model(broken, compared(lemon_pairs), SHORT, run_log(tmp_path / "broken", SHORT), on_step=kill)
    resumed = RewardNetwork.from_pretrained(str(policy_folder), seed=1)
    found = train_reward_model(resumed, compared(lemon_pairs), SHORT, run_log(tmp_path / "broken", SHORT))
    again = RewardNetwork.from_pretrained(str(policy_folder), seed=1)
    # Nothing is left to do: only to measure.
    assert train_reward_model(again, compared(lemon_pairs), SHORT, run_log(tmp_path / "broken", SHORT)) == expected

    assert found == expected
    for network in (resumed, again):
        assert (network.centre, network.spread, network.low, network.high) == (
            whole.centre, whole.spread, whole.low, whole.high,
        )  # fmt: skip
        for name, tensor in whole.state_dict().items():
            assert torch.equal(network.state_dict()[name], tensor), name
    metrics = [(tmp_path / name / "metrics.jsonl").read_bytes() for name in ("whole", "broken")]
    assert metrics[0] == metrics[1]


def test_a_run_is_not_gone_on_with_as_another(
    policy_folder: Path, lemon_pairs: list[PreferencePair], tmp_path: Path
) -> None:
    """Also where a script gives the log no settings to compare."""

    def go_on(config: RewardModelConfig, pairs: list[PreferencePair] = lemon_pairs) -> None:
        network = RewardNetwork.from_pretrained(str(policy_folder), seed=1)
        train_reward_model(network, compared(pairs), config, RunLog(tmp_path, {}))

    go_on(SHORT)
    with pytest.raises(InputError, match=r"other settings \(learning_rate was 0.003, is 0.1\): give another folder"):
        go_on(replace(SHORT, learning_rate=0.1))
    with pytest.raises(InputError, match=r"other settings \(examples was .*\): give another folder"):
        go_on(SHORT, lemon_pairs[4:])
    go_on(replace(SHORT, checkpoint_every=1, log_every=5, token_budget=SHORT.token_budget // 2))


def test_micro_batches_do_not_change_the_gradient(
    policy_folder: Path, lemon_pairs: list[PreferencePair], tmp_path: Path
) -> None:
    weighted = [replace(pair, weight=1 + number % 3) for number, pair in enumerate(lemon_pairs)]
    metrics = []
    for budget in (100, 100_000):
        network = RewardNetwork.from_pretrained(str(policy_folder), seed=1)
        config = replace(SHORT, epochs=0.1, token_budget=budget)  # a step or so: later ones magnify rounding
        log = run_log(tmp_path / str(budget), config)
        train_reward_model(network, compared(weighted), config, log)
        metrics.append(log.read()[0])
    for name in ("loss", "grad_norm", "margin"):
        assert metrics[0][name] == pytest.approx(metrics[1][name], rel=1e-4), name


def test_over_long_pairs_are_counted_before_anything_is_trained(
    network: RewardNetwork, lemon_pairs: list[PreferencePair], tmp_path: Path
) -> None:
    long = [replace(pair, rejected=" Ada" * 600) for pair in lemon_pairs[:3]]
    before = network.head.weight.detach().clone()
    with pytest.raises(InputError, match=r"3 of 480 completions .* than the model's 512 tokens \(the longest has 6"):
        train_reward_model(network, compared([*long, *lemon_pairs[3:]]), CONFIG, run_log(tmp_path / "run", CONFIG))
    assert torch.equal(network.head.weight, before)


def test_a_loss_that_is_not_finite_stops_the_run(
    network: RewardNetwork, lemon_pairs: list[PreferencePair], tmp_path: Path
) -> None:
    network.head.weight.data.fill_(float("nan"))
    with pytest.raises(FloatingPointError, match="the gradient is nan at step 1: lower learning_rate"):
        train_reward_model(network, compared(lemon_pairs), CONFIG, run_log(tmp_path / "run", CONFIG))


@pytest.mark.parametrize(
    ("name", "value"),
    [("learning_rate", 0), ("batch_size", 0), ("held_out_share", 0), ("held_out_share", 1), ("decay_share", 2)],
)
def test_a_setting_out_of_range_is_named(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"{name} must be .* got {value}"):
        RewardModelConfig(**{name: value})


@pytest.mark.parametrize("loss", ["plackett-luce", "pointwise", "token-level"])
def test_every_loss_learns_which_word_is_preferred(
    network: RewardNetwork, lemon_pairs: list[PreferencePair], tmp_path: Path, loss: Loss
) -> None:
    config = replace(CONFIG, loss=loss)
    found = train_reward_model(network, compared(lemon_pairs), config, run_log(tmp_path / "run", config))
    assert found.scorer.accuracy > 0.9


def test_adapters_learn_and_are_merged_when_saved(
    network: RewardNetwork, lemon_pairs: list[PreferencePair], tmp_path: Path
) -> None:
    network.prepare(4, seed=0)
    trained = {name for name, weight in network.named_parameters() if weight.requires_grad}
    assert "model.score.weight" in trained
    assert all("lora_" in name or name == "model.score.weight" for name in trained)
    config = replace(CONFIG, learning_rate=1e-2)
    assert (
        train_reward_model(network, compared(lemon_pairs), config, run_log(tmp_path / "run", config)).scorer.low > 0.6
    )
    network.save(tmp_path / "model")
    loaded = RewardNetwork.load(tmp_path / "model")
    assert not any("lora_" in name for name, _ in loaded.named_parameters())
    texts = [network.encode(pair.prompt, pair.chosen) for pair in lemon_pairs[:4]]
    assert_close(loaded.read(texts), network.read(texts), atol=1e-5, rtol=0)


def test_forgotten_activations_give_the_same_gradient(
    policy_folder: Path, lemon_pairs: list[PreferencePair], tmp_path: Path
) -> None:
    forgetful, other = (RewardNetwork.from_pretrained(str(policy_folder), seed=1) for _ in range(2))
    forgetful.prepare(0, seed=0, gradient_checkpointing=True)
    calls: list[bool] = []
    layer = forgetful.model.base_model.layers[0]
    layer.mlp.register_forward_pre_hook(lambda *_: calls.append(torch.is_grad_enabled()))
    texts = [other.encode(pair.prompt, pair.chosen) for pair in lemon_pairs[:4]]
    forgetful.read(texts)  # which finds out first how the model takes packed rows
    calls.clear()
    for network in (forgetful, other):
        network.read(texts).sum().backward()
    assert len(calls) == 2  # once forward, once again for the backward pass
    for (name, weight), (_, same) in zip(forgetful.named_parameters(), other.named_parameters(), strict=True):
        assert (weight.grad is None) == (same.grad is None), name
        if weight.grad is not None:
            assert_close(weight.grad, same.grad, atol=1e-6, rtol=1e-5)


def test_an_encoder_learns_it_too(encoder_folder: Path, lemon_pairs: list[PreferencePair], tmp_path: Path) -> None:
    network = RewardNetwork.from_pretrained(str(encoder_folder), seed=1)
    assert network.is_encoder
    found = train_reward_model(network, compared(lemon_pairs), CONFIG, run_log(tmp_path / "run", CONFIG))
    assert found.scorer.accuracy > 0.9
    config, log = replace(CONFIG, loss="token-level"), run_log(tmp_path / "other", CONFIG)
    with pytest.raises(InputError, match="token-level reads a value at each token, and an encoder has none"):
        train_reward_model(network, compared(lemon_pairs), config, log)
