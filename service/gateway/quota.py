"""How often a holder may ask: a token bucket, as a pure function of what it held and when that was.

Source: the token bucket of RFC 2697, counted in requests. Knows no clock and no key.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Quota:
    """The bucket's size and how fast it fills.

    Attributes:
        per_s: requests a second, above 0.
        burst: requests at once after a pause, at least 1.
    """

    per_s: float
    burst: int


@dataclass(frozen=True, slots=True)
class Bucket:
    """What a bucket held when it was last looked at.

    Attributes:
        requests: that may be made at once, 0 to the burst.
        at_s: monotonic seconds.
    """

    requests: float
    at_s: float


def full(quota: Quota, now_s: float) -> Bucket:
    """The bucket of a holder who has asked for nothing yet."""
    return Bucket(quota.burst, now_s)


def take(quota: Quota, bucket: Bucket, now_s: float) -> tuple[Bucket, int]:
    """One request more.

    Returns:
        The bucket after it, and 0; or, where it is empty, the bucket as filled by now and the whole seconds, at least
        1, after which there is a request in it again.
    """
    held = min(float(quota.burst), bucket.requests + max(0.0, now_s - bucket.at_s) * quota.per_s)
    if held >= 1:
        return Bucket(held - 1, now_s), 0
    return Bucket(held, now_s), max(1, math.ceil((1 - held) / quota.per_s))
