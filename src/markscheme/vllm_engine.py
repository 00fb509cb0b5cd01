"""A Generator on vLLM in this process, for training and sampling on the same machine.

It holds a copy of the policy's weights of its own, as vLLM lays them out: `load_weights` brings them up to date.
"""

import itertools
import os
import tempfile
import warnings
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from markscheme import parallel
from markscheme.files import InputError
from markscheme.generation import Completion, FinishReason, Request, Sampling, check_requests
from markscheme.models import plain_weights
from markscheme.torch_engine import completion_text, end_token_ids
from markscheme.vllm_serve import CPU_CACHE_BYTES

SETTINGS = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # in this process, where the weights are
    "VLLM_LOGGING_LEVEL": "ERROR",
}


class VLLMEngine:
    """Generates with vLLM; the model may be anything vLLM knows under the name of its architecture."""

    kind = "vllm"

    def __init__(self, policy: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, **arguments: Any) -> None:
        """
        Args:
            policy: gives architecture and weights; it is not used afterwards.
            arguments: for `vllm.LLM`, such as gpu_memory_utilization or max_model_len; they overrule our choices.

        Raises:
            InputError: if vLLM is not installed, or does not know the architecture.
        """
        for name, value in SETTINGS.items():
            os.environ.setdefault(name, value)
        try:
            with _its_own_warnings():
                from vllm import LLM
        except ModuleNotFoundError as error:
            raise InputError(f"this engine needs vLLM ({error}): see docs/rollouts.md on how to install it") from error
        self.tokenizer = tokenizer
        self.end_ids = end_token_ids(policy, tokenizer)
        self._calls = itertools.count()
        chosen: dict[str, Any] = {
            "dtype": str(policy.dtype).removeprefix("torch."),
            "load_format": "dummy",
            "logprobs_mode": "processed_logprobs",  # of the distribution that was drawn from
            "disable_log_stats": True,
        }
        if policy.device.type == "cpu":
            chosen |= {
                "kv_cache_memory_bytes": CPU_CACHE_BYTES,
                "block_size": 32,
                "enforce_eager": True,
                "enable_chunked_prefill": False,  # vLLM 0.32 cannot rewind a seed on a CPU, as half a prompt asks for
            }
        else:
            chosen |= {"gpu_memory_utilization": 0.4, "enable_sleep_mode": True}
        if parallel.count() > 1:  # one for each process, on its own device, in the group that there is
            chosen["distributed_executor_backend"] = "external_launcher"
        with tempfile.TemporaryDirectory() as folder:
            policy.config.save_pretrained(folder)
            if policy.generation_config is not None:
                policy.generation_config.save_pretrained(folder)
            tokenizer.save_pretrained(folder)
            with _its_own_warnings():
                self.llm = LLM(folder, **chosen | arguments)
        if parallel.count() > 1:
            parallel.before_leaving(self.llm.llm_engine.engine_core.shutdown)
        self._can_sleep, self._sleeps = bool((chosen | arguments).get("enable_sleep_mode")), False
        self.room = self.llm.model_config.max_model_len
        self.load_weights(plain_weights(policy))

    def load_weights(self, named_tensors: Iterable[tuple[str, Tensor]]) -> None:
        """Takes over new weights, and forgets all keys and values that the old ones made."""
        if self._sleeps:  # its cache has room only when the trainer's activations have gone back to the device
            torch.cuda.empty_cache()
            self.llm.wake_up(["weights"])
        self.llm.collective_rpc("reload_weights", kwargs={"weights_iterator": iter(named_tensors)})
        self.llm.collective_rpc(_pack_heads_again)
        if self._sleeps:
            self.llm.wake_up(["kv_cache"])
            self._sleeps = False
        self.llm.reset_prefix_cache()

    @property
    def batch_invariant(self) -> bool:
        """vLLM's kernels follow the batch: close calls may come out otherwise in another one."""
        return False

    def fingerprint(self) -> str:
        """
        Raises:
            InputError: always.
        """
        raise InputError("vLLM does not give its weights out: say fingerprint=, of the policy that it was given")

    def release(self) -> None:
        """On a GPU vLLM lets go of its weights and its cache, and sleeps until the next `load_weights`."""
        if self._can_sleep and not self._sleeps:
            self.llm.sleep(level=2)
            self._sleeps = True

    def stream(self, requests: Sequence[Request], sampling: Sampling) -> Iterator[tuple[int, int, Completion]]:
        """Yields (request index, seed index, completion) as each completion finishes; closed early, it drops the rest.

        Raises:
            InputError: if a prompt is empty, or leaves no room for `max_completion_tokens` in the model's context.
            RuntimeError: after `release`, as long as there are no weights.
        """
        if self._sleeps:
            raise RuntimeError("this engine was released: load_weights comes before it generates again")
        check_requests(requests, sampling, self.room)
        engine, call = self.llm.llm_engine, next(self._calls)
        writing: dict[str, tuple[int, int]] = {}
        for index, request in enumerate(requests):
            for k, seed in enumerate(request.seeds):
                name = f"{call}-{index}-{k}"
                engine.add_request(name, {"prompt_token_ids": list(request.prompt_ids)}, self._params(sampling, seed))
                writing[name] = index, k
        try:
            while writing:
                for output in engine.step():
                    if output.finished:
                        yield *writing.pop(output.request_id), self._completion(output.outputs[0], sampling)
        finally:
            if writing:
                engine.abort_request(list(writing))

    def _params(self, sampling: Sampling, seed: int) -> Any:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        return SamplingParams(
            **sampling_parameters(sampling, seed, self.end_ids), output_kind=RequestOutputKind.FINAL_ONLY
        )

    def _completion(self, output: Any, sampling: Sampling) -> Completion:
        ids = tuple(output.token_ids)
        return Completion(
            text=completion_text(ids, sampling.stop, self.end_ids, self.tokenizer),
            ids=ids,
            logprobs=tuple(of_place[token].logprob for token, of_place in zip(ids, output.logprobs, strict=True)),
            finish_reason=FinishReason.LENGTH if output.finish_reason == "length" else FinishReason.STOP,
        )


def sampling_parameters(sampling: Sampling, seed: int, end_ids: Collection[int]) -> dict[str, Any]:
    """What vLLM calls it all, here and on servers."""
    return {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_tokens": sampling.max_completion_tokens,
        "seed": seed,
        "logprobs": 0,  # of the token that was drawn, and no others
        "stop": list(sampling.stop),
        "stop_token_ids": sorted(end_ids),
        "detokenize": bool(sampling.stop),
    }


@contextmanager
def _its_own_warnings() -> Iterator[None]:
    """What vLLM uses is no longer wanted by torch, which its users can do nothing about."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


def _pack_heads_again(worker: Any) -> None:
    from markscheme.vllm_weights import pack_heads_again

    pack_heads_again(worker.get_model())
