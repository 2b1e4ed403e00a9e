"""Shows on standard error how a run goes on: a line for each finding, and a bar for the blocks."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class Shown:
    """A `Watcher` that shows; a context manager."""

    def __init__(self) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._progress = Progress(*columns, console=Console(stderr=True), transient=True)
        self._task = self._progress.add_task("", total=None, visible=False)

    def __enter__(self) -> Shown:
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._progress.stop()

    def say(self, text: str) -> None:
        """A line above the bar."""
        self._progress.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def expect(self, blocks: int) -> None:
        """The bar begins."""
        self._progress.reset(self._task, total=blocks, visible=True, description="blocks")

    def step(self, text: str) -> None:
        """The bar goes on."""
        self._progress.update(self._task, advance=1, description=text)
