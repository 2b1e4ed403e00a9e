"""`retort models`: a table for a person, JSON for a script."""

from __future__ import annotations

import json
from typing import Any

import pytest

from service.cli.models import row
from tests.unit.cli.conftest import Retort, ScriptedServer

FULL: dict[str, Any] = {
    "model": "digits",
    "version": "1",
    "state": "READY",
    "reason": "",
    "active": True,
    "variant_of": None,
    "bytes": 161_000,
    "accuracy": 0.985,
    "agreement": None,
    "verdict": None,
}
VARIANT = FULL | {
    "version": "1-int8",
    "active": False,
    "variant_of": "1",
    "bytes": 52_000,
    "agreement": 0.9983,
    "verdict": "pass",
}
UNLOADED = dict.fromkeys(FULL) | {
    "model": "shapes",
    "version": "2",
    "state": "FAILED",
    "reason": "model.onnx is damaged",
    "active": False,
}


@pytest.fixture
def serving(server: ScriptedServer) -> ScriptedServer:
    """Two models, one of them with two versions."""
    index = [{"name": entry["model"], "version": entry["version"]} for entry in (UNLOADED, FULL, VARIANT)]
    server.on("POST /v2/repository/index", index)
    server.on("GET /v2/models/digits/versions", {"versions": [FULL, VARIANT]})
    server.on("GET /v2/models/shapes/versions", {"versions": [UNLOADED]})
    return server


def test_the_table_has_a_line_for_each_version(retort: Retort, serving: ScriptedServer) -> None:
    outcome = retort("models", "--url", serving.url)
    assert outcome.code == 0
    lines = [line.split() for line in outcome.out.splitlines()]
    assert lines == [
        ["model", "version", "state", "active", "variant_of", "size", "accuracy", "agreement", "verdict"],
        ["digits", "1", "READY", "*", "-", "157.2", "kiB", "98.50%", "-", "-"],
        ["digits", "1-int8", "READY", "1", "50.8", "kiB", "98.50%", "99.83%", "pass"],
        ["shapes", "2", "FAILED", "-", "-", "-", "-", "-"],
    ]


def test_why_a_version_failed_is_said_beside_the_table(retort: Retort, serving: ScriptedServer) -> None:
    outcome = retort("models", "--url", serving.url)
    assert outcome.err == "retort: warning: shapes 2: model.onnx is damaged\n"


def test_columns_are_as_wide_as_their_widest_cell(retort: Retort, serving: ScriptedServer) -> None:
    lines = retort("models", "--url", serving.url).out.splitlines()
    assert (
        len({line.index(state) for line, state in zip(lines, ("state", "READY", "READY", "FAILED"), strict=True)}) == 1
    )
    assert all(line == line.rstrip() for line in lines)


def test_json_is_what_the_server_says(retort: Retort, serving: ScriptedServer) -> None:
    outcome = retort("models", "--json", "--url", serving.url)
    assert json.loads(outcome.out) == [FULL, VARIANT, UNLOADED]


def test_no_model_at_all_is_an_empty_table(retort: Retort, server: ScriptedServer) -> None:
    server.on("POST /v2/repository/index", [])
    outcome = retort("models", "--url", server.url)
    assert (outcome.code, len(outcome.out.splitlines())) == (0, 1)


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 kiB"), (5 * 1024**2, "5.0 MiB"), (3 * 1024**4, "3072.0 GiB")],
)
def test_sizes_are_written_for_people(count: int, text: str) -> None:
    assert row(FULL | {"bytes": count})[5] == text


def test_a_model_that_could_not_even_be_listed_is_a_line_and_a_warning(retort: Retort, server: ScriptedServer) -> None:
    reason = "model.yaml has the unknown key 'pad'"
    index = [{"name": "broken", "version": "", "state": "UNAVAILABLE", "reason": reason}]
    server.on("POST /v2/repository/index", index)
    server.on("GET /v2/models/broken/versions", {"versions": []})
    outcome = retort("models", "--url", server.url)
    assert outcome.out.splitlines()[1].split()[:3] == ["broken", "-", "FAILED"]
    assert outcome.err == f"retort: warning: broken: {reason}\n"
    [listed] = json.loads(retort("models", "--json", "--url", server.url).out)
    assert listed.keys() == FULL.keys()
    assert (listed["state"], listed["reason"]) == ("FAILED", reason)
