"""A tensor never declares more than it holds, and never sends ONNX Runtime to a file of its choice."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from service.core.errors import BadModel
from service.repository.onnx_tensor import BITS, ExternalTensor, read_tensor
from service.repository.protobuf_wire import Malformed, Wire
from tests.unit.repository.onnx_models import bytes_field, external, number_field, varint


def read(tensor: onnx.TensorProto | bytes, *, may_be_external: bool = True) -> ExternalTensor | None:
    data = tensor if isinstance(tensor, bytes) else tensor.SerializeToString()
    return read_tensor(Wire(data, 10_000), 0, len(data), may_be_external=may_be_external)


def test_the_bits_are_those_of_the_onnx_package() -> None:
    fixed = {
        number for number in TensorProto.DataType.values() if number not in (TensorProto.UNDEFINED, TensorProto.STRING)
    }
    assert fixed == set(BITS)
    narrow = {"FLOAT6E2M3": 6, "FLOAT6E3M2": 6, "INT4": 4, "UINT4": 4, "FLOAT4E2M1": 4, "INT2": 2, "UINT2": 2}
    for number in fixed:
        name = TensorProto.DataType.Name(number)
        assert BITS[number] == narrow.get(name, helper.tensor_dtype_to_np_dtype(number).itemsize * 8), name


@pytest.mark.parametrize("raw", [True, False])
@pytest.mark.parametrize("data_type", sorted(set(BITS) - {TensorProto.UINT2, TensorProto.INT2}))
def test_takes_honest_tensors_of_every_type(data_type: int, raw: bool) -> None:
    values = np.zeros((3, 5), helper.tensor_dtype_to_np_dtype(data_type))
    tensor = (
        numpy_helper.from_array(values, "w") if raw else helper.make_tensor("w", data_type, [3, 5], values.flatten())
    )
    assert read(tensor) is None


def test_takes_strings_scalars_and_empty_tensors() -> None:
    assert read(helper.make_tensor("s", TensorProto.STRING, [3], ["", "a", "b"])) is None
    assert read(numpy_helper.from_array(np.float32(1), "scalar")) is None
    assert read(numpy_helper.from_array(np.zeros((0, 1 << 20), np.float32), "empty")) is None


@pytest.mark.parametrize("dims", [[20_000_000_000], [1 << 20, 1 << 20, 1 << 20], [170]])
@pytest.mark.parametrize("data_type", [TensorProto.FLOAT, TensorProto.INT8, TensorProto.STRING, 99])
def test_a_tensor_that_declares_more_than_it_holds_is_refused(dims: list[int], data_type: int) -> None:
    tensor = TensorProto(name="w", data_type=data_type, dims=dims, raw_data=b"\0" * 16)
    with pytest.raises(BadModel, match=r"'w' declares .* elements in .* bytes"):
        read(tensor)


@pytest.mark.parametrize("dims", [[-1], [1] * 65, [0] * 65])
def test_dims_that_no_tensor_has_are_malformed(dims: list[int]) -> None:
    with pytest.raises(Malformed, match="negative dimension or too many"):
        read(TensorProto(name="w", data_type=1, dims=dims))


def test_tells_where_external_data_lies() -> None:
    assert read(external("a/w.bin", offset="64", length="16")) == ExternalTensor("w", "a/w.bin", 64, 16)
    assert read(external(offset=None, length=None)) == ExternalTensor("w", "w.bin", 0, 16)
    assert read(external(dims=(3,), data_type=TensorProto.INT4, length=None)) == ExternalTensor("w", "w.bin", 0, 2)


def test_other_keys_of_external_data_are_not_read() -> None:
    tensor = external()
    tensor.external_data.add(key="checksum", value="x")
    tensor.external_data.add(key="checksum", value="y")
    assert read(tensor) == ExternalTensor("w", "w.bin", 0, 16)


@pytest.mark.parametrize("location", ["model.onnx.data", "onnx__MatMul_42", "encoder.layer.0.weight", "a b/c-1"])
def test_places_that_exporters_choose_are_taken(location: str) -> None:
    found = read(external(location))
    assert found is not None and found.location == location


def test_external_entries_of_a_tensor_that_lies_inside_mean_nothing() -> None:
    """As to ONNX Runtime: only the data location says where the data is."""
    tensor = numpy_helper.from_array(np.zeros(4, np.float32), "w")
    tensor.external_data.add(key="location", value="../w.bin")
    assert read(tensor) is None
    tensor.data_location = TensorProto.DEFAULT
    assert read(tensor, may_be_external=False) is None


@pytest.mark.parametrize(
    "location",
    ["", "../w.bin", "/etc/passwd", "a/../../w.bin", "a\\w.bin", "C:/w.bin", "w\0.bin", "*/_ORT_MEM_ADDR_/*", "a//b"],
)
def test_external_data_stays_in_the_folder(location: str) -> None:
    with pytest.raises(BadModel, match="plain path"):
        read(external(location))


def test_external_data_without_a_location_is_refused() -> None:
    with pytest.raises(BadModel, match="plain path"):
        read(TensorProto(name="w", data_type=1, dims=[4], data_location=TensorProto.EXTERNAL))


@pytest.mark.parametrize(
    ("key", "text"), [("offset", "-1"), ("offset", "1e3"), ("length", "٣"), ("length", "9" * 20), ("length", "")]
)
def test_a_place_that_is_no_whole_number_is_refused(key: str, text: str) -> None:
    with pytest.raises(BadModel, match=f"the {key} of its external data is no whole number"):
        read(external(**{key: text}))


@pytest.mark.parametrize(
    "tensor",
    [external(length="15"), external(dims=(1 << 40,)), external(data_type=TensorProto.STRING), external(data_type=99)],
)
def test_external_data_shorter_than_declared_is_refused(tensor: onnx.TensorProto) -> None:
    with pytest.raises(BadModel, match="declares more than its external data"):
        read(tensor)


def test_a_location_given_twice_is_refused() -> None:
    tensor = external()
    tensor.external_data.add(key="location", value="other.bin")
    with pytest.raises(BadModel, match="location of its external data twice"):
        read(tensor)


def test_external_data_where_onnx_runtime_would_open_it_itself_is_refused() -> None:
    with pytest.raises(BadModel, match="save it inside the model"):
        read(external(), may_be_external=False)


@pytest.mark.parametrize("place", [2, (1 << 32) + 1, (1 << 64) - 1])
def test_a_location_that_parsers_cut_to_another_is_malformed(place: int) -> None:
    """2**32 + 1 is EXTERNAL to a parser that keeps 32 bits."""
    with pytest.raises(Malformed, match="does not exist"):
        read(number_field(14, place))


def test_dims_are_the_same_packed_and_unpacked() -> None:
    unpacked = number_field(1, 100) + number_field(1, 100)
    packed = bytes_field(1, varint(100) * 2)
    for dims in (packed, unpacked):
        with pytest.raises(BadModel, match="10000 elements"):
            read(dims + number_field(2, 1))
