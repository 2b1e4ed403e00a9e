"""What a search fails with is a sentence and exit code 1, never a traceback."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from loadtests.commands.tune import app
from loadtests.generator.process import GeneratorDied
from loadtests.rows import BadRows
from loadtests.server import CannotLoad
from loadtests.tune import search
from loadtests.tune.model_yaml import BadYaml


@pytest.mark.parametrize("option", [["--seed", "-1"], ["--rate", "inf"], ["--rate", "nan"]], ids=" ".join)
def test_a_number_that_nothing_can_be_made_of_is_refused(tmp_path: Path, option: list[str]) -> None:
    (tmp_path / "m").mkdir()
    seen = CliRunner().invoke(app, ["m", "--repository", str(tmp_path), "--objective", "latency", *option])
    assert seen.exit_code == 2 and option[0] in seen.output


@pytest.mark.parametrize(
    "error", [CannotLoad("it does."), BadRows("it does."), BadYaml("it does."), GeneratorDied("it does.")], ids=repr
)
def test_every_failure_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fails(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(search, "search", fails)
    (tmp_path / "m").mkdir()
    seen = CliRunner().invoke(app, ["m", "--repository", str(tmp_path)])
    assert (seen.exit_code, seen.output.strip()) == (1, "retort: it does.")


def test_a_version_that_is_not_there_is_told_before_a_server_starts(tmp_path: Path) -> None:
    (tmp_path / "m" / "1").mkdir(parents=True)
    seen = CliRunner().invoke(app, ["m", "--repository", str(tmp_path), "--version", "9"])
    assert (seen.exit_code, seen.output.strip()) == (1, f"retort: model 'm' has no version '9' in {tmp_path}.")
