from __future__ import annotations

import asyncio
import gc
import gzip
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeVar

import pytest

from service.core.errors import Abandoned, BadInput, Rejected, TooLarge, TooSlow
from service.gateway.budget import ByteBudget, Share
from service.gateway.guard import BODY, BROKEN, SHARE, Watch, body_of, hold, read_body, while_client_waits

Message = dict[str, Any]
T = TypeVar("T")


def receiver(*messages: Message) -> Callable[[], Awaitable[Message]]:
    """Gives `messages` one by one; asking for more fails the test."""
    left: Iterator[Message] = iter(messages)

    async def receive() -> Message:
        return next(left)

    return receive


def chunk(body: bytes, more: bool = False) -> Message:
    return {"type": "http.request", "body": body, "more_body": more}


GONE: Message = {"type": "http.disconnect"}


async def test_a_body_in_one_message_is_that_message_s_bytes() -> None:
    body = b"x" * 1000
    assert await read_body({b"content-length": b"1000"}, receiver(chunk(body)), 1000) is body


async def test_a_body_in_pieces_is_put_together() -> None:
    receive = receiver(chunk(b"ab", more=True), chunk(b"", more=True), chunk(b"cd", more=True), chunk(b"e"))
    assert await read_body({}, receive, 5) == b"abcde"


async def test_no_body_is_an_empty_one() -> None:
    assert await read_body({}, receiver({"type": "http.request"}), 5) == b""


@pytest.mark.parametrize("announced", [b"11", b"99999999999999999999", b"1" * 5000])
async def test_a_body_that_announces_too_much_is_refused_before_it_is_read(announced: bytes) -> None:
    with pytest.raises(TooLarge, match="larger than the limit of 10 bytes"):
        await read_body({b"content-length": announced}, receiver(), 10)


@pytest.mark.parametrize("headers", [{}, {b"content-length": b"3"}, {b"content-length": b"lies"}])
async def test_a_body_is_counted_while_it_arrives_whatever_it_announced(headers: dict[bytes, bytes]) -> None:
    receive = receiver(chunk(b"123456", more=True), chunk(b"78901", more=True))
    with pytest.raises(TooLarge):
        await read_body(headers, receive, 10)


async def test_a_single_message_is_counted_too() -> None:
    with pytest.raises(TooLarge):
        await read_body({}, receiver(chunk(b"x" * 11)), 10)


async def test_the_limit_itself_is_allowed() -> None:
    assert len(await read_body({b"content-length": b"10"}, receiver(chunk(b"x" * 10)), 10)) == 10


@pytest.mark.parametrize("messages", [[GONE], [chunk(b"a", more=True), GONE]])
async def test_a_client_that_leaves_halfway_is_not_answered(messages: list[Message]) -> None:
    with pytest.raises(Abandoned):
        await read_body({}, receiver(*messages), 10)


async def test_a_compressed_body_is_read_as_what_it_holds() -> None:
    head = {b"content-encoding": b"gzip"}
    assert await read_body(head, receiver(chunk(gzip.compress(b"a" * 90))), 100) == b"a" * 90
    with pytest.raises(TooLarge, match="once decoded"):
        await read_body(head, receiver(chunk(gzip.compress(b"a" * 101))), 100)
    with pytest.raises(BadInput, match="not gzip"):
        await read_body(head, receiver(chunk(b"a")), 10)
    assert await read_body({b"content-encoding": b"identity"}, receiver(chunk(b"a")), 10) == b"a"


async def test_a_body_is_taken_from_the_budget_as_it_arrives() -> None:
    budget = ByteBudget(1000)
    share = Share(budget)
    receive = receiver(chunk(b"abcd", more=True), chunk(b"ef"))
    assert await read_body({b"content-length": b"1000"}, receive, 1000, {SHARE: share}) == b"abcdef"
    assert budget.used_bytes == 6  # what was announced and never came costs nothing
    share.end()
    assert budget.used_bytes == 0


async def test_a_body_for_which_there_is_no_budget_left_is_refused_at_that_point() -> None:
    receive = receiver(chunk(b"abcd", more=True), chunk(b"efghi", more=True))
    budget = ByteBudget(10)
    Share(budget).take(2)
    with pytest.raises(Rejected, match="in flight"):
        await read_body({}, receive, 1000, {SHARE: Share(budget)})


async def test_a_body_that_announces_more_than_the_budget_ever_has_is_refused_unread() -> None:
    async def receive() -> dict[str, Any]:
        raise AssertionError

    with pytest.raises(TooLarge, match="RETORT_MAX_IN_FLIGHT_BYTES"):
        await read_body({b"content-length": b"9"}, receive, 1000, {SHARE: Share(ByteBudget(8))})


async def test_what_breaks_a_request_is_raised_where_its_body_is_read() -> None:
    with pytest.raises(TooSlow):
        await read_body({}, receiver(chunk(b"abcd")), 1000, {BROKEN: TooSlow("too slow")})


async def test_what_breaks_a_request_keeps_nothing_of_its_body() -> None:
    scope: dict[str, Any] = {}

    async def receive() -> Message:
        if parts:
            scope[BROKEN] = TooSlow("too slow")
        parts.append(bytearray(4))
        return {**chunk(b"", more=True), "body": parts[-1]}

    parts: list[bytearray] = []
    with pytest.raises(TooSlow) as told:
        await read_body({}, receive, 1000, scope)
    assert scope[BROKEN] is told.value
    assert told.value.__traceback__ is not None  # of which the scope is a part, and with it all that it holds
    assert not [one for one in gc.get_referrers(parts[0]) if one is not parts]


def test_an_answer_is_taken_from_the_budget_of_its_request() -> None:
    budget = ByteBudget(8)
    hold({SHARE: Share(budget)}, 5)
    assert budget.used_bytes == 5
    with pytest.raises(Rejected):
        hold({SHARE: Share(budget)}, 4)
    hold({}, 1000)  # nobody counts here


class Client:
    """Somebody at the other end, who may leave."""

    def __init__(self) -> None:
        self.left = asyncio.Event()
        self.is_asked = asyncio.Event()
        self.asked = 0

    async def receive(self) -> Message:
        self.asked += 1
        self.is_asked.set()
        await self.left.wait()
        return GONE


class Work:
    """Something slow that notes whether it was cancelled."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.cancelled = False

    async def run(self) -> str:
        try:
            await asyncio.sleep(self.seconds)
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        return "done"


async def waited(work: Awaitable[T], receive: Callable[[], Awaitable[Message]], patience_s: float = 0.02) -> T:
    with while_client_waits({}, receive, patience_s):
        return await work
    raise AssertionError("not reached: the watch passes nothing over")


async def test_a_quick_answer_makes_no_task_and_asks_nobody() -> None:
    client, tasks = Client(), len(asyncio.all_tasks())

    async def quick() -> int:
        return len(asyncio.all_tasks())

    assert await waited(quick(), client.receive) == tasks
    await asyncio.sleep(0.03)
    assert client.asked == 0


async def test_a_slow_answer_reaches_a_client_that_waits() -> None:
    client = Client()

    async def slow() -> str:
        await client.is_asked.wait()
        return await Work(0.01).run()

    assert await waited(slow(), client.receive, patience_s=0.001) == "done"
    assert client.asked == 1


async def test_work_for_a_client_that_left_is_cancelled() -> None:
    client, work = Client(), Work(30)
    asyncio.get_running_loop().call_later(0.01, client.left.set)
    with pytest.raises(Abandoned):
        await waited(work.run(), client.receive, patience_s=0.001)
    assert work.cancelled
    await asyncio.sleep(0)  # nothing is left that would cancel this task


async def test_without_the_watch_the_work_would_go_on() -> None:
    client, work = Client(), Work(0.05)
    client.left.set()
    assert await waited(work.run(), client.receive, patience_s=30) == "done"
    assert not work.cancelled


async def test_messages_other_than_a_disconnect_do_not_end_the_wait() -> None:
    left = [chunk(b""), chunk(b""), GONE]

    async def receive() -> Message:
        return left.pop(0)

    with pytest.raises(Abandoned):
        await waited(Work(30).run(), receive, patience_s=0.001)
    assert left == []


async def test_a_cancel_from_elsewhere_is_passed_on() -> None:
    client = Client()
    task = asyncio.create_task(waited(Work(30).run(), client.receive, patience_s=0.001))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_so_it_is_where_the_client_leaves_in_the_same_moment() -> None:
    watch = Watch()

    async def work() -> None:
        with watch:
            await asyncio.sleep(30)

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    watch.leave()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_an_error_of_the_work_is_its_error() -> None:
    async def fail() -> None:
        raise BadInput("x")

    with pytest.raises(BadInput):
        await waited(fail(), Client().receive)


def test_a_body_that_came_whole_is_taken_as_it_is_and_from_the_budget() -> None:
    budget = ByteBudget(10)
    assert body_of({BODY: b"12345", SHARE: Share(budget)}, {}, 5) == b"12345"
    assert budget.used_bytes == 5
    with pytest.raises(Rejected):
        body_of({BODY: b"123456", SHARE: Share(budget)}, {}, 6)
    assert body_of({BODY: b"123456"}, {}, 6) == b"123456"


@pytest.mark.parametrize(
    ("scope", "headers", "limit_bytes"),
    [({}, {}, 9), ({BODY: b"ab"}, {b"content-encoding": b"gzip"}, 9), ({BODY: b"ab"}, {}, 1)],
)
def test_any_other_is_left_to_be_read(scope: dict[str, Any], headers: dict[bytes, bytes], limit_bytes: int) -> None:
    assert body_of(scope, headers, limit_bytes) is None


async def test_what_a_compressed_body_becomes_is_held_against_the_budget() -> None:
    """Else some kilobytes a client would be 64 MiB each, and the budget would never hear of them."""
    budget = ByteBudget(1 << 20)
    share, head = Share(budget), {b"content-encoding": b"gzip"}
    small = gzip.compress(bytes(800 << 10))
    assert len(await read_body(head, receiver(chunk(small)), 4 << 20, {SHARE: share})) == 800 << 10
    assert budget.used_bytes == len(small) + (800 << 10)
    share.end()
    with pytest.raises(TooLarge, match="RETORT_MAX_IN_FLIGHT_BYTES"):
        await read_body(head, receiver(chunk(gzip.compress(bytes(2 << 20)))), 4 << 20, {SHARE: share})
    share.end()
    assert budget.used_bytes == 0
