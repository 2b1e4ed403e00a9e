"""`retort report` on the shipped digits: a table on standard output, a page in a file, a sentence when it cannot."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import models
from models.commands.report import app
from models.data import digits
from models.data.samples import Samples, to_npz

SHIPPED = Path(models.__file__).parent / "repository" / "digits"


@pytest.fixture
def test_npz(tmp_path: Path) -> Path:
    path = tmp_path / "test.npz"
    path.write_bytes(to_npz(digits.part("test")))
    return path


def test_the_table_has_a_line_for_each_version_and_cuts_no_cell() -> None:
    done = CliRunner().invoke(app, [str(SHIPPED)])
    assert done.exit_code == 0
    assert "…" not in done.stdout
    for path in SHIPPED.glob("*/card.json"):
        assert any(line.split()[0] == path.parent.name for line in done.stdout.splitlines() if line.strip())


def test_the_page_is_written_with_the_flips_of_the_test_set(tmp_path: Path, test_npz: Path) -> None:
    page = tmp_path / "digits.html"
    done = CliRunner().invoke(app, [str(SHIPPED), "--html", str(page), "--test", str(test_npz), "--flips", "1"])
    assert done.exit_code == 0, done.stderr
    assert "Of 600 inputs 2 were lost (the full version was right)" in page.read_text()


def test_another_test_set_than_the_cards_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "other.npz"
    other.write_bytes(to_npz(digits.part("development")))
    page = tmp_path / "digits.html"
    done = CliRunner().invoke(app, [str(SHIPPED), "--html", str(page), "--test", str(other)])
    assert done.exit_code == 1
    assert "these 197 rows are not the test set that the cards of digits name" in done.stderr
    assert not page.exists()


def test_a_test_set_without_labels_shows_no_flips_and_says_why(tmp_path: Path) -> None:
    bare = tmp_path / "bare.npz"
    bare.write_bytes(to_npz(Samples(digits.part("test").inputs)))
    page = tmp_path / "digits.html"
    done = CliRunner().invoke(app, [str(SHIPPED), "--html", str(page), "--test", str(bare)])
    assert done.exit_code == 0
    assert "The test set has no labels" in page.read_text()


@pytest.mark.parametrize("broken", ["nowhere", "empty", "card"])
def test_what_cannot_be_reported_on_is_said_in_one_sentence(tmp_path: Path, broken: str) -> None:
    model = tmp_path / "repository" / "m"
    if broken == "empty":
        (model / "1").mkdir(parents=True)
        shutil.copy(SHIPPED / "1" / "model.onnx", model / "1")
    if broken == "card":
        shutil.copytree(SHIPPED, model)
        (model / "1" / "card.json").chmod(0o644)
        (model / "1" / "card.json").write_text("{}")
    done = CliRunner().invoke(app, [str(model)])
    assert done.exit_code == 1
    assert done.stderr.startswith("retort: ")
    assert done.stderr.count("\n") == 1


def test_one_array_is_no_test_set(tmp_path: Path) -> None:
    np.save(tmp_path / "one.npy", np.arange(3))
    done = CliRunner().invoke(
        app, [str(SHIPPED), "--html", str(tmp_path / "r.html"), "--test", str(tmp_path / "one.npy")]
    )
    assert done.exit_code == 1
    assert "one.npy cannot be read as a test set" in done.stderr
