"""Inference requests share a turn of the loop with everybody else: the rest of a crowd comes next turn, in order."""

from __future__ import annotations

import asyncio

from service.gateway.turns import SHARE_S, TOGETHER, Turns
from tests.fakes import ManualClock, ManualLoop, run_manually

WORK_S = SHARE_S / 4
CROWD = 10 * TOGETHER


def crowd(share_s: float, leaves: int = 0) -> tuple[list[int], list[int], list[int]]:
    """Many requests in one turn: in which turn each began, in what order, and how many began between two looks."""

    async def main(loop: ManualLoop) -> tuple[list[int], list[int], list[int]]:
        clock, order, turns, turn = ManualClock(), [], [], 0
        gate = Turns(clock, share_s)

        async def request(number: int) -> None:
            await gate.take()
            clock.advance(WORK_S)
            order.append(number)
            turns.append(turn)

        tasks = [asyncio.ensure_future(request(number)) for number in range(CROWD)]
        between = []
        while len(order) < CROWD - leaves:
            before = len(order)
            await asyncio.sleep(0)
            turn += 1
            between.append(len(order) - before)
            if turn == 1 and leaves:
                for task in tasks[-leaves:]:
                    task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return turns, order, between

    return run_manually(main)  # type: ignore[no-any-return]


def test_a_crowd_is_begun_over_many_turns_in_order() -> None:
    turns, order, between = crowd(SHARE_S)
    assert order == list(range(CROWD))
    assert turns == sorted(turns)
    assert max(between) <= max(TOGETHER, 4)


def test_control_with_all_of_a_turn_a_crowd_is_begun_in_one() -> None:
    assert max(crowd(float("inf"))[2]) == CROWD


def test_who_left_takes_nobodys_turn() -> None:
    assert crowd(SHARE_S, leaves=30)[1] == list(range(CROWD - 30))


def test_a_lone_request_waits_for_nothing_again_and_again() -> None:
    async def main(loop: ManualLoop) -> None:
        gate = Turns(ManualClock())
        for _ in range(100):
            coroutine = gate.take()
            try:
                coroutine.send(None)
            except StopIteration:
                await asyncio.sleep(0)
                continue
            raise AssertionError("it was made to wait")

    run_manually(main)
