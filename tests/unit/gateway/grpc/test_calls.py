"""A call's context is asked for its peer while the call is there: gRPC itself ends the process for one that is over."""

from __future__ import annotations

from collections import Counter

import pytest

from service.gateway.grpc.calls import Calls
from service.observe import logs


class Context:
    """Of a call that ends."""

    def __init__(self) -> None:
        self.over = False

    def peer(self) -> str:
        if self.over:
            raise AssertionError("a segmentation fault")
        return "ipv4:10.0.0.7:4711"

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        return ()


@pytest.fixture
def calls() -> Calls:
    log = logs.logger("test")
    return Calls(Counter(), log, access_log=log)


def test_a_call_that_is_over_knows_its_peer(calls: Calls) -> None:
    call = calls.call(context := Context(), "ModelInfer")
    context.over = True
    assert call.origin == call.sender == "10.0.0.7"
    calls.ended("CANCELLED", call)


async def test_a_request_that_begins_after_its_stream_is_over_has_the_peer_of_the_stream(calls: Calls) -> None:
    peer = await calls.open(context := Context(), "ModelStreamInfer")
    context.over = True
    call = calls.call(context, "ModelStreamInfer", peer)
    assert call.origin == "10.0.0.7"
    calls.failed(ValueError("late"), call)
    with pytest.raises(AssertionError, match="segmentation"):
        calls.call(context, "ModelStreamInfer")
