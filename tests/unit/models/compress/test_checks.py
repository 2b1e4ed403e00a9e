"""What is asserted after every step."""

import pytest
from onnx import TensorProto

from models.compress.checks import NotApplied, op_counts, same_signature
from service.core.errors import BadModel
from tests.unit.models.compress.networks import convolutional
from tests.unit.runtime import graphs


def test_ops_are_counted_by_type_in_order_of_their_names() -> None:
    assert list(op_counts(convolutional()).items()) == [("Conv", 1), ("Flatten", 1), ("Gemm", 1), ("Relu", 1)]


def test_equal_signatures_pass() -> None:
    same_signature(graphs.linear(seed=0), graphs.linear(seed=1), "a step")


@pytest.mark.parametrize(
    "other",
    [
        graphs.identity(shape=("N", 5)),
        graphs.identity(shape=("M", 4)),
        graphs.identity(shape=(3, 4)),
        graphs.identity(TensorProto.DOUBLE),
        graphs.mlp(layers=1, width=4),
    ],
    ids=["shape", "symbol", "fixed", "dtype", "names"],
)
def test_every_difference_of_signature_is_an_error(other: bytes) -> None:
    with pytest.raises(NotApplied, match="a step changed the inputs or outputs"):
        same_signature(graphs.identity(), other, "a step")


def test_a_result_that_does_not_load_is_an_error() -> None:
    with pytest.raises(BadModel):
        same_signature(graphs.identity(), graphs.identity()[:-7], "a step")
