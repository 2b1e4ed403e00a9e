"""`retort swap` and `retort rollback`: what is sent, and what is said of the answer."""

from __future__ import annotations

from typing import Any

import pytest

from service.cli.report import report_lines
from tests.unit.cli.conftest import Retort, ScriptedServer

REPORT: dict[str, Any] = {
    "model": "digits",
    "from": "1",
    "to": "1-int8",
    "agreement": {"value": 0.9961, "n": 1240, "source": "card"},
    "golden": {"n": 32, "max_abs": 0.00123},
    "load_ms": 12.4,
    "warm_ms": 3.5,
    "drain_ms": 0.4,
    "warning": None,
}
SWAP = "POST /v2/repository/models/digits/swap"
ROLLBACK = "POST /v2/repository/models/digits/rollback"


def test_swap_sends_the_version_and_prints_the_report(retort: Retort, server: ScriptedServer) -> None:
    server.on(SWAP, REPORT)
    outcome = retort("swap", "digits", "1-int8", "--url", server.url)
    assert outcome.code == 0
    assert outcome.out.splitlines() == [
        "digits: version 1-int8 answers, 1 did before (load 12 ms, warm 4 ms, drain 0 ms)",
        "agreement with the full version: 99.61% of 1240 rows (card)",
        "golden cases: 32 rows hold, largest difference 0.00123",
    ]
    assert server.requests[0].json == {"version": "1-int8", "force": False}
    assert server.requests[0].headers["Content-Type"] == "application/json"


def test_every_option_of_swap_reaches_the_server(retort: Retort, server: ScriptedServer) -> None:
    server.on(SWAP, REPORT)
    words = ("--force", "--watch-s", "60", "--max-error-rate", "0.01")
    assert retort("swap", "digits", "1-int8", *words, "--url", server.url).code == 0
    assert server.requests[0].json == {"version": "1-int8", "force": True, "watch_s": 60.0, "max_error_rate": 0.01}


@pytest.mark.parametrize(("option", "value"), [("--watch-s", "-1"), ("--max-error-rate", "1.5")])
def test_values_out_of_range_are_not_sent(retort: Retort, server: ScriptedServer, option: str, value: str) -> None:
    assert retort("swap", "digits", "1-int8", option, value, "--url", server.url).code == 2
    assert server.requests == []


def test_a_refused_swap_ends_with_1_and_the_verdict(retort: Retort, server: ScriptedServer) -> None:
    sentence = "the gate's verdict on version '1-int8' of model 'digits' is 'fail': agreement 0.91"
    server.on(SWAP, {"error": sentence, "verdict": {"verdict": "fail"}}, status=409)
    outcome = retort("swap", "digits", "1-int8", "--url", server.url)
    assert (outcome.code, outcome.err) == (1, f"retort: {sentence}\n")


def test_rollback_prints_the_same_report(retort: Retort, server: ScriptedServer) -> None:
    server.on(ROLLBACK, REPORT | {"from": "1-int8", "to": "1"})
    outcome = retort("rollback", "digits", "--url", server.url)
    assert outcome.code == 0
    assert outcome.out.startswith("digits: version 1 answers, 1-int8 did before")
    assert server.requests[0].json == {}


def test_what_is_not_known_is_not_said() -> None:
    lines = report_lines(REPORT | {"from": None, "agreement": None, "golden": None})
    assert lines == [
        "digits: version 1-int8 answers, none did before (load 12 ms, warm 4 ms, drain 0 ms)",
        "golden cases: none",
    ]


def test_a_swap_to_the_active_version_says_that_nothing_changed() -> None:
    assert report_lines(REPORT | {"from": "1-int8"})[0].startswith("digits: version 1-int8 answers, as before (")


def test_a_warning_has_its_own_line() -> None:
    assert report_lines(REPORT | {"warning": "not-measured-here"})[-1] == "warning: not-measured-here"


@pytest.mark.parametrize("options", [["--watch-s", "0"], ["--max-error-rate", "0.1"]])
def test_a_watch_that_could_watch_nothing_is_mistyped(retort: Retort, options: list[str]) -> None:
    assert retort("swap", "digits", "1-int8", *options).code == 2
