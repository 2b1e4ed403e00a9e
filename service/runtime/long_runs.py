"""When the memory that long runs took is needed no more: a while after the last of them, while shorter ones go on.

Takes the time of a run for a measure of what it took: 256 MiB are not filled within `LONG_S`. Knows nothing of arenas.
"""

from __future__ import annotations

LONG_S = 0.05
REST_S = 60.0  # what is given back has to be taken anew, a second for some GiB: seldom enough to be nothing
SHORTER = 4.0  # times: a run that is not shorter by that needs the memory of the longest


class LongRuns:
    """Those of one session, while their memory is held."""

    __slots__ = ("_last_s", "_longest_s")

    def __init__(self) -> None:
        self._longest_s = self._last_s = 0.0

    def note(self, run_s: float, now_s: float) -> None:
        """A run of `run_s` seconds has ended, well or not."""
        if run_s >= LONG_S and run_s * SHORTER >= self._longest_s:
            self._longest_s, self._last_s = max(run_s, self._longest_s), now_s

    def are_over(self, now_s: float) -> bool:
        """Whether there were any, and their memory is to be given back now; says so once."""
        if not self._longest_s or now_s - self._last_s < REST_S:
            return False
        self._longest_s = 0.0
        return True
