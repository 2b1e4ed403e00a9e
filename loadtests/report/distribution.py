"""The distribution of latencies, thinned to the points that a curve needs: even steps far out in the tail too."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from loadtests.measures.observed import Observed
from loadtests.report.schema import DistributionPart

POINTS_A_DECADE = 60


def distribution(version: str, blocks: Sequence[Observed]) -> DistributionPart | None:
    """Share of a version's good answers that took longer, against the latency; None where there is no answer.

    Shares are spaced evenly by their logarithm, from 1 down to one answer of all.
    """
    latency_ms = np.sort(np.concatenate([block.latency_ms for block in blocks])) if blocks else np.empty(0)
    count = len(latency_ms)
    if not count:
        return None
    points = max(2, round(POINTS_A_DECADE * np.log10(max(count, 10))))
    shares = np.unique(np.round(np.geomspace(1 / count, 1, points) * count).astype(np.int64))[::-1]
    return DistributionPart(
        version=version,
        slower_than=tuple((shares / count).tolist()),
        latency_ms=tuple(round(float(one), 4) for one in latency_ms[count - shares]),
    )
