"""Where traces go: OpenTelemetry's exporter and Triton's trace file, opened at start and emptied at the end."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from service.observe.opentelemetry_setup import Spans, open_spans
from service.observe.trace_file import TraceFile
from service.observe.trace_settings import TraceSettings
from service.observe.tracing import Tracing


class TraceOutlets:
    """The outlets of one server.

    Args:
        environment: whose OTEL_* variables say what is exported.
        file: the trace file; None for none.
        version: of this service.

    Attributes:
        tracing: decides who is followed into which outlet.

    Raises:
        BadVariable: an OTEL_* variable holds what is not supported.
    """

    def __init__(self, environment: Mapping[str, str], file: Path | None, version: str) -> None:
        self._spans: Spans | None = open_spans(environment, version)
        settings = TraceSettings(spans=self._spans is not None, file=file.name if file is not None else "")
        self._file = TraceFile(file, settings.frequency) if file is not None else None
        self.tracing = Tracing(settings, spans=self._spans.follow if self._spans else None, file=self._file)

    @property
    def open(self) -> bool:
        """Whether there is any."""
        return self._spans is not None or self._file is not None

    def close(self, timeout_s: float) -> None:
        """Hands over what has been collected, each outlet for at most so long. Blocks."""
        for outlet in (self._file, self._spans):
            if outlet is not None:
                outlet.close(timeout_s)
