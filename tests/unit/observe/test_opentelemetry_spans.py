"""The spans of requests and of the runs that they shared."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.propagate import get_global_textmap
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased, Sampler
from opentelemetry.trace import SpanKind, StatusCode

from service.batching.contract import BatchReport, CloseReason, TracedRun
from service.core.errors import NotFound, RunFailed
from service.observe.opentelemetry_spans import SpanFollower, SpanTrace
from service.observe.tracing import Arrival

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
REPORT = BatchReport(5, 2, 1_000_000, 2_000_000, 500_000, CloseReason.FULL)


class House:
    def __init__(self, sampler: Sampler | None = None) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self._follow = SpanFollower(self.provider.get_tracer("t"), get_global_textmap())

    def begin(self, carrier: dict[str, str] | None = None) -> SpanTrace | None:
        return self._follow(Arrival("POST /x", "m", "r", carrier or {}, {"http.route": "/x"}))

    def must_begin(self, carrier: dict[str, str] | None = None) -> SpanTrace:
        trace = self.begin(carrier)
        assert trace is not None
        return trace

    def spans(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.exporter.get_finished_spans() if span.name == name]


@pytest.fixture
def house() -> Iterator[House]:
    house = House()
    yield house
    house.provider.shutdown()


def run_of(*traces: SpanTrace, error: BaseException | None = None) -> TracedRun:
    now_s = time.monotonic()
    return TracedRun(tuple((trace, now_s - 0.02) for trace in traces), REPORT, now_s - 0.01, now_s, error)


def ms(span: ReadableSpan) -> float:
    assert span.start_time is not None
    assert span.end_time is not None
    return (span.end_time - span.start_time) / 1e6


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def test_a_request_s_span_tells_what_the_request_was(house: House) -> None:
    trace = house.must_begin({"traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": "a=b"})
    trace.asked("m", "2", 4)
    trace.end({"http.response.status_code": 200}, ok=True)
    (span,) = house.spans("POST /x")
    assert (span.kind, span.status.status_code) == (SpanKind.SERVER, StatusCode.UNSET)
    assert span.parent is not None
    assert (span.parent.span_id, span.context.trace_id) == (int(PARENT, 16), int(TRACE, 16))
    assert span.context.trace_state.get("a") == "b"
    assert attributes(span) == {
        "http.route": "/x",
        "http.response.status_code": 200,
        "retort.model.name": "m",
        "retort.model.version": "2",
        "retort.request.id": "r",
        "retort.request.rows": 4,
    }
    written = f"00-{TRACE}-{span.context.span_id:016x}-01"
    assert dict(trace.headers) == {"traceparent": written, "traceresponse": written}


@pytest.mark.parametrize("carrier", [{}, {"traceparent": "nonsense"}, {"traceparent": f"00-{'0' * 32}-{PARENT}-01"}])
def test_without_a_parent_a_trace_begins_here(house: House, carrier: dict[str, str]) -> None:
    house.must_begin(carrier).end({}, ok=True)
    (span,) = house.spans("POST /x")
    assert span.parent is None


def test_what_the_sampler_leaves_out_is_not_followed(house: House) -> None:
    assert house.begin({"traceparent": f"00-{TRACE}-{PARENT}-00"}) is None
    never = House(ParentBased(ALWAYS_OFF))
    assert never.begin() is None
    assert never.begin({"traceparent": f"00-{TRACE}-{PARENT}-01"}) is not None


def test_a_run_is_one_batch_linked_with_all_its_requests(house: House) -> None:
    one, two = house.must_begin(), house.must_begin()
    one.ran(run_of(one, two))
    for trace in (one, two):
        trace.end({}, ok=True)
    requests = {span.context.span_id: span for span in house.spans("POST /x")}
    (batch,), (run,), queues = house.spans("batch"), house.spans("run"), house.spans("queue")
    assert [link.context.span_id for link in batch.links] == list(requests)
    assert batch.parent is not None
    assert run.parent is not None
    assert (batch.parent.span_id, run.parent.span_id) == (next(iter(requests)), batch.context.span_id)
    assert {queue.parent.span_id for queue in queues if queue.parent} == requests.keys()
    second = list(requests.values())[1]
    assert [link.context.span_id for link in second.links] == [batch.context.span_id]
    assert (ms(batch), ms(run)) == (pytest.approx(10, abs=0.1), pytest.approx(2, abs=0.1))
    assert [ms(queue) for queue in queues] == [pytest.approx(10, abs=0.1)] * 2
    assert run.start_time - batch.start_time == pytest.approx(1e6, abs=1e5)  # type: ignore[operator]
    assert batch.end_time is not None
    assert abs(batch.end_time - time.time_ns()) < 5e9, "on the wall clock"
    assert attributes(batch) | {"retort.model.name": "m"} == {
        "retort.model.name": "m",
        "retort.batch.rows": 5,
        "retort.batch.requests": 2,
        "retort.batch.close_reason": "full",
    }


def test_a_request_in_parts_waited_for_the_first_of_them(house: House) -> None:
    trace = house.must_begin()
    trace.asked("m", "1", 9)
    for _ in range(3):
        trace.ran(run_of(trace))
    trace.end({}, ok=True)
    assert (len(house.spans("queue")), len(house.spans("batch"))) == (1, 3)


def test_a_request_that_never_ran_has_waited_until_its_end(house: House) -> None:
    trace = house.must_begin()
    trace.asked("m", "1", 1)
    trace.end({}, ok=False)
    assert len(house.spans("queue")) == 1
    never_understood = house.must_begin()
    never_understood.end({}, ok=True)
    assert len(house.spans("queue")) == 1


def test_a_failed_run_and_a_failed_request_say_why(house: House) -> None:
    trace, error = house.must_begin(), RunFailed("the model failed on this request" + "x" * 1000)
    trace.ran(run_of(trace, error=error))
    trace.failed(error)
    trace.end({}, ok=False)
    for name in ("run", "batch", "POST /x"):
        (span,) = house.spans(name)
        assert attributes(span)["error.type"] == "RunFailed"
        assert span.status.status_code is StatusCode.ERROR
        assert str(span.status.description).startswith("the model failed on this request")
        assert len(str(span.status.description)) <= 512
    assert ms(house.spans("run")[0]) == pytest.approx(9, abs=0.1)


def test_a_client_s_mistake_is_no_error_of_the_server(house: House) -> None:
    trace = house.must_begin()
    trace.failed(NotFound("no such model"))
    trace.end({"http.response.status_code": 404}, ok=True)
    (span,) = house.spans("POST /x")
    assert attributes(span)["error.type"] == "NotFound"
    assert span.status.status_code is StatusCode.UNSET


def test_what_goes_wrong_in_tracing_is_logged_and_no_more(house: House, caplog: pytest.LogCaptureFixture) -> None:
    trace = house.must_begin()
    trace.ran(run_of(trace)._replace(report=None))  # type: ignore[arg-type]
    assert caplog.messages == ["a run could not be traced"]
