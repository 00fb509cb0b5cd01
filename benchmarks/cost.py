"""What an evaluation cost: seconds, processor seconds, tokens, memory; a line for each session in `costs.jsonl`."""

import json
import resource
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from markscheme.files import drop_torn_line, read_jsonl
from markscheme.generation import Completion

COSTS = "costs.jsonl"


@dataclass(slots=True, kw_only=True)
class Cost:
    """Of generating, in one session."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    """Of this process: an engine on a GPU or a server takes more than it sees."""
    completions: int = 0
    prompt_tokens: int = 0
    """Each prompt once for every completion of it, though an engine may run it once for all."""
    completion_tokens: int = 0
    peak_mb: float = 0.0

    def add(self, completion: Completion, prompt_tokens: int) -> None:
        self.completions += 1
        self.prompt_tokens += prompt_tokens
        self.completion_tokens += len(completion.ids)


@contextmanager
def session_cost(out: Path) -> Iterator[Cost]:
    """Measures a session and adds its line, also when it is cut short by an error or Ctrl-C; not when it is killed."""
    cost, began, began_cpu = Cost(), time.monotonic(), time.process_time()
    try:
        yield cost
    finally:
        cost.seconds = round(time.monotonic() - began, 3)
        cost.cpu_seconds = round(time.process_time() - began_cpu, 3)
        cost.peak_mb = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1_024, 1)
        if cost.completions:
            drop_torn_line(out / COSTS)
            with (out / COSTS).open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(cost)) + "\n")


def evaluation_cost(out: Path, records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The tokens of an evaluation's records, and what the sessions that were not killed took: sums, and the highest
    memory. `measured_` is what those generated: other than the records where one was killed, or wrote others too.
    """
    drop_torn_line(out / COSTS)
    sessions = [line for _, line in read_jsonl(out / COSTS)] if (out / COSTS).exists() else []
    return {
        "completions": len(records),
        "prompt_tokens": sum(record["prompt_tokens"] for record in records),
        "completion_tokens": sum(record["completion_tokens"] for record in records),
        "seconds": round(sum(line["seconds"] for line in sessions), 3),
        "cpu_seconds": round(sum(line["cpu_seconds"] for line in sessions), 3),
        "peak_mb": max((line["peak_mb"] for line in sessions), default=0.0),
        "measured_completions": sum(line["completions"] for line in sessions),
        "measured_completion_tokens": sum(line["completion_tokens"] for line in sessions),
    }
