"""What the reader takes for granted about ONNX Runtime, held against the one that is installed.

External data that is given in memory is used for the main graph only; everywhere else it opens the path itself, and
that is why the reader refuses it there. A change of either fails here first.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from service.core.errors import BadModel
from service.repository.onnx_file import read_onnx_facts
from tests.unit.repository.onnx_models import WEIGHT, branch, bytes_field, external, model, value

GIVEN = WEIGHT.tobytes()
ON_DISK = (WEIGHT * 10).tobytes()


def load(data: bytes, files: Mapping[str, bytes]) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.add_external_initializers_from_files_in_memory(
        list(files), list(files.values()), [len(content) for content in files.values()]
    )
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def answer(data: bytes) -> np.ndarray:
    session = load(data, {"w.bin": GIVEN})
    feed = {"x": np.zeros((1, 4), np.float32)}
    if len(session.get_inputs()) > 1:
        feed["c"] = np.array(True)
    return session.run(None, feed)[0][0]


def condition() -> onnx.ValueInfoProto:
    return value("c", TensorProto.BOOL, [])


def with_if(then_branch: onnx.GraphProto, initializers: list[onnx.TensorProto]) -> bytes:
    same = helper.make_graph([helper.make_node("Identity", ["x"], ["z"])], "e", [], [value("z")])
    node = helper.make_node("If", ["c"], ["y"], then_branch=then_branch, else_branch=same)
    of = helper.make_graph([node], "g", [value("x"), condition()], [value("y")], initializers)
    return model(of).SerializeToString()


def served() -> dict[str, bytes]:
    add = helper.make_node("Add", ["x", "w"], ["y"])
    constant = helper.make_node("Constant", [], ["w"], value=external())
    captured = branch(external())
    del captured.initializer[:]
    return {
        "initializer": model(
            helper.make_graph([add], "g", [value("x")], [value("y")], [external()])
        ).SerializeToString(),
        "constant": model(helper.make_graph([constant, add], "g", [value("x")], [value("y")])).SerializeToString(),
        "captured by a branch": with_if(captured, [external()]),
    }


@pytest.mark.parametrize("place", served())
def test_what_the_reader_takes_is_read_from_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    monkeypatch.chdir(tmp_path)
    data = served()[place]
    assert read_onnx_facts(data).external_files == ("w.bin",)
    np.testing.assert_array_equal(answer(data), WEIGHT)
    Path("w.bin").write_bytes(ON_DISK)
    np.testing.assert_array_equal(answer(data), WEIGHT)


def test_what_the_reader_refuses_would_be_read_from_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("w.bin").write_bytes(ON_DISK)
    data = with_if(branch(external()), [])
    np.testing.assert_array_equal(answer(data), WEIGHT * 10)
    with pytest.raises(BadModel, match="save it inside the model"):
        read_onnx_facts(data)


def test_onnx_runtime_prefers_its_own_format_to_the_one_that_was_read() -> None:
    good = served()["initializer"]
    load(good, {"w.bin": GIVEN})
    with pytest.raises(Exception, match="ORT model verification failed"):
        load(bytes_field(2, b"abORTM") + good, {"w.bin": GIVEN})
