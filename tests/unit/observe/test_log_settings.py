"""Triton's log settings, and what they do to the lines that are written."""

from __future__ import annotations

import io
import json
import logging
from typing import Any

import pytest

from service.core.errors import BadInput
from service.observe import logs
from service.observe.log_settings import LogSettings

LEVELS = ("debug", "info", "warning", "error", "critical")
START = {
    "log_file": "",
    "log_info": True,
    "log_warning": True,
    "log_error": True,
    "log_verbose_level": 0,
    "log_format": "default",
}


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def settings(stream: io.StringIO) -> LogSettings:
    return LogSettings(logs.configure("info", "json", stream), "info")


def written(stream: io.StringIO) -> list[str]:
    """The levels of which a line comes out, from our loggers and the standard library's alike."""
    stream.seek(0)
    stream.truncate()
    for level in LEVELS:
        ours = logs.logger("t") if level != "critical" else logging.getLogger("t")  # ours write nothing so severe
        getattr(ours, level)("line")
        getattr(logging.getLogger("other"), level)("line")
    lines = [json.loads(line)["level"] for line in stream.getvalue().splitlines()]
    assert lines[::2] == lines[1::2]
    return lines[::2]


@pytest.mark.parametrize(
    ("level", "on"),
    [
        ("debug", {"log_verbose_level": 1}),
        ("info", {}),
        ("warning", {"log_info": False}),
        ("error", {"log_info": False, "log_warning": False}),
    ],
)
def test_the_start_is_what_the_level_says(stream: io.StringIO, level: Any, on: dict[str, Any]) -> None:
    settings = LogSettings(logs.configure(level, "json", stream), level)
    assert settings.get() == START | on
    before = written(stream)
    settings.update({})
    assert written(stream) == before == list(LEVELS[LEVELS.index(level) :])


@pytest.mark.parametrize(
    ("given", "levels"),
    [
        ({"log_info": False}, ["warning", "error", "critical"]),
        ({"log_warning": False}, ["info", "error", "critical"]),
        ({"log_error": False}, ["info", "warning"]),
        ({"log_verbose_level": 2}, list(LEVELS)),
        ({"log_verbose_level": 1, "log_info": False}, ["debug", "warning", "error", "critical"]),
        ({"log_info": False, "log_warning": False, "log_error": False}, []),
    ],
)
def test_each_level_is_switched_by_itself(
    settings: LogSettings, stream: io.StringIO, given: dict[str, Any], levels: list[str]
) -> None:
    settings.update(given)
    assert settings.get() == START | given
    assert written(stream) == levels
    settings.update(START)
    assert written(stream) == ["info", "warning", "error", "critical"]


def test_iso8601_is_text_that_begins_with_the_time_and_default_the_start_s_form(
    settings: LogSettings, stream: io.StringIO
) -> None:
    settings.update({"log_format": "ISO8601"})
    logs.logger("t").info("hello", model="m")
    assert stream.getvalue().startswith("20")
    assert stream.getvalue().endswith("Z info hello model='m'\n")
    settings.update({"log_format": "default"})
    assert written(stream) == ["info", "warning", "error", "critical"]


def test_null_changes_nothing(settings: LogSettings) -> None:
    settings.update(dict.fromkeys(START))
    assert settings.get() == START


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"log_warnings": False}, "'log_warnings' is no log setting; did you mean 'log_warning'?"),
        ({"x" * 500: True}, "is no log setting."),
        ({"log_info": 1}, "'log_info' must be true or false"),
        ({"log_info": "true"}, "'log_info' must be true or false"),
        ({"log_verbose_level": True}, "'log_verbose_level' must be a whole number from 0 to 4294967295"),
        ({"log_verbose_level": -1}, "'log_verbose_level' must be a whole number"),
        ({"log_verbose_level": 1 << 32}, "'log_verbose_level' must be a whole number"),
        ({"log_format": "xml"}, "'log_format' is 'xml', expected 'default' or 'ISO8601'"),
        ({"log_format": 1}, "'log_format' must be a text"),
        ({"log_file": "/etc/motd"}, "log file location can not be updated through network protocol"),
    ],
)
def test_what_is_wrong_is_told_and_changes_nothing(
    settings: LogSettings, stream: io.StringIO, given: dict[str, Any], words: str
) -> None:
    with pytest.raises(BadInput) as refused:
        settings.update({"log_error": False, **given})
    assert words in str(refused.value)
    assert len(str(refused.value)) < 200
    assert settings.get() == START
    assert "error" in written(stream)
