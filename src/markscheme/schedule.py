"""What happens in which step: pure functions of (seed, step), so that a run can go on from any step."""

import torch

from markscheme.generation import seed_of


def batch_indices(num_examples: int, batch_size: int, step: int, seed: int) -> list[int]:
    """The examples of step 0, 1, ...: every pass over them is shuffled anew, and a batch may span two passes."""
    indices: list[int] = []
    for position in range(step * batch_size, (step + 1) * batch_size):
        epoch, place = divmod(position, num_examples)
        if not indices or place == 0:
            rng = torch.Generator().manual_seed(seed_of("order", seed, epoch))
            order = torch.randperm(num_examples, generator=rng)
        indices.append(int(order[place]))
    return indices


def learning_rate_share(step: int, num_steps: int, warmup_steps: int, decay_share: float) -> float:
    """Share of the peak learning rate in step 0, 1, ...: a ramp up, a plateau, a ramp down to 0.

    >>> [learning_rate_share(step, num_steps=8, warmup_steps=2, decay_share=0.25) for step in (0, 1, 4, 6, 7)]
    [0.5, 1.0, 1.0, 1.0, 0.5]
    """
    warmup = (step + 1) / warmup_steps if warmup_steps else 1.0
    decay = (num_steps - step) / (decay_share * num_steps) if decay_share else 1.0
    return min(1.0, warmup, decay)
