"""`python -m tests.bench.stages`: where the microseconds of a request go, in one process without sockets.

Each figure is the best of many short rounds of processor time, so that other work on the machine is left out of it.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import uvloop

from service import assembly
from service.core.clock import MonotonicClock
from service.core.contract import ModelRef
from service.core.deadline import Deadline
from service.gateway import codec
from service.gateway.controls import Controls
from service.gateway.http.heads import Heads
from service.gateway.layouts import Layouts
from service.observe import logs
from service.serving.counted import Counted
from service.serving.readiness import Health
from service.settings import Settings
from tests.bench.tiny import requests, rows, write_repository

ROUNDS, TIMES = 40, 320
CONNECTIONS = (1, 16, 64)


class Wire:
    """A transport that counts answers and sends nothing."""

    def __init__(self, answered: Callable[[], None]) -> None:
        self.write = lambda _data: answered()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 2)}.get(name, default)

    def is_closing(self) -> bool:
        return False

    def resume_reading(self) -> None:
        """Nothing was paused."""


def best_us(step: Callable[[], object]) -> float:
    """Microseconds of one call."""
    best_s = float("inf")
    for _ in range(ROUNDS):
        began_s = time.process_time()
        for _ in range(TIMES):
            step()
        best_s = min(best_s, time.process_time() - began_s)
    return best_s / TIMES * 1e6


async def best_of_many_us(at_once: int, step: Callable[[], Awaitable[object]]) -> float:
    """Microseconds of one of `at_once` awaited together, without the tasks that wait for them."""

    async def round_us(one: Callable[[], Awaitable[object]]) -> float:
        best_s = float("inf")
        for _ in range(ROUNDS):
            began_s = time.process_time()
            for _ in range(TIMES // at_once):
                await asyncio.gather(*(one() for _ in range(at_once)))
            best_s = min(best_s, time.process_time() - began_s)
        return best_s / (TIMES // at_once * at_once) * 1e6

    return await round_us(step) - await round_us(lambda: asyncio.sleep(0))


async def whole_us(front: Any, request: bytes, at_once: int) -> float:
    """Microseconds of a request from the bytes that are read to those that are written, on `at_once` connections."""
    uvicorn, done, missing = front._server, asyncio.Event(), 0

    def answered() -> None:
        nonlocal missing
        missing -= 1
        if not missing:
            done.set()

    made = [uvicorn._connection() for _ in range(at_once)]
    for connection in made:
        connection.connection_made(Wire(answered))
    best_s = float("inf")
    for _ in range(ROUNDS):
        began_s = time.process_time()
        for _ in range(TIMES // at_once):
            missing = at_once
            for connection in made:
                connection.data_received(request)
            await done.wait()
            done.clear()
        best_s = min(best_s, time.process_time() - began_s)
    for connection in made:
        connection.connection_lost(ConnectionError())
    return best_s / (TIMES // at_once * at_once) * 1e6


async def main() -> None:
    """Measures and prints."""
    logs.configure("error", "json")
    with tempfile.TemporaryDirectory() as folder:
        write_repository(Path(folder))
        settings = Settings(repository=[folder], state_dir=None, http_port=0, grpc_port=0)  # type: ignore[call-arg]
        clock, log = MonotonicClock(), logs.logger("bench")
        catalog = assembly.catalog_of(settings, clock, log, print)
        await catalog.start()
        credentials = assembly.credentials_of(settings, clock, log)
        fronts = assembly.fronts_of(settings, catalog, Health(catalog, []), clock, Controls(), credentials)
        await fronts.start()
        for name, figures in (await stages(catalog, fronts._fronts[0])).items():
            print(f"{name:<44}" + "".join(f"{figure:8.1f}" for figure in figures))  # noqa: T201
        await fronts.stop()
        await catalog.close()


async def stages(catalog: Any, http: Any) -> dict[str, list[float]]:
    """Stage -> microseconds, at each of `CONNECTIONS` where that matters."""
    sent, never = requests(), Deadline.never()
    heads, layouts = Heads(), Layouts()
    head, _, json_body = sent["json"].partition(b"\r\n\r\n")
    length = len(sent["binary"].partition(b"\r\n\r\n")[2]) - rows(1).nbytes
    binary_body = sent["binary"].partition(b"\r\n\r\n")[2]
    with catalog.lease(ModelRef("tiny")) as servable:
        inputs = servable.inputs
        asked, as_json = codec.decode(json_body, None, inputs)
        _, as_binary = codec.decode(binary_body, length, inputs)
        answer = await servable.infer(asked, never)

        def hold() -> None:
            with catalog.lease(ModelRef("tiny")) as held, Counted(held.statistics) as counted:
                counted.answered(answer)

        run, one = servable._runners[0].run, asked.inputs
        return {
            "head, known": [best_us(lambda: heads.read(head))],
            "decode JSON": [best_us(lambda: layouts.decode(json_body, None, inputs))],
            "decode binary": [best_us(lambda: layouts.decode(binary_body, length, inputs))],
            "lease and statistics": [best_us(hold)],
            "encode JSON": [best_us(lambda: codec.encode(answer, as_json))],
            "encode binary": [best_us(lambda: codec.encode(answer, as_binary))],
            "run alone": [best_us(lambda: run(one))],
            "batcher and run, 1 / 16 / 64 at once": [
                await best_of_many_us(n, lambda: servable.batcher.submit(one, 1, never)) for n in CONNECTIONS
            ],
            "servable, batcher and run": [
                await best_of_many_us(n, lambda: servable.infer(asked, never)) for n in CONNECTIONS
            ],
            **{
                f"all but the socket, {form}": [await whole_us(http, request, n) for n in CONNECTIONS]
                for form, request in sent.items()
            },
        }


if __name__ == "__main__":
    uvloop.run(main())
