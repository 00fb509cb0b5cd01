"""The operations: what is asked for and answered."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from fastapi import Request, Response
from fastapi.responses import HTMLResponse
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import ClientDisconnect

from markscheme.score_rows import failure_of
from markscheme.scoring import Sample, Score
from markscheme.serve.docs_page import docs_page
from markscheme.serve.metrics import Metrics
from markscheme.serve.pool import BusyError, DrainingError, SampleError, ScoringPool
from markscheme.serve.requests import RefusedError, read_json, samples_of, samples_of_list, samples_of_queries

BODY_DEADLINE_S = 60.0
"""For the whole of a body to come: one that drips would keep the server from ending."""
HELD_BODIES = 16
"""Of the largest size: requests in progress together hold no more bytes than these."""
SOON_S = 1
"""After which a request may be tried again that found no room, or met the end of the server."""


class ScoringApi:
    """The operations of one server. Their docstrings are what its pages say."""

    def __init__(self, pool: ScoringPool, metrics: Metrics, name: str, version: str, max_body_bytes: int) -> None:
        """`name` and `version` are the scorer's."""
        self._pool, self._metrics = pool, metrics
        self._identity = {"name": name, "version": version}
        self._max_body_bytes = max_body_bytes
        self._held_bytes = 0

    async def score(self, request: Request) -> Response:
        """A score for each sample, in order."""
        async with self._body(request) as body:
            scores = await self._scores(request, samples_of(body))
            return _json({"scores": [score.to_dict() for score in scores]})

    async def rewards(self, request: Request) -> Response:
        """The values alone: a list of samples in, a list of numbers out; null where nothing could be decided."""
        async with self._body(request) as body:
            return _json([score.value for score in await self._scores(request, samples_of_list(body))])

    async def get_reward(self, request: Request, nulls: bool = False) -> Response:
        """OpenRLHF's remote reward model. A query about which nothing could be decided is answered by 503, and those
        beside it too: OpenRLHF cannot learn from null. With ?nulls=1 it gets null.
        """
        async with self._body(request) as body:
            scores = await self._scores(request, samples_of_queries(body))
            if not nulls:
                _check_all_scored(scores)
            values = [score.value for score in scores]
            shares = [value if value is None else min(1.0, max(0.0, value)) for value in values]  # it filters by these
            return _json({"rewards": values, "scores": shares, "extra_logs": {}})

    async def health(self) -> Response:
        """Whether the server takes samples: 200 or 503. Needs no key."""
        status = "draining" if self._pool.draining else "ok" if self._pool.alive else "down"
        return _json({"status": status}, status=200 if status == "ok" else 503)

    async def version(self) -> Response:
        """The scorer's name and version."""
        return _json(self._identity)

    async def metrics(self) -> Response:
        """Counts, for Prometheus."""
        return Response(self._metrics.text(), media_type=CONTENT_TYPE_LATEST)

    async def docs(self, request: Request) -> Response:
        return HTMLResponse(docs_page(request.app.openapi(), str(request.base_url)))

    @asynccontextmanager
    async def _body(self, request: Request) -> AsyncIterator[Any]:
        """The JSON of a request, whose bytes count as held until it is answered.

        Raises:
            RefusedError: if it is too large, too slow, or no JSON.
        """
        limit, size, pieces = self._max_body_bytes, 0, []
        if int(request.headers.get("content-length", "0")) > limit:
            raise _too_large(limit)
        try:
            try:
                async with asyncio.timeout(BODY_DEADLINE_S):
                    async for piece in request.stream():
                        size += len(piece)
                        self._held_bytes += len(piece)
                        if size > limit:
                            raise _too_large(limit)
                        if self._held_bytes > HELD_BODIES * limit:
                            raise RefusedError(429, "busy", "too many bytes are in progress", wait_s=SOON_S)
                        pieces.append(piece)
            except TimeoutError as error:
                raise RefusedError(408, "slow", f"the body has not come in {BODY_DEADLINE_S:g} s") from error
            yield read_json(b"".join(pieces))
        except RecursionError as error:
            raise RefusedError(400, "json", "the body is nested too deep") from error
        finally:
            self._held_bytes -= size

    async def _scores(self, request: Request, samples: Sequence[Sample]) -> list[Score]:
        """The pool's scores, for as long as the client waits for them.

        Raises:
            RefusedError: if there are none.
            ClientDisconnect: if the client has gone.
        """
        if len(samples) > self._pool.max_waiting:
            message = f"{len(samples)} samples are more than may wait: send at most {self._pool.max_waiting} at a time"
            raise RefusedError(413, "too_large", message)
        scoring = asyncio.create_task(self._pool.score(samples))
        leaving = asyncio.create_task(_leave(request))
        try:
            await asyncio.wait((scoring, leaving), return_when=asyncio.FIRST_COMPLETED)
            if not scoring.done():
                raise ClientDisconnect
            scores = scoring.result()
        except BusyError as error:
            raise RefusedError(429, "busy", str(error), wait_s=error.wait_s) from error
        except DrainingError as error:
            raise RefusedError(503, "draining", "the server is about to end", wait_s=SOON_S) from error
        except SampleError as error:
            raise RefusedError(422, "gold" if error.gold else "sample", str(error), index=error.index) from error
        finally:
            scoring.cancel()
            leaving.cancel()
        self._metrics.add_scores(scores)
        return scores


def _too_large(limit: int) -> RefusedError:
    return RefusedError(413, "too_large", f"a body may have {limit} bytes: send fewer samples at a time")


async def _leave(request: Request) -> None:
    """Returns when the client has gone."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _check_all_scored(scores: Sequence[Score]) -> None:
    """
    Raises:
        RefusedError: naming the first without a value.
    """
    for index, score in enumerate(scores):
        if score.value is None:
            message = f"query[{index}] is {score.outcome.value}: {failure_of(score)}; with ?nulls=1 it gets null"
            raise RefusedError(503, "unscored", message, index=index)


def _json(value: Any, status: int = 200) -> Response:
    return Response(json.dumps(value, allow_nan=False), status, media_type="application/json")
