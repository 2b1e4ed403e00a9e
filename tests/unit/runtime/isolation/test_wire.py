"""Messages and tensors between two processes: everything comes back as it was, and no lie is believed."""

from __future__ import annotations

import os
import tracemalloc
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from service.core.errors import BadInput
from service.runtime.isolation import wire
from service.runtime.isolation.wire import Gone, MemoryFile

MIB = 1 << 20


def text(*elements: bytes) -> np.ndarray:
    array = np.empty(len(elements), dtype=object)
    array[:] = elements
    return array


ARRAYS: dict[str, np.ndarray] = {
    "bool": np.array([[True, False]]),
    "uint8": np.arange(6, dtype=np.uint8).reshape(2, 3),
    "int64": np.array([-(2**63), 2**63 - 1]),
    "fp16": np.array([np.nan, np.inf, -0.0], np.float16),
    "turned": np.arange(12, dtype=np.float32).reshape(3, 4).T,
    "every other": np.arange(12, dtype=np.float64)[::2],
    "scalar": np.array(3.5),
    "empty": np.empty((0, 5), np.float32),
    "text": text(b"", b"a\0b", "é".encode(), b"\xff" * 1000).reshape(2, 2),
    "no text": np.empty((2, 0), dtype=object),
}


@pytest.mark.parametrize("names", [[name] for name in ARRAYS] + [list(ARRAYS)], ids=lambda names: "+".join(names)[:20])
def test_arrays_come_back_as_they_were(names: list[str]) -> None:
    file = MemoryFile.new("test")
    given = {name: ARRAYS[name] for name in names}
    for _ in range(2):  # the second over the first
        found = file.read(file.write(given), MIB)
        assert list(found) == names
        for name, array in given.items():
            assert found[name].dtype == array.dtype
            assert found[name].shape == array.shape
            assert_array_equal(found[name], array)


def test_what_was_read_stays_when_the_other_side_writes_on() -> None:
    file = MemoryFile.new("test")
    found = file.read(file.write({"x": np.ones(4)}), MIB)
    os.pwrite(file.descriptor, b"\xff" * 32, 0)
    assert_array_equal(found["x"], np.ones(4))


def test_a_dtype_that_no_tensor_has_is_a_bad_input() -> None:
    with pytest.raises(BadInput, match="input 'x' is of dtype >f4"):
        MemoryFile.new("test").write({"x": np.ones(2, ">f4")})


FLOATS = ["x", "FP32", [2], 8]


@pytest.mark.parametrize(
    "said",
    [
        None,
        "x",
        {"x": FLOATS},
        [None],
        [["x", "FP32", [2]]],
        [["x", "FP32", [2], "8"]],
        [[7, "FP32", [2], 8]],
        [["x", "float", [2], 8]],
        [["x", "FP32", 2, 8]],
        [["x", "FP32", [2.0], 8]],
        [["x", "FP32", [True, 2], 8]],
        [["x", "FP32", [-2], -8]],
        [["x", "FP32", [-1, -2], 8]],
        [["x", "FP32", [2], 9]],
        [["x", "FP32", [1 << 62], 1 << 64]],
        [["x", "FP32", [1] * 65, 4]],
        [["x", "FP32", [0, 1 << 63], 0]],  # as large as it says, and no shape
        [["x", "BYTES", [1 << 62, 0, 4], 0]],
        [["x", "FP32", [1 << 20], 4 << 20]],  # more than there is
        [["x", "BYTES", [3], 8]],  # lengths alone take 12
        [["x", "BYTES", [1], 8]],  # a length of more than there is behind it
        [["x", "BYTES", [0], 8]],
        [FLOATS, ["y", "FP32", [1 << 18], 1 << 20]],
    ],
)
def test_a_lie_about_tensors_is_the_end_of_its_teller(said: Any) -> None:
    file = MemoryFile.new("test")
    os.pwrite(file.descriptor, b"\xff" * 16, 0)
    with pytest.raises(Gone):
        file.read(said, MIB)


def test_a_sparse_file_of_a_terabyte_takes_no_memory() -> None:
    file = MemoryFile.new("test")
    os.ftruncate(file.descriptor, 1 << 40)
    with pytest.raises(Gone, match="more than there is"):
        file.read([["x", "UINT8", [1 << 40], 1 << 40]], MIB)


@pytest.mark.parametrize("written", [0, 8 * MIB - 8192])
def test_a_file_with_holes_is_not_read(written: int) -> None:
    """It takes less memory than what is announced, and would take that of whoever reads it."""
    file = MemoryFile.new("test")
    os.pwrite(file.descriptor, bytes(written), 0)
    os.ftruncate(file.descriptor, 8 * MIB)
    with pytest.raises(Gone, match="more than it wrote"):
        file.read([["x", "UINT8", [8 * MIB], 8 * MIB]], 64 * MIB)


def test_texts_of_no_bytes_take_no_memory_beyond_the_limit() -> None:
    """Their lengths alone, all 0, fill the limit; the texts would take nine times that."""
    file = MemoryFile.new("test")
    os.pwrite(file.descriptor, bytes(4 * MIB), 0)
    said = [["x", "BYTES", [MIB], 4 * MIB]]
    tracemalloc.start()
    try:
        with pytest.raises(MemoryError):
            file.read(said, 4 * MIB)
        assert tracemalloc.get_traced_memory()[1] < MIB
    finally:
        tracemalloc.stop()
    assert file.read(said, 160 * MIB)["x"].shape == (MIB,)


def test_bools_are_bools_whatever_the_bytes() -> None:
    file = MemoryFile.new("test")
    os.pwrite(file.descriptor, bytes([0, 1, 2, 255]), 0)
    found = file.read([["x", "BOOL", [4], 4]], MIB)["x"]
    assert found.view(np.uint8).tolist() == [0, 1, 1, 1]


def test_the_memory_of_a_large_run_is_given_back() -> None:
    file = MemoryFile.new("test")
    file.write({"x": np.zeros(65 * MIB, np.uint8)})
    file.shrink()
    assert os.fstat(file.descriptor).st_size == 0
    small = file.write({"x": np.arange(8)})
    file.shrink()
    assert_array_equal(file.read(small, MIB)["x"], np.arange(8))


def test_messages_and_descriptors_arrive() -> None:
    here, there = wire.pair()
    with here, there:
        assert not wire.readable(there, 0)
        file = MemoryFile.new("test")
        described = file.write({"x": np.arange(4)})
        wire.send(here, {"outputs": described}, [file.descriptor])
        assert wire.readable(there, 5)
        message, [descriptor] = wire.receive(there)
        assert descriptor != file.descriptor
        assert not os.get_inheritable(descriptor)
        assert_array_equal(MemoryFile(descriptor).read(message["outputs"], MIB)["x"], np.arange(4))


@pytest.mark.parametrize("data", [b"no json", b"[]", b"7", b"[" * 100_000, b"\xff", b'{"a":' * 20_000])
def test_what_is_no_message_is_the_end_of_its_sender(data: bytes) -> None:
    here, there = wire.pair()
    with here, there:
        here.send(data)
        with pytest.raises(Gone, match="what is no message"):
            wire.receive(there)


def test_the_end_of_the_other_side_is_seen() -> None:
    here, there = wire.pair()
    with here:
        there.close()
        assert wire.readable(here, 5)
        with pytest.raises(Gone, match="it ended"):
            wire.receive(here)
        with pytest.raises(Gone):
            wire.send(here, {})
    with pytest.raises(Gone):
        wire.receive(here)
