"""A process that scores for the server: `python -m markscheme.serve.worker DESCRIPTOR`.

It gets one line of JSON a message, and answers each by one: first the scorer, a pickle in base64, to {"ready": true} or
{"error": why not}; then batches, lists of samples, to lists of as many scores. In place of a score may stand
{"error": "gold" or "sample", "message": ...}.
"""

import base64
import ctypes
import json
import pickle
import signal
import socket
import sys
from collections.abc import Sequence
from io import BufferedRWPair

from markscheme.files import InputError
from markscheme.scorer_process import Broken, RowByRow, run_scorer_process
from markscheme.scoring import GoldError, Sample, Score, Scorer

PR_SET_PDEATHSIG = 1
"""Of Linux's prctl.h."""


def setting_of(scorer: Scorer) -> bytes:
    """The first message to a worker."""
    return json.dumps(base64.b64encode(pickle.dumps(scorer)).decode()).encode() + b"\n"


def _work(descriptor: int) -> None:
    _end_with_the_server()
    stream = socket.socket(fileno=descriptor).makefile("rwb")  # closed by the end of the process, and not before
    try:
        scorer = pickle.loads(base64.b64decode(json.loads(stream.readline())))
        scorer.score([])  # a reward model reads its weights now, not while a sample waits
    except Exception as error:  # the boundary: whatever it is, the server says it
        _send(stream, json.dumps({"error": f"{type(error).__name__}: {error}"}))
        return
    _send(stream, json.dumps({"ready": True}))
    for line in stream:
        samples = [Sample.from_dict(record) for record in json.loads(line)]
        _send(stream, f"[{', '.join(_results(RowByRow(scorer), samples))}]")


def _end_with_the_server() -> None:
    """Has the kernel end this process when the server is gone: no Python thread runs while a regular expression or a
    power of a large number is worked out, so the one that `run_scorer_process` starts might never.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _send(stream: BufferedRWPair, text: str) -> None:
    stream.write(text.encode() + b"\n")
    stream.flush()


def _results(scorer: Scorer, samples: Sequence[Sample]) -> list[str]:
    """Of each sample, its score as JSON, or what is wrong with the sample."""
    try:
        scores = scorer.score(samples)
    except (GoldError, InputError) as error:
        if len(samples) == 1:
            kind = "gold" if isinstance(error, GoldError) else "sample"
            return [json.dumps({"error": kind, "message": str(error)})]
        return [result for sample in samples for result in _results(scorer, [sample])]
    if len(scores) != len(samples):
        scores = Broken(f"the scorer gave {len(scores)} scores for {len(samples)} samples").score(samples)
    return [_json(score) for score in scores]


def _json(score: Score) -> str:
    try:
        return json.dumps(score.to_dict(), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        [broken] = Broken(f"the score cannot be written as JSON: {error}").score([Sample(prompt="", completion="")])
        return json.dumps(broken.to_dict())


if __name__ == "__main__":
    run_scorer_process(_work)
