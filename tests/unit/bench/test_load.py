"""The bench's own parts, as processes: clients that count the answers of the echo, and that end where there is none."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator

import orjson
import pytest

from tests.bench.tiny import requests
from tests.unit.bench.echoes import port_of


@pytest.fixture
def echo() -> Iterator[str]:
    """The port of an echo."""
    with port_of("echo") as port:
        yield port


def load(port: str, form: str, *more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.bench.load", port, "3", "0.2", form, *more]
    return subprocess.run(command, input="\n", capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("form", ["json", "binary"])
def test_every_answer_is_counted(echo: str, form: str) -> None:
    ready, answers = load(echo, form).stdout.split()
    assert ready == "ready"
    assert int(answers) >= 3


def test_those_that_rest_and_those_that_ask_many_models_are_counted_once(echo: str) -> None:
    asked = load(echo, "json", "--models", "4", "--idle", "20")
    assert (asked.returncode, asked.stdout.split()[0]) == (0, "ready")
    assert int(asked.stdout.split()[1]) >= 3


def test_a_server_that_hangs_up_ends_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = str(listening.getsockname()[1])
    assert load(port, "json").returncode != 0


def test_what_it_sends_are_whole_requests() -> None:
    for form, request in requests().items():
        head, _, body = request.partition(b"\r\n\r\n")
        assert f"Content-Length: {len(body)}".encode() in head, form
    assert orjson.loads(requests()["json"].partition(b"\r\n\r\n")[2])["inputs"][0]["shape"] == [1, 64]
