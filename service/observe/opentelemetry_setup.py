"""Sets OpenTelemetry up as its standard OTEL_* variables say, or not at all: then none of its SDK is imported.

The library reads most variables itself; here is what its own start-up script would do beyond that. Spans leave in
batches, on a thread of their own, from a bounded queue: a collector that is gone costs spans and never a request.
Source: OpenTelemetry specification, "Environment Variable Specification".
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from service.observe.rare_lines import RareLines
from service.observe.tracing import Follow

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter

SERVICE_NAME = "retort"
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_PROTOCOLS = ("http/protobuf", "grpc")
_LOG_EVERY_S = 60.0


class BadVariable(ValueError):
    """An OTEL_* variable holds what is not supported; one sentence."""


@dataclass(frozen=True, slots=True)
class Spans:
    """OpenTelemetry, set up.

    Attributes:
        follow: follows a request.
        provider: what collects the spans.
    """

    follow: Follow
    provider: TracerProvider

    def close(self, timeout_s: float) -> None:
        """Sends what has been collected, for at most so long; what is left then is lost. Blocks."""
        closing = threading.Thread(target=self.provider.shutdown, name="close-spans", daemon=True)
        closing.start()
        closing.join(timeout_s)


def exporter_name(environment: Mapping[str, str]) -> str:
    """`otlp` or `console`; "" when tracing is off.

    Raises:
        BadVariable: OTEL_TRACES_EXPORTER names another one.
    """
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return ""
    name = environment.get("OTEL_TRACES_EXPORTER", "").strip().lower()
    if not name:
        return "otlp" if any(environment.get(variable) for variable in _ENDPOINTS) else ""
    if name not in ("otlp", "console", "none"):
        raise BadVariable(f"OTEL_TRACES_EXPORTER is {name[:64]!r}, expected otlp, console or none")
    return "" if name == "none" else name


def open_spans(environment: Mapping[str, str], version: str) -> Spans | None:
    """OpenTelemetry as `environment` asks for it, None when off.

    Args:
        environment: of this process; the library looks at it by itself too.
        version: of this service.

    Raises:
        BadVariable: a variable holds what is not supported.
    """
    name = exporter_name(environment)
    if not name:
        return None
    RareLines("opentelemetry", _LOG_EVERY_S).install()
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415 - nothing of the SDK is imported when off
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    try:
        from opentelemetry.propagate import get_global_textmap  # noqa: PLC0415 - reads OTEL_PROPAGATORS as it is imported

        from service.observe.opentelemetry_spans import SpanFollower  # noqa: PLC0415

        named = {"service.name": SERVICE_NAME, "service.version": version}
        provider = TracerProvider(resource=_resource(named, environment), shutdown_on_exit=False)
        provider.add_span_processor(BatchSpanProcessor(_exporter(name, environment)))
    except ValueError as error:
        raise error if isinstance(error, BadVariable) else BadVariable(f"OpenTelemetry: {error}") from error
    return Spans(SpanFollower(provider.get_tracer(SERVICE_NAME, version), get_global_textmap()), provider)


def _resource(named: dict[str, str], environment: Mapping[str, str]) -> Resource:
    """What names this service; what the variables say wins over our own."""
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415

    if environment.get("OTEL_SERVICE_NAME") or "service.name=" in environment.get("OTEL_RESOURCE_ATTRIBUTES", ""):
        named = {"service.version": named["service.version"]}
    return Resource.create(dict(named))


def _exporter(name: str, environment: Mapping[str, str]) -> SpanExporter:
    if name == "console":
        from opentelemetry.sdk.trace.export import ConsoleSpanExporter  # noqa: PLC0415

        return ConsoleSpanExporter()
    variables = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
    protocol = next((environment[variable] for variable in variables if environment.get(variable)), _PROTOCOLS[0])
    if protocol not in _PROTOCOLS:
        raise BadVariable(f"OTEL_EXPORTER_OTLP_PROTOCOL is {protocol[:64]!r}, expected {' or '.join(_PROTOCOLS)}")
    if protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import (  # noqa: PLC0415
            OTLPSpanExporter as GrpcExporter,
        )

        return GrpcExporter()
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415

    return OTLPSpanExporter()
