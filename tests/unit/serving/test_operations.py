"""One operation at a time, one waiting, the newest wins; the caller's leaving undoes nothing."""

import asyncio
import gc
from typing import Any

import pytest

from service.core.errors import BadModel, Conflict
from service.serving.operations import Operations


class Gate:
    """An operation that waits to be let through, and notes when it begins and ends."""

    def __init__(self, name: str, journal: list[str]) -> None:
        self.name = name
        self.journal = journal
        self.open = asyncio.Event()

    async def __call__(self) -> str:
        self.journal.append(f"{self.name} begins")
        await self.open.wait()
        self.journal.append(f"{self.name} ends")
        return self.name


@pytest.fixture
def operations() -> Operations:
    return Operations("model 'm'")


async def started(operations: Operations, gate: Gate) -> asyncio.Task[str]:
    task = asyncio.ensure_future(operations.run(gate.name, gate))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return task


async def test_they_never_overlap_and_run_in_order(operations: Operations) -> None:
    journal: list[str] = []
    first, second = Gate("a", journal), Gate("b", journal)
    running, waiting = await started(operations, first), await started(operations, second)
    assert operations.running == "a"
    assert journal == ["a begins"]
    second.open.set()
    first.open.set()
    assert await asyncio.gather(running, waiting) == ["a", "b"]
    assert journal == ["a begins", "a ends", "b begins", "b ends"]
    await operations.idle()
    assert operations.running is None


async def test_a_newer_one_takes_the_place_of_the_one_that_waits(operations: Operations) -> None:
    journal: list[str] = []
    gates = [Gate(name, journal) for name in "abcd"]
    tasks = [await started(operations, gate) for gate in gates]
    for gate in gates:
        gate.open.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [results[0], results[3]] == ["a", "d"]
    for index, newer in ((1, "c"), (2, "d")):
        assert isinstance(results[index], Conflict)
        assert str(results[index]).endswith(f"was superseded by {newer}")
    assert journal == ["a begins", "a ends", "d begins", "d ends"]


async def test_a_caller_that_leaves_does_not_undo_a_running_one(operations: Operations) -> None:
    journal: list[str] = []
    gate = Gate("a", journal)
    task = await started(operations, gate)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert operations.running == "a"
    gate.open.set()
    await operations.idle()
    assert journal == ["a begins", "a ends"]
    assert operations.running is None


async def test_a_caller_that_leaves_while_it_waits_gives_its_place_up(operations: Operations) -> None:
    journal: list[str] = []
    first, second, third = (Gate(name, journal) for name in "abc")
    running, waiting = await started(operations, first), await started(operations, second)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    after = await started(operations, third)
    first.open.set()
    third.open.set()
    assert await asyncio.gather(running, after) == ["a", "c"]
    assert "b begins" not in journal


async def test_a_caller_that_leaves_at_its_turn_passes_the_turn_on(operations: Operations) -> None:
    journal: list[str] = []
    first, second, third = (Gate(name, journal) for name in "abc")
    running, waiting = await started(operations, first), await started(operations, second)
    first.open.set()
    await running
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    second.open.set()
    third.open.set()
    assert await asyncio.wait_for(operations.run("c", third), 30) == "c"


@pytest.mark.parametrize("others", [0, 1])
async def test_a_caller_that_leaves_in_the_very_moment_of_its_turn_passes_the_turn_on(
    operations: Operations, others: int
) -> None:
    journal: list[str] = []
    waiting: list[asyncio.Task[str]] = []

    async def first() -> None:
        asyncio.get_running_loop().call_soon(waiting[0].cancel)  # after its turn is given, before it hears of it

    second, third = Gate("b", journal), Gate("c", journal)
    second.open.set()
    third.open.set()
    running = asyncio.ensure_future(operations.run("a", first))
    waiting.append(asyncio.ensure_future(operations.run("b", second)))
    await running
    with pytest.raises(asyncio.CancelledError):
        await waiting[0]
    assert operations.running is None
    for _ in range(others):
        assert await asyncio.wait_for(operations.run("c", third), 30) == "c"
    assert journal == ["c begins", "c ends"] * others


async def test_a_failure_reaches_its_caller_and_frees_the_place(operations: Operations) -> None:
    async def broken() -> None:
        raise Conflict("planted")

    with pytest.raises(Conflict, match="planted"):
        await operations.run("broken", broken)
    gate = Gate("a", [])
    gate.open.set()
    assert await operations.run("a", gate) == "a"


async def test_a_storm_leaves_nothing_behind(operations: Operations) -> None:
    journal: list[str] = []

    async def one(index: int) -> str:
        gate = Gate(str(index), journal)
        gate.open.set()
        await asyncio.sleep(index % 7 * 0.0001)
        return await operations.run(gate.name, gate)

    results = await asyncio.gather(*(one(index) for index in range(300)), return_exceptions=True)
    done = [result for result in results if isinstance(result, str)]
    assert len(done) + sum(isinstance(result, Conflict) for result in results) == 300
    assert len(journal) == 2 * len(done)
    assert all(begin.split()[0] == end.split()[0] for begin, end in zip(journal[::2], journal[1::2], strict=True))
    assert operations.running is None


@pytest.mark.parametrize(("error", "told"), [(BadModel("damaged"), []), (KeyError("ours"), ["KeyError('ours')"])])
async def test_a_failure_that_nobody_waits_for_is_told_to_the_log_only_where_it_was_not_meant(
    operations: Operations, error: Exception, told: list[str]
) -> None:
    heard: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: heard.append(context))
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def body() -> None:
        begun.set()
        await go_on.wait()
        raise error

    caller = asyncio.ensure_future(operations.run("load", body))
    await begun.wait()
    caller.cancel()
    await asyncio.gather(caller, return_exceptions=True)
    del caller
    go_on.set()
    await operations.idle()
    await asyncio.sleep(0)
    gc.collect()  # a task that nobody asked for its error tells the log when it is collected
    assert [repr(context["exception"]) for context in heard] == told
