"""The app: the operations with their paths and description, behind the guard."""

from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse

from markscheme import __version__
from markscheme.serve import schema
from markscheme.serve.api import ScoringApi
from markscheme.serve.guard import OPEN_PATHS, Guard
from markscheme.serve.metrics import Metrics
from markscheme.serve.pool import ScoringPool
from markscheme.serve.requests import RefusedError

CLIENT_GONE = 499
"""What nginx writes down for a request whose client did not wait. Nobody gets it."""
ABOUT = "Scores of completions. What cannot be decided has the value null, never 0."


def make_app(pool: ScoringPool, *, name: str, version: str, key: str | None, max_body_bytes: int) -> FastAPI:
    """The app of a server.

    Args:
        pool: what scores; it must have been entered when requests come.
        name: the scorer's.
        version: the scorer's.
        key: that clients must send; None for none.
        max_body_bytes: of a request.
    """
    metrics = Metrics(pool)
    api = ScoringApi(pool, metrics, name, version, max_body_bytes)
    app = FastAPI(title="markscheme", version=__version__, description=ABOUT, docs_url=None, redoc_url=None)
    posts = (
        ("/score", api.score, schema.ref(schema.ScoreRequest), {"model": schema.ScoreAnswer}),
        ("/v1/rewards", api.rewards, schema.SAMPLE_LIST, schema.content(schema.REWARD_LIST)),
        ("/get_reward", api.get_reward, schema.ref(schema.QueryRequest), {"model": schema.QueryAnswer}),
    )
    for path, operation, asked, answered in posts:
        app.add_api_route(
            path,
            operation,
            methods=["POST"],
            openapi_extra={"requestBody": {"required": True, **schema.content(asked)}},
            responses={200: {"description": "Scored.", **answered}, **schema.REFUSALS},
        )
    app.add_api_route("/version", api.version, responses={200: {"model": schema.Version}})
    app.add_api_route("/health", api.health, responses=schema.HEALTH, openapi_extra={"security": []})
    app.add_api_route("/metrics", api.metrics)
    app.add_api_route("/docs", api.docs, include_in_schema=False)
    description = _complete(app.openapi(), with_key=key is not None)
    app.add_exception_handler(RefusedError, _refused)
    app.add_exception_handler(HTTPException, _no_such)
    app.add_exception_handler(RequestValidationError, _misread)
    app.add_exception_handler(ClientDisconnect, _gone)
    paths = {*OPEN_PATHS, *description["paths"]}
    app.add_middleware(Guard, key=key, metrics=metrics, paths=paths)
    return app


def _complete(description: dict[str, Any], *, with_key: bool) -> dict[str, Any]:
    """FastAPI's description of the app, which it keeps, with what it does not find by itself."""
    description["components"]["schemas"] |= schema.components()
    if with_key:
        description["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        description["security"] = [{"key": []}]
    return description


def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, RefusedError)
    headers = {} if error.wait_s is None else {"retry-after": str(error.wait_s)}
    return JSONResponse(error.body, error.status, headers)


def _no_such(request: Request, error: Exception) -> Response:
    """A path or a method that does not exist."""
    assert isinstance(error, HTTPException)
    phrase = HTTPStatus(error.status_code).phrase
    body = {"error": phrase.lower().replace(" ", "_"), "message": f"{phrase}: /docs lists what there is"}
    return JSONResponse(body, error.status_code, error.headers)


def _misread(request: Request, error: Exception) -> Response:
    """A parameter of the wrong type."""
    assert isinstance(error, RequestValidationError)
    reasons = "; ".join(f"{one['loc'][-1]}: {one['msg']}" for one in error.errors())
    return JSONResponse({"error": "request", "message": reasons}, 422)


def _gone(request: Request, error: Exception) -> Response:
    return Response(status_code=CLIENT_GONE)
