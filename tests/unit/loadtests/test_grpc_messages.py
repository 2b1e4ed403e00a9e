from __future__ import annotations

import numpy as np
import pytest
from tritonclient.grpc import service_pb2

from conformance.tensors import pack
from loadtests.grpc_messages import decode, messages_of
from loadtests.pools import Rows, Signature

IMAGES = np.arange(12, dtype=np.float32).reshape(3, 4)
WORDS = np.array([[b"a"], [b"bc"], [b""]], dtype=np.object_)
SIGNATURE = Signature({"image": "FP32", "word": "BYTES"}, {"logits": "FP32"})


def answer(**fields: object) -> service_pb2.ModelInferResponse:
    return service_pb2.ModelInferResponse(model_name="m", model_version="1-int8", **fields)


def test_a_request_holds_one_row_and_asks_for_every_output() -> None:
    messages = messages_of(Rows({"image": IMAGES, "word": WORDS}), SIGNATURE, model="m", version="1-int8")
    assert len(messages) == 3
    sent = service_pb2.ModelInferRequest.FromString(messages[1])
    assert (sent.model_name, sent.model_version, sent.id) == ("m", "1-int8", "")
    assert [(one.name, one.datatype, list(one.shape)) for one in sent.inputs] == [
        ("image", "FP32", [1, 4]),
        ("word", "BYTES", [1, 1]),
    ]
    assert list(sent.raw_input_contents) == [IMAGES[1].tobytes(), b"\x02\x00\x00\x00bc"]
    assert [one.name for one in sent.outputs] == ["logits"]


def test_an_answer_is_read_from_raw_contents() -> None:
    given = answer(raw_output_contents=[pack(IMAGES)])
    given.outputs.add(name="logits", datatype="FP32", shape=[3, 4])
    version, outputs = decode(given.SerializeToString())
    assert version == "1-int8"
    np.testing.assert_array_equal(outputs["logits"], IMAGES)


@pytest.mark.parametrize(
    ("datatype", "field", "values", "dtype"),
    [
        ("FP32", "fp32_contents", [0.5, 2.0], np.float32),
        ("INT8", "int_contents", [-3, 4], np.int8),
        ("UINT64", "uint64_contents", [1, 2], np.uint64),
        ("BOOL", "bool_contents", [True, False], np.bool_),
        ("BYTES", "bytes_contents", [b"x", b"yz"], np.object_),
    ],
)
def test_an_answer_is_read_from_typed_contents_too(datatype: str, field: str, values: list, dtype: type) -> None:
    given = answer()
    getattr(given.outputs.add(name="out", datatype=datatype, shape=[2, 1]).contents, field).extend(values)
    found = decode(given.SerializeToString())[1]["out"]
    assert found.dtype == dtype
    assert found.tolist() == [[value] for value in values]


def test_what_is_no_answer_is_refused() -> None:
    with pytest.raises(ValueError, match="no ModelInferResponse"):
        decode(b"\xff\xff\xff")
    two = answer(raw_output_contents=[b"", b""])
    two.outputs.add(name="out", datatype="FP32", shape=[1])
    with pytest.raises(ValueError, match="2 raw contents for 1 outputs"):
        decode(two.SerializeToString())
    short = answer(raw_output_contents=[b"\x00" * 4])
    short.outputs.add(name="out", datatype="FP32", shape=[2])
    with pytest.raises(ValueError, match="reshape"):
        decode(short.SerializeToString())
