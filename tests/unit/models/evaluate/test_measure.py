"""Versions measured through the runner that serves."""

import numpy as np
import pytest
from onnx import TensorProto, helper

from models.evaluate import measure
from models.evaluate.measure import Bench
from service.core.errors import BadModel
from tests.unit.models.compress.networks import images
from tests.unit.runtime import graphs
from tests.unit.runtime.graphs import value

BENCH = Bench("a-cpu")


def random_answers() -> bytes:
    """Different numbers at every run."""
    node = helper.make_node("RandomNormalLike", ["x"], ["y"], dtype=1)
    ends = [value(name, TensorProto.FLOAT, ["N", 4]) for name in "xy"]
    return graphs.model([node], ends[:1], ends[1:])


def test_loading_is_timed_and_a_bad_file_is_an_error(full_onnx: bytes) -> None:
    subject = measure.load(full_onnx, BENCH, images(1))
    assert subject.load_ms > 0
    assert subject.first_run_ms > 0
    with pytest.raises(BadModel):
        measure.load(b"no model", BENCH, images(1))


@pytest.mark.parametrize("n", [1, measure.ANSWER_ROWS, measure.ANSWER_ROWS + 1, 250])
def test_every_row_is_answered_once_and_in_order(full_onnx: bytes, n: int) -> None:
    runner = measure.load(full_onnx, BENCH, images(1)).runner
    found = measure.answers(runner, images(n), "logits")
    assert found.deterministic
    alone = np.concatenate([runner.run({"image": images(n)["image"][i : i + 1]})["logits"] for i in range(n)])
    assert np.allclose(found.logits, alone, atol=1e-5)


def test_a_version_that_answers_differently_each_time_is_found_out() -> None:
    feed = {"x": np.ones((4, 4), dtype=np.float32)}
    assert not measure.answers(measure.load(random_answers(), BENCH, feed).runner, feed, "y").deterministic


def test_batching_by_limit(full_onnx: bytes) -> None:
    runner = measure.load(full_onnx, BENCH, images(1)).runner
    free = measure.batching(runner, images(40), limit=1e-5)
    assert (free.mode, free.reason) == ("any", None)
    strict = measure.batching(runner, images(40), limit=-1.0)
    assert strict.mode == "single-request-only"
    assert strict.reason is not None
    assert "batch-mates" in strict.reason


def test_one_row_is_no_proof_that_rows_may_be_mixed() -> None:
    """Scaled by the whole tensor: one row alone has no mate that could move it."""
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "scale", "zero"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["y"]),
    ]
    ends = [value(name, TensorProto.FLOAT, ["N", 4]) for name in "xy"]
    row = {"x": np.array([[0.1, 0.37, -0.2, 0.05]], dtype=np.float32)}
    runner = measure.load(graphs.model(nodes, ends[:1], ends[1:]), BENCH, row).runner
    assert measure.batching(runner, row, limit=1e-3).mode == "single-request-only"
