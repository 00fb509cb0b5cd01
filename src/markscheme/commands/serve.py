"""`markscheme serve`: scores over HTTP."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from markscheme.cli import INTERRUPTED
from markscheme.commands.reward_options import RewardOptions
from markscheme.commands.shared import RULES, say, scorer_by_name
from markscheme.files import InputError
from markscheme.http_json import read_key
from markscheme.scorer_process import core_count
from markscheme.serve.config import ServeConfig
from markscheme.serve.server import ScoringServer, is_loopback, listen, run, url_of

LEARNED_BATCH_SAMPLES = 32
"""A reward model reads many samples at a time; in more, those of a small request would wait for a large one."""


def serve(
    *,
    scorer: str = "math",
    lenient: bool = False,
    reward: Annotated[RewardOptions | None, Parameter(name="*")] = None,
    settings: Annotated[ServeConfig | None, Parameter(name="*")] = None,
    config: Path | None = None,
) -> int:
    """Score over HTTP, until SIGTERM or Ctrl-C; what was accepted by then is answered first.

    Operations: POST /score, /v1/rewards and, for OpenRLHF, /get_reward; GET /health, /version, /metrics, /docs.
    RemoteScorer is the client.

    Parameters
    ----------
    scorer
        math, gsm8k, cmath, generic, choice (letters) or steps (the arithmetic, without a gold), or the folder of a
        reward model.
    lenient
        Without a stated answer, take the last number of the last line.
    config
        TOML file of options.
    """
    reward, settings = reward or RewardOptions(), settings or ServeConfig()
    judge, rating = scorer_by_name(scorer, lenient), reward.rating()
    learned = rating is not None or scorer not in RULES
    if rating is not None:
        judge = reward.combined(judge, rating)
    key = read_key(settings.api_key_variable)
    with listen(settings.host, settings.port) as listener:
        if key is None and not is_loopback(listener):
            needed = "give --api-key-variable NAME too, the environment variable with a key for clients"
            raise InputError(f"--host {settings.host}: other machines could reach it: {needed}")
        server = ScoringServer(
            judge,
            settings,
            processes=settings.processes or (1 if learned else core_count()),
            batch_size=LEARNED_BATCH_SAMPLES if learned else 1,
            key=key,
        )
        url = url_of(listener)
        try:
            run(server, listener, lambda: say(f"{url} scores by {judge.name} {judge.version}; see {url}/docs"))
        except KeyboardInterrupt:
            say("\nstopped; what was accepted is answered")
            return INTERRUPTED
        return 0
