"""TraceSetting and LogSettings: the same settings as over HTTP, as Triton's messages carry them."""

from __future__ import annotations

from typing import Any

from tritonclient.grpc import service_pb2

from service.gateway.controls import Controls
from service.gateway.grpc.calls import Call
from service.serving.catalog import Catalog


class Settings:
    """Reads and changes the settings; a request without any reads.

    Args:
        catalog: which models there are.
        controls: the settings.
    """

    def __init__(self, catalog: Catalog, controls: Controls) -> None:
        self._catalog = catalog
        self._controls = controls

    def trace(self, request: Any, call: Call) -> Any:
        """The TraceSettingResponse to a TraceSettingRequest; a setting without values is cleared."""
        model, settings = request.model_name, self._controls.tracing.settings
        if model:
            self._catalog.versions(model)
        if request.settings:
            call.check_settings()
            settings.update({name: list(given.value) for name, given in request.settings.items()}, model)
        answer = service_pb2.TraceSettingResponse()
        for name, value in settings.get(model).items():
            answer.settings[name].value.extend([value] if isinstance(value, str) else value)
        return answer

    def log(self, request: Any, call: Call) -> Any:
        """The LogSettingsResponse to a LogSettingsRequest; a setting without a value changes nothing."""
        logs = self._controls.logs
        if request.settings:
            call.check_settings()
            logs.update({name: _value(given) for name, given in request.settings.items()})
        answer = service_pb2.LogSettingsResponse()
        for name, value in logs.get().items():
            setattr(answer.settings[name], _FIELDS[type(value)], value)
        return answer


_FIELDS: dict[type, str] = {bool: "bool_param", int: "uint32_param", str: "string_param"}


def _value(given: Any) -> object:
    field = given.WhichOneof("parameter_choice")
    return getattr(given, field) if field else None
