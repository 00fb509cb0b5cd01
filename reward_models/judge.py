"""A language model as a judge, behind the scoring interface: any server with the `/chat/completions` of OpenAI."""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from markscheme.http_json import JSONClient, RequestFailedError, base_url, read_key
from markscheme.reward_models.judge_cache import VoteCache
from markscheme.reward_models.judge_prompt import PROMPT_VERSION, RUBRIC, messages_of, writable
from markscheme.reward_models.judge_reply import MAX_GRADE, InvalidVoteError, Vote, read_vote
from markscheme.reward_models.openers import says_nothing
from markscheme.scoring import Outcome, Sample, Score

DECIDING = ("model", "rubric", "votes", "temperature", "max_completion_tokens")
"""The settings on which a score depends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeConfig:
    """Whom to ask, and how.

    Raises:
        ValueError: if a setting makes no sense.
    """

    url: str
    """Such as http://localhost:8000/v1; /chat/completions is added."""
    model: str
    rubric: str = RUBRIC
    """Says in words what earns which grade from 0 to 10."""
    votes: int = 1
    """How often the judge is asked about a completion, with the seeds 0, 1, ..."""
    temperature: float = 0.0
    """Of the judge's sampling, from 0 to 2."""
    max_completion_tokens: int = 2_048
    """The longest reply, its thoughts included."""
    timeout_s: float = 120.0
    """Seconds that a try may take to connect, until its answer begins, and until that is whole."""
    tries: int = 4
    """Of a request that fails in transport, or with 408, 429 or 5xx."""
    concurrency: int = 16
    """Requests at a time."""
    cache: Path | None = None
    """A JSONL file for the votes; None keeps none."""
    api_key_variable: str | None = None
    """The environment variable with the key that is sent as a bearer token; it is read when it is needed."""

    def __post_init__(self) -> None:
        base_url(self.url)
        for name in ("model", "rubric"):
            if not getattr(self, name).strip():
                raise ValueError(f"{name} must not be empty")
        for name in ("votes", "max_completion_tokens", "tries", "concurrency"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not self.timeout_s > 0:
            raise ValueError(f"timeout_s must be above 0, got {self.timeout_s}")
        if not 0 <= self.temperature <= 2:
            raise ValueError(f"temperature must be from 0 to 2, got {self.temperature}")
        if self.votes > 1 and self.temperature == 0:
            raise ValueError(f"{self.votes} votes at temperature 0 are one vote: raise temperature, or set votes to 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ballot:
    """One vote that is asked for."""

    key: str
    """A hash of everything that decides the vote."""
    request: Mapping[str, Any]
    completion: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Result:
    """What came of a ballot."""

    vote: Vote | str
    """Or the reason why there is none."""
    is_cached: bool


class Judge:
    """Has a language model grade completions: RATED, the mean grade of the valid votes, from 0 to 1.

    FAILED if fewer than half of the votes are valid, with the reasons in `evidence`. A completion that says nothing
    (`:`, `Solution`, in any language) is NO_ANSWER, 0, and nobody is asked: judges reward those (Zhao et al. 2025,
    arXiv:2507.08794). A grade above 0 counts only with a final answer that stands in the completion.
    """

    name = "judge"

    def __init__(self, config: JudgeConfig) -> None:
        self.config = config
        self._cache = VoteCache(config.cache) if config.cache else None

    def __reduce__(self) -> tuple[Any, ...]:
        return Judge, (self.config,)

    @property
    def version(self) -> str:
        """A hash of the settings that decide a score; where the server is, and how patiently it is asked, do not."""
        settings = asdict(self.config)
        return _sha256([PROMPT_VERSION, {name: settings[name] for name in DECIDING}])[:12]

    def score(self, samples: Sequence[Sample]) -> list[Score]:
        """One score a sample, in order. Equal samples are asked about once.

        Raises:
            GoldError: if there is a gold, and it is empty.
            InputError: if the key is not there, or the cache cannot be read.
        """
        ballots_of = [self._ballots(sample) for sample in samples]
        results = self._collect({ballot.key: ballot for ballots in ballots_of for ballot in ballots})
        return [self._score([results[ballot.key] for ballot in ballots]) for ballots in ballots_of]

    def _ballots(self, sample: Sample) -> list[_Ballot]:
        """One for each vote; none if there is nothing to judge."""
        messages = messages_of(sample, self.config.rubric)
        if says_nothing(sample.completion):
            return []
        common = {
            "model": self.config.model,
            "messages": messages,
            "temperature": self.config.temperature,
            "max_completion_tokens": self.config.max_completion_tokens,
        }
        completion = writable(sample.completion)
        requests = [common | {"seed": seed} for seed in range(self.config.votes)]
        return [
            _Ballot(key=_sha256([PROMPT_VERSION, request]), request=request, completion=completion)
            for request in requests
        ]

    def _collect(self, ballots: Mapping[str, _Ballot]) -> dict[str, _Result]:
        known = {key: vote for key in ballots if self._cache and (vote := self._cache.get(key))}
        results = {key: _Result(vote=vote, is_cached=True) for key, vote in known.items()}
        keys = [key for key in ballots if key not in known]
        if keys:
            settings = self.config
            api_key = read_key(settings.api_key_variable)
            with (
                JSONClient(timeout_s=settings.timeout_s, tries=settings.tries, key=api_key) as client,
                ThreadPoolExecutor(min(settings.concurrency, len(keys))) as pool,
            ):
                votes = pool.map(lambda key: self._ask(client, ballots[key]), keys)
                results |= {key: _Result(vote=vote, is_cached=False) for key, vote in zip(keys, votes, strict=True)}
        return results

    def _ask(self, client: JSONClient, ballot: _Ballot) -> Vote | str:
        url = f"{base_url(self.config.url)}/chat/completions"
        try:
            vote = read_vote(client.post(url, ballot.request), ballot.completion)
        except (RequestFailedError, InvalidVoteError) as error:
            return str(error)
        if self._cache:
            self._cache.put(ballot.key, vote)
        return vote

    def _score(self, results: Sequence[_Result]) -> Score:
        if not results:
            reason = "nothing but openers and punctuation: the judge was not asked"
            return Score(value=0.0, outcome=Outcome.NO_ANSWER, evidence={"reason": reason})
        votes = [result.vote for result in results if isinstance(result.vote, Vote)]
        invalid = [result.vote for result in results if isinstance(result.vote, str)]
        evidence: dict[str, Any] = {"model": self.config.model, "votes": [vote.grade for vote in votes]}
        evidence |= {"cached": sum(result.is_cached for result in results), "invalid": invalid}
        if len(votes) < math.ceil(len(results) / 2):
            reason = f"{len(invalid)} of {len(results)} votes are invalid: {'; '.join(dict.fromkeys(invalid))}"
            return Score(value=None, outcome=Outcome.FAILED, evidence=evidence | {"reason": reason})
        answer = next((vote.final_answer for vote in votes if vote.final_answer), None)
        value = sum(vote.grade for vote in votes) / (MAX_GRADE * len(votes))
        return Score(value=value, outcome=Outcome.RATED, answer=answer, evidence=evidence)


def _sha256(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
