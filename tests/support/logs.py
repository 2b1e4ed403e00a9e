"""What the service logs, for tests: no line is parsed, and none is written."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from service.observe.logs import fields_of


class KeptLog(logging.Handler):
    """Keeps our own events as dicts, with `log_level` and what was raised as `exc_info`."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[dict[str, Any]] = []

    def filter(self, record: logging.LogRecord) -> bool:
        return hasattr(record, "fields")

    def emit(self, record: logging.LogRecord) -> None:
        raised = {"exc_info": record.exc_info[1]} if record.exc_info else {}
        self.events.append(
            {"event": record.getMessage(), **fields_of(record), **raised, "log_level": record.levelname.lower()}
        )


@contextmanager
def capture_logs() -> Iterator[list[dict[str, Any]]]:
    """Keeps every event of this process meanwhile, in place of what would be written."""
    root, kept = logging.getLogger(), KeptLog()
    handlers, level = root.handlers, root.level
    root.handlers = [kept]
    root.setLevel(logging.DEBUG)
    try:
        yield kept.events
    finally:
        root.handlers = handlers
        root.setLevel(level)
