"""`retort compress` as its user meets it: files in, versions out, a table, an exit code, one sentence for a mistake."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer.testing

from models import compressing
from models.commands import compress as command
from models.evaluate.ledger import Ledger
from models.publish import AlreadyPublished
from models.recipes import reading
from service.core.errors import BadModel
from service.repository.layout import Repository
from tests.unit.models import samples_of

OUTLINE = b"summary: everything but the first layer in 8 bits\nsteps:\n  - preprocess\n"
SAFE = OUTLINE + b"  - int8_static: {exclude_nodes: [first]}\n"
CONV_ONLY = OUTLINE + b"  - int8_static: {op_types: [Conv]}\n"
LADDER = OUTLINE + b"  - int8_static\nladder:\n  - {exclude_worst: 1}\n"

Run = Callable[..., typer.testing.Result]


@pytest.fixture
def given(tmp_path: Path) -> Path:
    """A model and its samples: rows that 8 bits spoil unless the first layer is left alone."""
    (tmp_path / "net.onnx").write_bytes(samples_of.touchy())
    samples_of.write(tmp_path / "few.npz", samples_of.touching(60).inputs)
    test = samples_of.touching(900, seed=5)
    samples_of.write(tmp_path / "test.npz", test.inputs, labels=test.labels)
    for name, recipe in (("safe", SAFE), ("conv-only", CONV_ONLY), ("ladder", LADDER)):
        (tmp_path / f"{name}.yaml").write_bytes(recipe)
    return tmp_path


@pytest.fixture
def run(given: Path) -> Run:
    def invoke(*arguments: str, recipes: tuple[str, ...] = (), test: str | None = "test.npz") -> typer.testing.Result:
        command_line = [str(given / "net.onnx"), "--calibration", str(given / "few.npz"), "--runs", "5"]
        command_line += ["--publish", str(given / "repository" / "net")]
        command_line += [] if test is None else ["--test", str(given / test)]
        for recipe in recipes:
            command_line += ["--recipe", str(given / recipe) if recipe.endswith(".yaml") else recipe]
        return typer.testing.CliRunner().invoke(command.app, [*command_line, *arguments])

    return invoke


def published(given: Path) -> list[str]:
    return Repository(given / "repository").versions("net") if (given / "repository" / "net").exists() else []


def test_several_recipes_in_one_call_and_each_one_told(given: Path, run: Run) -> None:
    result = run("--licence", "CC0-1.0", recipes=("safe.yaml", "int8-static", "conv-only.yaml"))
    assert result.exit_code == command.FAILED
    assert published(given) == ["1", "1-int8-static", "1-safe"]
    safe, failed = (Repository(given / "repository").read_card("net", name) for name in ("1-safe", "1-int8-static"))
    assert safe is not None
    assert failed is not None
    assert (safe.verdict, failed.verdict, safe.licence) == ("pass", "fail", "CC0-1.0")
    lines = result.stdout.splitlines()
    assert lines[0].split()[:4] == ["version", "bytes", "ratio", "quality"]
    rows = {line.split()[0]: line for line in lines}
    assert rows["1"].endswith("full version")
    assert rows["1-safe"].endswith("pass")
    assert "x smaller" in rows["1-safe"]
    assert "1-int8-static: accuracy:" in result.stdout
    assert "1-conv-only: Recipe conv-only, step 2 of 2 (int8_static): int8_static finds no Conv" in result.stdout
    assert "1-safe: published, verdict pass" in result.stderr
    ledger = Ledger(given / "repository" / ".net.ledger.jsonl").entries()
    assert [entry.recipe for entry in ledger] == ["safe", "int8-static"]
    assert Repository(given / "repository").models() == ["net"]


@pytest.mark.slow
def test_a_recipe_that_does_not_apply_is_an_error_where_nothing_else_failed(given: Path, run: Run) -> None:
    result = run(recipes=("conv-only.yaml", "safe.yaml"))
    assert result.exit_code == command.ERROR
    assert published(given) == ["1", "1-safe"]
    assert "not made" in result.stdout


def test_all_passed_and_the_same_for_machines(given: Path, run: Run) -> None:
    result = run("--as", "1-int8", "--json", "--ledger", str(given / "own.jsonl"), recipes=("safe.yaml",))
    assert result.exit_code == 0
    told = json.loads(result.stdout)
    assert (told["model"], told["full"]["version"]) == ("net", "1")
    (variant,) = told["variants"]
    assert (variant["version"], variant["recipe"], variant["verdict"]) == ("1-int8", "safe", "pass")
    assert variant["speed"][0]["rows"] == 1
    assert [entry.recipe for entry in Ledger(given / "own.jsonl").entries()] == ["safe"]


@pytest.mark.slow
def test_the_ladder_finds_what_passes(given: Path, run: Run) -> None:
    result = run("--until-pass", recipes=("ladder.yaml",))
    assert result.exit_code == 0, result.output
    assert "ladder: as it stands: fail on the development set" in result.stdout
    card = Repository(given / "repository").read_card("net", "1-ladder")
    assert card is not None
    assert card.recipe is not None
    assert card.recipe.steps[1].arguments["exclude_nodes"] == ("first",)
    assert card.recipe.steps[2].arguments == {"rung": 1, "of": 1, "change": "exclude_worst 1"}


@pytest.mark.slow
def test_without_a_test_set_nothing_is_decided_and_agreement_is_told(given: Path, run: Run) -> None:
    result = run(recipes=("safe.yaml",), test=None)
    assert result.exit_code == command.FAILED
    card = Repository(given / "repository").read_card("net", "1-safe")
    assert card is not None
    assert card.verdict == "insufficient-data"
    assert card.quality[0].agreement is not None
    assert f"{card.quality[0].agreement:.2%}" in result.stdout
    assert not Ledger(given / "repository" / ".net.ledger.jsonl").entries()


def test_an_interruption_keeps_what_is_finished_and_nothing_else(
    given: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = compressing.chain.make

    def interrupted(plan: Any, *arguments: Any, **more: Any) -> Any:
        if plan.name == "conv-only":
            raise KeyboardInterrupt
        return real(plan, *arguments, **more)

    monkeypatch.setattr(compressing.chain, "make", interrupted)
    result = run(recipes=("safe.yaml", "conv-only.yaml", "int8-static"))
    assert result.exit_code == command.INTERRUPTED
    assert "published: 1-safe; not made: 1-conv-only, 1-int8-static." in result.stderr
    assert published(given) == ["1", "1-safe"]
    assert {path.name for path in (given / "repository" / "net").iterdir()} == {"1", "1-safe"}
    assert "1-safe" in result.stdout


def test_what_befalls_one_variant_stops_no_other(given: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    real = compressing.assemble.publish_variant

    def mishaps(made: Any, *arguments: Any) -> Any:
        if made.version == "1-taken":
            raise AlreadyPublished("net/1-taken is published already, with other content.")
        if made.version == "1-broken":
            raise BadModel("The model cannot be loaded.")
        return real(made, *arguments)

    monkeypatch.setattr(compressing.assemble, "publish_variant", mishaps)
    names = ("--as", "1-taken", "--as", "1-broken")
    result = run(*names, recipes=("safe.yaml", "safe.yaml", "safe.yaml"))
    assert result.exit_code == command.ERROR
    assert "1-taken: not made. net/1-taken is published already" in result.stderr
    assert "1-broken: not made. The model cannot be loaded." in result.stderr
    assert published(given) == ["1", "1-safe"]


@pytest.mark.slow
def test_another_choice_with_the_same_test_set_is_refused(given: Path, run: Run) -> None:
    assert run(recipes=("safe.yaml",)).exit_code == 0
    (given / "safe.yaml").write_bytes(SAFE.replace(b"[first]", b"[first], reduce_range: true"))
    result = run("--as", "1-other", recipes=("safe.yaml",))
    assert result.exit_code == command.ERROR
    assert "1-other: not made. Recipe 'safe' was already chosen with other arguments" in result.stderr
    assert published(given) == ["1", "1-safe"]


def test_a_card_learns_this_machines_figures_and_no_other_file_is_touched(given: Path, run: Run) -> None:
    assert run(recipes=("safe.yaml",)).exit_code == 0
    folder = given / "repository" / "net" / "1-safe"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    runner = typer.testing.CliRunner()
    again = ["--remeasure", "--runs", "5", "--test", str(given / "test.npz")]
    result = runner.invoke(command.app, [str(folder), *again])
    assert result.exit_code == 0, result.output
    after = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert {name for name in after if after[name] != before[name]} == {"card.json"}
    assert result.stdout.splitlines()[1].startswith("1-safe")
    assert Repository(given / "repository").read_version("net", "1-safe").card is not None
    other = runner.invoke(command.app, [str(folder), *again[:-1], str(given / "few.npz"), "--task", "embedding"])
    assert other.exit_code == command.ERROR
    assert "does not hold the rows that net/1-safe was judged on" in other.stderr


@pytest.mark.parametrize(
    ("arguments", "sentence", "code"),
    [
        (["--recipe", "int8-statik", "--publish", "r/net"], "There is no recipe 'int8-statik'; did you mean", 1),
        (["--recipe", "int8-static", "--publish", "r/net"], "There are no samples to measure on", 1),
        (["--publish", "r/net"], "Invalid value for --recipe: is needed", 2),
        (["--recipe", "int8-static"], "Invalid value for --publish: is needed: the folder", 2),
        (["--remeasure"], "Invalid value for --test: is needed with --remeasure", 2),
        (["--profile", "lax"], "--profile", 2),
        (["--no-such-option"], "No such option", 2),
    ],
)
def test_a_mistake_is_one_sentence(given: Path, arguments: list[str], sentence: str, code: int) -> None:
    result = typer.testing.CliRunner().invoke(command.app, [str(given / "net.onnx"), *arguments])
    assert result.exit_code == code
    assert sentence in " ".join(result.stderr.split())
    assert "Traceback" not in result.output


def test_an_input_is_needed() -> None:
    result = typer.testing.CliRunner().invoke(command.app, ["--recipe", "int8-static"])
    assert result.exit_code == 2
    assert "an ONNX file or a version's folder is expected" in " ".join(result.stderr.split())


def test_the_recipes_are_listed_with_what_they_are() -> None:
    runner = typer.testing.CliRunner()
    lines = runner.invoke(command.app, ["--list"]).stdout.splitlines()
    assert [line.split()[0] for line in lines] == reading.names()
    told = json.loads(runner.invoke(command.app, ["--list", "--json"]).stdout)
    assert told == [{"name": name, "summary": reading.named(name).summary} for name in reading.names()]


def test_the_help_shows_examples_and_exit_codes() -> None:
    text = typer.testing.CliRunner().invoke(command.app, ["--help"]).stdout
    assert "Exit codes:" in text
    assert ".MODEL.ledger.jsonl" in text
    assert np.all([option in text for option in ("--until-pass", "--remeasure", "--as", "--dev", "--ledger")])


def test_a_question_is_a_sentences_end(given: Path) -> None:
    (given / "models" / "net" / "1").mkdir(parents=True)
    (given / "models" / "net" / "1" / "model.onnx").write_bytes(b"")
    arguments = [str(given / "models" / "nett"), "--remeasure", "--test", str(given / "test.npz")]
    done = typer.testing.CliRunner().invoke(command.app, arguments)
    assert done.stderr.endswith("There is no model 'nett'; did you mean 'net'?\n")
