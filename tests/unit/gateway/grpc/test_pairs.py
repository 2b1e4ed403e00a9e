"""gRPC is told of a certificate when it is another one, once, and after a pause."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from service.gateway.grpc.pairs import Pairs
from service.gateway.tls import Certificate
from service.observe import logs
from tests.support.certificates import Pair, make_pair


@pytest.fixture
def live(tmp_path: Path) -> Pair:
    return make_pair(tmp_path, "live")


def test_a_pair_is_told_once_where_it_is_new_and_after_a_pause(tmp_path: Path, live: Pair) -> None:
    certificate, waited_s = Certificate(live.chain, live.key, logs.logger("test")), list[float]()
    pairs = Pairs(certificate, waited_s.append)
    assert pairs.renewed() is None and not waited_s
    certificate.read_again()
    assert pairs.renewed() is None and not waited_s, "the same"
    other = make_pair(tmp_path, "other")
    shutil.copy(other.chain, live.chain)
    shutil.copy(other.key, live.key)
    certificate.read_again()
    assert pairs.renewed() is not None
    assert len(waited_s) > 1 and 0.05 <= sum(waited_s) <= 0.5
    assert pairs.renewed() is None
