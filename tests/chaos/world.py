"""The repository that is abused: models that are swapped, come and go, take their time, or lose their process."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import yaml
from onnx import TensorProto, helper, numpy_helper

from tests.unit.runtime import graphs
from tests.wire.digits import ANSWERS, DIGITS, TOLERANCE

SWAPPED, VISITOR, SLOW, ISOLATED = "digits", "visitor", "slow", "isolated"
BROKEN = "1-broken"
_TURN = 200  # rows and columns of what a slow request multiplies, again and again


def build(repository: Path) -> Path:
    """Writes all models below `repository` and returns it."""
    digits = repository / SWAPPED
    shutil.copytree(DIGITS, digits)
    _configure(digits, versions="active", threads=1)
    shutil.copytree(DIGITS / "1-int8", digits / BROKEN)
    with (digits / BROKEN / "model.onnx").open("r+b") as file:
        file.truncate(1000)
    _one_file(repository / VISITOR, threads=1)
    _one_file(repository / ISOLATED, threads=1, isolation="process")
    slow = repository / SLOW / "1"
    slow.mkdir(parents=True)
    (slow / "model.onnx").write_bytes(slow_model())
    return repository


def _one_file(model: Path, **config: object) -> None:
    (model / "1").mkdir(parents=True)
    shutil.copy(DIGITS / "1" / "model.onnx", model / "1" / "model.onnx")
    (model / "model.yaml").write_text(yaml.safe_dump(config))


def _configure(model: Path, **changed: object) -> None:
    file = model / "model.yaml"
    file.write_text(yaml.safe_dump({**yaml.safe_load(file.read_text()), **changed}))


def slow_model() -> bytes:
    """Turns int64 [N, 1] -> y float32 [N, 1]; the most of them says how often a matrix is multiplied, 0.2 ms each."""
    weights = numpy_helper.from_array(np.eye(_TURN, dtype=np.float32), "w")
    body = helper.make_graph(
        [helper.make_node("MatMul", ["a", "w"], ["next"]), helper.make_node("Identity", ["going"], ["on"])],
        "body",
        [
            graphs.value("turn", TensorProto.INT64, []),
            graphs.value("going", TensorProto.BOOL, []),
            graphs.value("a", TensorProto.FLOAT, None),
        ],
        [graphs.value("on", TensorProto.BOOL, []), graphs.value("next", TensorProto.FLOAT, None)],
    )
    nodes = [
        helper.make_node("ReduceMax", ["turns"], ["most"], keepdims=0),
        helper.make_node("Loop", ["most", "", "w"], ["end"], body=body),
        helper.make_node("ReduceMax", ["end"], ["one"], keepdims=0),
        helper.make_node("Cast", ["turns"], ["rows"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["rows", "one"], ["y"]),
    ]
    inputs = [graphs.value("turns", TensorProto.INT64, ["N", 1])]
    return graphs.model(nodes, inputs, [graphs.value("y", TensorProto.FLOAT, ["N", 1])], [weights])


def is_right(version: str, row: int, logits: object) -> bool:
    """Whether `logits` are what `version` of the swapped model answers to golden row `row`."""
    return bool(np.abs(np.ravel(np.asarray(logits, np.float32)) - ANSWERS[version][row].ravel()).max() < TOLERANCE)
