"""Logging is the process's own: every test of this folder leaves it as it found it."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from service.observe import logs


@pytest.fixture(autouse=True)
def _logging_restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    root.handlers = handlers
    root.setLevel(level)
    logs.REQUEST_ID.set("")
