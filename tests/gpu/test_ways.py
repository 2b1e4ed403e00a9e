"""Every way of the bench works on a real GPU, and answers what the CPU does."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench.gpu.measuring import measure
from tests.bench.gpu.networks import networks
from tests.bench.gpu.ways import WAYS

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(600), pytest.mark.usefixtures("cuda")]


@pytest.mark.parametrize("rows", [1, 4])
def test_every_way_answers_what_the_cpu_does(tmp_path: Path, rows: int) -> None:
    for network in networks(tmp_path, side=64, most_rows=4):
        found = {one.way: one for one in measure(network, "cuda", rows, engines=None, rounds=1, seconds=0.1)}
        # Quantised nodes that CUDA lacks run on the CPU, and such a run cannot be recorded.
        expected = [way for way in WAYS if way != "recorded" or network.precision != "int8"]
        assert {way: found[way].refused for way in expected} == dict.fromkeys(expected, "")
