"""A Generator on vLLM servers, on this machine or on others.

Tokens go in and come out by HTTP; weights go through a folder that trainer and servers see (`vllm_weights`). A server
that goes away is waited for and, when it is back, given the weights again: which it holds, it says by their version.
"""

import asyncio
import queue
import threading
import time
import uuid
import warnings
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import httpx2
from safetensors.torch import save_file
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from markscheme import parallel
from markscheme.files import InputError, StrPath, whole_folder
from markscheme.generation import Completion, FinishReason, Request, Sampling, check_requests
from markscheme.run_log import StoppedError
from markscheme.torch_engine import completion_text, end_token_ids
from markscheme.vllm_engine import sampling_parameters

T = TypeVar("T")
FILE = "weights.safetensors"
POLL_S = 1.0
WATCH_S = 5.0
HEALTH_TIMEOUT = 10.0
TRIES = 3
"""Of a request that a server answers with an error of its own, though it is well."""
LIMITS = httpx2.Limits(max_connections=None, max_keepalive_connections=64)
TIMEOUT = httpx2.Timeout(None, connect=10.0)
SET_UP = "start it with python -m markscheme.vllm_serve"


class ServerGoneError(StoppedError):
    """A server was away for longer than anyone waits."""


class VLLMServerEngine:
    """Generates with one or several vLLM servers of one model, which `vllm_serve` has started."""

    kind = "vllm servers"

    def __init__(
        self,
        urls: Sequence[str],
        policy: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        folder: StrPath,
        patience_s: float = 600.0,
    ) -> None:
        """
        Args:
            urls: such as http://localhost:8000; the prompts are spread over them.
            policy: says which tokens end a completion; it is not used afterwards.
            folder: through which the weights go; each server must see it under the same path.
            patience_s: how long a server may be away.

        Raises:
            ServerGoneError: if a server does not answer for so long.
            InputError: if one is not set up for this.
        """
        self.tokenizer = tokenizer
        self.end_ids = end_token_ids(policy, tokenizer)
        self.weights = Path(folder).resolve() / "weights"
        self.version: str | None = None
        """Of the weights that all should hold; None: those that they began with."""
        self._run, self._loads = uuid.uuid4().hex[:8], 0
        self._servers = [_Server(url.rstrip("/"), patience_s) for url in urls]
        self.room = min(server.insist(_Server.room) for server in self._servers)

    def load_weights(self, named_tensors: Iterable[tuple[str, Tensor]]) -> None:
        """Hands new weights to every server: when it returns, all of them hold these, and keys and values of no others.
        Of several processes all must call this, and the first one hands them over.

        Raises:
            ServerGoneError: if a server is away for too long.
        """
        unique: dict[int, tuple[str, Tensor]] = {}  # a tied head is the embeddings, which come first
        for name, tensor in named_tensors:
            if parallel.is_first():
                here = tensor.detach().cpu().contiguous()
                unique.setdefault(here.data_ptr(), (name, here))
        self._loads += 1
        self.version = f"{self._run}-{self._loads}"
        if parallel.is_first():
            with whole_folder(self.weights) as partial:
                save_file(dict(unique.values()), partial / FILE)
            for server in self._servers:
                server.insist(self._push)
        self.version = parallel.of_all(self.version)[0]

    def _push(self, server: "_Server") -> None:
        """Has a server take over the last weights, unless it holds them."""
        if self.version is None:
            return
        if server.version() != self.version:
            server.post("/pause?mode=wait")
            server.post("/init_weight_transfer_engine", {"init_info": {}})
            server.post("/start_weight_update")
            server.post("/update_weights", {"update_info": {"path": str(self.weights / FILE)}})
            server.post("/finish_weight_update", {"weight_version": self.version})
        server.post("/reset_prefix_cache")  # these two also where it holds them: it may have gone away in between
        server.post("/resume")

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
        """Nothing: servers have devices of their own."""

    def stream(self, requests: Sequence[Request], sampling: Sampling) -> Iterator[tuple[int, int, Completion]]:
        """Yields (request index, seed index, completion) as each completion finishes; closed early, it drops the rest.

        Raises:
            InputError: if a prompt is empty, or leaves no room for `max_completion_tokens` in the model's context.
            ServerGoneError: if a server is away for too long.
        """
        check_requests(requests, sampling, self.room)
        arrived: queue.SimpleQueue[tuple[int, int, Completion] | BaseException | None] = queue.SimpleQueue()
        loop, given_up = asyncio.new_event_loop(), threading.Event()
        everything = loop.create_task(self._write_all(requests, sampling, arrived.put, given_up))

        def work() -> None:
            try:
                loop.run_until_complete(everything)
            except asyncio.CancelledError:
                pass
            except BaseException as error:  # for the thread that waits
                arrived.put(_first(error))
            finally:
                given_up.set()
                arrived.put(None)
                loop.run_until_complete(loop.shutdown_default_executor())
                loop.close()

        thread = threading.Thread(target=work, name="vLLM requests", daemon=True)
        thread.start()
        try:
            while (found := arrived.get()) is not None:
                if isinstance(found, BaseException):
                    raise found
                yield found
        finally:
            given_up.set()
            if thread.is_alive():
                with suppress(RuntimeError):  # it has ended meanwhile
                    loop.call_soon_threadsafe(everything.cancel)
            thread.join()

    async def _write_all(
        self,
        requests: Sequence[Request],
        sampling: Sampling,
        put: Callable[[Any], None],
        given_up: threading.Event,
    ) -> None:
        async with httpx2.AsyncClient(limits=LIMITS, timeout=TIMEOUT) as client, asyncio.TaskGroup() as watchers:
            watching = [watchers.create_task(server.watch(client)) for server in self._servers]
            async with asyncio.TaskGroup() as writers:
                for index, request in enumerate(requests):
                    server = self._servers[index % len(self._servers)]  # a prompt's completions share its cache
                    for k, seed in enumerate(request.seeds):
                        parameters = sampling_parameters(sampling, seed, self.end_ids)
                        body = {"token_ids": list(request.prompt_ids), "sampling_params": parameters}
                        get_well = partial(asyncio.to_thread, server.insist, self._push, given_up)
                        writers.create_task(self._write(client, server, body, sampling, (index, k), put, get_well))
            for task in watching:
                task.cancel()

    async def _write(
        self,
        client: httpx2.AsyncClient,
        server: "_Server",
        body: Mapping[str, Any],
        sampling: Sampling,
        place: tuple[int, int],
        put: Callable[[Any], None],
        get_well: Callable[[], Awaitable[None]],
    ) -> None:
        """One completion, asked for again as often as the server went away meanwhile."""
        failures = 0
        while True:
            try:
                response = await client.post(f"{server.url}/inference/v1/generate", json=body)
            except httpx2.TransportError:  # it went away, with what it had written
                await get_well()
                continue
            if response.is_success:
                choice = response.json()["choices"][0]
                if self._is_new(choice):
                    put((*place, self._completion(choice, sampling)))
                    return
            elif response.is_client_error:
                raise InputError(f"{server.url} refuses a request ({_reason(response)}): {SET_UP}")
            failures += 1
            if failures == TRIES:
                raise ServerGoneError(f"{server.url} fails again and again ({_reason(response)}): start it again")
            await get_well()

    def _is_new(self, choice: Mapping[str, Any]) -> bool:
        """Whether all of its tokens come from the last weights: a server that was started again begins with its own."""
        return self.version is None or {span["version"] for span in choice["weight_versions"]} == {self.version}

    def _completion(self, choice: Mapping[str, Any], sampling: Sampling) -> Completion:
        ids = tuple(choice["token_ids"])
        return Completion(
            text=completion_text(ids, sampling.stop, self.end_ids, self.tokenizer),
            ids=ids,
            logprobs=tuple(token["logprob"] for token in choice["logprobs"]["content"]),
            finish_reason=FinishReason.LENGTH if choice["finish_reason"] == "length" else FinishReason.STOP,
        )


class _Server:
    """A server, and its endpoints for control."""

    def __init__(self, url: str, patience_s: float) -> None:
        self.url, self.patience_s = url, patience_s
        self._client = httpx2.Client(base_url=url, timeout=httpx2.Timeout(patience_s, connect=10.0))
        self._one_at_a_time = threading.Lock()
        self._is_missed = False

    def insist(self, act: "Callable[[_Server], T]", given_up: threading.Event | None = None) -> T:
        """Does it as soon as the server is well, again if it goes away meanwhile.

        Raises:
            ServerGoneError: if it is away for too long, or the caller has given up.
        """
        given_up = given_up or threading.Event()
        with self._one_at_a_time:
            away_since: float | None = None
            while True:
                try:
                    self._client.get("/health", timeout=HEALTH_TIMEOUT).raise_for_status()
                    done = act(self)
                    self._is_missed = False
                    return done
                except (httpx2.TransportError, httpx2.HTTPStatusError) as error:
                    away_since = away_since or time.monotonic()
                    if given_up.is_set() or time.monotonic() - away_since > self.patience_s:
                        raise self._gone(error) from error
                    if not self._is_missed:
                        self._is_missed = True
                        warnings.warn(f"{self.url} does not answer ({_words(error)}): waiting for it", stacklevel=2)
                given_up.wait(POLL_S)

    async def watch(self, client: httpx2.AsyncClient) -> None:
        """Ends only if the server is away for too long: one that hangs does not hang up.

        Raises:
            ServerGoneError: then.
        """
        seen = time.monotonic()
        while True:
            await asyncio.sleep(WATCH_S)
            try:
                await client.get(f"{self.url}/health", timeout=HEALTH_TIMEOUT)
                seen = time.monotonic()
            except httpx2.TransportError as error:
                if time.monotonic() - seen > self.patience_s:
                    raise self._gone(error) from error

    def _gone(self, error: Exception) -> ServerGoneError:
        return ServerGoneError(
            f"{self.url} has not answered for {self.patience_s:g} s ({_words(error)}): start it again, "
            "and give the same command"
        )

    def room(self) -> int:
        """Tokens that a prompt and its completion may have."""
        return int(self._client.get("/v1/models").raise_for_status().json()["data"][0]["max_model_len"])

    def version(self) -> str:
        """Of the weights that it holds.

        Raises:
            InputError: if it cannot say.
        """
        response = self._client.get("/weight_info")
        if response.is_client_error:
            raise InputError(f"{self.url} has no weights to give ({_reason(response)}): {SET_UP}")
        return str(response.raise_for_status().json()["weight_version"])

    def post(self, path: str, body: Mapping[str, Any] | None = None) -> None:
        """
        Raises:
            InputError: if it does not know how.
            httpx2.HTTPStatusError: if it fails.
        """
        response = self._client.post(path, json=body)
        if response.is_client_error:
            raise InputError(f"{self.url}{path} says {_reason(response)}: {SET_UP}")
        response.raise_for_status()


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__


def _first(error: BaseException) -> BaseException:
    """What happened first to a group of tasks."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _reason(response: httpx2.Response) -> str:
    return f"{response.status_code} {response.text[:200]}"
