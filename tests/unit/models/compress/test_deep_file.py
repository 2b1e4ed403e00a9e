"""decode(encode(x)) is x for any ONNX file and any other bytes, and it gains where there is something to gain."""

from __future__ import annotations

import time
import zlib
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from models.compress.deep_file import encode, places
from service.core.errors import BadModel
from service.repository.deep_codec import decode
from tests.support.real_data import real_data

DIGITS = Path(__file__).parents[4] / "models" / "repository" / "digits"
LIMIT = 1 << 30
DTYPES = ("float32", "float64", "float16", "int8", "uint8", "int16", "int32", "int64", "bool", "complex64")


def held(*tensors: TensorProto, constant: TensorProto | None = None) -> bytes:
    """A model that holds these initializers."""
    nodes = [helper.make_node("Identity", ["x"], ["y"])]
    if constant is not None:
        nodes.append(helper.make_node("Constant", [], ["c"], value=constant))
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N"]) for name in "xy")
    graph = helper.make_graph(nodes, "g", [x], [y], list(tensors))
    return bytes(helper.make_model(graph).SerializeToString())


def shared(count: int, distinct: int, density: float, dtype: str = "float32", seed: int = 0) -> TensorProto:
    random = np.random.default_rng(seed)
    values = (random.normal(size=distinct) * 50).astype(dtype)
    chosen = values[random.integers(distinct, size=count)]
    chosen[random.random(count) >= density] = 0
    return numpy_helper.from_array(chosen, f"w{seed}")


def is_exact(data: bytes) -> bytes:
    coded = encode(data)
    assert decode(coded, limit_bytes=LIMIT) == data
    return coded


tensors = st.builds(
    shared,
    count=st.integers(0, 600),
    distinct=st.integers(1, 400),
    density=st.sampled_from([0.0, 0.05, 0.3, 0.8, 1.0]),
    dtype=st.sampled_from(DTYPES),
    seed=st.integers(0, 1_000),
)


@given(st.lists(tensors, max_size=5), st.one_of(st.none(), tensors))
@settings(deadline=None, max_examples=80)
def test_any_model_comes_back(initializers: list[TensorProto], constant: TensorProto | None) -> None:
    is_exact(held(*initializers, constant=constant))


@given(st.binary(max_size=500))
@settings(deadline=None)
def test_any_bytes_come_back(data: bytes) -> None:
    is_exact(data)


@pytest.mark.parametrize("version", ["1", "1-int8"])
def test_the_shipped_models_come_back_smaller_than_zipped(version: str) -> None:
    data = (DIGITS / version / "model.onnx").read_bytes()
    assert len(is_exact(data)) < len(zlib.compress(data, 9))


def test_a_pruned_and_shared_layer_takes_a_fraction() -> None:
    data = held(shared(235_200, 31, 0.08))
    coded = is_exact(data)
    assert len(coded) < len(data) / 35
    assert len(coded) < 0.6 * len(zlib.compress(data, 9))


def test_encoding_is_repeatable() -> None:
    data = held(shared(5_000, 31, 0.1), shared(5_000, 200, 1.0, seed=1))
    assert encode(data) == encode(data)


def test_every_kind_of_storage_is_found() -> None:
    values = shared(2_000, 7, 0.5)
    array = numpy_helper.to_array(values)
    as_floats = helper.make_tensor("floats", TensorProto.FLOAT, [2_000], array)
    as_doubles = helper.make_tensor("doubles", TensorProto.DOUBLE, [2_000], array.astype(np.float64))
    assert as_floats.float_data and as_doubles.double_data
    data = held(values, as_floats, as_doubles, constant=values)
    assert [place.width_bytes for place in places(data)] == [4, 4, 4, 8]
    assert len(is_exact(data)) < len(data) / 12


def test_places_are_where_the_elements_are() -> None:
    first, second = shared(500, 7, 0.5), shared(300, 7, 0.5, "int8", seed=1)
    data = held(first, second)
    assert [data[place.start : place.stop] for place in places(data)] == [first.raw_data, second.raw_data]


def test_small_and_odd_tensors_stay_where_they_are() -> None:
    small = shared(15, 3, 0.5)
    odd = TensorProto(data_type=TensorProto.FLOAT, dims=[100], raw_data=bytes(401))
    assert places(held(small, odd)) == []
    is_exact(held(small, odd))


def test_what_is_outside_the_file_stays_outside() -> None:
    outside = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[100], data_location=TensorProto.EXTERNAL)
    outside.external_data.add(key="location", value="w.bin")
    is_exact(held(outside))


def test_weights_without_structure_cost_nothing_beside_deflate() -> None:
    weights = numpy_helper.from_array(np.random.default_rng(0).normal(size=50_000).astype(np.float32), "w")
    data = held(weights)
    assert len(is_exact(data)) < len(zlib.compress(data, 9)) + 100


def test_a_file_with_a_broken_end_comes_back() -> None:
    data = held(shared(5_000, 31, 0.1))
    assert places(data[:-3]) == []
    is_exact(data[:-3])


@given(st.integers(0, 1 << 30), st.integers(1, 255))
@settings(deadline=None)
def test_a_damaged_file_never_gives_other_bytes(place: int, change: int) -> None:
    coded = bytearray(DAMAGED)
    coded[place % len(coded)] ^= change
    with pytest.raises(BadModel):
        decode(bytes(coded), limit_bytes=LIMIT)


DAMAGED = encode(held(shared(900, 7, 0.1), shared(900, 30, 1.0, seed=1)))


@pytest.mark.slow
def test_every_byte_of_a_small_file_counts() -> None:
    for place in range(len(DAMAGED)):
        for change in range(1, 256):
            coded = bytearray(DAMAGED)
            coded[place] ^= change
            with pytest.raises(BadModel):
                decode(bytes(coded), limit_bytes=LIMIT)


def test_the_coded_model_still_loads() -> None:
    onnx.checker.check_model(onnx.load_from_string(decode(DAMAGED, limit_bytes=LIMIT)))


@pytest.mark.slow
def test_decoding_a_large_model_takes_little_time() -> None:
    """850,000 weights, the size of a ResNet-56: about 0.1 s of CPU; the bound leaves a slow machine room."""
    data = held(*(shared(425_000, 200, density, seed=place) for place, density in enumerate((0.3, 1.0))))
    coded = encode(data)
    began_s = time.process_time()
    assert decode(coded, limit_bytes=LIMIT) == data
    assert time.process_time() - began_s < 2


@pytest.mark.parametrize("name", ["resnet20", pytest.param("resnet56", marks=pytest.mark.slow)])
def test_real_models_come_back(name: str) -> None:
    data = (real_data("resnet-cifar10") / f"{name}.onnx").read_bytes()
    assert len(is_exact(data)) < len(zlib.compress(data, 9))
