"""The sender's clockwork with a transport that only notes: the same for every protocol."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace

import numpy as np
import pytest

from loadtests.generator.block import OK, UNANSWERED, Answer, Block, Sent
from loadtests.generator.records import Records
from loadtests.generator.sender import Sender
from loadtests.generator.transport import Address
from tests.fakes import ManualLoop, run_manually


class Noting:
    """Answers at once, unless the row is 1: that one is never answered."""

    def __init__(self, _address: Address, requests: Sequence[bytes], block: Block, records: Records) -> None:
        self.steps: list[str] = []
        self._block, self._records, self._requests = block, records, requests

    async def open(self) -> None:
        self.steps.append("open")

    def launch(self, request: int) -> None:
        self.steps.append(f"launch {request}")
        self._records.wrote(request)
        row = int(self._block.rows[request])
        if row != 1:
            self._records.answered(request, OK, Answer(self._requests[row], 0))

    async def close(self) -> None:
        self.steps.append("close")


async def test_every_request_is_launched_in_order_and_none_before_its_time() -> None:
    planned = np.array([0.0, 0.0, 0.01, 0.05])
    sender = Sender(("", 0), [b"zero"], Block("p", planned, np.zeros(4, np.int32)), Noting)
    sent = await sender.run()
    assert sender._transport.steps == ["open", *(f"launch {at}" for at in range(4)), "close"]
    assert (sent.sent_s >= planned).all()
    assert (sent.status == OK).all()
    assert sender.answers[3] == Answer(b"zero", 0)


def test_a_request_without_an_answer_holds_up_none_and_ends_with_the_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    block = Block("p", np.arange(3) / 64, np.array([1, 0, 0], np.int32), timeout_s=0.125)  # numbers that add up exactly
    monkeypatch.setattr("loadtests.generator.sender.POLL_S", 0.0)  # manual time does not pass while one polls

    async def main(loop: ManualLoop) -> Sent:
        monkeypatch.setattr("loadtests.generator.records.time", SimpleNamespace(perf_counter=loop.time))
        return await Sender(("", 0), [b"zero", b"one"], block, Noting).run()

    sent = run_manually(main)
    assert sent.status.tolist() == [UNANSWERED, OK, OK]
    assert sent.sent_s[2] == 2 / 64  # sent when due, not when the first had timed out


async def test_an_empty_block_ends_at_once() -> None:
    sent = await Sender(("", 0), [], Block("p", np.empty(0), np.empty(0, np.int32)), Noting).run()
    assert len(sent.status) == 0
