"""Small models of texts: ids and mask of any length, an attention over them, and a vector a position and a text."""

from __future__ import annotations

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

from service.core.contract import Array
from tests.unit.runtime.graphs import model, value

WORDS, WIDTH = 8, 4
IDS, MASK = TensorProto.INT64, ["N", "L"]
PAD = {"axis": 1, "inputs": {"ids": 0, "mask": 0}, "max_waste": 0.9}


def _constants() -> list:  # type: ignore[type-arg]
    table = np.random.default_rng(7).standard_normal((WORDS, WIDTH)).astype(np.float32)
    named = {
        "table": table,
        "one": np.float32(1),
        "far": np.float32(-1e9),
        "little": np.float32(1e-9),
        "positions": np.int64([1]),
        "queries": np.int64([1]),
        "values": np.int64([2]),
        "nothing": np.float32(0),
    }
    return [numpy_helper.from_array(np.asarray(array), name) for name, array in named.items()]


def _attention() -> list[NodeProto]:
    return [
        helper.make_node("Gather", ["table", "ids"], ["words"]),
        helper.make_node("Cast", ["mask"], ["live"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["words"], ["turned"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["words", "turned"], ["scores"]),
        helper.make_node("Sub", ["one", "live"], ["dead"]),
        helper.make_node("Mul", ["dead", "far"], ["away"]),
        helper.make_node("Unsqueeze", ["away", "queries"], ["away3"]),
        helper.make_node("Add", ["scores", "away3"], ["masked"]),
        helper.make_node("Softmax", ["masked"], ["weights"], axis=-1),
        helper.make_node("MatMul", ["weights", "words"], ["hidden"]),
    ]


def _masked_mean() -> list[NodeProto]:
    return [
        helper.make_node("Unsqueeze", ["live", "values"], ["live3"]),
        helper.make_node("Mul", ["hidden", "live3"], ["kept"]),
        helper.make_node("ReduceSum", ["kept", "positions"], ["sum"], keepdims=0),
        helper.make_node("ReduceSum", ["live", "positions"], ["counted"], keepdims=1),
        helper.make_node("Max", ["counted", "little"], ["count"]),
        helper.make_node("Div", ["sum", "count"], ["pooled"]),
    ]


def _of(nodes: list[NodeProto], hidden_length: str | None = "L") -> bytes:
    outputs = [
        value("hidden", TensorProto.FLOAT, ["N", hidden_length, WIDTH]),
        value("pooled", TensorProto.FLOAT, ["N", WIDTH]),
    ]
    return model(nodes, [value("ids", IDS, MASK), value("mask", IDS, MASK)], outputs, _constants())


def heeds_its_mask(hidden_length: str | None = "L") -> bytes:
    """Softmax attention and a mean, both over what the mask leaves."""
    return _of([*_attention(), *_masked_mean()], hidden_length)


def ignores_its_mask() -> bytes:
    """The same attention, but the mean is over all positions."""
    return _of([*_attention(), helper.make_node("ReduceMean", ["hidden", "positions"], ["pooled"], keepdims=0)])


def text(length: int, seed: int = 0, rows: int = 1) -> dict[str, Array]:
    """ids and mask [rows, length]; no filler."""
    generator = np.random.default_rng([seed, length])
    ids = generator.integers(1, WORDS, (rows, length))
    return {"ids": ids, "mask": np.ones_like(ids)}
