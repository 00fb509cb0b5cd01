"""The votes of judges on disk, so that nobody is asked the same thing twice."""

import json
import threading
from functools import cached_property
from pathlib import Path

from markscheme.files import InputError, drop_torn_line, naming, read_jsonl
from markscheme.reward_models.judge_reply import Vote


class VoteCache:
    """Votes by key, in a JSONL file that only grows; it is read at the first use. Threads may share it.

    Several processes may append to one file; each sees what was there when it began, and its own.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()

    def get(self, key: str) -> Vote | None:
        """The vote of a key; None if it is not known.

        Raises:
            InputError: if the file is not a cache of votes; a last line that a kill has torn is dropped.
        """
        with self._lock:
            return self._votes.get(key)

    def put(self, key: str, vote: Vote) -> None:
        """Writes a vote down. Raises as `get` does, and OSError where the disk does not take it."""
        line = json.dumps({"key": key, "grade": vote.grade, "final_answer": vote.final_answer}) + "\n"
        with self._lock:
            self._votes[key] = vote
            with naming(self.path), self.path.open("ab", buffering=0) as file:
                file.write(line.encode())  # at once: lines of two processes do not mix

    @cached_property
    def _votes(self) -> dict[str, Vote]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if not self.path.exists():
            return {}
        drop_torn_line(self.path)
        votes = {}
        for number, record in read_jsonl(self.path):
            match record:
                case {"key": str(key), "grade": int(grade), "final_answer": str(final_answer)}:
                    votes[key] = Vote(grade=grade, final_answer=final_answer)
                case _:
                    raise InputError(f"{self.path}:{number}: not a judge's vote; give the cache a file of its own")
        return votes
