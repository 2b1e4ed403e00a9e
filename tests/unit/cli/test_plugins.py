"""Commands of other packages: added when needed, imported no sooner, and harmless when broken."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from service.cli import command_line
from service.cli.plugins import GROUP, installed
from tests.unit.cli.conftest import Retort

GOOD = """
import typer
app = typer.Typer()

@app.command("compress")
def compress(name: str) -> None:
    "Make variants."
    print(f"compressed {name}")
"""


@pytest.fixture
def plug_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Three installed plug-ins: one good, one that cannot be imported, one that is no typer app."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "good_plugin.py").write_text(GOOD)
    (tmp_path / "broken_plugin.py").write_text("raise RuntimeError('no torch here')")
    (tmp_path / "odd_plugin.py").write_text("app = 3")
    points = [
        EntryPoint("compress", "good_plugin:app", GROUP),
        EntryPoint("report", "broken_plugin:app", GROUP),
        EntryPoint("train", "odd_plugin:app", GROUP),
    ]
    monkeypatch.setattr(command_line, "installed", lambda: points)
    yield
    sys.modules.pop("good_plugin", None)


@pytest.mark.usefixtures("plug_in")
def test_a_plug_in_is_a_command_like_the_others(retort: Retort) -> None:
    outcome = retort("compress", "digits")
    assert (outcome.code, outcome.out, outcome.err) == (0, "compressed digits\n", "")


@pytest.mark.usefixtures("plug_in")
def test_the_help_lists_plug_ins_and_warns_of_the_broken_ones(retort: Retort) -> None:
    outcome = retort("--help")
    assert outcome.code == 0
    assert "\n  compress  Make variants." in outcome.out
    assert outcome.err.splitlines() == [
        "retort: warning: the command 'report' cannot be loaded from broken_plugin:app: no torch here.",
        "retort: warning: the command 'train' cannot be loaded: odd_plugin:app is no typer app.",
    ]


@pytest.mark.usefixtures("plug_in")
def test_our_own_commands_import_no_plug_in(retort: Retort) -> None:
    outcome = retort("swap", "--help")
    assert (outcome.code, outcome.err) == (0, "")
    assert "good_plugin" not in sys.modules


@pytest.mark.usefixtures("plug_in")
def test_asking_for_a_broken_plug_in_says_why(retort: Retort) -> None:
    outcome = retort("report", "digits")
    assert outcome.code == 2
    assert "no torch here" in outcome.err


def test_a_plug_in_cannot_replace_one_of_our_commands(
    retort: Retort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "thief_plugin.py").write_text(GOOD.replace('"compress"', '"swap"').replace("Make variants", "Stolen"))
    monkeypatch.setattr(command_line, "installed", lambda: [EntryPoint("swap", "thief_plugin:app", GROUP)])
    assert "Stolen" not in retort("swap", "--help").out


def test_the_installed_plug_ins_are_sorted_by_name() -> None:
    names = [point.name for point in installed()]
    assert names == sorted(names)
