"""Structured logs on stderr: one event a line, as JSON or as text for a person, with the id of the request at hand.

No value can forge a line: JSON escapes control characters, text escapes whatever is not printable, and a traceback
is indented. Lines of other libraries' loggers take the same way.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Any, Literal, TextIO

import structlog
from structlog.typing import EventDict, Processor

REQUEST_ID: ContextVar[str] = ContextVar("request_id")

_NOTHING = logging.CRITICAL + 1
_VALUE_LIMIT = 8000
_FIRST = ("timestamp", "level", "event")


def configure(
    level: Literal["debug", "info", "warning", "error"] = "info",
    form: Literal["json", "console"] = "json",
    stream: TextIO | None = None,
) -> Output:
    """Sets up logging of this process: structlog's loggers and the standard library's alike.

    Args:
        level: the least severe line that is written.
        form: one JSON object a line, or `time level event key='value'`.
        stream: stderr unless given.

    Returns:
        What changes that later.
    """
    shared: list[Processor] = [
        _add_request_id,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    handler = logging.StreamHandler(stream or sys.stderr)
    output = Output(handler, shared, form)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    return output


class Output:
    """What is written, and in which form; obeys `log_settings.LogSettings`.

    Args:
        handler: writes lines.
        shared: what is done to lines of every kind.
        form: of lines, from the start.
    """

    def __init__(self, handler: logging.Handler, shared: Sequence[Processor], form: str) -> None:
        self._handler = handler
        self._formatters = {
            text: structlog.stdlib.ProcessorFormatter(
                foreign_pre_chain=shared,
                processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render],
            )
            for text, render in ((False, _to_text if form == "console" else _to_json), (True, _to_text))
        }
        self._levels: frozenset[int] | None = None
        handler.addFilter(lambda record: self._levels is None or record.levelno in self._levels)
        self.as_text(False)

    def let_through(self, levels: frozenset[int]) -> None:
        """Writes lines of these levels alone."""
        self._levels = levels
        logging.getLogger().setLevel(min(levels, default=_NOTHING))

    def as_text(self, wanted: bool) -> None:
        """Writes `time level event key='value'`; False: the form chosen at start."""
        self._handler.setFormatter(self._formatters[wanted])


def logger(name: str) -> structlog.stdlib.BoundLogger:
    """The logger of a module; its events are constants, and what varies goes into key-values."""
    bound: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return bound


def _add_request_id(_logger: Any, _method: str, event: EventDict) -> EventDict:
    request_id = REQUEST_ID.get("")
    if request_id:
        event.setdefault("request_id", request_id)
    return event


def _to_json(_logger: Any, _method: str, event: EventDict) -> str:
    return json.dumps(_ordered(event, _cut), default=lambda value: _cut(str(value)))


def _to_text(_logger: Any, _method: str, event: EventDict) -> str:
    fields = _ordered(event, str)
    trace = fields.pop("exception", "")
    head = " ".join(printable(fields.pop(key)) for key in _FIRST)
    pairs = "".join(f" {key}={_cut(value)!a}" for key, value in fields.items())
    return head + pairs + "".join(f"\n    | {printable(line)}" for line in trace.splitlines())


def _ordered(event: EventDict, written: Callable[[Any], Any]) -> dict[str, Any]:
    """Time, level and event first, then the rest."""
    rest = [key for key in event if key not in _FIRST]
    return {key: written(event[key]) for key in (*_FIRST, *rest)}


def _cut(value: Any) -> Any:
    too_long = isinstance(value, str) and len(value) > _VALUE_LIMIT
    return value[:_VALUE_LIMIT] + "…" if too_long else value


def printable(text: str) -> str:
    """`text` on one line: whatever is not printable as a backslash escape, cut to 8,000 characters."""
    shown: str = _cut(text)
    return shown if shown.isprintable() else shown.encode("unicode_escape").decode("ascii")
