"""What a batcher would report."""

from __future__ import annotations

from typing import NamedTuple


class Timing(NamedTuple):
    queue_ns: int = 1_000
    input_ns: int = 2_000
    infer_ns: int = 3_000_000
    output_ns: int = 4_000


class Batch(NamedTuple):
    rows: int = 4
    requests: int = 2
    input_ns: int = 2_000
    infer_ns: int = 3_000_000
    output_ns: int = 4_000
    close_reason: str = "full"
