"""What a request over a socket costs the server, by loaded models and by connections; what models cost at rest."""

from __future__ import annotations

import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.bench.scale.samples import Line
from tests.bench.server import Server, ours
from tests.bench.tiny import write_repository

MODELS = (1, 10, 50, 200)
CONNECTIONS = (1, 16, 64, 256, 1000)
BUSY = 16  # of many connections of which most rest
SECONDS = 0.5
REST_S = 3.0
_TICK_S = 0.01  # in which processor time is told: less than one is taken for one


@contextmanager
def servers(sizes: tuple[int, ...]) -> Iterator[dict[int, Server]]:
    """One server for each number of models, ready."""
    with TemporaryDirectory() as folder, ExitStack() as stack:
        running = {}
        for size in sizes:
            home = Path(folder) / str(size)
            write_repository(home / "repository", size)
            running[size] = ours(home / "repository", home / "state")
            stack.callback(running[size].close)
        yield running


def models(rounds: int) -> list[Line]:
    """By loaded models: one of them asked, and all in turn; memory, and what the server takes that nobody asks."""
    lines = {
        (asked, connections): Line(f"{asked}, {connections} connections", "us")
        for asked in ("one of them asked", "all asked in turn")
        for connections in (1, BUSY)
    }
    rest, scrape = Line("nobody asks, CPU a second", "ms"), Line("a scrape of metrics, CPU", "ms")
    scraped, memory = Line("a scrape of metrics, size", "kB"), Line("memory", "MB")
    threads = Line("threads", "")
    with servers(MODELS) as running:
        for number in range(rounds + 1):
            for size, server in running.items():
                costs = {
                    (asked, connections): server.cost_us(
                        "binary", connections, models=size if asked.startswith("all") else 1, seconds=SECONDS
                    )
                    for asked, connections in lines
                }
                if not number:
                    continue  # the first round warms them up
                for what, cost_us in costs.items():
                    lines[what].add(size, cost_us)
                rest.add(size, _resting_ms(server))
                taken_ms, size_bytes = _scrape(server)
                scrape.add(size, taken_ms)
                scraped.add(size, size_bytes / 1e3)
                memory.add(size, server.resident_bytes() / 1e6)
                threads.add(size, server.threads())
    return [*lines.values(), rest, scrape, scraped, memory, threads]


def connections(rounds: int) -> list[Line]:
    """By connections: all of them ask, and few of them."""
    busy, idle = Line("all ask", "us"), Line(f"{BUSY} ask, the others rest", "us")
    with servers((1,)) as running:
        for number in range(rounds + 1):
            for size in CONNECTIONS:
                at_once = running[1].cost_us("binary", size, seconds=SECONDS)
                asking = min(BUSY, size)
                resting = running[1].cost_us("binary", asking, idle=size - asking, seconds=SECONDS)
                if number:
                    busy.add(size, at_once)
                    if size >= BUSY:
                        idle.add(size, resting)
    return [busy, idle]


def _resting_ms(server: Server) -> float:
    before_s = server.taken_s()
    time.sleep(REST_S)
    return max(_TICK_S, server.taken_s() - before_s) / REST_S * 1e3


def _scrape(server: Server, times: int = 5) -> tuple[float, int]:
    """Processor time of one, milliseconds, and its size in bytes."""
    before_s, size_bytes = server.taken_s(), 0
    for _ in range(times):
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics") as answer:
            size_bytes = len(answer.read())
    return max(_TICK_S, server.taken_s() - before_s) / times * 1e3, size_bytes
