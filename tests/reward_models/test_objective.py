"""Losses through the network: what a batch costs, and the gradient of every weight."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from markscheme.files import InputError
from markscheme.reward_models import Comparison, PreferencePair, RewardModelConfig, RewardNetwork, compared
from markscheme.reward_models.examples import Example, encode
from markscheme.reward_models.objective import check_examples, loss_of, weight_of
from markscheme.reward_models.preferences import rated

CONFIG = RewardModelConfig()
PROMPTS = ("How many apples?", "How many plums are left?")
COMPARISONS = [
    rated(PROMPTS[0], {" Ada has 3 apples.": 2.0, " 3": 1.0, " Ada has 4 apples, and Ben has 5.": 0.0}, "a"),
    rated(PROMPTS[1], {" 7": 1.0, " There are 8 plums left.": 0.0}, "b"),
]


def examples(network: RewardNetwork, comparisons: list[Comparison] = COMPARISONS) -> list[Example]:
    return [encode(network, one) for one in comparisons]


def rewards(network: RewardNetwork) -> list[float]:
    return network.rewards([one for example in examples(network) for one in example.sequences], 1_000)


def test_k_completions_are_all_their_pairs_and_a_question_counts_once(network: RewardNetwork) -> None:
    # the first question has 3 pairs of weight 1/3, the second one of weight 1: both count 1
    a, b, c, d, e = rewards(network)
    cost = [-F.logsigmoid(torch.tensor(lead)).item() for lead in (a - b, a - c, b - c, d - e)]
    loss, leads = loss_of(network, examples(network), CONFIG)
    assert float(loss) == pytest.approx(sum(cost[:3]) / 3 + cost[3], abs=1e-5)
    assert leads == pytest.approx([a - b, a - c, b - c, d - e], abs=1e-5)
    assert [weight_of(example, "bradley-terry") for example in examples(network)] == pytest.approx([1.0, 1.0])


def test_margin_certainty_smoothing_and_centring_are_in_the_loss(network: RewardNetwork) -> None:
    # e = 0.1 and p = 0.8: 0.8 * 0.9 + 0.2 * 0.1 = 0.74
    pair = PreferencePair(prompt="2 + 2?", chosen=" 4", rejected=" 5", id="a", weight=3, margin=0.5, certainty=0.8)
    [example] = examples(network, compared([pair]))
    better, worse = network.rewards(example.sequences, 1_000)
    lead = torch.tensor(better - worse - 0.5)
    expected = -0.74 * F.logsigmoid(lead) - 0.26 * F.logsigmoid(-lead) + 0.01 * (better + worse) ** 2
    loss, _ = loss_of(network, [example], replace(CONFIG, label_smoothing=0.1, centring=0.01))
    assert float(loss) == pytest.approx(3 * float(expected), abs=1e-5)


def test_a_ranking_is_best_first(network: RewardNetwork) -> None:
    a, b, c, *_ = rewards(network)
    loss, _ = loss_of(network, examples(network)[:1], replace(CONFIG, loss="plackett-luce"))
    x = torch.tensor([a, b, c])
    assert float(loss) == pytest.approx(float((x.logsumexp(0) - a) + (x[1:].logsumexp(0) - b)), abs=1e-5)


def test_pointwise_asks_whether_each_is_right(network: RewardNetwork) -> None:
    *_, d, e = rewards(network)
    loss, leads = loss_of(network, examples(network)[1:], replace(CONFIG, loss="pointwise"))
    expected = -F.logsigmoid(torch.tensor(d)) - F.logsigmoid(torch.tensor(-e))
    assert float(loss) == pytest.approx(float(expected), abs=1e-5)
    assert leads == pytest.approx([d - e], abs=1e-5)
    assert weight_of(examples(network)[1], "pointwise") == 2  # completions, not pairs


def test_token_level_asks_at_every_token(network: RewardNetwork) -> None:
    [example] = examples(network)[1:]
    right, wrong = network.read_tokens(example.sequences)
    loss, leads = loss_of(network, [example], replace(CONFIG, loss="token-level"))
    assert_close(loss, (right - 1).square().mean() + wrong.square().mean(), atol=1e-6, rtol=0)
    assert leads == pytest.approx([float(right[-1] - wrong[-1])], abs=1e-5)


def gradients(network: RewardNetwork, loss: torch.Tensor) -> dict[str, torch.Tensor]:
    network.zero_grad()
    loss.backward()
    return {name: weight.grad.clone() for name, weight in network.named_parameters() if weight.grad is not None}


def padded(network: RewardNetwork, batch: list[Example]) -> dict[str, torch.Tensor]:
    """The chosen ones of all pairs, then the rejected ones, in rows of one length, as TRL has them."""
    chosen = [example.sequences[better] for example in batch for better, _ in example.comparison.places()]
    rejected = [example.sequences[worse] for example in batch for _, worse in example.comparison.places()]
    rows = [[*one.prompt_ids, *one.completion_ids] for one in (*chosen, *rejected)]
    width, pad = max(map(len, rows)), network.model.config.pad_token_id
    ids = torch.tensor([row + [pad] * (width - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
    return {"input_ids": ids, "attention_mask": mask}


def by_formula(network: RewardNetwork, batch: list[Example], centring: float) -> torch.Tensor:
    chosen, rejected = network.model(**padded(network, batch)).logits[:, 0].chunk(2)
    return -F.logsigmoid(chosen - rejected).mean() + centring * (chosen + rejected).square().mean()


def by_trl(network: RewardNetwork, batch: list[Example], centring: float) -> torch.Tensor:
    """TRL's own function, on a stand-in for its trainer."""
    trl = pytest.importorskip("trl", reason="TRL is not installed")
    seen: dict[str, dict[str, list[float]]] = {"eval": defaultdict(list)}
    trainer = SimpleNamespace(
        model=network.model,
        args=SimpleNamespace(center_rewards_coefficient=centring),
        accelerator=SimpleNamespace(gather=lambda x: x, gather_for_metrics=lambda x: x),
        _metrics=seen,
        _total_train_tokens=0,
    )
    loss: Any = trl.RewardTrainer.compute_loss(trainer, network.model, dict(padded(network, batch)))
    assert seen["eval"]["accuracy"]  # it has been through
    return loss  # type: ignore[no-any-return]


@pytest.mark.parametrize("theirs", [by_formula, by_trl])
@pytest.mark.parametrize("centring", [0.0, 0.01])
def test_loss_and_gradients_are_those_of_padded_pairs(
    network: RewardNetwork, theirs: Callable[..., torch.Tensor], centring: float
) -> None:
    pairs = [replace(pair, weight=1.0) for one in COMPARISONS for pair in one.pairs]  # TRL knows no weights
    batch = examples(network, compared(pairs))
    loss, leads = loss_of(network, batch, replace(CONFIG, centring=centring))
    ours = gradients(network, loss / len(leads))
    other = theirs(network, batch, centring)
    assert_close(loss.detach() / len(leads), other.detach(), atol=1e-6, rtol=0)
    expected = gradients(network, other)
    assert ours.keys() == expected.keys()
    for name, gradient in ours.items():
        assert_close(gradient, expected[name], atol=1e-6, rtol=1e-5, msg=name)


def test_what_a_loss_cannot_use_is_named(network: RewardNetwork) -> None:
    known = examples(network)
    with pytest.raises(InputError, match=r"pointwise needs .* rated 0 to 1 each, and one of .* is rated 2\.0"):
        check_examples(known, network, "pointwise")
    tied = [encode(network, rated("q?", {" a": 1.0, " b": 1.0, " c": 0.0}, "t"))]
    with pytest.raises(InputError, match="plackett-luce needs rankings without ties"):
        check_examples(tied, network, "plackett-luce")
    alone = [encode(network, rated("q?", {" a": 1.0}, "t"))]
    with pytest.raises(InputError, match="nothing to say to the loss bradley-terry: 1 without a pair"):
        check_examples(alone, network, "bradley-terry")
    assert check_examples([*known, *alone], network, "bradley-terry") == known
    assert check_examples(alone, network, "pointwise") == alone


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"label_smoothing": 0.5}, "label_smoothing must be at least 0 and below 0.5, got 0.5"),
        ({"centring": -1}, "centring must be at least 0, got -1"),
        ({"loss": "pointwise", "centring": 0.1}, "centring belong to bradley-terry: leave them out with pointwise"),
    ],
)
def test_a_setting_that_cannot_be_is_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RewardModelConfig(**settings)
