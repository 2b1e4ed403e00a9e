"""What tries of rates say of a knee: the odds of each place where it may lie, with slow spells of the machine in mind.

In a calm machine the odds that a rate is met fall from 1 to 0 around the knee. A slow spell misses rates that are well
below it. The machine is a chain of two states, so a miss soon after another one is hardly news, while the same miss a
minute later is. How steep the fall is, how long spells last and how much of the time they take is not known: a grid of
each is carried along and summed out. Pure; knows no servers, and time only as the moments it is told.

Sources: Kontsevich and Tyler, "Bayesian adaptive estimation of psychometric slope and threshold", Vision Research 39
(1999), for the grid; Wichmann and Hill, "The psychometric function: I", Perception & Psychophysics 63 (2001), for
lapses; Rabiner, "A tutorial on hidden Markov models", Proceedings of the IEEE 77 (1989), for the two states.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

LEAST_RATE, MOST_RATE = 0.5, 25_000.0
_STEP = 0.01
_KNEES = np.arange(math.log(LEAST_RATE), math.log(MOST_RATE), _STEP)
# Of the fall from met to missed, as the scale of a logistic function of the rate's logarithm.
_WIDTHS = (0.01, 0.03, 0.06)
# Mean seconds of a slow spell, and the share of all time that such spells take.
_SPELLS_S, _SHARES = (2.0, 20.0, 100.0), (0.1, 0.4)
_WIDTH, _SPELL_S, _SHARE = np.array(list(itertools.product(_WIDTHS, _SPELLS_S, _SHARES))).T[:, :, None]
# In a slow spell a rate holds that is somewhere around this share of the knee.
_SLOWED, _SLOWED_WIDTH = math.log(0.3), 0.6
# A try may always come out the other way, whatever the rate.
_LAPSE = 0.01


@dataclass(frozen=True, slots=True)
class Belief:
    """Odds of (unknowns, knee) together with the machine's being calm, or slow, at the last try; they add up to 1.

    Attributes:
        calm: float64 (unknowns, knees).
        slow: likewise.
        at_s: moment of the last try; None before one.
    """

    calm: Array = field(default_factory=lambda: _even() * (1 - _SHARE))
    slow: Array = field(default_factory=lambda: _even() * _SHARE)
    at_s: float | None = None

    def after(self, rate: float, met: bool, at_s: float) -> Belief:
        """What is believed once this rate was tried at this moment."""
        calm, slow = self._moved(at_s)
        above = _KNEES - math.log(rate)
        holds = _odds(above / _WIDTH)
        seen_calm = _LAPSE / 2 + (1 - _LAPSE) * holds
        seen_slow = _LAPSE / 2 + (1 - _LAPSE) * holds * _odds((above + _SLOWED) / _SLOWED_WIDTH)
        calm = calm * (seen_calm if met else 1 - seen_calm)
        slow = slow * (seen_slow if met else 1 - seen_slow)
        whole = calm.sum() + slow.sum()
        return Belief(calm / whole, slow / whole, at_s)

    def quantile(self, share: float) -> float:
        """The rate below which the knee lies with this probability."""
        below = np.cumsum((self.calm + self.slow).sum(axis=0))
        at = np.searchsorted(below, share * below[-1])
        return float(np.exp(_KNEES[min(int(at), len(_KNEES) - 1)]))

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """The knee lies within it with this probability, half of the rest on either side."""
        return self.quantile((1 - confidence) / 2), self.quantile((1 + confidence) / 2)

    def _moved(self, at_s: float) -> tuple[Array, Array]:
        """The machine may have changed its state since the last try."""
        if self.at_s is None:
            return self.calm, self.slow
        whole = self.calm + self.slow
        # Mean times s in the slow and c in the calm state relax with the rate 1/s + 1/c; the share is s / (s + c).
        kept = np.exp(-(at_s - self.at_s) / (_SPELL_S * (1 - _SHARE)))
        slow = kept * self.slow + (1 - kept) * _SHARE * whole
        return whole - slow, slow


def _even() -> Array:
    """No knee and no unknown is likelier than another."""
    return np.full((len(_WIDTH), len(_KNEES)), 1 / (len(_WIDTH) * len(_KNEES)))


def _odds(x: Array) -> Array:
    return 1 / (1 + np.exp(-np.clip(x, -50, 50)))
