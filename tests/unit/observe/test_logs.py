from __future__ import annotations

import io
import json
import logging
from typing import Any, Literal

import pytest

from service.observe import logs

FORGERIES = [
    'x\n{"timestamp": "2026", "level": "info", "event": "forged"}',
    "x\r\n2026-01-01 info forged",
    "x\u2028forged",
    "x\x1b[2Jforged",
    "\ud800",
]


def written(
    form: Literal["json", "console"], level: Literal["debug", "info", "warning", "error"] = "info"
) -> io.StringIO:
    stream = io.StringIO()
    logs.configure(level, form, stream)
    return stream


def line(stream: io.StringIO) -> dict[str, Any]:
    (text,) = stream.getvalue().splitlines()
    return json.loads(text)  # type: ignore[no-any-return]


def test_an_event_is_one_json_object_with_time_level_and_event_first() -> None:
    stream = written("json")
    logs.logger("t").info("swapped", model="digits", ms=1.5)
    entry = line(stream)
    assert list(entry) == ["timestamp", "level", "event", "model", "ms"]
    assert (entry["level"], entry["event"], entry["model"], entry["ms"]) == ("info", "swapped", "digits", 1.5)


def test_a_value_does_not_take_the_place_of_what_every_line_has() -> None:
    stream = written("json")
    logs.logger("t").info("hello", level="none", timestamp="never")
    assert (line(stream)["level"], line(stream)["timestamp"] == "never") == ("info", False)


@pytest.mark.parametrize("form", ["json", "console"])
def test_an_error_that_is_passed_on_is_written_with_its_traceback(form: Literal["json", "console"]) -> None:
    stream = written(form)
    logs.logger("t").error("failed", exc_info=ValueError("planted"))
    logs.logger("t").warning("as meant", exc_info=None)
    assert stream.getvalue().count("ValueError: planted") == 1


def test_the_request_at_hand_is_named() -> None:
    stream = written("json")
    logs.REQUEST_ID.set("abc-1")
    logs.logger("t").info("hello")
    assert line(stream)["request_id"] == "abc-1"


def test_outside_a_request_no_id_is_made_up() -> None:
    stream = written("json")
    logs.logger("t").info("hello")
    assert "request_id" not in line(stream)


@pytest.mark.parametrize("value", FORGERIES)
@pytest.mark.parametrize("form", ["json", "console"])
def test_a_value_cannot_forge_a_line(form: Literal["json", "console"], value: str) -> None:
    stream = written(form)
    logs.logger("t").info("seen", value=value)
    logging.getLogger("other").warning("seen %s", value)
    text = stream.getvalue()
    assert len(text.splitlines()) == 2
    assert "\x1b" not in text
    text.encode()


@pytest.mark.parametrize("value", FORGERIES[:2])
def test_plain_logging_would_have_let_the_line_through(value: str) -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.emit(logging.LogRecord("n", logging.INFO, "f", 1, "seen %s", (value,), None))
    assert len(stream.getvalue().splitlines()) == 2


def test_json_gives_the_value_back_unchanged() -> None:
    stream = written("json")
    logs.logger("t").info("seen", value="a\nb\u2028ü")
    assert line(stream)["value"] == "a\nb\u2028ü"


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_traceback_is_kept_and_cannot_forge_a_line(form: Literal["json", "console"]) -> None:
    stream = written(form)
    try:
        raise ValueError("x\n2026 info forged\x1b[2J")
    except ValueError:
        logs.logger("t").exception("failed")
    assert "\x1b" not in stream.getvalue()
    lines = stream.getvalue().splitlines()
    assert "ValueError: x" in stream.getvalue()
    assert all(text.startswith("    | ") for text in lines[1:])
    assert (len(lines) == 1) is (form == "json")


def test_text_is_time_level_event_and_pairs() -> None:
    stream = written("console")
    logs.logger("t").warning("careful", model="digits")
    assert stream.getvalue().rstrip().endswith(" warning careful model='digits'")


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_long_value_is_cut(form: Literal["json", "console"]) -> None:
    stream = written(form)
    logs.logger("t").info("seen", value="x" * 100_000)
    assert len(stream.getvalue()) < 9_000


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_long_exception_is_cut(form: Literal["json", "console"]) -> None:
    stream = written(form)
    logs.logger("t").error("failed", exc_info=ValueError("x\n" * 100_000))
    assert len(stream.getvalue()) < 40_000


def test_what_json_cannot_hold_is_written_as_text() -> None:
    stream = written("json")
    logs.logger("t").info("seen", value={1}, more={"a": b"x"})
    assert (line(stream)["value"], line(stream)["more"]) == ("{1}", {"a": "b'x'"})


@pytest.mark.parametrize(("level", "lines"), [("debug", 2), ("info", 2), ("warning", 1), ("error", 0)])
def test_less_severe_lines_are_left_out(level: Literal["debug", "info", "warning", "error"], lines: int) -> None:
    stream = written("json", level)
    logs.logger("t").info("a")
    logging.getLogger("other").warning("b")
    assert len(stream.getvalue().splitlines()) == lines


def test_logs_go_to_stderr_unless_told_otherwise(capfd: pytest.CaptureFixture[str]) -> None:
    logs.configure()
    logs.logger("t").info("hello")
    captured = capfd.readouterr()
    assert '"hello"' in captured.err
    assert captured.out == ""


@pytest.mark.parametrize(("text", "shown"), [("plain ü", "plain ü"), ("a\nb", "a\\nb"), ("\x00", "\\x00")])
def test_printable_leaves_plain_text_alone(text: str, shown: str) -> None:
    assert logs.printable(text) == shown
