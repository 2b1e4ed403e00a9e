"""Golden cases for any inputs and outputs: distinct rows that versions are sure of, recorded as they are answered."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from models import cases
from models.data.samples import Samples, read_arrays
from models.evaluate import measure
from service.repository.golden import read_golden
from tests.unit.models import samples_of
from tests.unit.runtime import graphs
from tests.unit.runtime.graphs import value

BENCH = measure.Bench("a-cpu")


def record(model: bytes, inputs: samples_of.Arrays, **more: Any) -> cases.Cases:
    found = cases.record(model, Samples(inputs), BENCH, **{"mixes": True, "classes": True, **more})
    assert found is not None
    return found


def leads(logits: NDArray[Any]) -> NDArray[Any]:
    top = np.sort(logits, axis=1)
    return np.asarray((top[:, -1] - top[:, -2]) / np.abs(logits).max())


def nudged(model: bytes, by: float = 0.02) -> bytes:
    proto = onnx.load_from_string(model)
    for weight in proto.graph.initializer:
        array = numpy_helper.to_array(weight)
        noise = np.random.default_rng(3).standard_normal(array.shape).astype(np.float32)
        weight.CopyFrom(numpy_helper.from_array(array + by * noise, weight.name))
    return proto.SerializeToString()


def test_a_full_version_is_recorded_on_rows_that_it_is_sure_of_from_all_classes() -> None:
    model = samples_of.perceptron()
    found = record(model, samples_of.xs(500))
    arrays = read_arrays(found.npz)
    assert found.rows == len(arrays["input/x"]) == cases.MOST_ROWS
    assert found.top1
    assert leads(arrays["output/logits"]).min() >= cases.SURE_SHARE * 0.9
    expected = samples_of.answers(model, {"x": arrays["input/x"]})["logits"]
    assert np.array_equal(arrays["output/logits"], expected)
    every = samples_of.answers(model, samples_of.xs(500))["logits"].argmax(axis=1)
    assert set(arrays["output/logits"].argmax(axis=1)) == set(every)


def test_negative_control_rows_taken_as_they_come_are_not_all_sure() -> None:
    model = samples_of.perceptron()
    logits = samples_of.answers(model, samples_of.xs(500))["logits"]
    assert leads(logits)[: cases.MOST_ROWS].min() < cases.SURE_SHARE * 0.9


def test_a_variants_rows_are_those_that_tell_it_from_its_full_version() -> None:
    model = samples_of.perceptron()
    other = nudged(model)
    found = read_arrays(record(other, samples_of.xs(500), full=model).npz)
    chosen = {"x": found["input/x"]}
    apart = np.abs(samples_of.answers(model, chosen)["logits"] - found["output/logits"]).max(axis=1)
    everywhere = samples_of.xs(500)
    typical = np.abs(samples_of.answers(model, everywhere)["logits"] - samples_of.answers(other, everywhere)["logits"])
    assert np.median(apart) > 1.2 * np.median(typical.max(axis=1))
    same = samples_of.answers(model, chosen)["logits"].argmax(axis=1)
    assert np.array_equal(same, found["output/logits"].argmax(axis=1))


def flat(by: float) -> bytes:
    """x [batch, 16] -> logits whose classes are all but equal: the more so, the smaller `by`."""
    proto = onnx.load_from_string(samples_of.perceptron(classes=2))
    (last,) = (weight for weight in proto.graph.initializer if weight.name == "w2")
    column = numpy_helper.to_array(last)[:, :1]
    last.CopyFrom(numpy_helper.from_array(np.concatenate([column, column * np.float32(1 + by)], axis=1), "w2"))
    return proto.SerializeToString()


def test_where_few_rows_are_sure_no_more_unsure_ones_are_taken_than_it_takes() -> None:
    found = record(flat(0.01), samples_of.xs(500))
    assert found.rows == cases.LEAST_ROWS
    lead = leads(read_arrays(found.npz)["output/logits"])
    everywhere = leads(samples_of.answers(flat(0.01), samples_of.xs(500))["logits"])
    assert lead.min() > np.median(everywhere)
    assert found.top1


def test_negative_control_classes_that_the_tolerance_could_exchange_are_not_asked_for() -> None:
    assert not record(flat(1e-4), samples_of.xs(500)).top1


def test_equal_rows_are_recorded_once() -> None:
    twice = {"x": np.repeat(samples_of.xs(20)["x"], 5, axis=0)}
    arrays = read_arrays(record(samples_of.perceptron(), twice).npz)
    assert len(arrays["input/x"]) == len(np.unique(arrays["input/x"], axis=0)) == 20


def test_all_inputs_and_outputs_are_there() -> None:
    arrays = read_arrays(record(samples_of.two_inputs(), samples_of.prices(200), classes=False).npz)
    assert {name: array.shape for name, array in arrays.items()} == {
        "input/ids": (64, 6),
        "input/numbers": (64, 8),
        "output/price": (64, 1),
    }
    assert arrays["input/ids"].dtype == np.int64
    both = read_arrays(record(samples_of.two_outputs(), samples_of.xs(200)).npz)
    assert {"output/logits", "output/r"} <= set(both)


def test_a_regression_has_no_class_to_keep() -> None:
    assert not record(samples_of.two_inputs(), samples_of.prices(80), classes=False).top1


def test_a_model_of_fixed_rows_has_one_case() -> None:
    found = record(samples_of.perceptron(rows=1), samples_of.xs(50))
    assert found.rows == 1
    for mixes in (True, False):
        assert record(samples_of.perceptron(rows=4), samples_of.xs(50), mixes=mixes).rows == 4


def test_a_model_of_more_fixed_rows_than_are_recorded_elsewhere_has_them_all() -> None:
    for mixes in (True, False):
        assert record(samples_of.perceptron(rows=80), samples_of.xs(100), mixes=mixes).rows == 80


def masked(lowest: float) -> bytes:
    """y = x, but for the last number of a row, which is `lowest` more."""
    mask = numpy_helper.from_array(np.array([0.0] * 15 + [lowest], dtype=np.float32), "mask")
    ends = [graphs.value(name, onnx.TensorProto.FLOAT, ["batch", 16]) for name in ("x", "y")]
    return graphs.model([onnx.helper.make_node("Add", ["x", "mask"], ["y"])], ends[:1], ends[1:], [mask])


def test_an_infinity_does_not_make_the_tolerance_endless() -> None:
    usual, found = (record(masked(lowest), samples_of.xs(100)).max_abs for lowest in (0.0, -np.inf))
    assert found <= 2 * usual


def test_too_few_rows_for_a_fixed_size_give_no_case() -> None:
    none = cases.record(samples_of.perceptron(rows=4), Samples(samples_of.xs(3)), BENCH, mixes=True, classes=True)
    assert none is None


def dynamic() -> bytes:
    """x [batch, 4] -> x less the mean of the whole batch: a row's answer depends on its batch-mates."""
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["mean"], keepdims=0),
        helper.make_node("Sub", ["x", "mean"], ["y"]),
    ]
    shape = ["batch", 4]
    return graphs.model(nodes, [value("x", TensorProto.FLOAT, shape)], [value("y", TensorProto.FLOAT, shape)])


def test_where_rows_may_not_be_mixed_each_is_recorded_alone() -> None:
    inputs = {"x": np.random.default_rng(0).standard_normal((40, 4)).astype(np.float32)}
    alone = read_arrays(record(dynamic(), inputs, mixes=False).npz)
    for x, y in zip(alone["input/x"], alone["output/y"], strict=True):
        assert np.allclose(y, x - x.mean(), atol=1e-6)
    together = read_arrays(record(dynamic(), inputs, mixes=True).npz)
    assert not np.allclose(together["output/y"], together["input/x"] - together["input/x"].mean(1, keepdims=True))


def test_the_tolerance_follows_from_the_largest_output_and_the_kind_of_graph(variant_onnx: bytes) -> None:
    model = samples_of.perceptron()
    found = record(model, samples_of.xs(200))
    largest = float(np.abs(read_arrays(found.npz)["output/logits"]).max())
    assert found.max_abs == pytest.approx(1e-4 * largest, rel=0.06)
    assert (cases.share(model), cases.share(variant_onnx)) == (1e-4, 1e-3)
    assert cases.share(graphs.matmul(numpy_helper.from_array(np.ones((4, 4), np.float16), "w"), 4, 4)) == 1e-3


def test_the_gateways_own_reader_takes_them() -> None:
    found = record(samples_of.two_outputs(), samples_of.xs(100))
    read = read_golden(found.npz)
    assert read.rows == found.rows
    assert set(read.outputs) == {"logits", "r"}
    assert np.load(io.BytesIO(found.npz), allow_pickle=False).files


def test_sets_are_put_together_in_their_order() -> None:
    first, second = samples_of.xs(3), samples_of.xs(2, seed=1)
    whole = cases.together([first, second])
    assert len(whole) == 5
    assert np.array_equal(whole.inputs["x"][3:], second["x"])
