"""Two versions held against each other round by round: the ratio that a typical round shows, with its interval.

In a round the two met the same arrivals within seconds of each other, in an order that was drawn, so that without a
difference a round's ratio is as likely to be r as 1/r, however restless the machine was in it. That is all that the
signed-rank interval asks for: its level holds in any noise, and rounds that a slow spell tore apart weigh no more than
others. Student's interval of the same ratios holds too, but a few such rounds make it so wide that it shows nothing.

Source: Hollander, Wolfe and Chicken, "Nonparametric Statistical Methods" (2014), sections 3.2 and 3.3: the
Hodges-Lehmann estimator and the interval of Tukey from the ordered Walsh averages.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from loadtests.measures.observed import Floats, Observed
from loadtests.measures.resampling import Figure

# Of fewer rounds no interval of the confidence that is used here can be told: 2 / 2^6 > 2.5 %.
LEAST_ROUNDS = 7


def ratio_of(own: Sequence[Observed], full: Sequence[Observed], percent: float, *, confidence: float = 0.95) -> Figure:
    """Own percentile / the full version's, with its interval.

    A round with too few answers for one to lie beyond the percentile is joined to the next ones.

    Args:
        own: a version's blocks by round.
        full: the other's, of the same rounds.
        percent: which percentile.
        confidence: of the interval.
    """
    enough = 100 / (100 - percent)
    pairs = [(np.percentile(one, percent), np.percentile(other, percent)) for one, other in _joined(own, full, enough)]
    return paired_ratio(pairs, confidence=confidence)


def _joined(own: Sequence[Observed], full: Sequence[Observed], enough: float) -> Iterator[tuple[Floats, Floats]]:
    """Latencies of as many rounds as it takes; what is left over in the end goes to the last of them."""
    kept: list[list[tuple[Floats, Floats]]] = [[]]
    for one, other in zip(own, full, strict=True):
        if min(sum(len(pair[side]) for pair in kept[-1]) for side in (0, 1)) >= enough:
            kept.append([])
        kept[-1].append((one.latency_ms, other.latency_ms))
    if len(kept) > 1 and min(sum(len(pair[side]) for pair in kept[-1]) for side in (0, 1)) < enough:
        kept[-2:] = [kept[-2] + kept[-1]]
    for group in kept:
        ours, theirs = (np.concatenate([pair[side] for pair in group]) for side in (0, 1))
        if len(ours) and len(theirs):
            yield ours, theirs


def paired_ratio(pairs: Sequence[tuple[float, float]], *, confidence: float = 0.95) -> Figure:
    """The ratio that pairs show: exp of the median of the Walsh averages of their logarithms.

    Args:
        pairs: (own, the other's), one a round; those that are not positive and finite are left out.
        confidence: of the interval, at least; there is none where so few pairs allow none of it.
    """
    values = np.array(pairs, float).reshape(-1, 2)
    values = values[(np.isfinite(values) & (values > 0)).all(axis=1)]
    if not len(values):
        return Figure(float("nan"))
    averages = np.exp(_walsh_averages(np.log(values[:, 0]) - np.log(values[:, 1])))
    middle, cut = float(np.median(averages)), _left_out(len(values), 1 - confidence)
    return Figure(middle, (float(averages[cut - 1]), float(averages[-cut])) if cut else None)


def _walsh_averages(values: Floats) -> Floats:
    """Means of all pairs of values, each with itself too, in order."""
    one, other = np.triu_indices(len(values))
    return np.sort((values[one] + values[other]) / 2)


def _left_out(pairs: int, error: float) -> int:
    """Which of the ordered averages, from either end, bounds the interval; 0 where none does."""
    return int(np.searchsorted(np.cumsum(_signed_rank(pairs)), error / 2, side="right"))


def _signed_rank(pairs: int) -> NDArray[np.float64]:
    """Probability of each sum of the ranks 1..pairs of which every one is drawn with a fair coin."""
    odds = np.ones(1)
    for rank in range(1, pairs + 1):
        taken = np.concatenate([np.zeros(rank), odds])
        odds = (np.pad(odds, (0, rank)) + taken) / 2
    return odds
