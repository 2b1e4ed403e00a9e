"""`retort` itself: what it lists, how it ends, and how little it imports for that."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.unit.cli.conftest import Retort, ScriptedServer

COMMANDS = ("serve", "check", "models", "infer", "swap", "rollback")


def test_the_help_lists_every_command(retort: Retort) -> None:
    outcome = retort("--help")
    assert outcome.code == 0
    assert outcome.err == ""
    for command in COMMANDS:
        assert f"\n  {command} " in outcome.out
    assert "..." not in outcome.out.partition("Commands:")[2], "a summary is cut off"


def test_without_a_command_it_shows_the_help(retort: Retort) -> None:
    outcome = retort()
    assert "Commands:" in outcome.out + outcome.err


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_teaches_by_an_example_and_names_its_exit_codes(retort: Retort, command: str) -> None:
    outcome = retort(command, "--help")
    assert outcome.code == 0
    assert f"  retort {command}" in outcome.out
    for code in ("0", "1", "2"):
        assert f"\n    {code}  " in outcome.out
    assert "Print" in outcome.out


@pytest.mark.parametrize("command", COMMANDS)
def test_a_mistyped_option_ends_with_2(retort: Retort, command: str) -> None:
    outcome = retort(command, "--no-such-option")
    assert outcome.code == 2
    assert "--no-such-option" in outcome.err
    assert outcome.out == ""


def test_a_mistyped_command_ends_with_2_and_the_nearest_one(retort: Retort) -> None:
    outcome = retort("swpa", "digits", "2")
    assert outcome.code == 2
    assert "'swap'" in outcome.err


def test_a_failure_is_one_sentence_on_standard_error(retort: Retort, server: ScriptedServer) -> None:
    server.on("POST /v2/repository/models/digits/rollback", {"error": "there was no swap"}, status=404)
    outcome = retort("rollback", "digits", "--url", server.url)
    assert (outcome.code, outcome.out, outcome.err) == (1, "", "retort: there was no swap\n")


def test_the_version_is_the_package_s(retort: Retort) -> None:
    outcome = retort("--version")
    assert outcome.code == 0
    assert outcome.out.startswith("retort 0.")


def test_the_help_imports_nothing_heavy() -> None:
    program = (
        "import sys; sys.argv = ['retort', '--help']\n"
        "from service.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print(sorted({name.split('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    imported = done.stdout.splitlines()[-1]
    for package in ("numpy", "pydantic", "httpx", "rich", "fastapi", "onnxruntime", "uvicorn", "yaml"):
        assert f"'{package}'" not in imported


def test_the_module_runs_the_command() -> None:
    done = subprocess.run([sys.executable, "-m", "service", "--version"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout[:7]) == (0, "retort ")
