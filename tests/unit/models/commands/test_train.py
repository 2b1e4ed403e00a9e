"""`retort train`: what it refuses, what it prints, and its exit codes, on a family that is made in a moment."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

pytest.importorskip("torch", reason="torch comes with requirements/torch.txt")
pytest.importorskip("onnxscript", reason="onnxscript comes with the workshop extra")

from models.commands import train as command
from models.data.mnist import NoData
from models.evaluate.ledger import Ledger
from models.families import making, registry
from tests.unit.models.families import small


def run(*arguments: str) -> Result:
    return CliRunner().invoke(command.app, list(arguments))


@pytest.fixture
def families(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(registry, "families", lambda _: (small.family(small.INT8),))
    yield


def asked(folder: Path, *more: str) -> tuple[str, ...]:
    return (
        "digits",
        "--publish",
        str(folder / "models" / "small"),
        "--work",
        str(folder / "work"),
        "--runs",
        "5",
        *more,
    )


def test_a_run_publishes_prints_a_table_and_writes_the_result(tmp_path: Path, families: None) -> None:
    result = tmp_path / "result.json"
    done = run(*asked(tmp_path, "--result", str(result)))
    assert done.exit_code in (0, command.NOT_PASSED), done.output
    lines = [line.split()[0] for line in done.stdout.splitlines()]
    assert lines == ["version", "1", "1-int8"]
    document = json.loads(result.read_text())
    assert [version["version"] for version in document["versions"]] == ["1", "1-int8"]
    assert (document["versions"][1]["verdict"] == "pass") == (done.exit_code == 0)
    assert len(Ledger(tmp_path / "models" / ".small.ledger.jsonl").entries()) == 2


def test_what_is_no_models_folder_is_refused_before_anything_is_written(tmp_path: Path, families: None) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "small").write_text("a file")
    done = run(*asked(tmp_path))
    assert done.exit_code == command.CANNOT
    assert done.stderr.endswith("small is a file, not a model's folder.\n")
    assert [path.name for path in tmp_path.rglob("*")] == ["models", "small"]


def test_progress_and_outcomes_go_to_the_error_stream(tmp_path: Path, families: None) -> None:
    done = run(*asked(tmp_path))
    assert "1-int8: begins, 2 steps" in done.stderr
    assert "1: published" in done.stderr
    assert "begins" not in done.stdout


def test_a_variant_that_fails_is_published_and_the_exit_code_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "families", lambda _: (small.family(small.COPIED, small.REFUSED),))
    done = run(*asked(tmp_path))
    assert done.exit_code == command.NOT_PASSED
    assert (tmp_path / "models" / "small" / "1-copy" / "card.json").is_file()
    assert "1-refused: could not be made: nothing could be cut." in done.stderr


def test_one_that_cannot_be_made_is_an_error_where_all_others_passed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "families", lambda _: (small.family(small.REFUSED),))
    assert run(*asked(tmp_path)).exit_code == command.CANNOT


def test_an_interruption_says_how_to_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(making, "carry_out", interrupted)
    done = run(*asked(tmp_path))
    assert done.exit_code == command.INTERRUPTED == 130
    assert done.stderr == "retort: interrupted; the same command goes on where this one was.\n"


def test_missing_data_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def without(*_: object) -> None:
        raise NoData("mnist is not shipped: name a folder.")

    monkeypatch.setattr(making, "carry_out", without)
    done = run(*asked(tmp_path))
    assert (done.exit_code, done.stderr) == (command.CANNOT, "retort: mnist is not shipped: name a folder.\n")


def test_real_mnist_without_its_folder_is_one_sentence(tmp_path: Path) -> None:
    done = run("mnist", "--publish", str(tmp_path / "mnist"), "--work", str(tmp_path / "work"))
    assert done.exit_code == command.CANNOT
    assert done.stderr.startswith("retort: mnist is not shipped: name a folder that holds mnist_train.npz")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("digitz", "--publish", "x"), "'digitz' is none of"),
        (("digits",), "--publish"),
        (("digits", "--publish", "x", "--result", "a.txt"), "must end with .json or .md"),
        (("digits", "--publish", "x", "--runs", "0"), "--runs"),
        (("digits", "--publish", "x", "--processes", "0"), "--processes"),
        (("digits", "--publish", "x", "--profile", "lax"), "--profile"),
        (("digits", "--publish", "x", "--only", "1-int9"), "'1-int9' is no version of it"),
        (("digits", "--publish", "x", "--frobnicate"), "--frobnicate"),
    ],
)
def test_a_mistyped_option_is_named(
    arguments: tuple[str, ...], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = run(*arguments)
    assert done.exit_code == 2
    assert words in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_result_that_cannot_be_written_is_said(tmp_path: Path, families: None) -> None:
    done = run(*asked(tmp_path, "--result", str(tmp_path / "none" / "result.md")))
    assert done.exit_code == command.CANNOT
    assert "retort: the result cannot be written:" in done.stderr


def test_the_help_names_every_exit_code() -> None:
    for code in ("0 ", "1 ", "2 ", "3 ", "130 "):
        assert any(line.startswith(f"  {code}") for line in command.HELP.splitlines())
    assert isinstance(command.app, typer.Typer)


def test_every_family_has_its_name_and_its_versions() -> None:
    for name in registry.NAMES:
        families = registry.families(name)
        assert {family.name for family in families} == {name}
        versions = making.versions(families)
        assert len(set(versions)) == len(versions)
