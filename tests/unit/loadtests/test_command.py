"""The command line of `retort compare`: mistakes are told before anything is asked, and codes follow the outcome."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from loadtests.commands.compare import app, exit_code
from loadtests.outcome import Asked, Entry, Outcome, Traffic

TRAFFIC = Traffic("steady", "One.", "poisson", 10, ((1, 10),), 5, "binary", "made up", 3, 0)
OUTCOME = Outcome("m", (Entry("1", "u", "1"),), TRAFFIC, None, (), {}, (), ())
MISSED = Asked("p99 <= 1x", "1", False, "2")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({}, 0),
        ({"asked": (replace(MISSED, met=True),)}, 0),
        ({"asked": (MISSED,)}, 5),
        ({"asked": (MISSED,), "problems": ("late",)}, 4),
        ({"problems": ("late",), "interrupted": True}, 130),
    ],
)
def test_the_exit_code_follows_from_the_outcome(changes: dict[str, object], code: int) -> None:
    assert exit_code(replace(OUTCOME, **changes)) == code


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "name the model"),
        (["m"], "--slo-p99-ms"),
        (["m", "--rate", "5", "--find-knee"], "--slo-p99-ms"),
        (["m", "--rate", "0"], "not above 0"),
        (["m", "--rate", "nan"], "not above 0"),
        (["m", "--rate", "1e9"], "20000 requests a second at most"),
        (["m", "--rate", "5", "--out", __file__], "is a file"),
        (["m", "--rate", "5", "--duration", "-1"], "not above 0"),
        (["m", "--rate", "5", "--require", "quick"], "no requirement"),
        (["m", "--rate", "5", "--scenario", "storm"], "no scenario"),
        (["m", "--rate", "5", "--scenario", "swap", "--arrivals", "burst"], "scenario itself"),
        (["m", "--rate", "5", "--arrivals", "trace"], "--trace FILE"),
        (["m", "--rate", "5", "--arrivals", "poisson", "--scenario", "steady", "--trace", "f"], "--trace FILE"),
        (["m", "--rate", "5", "--cores", "a"], "no list of cores"),
        (["m", "--rate", "5", "--cores", "9999"], "no core 9999"),
        (["m", "--rate", "5", "--encoding", "grpc", "--url", "http://127.0.0.1:1"], "HOST:PORT"),
        (["m", "--rate", "5", "--encoding", "grpc", "--grpc-url", "nowhere"], "HOST:PORT"),
        (["m", "--rate", "5", "--encoding", "grpc", "--grpc-url", "http://127.0.0.1:8001"], "HOST:PORT"),
        (["m", "--arrivals", "sometimes"], "arrivals"),
        (["m", "--speed", "5"], "--speed"),
    ],
)
def test_a_mistyped_option_ends_with_2(arguments: list[str], said: str) -> None:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert said in " ".join(result.output.split())


def test_the_scenarios_are_listed() -> None:
    result = CliRunner().invoke(app, ["--list"])
    assert result.exit_code == 0
    assert "overload" in result.output and "swap" in result.output


def test_the_plug_in_is_named_in_the_projects_metadata() -> None:
    text = (Path(__file__).parents[3] / "pyproject.toml").read_text()
    assert 'compare = "loadtests.commands.compare:app"' in text
