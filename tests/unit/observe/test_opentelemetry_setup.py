"""OpenTelemetry as the standard variables ask for it."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter

from service.observe.opentelemetry_setup import BadVariable, exporter_name, open_spans

NOWHERE = "http://127.0.0.1:9"


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    yield
    library = logging.getLogger("opentelemetry")
    library.handlers, library.propagate = [], True


@pytest.mark.parametrize(
    ("environment", "name"),
    [
        ({}, ""),
        ({"OTEL_TRACES_EXPORTER": "none"}, ""),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": NOWHERE}, ""),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, "otlp"),
        ({"OTEL_TRACES_EXPORTER": " Console "}, "console"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": NOWHERE}, "otlp"),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": NOWHERE}, "otlp"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, ""),
        ({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_SDK_DISABLED": "TRUE"}, ""),
        ({"OTEL_SERVICE_NAME": "x"}, ""),
    ],
)
def test_what_turns_it_on(environment: dict[str, str], name: str) -> None:
    assert exporter_name(environment) == name


def exporter_of(provider: TracerProvider) -> object:
    (processor,) = provider._active_span_processor._span_processors
    return processor.span_exporter  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("more", "kind"),
    [
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": NOWHERE}, HttpExporter),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": NOWHERE, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, GrpcExporter),
        (
            {
                "OTEL_EXPORTER_OTLP_ENDPOINT": NOWHERE,
                "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
                "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf",
            },
            HttpExporter,
        ),
        ({"OTEL_TRACES_EXPORTER": "console"}, ConsoleSpanExporter),
    ],
)
def test_the_exporter_that_was_asked_for(more: dict[str, str], kind: type, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in more.items():
        monkeypatch.setenv(name, value)
    spans = open_spans(more, "1.0")
    assert spans is not None
    assert type(exporter_of(spans.provider)) is kind
    spans.close(10)


@pytest.mark.parametrize(
    ("variables", "service", "version"),
    [
        ({}, "retort", "1.0"),
        ({"OTEL_SERVICE_NAME": "mine"}, "mine", "1.0"),
        ({"OTEL_RESOURCE_ATTRIBUTES": "service.name=theirs,service.version=7"}, "theirs", "1.0"),
    ],
)
def test_the_service_s_name_is_the_operator_s_or_our_own(
    variables: dict[str, str], service: str, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    spans = open_spans({"OTEL_TRACES_EXPORTER": "console", **variables}, "1.0")
    assert spans is not None
    found = spans.provider.resource.attributes
    assert (found["service.name"], found["service.version"]) == (service, version)
    spans.close(10)


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, "OTEL_TRACES_EXPORTER is 'zipkin', expected otlp, console or none"),
        (
            {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"},
            "OTEL_EXPORTER_OTLP_PROTOCOL is 'http/json', expected http/protobuf or grpc",
        ),
    ],
)
def test_what_is_not_supported_is_told(environment: dict[str, str], words: str) -> None:
    with pytest.raises(BadVariable, match=words):
        open_spans(environment, "1.0")


def test_off_is_nothing() -> None:
    assert open_spans({}, "1.0") is None
    assert logging.getLogger("opentelemetry").propagate
