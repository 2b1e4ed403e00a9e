"""`retort serve`: what of the command line and the environment reaches the server, and how it ends."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from service.assembly import CannotStart
from service.settings import Settings
from tests.unit.cli.conftest import Retort


class Server:
    """Stands in for the server: keeps the settings, says one line, ends with `exit_code`."""

    def __init__(self) -> None:
        self.settings: Any = None
        self.exit_code = 0

    def serve(self, settings: Settings, say: Callable[[str], None], _ahead: object) -> int:
        self.settings = settings
        if settings.host == "192.0.2.1":
            raise CannotStart("cannot listen on 192.0.2.1:8000: cannot assign requested address; choose another")
        say("retort ready: http://127.0.0.1:8000 (models: digits)")
        return self.exit_code


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Server:
    """A fake server, in a folder that holds the default repository."""
    app = Server()
    monkeypatch.setitem(sys.modules, "service.app", SimpleNamespace(serve=app.serve))  # type: ignore[arg-type]
    (tmp_path / "models" / "repository").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    return app


def test_it_prints_the_one_line_that_the_server_says(retort: Retort, app: Server) -> None:
    outcome = retort("serve")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out == "retort ready: http://127.0.0.1:8000 (models: digits)\n"
    assert app.settings == Settings.read()


def test_a_repository_that_nobody_may_list_is_no_empty_one(
    retort: Retort, app: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may list everything
    outcome = retort("serve")
    assert (outcome.code, app.settings) == (1, None)
    assert outcome.err == "retort: the folder models/repository cannot be read: this user may not list it.\n"


def test_the_server_s_exit_code_is_the_command_s(retort: Retort, app: Server) -> None:
    app.exit_code = 1
    assert retort("serve").code == 1


@pytest.mark.parametrize(
    ("words", "field", "value"),
    [
        (("--host", "0.0.0.0"), "host", "0.0.0.0"),
        (("--http-port", "0"), "http_port", 0),
        (("--grpc-port", "0"), "grpc_port", 0),
        (("--provider", "cuda"), "provider", "cuda"),
        (("--state-dir", "state"), "state_dir", Path("state")),
        (("--threads", "3"), "threads", 3),
        (("--shared-memory",), "shared_memory", True),
        (("--keys", "keys.txt"), "keys", Path("keys.txt")),
        (("--tls-cert", "c.pem", "--tls-key", "k.pem"), "tls_cert", Path("c.pem")),
        (("--tls-cert", "c.pem", "--tls-key", "k.pem"), "tls_key", Path("k.pem")),
        (("--log-format", "console"), "log_format", "console"),
        (("--log-level", "debug"), "log_level", "debug"),
        (("--repository", "models"), "repository", (Path("models"),)),
        (
            ("--repository", "models", "--repository", "models/repository"),
            "repository",
            (Path("models"), Path("models/repository")),
        ),
    ],
)
def test_every_option_reaches_the_server(
    retort: Retort, app: Server, words: tuple[str, ...], field: str, value: object
) -> None:
    assert retort("serve", *words).code == 0
    assert getattr(app.settings, field) == value
    assert {field} <= app.settings.model_fields_set


def test_an_option_wins_over_its_variable(retort: Retort, app: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETORT_HTTP_PORT", "9000")
    monkeypatch.setenv("RETORT_HOST", "0.0.0.0")
    retort("serve", "--http-port", "9001")
    assert (app.settings.http_port, app.settings.host) == (9001, "0.0.0.0")


def test_one_file_is_served_without_any_repository(retort: Retort, app: Server, tmp_path: Path) -> None:
    (tmp_path / "models" / "repository").rmdir()
    (tmp_path / "net.onnx").write_bytes(b"")
    assert retort("serve", "net.onnx").code == 0
    assert app.settings.single_file == Path("net.onnx")


def test_a_folder_in_place_of_the_file_is_told_its_option(retort: Retort, app: Server) -> None:
    outcome = retort("serve", "models")
    assert outcome.code == 2
    assert "--repository models" in outcome.err
    assert app.settings is None


@pytest.mark.parametrize("held", ["model.yaml", "config.pbtxt", "1/model.onnx", "1/model.deep"])
@pytest.mark.parametrize("command", [("serve", "--repository"), ("check",)])
def test_the_folder_of_one_model_is_told_the_one_above(
    retort: Retort, app: Server, tmp_path: Path, command: tuple[str, ...], held: str
) -> None:
    (tmp_path / "models" / "digits" / "1").mkdir(parents=True)
    (tmp_path / "models" / "digits" / held).write_bytes(b"")
    outcome = retort(*command, "models/digits")
    assert outcome.code == 1
    assert outcome.err == (
        "retort: models/digits is the folder of one model: name the folder that it lies in, models.\n"
    )
    assert app.settings is None
    assert retort("serve", "--repository", "models").code == 0


def test_a_file_of_another_kind_is_told_which_are_served(retort: Retort, app: Server, tmp_path: Path) -> None:
    (tmp_path / "net.pb").write_bytes(b"")
    outcome = retort("serve", "net.pb")
    assert outcome.code == 2
    assert "ends in .onnx or .deep" in outcome.err
    assert app.settings is None


def test_a_file_and_a_repository_together_are_mistyped(retort: Retort, app: Server, tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(b"")
    outcome = retort("serve", "net.onnx", "--repository", "models")
    assert outcome.code == 2
    assert "not both" in outcome.err
    assert app.settings is None


@pytest.mark.parametrize(
    "words",
    [
        ("no-such.onnx",),
        ("--repository", "no-such-folder"),
        ("--http-port", "99999"),
        ("--http-port", "http"),
        ("--provider", "rocm"),
        ("--threads", "0"),
        ("--log-format", "xml"),
    ],
)
def test_a_value_out_of_range_is_mistyped(retort: Retort, app: Server, words: tuple[str, ...]) -> None:
    assert retort("serve", *words).code == 2
    assert app.settings is None


def test_a_missing_default_repository_says_what_to_do(retort: Retort, app: Server, tmp_path: Path) -> None:
    (tmp_path / "models" / "repository").rmdir()
    outcome = retort("serve")
    assert outcome.code == 1
    assert outcome.err.startswith("retort: there is no folder models/repository: name one with --repository")
    assert app.settings is None


def test_a_model_file_that_is_none_says_what_to_do(
    retort: Retort, app: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "pipe.onnx")
    for name in ("nowhere.onnx", "pipe.onnx"):
        monkeypatch.setenv("RETORT_REPOSITORY", name)
        outcome = retort("serve")
        assert (outcome.code, app.settings) == (1, None)
        assert outcome.err.startswith(f"retort: there is no file {name}: name one as MODEL.onnx, or a folder")


def test_an_unknown_variable_is_a_failure_with_the_nearest_name(
    retort: Retort, app: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RETORT_HTTPPORT", "9000")
    outcome = retort("serve")
    assert (outcome.code, outcome.out) == (1, "")
    assert "RETORT_HTTPPORT is not a setting of retort; the nearest one is RETORT_HTTP_PORT." in outcome.err


def test_the_grpc_port_is_an_option(retort: Retort, app: Server) -> None:
    assert retort("serve", "--grpc-port", "9001").err == ""
    assert app.settings.grpc_port == 9001


def test_an_address_that_cannot_be_had_is_said_in_a_sentence(retort: Retort, app: Server) -> None:
    result = retort("serve", "--host", "192.0.2.1")
    assert result.code == 1
    assert "cannot listen on 192.0.2.1:8000: cannot assign requested address; choose another." in result.err
