"""Fixtures for all rooms. Nothing here, nor in any test, reaches the network."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from markscheme.policy.make import make_model, make_tokenizer

# No test may fail because the machine is busy; in CI the examples are the same every time.
settings.register_profile(
    "markscheme", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize="CI" in os.environ
)
settings.load_profile("markscheme")

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> Iterator[None]:
    """Tiny models gain nothing from a second thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real data sets, where they are at hand."""
    if not SHARED_DATA.is_dir():
        pytest.skip("needs the data sets in ../shared/data")
    return SHARED_DATA


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerBase:
    return make_tokenizer()


@pytest.fixture
def tiny_model(tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    """A model with random weights, made anew for each test."""
    return make_model(len(tokenizer), width=32, layers=2, seed=0)
