"""Engines that hang are replaced, failed replacements are tried again, and too many of either is the end (B4)."""

from __future__ import annotations

import asyncio

from service.core.errors import BadModel
from tests.fakes import FakeEngine, ManualLoop
from tests.fakes import run_manually as play
from tests.unit.batching.crew_owner import Owner, deaf


def test_an_engine_that_does_not_stop_is_replaced_and_its_run_lost() -> None:
    async def body(loop: ManualLoop) -> None:
        owner = Owner(loop, stuck := deaf(), replace=lambda: fresh)
        fresh = FakeEngine()
        owner.dispatch()
        await asyncio.sleep(20)
        assert owner.log == [("lost", 12.0), ("changed 0", 12.0), ("changed 1", 12.05)]
        assert owner.crew.engines == [fresh]
        assert stuck not in owner.crew.engines
        assert [line.ended for line in owner.threads.lines] == [True, False]
        owner.dispatch()
        await asyncio.sleep(1)
        assert owner.log[-1][0] == "returned"

    play(body)


def test_a_run_that_comes_back_after_it_was_given_up_is_not_heard() -> None:
    async def body(loop: ManualLoop) -> None:
        owner = Owner(loop, deaf(), replace=FakeEngine)
        owner.dispatch()
        await asyncio.sleep(20)
        owner.threads.lines[0]._finish()
        assert owner.back == []
        assert owner.crew.idle == 1

    play(body)


def test_the_third_stuck_engine_within_a_minute_is_the_end() -> None:
    async def body(loop: ManualLoop) -> None:
        owner = Owner(loop, deaf(), replace=deaf)
        for _ in range(3):
            owner.dispatch()
            await asyncio.sleep(13)
        assert [what for what, _ in owner.log if "keep hanging" in what] != []
        assert owner.crew.size == 0
        assert owner.crew.replacing == 0

    play(body)


def test_control_three_in_three_minutes_are_all_replaced() -> None:
    async def body(loop: ManualLoop) -> None:
        owner = Owner(loop, deaf(), replace=deaf)
        for _ in range(5):
            owner.dispatch()
            await asyncio.sleep(45)
        assert [what for what, _ in owner.log if "keep hanging" in what] == []
        assert owner.crew.size == 1

    play(body)


def test_a_replacement_that_fails_is_tried_again_and_then_it_is_the_end() -> None:
    def replace() -> FakeEngine:
        raise BadModel("the files changed")

    async def body(loop: ManualLoop) -> None:
        owner = Owner(loop, deaf(), replace=replace)
        owner.dispatch()
        await asyncio.sleep(12.02)
        assert owner.crew.replacing == 1
        await asyncio.sleep(20)
        assert owner.log[-2][0] == "a hanging engine could not be replaced: the files changed"
        assert owner.log[-1][0] == "changed 0"
        assert owner.crew.replacing == 0

    play(body)


def test_a_replacement_that_fails_ends_nobody_while_other_engines_go_on() -> None:
    tries: list[float] = []

    async def body(loop: ManualLoop) -> None:
        def replace() -> FakeEngine:
            tries.append(loop.time())
            raise BadModel("the files changed")

        owner = Owner(loop, FakeEngine(), deaf(), replace=replace)
        owner.dispatch()  # to the one that hangs, the last that joined
        await asyncio.sleep(60)
        assert len(tries) >= 4
        assert owner.crew.size == 1
        assert [what for what, _ in owner.log if "could not be replaced" in what] == []
        owner.dispatch()
        await asyncio.sleep(1)
        assert owner.log[-1][0] == "returned"
        await owner.crew.end()
        await asyncio.sleep(60)
        assert owner.crew.replacing == 0

    play(body)


def test_a_replacement_that_fails_once_succeeds_later() -> None:
    made: list[FakeEngine] = []

    def replace() -> FakeEngine:
        made.append(FakeEngine())
        if len(made) == 1:
            raise BadModel("not yet")
        return made[-1]

    async def body(loop: ManualLoop) -> None:
        owner = Owner(loop, deaf(), replace=replace)
        owner.dispatch()
        await asyncio.sleep(20)
        assert owner.crew.engines == [made[1]]

    play(body)


def test_a_replacement_that_finds_no_thread_joins_once_there_is_one() -> None:
    """It is kept meanwhile: each that is made holds the memory of a version."""
    made: list[FakeEngine] = []

    def replace() -> FakeEngine:
        made.append(FakeEngine())
        return made[-1]

    async def body(loop: ManualLoop) -> None:
        owner = Owner(loop, deaf(), replace=replace)
        owner.dispatch()
        owner.threads.refused = 2
        await asyncio.sleep(12.5)
        assert (owner.crew.size, owner.crew.replacing) == (0, 1)
        await asyncio.sleep(10)
        assert owner.crew.engines == made
        assert len(made) == 1
        assert owner.crew.replacing == 0
        owner.dispatch()
        await asyncio.sleep(1)
        assert owner.log[-1][0] == "returned"

    play(body)


def test_a_replacement_that_never_finds_a_thread_is_the_end() -> None:
    async def body(loop: ManualLoop) -> None:
        owner = Owner(loop, deaf(), replace=FakeEngine)
        owner.dispatch()
        owner.threads.refused = 9
        await asyncio.sleep(30)
        assert [what for what, _ in owner.log if "could not be replaced: can't start" in what] != []
        assert owner.crew.replacing == 0

    play(body)


def test_without_a_replacement_the_crew_just_shrinks() -> None:
    async def body(loop: ManualLoop) -> None:
        owner = Owner(loop, deaf())
        owner.dispatch()
        await asyncio.sleep(20)
        assert owner.log == [("lost", 12.0), ("changed 0", 12.0)]

    play(body)


def test_nobody_joins_a_crew_that_is_ending() -> None:
    async def body(loop: ManualLoop) -> None:
        owner = Owner(loop, FakeEngine(), deaf(), replace=FakeEngine)
        owner.threads.replace_s = 5.0
        owner.crew.stop(owner.dispatch())
        owner.dispatch()
        await asyncio.sleep(13)
        assert owner.crew.replacing == 1
        await owner.crew.end()
        await asyncio.sleep(10)
        assert owner.crew.size == 0

    play(body)


def test_from_stop_replacing_on_a_lost_engine_is_not_replaced() -> None:
    async def body(loop: ManualLoop) -> None:
        owner = Owner(loop, deaf(), replace=FakeEngine)
        owner.crew.stop_replacing()
        owner.dispatch()
        await asyncio.sleep(20)
        assert owner.crew.size == 0

    play(body)
