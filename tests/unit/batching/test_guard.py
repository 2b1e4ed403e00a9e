"""A callback that fails is heard, its owner restarts, and a crash loop is given up (R1, R2)."""

from __future__ import annotations

import asyncio

from service.batching.guard import Guard
from tests.fakes import ManualLoop, run_manually


class Owner:
    def __init__(self, loop: ManualLoop) -> None:
        self.loop = loop
        self.log: list[str] = []
        self.guard = Guard(
            loop.clock,
            0.2,
            on_crash=lambda error: self.log.append(f"crash {error}"),
            on_restart=lambda: self.log.append(f"up {round(loop.time() - 1000, 3)}"),
            on_give_up=lambda: self.log.append("given up"),
        )

    def fail(self, what: str) -> None:
        raise ValueError(what)


def test_a_step_that_succeeds_goes_through() -> None:
    async def main(loop: ManualLoop) -> None:
        owner = Owner(loop)
        owner.guard.start()
        owner.guard.wrap(owner.log.append)("done")
        assert owner.log == ["up 0.0", "done"]
        assert owner.guard.up

    run_manually(main)


def test_it_is_not_up_before_its_start() -> None:
    async def main(loop: ManualLoop) -> None:
        assert not Owner(loop).guard.up

    run_manually(main)


def test_a_crash_is_told_at_once_and_mended_after_a_pause() -> None:
    async def main(loop: ManualLoop) -> None:
        owner = Owner(loop)
        owner.guard.start()
        owner.guard.wrap(owner.fail)("bad")
        assert owner.log == ["up 0.0", "crash bad"]
        assert not owner.guard.up
        await asyncio.sleep(0.1)
        assert not owner.guard.up
        await asyncio.sleep(0.2)
        assert owner.guard.up
        assert owner.log[-1] == "up 0.2"

    run_manually(main)


def test_the_third_crash_within_a_minute_is_the_last() -> None:
    async def main(loop: ManualLoop) -> None:
        owner = Owner(loop)
        owner.guard.start()
        for _ in range(3):
            owner.guard.wrap(owner.fail)("bad")
            await asyncio.sleep(10)
        assert owner.log[-1] == "given up"
        assert owner.log.count("crash bad") == 3
        assert not owner.guard.up

    run_manually(main)


def test_control_three_crashes_in_three_minutes_are_mended() -> None:
    async def main(loop: ManualLoop) -> None:
        owner = Owner(loop)
        owner.guard.start()
        for _ in range(6):
            owner.guard.wrap(owner.fail)("bad")
            await asyncio.sleep(40)
        assert "given up" not in owner.log
        assert owner.guard.up

    run_manually(main)


def test_a_restart_that_fails_is_one_more_crash() -> None:
    async def main(loop: ManualLoop) -> None:
        crashes: list[str] = []
        given_up: list[bool] = []

        def restart() -> None:
            if crashes:
                raise ValueError("still broken")

        guard = Guard(
            loop.clock,
            0.2,
            on_crash=lambda error: crashes.append(str(error)),
            on_restart=restart,
            on_give_up=lambda: given_up.append(True),
        )
        guard.start()
        guard.wrap(crashes.remove)("nothing to remove")
        await asyncio.sleep(5)
        assert crashes[1:] == ["still broken", "still broken"]
        assert given_up == [True]
        assert not guard.up

    run_manually(main)
