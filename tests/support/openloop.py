"""An open-loop client: requests leave when they are due, whatever came back, and latency counts from that moment.

One asyncio process with a pool of keep-alive connections and hand-written HTTP/1.1, so that the client costs little
beside the server. Bounded in count; only to loopback.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass

LAG_LIMIT_S = 0.005


@dataclass(slots=True)
class Outcome:
    """One request: which body was sent, what came back, when it was due and when it was answered, in seconds."""

    index: int
    status: int
    body: bytes
    due_s: float
    sent_s: float
    done_s: float

    @property
    def latency_s(self) -> float:
        """From the planned send time."""
        return self.done_s - self.due_s


class Connections:
    """A pool of keep-alive connections that opens another when all are busy.

    Args:
        port: on loopback.
        at_most: so many; a request waits for one of them. None for as many as are needed.
    """

    def __init__(self, port: int, at_most: int | None = None) -> None:
        self._port = port
        self._free = nullcontext() if at_most is None else asyncio.Semaphore(at_most)
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def exchange(self, request: bytes) -> tuple[int, bytes]:
        """Sends one request and reads its answer; status 0 where the connection broke or was refused."""
        async with self._free:
            return await self._exchange(request)

    async def _exchange(self, request: bytes) -> tuple[int, bytes]:
        try:
            pair = self._rested() or await asyncio.open_connection("127.0.0.1", self._port)
        except OSError as error:
            return 0, repr(error).encode()
        reader, writer = pair
        try:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            body = await reader.readexactly(_content_length(head))
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            writer.close()
            return 0, repr(error).encode()
        self._idle.append(pair)
        return int(head[9:12]), body

    def _rested(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        """One that is idle; the server lets those go that rest for long."""
        while self._idle:
            reader, writer = self._idle.pop()
            if not reader.at_eof():
                return reader, writer
            writer.close()
        return None

    def close(self) -> None:
        """Closes what is idle."""
        for _, writer in self._idle:
            writer.close()


async def drive(
    port: int, request: Callable[[int], bytes], *, rate_per_s: float, count: int, connections: Connections | None = None
) -> list[Outcome]:
    """Sends `count` requests at a constant rate.

    Args:
        port: on loopback.
        request: index -> the whole request, head and body.
        rate_per_s: requests a second.
        count: how many.
        connections: a pool to share; closed here when it is not given.
    """
    pool = connections or Connections(port)
    begin_s = time.perf_counter() + 0.05

    async def one(index: int, due_s: float) -> Outcome:
        sent_s = time.perf_counter()
        status, body = await pool.exchange(request(index))
        return Outcome(index, status, body, due_s, sent_s, time.perf_counter())

    tasks = []
    for index in range(count):
        due_s = begin_s + index / rate_per_s
        wait_s = due_s - time.perf_counter()
        if wait_s > 0:
            await asyncio.sleep(wait_s)
        tasks.append(asyncio.create_task(one(index, due_s)))
    outcomes = await asyncio.gather(*tasks)
    if connections is None:
        pool.close()
    return outcomes


def lag_p99_s(outcomes: list[Outcome]) -> float:
    """How late the client itself was, at p99; a run over `LAG_LIMIT_S` proves nothing about the server."""
    return percentile([outcome.sent_s - outcome.due_s for outcome in outcomes], 99)


def percentile(values: list[float], percent: float) -> float:
    """The smallest value that at least `percent` % of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -(-len(ordered) * int(percent * 100) // 10000) - 1))]


def post(path: str, body: bytes, headers: dict[str, str] | None = None) -> bytes:
    """A whole POST request on a keep-alive connection."""
    lines = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in {"Content-Type": "application/json", **(headers or {})}.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def _content_length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        if line.lower().startswith(b"content-length:"):
            return int(line.split(b":", 1)[1])
    raise ValueError("the answer has no Content-Length")
