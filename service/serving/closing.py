"""The end of a version's runners: all are closed, also where one does not close well or no thread is to be had.

What stayed open would hold its memory, or its process, for good. Knows nothing of what they ran.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

from service.core.errors import Unavailable
from service.runtime.runner import Runner
from service.serving.threads import in_thread, stand_back


async def close_runners(where: str, runners: Sequence[Runner]) -> None:
    """Closes them beside the event loop, or on it where there is no thread for that.

    Args:
        where: whose they are, in the thread's name.
        runners: each is closed; what the last one of them raises is raised then.
    """

    def beside() -> None:
        stand_back()  # giving memory back takes milliseconds, and nobody waits for it
        close_all(runners)

    try:
        await in_thread(f"close {where}", beside)
    except Unavailable:
        close_all(runners)


def close_all(runners: Sequence[Runner]) -> None:
    """Closes them here and now; blocks. What the last one of them raises is raised then."""
    with ExitStack() as closing:
        for runner in runners:
            closing.callback(runner.close)
