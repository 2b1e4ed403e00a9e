"""When requests are to be sent: arrival times of an open loop, drawn ahead and independent of any answer.

Pure functions of a rate profile and a seed. A server that is slow therefore meets the same traffic as one that is
quick, and what waits is counted as waiting (Schroeder, Wierman, Harchol-Balter: "Open Versus Closed: A Cautionary
Tale", NSDI 2006).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

Seconds = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Stretch:
    """Some seconds at one rate, in requests per second."""

    duration_s: float
    rate: float

    def __post_init__(self) -> None:
        if not (self.duration_s >= 0 and self.rate >= 0 and np.isfinite(self.duration_s * self.rate)):
            raise ValueError(f"A stretch of {self.duration_s} s at {self.rate} requests/s is none.")


Profile = Sequence[Stretch]


def steady(rate: float, duration_s: float) -> Profile:
    """One rate throughout."""
    return (Stretch(duration_s, rate),)


def burst(rate: float, duration_s: float, *, factor: float = 10.0, share: float = 0.1) -> Profile:
    """`factor` times the rate for `share` of the time in the middle; the rest at the rate itself."""
    calm_s = duration_s * (1 - share) / 2
    return (Stretch(calm_s, rate), Stretch(duration_s * share, factor * rate), Stretch(calm_s, rate))


def steps(rates: Sequence[float], duration_s: float) -> Profile:
    """Each rate for an equal part of the time."""
    return tuple(Stretch(duration_s / len(rates), rate) for rate in rates)


def trace(counts: NDArray[Any], rate: float, duration_s: float, *, start: int = 0) -> Profile:
    """A recorded trace of requests per second from second `start` on, scaled to the mean rate that is asked for.

    Args:
        counts: (n,) requests in each second of the recording; it begins anew where it ends.
        rate: mean of what is given.
        duration_s: how long.
        start: the second of the recording that comes first.

    Raises:
        ValueError: the recording holds no request in that time.
    """
    whole = int(np.ceil(duration_s))
    taken = counts[(start + np.arange(whole)) % len(counts)].astype(np.float64)
    lengths = np.minimum(1.0, duration_s - np.arange(whole))
    sent = float(taken @ lengths)
    if not sent > 0:
        raise ValueError(f"The trace holds no request in the {whole} s from second {start} on.")
    scale = rate * duration_s / sent
    return tuple(Stretch(float(s), float(count) * scale) for s, count in zip(lengths, taken, strict=True))


def poisson(profile: Profile, random: np.random.Generator) -> Seconds:
    """Arrival times, ascending, of a Poisson process with this profile as its rate."""
    parts, begin_s = [], 0.0
    for stretch in profile:
        count = int(random.poisson(stretch.rate * stretch.duration_s))
        parts.append(begin_s + np.sort(random.random(count)) * stretch.duration_s)
        begin_s += stretch.duration_s
    return np.concatenate(parts) if parts else np.empty(0)


def constant(profile: Profile, random: np.random.Generator) -> Seconds:
    """Arrival times at equal distances; the phase is drawn, so that two runs do not beat against the same timers."""
    parts, begin_s = [], 0.0
    for stretch in profile:
        count = round(stretch.rate * stretch.duration_s)
        if count:
            parts.append(begin_s + (np.arange(count) + random.random()) * (stretch.duration_s / count))
        begin_s += stretch.duration_s
    return np.concatenate(parts) if parts else np.empty(0)


# What `--arrivals` names: how times are drawn from a profile. The profile itself is the scenario's.
PROCESSES: Mapping[str, Callable[[Profile, np.random.Generator], Seconds]] = MappingProxyType(
    {"poisson": poisson, "constant": constant}
)


def duration_s(profile: Profile) -> float:
    """How long a profile lasts."""
    return sum(stretch.duration_s for stretch in profile)


def mean_rate(profile: Profile) -> float:
    """Requests a second over the whole profile."""
    lasts_s = duration_s(profile)
    return sum(stretch.rate * stretch.duration_s for stretch in profile) / lasts_s if lasts_s else 0.0
