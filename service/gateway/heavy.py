"""Requests and answers that are read and written value by value: large ones are done in a thread, beside the loop.

Millions of values take seconds, in which nobody else would be answered. A few threads at most: they share one
interpreter, and each holds its request's values. Knows no transport.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from service.core.contract import Array, Arrays, RequestedOutput, TensorSpec
from service.core.errors import Unavailable
from service.gateway.classification import PARAMETER as CLASSIFICATION
from service.serving.threads import in_thread

T = TypeVar("T")

HEAVY_BYTES = 256 << 10  # of what is read value by value: some milliseconds
HEAVY_VALUES = 16 << 10  # of an answer: as long to write
LARGE_BYTES = 1 << 20  # of an answer that goes out as it is: protobuf takes some milliseconds to write it
AT_ONCE = 4


class Heavy:
    """Does heavy work in threads.

    Args:
        at_once: how many threads; further work waits for its turn.
    """

    def __init__(self, at_once: int = AT_ONCE) -> None:
        self._turns = asyncio.Semaphore(at_once)

    async def do(self, name: str, work: Callable[[], T]) -> T:
        """The result of `work` from a thread called `name`.

        Who stops waiting leaves the thread to its end, and its turn is taken until then.
        """
        await self._turns.acquire()
        task = asyncio.create_task(in_thread(name, work), name=name)
        task.add_done_callback(self._done)
        try:
            return await asyncio.shield(task)
        finally:
            del task  # it holds the error, whose traceback holds this frame, and those that have the request

    async def write(self, work: Callable[[], T]) -> T:
        """The answer that `work` writes, in a thread if one is to be had: it is there, and counted as given."""
        try:
            return await self.do("write an answer", work)
        except Unavailable:
            return work()

    def _done(self, task: asyncio.Task[T]) -> None:
        self._turns.release()
        if not task.cancelled():
            task.exception()  # nobody may be left to look at it


def is_heavy_body(body: bytes | memoryview, header_length: int | None, specs: Mapping[str, TensorSpec]) -> bool:
    """Whether a request may take long to read.

    Args:
        body: all of it.
        header_length: bytes of JSON before the binary data, None where all is JSON.
        specs: the version's inputs; texts are read one by one from binary data and from shared memory too.
    """
    if len(body) <= HEAVY_BYTES and b"shared_memory_region" not in bytes(body[:header_length]):
        return False
    texts = any(spec.datatype == "BYTES" for spec in specs.values())
    return texts or (len(body) > HEAVY_BYTES and (header_length is None or header_length > HEAVY_BYTES))


def is_large(outputs: Arrays) -> bool:
    """Whether an answer takes long to copy."""
    return sum(map(_bytes_of, outputs.values())) > LARGE_BYTES


def is_heavy_answer(
    outputs: Arrays, asked: Iterable[RequestedOutput], is_binary: Callable[[str], bool] = lambda _: True
) -> bool:
    """Whether an answer takes long to write.

    Args:
        outputs: of the version.
        asked: what the request wants of them; classes are written one by one, as texts are.
        is_binary: whether an output goes out as the bytes that it is.
    """
    large = [name for name, array in outputs.items() if array.size > HEAVY_VALUES]
    if not large:
        return is_large(outputs)
    classes = {output.name for output in asked if CLASSIFICATION in output.parameters}
    by_values = any(outputs[name].dtype.kind == "O" or name in classes or not is_binary(name) for name in large)
    return by_values or is_large(outputs)


def _bytes_of(array: Array) -> int:
    return array.nbytes if array.dtype.kind != "O" else sum(map(len, array.reshape(-1)))
