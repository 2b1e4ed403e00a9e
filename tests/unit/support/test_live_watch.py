"""Whoever holds health checks up is found, and a watch that saw nothing tells nothing."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext, suppress

import pytest

from tests.support.live_watch import LiveWatch

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


async def watched(held_s: float) -> LiveWatch:
    """A server each of whose answers takes so long, watched for a moment."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(1 << 10):
            await asyncio.sleep(held_s)
            writer.write(ANSWER)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    live = LiveWatch(server.sockets[0].getsockname()[1])
    await asyncio.to_thread(live.__enter__)
    await asyncio.sleep(0.3)
    await asyncio.to_thread(live.__exit__, None, None, None)
    server.close()
    return live


async def test_checks_that_are_answered_at_once_are_prompt() -> None:
    for _ in range(10):  # others use the machine, too
        live = await watched(0)
        with suppress(AssertionError):
            assert len(live.took_s) > 1
            live.check_prompt()
            return
    pytest.fail("no watch of them found them prompt")


@pytest.mark.parametrize("held_s", [0.1, 0.7])
async def test_control_checks_that_are_held_up_are_not(held_s: float) -> None:
    live = await watched(held_s)
    with pytest.raises(AssertionError):
        live.check_prompt()


@pytest.mark.parametrize(("took_s", "prompt"), [([1.0], True), ([2.5], False), ([0.6] * 2, True), ([0.6] * 4, False)])
def test_one_check_may_have_met_a_machine_that_stood_still(took_s: list[float], prompt: bool) -> None:
    live = LiveWatch(1)
    live.took_s = [0.001] * 40 + took_s
    with nullcontext() if prompt else pytest.raises(AssertionError):
        live.check_prompt()


def test_control_a_watch_that_saw_nothing_is_no_success() -> None:
    with pytest.raises(ValueError, match="not enough values"):
        LiveWatch(1).check_prompt()
