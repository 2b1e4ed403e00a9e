from __future__ import annotations

import numpy as np
import pytest

from service.core.contract import TensorSpec
from service.core.errors import BadInput
from service.gateway.raw_request import raw_request


def spec(datatype: str, *dims: int | str) -> dict[str, TensorSpec]:
    return {"x": TensorSpec("x", datatype, dims)}


@pytest.mark.parametrize(
    ("dims", "elements", "shape"),
    [
        (("batch", 4), 4, (1, 4)),
        (("batch", "length"), 7, (1, 7)),
        (("batch", 3, "width"), 6, (1, 3, 2)),
        ((4,), 4, (4,)),
        (("n",), 5, (5,)),
        ((2, "n"), 6, (2, 3)),
        ((), 1, ()),
    ],
)
def test_the_one_variable_axis_follows_from_the_size(
    dims: tuple[int | str, ...], elements: int, shape: tuple[int, ...]
) -> None:
    sent = np.arange(elements, dtype=np.float32)
    array = raw_request(sent.tobytes(), spec("FP32", *dims)).inputs["x"]
    np.testing.assert_array_equal(array, sent.reshape(shape))


@pytest.mark.parametrize(
    ("size", "dims", "words"),
    [
        (12, ("batch", 4), "has 12 bytes of binary data, its shape asks for 16"),
        (32, ("batch", 4), "has 32 bytes of binary data, its shape asks for 16"),
        (12, ("batch", "h", "w"), "2 variable axes"),
        (10, ("batch", "n"), r"a raw request of 10 bytes fits no shape \[-1, -1\] of FP32"),
        (8, ("batch", 0, "n"), "fits no shape"),
    ],
)
def test_a_size_that_fits_no_shape_is_refused(size: int, dims: tuple[int | str, ...], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        raw_request(bytes(size), spec("FP32", *dims))


def test_a_text_is_the_whole_body() -> None:
    assert raw_request(b"caf\xc3\xa9", spec("BYTES", "batch", 1)).inputs["x"].tolist() == [[b"caf\xc3\xa9"]]
    with pytest.raises(BadInput, match="holds one text"):
        raw_request(b"a", spec("BYTES", "batch", 2))


def test_a_version_of_two_inputs_takes_none() -> None:
    with pytest.raises(BadInput, match="holds one input, and this model has 'x', 'y'"):
        raw_request(b"", spec("FP32", 1) | {"y": TensorSpec("y", "FP32", (1,))})
