"""Machines made up for tests of the search for a knee: calm or slow, as a two-state Markov process in their own time.

Nothing here is what the search believes of a machine: how slow a spell is, is drawn anew for each, between 8 and 70 %
of the speed, and a block that any part of a spell falls into is spoiled.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

SLOWEST, SLOW = 0.08, 0.7
REST_S, REST_AFTER_MISS_S = 0.2, 1.0


@dataclass(slots=True)
class Machine:
    """A server with a true knee on a machine with moods.

    Attributes:
        seed: of all that is drawn.
        knee: requests a second that it holds while the machine is calm.
        width: of the fall from met to missed, in logarithms of the rate.
        calm_s: mean seconds of a calm time.
        slow_s: of a slow spell; 0 for a machine without.
        now_s: its time, which passes with each block.
    """

    seed: int
    knee: float
    width: float = 0.02
    calm_s: float = 60.0
    slow_s: float = 20.0
    now_s: float = 0.0
    _random: np.random.Generator = field(init=False)
    _speed: float = field(init=False, default=1.0)
    _until_s: float = field(init=False, default=math.inf)

    def __post_init__(self) -> None:
        self._random = np.random.default_rng(self.seed)
        if self.slow_s:
            self._turn(slow=self._random.random() < self.slow_s / (self.slow_s + self.calm_s))

    def meets(self, rate: float) -> bool:
        """One block at this rate, and the rest after it."""
        speed = self.pass_time(float(np.clip(400 / rate, 2, 8)))
        odds = 1 / (1 + math.exp(np.clip(math.log(rate / self.knee / speed) / self.width, -50, 50)))
        met = bool(self._random.random() < odds)
        self.pass_time(REST_S if met else REST_AFTER_MISS_S)
        return met

    def pass_time(self, lasts_s: float) -> float:
        """The lowest speed in these seconds."""
        ends_s, lowest = self.now_s + lasts_s, self._speed
        while self._until_s < ends_s:
            self.now_s = self._until_s
            self._turn(slow=self._speed == 1)
            lowest = min(lowest, self._speed)
        self.now_s = ends_s
        return lowest

    def _turn(self, *, slow: bool) -> None:
        self._speed = float(self._random.uniform(SLOWEST, SLOW)) if slow else 1.0
        self._until_s = self.now_s + self._random.exponential(self.slow_s if slow else self.calm_s)


def bracketed(machine: Machine) -> float:
    """The knee by plain bracketing, for a control: a miss bounds the search for good.

    Each rate is judged by the majority of up to three blocks one after the other; from 100/s up by 1.6 until one is
    missed, then the gap is halved until it is 6 % wide.
    """

    def majority(rate: float) -> bool:
        seen = [machine.meets(rate), machine.meets(rate)]
        return all(seen) or (any(seen) and machine.meets(rate))

    met = missed = 0.0
    rate = 100.0
    while rate >= 1 and not (met and missed and missed / met <= 1.06):
        if majority(rate):
            met = rate
        else:
            missed = rate
        rate = math.sqrt(met * missed) if met and missed else met * 1.6 or missed / 4
    return met or 1.0
