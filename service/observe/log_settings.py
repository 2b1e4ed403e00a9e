"""Triton's log settings: what is logged, and in which form, changed while serving.

Knows neither transports nor where lines go. Source: Triton's logging extension; names as its server has them.
"""

from __future__ import annotations

import logging
import reprlib
from collections.abc import Mapping
from difflib import get_close_matches
from types import MappingProxyType
from typing import Protocol

from service.core.errors import BadInput

_SWITCHES: Mapping[str, tuple[int, ...]] = MappingProxyType(
    {
        "log_info": (logging.INFO,),
        "log_warning": (logging.WARNING,),
        "log_error": (logging.ERROR, logging.CRITICAL),
    }
)
_VERBOSE, _FORMAT, _FILE = "log_verbose_level", "log_format", "log_file"
_FORMATS = ("default", "ISO8601")
_UINT32_MAX = (1 << 32) - 1

Value = bool | int | str


class Output(Protocol):
    """Where lines go."""

    def let_through(self, levels: frozenset[int]) -> None:
        """Writes lines of these levels alone, from now on."""
        ...

    def as_text(self, wanted: bool) -> None:
        """Writes lines as text that begins with the time; False: in the form chosen at start."""
        ...


class LogSettings:
    """The settings of one server.

    Args:
        output: obeys them.
        level: the least severe level that is written from the start: debug, info, warning or error.
    """

    def __init__(self, output: Output, level: str = "info") -> None:
        least = logging.getLevelNamesMapping()[level.upper()]
        self._output = output
        self._values: dict[str, Value] = {
            _FILE: "",
            **{name: levels[0] >= least for name, levels in _SWITCHES.items()},
            _VERBOSE: int(least <= logging.DEBUG),
            _FORMAT: _FORMATS[0],
        }

    def get(self) -> dict[str, Value]:
        """Every setting, under Triton's names."""
        return dict(self._values)

    def update(self, given: Mapping[str, object]) -> None:
        """Changes some settings, all of them or none.

        Args:
            given: name -> bool (`log_info`, `log_warning`, `log_error`), int (`log_verbose_level`: above 0 writes
                debug lines), text (`log_format`: `default` or `ISO8601`), or None, which changes nothing.

        Raises:
            BadInput: an unknown name, a wrong value, or another `log_file`.
        """
        for key, value in given.items():
            if key not in self._values:
                raise BadInput(self._unknown(key))
            if value is not None:
                _check(key, value)
        self._values.update({key: value for key, value in given.items() if isinstance(value, bool | int | str)})
        self._output.let_through(self._levels())
        self._output.as_text(self._values[_FORMAT] == _FORMATS[1])

    def _levels(self) -> frozenset[int]:
        levels = {level for name, some in _SWITCHES.items() if self._values[name] for level in some}
        return frozenset(levels | ({logging.DEBUG} if self._values[_VERBOSE] else set()))

    def _unknown(self, key: str) -> str:
        close = get_close_matches(key[:64], self._values, n=1)
        return f"{_shown(key)} is no log setting{f'; did you mean {close[0]!r}?' if close else '.'}"


def _check(key: str, value: object) -> None:
    if key in _SWITCHES:
        if type(value) is not bool:
            raise BadInput(f"'{key}' must be true or false")
    elif key == _VERBOSE:
        if type(value) is not int or not 0 <= value <= _UINT32_MAX:
            raise BadInput(f"'{key}' must be a whole number from 0 to {_UINT32_MAX}")
    elif type(value) is not str:
        raise BadInput(f"'{key}' must be a text")
    elif key == _FILE and value:
        raise BadInput("log file location can not be updated through network protocol")
    elif key == _FORMAT and value not in _FORMATS:
        raise BadInput(f"'{key}' is {_shown(value)}, expected 'default' or 'ISO8601'")


def _shown(text: str) -> str:
    return ascii(reprlib.repr(text)[1:-1])
