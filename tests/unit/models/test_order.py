"""What does not go together is refused before anything is made or written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models import order
from models.data.npz_files import BadData
from models.order import BadOrder, Files, How, Job, prepare
from models.publish import AlreadyPublished
from models.recipes import reading
from tests.unit.models import samples_of

INT8 = reading.named("int8-static")
DEFAULT = How()


@pytest.fixture
def net(tmp_path: Path) -> Path:
    (tmp_path / "net.onnx").write_bytes(samples_of.perceptron())
    samples_of.classified(tmp_path, samples_of.perceptron(), n=50)
    return tmp_path / "net.onnx"


def prepared(net: Path, files: dict[str, str] | None = None, how: How = DEFAULT, **more: Any) -> Job:
    given = {"calibration": "calibration.npz", "test": "test.npz"} if files is None else files
    arguments: dict[str, Any] = {"wanted": [INT8], "names": [], "version": None, **more}
    paths = Files(**{role: net.parent / name for role, name in given.items()})
    return prepare(net, net.parent / "repository" / "net", paths, how, **arguments)


def test_an_order_that_is_possible(net: Path) -> None:
    job = prepared(net)
    assert job.onnx == samples_of.perceptron()
    assert [(one.plan.name, one.version) for one in job.wanted] == [("int8-static", "1-int8-static")]
    setup = job.setup
    assert (job.full_version, setup.output, setup.task, setup.profile.name) == (
        "1",
        "logits",
        "classification",
        "default",
    )
    assert setup.ledger == net.parent / "repository" / ".net.ledger.jsonl"
    assert (
        setup.sets.data.source
        == "files calibration.npz, test.npz; 30% of the test file, by hash, are the development set"
    )
    assert {name: split.n for name, split in setup.sets.data.splits.items()} == {
        "calibration": 100,
        "development": 15,
        "test": 35,
    }
    assert not (net.parent / "repository").exists()


def test_overlaps_are_counted_in_what_the_card_says(net: Path) -> None:
    test = samples_of.xs(50, seed=1)
    samples_of.write(net.parent / "calibration.npz", {"x": np.concatenate([test["x"][:7], samples_of.xs(60)["x"]])})
    data = prepared(net).setup.sets.data
    assert (data.overlaps_removed, data.splits["calibration"].n) == (7, 60)


def test_the_task_follows_from_the_test_file(net: Path) -> None:
    xs = samples_of.xs(20)
    samples_of.write(net.parent / "targets.npz", xs, targets=np.ones((20, 5)))
    samples_of.write(net.parent / "bare.npz", xs)
    assert prepared(net, {"test": "targets.npz"}).setup.task == "regression"
    assert prepared(net, {"test": "bare.npz"}, How(task="embedding")).setup.task == "embedding"
    assert prepared(net, {"calibration": "bare.npz"}).setup.task == "classification"
    with pytest.raises(BadOrder, match=r"bare\.npz has neither labels nor targets; .* say --task embedding"):
        prepared(net, {"test": "bare.npz"})
    with pytest.raises(BadData, match=r"bare\.npz has no array 'labels', which --task classification wants"):
        prepared(net, {"test": "bare.npz"}, How(task="classification"))
    with pytest.raises(BadData, match=r"test\.npz has no array 'targets', which --task regression wants"):
        prepared(net, how=How(task="regression"))


def test_labels_are_held_against_the_models_classes(net: Path) -> None:
    samples_of.write(net.parent / "test.npz", samples_of.xs(9, seed=4), labels=np.full(9, 5))
    with pytest.raises(BadData, match="label 5 of row 0 names none of the 5 classes"):
        prepared(net)


def test_one_number_a_row_is_no_choice_of_classes(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(samples_of.two_inputs())
    samples_of.write(tmp_path / "test.npz", samples_of.prices(9), labels=np.zeros(9, int))
    with pytest.raises(BadOrder, match="Output 'price' gives 1 number a row, and no classes"):
        prepared(tmp_path / "net.onnx", {"test": "test.npz"})


def test_a_model_that_does_not_run_on_the_rows_says_so(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(samples_of.two_inputs())
    rows = samples_of.prices(9)
    samples_of.write(tmp_path / "test.npz", {**rows, "ids": rows["ids"] + 100}, targets=np.zeros((9, 1)))
    with pytest.raises(BadData, match="the model does not run on its first row"):
        prepared(tmp_path / "net.onnx", {"test": "test.npz"})


def test_there_must_be_samples(net: Path) -> None:
    with pytest.raises(BadOrder, match="There are no samples to measure on: give --calibration"):
        prepared(net, {})


def test_a_set_that_lies_wholly_in_the_test_set_is_refused(net: Path) -> None:
    samples_of.write(net.parent / "same.npz", samples_of.xs(50, seed=1))
    with pytest.raises(BadOrder, match="No calibration rows are left"):
        prepared(net, {"calibration": "same.npz", "test": "test.npz"})


def test_climbing_needs_development_rows(net: Path) -> None:
    with pytest.raises(BadOrder, match="--until-pass chooses on development rows"):
        prepared(net, {"calibration": "calibration.npz"}, How(until_pass=True))
    assert prepared(net, how=How(until_pass=True)).until_pass


def test_names_of_versions(net: Path) -> None:
    other = replace(INT8, name="other")
    job = prepared(net, wanted=[INT8, other], names=["1-int8"], version="3")
    assert [one.version for one in job.wanted] == ["1-int8", "3-other"]
    assert job.full_version == "3"
    for more, sentence in (
        ({"names": ["a", "b"]}, "2 names are given with --as for 1 recipes"),
        ({"names": ["1"]}, "Two versions would be called '1'"),
        ({"wanted": [INT8, INT8]}, "Two versions would be called '1-int8-static'"),
        ({"names": ["../x"]}, "'../x' cannot be a version"),
        ({"version": "a/b"}, "'a/b.*' cannot be a version"),
    ):
        with pytest.raises(BadOrder, match=sentence):
            prepared(net, **more)


def test_what_is_published_is_refused_before_anything_is_read(net: Path) -> None:
    (net.parent / "repository" / "net" / "1-int8-static").mkdir(parents=True)
    with pytest.raises(AlreadyPublished, match="net/1-int8-static is published already"):
        prepared(net)


def test_a_version_of_a_repository_keeps_its_id(net: Path) -> None:
    folder = net.parent / "repository" / "net" / "4"
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(net.read_bytes())
    job = prepare(folder, folder.parent, Files(calibration=net.parent / "calibration.npz"), How(), [INT8], [], None)
    assert (job.full_version, job.wanted[0].version) == ("4", "4-int8-static")


def test_without_a_test_set_the_card_will_say_so(net: Path) -> None:
    told = prepared(net, {"calibration": "calibration.npz"}).setup.not_verified
    assert told[:-1] == order.NOT_VERIFIED
    assert "there was no test set" in told[-1]


def test_the_whole_test_file_can_be_read_for_measuring_again(net: Path) -> None:
    samples, task, output = order.read_test(order.source.read(net), net.parent / "test.npz", None, None)
    assert (len(samples), task, output) == (50, "classification", "logits")


def test_a_model_of_fixed_rows_is_calibrated_on_whole_runs(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(samples_of.perceptron(rows=3))
    samples_of.write(tmp_path / "calibration.npz", samples_of.xs(100))
    job = prepared(tmp_path / "net.onnx", {"calibration": "calibration.npz"})
    assert job.setup.sets.data.splits["calibration"].n == 99
    assert job.wanted[0].plan.recipe.steps[1].arguments["calibration_rows"] == 3
