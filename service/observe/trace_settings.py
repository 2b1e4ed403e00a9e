"""Triton's trace settings: which requests are traced, of every model and of single ones, changed while serving.

A model's own setting wins over the global one, and that over the start's; clearing one restores the next. Values are
texts and lists of texts, as on the wire. Knows neither transports nor what writes traces.
Source: Triton's trace extension.
"""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from types import MappingProxyType

from service.core.errors import BadInput

MODE_FILE = "triton"
MODE_SPANS = "opentelemetry"
OFF = "OFF"
TIMESTAMPS = "TIMESTAMPS"

_KEYS = ("trace_file", "trace_level", "trace_rate", "trace_count", "log_frequency", "trace_mode")
_UINT32_MAX = (1 << 32) - 1
_INT32_MAX = (1 << 31) - 1
_ASK_OPERATOR = {
    MODE_FILE: "trace_mode is 'triton', and this server has no trace file: it gets one at start, by RETORT_TRACE_FILE",
    MODE_SPANS: "trace_mode is 'opentelemetry', and this server has no exporter: it gets one at start, by OTEL_* "
    "variables",
}

Value = str | int


class _Scope:
    """What holds for one model, or for all that have no own: the values, and the requests counted so far."""

    __slots__ = ("count", "frequency", "level", "mode", "rate", "seen")

    def __init__(self, values: Mapping[str, Value]) -> None:
        self.level = str(values["trace_level"])
        self.rate = int(values["trace_rate"])
        self.count = int(values["trace_count"])
        self.frequency = int(values["log_frequency"])
        self.mode = str(values["trace_mode"])
        self.seen = 0

    def sample(self, asked: bool) -> str | None:
        """The mode in which the request at hand is traced, None where it is not."""
        if self.level == OFF or self.count == 0:
            return None
        self.seen += 1
        if self.seen % self.rate and not (asked and self.mode == MODE_SPANS):
            return None
        if self.count > 0:
            self.count -= 1
        return self.mode


class TraceSettings:
    """The settings of one server.

    Args:
        spans: whether an exporter for spans is configured; then every request is traced from the start.
        file: the trace file's name, without its folder, which is nobody's business; "" for none.
    """

    def __init__(self, *, spans: bool = False, file: str = "") -> None:
        self._file = file
        self._modes = {mode for mode, has in ((MODE_SPANS, spans), (MODE_FILE, bool(file))) if has}
        start: dict[str, Value] = {"trace_level": OFF, "trace_rate": 1000, "trace_mode": MODE_FILE}
        if spans:
            start = {"trace_level": TIMESTAMPS, "trace_rate": 1, "trace_mode": MODE_SPANS}
        self._start = {**start, "trace_count": -1, "log_frequency": 0}
        self._own: dict[str, dict[str, Value]] = {}  # "" for the global ones
        self._scopes = {"": _Scope(self._start)}
        self.on = spans

    def get(self, model: str = "") -> dict[str, str | list[str]]:
        """The settings that hold for `model`, or the global ones, under Triton's names."""
        scope = self._scopes.get(model) or self._scopes[""]
        return {
            "trace_level": [scope.level],
            "trace_rate": str(scope.rate),
            "trace_count": str(scope.count),
            "log_frequency": str(scope.frequency),
            "trace_file": self._file,
            "trace_mode": scope.mode,
        }

    def update(self, given: Mapping[str, object], model: str = "") -> None:
        """Changes some settings, all of them or none.

        Args:
            given: name -> text, list of texts (of one, where a single one is meant), or None or an empty list, which
                clears the setting.
            model: whose; the caller knows that there is such a model. "" for the global ones.

        Raises:
            BadInput: an unknown name, a wrong value, or something that this server cannot do.
        """
        own = dict(self._own.get(model, {}))
        for key, value in given.items():
            if key not in _KEYS:
                raise BadInput(_unknown(key))
            self._change(own, key, value)
        held = {**self._own, model: own}
        scopes = {name: self._scope(held, name) for name, kept in held.items() if kept or not name}
        scopes.setdefault("", self._scope(held, ""))
        for name in self._scopes.keys() & scopes.keys():
            if model not in ("", name):
                scopes[name] = self._scopes[name]  # another model's: its counts go on
        self._own = {name: kept for name, kept in held.items() if kept}
        self._scopes = scopes
        self.on = any(scope.level != OFF for scope in scopes.values())

    def sample(self, model: str, *, asked: bool) -> str | None:
        """Counts a request of `model`.

        Args:
            model: as the client names it.
            asked: whether its client records its own part of the trace: then the rate does not keep it out.

        Returns:
            How it is traced, `MODE_FILE` or `MODE_SPANS`; None for not at all.
        """
        return (self._scopes.get(model) or self._scopes[""]).sample(asked)

    def frequency(self, model: str) -> int:
        """After how many traces of `model` a file is written; 0 for none before the end."""
        return (self._scopes.get(model) or self._scopes[""]).frequency

    def _scope(self, held: Mapping[str, Mapping[str, Value]], model: str) -> _Scope:
        scope = _Scope({**self._start, **held.get("", {}), **held.get(model, {})})
        if scope.level != OFF and scope.mode not in self._modes:
            raise BadInput(_ASK_OPERATOR[scope.mode])
        return scope

    def _change(self, own: dict[str, Value], key: str, value: object) -> None:
        if value is None or value == []:
            own.pop(key, None)
        elif key == "trace_file":
            if _text(key, value) != self._file:
                raise BadInput("trace file location can not be updated through network protocol")
        else:
            own[key] = _READERS[key](key, value)


def _text(key: str, value: object) -> str:
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if not isinstance(value, str):
        raise BadInput(f"'{key}' must be a text, such as \"1\"")
    return value


def _number(least: int, most: int) -> Callable[[str, object], Value]:
    def read(key: str, value: object) -> Value:
        text = _text(key, value)
        digits = text.removeprefix("-")
        number = int(text) if digits.isascii() and digits.isdigit() and len(digits) <= len(str(most)) else least - 1
        if not least <= number <= most:
            raise BadInput(f"'{key}' is {_shown(text)}, expected a whole number from {least} to {most}, as a text")
        return number

    return read


def _level(key: str, value: object) -> Value:
    levels = [value] if isinstance(value, str) else value
    if not isinstance(levels, list) or not all(isinstance(level, str) for level in levels):
        raise BadInput(f"'{key}' must be a list of texts, such as [\"{TIMESTAMPS}\"]")
    if "TENSORS" in levels:
        raise BadInput("'trace_level' TENSORS is not supported: traces hold times, never a client's data")
    for level in levels:
        if level not in (OFF, TIMESTAMPS):
            raise BadInput(f"'trace_level' holds {_shown(level)}, expected '{OFF}' or '{TIMESTAMPS}'")
    if len(set(levels)) > 1:
        raise BadInput("'trace_level' must hold OFF alone")
    return str(levels[0])


def _mode(key: str, value: object) -> Value:
    mode = _text(key, value)
    if mode not in (MODE_FILE, MODE_SPANS):
        raise BadInput(f"'{key}' is {_shown(mode)}, expected '{MODE_FILE}' or '{MODE_SPANS}'")
    return mode


_READERS: Mapping[str, Callable[[str, object], Value]] = MappingProxyType(
    {
        "trace_level": _level,
        "trace_rate": _number(1, _UINT32_MAX),
        "trace_count": _number(-1, _INT32_MAX),
        "log_frequency": _number(0, _UINT32_MAX),
        "trace_mode": _mode,
    }
)


def _unknown(key: str) -> str:
    close = get_close_matches(key[:64], _KEYS, n=1)
    return f"{_shown(key)} is no trace setting{f'; did you mean {close[0]!r}?' if close else '.'}"


def _shown(text: str) -> str:
    return ascii(reprlib.repr(text)[1:-1])
