"""The value model: its values and its gradient against plain rows, its clip by hand, and that it learns."""

import dataclasses
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, tensor
from transformers import PreTrainedModel

from markscheme.grpo.advantage import generalised_advantages
from markscheme.grpo.baselines.ppo import Critic, CriticConfig, value_losses
from markscheme.packing.attention import packing_for
from markscheme.packing.layout import pack_rows
from markscheme.packing.sequences import TokenSequence, pack

SEQUENCES = [
    TokenSequence(prompt_ids=(5, 6, 7)[: 1 + i % 3], completion_ids=tuple(10 + 3 * i + j for j in range(1 + i % 4)))
    for i in range(10)
]
RETURNS = [[0.3 * i - 0.1 * j for j in range(len(one.completion_ids))] for i, one in enumerate(SEQUENCES)]
CONFIG = CriticConfig(learning_rate=1e-2, token_budget=20, max_grad_norm=1e9)


def critic_of(model: PreTrainedModel, config: CriticConfig = CONFIG) -> Critic:
    """One whose values are not all 0."""
    critic = Critic(model, config)
    torch.manual_seed(1)
    torch.nn.init.normal_(critic.head.weight)
    torch.nn.init.constant_(critic.head.bias, 0.3)
    return critic


def plain_values(critic: Critic, sequence: TokenSequence) -> Tensor:
    """In a row of its own: the value of each state before a completion token is drawn."""
    ids = tensor([sequence.prompt_ids + sequence.completion_ids])
    hidden = critic.trunk(input_ids=ids).last_hidden_state[0]
    return critic.head(hidden[len(sequence.prompt_ids) - 1 : -1])[:, 0]


def test_the_clip_by_hand() -> None:
    # clip 0.2 around the old value 0; the return is 1
    #   V = 0.1: not clipped,      (0.1 - 1)^2 / 2 = 0.405
    #   V = 0.5: clipped to 0.2,   max(0.25, 0.64) / 2 = 0.32: it has moved enough
    #   V = -0.5: clipped to -0.2, max(2.25, 1.44) / 2 = 1.125: it has moved the wrong way
    #   V = 2.5: clipped to 0.2,   max(2.25, 0.64) / 2 = 1.125: it is too far beyond
    values = tensor([0.1, 0.5, -0.5, 2.5], requires_grad=True)
    losses = value_losses(values, torch.ones(4), torch.zeros(4), 0.2)
    torch.testing.assert_close(losses.detach(), tensor([0.405, 0.32, 1.125, 1.125]))
    (gradient,) = torch.autograd.grad(losses.sum(), values)
    torch.testing.assert_close(gradient, tensor([-0.9, 0.0, -1.5, 1.5]))


def test_everything_is_worth_0_at_first(tiny_model: PreTrainedModel) -> None:
    values = Critic(tiny_model, CONFIG).values(SEQUENCES)
    assert values == [[0.0] * len(one.completion_ids) for one in SEQUENCES]


@pytest.mark.parametrize("token_budget", [1, 20, 4_096])
def test_the_values_are_those_of_plain_rows(tiny_model: PreTrainedModel, token_budget: int) -> None:
    critic = critic_of(tiny_model, dataclasses.replace(CONFIG, token_budget=token_budget))
    assert critic.packing is pack_rows
    for sequence, values in zip(SEQUENCES, critic.values(SEQUENCES), strict=True):
        torch.testing.assert_close(tensor(values), plain_values(critic, sequence).detach(), atol=1e-5, rtol=1e-5)


def test_a_value_does_not_see_its_own_token(tiny_model: PreTrainedModel) -> None:
    critic = critic_of(tiny_model)
    one, other = (TokenSequence(prompt_ids=(5,), completion_ids=(10, token, 12)) for token in (11, 99))
    (first, second), (_, _, third) = critic.values([one])[0][:2], critic.values([other])[0]
    assert critic.values([other])[0][:2] == pytest.approx([first, second])
    assert critic.values([one])[0][2] != pytest.approx(third)


@pytest.mark.parametrize(("padded", "token_budget"), [(False, 1), (False, 20), (False, 4_096), (True, 20)])
def test_the_gradient_is_that_of_plain_rows(tiny_model: PreTrainedModel, padded: bool, token_budget: int) -> None:
    critic = critic_of(tiny_model, dataclasses.replace(CONFIG, token_budget=token_budget))
    if padded:
        critic.packing = pack
    values = [plain_values(critic, sequence) for sequence in SEQUENCES]
    shift = torch.Generator().manual_seed(0)
    old = [(v.detach() + 0.3 * torch.randn(len(v), generator=shift)) for v in values]  # some moved further than 0.2
    losses = [
        torch.maximum((v - tensor(r)).square(), (o + (v - o).clamp(-0.2, 0.2) - tensor(r)).square()) / 2
        for v, o, r in zip(values, old, RETURNS, strict=True)
    ]
    total = torch.cat(losses).mean()
    total.backward()
    expected = {name: weight.grad.clone() for name, weight in critic.network.named_parameters()}
    critic.network.zero_grad()
    whole = float(torch.cat([one.flatten() for one in expected.values()]).norm())

    def compare(*_: object) -> None:
        for name, weight in critic.network.named_parameters():  # a key's bias has hardly any gradient: mostly rounding
            bound = 1e-5 * float(expected[name].norm()) + 1e-6 * whole
            assert float((weight.grad - expected[name]).norm()) <= bound, name

    critic.optimizer.register_step_pre_hook(compare)
    metrics = critic.update(SEQUENCES, RETURNS, [one.tolist() for one in old], step=0, num_steps=1)
    assert metrics["value_loss"] == pytest.approx(float(total.detach()), rel=1e-5)
    assert 0 < metrics["value_clipped_share"] < 1
    assert metrics["value_learning_rate"] == CONFIG.learning_rate


def learn(critic: Critic, steps: range, num_steps: int) -> list[float]:
    """A completion is worth 1 if its first token is even."""
    losses = []
    for step in steps:
        rewards = [[0.0] * (len(one.completion_ids) - 1) + [float(one.completion_ids[0] % 2 == 0)] for one in SEQUENCES]
        old = critic.values(SEQUENCES)
        returns = [generalised_advantages(r, v)[1] for r, v in zip(rewards, old, strict=True)]
        losses.append(critic.update(SEQUENCES, returns, old, step, num_steps)["value_loss"])
    return losses


def test_it_learns_what_comes_of_it(tiny_model: PreTrainedModel) -> None:
    critic = Critic(tiny_model, dataclasses.replace(CONFIG, learning_rate=3e-3))
    losses = learn(critic, range(60), 60)
    assert losses[0] == pytest.approx(9 / 23 / 2)  # (0 - 1)^2 / 2 for the 9 tokens of 23 that are worth 1
    assert losses[-1] < 0.4 * losses[0]
    long = max(SEQUENCES, key=lambda one: len(one.completion_ids))
    worth = float(long.completion_ids[0] % 2 == 0)
    assert critic.values([long])[0][1:] == pytest.approx([worth] * (len(long.completion_ids) - 1), abs=0.3)


def test_the_policy_stays_as_it_is(tiny_model: PreTrainedModel) -> None:
    before = {name: weight.clone() for name, weight in tiny_model.state_dict().items()}
    attention = tiny_model.config._attn_implementation
    learn(Critic(tiny_model, CONFIG), range(3), 3)
    assert all(torch.equal(weight, before[name]) for name, weight in tiny_model.state_dict().items())
    assert tiny_model.config._attn_implementation == attention
    packing_for(tiny_model)
    Critic(tiny_model, CONFIG)  # of a policy that is packed already
    assert tiny_model.config._attn_implementation != attention


def test_a_checkpoint_goes_on_bit_by_bit(tiny_model: PreTrainedModel) -> None:
    undisturbed = Critic(tiny_model, CONFIG)
    whole = learn(undisturbed, range(6), 6)
    stopped, resumed = Critic(tiny_model, CONFIG), Critic(tiny_model, CONFIG)
    learn(stopped, range(3), 6)
    resumed.load_state_dict(stopped.state_dict())
    assert learn(resumed, range(3, 6), 6) == whole[3:]
    assert resumed.values(SEQUENCES) == undisturbed.values(SEQUENCES)


@pytest.mark.parametrize(("returns", "old"), [([[1.0]], [[1.0, 2.0]]), ([[1.0, 2.0]], [[1.0]]), ([[]], [[]])])
def test_numbers_for_other_tokens_are_refused(
    tiny_model: PreTrainedModel, returns: Sequence[Sequence[float]], old: Sequence[Sequence[float]]
) -> None:
    sequence = TokenSequence(prompt_ids=(5,), completion_ids=(10, 11))
    with pytest.raises(ValueError, match=r"returns and \d old values for 2 completion tokens"):
        Critic(tiny_model, CONFIG).update([sequence], returns, old, 0, 1)


def test_a_senseless_clip_is_refused() -> None:
    with pytest.raises(ValueError, match=r"value_clip must be above 0, got 0"):
        CriticConfig(value_clip=0.0)
