"""SIGTERM and SIGHUP end a command as Ctrl-C does: what was measured is told, and no process or file is left."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_ENDINGS = (signal.SIGTERM, signal.SIGHUP)


@contextmanager
def ended_as_by_ctrl_c() -> Iterator[None]:
    """Within it these signals raise KeyboardInterrupt; one that is ignored, as under nohup, stays so."""
    before = {one: signal.getsignal(one) for one in _ENDINGS}
    ours = [one for one in _ENDINGS if before[one] is signal.SIG_DFL]
    for one in ours:
        signal.signal(one, _interrupt)
    try:
        yield
    finally:
        for one in ours:
            signal.signal(one, before[one])


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
