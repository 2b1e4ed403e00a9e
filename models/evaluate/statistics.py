"""Paired statistics of two classifiers on the same n rows, from the discordant counts b and c.

b counts the rows that the full version has right and the variant wrong, c the reverse; delta = (c - b) / n is what
the variant gained. Sources: Bonett and Price, "Adjusted Wald Confidence Interval for a Difference of Binomial
Proportions Based on Paired Data", J. Educ. Behav. Stat. 37 (2012); McNemar, Psychometrika 12 (1947), exact form.
"""

from __future__ import annotations

import math
from fractions import Fraction
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

POWER = 0.8


def bonett_price_interval(b: int, c: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Two-sided interval of delta, inside -1..1."""
    return _bonett_price(b, c, n, NormalDist().inv_cdf((1 + confidence) / 2))


def bonett_price_lower(b: int, c: int, n: int, confidence: float = 0.95) -> float:
    """One-sided lower bound of delta: it lies above with this confidence."""
    return _bonett_price(b, c, n, NormalDist().inv_cdf(confidence))[0]


def mcnemar_exact(b: int, c: int) -> float:
    """Two-sided p of the hypothesis that b and c come from a fair coin; 1 when there is no discordant row."""
    discordant = b + c
    tail = sum(math.comb(discordant, i) for i in range(min(b, c) + 1))
    return float(min(Fraction(1), Fraction(2 * tail, 2**discordant)))


def needed_samples(b: int, c: int, n: int, margin: float) -> int:
    """Rows it takes to show, 4 times in 5, that two equally good versions differ by less than `margin`.

    The share of discordant rows is taken from (b, c, n) with one added to each count, as in the interval, whose two
    added counts are then allowed for once more: where few rows are discordant, they cost as much as the rows do.

    Args:
        b: see above; so c and n.
        c: see above.
        n: see above.
        margin: > 0.
    """
    share = (b + c + 2) / (n + 2)
    z, z_power = NormalDist().inv_cdf(0.95), NormalDist().inv_cdf(POWER)

    def suffices(rows: int) -> bool:
        discordant = share * rows
        return margin * (rows + 2) >= z * math.sqrt(discordant + 2) + z_power * math.sqrt(discordant)

    low, high = 0, 1
    while not suffices(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if suffices(middle) else (middle, high)
    return high


def median_interval(values: NDArray[np.floating[Any]], *, confidence: float = 0.95) -> tuple[float, float]:
    """Interval of the median of `values` (n,), n > 0, between two of them: exact whatever they are distributed like.

    By the sign test (Conover, "Practical Nonparametric Statistics", 1999, section 3.2), as narrow as the confidence
    allows. Of fewer values than it takes (6 for 95 %, 7 for 98.3 %) it is all of them, and promises less.
    """
    n = len(values)
    allowed = Fraction(1 - confidence) / 2 * 2**n
    left_out, term, tail = 0, 1, 1
    while tail <= allowed and 2 * (left_out + 1) < n:
        left_out += 1
        term = term * (n - left_out + 1) // left_out
        tail += term
    low, high = np.sort(values)[[max(0, left_out - 1), min(n - 1, n - left_out)]]
    return float(low), float(high)


def _bonett_price(b: int, c: int, n: int, z: float) -> tuple[float, float]:
    if n < 1 or b < 0 or c < 0 or b + c > n:
        raise ValueError(f"b = {b} and c = {c} are no discordant counts of {n} rows.")
    lost, won = (b + 1) / (n + 2), (c + 1) / (n + 2)
    delta = won - lost
    half = z * math.sqrt((lost + won - delta * delta) / (n + 2))
    return max(-1.0, delta - half), min(1.0, delta + half)
