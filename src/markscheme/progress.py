"""Progress that a person can read: a live bar on a terminal, a line now and then in a log file."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

LOG_EVERY_S = 15.0


class Bar:
    """The progress of one job."""

    def __init__(self, console: Console, title: str, total: int) -> None:
        self._console, self._title, self._total = console, title, total
        self._started = self._printed = time.monotonic()
        self._first: int | None = None
        self._last = 0
        self._note = ""
        self._live: Progress | None = None
        if console.is_terminal:
            self._live = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=24),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(elapsed_when_finished=False),
                TextColumn("{task.fields[note]}"),
                console=console,
            )
            self._task = self._live.add_task(title, total=total, note="")

    def update(self, done: int, note: str | None = None) -> None:
        """`done` of the total is finished; `note` says how it goes, None leaves what was said."""
        self._note = self._note if note is None else note
        if self._live:
            self._live.update(self._task, completed=done, note=self._note)
            return
        if done == self._last == self._total:
            return  # the end was printed
        now = time.monotonic()
        if self._first is None:
            self._first = done
        self._last = done
        if now - self._printed < LOG_EVERY_S and done < self._total:
            return
        self._printed = now
        new = done - self._first
        left = (
            f", {(now - self._started) / new * (self._total - done):.0f} s left"
            if new > 0 and done < self._total
            else ""
        )
        self._console.print(f"{self._title} {done}/{self._total}{left} {self._note}".rstrip(), highlight=False)


@contextmanager
def progress_bar(console: Console, title: str, total: int) -> Iterator[Bar]:
    """A bar that stays on the screen when its job is done."""
    bar = Bar(console, title, total)
    if bar._live is None:
        yield bar
    else:
        with bar._live:
            yield bar
