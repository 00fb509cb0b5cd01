"""The Generator protocol: token ids in, completions with their sampling logprobs out."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from markscheme.files import InputError


class FinishReason(StrEnum):
    """Why a completion ended, as the sampler saw it."""

    STOP = "stop"
    """An end token or a stop string."""
    LENGTH = "length"
    """`max_completion_tokens` was reached: the completion is truncated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How tokens are drawn."""

    temperature: float = 1.0
    """0 takes the likeliest token."""
    top_p: float = 1.0
    """Nucleus: draw from the likeliest tokens that together have this probability."""
    max_completion_tokens: int = 512
    stop: tuple[str, ...] = ()
    """A completion ends before the first of these strings."""

    def __post_init__(self) -> None:
        if self.temperature < 0:
            raise ValueError(f"temperature must be at least 0, got {self.temperature}")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p must be above 0 and at most 1, got {self.top_p}")
        if self.max_completion_tokens < 1:
            raise ValueError(f"max_completion_tokens must be at least 1, got {self.max_completion_tokens}")
        if "" in self.stop:
            raise ValueError("a stop string must not be empty")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One prompt, with one seed for each completion wanted of it."""

    prompt_ids: tuple[int, ...]
    seeds: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """What the policy wrote after a prompt."""

    text: str
    """Without special tokens, and without the stop string."""
    ids: tuple[int, ...]
    """The sampled tokens, the end token included."""
    logprobs: tuple[float, ...]
    """Log-probability of each token under the distribution it was drawn from (greedy: temperature 1)."""
    finish_reason: FinishReason


class Generator(Protocol):
    """Whatever turns prompts into completions: an engine in this process, or a server."""

    kind: str
    """What records call it: torch, vllm, vllm servers."""
    tokenizer: Any
    """Of the policy whose completions it writes."""

    @property
    def batch_invariant(self) -> bool:
        """Whether a completion is the same whatever else is written with it."""
        ...

    def stream(self, requests: Sequence[Request], sampling: Sampling) -> Iterator[tuple[int, int, Completion]]:
        """Yields (request index, seed index, completion) as each completion finishes.

        Raises:
            InputError: if a prompt is empty or leaves no room for a completion in the model's context.
        """
        ...

    def fingerprint(self) -> str:
        """Names the weights that it holds, and its tokenizer, by their content.

        Raises:
            InputError: if the weights are where it cannot read them.
        """
        ...

    def load_weights(self, named_tensors: Iterable[tuple[str, Any]]) -> None:
        """Takes over new weights; nothing generated later comes from the old ones."""
        ...

    def release(self) -> None:
        """Gives memory to the trainer, as far as it shares a device with it; nothing is generated before the next
        `load_weights`."""
        ...


def check_requests(requests: Sequence[Request], sampling: Sampling, room: int | None) -> None:
    """
    Raises:
        InputError: if a prompt is empty, or leaves no room for a completion in the model's context of `room` tokens.
    """
    for index, request in enumerate(requests):
        length = len(request.prompt_ids)
        if not length:
            raise InputError(f"prompt {index} is empty")
        if room is not None and length + sampling.max_completion_tokens > room:
            raise InputError(
                f"prompt {index} has {length} tokens: with max_completion_tokens {sampling.max_completion_tokens} "
                f"that is more than the model's {room} positions"
            )


def generate(generator: Generator, requests: Sequence[Request], sampling: Sampling) -> list[list[Completion]]:
    """All completions, in the order of the requests and of their seeds."""
    groups: list[dict[int, Completion]] = [{} for _ in requests]
    for request_index, seed_index, completion in generator.stream(requests, sampling):
        groups[request_index][seed_index] = completion
    return [[group[k] for k in range(len(request.seeds))] for group, request in zip(groups, requests, strict=True)]


def seed_of(*parts: int | str) -> int:
    """A 63-bit seed that is a pure function of its parts, such as (run seed, step, problem id, k)."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:8], "big") >> 1
