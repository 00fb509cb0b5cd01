"""Requests and answers as the page /docs and /openapi.json describe them. What is true of them is checked elsewhere:
samples by `Sample.from_dict`, which takes half a surrogate pair where pydantic does not.
"""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import models_json_schema

from markscheme.scoring import Outcome

EXAMPLE: dict[str, Any] = {"prompt": "1/4 + 1/4?", "completion": "It is \\boxed{0.5}.", "gold": "\\frac{1}{2}"}
QUERIES: dict[str, Any] = {
    "query": [EXAMPLE["prompt"] + EXAMPLE["completion"]],
    "prompts": [EXAMPLE["prompt"]],
    "labels": [EXAMPLE["gold"]],
}
SCORED: dict[str, Any] = {
    "value": 1.0,
    "outcome": "correct",
    "answer": "0.5",
    "evidence": {"tier": "number", "kind": "box"},
}
REFS = "#/components/schemas/{model}"


class _Body(BaseModel):
    model_config = ConfigDict(use_attribute_docstrings=True)


class MessageBody(_Body):
    """One turn of a conversation."""

    role: str
    content: str


class SampleBody(_Body):
    """One completion to judge."""

    prompt: str | list[MessageBody] = ""
    completion: str
    gold: str | list[str] | None = None
    """The right answer, or several that are each right; none where the scorer needs none."""
    id: str | None = None
    group: str | None = None
    meta: dict[str, Any] = {}
    """Facts about the completion that its text does not show: completion_tokens, finish_reason, choices, step_ends."""


class ScoreBody(_Body):
    """The judgement of one sample; fields that would be empty are left out."""

    value: float | None
    """None exactly when the outcome is undecided or failed: never 0 for what could not be told."""
    outcome: Outcome
    answer: str | None = None
    """What was extracted from the completion."""
    steps: list[tuple[int, float]] = []
    """Of process supervision: where each step ends in the completion, and its value."""
    parts: dict[str, "ScoreBody"] = {}
    """What a composed score is made of."""
    evidence: dict[str, Any] = {}
    """Which rule decided, or why there is no value."""


class ScoreRequest(_Body):
    """Samples to score."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"samples": [EXAMPLE]}]})
    samples: list[SampleBody]


class ScoreAnswer(_Body):
    """A score a sample, in order."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"scores": [SCORED]}]})
    scores: list[ScoreBody]


class QueryRequest(_Body):
    """What OpenRLHF sends to a remote reward model."""

    model_config = ConfigDict(json_schema_extra={"examples": [QUERIES]})
    query: list[str]
    """Prompt and completion in one; a prompt that stands in front is taken off."""
    prompts: list[str | None] | None = None
    labels: list[str | float | list[str] | None] | None = None
    """The golds."""


class QueryAnswer(_Body):
    """What OpenRLHF reads: rewards for the advantages, scores for its filter of groups; here they are the same."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"rewards": [1.0], "scores": [1.0], "extra_logs": {}}]})
    rewards: list[float | None]
    scores: list[float | None]
    extra_logs: dict[str, Any] = {}


class Version(_Body):
    """Which scorer answers here: both go into every record."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "math", "version": "5-strict-5s"}]})
    name: str
    version: str


class Health(_Body):
    """ok, draining (about to end) or down (no process to score with)."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"status": "ok"}]})
    status: str


class Refusal(_Body):
    """Why a request is not answered."""

    error: str
    """One word."""
    message: str
    """One line."""
    index: int | None = Field(default=None, ge=0)
    """Of the sample that is to blame."""


SAMPLE_LIST = {"type": "array", "items": {"$ref": REFS.format(model="SampleBody")}, "examples": [[EXAMPLE]]}
REWARD_LIST = {"type": "array", "items": {"type": ["number", "null"]}, "examples": [[1.0]]}

REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": Refusal, "description": text}
    for status, text in {
        400: "The body is not JSON.",
        401: "The key is missing or wrong.",
        408: "The body took too long to come.",
        413: "The body is too large, or has more samples than may wait.",
        422: "The body has another shape, or, with the error gold, a gold cannot be read.",
        429: "Too many samples wait. Retry-After says for how many seconds.",
        503: "The server is about to end.",
    }.items()
}
HEALTH: dict[int | str, dict[str, Any]] = {
    200: {"model": Health, "description": "It takes samples."},
    503: {"model": Health, "description": "It takes none."},
}


def ref(model: type[BaseModel]) -> dict[str, Any]:
    """A reference to a model in the description."""
    return {"$ref": REFS.format(model=model.__name__)}


def content(schema: dict[str, Any]) -> dict[str, Any]:
    """A body of JSON."""
    return {"content": {"application/json": {"schema": schema}}}


def components() -> dict[str, Any]:
    """The models of what is sent to the server, which FastAPI does not find by itself: it reads no bodies here."""
    _, definitions = models_json_schema([(ScoreRequest, "validation"), (QueryRequest, "validation")], ref_template=REFS)
    found: dict[str, Any] = definitions["$defs"]
    return found
