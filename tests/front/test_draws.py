"""Tokens from logits, and how close each call was, by hand."""

import pytest
import torch
from torch import tensor

from markscheme.draws import draw, nucleus
from markscheme.generation import Sampling


def test_draw_inverts_the_distribution_function() -> None:
    # p = 0.5, 0.3, 0.2; the distribution function steps at 0.5 and 0.8
    logits = tensor([[0.5, 0.3, 0.2]]).log().repeat(4, 1)
    tokens, logprobs, _ = draw(logits, tensor([0.0, 0.49, 0.51, 0.81]).double(), Sampling())
    assert tokens.tolist() == [0, 0, 1, 2]
    assert logprobs.exp().tolist() == pytest.approx([0.5, 0.5, 0.3, 0.2])


def test_draws_follow_the_distribution() -> None:
    logits = tensor([[0.5, 0.3, 0.2]]).log().repeat(4000, 1)
    tokens, _, _ = draw(
        logits, torch.rand(4000, generator=torch.Generator().manual_seed(0), dtype=torch.float64), Sampling()
    )
    shares = tokens.bincount().double() / 4000
    assert shares.tolist() == pytest.approx([0.5, 0.3, 0.2], abs=0.03)  # four standard errors


def test_nucleus_keeps_the_fewest_that_reach_top_p() -> None:
    # 0.5 alone is less than 0.6, with 0.3 it is more: two are kept, and share 1 as 0.625 and 0.375
    kept, _, _ = nucleus(tensor([[0.2, 0.5, 0.3]]).log(), 0.6)
    assert kept.exp()[0].tolist() == pytest.approx([0.0, 0.625, 0.375])


def test_a_greedy_call_is_as_close_as_the_second_best() -> None:
    assert draw(
        tensor([[1.0, 3.0, 2.5], [0.0, 0.0, -1.0]]), torch.zeros(2), Sampling(temperature=0)
    ).gaps_B.tolist() == [0.25, 0.0]


def test_a_draw_is_as_close_as_the_nearest_step_of_the_distribution_function() -> None:
    # Steps at 0.5 and 0.8: 0.79 is 0.01 below the second, 0.55 is 0.05 above the first. If all logits are off by d, the
    # worst way round, they move by 2 * 0.8 * 0.2 d and 2 * 0.5 * 0.5 d.
    logits = tensor([[0.5, 0.3, 0.2]]).log().repeat(2, 1)
    gaps = draw(logits, tensor([0.79, 0.55]).double(), Sampling()).gaps_B
    assert gaps.tolist() == pytest.approx([0.01 / 0.32, 0.05 / 0.5], abs=1e-6)
    # at temperature 2 logits move the distribution half as much
    hot = draw(logits * 2, tensor([0.79, 0.55]).double(), Sampling(temperature=2)).gaps_B
    assert hot.tolist() == pytest.approx([0.02 / 0.32, 0.1 / 0.5], abs=1e-6)


def test_the_ends_of_the_distribution_function_do_not_move() -> None:
    gaps = draw(
        tensor([[0.5, 0.5]]).log().repeat(2, 1), tensor([1e-9, 1 - 1e-9], dtype=torch.float64), Sampling()
    ).gaps_B
    assert min(gaps.tolist()) > 0.5


def test_the_border_of_the_nucleus_can_be_close_too() -> None:
    # kept with 0.6: 0.5 and 0.3, since 0.5 < 0.6 <= 0.8; 0.5 is 0.1 below, 0.8 0.2 above, log(0.3 / 0.2) is 0.41
    assert nucleus(tensor([[0.5, 0.3, 0.2]]).log(), 0.6)[1].tolist() == pytest.approx([0.1])
    # two of one probability at the border: either could be kept
    assert nucleus(tensor([[0.5, 0.25, 0.25]]).log(), 0.6)[1].tolist() == [0.0]


def test_a_rare_token_at_the_border_hardly_matters() -> None:
    # 0.9995 lies in the middle of the third token's share of 0.001, so that half of that is enough to change what is
    # kept. A draw in the middle of the first token does not mind: it is 0.3 from its end, less that share, and the end
    # moves by 2 * 0.6 * 0.4 d. One beside the end does.
    logits = tensor([[0.6, 0.399, 0.001]]).log().repeat(2, 1)
    gaps = draw(logits, tensor([0.3, 0.5999]).double(), Sampling(top_p=0.9995)).gaps_B
    assert gaps.tolist() == pytest.approx([0.299 / 0.48, 0.0001 / 0.48], rel=0.01)


@pytest.mark.parametrize(
    "sampling", [Sampling(), Sampling(temperature=0), Sampling(top_p=0.8), Sampling(temperature=0.5)]
)
def test_logits_that_are_off_by_less_than_the_gap_give_the_same_token(sampling: Sampling) -> None:
    stream = torch.Generator().manual_seed(0)
    logits = torch.randn(20_000, 20, generator=stream) * 2
    uniform = torch.rand(20_000, generator=stream, dtype=torch.float64)
    tokens, _, gaps = draw(logits, uniform, sampling)
    off = torch.rand(logits.shape, generator=stream) * 4e-3 - 2e-3
    others = draw(logits + off, uniform, sampling).tokens_B
    assert (tokens != others).any()
    assert not (tokens != others)[gaps > 2e-3].any()
