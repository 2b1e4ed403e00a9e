"""Random scenarios for hypothesis: small numbers, crowded instants, and every kind of trouble at once.

Weighted by repetition: most requests are plain and come in crowds, or hardly any two would ever share a batch.
"""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from tests.fakes import Act, Fault
from tests.unit.batching.scenario import Request, Scenario

_FAULTS = [Fault.NONE] * 40 + [fault for fault in Fault if fault is not Fault.NONE]


def _mostly(usual: Any, *others: Any, times: int = 9) -> st.SearchStrategy[Any]:
    return st.sampled_from([usual] * times + list(others))


requests = st.builds(
    Request,
    at_ms=st.sampled_from([0, 0, 1, 1, 1, 4, 4, 4, 9, 15]),
    rows=st.sampled_from([1, 1, 1, 1, 1, 1, 2, 2, 2, 3, 5, 11, 0, None]),
    width=_mostly(1, 2, times=4),
    budget_ms=_mostly(None, 0, 8, 20, 60, times=16),
    leaves_after_ms=_mostly(None, 0, 2, 9, times=18),
    bad=_mostly(False, True, times=12),
    origin=st.sampled_from(["", "a", "b"]),
    priority=st.sampled_from([0, 0, 1, 2, 3, 9]),
    timeout_ms=_mostly(None, 1, 4, 8, 30, times=6),
)

acts = st.builds(Act, seconds=st.sampled_from([0.0, 0.002, 0.005, 0.005, 0.012]), fault=st.sampled_from(_FAULTS))

scenarios = st.builds(
    Scenario,
    requests=st.lists(requests, min_size=6, max_size=20).map(tuple),
    acts=st.lists(acts, min_size=4, max_size=16).map(tuple),
    engines=_mostly(1, 2, 3, times=5),
    max_rows=st.sampled_from([1, 3, 4, 6, 8]),
    delay_ms=_mostly(0, 7, times=2),
    preferred=_mostly((), (2,), (2, 4), times=6),
    max_queue=_mostly(64, 3, times=6),
    default_wait_ms=_mostly(None, 10, 25, times=6),
    allows_timeout=_mostly(True, False, times=3),
    delays=_mostly(False, True, times=1),
    levels=_mostly(0, 2, 3, times=2),
    best_delays=st.booleans(),
    keeps_order=_mostly(False, True, times=3),
    mixes=_mostly(True, False, times=6),
    seeded=_mostly(True, False, times=2),
    replaces=st.booleans(),
    failed_replacements=_mostly(0, 1, 2, times=3),
    crashes_at=_mostly(frozenset(), frozenset({4}), frozenset({5, 9}), times=6),
    close_at_ms=_mostly(200, 10, 60, 3000, times=5),
    drain=_mostly(True, False, times=5),
)
