"""A model is read whole, wherever its weights lie, and what cannot be served is refused in one sentence."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from models import source
from models.source import BadSource
from tests.unit.models import samples_of


def stored_outside(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    proto = onnx.load_from_string(samples_of.perceptron())
    onnx.save_model(
        proto, path, save_as_external_data=True, all_tensors_to_one_file=True, location="w.data", size_threshold=0
    )
    return path


def test_a_file_is_taken_as_its_very_bytes(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(samples_of.two_inputs())
    read = source.read(tmp_path / "net.onnx")
    assert read.onnx == samples_of.two_inputs()
    assert [spec.name for spec in read.inputs] == ["ids", "numbers"]
    assert (read.outputs[0].name, read.version, read.fixed_rows) == ("price", None, None)


def test_weights_beside_the_file_are_taken_in(tmp_path: Path) -> None:
    path = stored_outside(tmp_path / "net.onnx")
    read = source.read(path)
    (tmp_path / "w.data").unlink()
    inputs = samples_of.xs(4)
    expected = samples_of.answers(samples_of.perceptron(), inputs)["logits"]
    assert (samples_of.answers(read.onnx, inputs)["logits"] == expected).all()
    with pytest.raises(BadSource, match=r"no readable file 'w\.data'"):
        source.read(path)


def test_a_version_is_read_from_its_folder(tmp_path: Path) -> None:
    stored_outside(tmp_path / "repository" / "net" / "7" / "model.onnx")
    read = source.read(tmp_path / "repository" / "net" / "7")
    assert read.version == "7"
    assert samples_of.answers(read.onnx, samples_of.xs(2))["logits"].shape == (2, 5)


def test_a_version_of_another_file_name_is_found_by_its_configuration(tmp_path: Path) -> None:
    folder = tmp_path / "repository" / "net"
    (folder / "1").mkdir(parents=True)
    (folder / "1" / "own.onnx").write_bytes(samples_of.perceptron())
    (folder / "config.pbtxt").write_text('backend: "onnxruntime"\ndefault_model_filename: "own.onnx"\n')
    assert source.read(folder / "1").onnx == samples_of.perceptron()


def test_what_cannot_be_read_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(BadSource, match=r"There is no file .*none\.onnx"):
        source.read(tmp_path / "none.onnx")
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    with pytest.raises(BadSource, match=r"bad\.onnx: .*is not an ONNX file or is damaged") as refusal:
        source.read(tmp_path / "bad.onnx")
    assert "\n" not in str(refusal.value)
    (tmp_path / "repository" / "net" / "1").mkdir(parents=True)
    with pytest.raises(BadSource, match=r"net/1 has no readable file 'model\.onnx'"):
        source.read(tmp_path / "repository" / "net" / "1")


def test_a_model_s_folder_is_told_from_a_version_s(tmp_path: Path) -> None:
    folder = tmp_path / "net"
    for name in ("1", "1/weights", "2"):
        (folder / name).mkdir(parents=True)
    (folder / "1" / "weights" / "spare.onnx").write_bytes(samples_of.perceptron())
    (folder / "1" / "model.onnx").write_bytes(samples_of.perceptron())
    with pytest.raises(BadSource, match=r"net is a model's folder: name one of its versions, as in .*net/1\.$"):
        source.read(folder)
    assert source.read(folder / "1").version == "1"


def test_fixed_rows_are_seen(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(samples_of.perceptron(rows=4))
    assert source.read(tmp_path / "net.onnx").fixed_rows == 4


def test_the_judged_output_is_the_only_one_or_the_one_that_is_named(tmp_path: Path) -> None:
    (tmp_path / "one.onnx").write_bytes(samples_of.perceptron())
    (tmp_path / "two.onnx").write_bytes(samples_of.two_outputs())
    one, two = (source.read(tmp_path / f"{name}.onnx") for name in ("one", "two"))
    assert source.judged_output(one, None).name == "logits"
    assert source.judged_output(two, "r").name == "r"
    with pytest.raises(BadSource, match="has the outputs logits, r: say with --output which one is judged"):
        source.judged_output(two, None)
    with pytest.raises(BadSource, match="has no output 'logit'; did you mean 'logits'"):
        source.judged_output(two, "logit")


@pytest.mark.parametrize("name", [".hidden", "a b", "a:b"])
def test_a_model_has_a_name_that_the_gateway_takes(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadSource, match="cannot be a model's folder"):
        source.model_folder(tmp_path / name)
    assert source.model_folder(tmp_path / "fine-1.x") == tmp_path / "fine-1.x"


def test_a_file_is_no_models_folder(tmp_path: Path) -> None:
    (tmp_path / "net").write_bytes(b"")
    with pytest.raises(BadSource, match="is a file, not a model's folder"):
        source.model_folder(tmp_path / "net")


@pytest.mark.parametrize("graph", ["model.onnx", "model.deep"])
def test_a_models_folder_is_not_taken_for_the_one_above_or_below_it(tmp_path: Path, graph: str) -> None:
    version = tmp_path / "models" / "net" / "1"
    version.mkdir(parents=True)
    (version / graph).write_bytes(b"")
    assert source.model_folder(version.parent) == version.parent
    with pytest.raises(
        BadSource, match=r"models is a folder of models: name a model's folder in it, such as .*/models/net\."
    ):
        source.model_folder(tmp_path / "models")
    with pytest.raises(BadSource, match=r"net/1 is a version's folder: name the model's, .*/models/net\."):
        source.model_folder(version)
