"""The one way in which a command fails."""

from __future__ import annotations


class Failure(Exception):
    """The command did not do what was asked; the message is one sentence for the person at the terminal."""
