"""The open loop over HTTP against a server that does as a script says: every request is accounted for exactly once."""

from __future__ import annotations

import asyncio
import os
import resource
import socket

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loadtests.generator.block import CONNECTION_LOST, EXHAUSTED, NOT_CONNECTED, OK, UNANSWERED, Block, Sent
from loadtests.generator.connection import Connection
from loadtests.generator.http_transport import HttpTransport
from loadtests.generator.records import Records
from loadtests.generator.sender import Sender
from tests.support.scripted import Act, Script, Scripted, answer

GOOD = Act(answer(b"good"))
ACTS = {
    "good": GOOD,
    "slow": Act(answer(b"good"), wait_s=0.05),
    "refuses": Act(answer(b"full", "503 Service Unavailable")),
    "says that it closes": Act(answer(b"good", headers="Connection: close\r\n"), close=True),
    "closes unanswered": Act(b"", close=True),
    "half": Act(answer(b"good")[:-2], close=True),
    "garbage": Act(b"\x00\xffthis is not HTTP\r\n\r\n"),
    "chunks": Act(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ngood\r\n0\r\n\r\n"),
}
STATUS = {
    "refuses": 503,
    "closes unanswered": CONNECTION_LOST,
    "half": CONNECTION_LOST,
    "garbage": CONNECTION_LOST,
}
TIMEOUT_S = 20.0  # no block lasts nearly as long: it ends with its last answer


def request(name: str) -> bytes:
    return f"POST /{name.replace(' ', '-')} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi".encode()


def by_path(_: int, head: bytes, __: bytes) -> Act:
    return ACTS[head.split()[1][1:].decode().replace("-", " ")]


def send(script: Script, names: list[str], planned_s: list[float], connections: int = 2) -> tuple[Sent, Sender, int]:
    known = sorted(set(names))
    rows = np.array([known.index(name) for name in names], np.int32)
    block = Block("p", np.array(planned_s), rows, TIMEOUT_S, connections)
    with Scripted(script) as server:
        sender = Sender(server.address, [request(name) for name in known], block)
        sent = asyncio.run(asyncio.wait_for(sender.run(), 60))
        return sent, sender, server.count


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.sampled_from(sorted(ACTS)), min_size=1, max_size=30), st.integers(1, 4))
def test_every_request_is_accounted_for_once_whatever_the_server_does(names: list[str], connections: int) -> None:
    sent, sender, count = send(by_path, names, [at * 0.003 for at in range(len(names))], connections)
    assert count == len(names)  # each was sent once, and none twice
    assert sent.status.tolist() == [STATUS.get(name, OK) for name in names]
    assert np.isfinite(sent.sent_s).all()
    answered = sent.status > 0
    assert (np.isfinite(sent.done_s) == answered).all()
    assert (sent.done_s[answered] >= sent.planned_s[answered]).all()
    bodies = [None if one is None else one.body for one in sender.answers]
    wanted = [{OK: b"good", 503: b"full"}.get(int(status)) for status in sent.status]
    assert [b for b, w in zip(bodies, wanted, strict=True) if w] == [w for w in wanted if w]


def test_what_takes_too_long_is_unanswered_and_keeps_no_other() -> None:
    """On a machine that stalls for so long the others take too long as well: then it is tried again."""
    block = Block("p", np.zeros(3), np.array([0, 1, 0], np.int32), 0.4, 1)
    for _ in range(10):
        with Scripted(lambda _, head, __: Act(answer(b"good"), when=lambda: b"/never" not in head)) as server:
            sent = asyncio.run(Sender(server.address, [request("good"), request("never")], block).run())
        assert sent.status[1] == UNANSWERED
        if sent.status.tolist() == [OK, UNANSWERED, OK]:
            return
    pytest.fail("each time another was unanswered")


def test_a_server_that_closes_without_a_word_loses_at_most_what_was_under_way() -> None:
    """It may close a connection just as the next request is written; that one is lost, and counted, not sent twice."""
    sent, _, count = send(lambda *_: Act(answer(b"good"), close=True), ["good"] * 30, [at * 0.01 for at in range(30)])
    assert set(sent.status.tolist()) <= {OK, CONNECTION_LOST}
    assert (sent.status == OK).sum() <= count <= 30
    assert (sent.status == OK).sum() >= 20


def test_connections_are_kept_and_used_again() -> None:
    """A machine that stalls makes many due at once, each of which needs one of its own: then it is tried again."""
    for _ in range(10):
        with Scripted(lambda *_: GOOD) as server:
            block = Block("p", np.arange(20) * 0.02, np.zeros(20, np.int32), TIMEOUT_S, 1)
            sent = asyncio.run(Sender(server.address, [request("good")], block).run())
            assert (sent.status == OK).all()
            if server.connections < 10:
                return
    pytest.fail("each time many were opened")


def test_a_request_goes_out_when_it_is_due_though_the_ones_before_it_wait() -> None:
    """The open loop: one slow answer delays no other request; a closed loop over one connection would wait."""
    came: list[int] = []

    def once_all_came(number: int, _: bytes, __: bytes) -> Act:
        came.append(number)
        return Act(answer(b"good"), when=lambda: len(came) == 10)

    sent, _, _ = send(once_all_came, ["good"] * 10, [at * 0.001 for at in range(10)], connections=1)
    assert (sent.status == OK).all()


async def test_who_comes_while_a_new_connection_takes_its_request_gets_one_of_its_own() -> None:
    """The task that made a connection ends a turn later: to count on it left the next to wait for another's answer."""

    class Hurried(HttpTransport):
        """Has the next request as soon as one is written."""

        def _write(self, connection: Connection, request: int) -> None:
            super()._write(connection, request)
            if request < 2:
                self.launch(request + 1)

    came: list[int] = []

    def once_all_came(number: int, _: bytes, __: bytes) -> Act:
        came.append(number)
        return Act(answer(b"good"), when=lambda: len(came) == 3)

    block = Block("p", np.zeros(3), np.zeros(3, np.int32), TIMEOUT_S, 0)
    records = Records(block)
    with Scripted(once_all_came) as server:
        transport = Hurried(server.address, [request("good")], block, records)
        await transport.open()
        records.begin()
        transport.launch(0)
        await asyncio.wait_for(records.finished.wait(), 20)
        await transport.close()
    assert records.sent_block().status.tolist() == [OK] * 3


def test_latency_counts_from_the_planned_moment() -> None:
    sent, _, _ = send(by_path, ["slow"], [0.0])
    assert sent.latency_s[0] >= 0.05
    assert sent.latency_s[0] == pytest.approx(sent.done_s[0] - sent.planned_s[0])


def test_waiting_for_a_connection_is_the_servers_time_and_no_lag(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loadtests.generator.http_transport.MOST_CONNECTIONS", 1)
    block = Block("p", np.array([0.0, 0.001, 0.002, 0.003]), np.zeros(4, np.int32), TIMEOUT_S, 1)
    in_time = lambda: bool(np.isfinite(sender._records._sent).all())  # noqa: E731 - though none was answered yet
    with Scripted(lambda *_: Act(answer(b"good"), wait_s=0.05, when=in_time)) as server:
        sender = Sender(server.address, [request("good")], block)
        sent = asyncio.run(sender.run())
    assert (sent.status == OK).all()
    assert sent.latency_s[-1] > 0.15  # it stood in line behind three
    assert sent.sent_s.max() < sent.done_s.min()


def test_nobody_there_is_told_for_every_request() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: refused
        block = Block("p", np.array([0.0, 0.01]), np.zeros(2, np.int32), TIMEOUT_S, 2)
        sent = asyncio.run(Sender(taken.getsockname(), [request("good")], block).run())
    assert sent.status.tolist() == [NOT_CONNECTED, NOT_CONNECTED]


def test_an_empty_block_ends_at_once() -> None:
    sent, _, count = send(by_path, [], [])
    assert len(sent.status) == count == 0


def test_what_the_generator_has_no_descriptor_for_is_not_the_servers_fault() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.create_server(("127.0.0.1", 0), backlog=64) as silent:
        block = Block("p", np.zeros(40), np.zeros(40, np.int32), 1.0, 1)
        taken = len(os.listdir("/proc/self/fd"))
        resource.setrlimit(resource.RLIMIT_NOFILE, (taken + 20, hard))
        try:
            sent = asyncio.run(Sender(silent.getsockname(), [request("good")], block).run())
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert set(sent.status.tolist()) == {UNANSWERED, EXHAUSTED}


def test_no_request_waits_in_vain_where_more_wait_than_may_be_connected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loadtests.generator.http_transport.MOST_CONNECTIONS", 2)
    with socket.create_server(("127.0.0.1", 0)) as gone:
        address = gone.getsockname()
    block = Block("p", np.zeros(10), np.zeros(10, np.int32), TIMEOUT_S, 0)
    sent = asyncio.run(asyncio.wait_for(Sender(address, [request("good")], block).run(), TIMEOUT_S / 2))
    assert sent.status.tolist() == [NOT_CONNECTED] * 10
