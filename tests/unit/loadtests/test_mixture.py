"""A mixture of versions: one pool of all, and a stream that is taken apart again."""

from __future__ import annotations

import numpy as np

from loadtests.generator.block import RIGHT, WRONG, Answer
from loadtests.generator.checking import Checker
from loadtests.mixture import mixture, part
from loadtests.pools import Pool, Rows, Signature
from tests.support.scripted import logits
from tests.unit.loadtests.blocks import block

SIGNATURE = Signature({"in": "FP32"}, {"out": "FP32"})
VALUES = np.array([[1.0, 2.0], [4.0, 3.0]], np.float32)


def pool(version: str, offset: float) -> Pool:
    rows = Rows({"in": VALUES}, expected={"out": VALUES + offset})
    return Pool(("h", 1), (b"a" + version.encode(), b"b" + version.encode()), rows, SIGNATURE, "out", version)


def test_each_row_of_the_mixture_is_held_against_its_own_version() -> None:
    mixed = mixture([pool("1", 0), pool("2", 5)])
    assert mixed.requests == (b"a1", b"b1", b"a2", b"b2")
    checker = Checker(mixed)

    def check(values: np.ndarray, version: str, row: int) -> int:
        return checker.check(Answer(logits(values, version).partition(b"\r\n\r\n")[2], 0), row)[0]

    assert check(VALUES[:1], "1", 0) == RIGHT
    assert check(VALUES[1:] + 5, "2", 3) == RIGHT
    assert check(VALUES[1:], "2", 3) == WRONG
    assert check(VALUES[1:] + 5, "1", 3) == WRONG


def test_a_stream_is_taken_apart_without_loss() -> None:
    sent = block([1.0, 2.0, 3.0, 4.0]).sent
    second = np.array([False, True, False, True])
    parts = [part(sent, ~second, 0), part(sent, second, 1)]
    assert parts[0].rows.tolist() == [0, 2] and parts[1].rows.tolist() == [0, 2]
    assert sorted(np.concatenate([one.latency_s for one in parts]).round(4)) == [0.001, 0.002, 0.003, 0.004]
    assert parts[1].began_s == sent.began_s
