"""SIGTERM while clients are there: whoever was let in is answered, and nobody keeps the server from ending (S1, S2)."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Event, Thread

import httpx
import pytest
import yaml

from tests.support.openloop import Connections, Outcome, drive, post
from tests.support.process import ServerProcess
from tests.wire.digits import DIGITS, INFER, ROWS, tensor

RATE_PER_S = 200
DRAIN_DELAY_S = 2.5  # longer than the client needs to hear of it
STALL_S = 1.0  # that the machine may keep the server from what was sent to it
GRACE_S = 1.0
SLACK_S = 7.0  # for the end of the process itself, on a busy machine; a half-sent body alone would hold it for 10
REQUEST = post(INFER, json.dumps({"inputs": [tensor(ROWS[:1])]}).encode())


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """The shipped model with only the active version resident, so that each swap loads one."""
    shutil.copytree(DIGITS, tmp_path / "repository" / "digits")
    config_file = tmp_path / "repository" / "digits" / "model.yaml"
    config_file.write_text(yaml.safe_dump({**yaml.safe_load(config_file.read_text()), "versions": "active"}))
    return tmp_path / "repository"


def serve(repository: Path, folder: Path, drain_delay_s: float = 0.0) -> ServerProcess:
    environment = {"RETORT_DRAIN_DELAY_S": str(drain_delay_s), "RETORT_DRAIN_TIMEOUT_S": str(GRACE_S)}
    return ServerProcess(["--repository", str(repository)], folder, env=environment)


@pytest.mark.parametrize("times", [2, pytest.param(20, marks=[pytest.mark.slow, pytest.mark.timeout(400)])])
async def test_who_stops_a_second_after_not_ready_loses_nothing(repository: Path, tmp_path: Path, times: int) -> None:
    for _ in range(times):
        with serve(repository, tmp_path, DRAIN_DELAY_S) as server:
            answers, seconds = await ended_under_traffic(server)
        assert {answer.status for answer in answers} == {200}
        assert len(answers) > RATE_PER_S // 2
        assert seconds < DRAIN_DELAY_S + GRACE_S + SLACK_S


async def test_without_a_delay_that_client_does_lose_something(repository: Path, tmp_path: Path) -> None:
    """The control: it is the drain delay that keeps the promise."""
    with serve(repository, tmp_path, 0.0) as server:
        answers, _ = await ended_under_traffic(server)
    assert {answer.status for answer in answers} != {200}


async def ended_under_traffic(server: ServerProcess) -> tuple[list[Outcome], float]:
    """SIGTERM amid traffic that goes on for a second after readiness went; the answers, and seconds to the exit.

    Without the answers to what a client that was itself held up sent when the drain delay was nearly over.
    """
    connections = Connections(server.port)

    async def more(count: int) -> list[Outcome]:
        return await drive(server.port, lambda _: REQUEST, rate_per_s=RATE_PER_S, count=count, connections=connections)

    answers = await more(RATE_PER_S // 2)
    began_s = time.perf_counter()
    server.process.send_signal(signal.SIGTERM)
    watching = asyncio.create_task(asyncio.to_thread(wait_not_ready, server.url))
    while not watching.done():
        answers += await more(RATE_PER_S // 20)
    await watching
    answers += await more(RATE_PER_S)
    connections.close()
    assert await asyncio.to_thread(server.process.wait, 30) == 0
    in_time = [answer for answer in answers if answer.sent_s < began_s + DRAIN_DELAY_S - STALL_S]
    return in_time, time.perf_counter() - began_s


def wait_not_ready(url: str) -> None:
    with httpx.Client(base_url=url, timeout=5) as client:
        end_s = time.monotonic() + 10
        try:
            while client.get("/v2/health/ready").status_code != 503:
                assert time.monotonic() < end_s, "it stayed ready after SIGTERM"
                time.sleep(0.02)
        except httpx.TransportError:  # gone already: not ready either
            return


@contextmanager
def idle(port: int) -> Iterator[None]:
    """50 connections that had an answer each and stay open."""
    with ExitStack() as stack:
        for _ in range(50):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
            client.sendall(b"GET /v2/health/live HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            assert client.recv(4096).startswith(b"HTTP/1.1 200")
        yield


@contextmanager
def half_sent(port: int) -> Iterator[None]:
    """50 bodies of which half was sent."""
    with ExitStack() as stack:
        for _ in range(50):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
            client.sendall(REQUEST[: len(REQUEST) // 2])
        time.sleep(0.2)
        yield


@contextmanager
def swapping(port: int) -> Iterator[None]:
    """Swaps without a pause, until the server is gone."""
    ended: list[int] = []
    begun = Event()

    def swap() -> None:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
            try:
                while True:
                    for version in ("1-int8", "1"):
                        path = "/v2/repository/models/digits/swap"
                        ended.append(client.post(path, json={"version": version}).status_code)
                        begun.set()
            except httpx.TransportError:
                return

    thread = Thread(target=swap)
    thread.start()
    assert begun.wait(30)
    yield
    thread.join(30)
    assert not thread.is_alive()
    assert 200 in ended


@pytest.mark.parametrize("company", [idle, half_sent, swapping])
def test_it_ends_in_time_whoever_is_there(
    repository: Path, tmp_path: Path, company: Callable[[int], Iterator[None]]
) -> None:
    with serve(repository, tmp_path) as server, company(server.port):  # type: ignore[attr-defined]
        began_s = time.monotonic()
        assert server.terminate(30) == 0
        assert time.monotonic() - began_s < GRACE_S + SLACK_S
        assert "Traceback" not in server.log()


def test_it_ends_in_time_during_a_load(repository: Path, tmp_path: Path) -> None:
    with serve(repository, tmp_path) as server, httpx.Client(base_url=server.url, timeout=20) as client:
        loading = Thread(target=lambda: _ignore_the_end(client, "/v2/repository/models/digits/load"))
        loading.start()
        time.sleep(0.02)
        began_s = time.monotonic()
        assert server.terminate(30) == 0
        assert time.monotonic() - began_s < GRACE_S + SLACK_S
        loading.join(30)
        assert not loading.is_alive()


def _ignore_the_end(client: httpx.Client, path: str) -> None:
    try:
        client.post(path, json={})
    except httpx.TransportError:
        return
