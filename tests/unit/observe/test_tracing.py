"""Who is followed, by what."""

from __future__ import annotations

import contextvars
from collections.abc import Mapping
from typing import Any

import pytest

from service.observe.trace_settings import TraceSettings
from service.observe.tracing import TRACE, Arrival, Tracing, nothing_followed

SAMPLED = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


class Trace:
    headers: Mapping[str, str] = {}

    def asked(self, model: str, version: str, rows: int) -> None: ...

    def ran(self, run: Any) -> None: ...

    def failed(self, error: BaseException) -> None: ...

    def end(self, attributes: Mapping[str, str | int], *, ok: bool) -> None: ...


def arrival(traceparent: str = "") -> Arrival:
    return Arrival("POST /x", "m", "id", {"traceparent": traceparent} if traceparent else {})


def begun(tracing: Tracing, traceparent: str = "") -> tuple[Any, Any]:
    """What `begin` returns, and what it left in `TRACE`."""
    return contextvars.copy_context().run(lambda: (tracing.begin(arrival(traceparent)), TRACE.get()))


def test_the_mode_decides_who_follows() -> None:
    spans, file = Trace(), Trace()
    settings = TraceSettings(spans=True, file="t")
    tracing = Tracing(settings, spans=lambda _: spans, file=lambda _: file)
    assert begun(tracing) == (spans, spans)
    settings.update({"trace_mode": "triton"})
    assert begun(tracing) == (file, file)
    settings.update({"trace_level": ["OFF"]})
    assert not tracing.on
    assert begun(tracing) == (None, None)


def test_what_the_sampler_leaves_out_is_not_followed() -> None:
    assert begun(Tracing(TraceSettings(spans=True), spans=lambda _: None)) == (None, None)


def test_a_follower_that_fails_costs_the_trace_alone(caplog: pytest.LogCaptureFixture) -> None:
    def fail(_: Arrival) -> Trace:
        raise ValueError("no")

    assert begun(Tracing(TraceSettings(spans=True), spans=fail)) == (None, None)
    assert caplog.messages == ["a request could not be traced"]


@pytest.mark.parametrize(
    ("traceparent", "followed"),
    [(SAMPLED, True), (SAMPLED[:-1] + "0", False), ("", False), ("00-1", False), ("a-b-c-zz", False)],
)
def test_a_sampled_parent_is_not_kept_out_by_the_rate(traceparent: str, followed: bool) -> None:
    settings = TraceSettings(spans=True)
    settings.update({"trace_rate": "1000"})
    trace, _ = begun(Tracing(settings, spans=lambda _: Trace()), traceparent)
    assert (trace is not None) is followed


def test_a_request_that_is_not_followed_inherits_no_trace() -> None:
    settings = TraceSettings(spans=True)
    settings.update({"trace_count": "1"})
    tracing = Tracing(settings, spans=lambda _: Trace())

    def two_in_one_context() -> None:
        assert tracing.begin(arrival()) is TRACE.get() is not None
        assert tracing.begin(arrival()) is TRACE.get() is None

    contextvars.copy_context().run(two_in_one_context)


def test_nothing_is_followed_by_nobody() -> None:
    assert not nothing_followed().on
