"""A small HTTP server that does to each request what a test's script says: answers, waits, lies, or hangs up.

Just as much of the Open Inference Protocol as a load test asks for. It runs on a loop of its own, in a thread.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy as np


@dataclass(frozen=True, slots=True)
class Act:
    """What is done to one request: wait so long, and until that holds; write these bytes, and hang up if told so."""

    data: bytes
    wait_s: float = 0.0
    close: bool = False
    when: Callable[[], bool] = lambda: True


Script = Callable[[int, bytes, bytes], Act]


def answer(body: bytes, status: str = "200 OK", headers: str = "") -> bytes:
    """A whole HTTP answer."""
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body


def logits(values: np.ndarray, version: str = "1") -> bytes:
    """An answer of the protocol with one output, as JSON."""
    output = {"name": "out", "datatype": "FP32", "shape": list(values.shape), "data": values.ravel().tolist()}
    return answer(json.dumps({"model_name": "m", "model_version": version, "outputs": [output]}).encode())


def routed(routes: Mapping[str, Any]) -> Script:
    """A script that answers `METHOD /path` with the document given for it, as JSON, and anything else with 404.

    Args:
        routes: "METHOD /path" -> the document, or a function that makes it of the request's head and body; a text is
            answered as status 400.
    """

    def script(_: int, head: bytes, body: bytes) -> Act:
        route = b" ".join(head.split(b" ", 2)[:2]).decode()
        if route not in routes:
            return Act(answer(b'{"error": "unknown"}', "404 Not Found"))
        told = routes[route]
        told = told(head, body) if callable(told) else told
        if isinstance(told, str):
            return Act(answer(told.encode(), "400 Bad Request"))
        return Act(answer(json.dumps(told).encode()))

    return script


class Scripted:
    """The server; a context manager. `port` is a free one.

    Args:
        script: (number of the request, its head, its body) -> what to do.
    """

    def __init__(self, script: Script) -> None:
        self._script = script
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self.count = 0
        self.connections = 0

    def __enter__(self) -> Scripted:
        self._thread.start()
        assert self._ready.wait(30)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(30)

    @property
    def url(self) -> str:
        """For clients that want one."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        return "127.0.0.1", self.port

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        server = await asyncio.start_server(self._begin, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        # Whom the loop has accepted it must take in before the server is closed: asyncio loses the socket otherwise.
        for listening in server.sockets:
            self._loop.remove_reader(listening.fileno())
        await self._turns()
        server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in self._writers:  # a task that was cancelled before its first step closed nothing
            writer.transport.abort()
        await self._turns()

    @staticmethod
    async def _turns() -> None:
        """Some turns of the loop: connections are made, and closed, by callbacks that wait for one."""
        for _ in range(5):
            await asyncio.sleep(0)

    def _begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        task = self._loop.create_task(self._connection(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._one(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.transport.abort()
            self._writers.discard(writer)

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        lengths = [line.split(b":")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")]
        body = await reader.readexactly(int(lengths[0]) if lengths else 0)
        number, self.count = self.count, self.count + 1
        act = self._script(number, head, body)
        if act.wait_s:
            await asyncio.sleep(act.wait_s)
        while not act.when():  # noqa: ASYNC110 - tests tell of anything in it
            await asyncio.sleep(0.002)
        writer.write(act.data)
        await writer.drain()
        if act.close:
            writer.write_eof()
        return not act.close
