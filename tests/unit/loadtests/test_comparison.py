"""Rounds of a comparison: each version once in each, in an order that is drawn, under the same traffic."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np

from loadtests.arrivals import poisson, steady
from loadtests.comparison import Contender, Plan, compare
from loadtests.generator.block import Block
from loadtests.pools import Pool, Rows, Signature
from loadtests.server import Counters
from tests.unit.loadtests.blocks import block

ROUNDS = 40


UNKNOWN = Counters(None, None, None, None, None, None, None, None)
POOL = Pool(("x", 1), (b"",) * 8, Rows({"in": np.zeros((8, 1))}), Signature({"in": "FP32"}, {"out": "FP32"}), "out", "")


class Sends:
    """A generator that answers everything and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Block] = []

    @property
    def requests(self) -> int:
        return sum(len(asked.planned_s) for asked in self.asked)

    def prepare(self, pools: Any) -> None:
        pass

    def send(self, asked: Block) -> Any:
        self.asked.append(asked)
        return block([1.0] * len(asked.planned_s)).sent


def test_versions_take_turns_in_an_order_that_is_drawn_and_meet_the_same_traffic() -> None:
    server: Any = SimpleNamespace(counters=lambda *_: UNKNOWN)
    both = [Contender(label, server, "m", label, POOL) for label in ("1", "1-int8")]
    generator: Any = Sends()
    seen = compare(both, Plan(steady(50, 1), poisson, ROUNDS), generator, sleep=lambda _: None)
    pairs = list(zip(generator.asked[::2], generator.asked[1::2], strict=True))
    assert [one.round for one in seen] == [at for at in range(ROUNDS) for _ in both]
    for one, other in pairs:
        assert {one.pool, other.pool} == {"1", "1-int8"}
        assert np.array_equal(one.planned_s, other.planned_s) and np.array_equal(one.rows, other.rows)
    first = [one.pool for one, _ in pairs]
    assert ROUNDS / 4 < first.count("1") < ROUNDS * 3 / 4
    assert not np.array_equal(pairs[0][0].planned_s[:5], pairs[1][0].planned_s[:5])  # each round has its own


def test_what_a_server_counts_of_a_block_is_all_of_that_block_and_nothing_else() -> None:
    generator: Any = Sends()
    server: Any = SimpleNamespace(counters=lambda *_: replace(UNKNOWN, requests=generator.requests))
    one = Contender("1", server, "m", "1", POOL)
    seen = compare([one], Plan(steady(50, 1), poisson, 3), generator, sleep=lambda _: None)
    assert [block.server.requests for block in seen] == [len(asked.planned_s) for asked in generator.asked]
