from __future__ import annotations

import asyncio
import time

from service.gateway.http.sweeper import Sweeper
from service.observe import logs
from tests.support.logs import capture_logs


class Connection:
    """Notes when it was judged, and what it had read by then."""

    def __init__(self) -> None:
        self.judged = asyncio.Event()
        self.times_s: list[float] = []
        self.read = b""
        self.read_when_judged: list[bytes] = []

    def judge(self, now_s: float) -> None:
        self.times_s.append(now_s)
        self.read_when_judged.append(self.read)
        self.judged.set()


async def test_each_connection_is_judged_again_and_again_by_the_sweeper_s_clock() -> None:
    sweeper, connections = Sweeper(logs.logger("test"), 0.01), {Connection(), Connection()}
    sweeper.start(connections)
    began_s = sweeper.now_s
    for _ in range(3):
        for connection in connections:
            await asyncio.wait_for(connection.judged.wait(), 10)
            connection.judged.clear()
    sweeper.stop()
    for connection in connections:
        assert connection.times_s[0] == began_s
        assert sorted(connection.times_s) == connection.times_s


async def test_it_stops() -> None:
    sweeper, connection = Sweeper(logs.logger("test"), 0.01), Connection()
    sweeper.start({connection})
    sweeper.stop()
    await asyncio.sleep(0.05)
    assert connection.times_s == []
    Sweeper(logs.logger("test"), 0.01).stop()  # one that never began


async def test_what_waits_in_a_socket_is_read_before_anyone_is_judged() -> None:
    """However late the loop is: timers that are due come before sockets."""
    connection, loop, closed = Connection(), asyncio.get_running_loop(), asyncio.Event()

    async def served(reader: asyncio.StreamReader, answers: asyncio.StreamWriter) -> None:
        while octets := await reader.read(10):
            connection.read += octets
        answers.close()
        closed.set()

    server = await asyncio.start_server(served, "127.0.0.1", 0)
    _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    sweeper = Sweeper(logs.logger("test"), 0.03)
    sweeper.start({connection})
    await asyncio.wait_for(connection.judged.wait(), 10)
    connection.judged.clear()
    writer.write(b"here")
    loop.call_soon(time.sleep, 0.2)  # the next look is due long before the loop comes round again
    await asyncio.wait_for(connection.judged.wait(), 10)
    sweeper.stop()
    assert connection.read_when_judged[-1] == b"here"
    writer.close()
    await asyncio.wait_for(closed.wait(), 10)
    server.close()


async def test_connections_turned_away_are_one_line_a_look() -> None:
    connection = Connection()
    with capture_logs() as lines:
        sweeper = Sweeper(logs.logger("test"), 0.01)
        for _ in range(1000):
            sweeper.turned_away()
        sweeper.start({connection})
        for _ in range(3):
            await asyncio.wait_for(connection.judged.wait(), 10)
            connection.judged.clear()
        sweeper.stop()
    assert lines == [{"event": "connections turned away", "count": 1000, "open": 1, "log_level": "warning"}]
