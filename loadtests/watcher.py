"""Who is told how a run goes on."""

from __future__ import annotations

from typing import Protocol


class Watcher(Protocol):
    """Told while a run goes on; it must be quick."""

    def say(self, text: str) -> None:
        """What is done now, or was found."""

    def expect(self, blocks: int) -> None:
        """So many blocks follow."""

    def step(self, text: str) -> None:
        """One of them is over."""


class Silent:
    """Tells nobody."""

    def say(self, text: str) -> None:
        """Nothing."""

    def expect(self, blocks: int) -> None:
        """Nothing."""

    def step(self, text: str) -> None:
        """Nothing."""


SILENT = Silent()
