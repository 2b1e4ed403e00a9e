"""Waits for what another process or thread brings about, generously, so that only what never comes is a failure."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE_S = 20.0
_LOOK_EVERY_S = 0.005


def until(holds: Callable[[], bool], what: str = "", within_s: float = PATIENCE_S) -> float:
    """Returns once it holds: the seconds that it took.

    Raises:
        AssertionError: it does not within `within_s`; `what` says what was waited for.
    """
    began_s = time.monotonic()
    while not holds():
        assert time.monotonic() - began_s < within_s, f"not within {within_s:g} s: {what}"
        time.sleep(_LOOK_EVERY_S)
    return time.monotonic() - began_s
