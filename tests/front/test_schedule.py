import pytest
from hypothesis import given
from hypothesis import strategies as st

from markscheme.schedule import batch_indices, learning_rate_share

SIZES = {"num_examples": st.integers(1, 12), "batch_size": st.integers(1, 15), "seed": st.integers(0, 2**40)}


@given(**SIZES)
def test_every_pass_shows_every_example_once(num_examples: int, batch_size: int, seed: int) -> None:
    # So many steps show num_examples * batch_size examples: batch_size whole passes.
    shown = [i for step in range(num_examples) for i in batch_indices(num_examples, batch_size, step, seed)]
    for start in range(0, len(shown), num_examples):
        assert sorted(shown[start : start + num_examples]) == list(range(num_examples))


@given(**SIZES, steps=st.lists(st.integers(0, 1_000), min_size=1, max_size=4))
def test_a_batch_is_a_function_of_seed_and_step(
    num_examples: int, batch_size: int, seed: int, steps: list[int]
) -> None:
    forward = {step: batch_indices(num_examples, batch_size, step, seed) for step in sorted(steps)}
    backward = {step: batch_indices(num_examples, batch_size, step, seed) for step in sorted(steps, reverse=True)}
    assert forward == backward
    assert all(len(batch) == batch_size for batch in forward.values())


def test_passes_and_seeds_differ_in_order() -> None:
    orders = [tuple(batch_indices(50, 50, step, seed)) for step in range(3) for seed in range(3)]
    assert len(set(orders)) == 9


@given(
    num_steps=st.integers(1, 50), warmup_steps=st.integers(0, 60), decay_share=st.floats(0, 1), step=st.integers(0, 49)
)
def test_the_learning_rate_stays_between_0_and_its_peak(
    num_steps: int, warmup_steps: int, decay_share: float, step: int
) -> None:
    share = learning_rate_share(min(step, num_steps - 1), num_steps, warmup_steps, decay_share)
    assert 0 < share <= 1


@pytest.mark.parametrize(
    ("warmup_steps", "decay_share", "shares"),
    [
        (0, 0.0, [1, 1, 1, 1]),
        (2, 0.0, [0.5, 1, 1, 1]),
        (0, 1.0, [1, 0.75, 0.5, 0.25]),
        (2, 0.5, [0.5, 1, 1, 0.5]),
        (4, 1.0, [0.25, 0.5, 0.5, 0.25]),  # the smaller of the two ramps
    ],
)
def test_a_ramp_up_a_plateau_a_ramp_down(warmup_steps: int, decay_share: float, shares: list[float]) -> None:
    assert [learning_rate_share(step, 4, warmup_steps, decay_share) for step in range(4)] == shares
