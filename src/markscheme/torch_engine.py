"""A Generator on a transformers model in this process.

Each prompt is run once and its keys and values are copied to its completions; rows that have finished leave the
batch; every completion has a random stream of its own. With a margin it does not depend on the batch it sits in: where
the numbers are so close that a batch's rounding could decide, its row is run once more alone, and that decides.

Shapes: P prompts, B rows (completions still being written), T room in the cache, V vocabulary.
"""

import weakref
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import Cache, PreTrainedModel, PreTrainedTokenizerBase
from transformers.cache_utils import CacheLayerMixin

from markscheme.draws import draw
from markscheme.files import InputError
from markscheme.generation import Completion, FinishReason, Request, Sampling, check_requests
from markscheme.models import fingerprint, has_adapter

CACHE_BLOCK = 64  # tokens by which the cache grows
MARGIN = 3e-5  # of float32 logits: a batch's shape moves them by some 1e-6, in large models by 1e-5
KEEP_SHARE = 0.75  # rows leave the batch together, when at most this share of them is still writing: leaving copies


class TorchEngine:
    """Generates with a transformers causal language model.

    The model is used as it is, weights included: a trainer that shares it with the engine has nothing to push.
    """

    kind = "torch"

    def __init__(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, max_rows: int = 256, margin: float = 0.0
    ) -> None:
        """`max_rows` completions at most are written at a time. Calls that are closer than `margin` of a logit, such as
        MARGIN, are settled alone: what is measured should not depend on its batch. 0 leaves them to the batch, which
        training need not mind: of distributions as flat as those of random weights nearly every call is close.

        Raises:
            InputError: if the model has layers other than full attention, which this engine cannot cache.
        """
        kinds = set(getattr(model.config.get_text_config(), "layer_types", None) or ["full_attention"])
        if kinds != {"full_attention"}:
            raise InputError(f"{type(model).__name__} has layers of {', '.join(sorted(kinds))}: use the vLLM engine")
        self.model = model
        self.tokenizer = tokenizer
        self.max_rows = max_rows
        self.margin = margin
        self.end_ids = end_token_ids(model, tokenizer)

    @property
    def batch_invariant(self) -> bool:
        """Whether completions are the same whatever else is written with them: in half precision they are not."""
        return self.margin > 0 and self.model.dtype in (torch.float32, torch.float64)

    def fingerprint(self) -> str:
        """Names weights and tokenizer, as they are now, by their content."""
        return fingerprint(self.model, self.tokenizer)

    def load_weights(self, named_tensors: Iterable[tuple[str, Tensor]]) -> None:
        """Copies new weights into the model; a tensor that the model already holds is left alone."""
        if has_adapter(self.model):  # then it is the one that is trained
            return
        own = self.model.state_dict()
        with torch.no_grad():
            for name, tensor in named_tensors:
                if own[name].data_ptr() != tensor.data_ptr():
                    own[name].copy_(tensor)

    def release(self) -> None:
        """Nothing is left to give: between two calls it holds the weights only, which the trainer uses too."""

    def stream(self, requests: Sequence[Request], sampling: Sampling) -> Iterator[tuple[int, int, Completion]]:
        """Yields (request index, seed index, completion) as each completion finishes.

        Raises:
            InputError: if a prompt is empty, or leaves no room for `max_completion_tokens` in the model's context.
        """
        room = getattr(self.model.config.get_text_config(), "max_position_embeddings", None)
        check_requests(requests, sampling, room)
        was_training = self.model.training
        self.model.eval()
        try:
            for chunk in _chunks(requests, self.max_rows):
                yield from self._write(requests, chunk, sampling)
        finally:
            self.model.train(was_training)

    @torch.no_grad()
    def _write(
        self, requests: Sequence[Request], rows: list[tuple[int, int]], sampling: Sampling
    ) -> Iterator[tuple[int, int, Completion]]:
        device = self.model.device
        writers = [_Writer(request, k, requests[request].seeds[k], sampling) for request, k in rows]
        prompts = list(dict.fromkeys(writer.request for writer in writers))
        cache = _RowCache(self.model.config.get_text_config().num_hidden_layers)
        prompt_logits_PV = self._prefill([requests[index].prompt_ids for index in prompts], cache)
        place = {index: row for row, index in enumerate(prompts)}
        prompt_of_B = torch.tensor([place[writer.request] for writer in writers], device=device)
        cache.select(prompt_of_B)
        logits_BV = prompt_logits_PV[prompt_of_B]
        uniform_BN = torch.stack([writer.uniform for writer in writers]).to(device)
        alive = list(range(len(writers)))  # for each row of the batch, its writer

        for step in range(sampling.max_completion_tokens):
            drawn = draw(logits_BV, uniform_BN[:, step], sampling)
            tokens_B = drawn.tokens_B
            if self.batch_invariant:
                for row in torch.nonzero(drawn.gaps_B < self.margin)[:, 0].tolist():
                    if writers[alive[row]].finish_reason is None:
                        alone_1V = self._alone(requests, writers[alive[row]])
                        settled = draw(alone_1V, uniform_BN[row : row + 1, step], sampling)
                        tokens_B[row], drawn.logprobs_B[row] = settled.tokens_B[0], settled.logprobs_B[0]
            kept = []
            for row, (token, logprob) in enumerate(zip(tokens_B.tolist(), drawn.logprobs_B.tolist(), strict=True)):
                writer = writers[alive[row]]
                if writer.finish_reason is not None:
                    continue  # finished, but still in the batch
                writer.add(token, logprob, self.end_ids, self.tokenizer)
                if writer.finish_reason is None:
                    kept.append(row)
                else:
                    yield writer.request, writer.k, writer.completion(self.tokenizer, self.end_ids)
            if not kept:
                return
            if len(kept) <= KEEP_SHARE * len(alive):
                kept_B = torch.tensor(kept, device=device)
                cache.select(kept_B)
                tokens_B, uniform_BN = tokens_B[kept_B], uniform_BN[kept_B]
                alive = [alive[row] for row in kept]
            logits_BV = self._decode(tokens_B, cache)

    def _alone(self, requests: Sequence[Request], writer: "_Writer") -> Tensor:
        """The logits after what a completion has so far, in a run of its own: [1, V]."""
        ids_1L = torch.tensor([[*requests[writer.request].prompt_ids, *writer.ids]], device=self.model.device)
        output = self.model.base_model(input_ids=ids_1L, use_cache=False)
        return self._logits(output.last_hidden_state[:, -1])

    def _prefill(self, prompts: Sequence[tuple[int, ...]], cache: "_RowCache") -> Tensor:
        """Runs the prompts once, padded on the right, and returns the logits after each: [P, V]."""
        device = self.model.device
        lengths_P = torch.tensor([len(prompt) for prompt in prompts], device=device)
        ids_PL = torch.zeros(len(prompts), int(lengths_P.max()), dtype=torch.long)
        for row, prompt in enumerate(prompts):
            ids_PL[row, : len(prompt)] = torch.tensor(prompt)
        # Causal attention never looks at the padding, and the first tokens written overwrite it in the cache.
        output = self.model.base_model(input_ids=ids_PL.to(device), past_key_values=cache, use_cache=True)
        cache.lengths_B, cache.prompts_are_in = lengths_P, True
        last_PH = output.last_hidden_state[torch.arange(len(prompts), device=device), lengths_P - 1]
        return self._logits(last_PH)

    def _decode(self, tokens_B: Tensor, cache: "_RowCache") -> Tensor:
        """Runs one token of every row and returns the logits after it: [B, V]."""
        output = self.model.base_model(
            input_ids=tokens_B[:, None],
            position_ids=cache.lengths_B[:, None],
            attention_mask=cache.begin_step(),
            past_key_values=cache,
            use_cache=True,
        )
        cache.lengths_B = cache.lengths_B + 1
        return self._logits(output.last_hidden_state[:, 0])

    def _logits(self, hidden_BH: Tensor) -> Tensor:
        logits_BV: Tensor = self.model.get_output_embeddings()(hidden_BH)
        return logits_BV.float()


def end_token_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Every token that ends a completion: those of the generation config and the tokenizer's own."""
    configured = getattr(model.generation_config, "eos_token_id", None)
    ids = configured if isinstance(configured, list) else [configured]
    return frozenset(token for token in [*ids, tokenizer.eos_token_id] if token is not None)


class _Writer:
    """One completion while it is being written."""

    def __init__(self, request: int, k: int, seed: int, sampling: Sampling) -> None:
        self.request, self.k, self.sampling = request, k, sampling
        stream = torch.Generator().manual_seed(seed)
        self.uniform = torch.rand(sampling.max_completion_tokens, generator=stream, dtype=torch.float64)
        self.ids: list[int] = []
        self.logprobs: list[float] = []
        self.finish_reason: FinishReason | None = None

    def add(self, token: int, logprob: float, end_ids: frozenset[int], tokenizer: PreTrainedTokenizerBase) -> None:
        self.ids.append(token)
        self.logprobs.append(logprob)
        if token in end_ids or self._stopped(tokenizer):
            self.finish_reason = FinishReason.STOP
        elif len(self.ids) == self.sampling.max_completion_tokens:
            self.finish_reason = FinishReason.LENGTH

    def _stopped(self, tokenizer: PreTrainedTokenizerBase) -> bool:
        if not self.sampling.stop:
            return False
        # A token can hold a part of a character, so a few more are read than the longest string has characters.
        tail = tokenizer.decode(self.ids[-max(map(len, self.sampling.stop)) - 4 :])
        return any(string in tail for string in self.sampling.stop)

    def completion(self, tokenizer: PreTrainedTokenizerBase, end_ids: frozenset[int]) -> Completion:
        assert self.finish_reason is not None
        return Completion(
            text=completion_text(self.ids, self.sampling.stop, end_ids, tokenizer),
            ids=tuple(self.ids),
            logprobs=tuple(self.logprobs),
            finish_reason=self.finish_reason,
        )


def completion_text(
    ids: Sequence[int], stop: Sequence[str], end_ids: frozenset[int], tokenizer: PreTrainedTokenizerBase
) -> str:
    """What the tokens of a completion say, without an end token and without what follows a stop string."""
    kept = ids[:-1] if ids[-1] in end_ids else ids
    text = str(tokenizer.decode(list(kept), skip_special_tokens=True, clean_up_tokenization_spaces=False))
    for string in stop:
        text = text.partition(string)[0]
    return text


def _chunks(requests: Sequence[Request], max_rows: int) -> Iterator[list[tuple[int, int]]]:
    """(request index, seed index) of all completions wanted, at most `max_rows` at a time."""
    rows = [(index, k) for index, request in enumerate(requests) for k in range(len(request.seeds))]
    for start in range(0, len(rows), max_rows):
        yield rows[start : start + max_rows]


class _RowCache(Cache):
    """Keys and values of rows of different lengths: row b's next token is written at `lengths_B[b]`."""

    def __init__(self, num_layers: int) -> None:
        self.rows = [_RowLayer(self) for _ in range(num_layers)]
        super().__init__(layers=list(self.rows))
        self.prompts_are_in = False
        self.lengths_B = torch.empty(0)
        self.rows_B = torch.empty(0)
        self.visible = 0

    def begin_step(self) -> Tensor:
        """Makes room for one more token a row, and returns what each row may look at: [B, 1, 1, T]."""
        self.visible = int(self.lengths_B.max()) + 1
        self.rows_B = torch.arange(len(self.lengths_B), device=self.lengths_B.device)
        places_T = torch.arange(self.visible, device=self.lengths_B.device)
        return (places_T <= self.lengths_B[:, None])[:, None, None, :]

    def select(self, rows_B: Tensor) -> None:
        """Keeps these rows, in this order; one that is named several times is copied."""
        self.lengths_B = self.lengths_B[rows_B]
        longest = int(self.lengths_B.max())
        for layer in self.rows:
            layer.states = tuple(_with_room(states[:, :, :longest], rows_B) for states in layer.states)


class _RowLayer(CacheLayerMixin):
    """One attention layer of a `_RowCache`: (keys, values), each [B, heads, T, head size]."""

    def __init__(self, cache: _RowCache) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.cache: _RowCache = weakref.proxy(cache)  # a cycle would keep all keys and values until it is found
        self.states: tuple[Tensor, ...] = ()

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        if not self.cache.prompts_are_in:
            self.states = (key_states, value_states)
            return key_states, value_states
        visible, rows_B, lengths_B = self.cache.visible, self.cache.rows_B, self.cache.lengths_B
        if visible > self.states[0].shape[2]:
            self.states = tuple(_with_room(states, rows_B) for states in self.states)
        keys, values = self.states
        keys[rows_B, :, lengths_B] = key_states[:, :, 0]
        values[rows_B, :, lengths_B] = value_states[:, :, 0]
        return keys[:, :, :visible], values[:, :, :visible]

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Nothing to do before the first update."""

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.get_seq_length() + query_length, 0

    def get_seq_length(self) -> int:
        return self.cache.visible

    def get_max_length(self) -> int:
        return -1


def _with_room(states: Tensor, rows_B: Tensor) -> Tensor:
    """These rows, with room for `CACHE_BLOCK` more tokens. Zeros, because a masked NaN is still a NaN."""
    length = states.shape[2]
    roomy = states.new_zeros(len(rows_B), states.shape[1], length + CACHE_BLOCK, states.shape[3])
    roomy[:, :, :length] = states[rows_B]
    return roomy
