"""Which requests are followed, and by what: the seam between those who serve requests and those who write traces.

A request that nobody follows costs one look at a flag. Whatever follows one is kept in `TRACE`, so that the layers on
its way can say what they know. Knows no transport and no tracing library.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Protocol

from service.observe import logs
from service.observe.trace_settings import MODE_SPANS, TraceSettings

_SAMPLED = 1  # of the flags in a traceparent; W3C Trace Context, "Trace flags"
_TRACEPARENT_PARTS = 4
_log = logs.logger(__name__)


class RunReport(Protocol):
    """What a batch was."""

    @property
    def rows(self) -> int:
        """Rows in it."""
        ...

    @property
    def requests(self) -> int:
        """Requests in it."""
        ...

    @property
    def input_ns(self) -> int:
        """Nanoseconds spent on stacking the inputs."""
        ...

    @property
    def infer_ns(self) -> int:
        """Nanoseconds in the runner."""
        ...

    @property
    def close_reason(self) -> str:
        """Why it took no more requests."""
        ...


class TracedRun(Protocol):
    """A run with traced requests in it; times are monotonic seconds."""

    @property
    def traces(self) -> tuple[tuple[object, float], ...]:
        """Each with the moment at which its request was submitted."""
        ...

    @property
    def report(self) -> RunReport:
        """The batch."""
        ...

    @property
    def started_s(self) -> float:
        """When it began."""
        ...

    @property
    def ended_s(self) -> float:
        """When it ended."""
        ...

    @property
    def error(self) -> BaseException | None:
        """Why it failed."""
        ...


@dataclass(frozen=True, slots=True)
class Arrival:
    """A request as its transport sees it.

    Attributes:
        name: of the request's span, such as `POST /v2/models/{model}/infer`; few different ones.
        model: as the client names it.
        request_id: the one that is in the log.
        carrier: lower-case header or metadata name -> value, with the W3C headers among them.
        attributes: what else the transport says of it.
    """

    name: str
    model: str
    request_id: str
    carrier: Mapping[str, str]
    attributes: Mapping[str, str | int] = field(default_factory=dict)


class RequestTrace(Protocol):
    """Follows one request; nothing here raises or waits."""

    @property
    def headers(self) -> Mapping[str, str]:
        """What the answer carries of it, lower-case name -> value."""
        ...

    def asked(self, model: str, version: str, rows: int) -> None:
        """The request is understood, goes to this version and has so many rows."""
        ...

    def ran(self, run: TracedRun, /) -> None:
        """A run came back with this request and perhaps others in it: tells for all of them."""
        ...

    def failed(self, error: BaseException) -> None:
        """The request gets this error for an answer."""
        ...

    def end(self, attributes: Mapping[str, str | int], *, ok: bool) -> None:
        """The answer is sent; `attributes` is what the transport says of it, `ok` whether the server did its part."""
        ...


Follow = Callable[[Arrival], RequestTrace | None]

TRACE: ContextVar[RequestTrace | None] = ContextVar("trace", default=None)


class Tracing:
    """Decides for each request who follows it.

    Args:
        settings: of the operator and of Triton's trace extension.
        spans: follows a request with OpenTelemetry's spans, None for one that its sampler leaves out.
        file: follows a request for the trace file.

    Attributes:
        settings: as given.
    """

    def __init__(self, settings: TraceSettings, *, spans: Follow | None = None, file: Follow | None = None) -> None:
        self.settings = settings
        self._spans = spans
        self._file = file

    @property
    def on(self) -> bool:
        """Whether any request may be followed."""
        return self.settings.on

    def begin(self, arrival: Arrival) -> RequestTrace | None:
        """Follows a request from now on, if the settings say so; sets `TRACE` of the calling task.

        Sets it in any case: the task of a pipelined request inherits what the request before it had.
        """
        trace = self._follow(arrival)
        TRACE.set(trace)
        return trace

    def _follow(self, arrival: Arrival) -> RequestTrace | None:
        mode = self.settings.sample(arrival.model, asked=_is_sampled(arrival.carrier.get("traceparent", "")))
        if mode is None:
            return None
        follow = self._spans if mode == MODE_SPANS else self._file
        try:
            return follow(arrival) if follow is not None else None
        except Exception:
            _log.exception("a request could not be traced")
            return None


def nothing_followed() -> Tracing:
    """A tracing that can follow nothing."""
    return Tracing(TraceSettings())


def _is_sampled(traceparent: str) -> bool:
    """Whether a `traceparent` says that its sender records the trace; False for none and for a broken one."""
    parts = traceparent.split("-")
    if len(parts) < _TRACEPARENT_PARTS:
        return False
    try:
        return bool(int(parts[3], 16) & _SAMPLED)
    except ValueError:
        return False
