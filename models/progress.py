"""Shows how far a long run is: bars on a terminal, a line now and then elsewhere. Always on the error stream's console.

Both leave the terminal in order when they are interrupted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

from models.workbench import Progress

LINE_EVERY_S = 10.0


def progress_on(console: Console) -> Progress:
    """What suits this console."""
    return Bars(console) if console.is_terminal else Lines(console)


class Bars:
    """A bar for each open task; a finished one leaves a line."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars = RichProgress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[figures]}", markup=False),
            console=console,
            transient=True,
        )
        self._open = 0

    @contextmanager
    def task(self, name: str, total: int) -> Iterator[Callable[[str], None]]:
        """See `Progress`."""
        if not self._open:
            self._bars.start()
        self._open += 1
        bar = self._bars.add_task(name, total=total, figures="")
        try:
            yield lambda figures: self._bars.update(bar, advance=1, figures=figures)
            done = self._bars.tasks[self._bars.task_ids.index(bar)]
            line = f"{name}: done in {done.elapsed or 0:.0f} s  {done.fields['figures']}"
            self._console.print(line.rstrip(), highlight=False, markup=False)
        finally:
            self._bars.remove_task(bar)
            self._open -= 1
            if not self._open:
                self._bars.stop()


class Lines:
    """For logs and pipes: a line when a task begins, every `LINE_EVERY_S` seconds, and when it ends.

    Args:
        console: where to.
        now_s: a monotonic clock.
    """

    def __init__(self, console: Console, now_s: Callable[[], float] = time.monotonic) -> None:
        self._console, self._now_s = console, now_s

    @contextmanager
    def task(self, name: str, total: int) -> Iterator[Callable[[str], None]]:
        """See `Progress`."""
        start_s = told_s = self._now_s()
        done, last = 0, ""

        def step(figures: str) -> None:
            nonlocal done, told_s, last
            done, last = done + 1, figures
            if self._now_s() - told_s >= LINE_EVERY_S:
                told_s = self._now_s()
                self._say(f"{name}: {done} of {total}  {figures}")

        self._say(f"{name}: begins, {total} steps")
        yield step
        self._say(f"{name}: done in {self._now_s() - start_s:.0f} s  {last}")

    def _say(self, line: str) -> None:
        self._console.print(line.rstrip(), highlight=False, markup=False, soft_wrap=True)
