"""vLLM beside the trainer on one GPU: when it sleeps and wakes. The vLLM here is one of our own making."""

import sys
from types import SimpleNamespace
from typing import Any

import pytest
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from markscheme.generation import Request, Sampling
from markscheme.models import plain_weights
from markscheme.vllm_engine import VLLMEngine


class Recorder:
    """In the place of `vllm.LLM`: notes what is asked of it, and fails where real memory would be missing."""

    def __init__(self, folder: str, **arguments: Any) -> None:
        self.arguments, self.asked = arguments, []
        self.has = {"weights", "kv_cache"}
        self.model_config = SimpleNamespace(max_model_len=64)

    def collective_rpc(self, method: Any, kwargs: Any = None) -> None:
        assert "weights" in self.has, "nowhere to put weights"
        self.asked.append(method if isinstance(method, str) else "heads")
        if kwargs:
            list(kwargs["weights_iterator"])

    def reset_prefix_cache(self) -> None:
        assert "kv_cache" in self.has
        self.asked.append("reset")

    def sleep(self, level: int) -> None:
        self.has.clear()
        self.asked.append(f"sleep {level}")

    def wake_up(self, tags: list[str]) -> None:
        self.has |= set(tags)
        self.asked.append(f"wake {' '.join(tags)}")


@pytest.fixture(autouse=True)
def _vllm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vllm", SimpleNamespace(LLM=Recorder))


def test_it_sleeps_while_the_trainer_learns(tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    engine = VLLMEngine(tiny_model, tokenizer, enable_sleep_mode=True)
    llm: Any = engine.llm
    assert llm.asked == ["reload_weights", "heads", "reset"]
    llm.asked.clear()
    engine.release()
    engine.release()  # it sleeps already
    assert llm.asked == ["sleep 2"]
    with pytest.raises(RuntimeError, match="load_weights"):
        next(engine.stream([Request(prompt_ids=(1,), seeds=(0,))], Sampling(max_completion_tokens=4)))
    llm.asked.clear()
    engine.load_weights(plain_weights(tiny_model))
    assert llm.asked == ["wake weights", "reload_weights", "heads", "wake kv_cache", "reset"]
    llm.asked.clear()
    engine.load_weights(plain_weights(tiny_model))
    assert llm.asked == ["reload_weights", "heads", "reset"]


def test_without_a_gpu_there_is_no_sleep(tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    engine = VLLMEngine(tiny_model, tokenizer)
    llm: Any = engine.llm
    assert "enable_sleep_mode" not in llm.arguments
    llm.asked.clear()
    engine.release()
    assert llm.asked == []
