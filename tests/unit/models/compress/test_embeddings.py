"""Embedding tables in 8 bits: which are taken, how close the rows stay, what is left alone."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from models.compress import graph as graphs
from models.compress.checks import op_counts
from models.compress.embeddings import LEAST_ROWS, quantise_tables, tables
from tests.unit.models.compress.conftest import Real, load
from tests.unit.runtime.graphs import model, value


def lookup(rows: int = 100, axis: int = 0, more: tuple[onnx.NodeProto, ...] = ()) -> bytes:
    """at int64 [N, 3] -> y [N, 3, 16]; rows of very different magnitudes."""
    table = np.random.default_rng(0).standard_normal((rows, 16)) * np.geomspace(1e-3, 1e3, rows)[:, np.newaxis]
    weight = numpy_helper.from_array(table.astype(np.float32), "table")
    nodes = [helper.make_node("Gather", ["table", "at"], ["y"], name="lookup", axis=axis), *more]
    shape = ["N", 3, 16] if axis == 0 else [rows, "N", 3]
    outputs = [value("y", TensorProto.FLOAT, shape)] + [value(n.output[0], TensorProto.FLOAT, None) for n in more]
    return model(nodes, [value("at", TensorProto.INT64, ["N", 3])], outputs, [weight])


def quantised(data: bytes, exclude: tuple[str, ...] = ()) -> bytes:
    proto = graphs.read(data, "a step")
    quantise_tables(proto, tables(proto, exclude))
    return graphs.write(proto)


def test_each_row_is_close_by_its_own_magnitude() -> None:
    feed = {"at": np.arange(99).reshape(33, 3)}
    before, after = (load(one).run(feed)["y"] for one in (lookup(), quantised(lookup())))
    errors = np.abs(before - after).max(axis=2) / np.abs(before).max(axis=2)
    assert 0 < errors.max() <= 0.5 / 127 * 1.01


def test_the_table_is_kept_in_signed_bytes_only() -> None:
    tensors = {t.name: t for t in onnx.load_from_string(quantised(lookup())).graph.initializer}
    assert {name: t.data_type for name, t in tensors.items()} == {
        "table_int8": TensorProto.INT8,
        "table_scales": TensorProto.FLOAT,
    }
    assert tuple(tensors["table_scales"].dims) == (100, 1)


def test_a_row_of_zeros_stays_so() -> None:
    proto = onnx.load_from_string(lookup())
    array = numpy_helper.to_array(proto.graph.initializer[0]).copy()
    array[1] = 0
    graphs.replace(proto.graph.initializer[0], array)
    after = load(quantised(proto.SerializeToString())).run({"at": np.array([[0, 1, 2]])})["y"]
    assert not after[0, 1].any()
    assert after[0, 0].any()


def test_indices_from_the_end_still_work() -> None:
    feeds = [{"at": np.array([at])} for at in ([-1, -100, 5], [99, 0, 5])]
    answers = [load(quantised(lookup())).run(feed)["y"] for feed in feeds]
    assert np.array_equal(*answers)


@pytest.mark.parametrize(
    "left",
    [
        lookup(LEAST_ROWS - 1),
        lookup(axis=1),
        lookup(more=(helper.make_node("Transpose", ["table"], ["turned"]),)),
    ],
    ids=["small", "other axis", "read by another node too"],
)
def test_other_tables_stay_as_they_are(left: bytes) -> None:
    assert op_counts(quantised(left)) == op_counts(left)


def test_an_excluded_lookup_keeps_its_table() -> None:
    assert op_counts(quantised(lookup(), ("lookup",))) == {"Gather": 1}


def test_two_lookups_share_one_table() -> None:
    after = quantised(lookup(more=(helper.make_node("Gather", ["table", "at"], ["z"], name="again"),)))
    assert len(onnx.load_from_string(after).graph.initializer) == 2
    answers = load(after).run({"at": np.array([[1, 2, 3]])})
    assert np.array_equal(answers["y"], answers["z"])


def test_a_real_block_answers_nearly_as_before(block: Real) -> None:
    after = quantised(block.onnx)
    assert op_counts(after)["Gather"] == 2
    assert 0 < block.error(after) < 0.02
    assert block.sensitivity(after) < 1e-5
