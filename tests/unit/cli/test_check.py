"""`retort check`: one line a version, and an exit code that says whether all of them can be served."""

from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from service.repository.folder import Folder
from tests.unit.cli.conftest import Retort


def doubling() -> bytes:
    """A graph that doubles each row of `x` into `y`, both float32 of (batch, 2)."""
    shape = ["batch", 2]
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "x"], ["y"])],
        "doubling",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
    )
    return onnx.helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9).SerializeToString()


def written(root: Path, model: str, version: str, *, factor: float | None = None) -> None:
    """A version of the doubling graph, with golden cases that claim `factor` where one is given."""
    folder = root / model / version
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(doubling())
    if factor is not None:
        rows = np.arange(64, dtype=np.float32).reshape(32, 2)
        np.savez(folder / "golden.npz", **{"input/x": rows, "output/y": rows * np.float32(factor)})


@pytest.fixture
def untried(retort: Retort, monkeypatch: pytest.MonkeyPatch) -> Retort:
    """`retort` without the child process that a trial costs."""
    monkeypatch.setenv("RETORT_TRIAL_MEMORY_BYTES", "0")
    return retort


def test_versions_that_can_be_served_are_ok(untried: Retort, tmp_path: Path) -> None:
    written(tmp_path, "double", "1", factor=2)
    written(tmp_path, "double", "2")
    outcome = untried("check", str(tmp_path))
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.splitlines() == [
        "double 1: ok, 32 golden rows hold, largest difference 0",
        "double 2: ok, no golden cases",
    ]


def test_broken_versions_are_named_with_the_reason_and_the_others_are_checked_too(
    untried: Retort, tmp_path: Path
) -> None:
    written(tmp_path, "bytes", "1")
    (tmp_path / "bytes" / "1" / "model.onnx").write_bytes(b"\xff" * 100)
    written(tmp_path, "double", "1", factor=3)
    written(tmp_path, "double", "2", factor=2)
    written(tmp_path, "yaml", "1")
    (tmp_path / "yaml" / "model.yaml").write_text("max_batch: 3")
    outcome = untried("check", str(tmp_path))
    assert (outcome.code, outcome.err) == (1, "retort: 3 of 4 versions cannot be served.\n")
    lines = outcome.out.splitlines()
    assert lines[0].startswith("bytes 1: model.onnx is not an ONNX file")
    assert lines[1].startswith("double 1: the golden cases do not hold: output 'y'")
    assert lines[2].startswith("double 2: ok")
    assert lines[3].startswith("yaml 1: yaml/model.yaml")
    assert "max_batch_size" in lines[3]


@pytest.mark.parametrize(("wanted", "broken"), [("active: 9", 2), ("versions: [1, 9]", 1), ("versions: [1]", 0)])
def test_a_model_that_names_a_version_it_does_not_have_is_told(
    untried: Retort, tmp_path: Path, wanted: str, broken: int
) -> None:
    written(tmp_path, "double", "1")
    (tmp_path / "double" / "model.yaml").write_text(wanted)
    outcome = untried("check", str(tmp_path))
    told = "double: its configuration names version '9', which it does not have"
    assert (told in outcome.out.splitlines()) == bool(broken)
    assert outcome.err == (f"retort: {broken} of 2 versions cannot be served.\n" if broken else "")
    assert outcome.code == bool(broken)


def test_a_model_without_versions_is_told_beside_sound_ones(untried: Retort, tmp_path: Path) -> None:
    written(tmp_path, "double", "1")
    (tmp_path / "empty").mkdir()
    outcome = untried("check", str(tmp_path))
    assert (outcome.code, outcome.err) == (1, "retort: 1 of 2 versions cannot be served.\n")
    assert outcome.out.splitlines()[1] == "empty: it has no version with a model.onnx"


def test_a_model_whose_folder_cannot_be_opened_hides_no_other(
    untried: Retort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path, "closed", "1")
    written(tmp_path, "double", "1")
    opened = Folder.child

    def refused(folder: Folder, name: str) -> Folder:
        if name == "closed":
            raise PermissionError(errno.EACCES, "Permission denied")
        return opened(folder, name)

    monkeypatch.setattr(Folder, "child", refused)
    outcome = untried("check", str(tmp_path))
    assert (outcome.code, outcome.err) == (1, "retort: 1 of 2 versions cannot be served.\n")
    assert outcome.out.splitlines() == [
        "closed: closed cannot be opened: permission denied.",
        "double 1: ok, no golden cases",
    ]


def test_nothing_to_check_is_a_failure(untried: Retort, tmp_path: Path) -> None:
    outcome = untried("check", str(tmp_path))
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err == f"retort: {tmp_path} holds no version of any model: it must hold MODEL/VERSION/model.onnx.\n"


def test_a_version_is_tried_in_a_child_process_and_nothing_is_written(
    retort: Retort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = tmp_path / "state"
    monkeypatch.setenv("XDG_STATE_HOME", str(state))
    monkeypatch.setenv("RETORT_TRIAL_MEMORY_BYTES", "1")
    written(tmp_path / "repository", "double", "1")
    outcome = retort("check", str(tmp_path / "repository"))
    assert outcome.code == 1
    assert "double 1: version '1' of model 'double' cannot be served: " in outcome.out
    assert not state.exists()


def test_a_wrong_setting_is_a_failure(retort: Retort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETORT_THREADS", "many")
    outcome = retort("check", str(tmp_path))
    assert outcome.code == 1
    assert "RETORT_THREADS is 'many'" in outcome.err


def test_a_folder_that_is_not_there_is_mistyped(retort: Retort) -> None:
    assert retort("check", "no-such-folder").code == 2


def test_a_triton_configuration_is_checked_too(untried: Retort, tmp_path: Path) -> None:
    written(tmp_path, "double", "1")
    config = tmp_path / "double" / "config.pbtxt"
    config.write_text('metric_tags { key: "a" value: "b" }')
    outcome = untried("check", str(tmp_path))
    assert (outcome.code, outcome.out) == (0, "double 1: ok, no golden cases\n")
    assert "'metric_tags' has no effect here" in outcome.err
    config.write_text("max_batch: 4")
    outcome = untried("check", str(tmp_path))
    assert outcome.code == 1
    assert "double/config.pbtxt, line 1: ModelConfig has no field 'max_batch'" in outcome.out
    config.write_text('input [ { name: "w" data_type: TYPE_FP32 dims: [ 4 ] } ]')
    assert "is not in the graph" in untried("check", str(tmp_path)).out


def test_a_mistake_in_a_runner_is_told_rather_than_that_there_is_no_version(untried: Retort, tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "model.yaml").write_text("runner: {triton: {url: 127.0.0.1:1, timeout: 3}}\n")
    outcome = untried("check", str(tmp_path))
    assert (outcome.code, outcome.err) == (1, "retort: 1 of 1 versions cannot be served.\n")
    assert outcome.out.startswith("far: ") and "did you mean 'timeout_s'?" in outcome.out
