"""A context is asked while its call is there: for one that is over gRPC ends the process, or reads freed memory."""

from __future__ import annotations

from collections import Counter

import pytest

from service.gateway.grpc.calls import Calls
from service.observe import logs


class Context:
    """Of a call that ends."""

    def __init__(self, peer: str = "ipv4:10.0.0.7:4711") -> None:
        self.over = False
        self._peer = peer

    def peer(self) -> str:
        if self.over:
            raise AssertionError("a segmentation fault")
        return self._peer

    def invocation_metadata(self) -> tuple[tuple[str, str | bytes], ...]:
        if self.over:
            raise AssertionError("what others have written there since")
        return ("x-request-id", "chosen-1"), ("authorization", "Bearer k"), ("trace-bin", b"\0")


@pytest.fixture
def calls() -> Calls:
    log = logs.logger("test")
    return Calls(Counter(), log, access_log=log)


def test_a_call_that_is_over_knows_its_peer(calls: Calls) -> None:
    call = calls.call(context := Context(), "ModelInfer")
    context.over = True
    assert call.origin == call.sender == "10.0.0.7"
    calls.ended("CANCELLED", call)


@pytest.mark.parametrize(
    ("peer", "origin"),
    [
        ("ipv4:10.0.0.7:4711", "10.0.0.7"),
        ("ipv6:[::1]:4711", "::1"),
        ("ipv6:%5B2001:db8::7%5D:4711", "2001:db8::7"),
        ("unix:/run/socket", ""),
        ("", ""),
    ],
)
def test_where_a_call_comes_from(calls: Calls, peer: str, origin: str) -> None:
    assert calls.call(Context(peer), "ModelInfer").origin == origin


async def test_a_request_that_begins_after_its_stream_is_over_has_what_the_stream_was_told(calls: Calls) -> None:
    stream = await calls.open(context := Context(), "ModelStreamInfer")
    context.over = True
    call = calls.call(context, "ModelStreamInfer", stream)
    assert (call.origin, call.id) == ("10.0.0.7", "chosen-1")
    assert call.metadata == {"x-request-id": "chosen-1", "authorization": "Bearer k"}
    calls.failed(ValueError("late"), call)
    with pytest.raises(AssertionError, match="segmentation"):
        calls.call(context, "ModelStreamInfer")
