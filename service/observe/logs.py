"""Structured logs on stderr: one event a line, as JSON or as text for a person, with the id of the request at hand.

No value can forge a line: JSON escapes control characters, text escapes whatever is not printable, and a traceback
is indented. Lines of other libraries' loggers take the same way, and none waits for a reader of the log.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Literal, TextIO

from service.observe.log_stream import LogStream

REQUEST_ID: ContextVar[str] = ContextVar("request_id")

_NOTHING = logging.CRITICAL + 1
_VALUE_LIMIT = 8000
_FIRST = ("timestamp", "level", "event")

Event = dict[str, Any]
Caught = Any  # an exception, True for the one at hand, or None: a dict of fields may follow


class Log:
    """Writes the events of one part; they are constants, and what varies goes into key-values.

    Args:
        name: of the part.
    """

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)

    def debug(self, event: str, /, **fields: Any) -> None:
        """Writes what only who looks for a fault wants to know."""
        self._write(logging.DEBUG, event, fields)

    def info(self, event: str, /, **fields: Any) -> None:
        """Writes what goes as it should."""
        self._write(logging.INFO, event, fields)

    def warning(self, event: str, /, *, exc_info: Caught = None, **fields: Any) -> None:
        """Writes what somebody should look at."""
        self._write(logging.WARNING, event, fields, exc_info)

    def error(self, event: str, /, *, exc_info: Caught = None, **fields: Any) -> None:
        """Writes what went wrong."""
        self._write(logging.ERROR, event, fields, exc_info)

    def exception(self, event: str, /, **fields: Any) -> None:
        """Writes what went wrong, with the exception that is being handled."""
        self._write(logging.ERROR, event, fields, True)

    def _write(self, level: int, event: str, fields: Event, exc_info: Caught = None) -> None:
        if self._logger.isEnabledFor(level):
            self._logger.log(level, event, exc_info=exc_info, extra={"fields": fields})


def configure(
    level: Literal["debug", "info", "warning", "error"] = "info",
    form: Literal["json", "console"] = "json",
    stream: TextIO | None = None,
) -> Output:
    """Sets up logging of this process: ours and the standard library's alike.

    Args:
        level: the least severe line that is written.
        form: one JSON object a line, or `time level event key='value'`.
        stream: stderr unless given.

    Returns:
        What changes that later.
    """
    handler = logging.StreamHandler(stream) if stream is not None else _to_stderr()
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    return Output(handler, form)


def _to_stderr() -> logging.Handler:
    if sys.stderr is None:  # closed, and its number may be another file's by now
        return logging.NullHandler()
    handler = _Unblocked(LogStream(sys.stderr.fileno(), lambda count: f"{handler.format(_left_out(count))}\n"))
    return handler


class _Unblocked(logging.StreamHandler[LogStream]):
    """Writes to a `LogStream`, whose last lines have a moment at the end of the process."""

    def close(self) -> None:
        """Ends it."""
        self.stream.drain()
        super().close()


def _left_out(count: int) -> logging.LogRecord:
    record = logging.LogRecord(__name__, logging.WARNING, "", 0, "log lines left out, nobody read them", None, None)
    record.fields = {"lines": count}
    return record


class Output:
    """What is written, and in which form; obeys `log_settings.LogSettings`.

    Args:
        handler: writes lines.
        form: of lines, from the start.
    """

    def __init__(self, handler: logging.Handler, form: str) -> None:
        self._handler = handler
        self._formatters = {False: _Lines(_to_text if form == "console" else _to_json), True: _Lines(_to_text)}
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


def logger(name: str) -> Log:
    """The log of a part."""
    return Log(name)


def fields_of(record: logging.LogRecord) -> Event:
    """The key-values of an event; none where another library wrote it."""
    fields: Event = getattr(record, "fields", {})
    return fields


class _Lines(logging.Formatter):
    """One line of each record.

    Args:
        written: turns an event into the line.
    """

    def __init__(self, written: Callable[[Event], str]) -> None:
        super().__init__()
        self._written = written

    def format(self, record: logging.LogRecord) -> str:
        """The line, with its time, its level, the request at hand and the exception."""
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds")
        said = (time.replace("+00:00", "Z"), record.levelname.lower(), record.getMessage())
        first = dict(zip(_FIRST, said, strict=True))
        event = first | fields_of(record) | first
        if request_id := REQUEST_ID.get(""):
            event.setdefault("request_id", request_id)
        if record.exc_info and record.exc_info[0] is not None:
            event["exception"] = self.formatException(record.exc_info)
        return self._written(event)


def _to_json(event: Event) -> str:
    return json.dumps({key: _cut(value) for key, value in event.items()}, default=lambda value: _cut(str(value)))


def _to_text(event: Event) -> str:
    fields = {key: str(value) for key, value in event.items()}
    trace: str = _cut(fields.pop("exception", ""))
    head = " ".join(printable(fields.pop(key)) for key in _FIRST)
    pairs = "".join(f" {key}={_cut(value)!a}" for key, value in fields.items())
    return head + pairs + "".join(f"\n    | {printable(line)}" for line in trace.splitlines())


def _cut(value: Any) -> Any:
    too_long = isinstance(value, str) and len(value) > _VALUE_LIMIT
    return value[:_VALUE_LIMIT] + "…" if too_long else value


def printable(text: str) -> str:
    """`text` on one line: whatever is not printable as a backslash escape, cut to 8,000 characters."""
    shown: str = _cut(text)
    return shown if shown.isprintable() else shown.encode("unicode_escape").decode("ascii")
