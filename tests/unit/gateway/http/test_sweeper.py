from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable

from service.gateway.http.sweeper import Sweeper
from service.observe import logs
from tests.support.logs import capture_logs
from tests.unit.serving.house import until


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
            await asyncio.wait_for(connection.judged.wait(), 20)
            connection.judged.clear()
    sweeper.stop()
    for connection in connections:
        assert connection.times_s[0] == began_s
        assert sorted(connection.times_s) == connection.times_s


async def test_a_connection_that_cannot_be_judged_keeps_no_other_from_it() -> None:
    """Else whoever finds one such defect could have all the others stay for ever."""

    class Broken(Connection):
        def judge(self, now_s: float) -> None:
            super().judge(now_s)
            raise ValueError("planted")

    connections = [Broken(), Connection(), Broken()]
    with capture_logs() as lines:
        sweeper = Sweeper(logs.logger("test"), 60.0)
        sweeper.start(connections)
        for connection in connections:
            await asyncio.wait_for(connection.judged.wait(), 20)
        sweeper.stop()
    assert [(line["event"], str(line["exc_info"])) for line in lines] == [
        ("a connection could not be judged", "planted")
    ] * 2


async def test_it_stops() -> None:
    sweeper, connection = Sweeper(logs.logger("test"), 0.01), Connection()
    sweeper.start({connection})
    sweeper.stop()
    await asyncio.sleep(0.05)
    assert connection.times_s == []
    Sweeper(logs.logger("test"), 0.01).stop()  # one that never began


class Reading(asyncio.Protocol):
    """Keeps what comes; the first to come holds the loop up, and `meanwhile` is done at its end."""

    def __init__(self, connection: Connection, meanwhile: Callable[[], None]) -> None:
        self._connection, self._meanwhile = connection, meanwhile

    def data_received(self, data: bytes) -> None:
        if data == b"hold":
            time.sleep(0.2)
            self._connection.read_when_judged.clear()
            self._meanwhile()
        else:
            self._connection.read += data


async def test_what_waits_in_a_socket_is_read_before_anyone_is_judged() -> None:
    """However late the loop is: once it has read for long, timers that are due come before it reads anew."""
    connection, loop = Connection(), asyncio.get_running_loop()
    server = await loop.create_server(lambda: Reading(connection, lambda: late.sendall(b"here")), "127.0.0.1", 0)
    address = server.sockets[0].getsockname()
    with socket.create_connection(address) as first, socket.create_connection(address) as late:
        sweeper = Sweeper(logs.logger("test"), 0.03)
        sweeper.start({connection})
        await asyncio.wait_for(connection.judged.wait(), 20)
        first.sendall(b"hold")  # the next look is due long before the loop comes round again
        await until(lambda: bool(connection.read and connection.read_when_judged))
        sweeper.stop()
    server.close()
    await server.wait_closed()
    assert connection.read_when_judged[0] == b"here"


async def test_connections_turned_away_are_one_line_a_look() -> None:
    connection = Connection()
    with capture_logs() as lines:
        sweeper = Sweeper(logs.logger("test"), 0.01)
        for _ in range(1000):
            sweeper.turned_away()
        sweeper.start({connection})
        for _ in range(3):
            await asyncio.wait_for(connection.judged.wait(), 20)
            connection.judged.clear()
        sweeper.stop()
    assert lines == [{"event": "connections turned away", "count": 1000, "open": 1, "log_level": "warning"}]
