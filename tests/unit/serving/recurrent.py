"""Stateful versions, as a recurrent network is exported: states go in and come out, and the server must carry them."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from service.core.contract import Array
from service.runtime.onnx import OnnxRunner
from service.runtime.providers import RunnerOptions
from tests.unit.runtime.graphs import model, value

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
HIDDEN = 8

SUMS: dict[str, Any] = {"states": [{"input": "h", "output": "h_out"}]}
GRU: dict[str, Any] = {"states": [{"input": "h0", "output": "h1"}]}
VOICE: dict[str, Any] = {"states": [{"input": "state", "output": "stateN"}]}


def sums(factor: float = 1.0) -> bytes:
    """y = h + factor * x for x [N, 4]; y is the next h."""
    nodes = [
        helper.make_node("Mul", ["x", "factor"], ["scaled"]),
        helper.make_node("Add", ["h", "scaled"], ["y"]),
        helper.make_node("Identity", ["y"], ["h_out"]),
    ]
    return model(
        nodes,
        [value("x", FLOAT, ["N", 4]), value("h", FLOAT, ["N", 4])],
        [value("y", FLOAT, ["N", 4]), value("h_out", FLOAT, ["N", 4])],
        [numpy_helper.from_array(np.float32([factor]), "factor")],
    )


def gru() -> bytes:
    """A GRU cell: x [N, 4] and h0 [1, N, 8] give y [N, 8] and h1 [1, N, 8], so that the state's rows are on axis 1."""
    rng = np.random.default_rng(3)
    weights = [
        numpy_helper.from_array(rng.standard_normal((1, 3 * HIDDEN, 4)).astype(np.float32), "w"),
        numpy_helper.from_array(rng.standard_normal((1, 3 * HIDDEN, HIDDEN)).astype(np.float32), "r"),
        numpy_helper.from_array(np.int64([0]), "zero"),
    ]
    nodes = [
        helper.make_node("Unsqueeze", ["x", "zero"], ["steps"]),
        helper.make_node("GRU", ["steps", "w", "r", "", "", "h0"], ["", "h1"], hidden_size=HIDDEN),
        helper.make_node("Squeeze", ["h1", "zero"], ["y"]),
    ]
    return model(
        nodes,
        [value("x", FLOAT, ["N", 4]), value("h0", FLOAT, [1, "N", HIDDEN])],
        [value("y", FLOAT, ["N", HIDDEN]), value("h1", FLOAT, [1, "N", HIDDEN])],
        weights,
    )


def voice() -> bytes:
    """Shaped as Silero's voice detector: input [batch, 512], state [2, batch, 128], sr a scalar; output and stateN."""
    rng = np.random.default_rng(4)
    weights = [
        numpy_helper.from_array((rng.standard_normal((512, 128)) / 20).astype(np.float32), "w"),
        numpy_helper.from_array(np.float32([16_000]), "rate"),
        numpy_helper.from_array(np.int64([0]), "zero"),
        numpy_helper.from_array(np.int64([1]), "one"),
    ]
    nodes = [
        helper.make_node("MatMul", ["input", "w"], ["seen"]),
        helper.make_node("Cast", ["sr"], ["sr_float"], to=FLOAT),
        helper.make_node("Div", ["sr_float", "rate"], ["speed"]),
        helper.make_node("Mul", ["seen", "speed"], ["scaled"]),
        helper.make_node("Unsqueeze", ["scaled", "zero"], ["lifted"]),
        helper.make_node("Add", ["state", "lifted"], ["mixed"]),
        helper.make_node("Tanh", ["mixed"], ["stateN"]),
        helper.make_node("ReduceMean", ["stateN"], ["mean"], axes=[0, 2], keepdims=0),
        helper.make_node("Unsqueeze", ["mean", "one"], ["output"]),
    ]
    return model(
        nodes,
        [value("input", FLOAT, ["batch", 512]), value("state", FLOAT, [2, "batch", 128]), value("sr", INT64, [])],
        [value("output", FLOAT, ["batch", 1]), value("stateN", FLOAT, [2, "batch", 128])],
        weights,
        opset=17,
    )


def controlled(corrid: int = TensorProto.UINT64) -> bytes:
    """y = x, and every control comes back as an output of its own."""
    names = {"start": FLOAT, "end": TensorProto.BOOL, "ready": TensorProto.INT32, "corrid": corrid}
    return model(
        [helper.make_node("Identity", [name], [f"{name}_seen"]) for name in ("x", *names)],
        [value("x", FLOAT, ["N", 4]), *(value(name, kind, ["N", 1]) for name, kind in names.items())],
        [value("x_seen", FLOAT, ["N", 4]), *(value(f"{name}_seen", kind, ["N", 1]) for name, kind in names.items())],
    )


CONTROLS: dict[str, Any] = {"controls": [{"input": kind, "kind": kind} for kind in ("start", "end", "ready", "corrid")]}


def offline(onnx: bytes, states: dict[str, Array], outputs: dict[str, str], steps: list[dict[str, Array]]) -> list[Any]:
    """What the graph answers step by step, when whoever runs it carries the states."""
    runner = OnnxRunner.load(onnx, {}, RunnerOptions(provider="cpu", threads=1, max_batch_size=1))
    answers: list[Any] = []
    try:
        for step in steps:
            answer = {name: array.copy() for name, array in runner.run({**step, **states}).items()}
            states = {name: answer.pop(outputs[name]) for name in states}
            answers.append(answer)
    finally:
        runner.close()
    return answers
