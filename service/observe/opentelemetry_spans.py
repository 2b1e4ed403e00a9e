"""A followed request as OpenTelemetry's spans, made after the fact from the times that were measured anyway.

The request's own span is begun when it arrives, since its id is what others refer to. `queue` hangs below it; `batch`,
with `run` inside, hangs below the first request that is traced in it and is linked with every one of them.
Imported only when tracing is on. Sources: OpenTelemetry's semantic conventions for HTTP and RPC spans; W3C Trace
Context.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from opentelemetry.context import Context
from opentelemetry.propagators.textmap import TextMapPropagator
from opentelemetry.trace import (
    Link,
    Span,
    SpanKind,
    Status,
    StatusCode,
    Tracer,
    set_span_in_context,
)

from service.observe import logs
from service.observe.tracing import Arrival, TracedRun

_log = logs.logger(__name__)
_NS = 1_000_000_000
_MESSAGE_LIMIT = 512

MODEL = "retort.model.name"
VERSION = "retort.model.version"
REQUEST_ID = "retort.request.id"
ROWS = "retort.request.rows"
BATCH_ROWS = "retort.batch.rows"
BATCH_REQUESTS = "retort.batch.requests"
CLOSE_REASON = "retort.batch.close_reason"
ERROR_TYPE = "error.type"


class SpanFollower:
    """Follows requests: `observe.tracing.Follow`.

    Args:
        tracer: makes the spans, as its sampler says.
        propagator: reads the parent out of what came with a request.
    """

    def __init__(self, tracer: Tracer, propagator: TextMapPropagator) -> None:
        self._tracer = tracer
        self._propagator = propagator

    def __call__(self, arrival: Arrival) -> SpanTrace | None:
        """Begins the span of a request; None where the sampler leaves it out."""
        parent = self._propagator.extract(arrival.carrier, Context())
        attributes = {**arrival.attributes, MODEL: arrival.model[:_MESSAGE_LIMIT], REQUEST_ID: arrival.request_id}
        span = self._tracer.start_span(arrival.name, context=parent, kind=SpanKind.SERVER, attributes=attributes)
        return SpanTrace(self._tracer, span) if span.is_recording() else None


class SpanTrace:
    """One request: `observe.tracing.RequestTrace`."""

    __slots__ = ("_below", "_error", "_offset_ns", "_queued", "_submitted_s", "_tracer", "span")

    def __init__(self, tracer: Tracer, span: Span) -> None:
        self.span = span
        self._tracer = tracer
        self._below = set_span_in_context(span, Context())
        self._offset_ns = time.time_ns() - time.monotonic_ns()  # anew each time: the wall clock may be corrected
        self._submitted_s: float | None = None
        self._queued = False
        self._error: BaseException | None = None

    @property
    def headers(self) -> Mapping[str, str]:
        """The request's span as W3C Trace Context writes it, under the name of the request and of the answer."""
        context = self.span.get_span_context()
        written = f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
        return {"traceparent": written, "traceresponse": written}

    def asked(self, model: str, version: str, rows: int) -> None:
        """The request goes to this version, now, with so many rows."""
        self.span.set_attributes({MODEL: model, VERSION: version, ROWS: rows})
        self._submitted_s = time.monotonic()

    def ran(self, run: TracedRun) -> None:
        """Makes the spans of a run, for every traced request in it; what goes wrong here is not the batcher's."""
        try:
            self._add_batch(run)
        except Exception:
            _log.exception("a run could not be traced")

    def _add_batch(self, run: TracedRun) -> None:
        traces = [(trace, at_s) for trace, at_s in run.traces if isinstance(trace, SpanTrace)]
        for trace, submitted_s in traces:
            trace._waited(submitted_s, run.started_s)
        report, contexts = run.report, [trace.span.get_span_context() for trace, _ in traces]
        attributes: dict[str, str | int] = {
            **self._names(),
            BATCH_ROWS: report.rows,
            BATCH_REQUESTS: report.requests,
            CLOSE_REASON: str(report.close_reason),
        }
        batch = self._tracer.start_span(
            "batch",
            context=self._below,
            links=[Link(context) for context in contexts],
            attributes=attributes,
            start_time=self._wall_ns(run.started_s),
        )
        self._add_run(batch, run)
        _mark(batch, run.error)
        batch.end(self._wall_ns(run.ended_s))
        for trace, _ in traces:
            if trace is not self:
                trace.span.add_link(batch.get_span_context())

    def failed(self, error: BaseException) -> None:
        """Notes why the request has no other answer."""
        self._error = error

    def end(self, attributes: Mapping[str, str | int], *, ok: bool) -> None:
        """Ends the span; one that never ran has waited until now. A client's own fault is no error of a server's."""
        if self._submitted_s is not None:
            self._waited(self._submitted_s, time.monotonic())
        error, self._error = self._error, None
        self.span.set_attributes(attributes)
        if error is not None:
            self.span.set_attribute(ERROR_TYPE, type(error).__name__)
        if not ok:
            self.span.set_status(Status(StatusCode.ERROR, str(error or "")[:_MESSAGE_LIMIT]))
        self.span.end()

    def _waited(self, since_s: float, until_s: float) -> None:
        """The span of the wait; a request that is run in parts waited for the first of them."""
        if not self._queued:
            self._queued = True
            queue = self._tracer.start_span("queue", context=self._below, start_time=self._wall_ns(since_s))
            queue.end(self._wall_ns(until_s))

    def _add_run(self, batch: Span, run: TracedRun) -> None:
        start_ns = self._wall_ns(run.started_s) + run.report.input_ns
        end_ns = self._wall_ns(run.ended_s) if run.error is not None else start_ns + run.report.infer_ns
        inside = self._tracer.start_span("run", context=set_span_in_context(batch, Context()), start_time=start_ns)
        _mark(inside, run.error)
        inside.end(end_ns)

    def _names(self) -> dict[str, str]:
        """The model and version of the request's span, for the spans beside it."""
        known = getattr(self.span, "attributes", None) or {}
        return {key: str(known[key]) for key in (MODEL, VERSION) if key in known}

    def _wall_ns(self, at_s: float) -> int:
        return int(at_s * _NS) + self._offset_ns


def _mark(span: Span, error: BaseException | None) -> None:
    if error is not None:
        span.set_attribute(ERROR_TYPE, type(error).__name__)
        span.set_status(Status(StatusCode.ERROR, str(error)[:_MESSAGE_LIMIT]))
