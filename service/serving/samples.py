"""Runs the warm-up samples of a model's configuration on every instance, before the version answers anyone.

A sample that does not run is a load that fails: it is what its author said clients would send. Blocking; runs on the
load's thread. Knows nothing of how the samples were written down.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Sequence

import numpy as np

from service.core.contract import DTYPES, Array
from service.core.errors import BadModel, RetortError, Stuck, Unavailable
from service.repository.config_tensors import WarmupInput, WarmupSample
from service.runtime.runner import Runner

_ELEMENTS_LIMIT = 1 << 28
_SEED = 7
_LETTERS = 8  # of a random text


def run_samples(
    samples: Sequence[WarmupSample], runners: Sequence[Runner], max_rows: int | None, cancel: threading.Event
) -> None:
    """Runs every sample as often as it says, on each runner.

    Args:
        samples: of the configuration.
        runners: every instance of the version.
        max_rows: the most rows of a sample, None where the version has no batch axis.
        cancel: set from another thread to give up.

    Raises:
        BadModel: a sample does not fit the version, or does not run.
        Stuck: cancelled.
        Unavailable: what runs it is not to be had now.
    """
    for sample in samples:
        where = f"warm-up sample '{sample.name[:100]}'"
        if max_rows is not None and sample.batch_size > max_rows:
            raise BadModel(f"{where} has {sample.batch_size} rows, more than max_batch_size {max_rows}")
        rows = None if max_rows is None else max(1, sample.batch_size)
        arrays = {
            name: array_of(given, rows, f"{where}: input '{name[:100]}'") for name, given in sample.inputs.items()
        }
        for runner in runners:
            _run(runner, arrays, sample.count, where, cancel)


def _run(runner: Runner, arrays: dict[str, Array], count: int, where: str, cancel: threading.Event) -> None:
    missing = [spec.name for spec in runner.inputs if spec.name not in arrays]
    if missing:
        raise BadModel(f"{where} lacks input '{missing[0][:100]}'")
    for _ in range(count):
        if cancel.is_set():
            raise Stuck(f"{where} was given up")
        try:
            runner.run(arrays)
        except Unavailable:  # says nothing about the sample, and may pass
            raise
        except RetortError as error:
            raise BadModel(f"{where} does not run: {error}") from error


def array_of(given: WarmupInput, rows: int | None, where: str) -> Array:
    """The array of one input of a sample.

    Args:
        given: what it holds.
        rows: prepended as the first axis where it is not None.
        where: how messages name it.

    Raises:
        BadModel: too large, or its bytes are not those of an array of its datatype and dims.
    """
    shape = given.dims if rows is None else (rows, *given.dims)
    count = int(np.prod([float(size) for size in shape]))
    if count > _ELEMENTS_LIMIT:
        raise BadModel(f"{where} has more than {_ELEMENTS_LIMIT} elements")
    dtype = DTYPES[given.datatype]
    if isinstance(given.data, bytes):
        return _from_bytes(given.data, dtype, count, where).reshape(shape)
    if dtype == DTYPES["BYTES"]:
        text = (
            b"" if given.data == "zero" else bytes(np.random.default_rng(_SEED).integers(97, 123, _LETTERS, np.uint8))
        )
        return np.full(shape, text, dtype)
    if given.data == "zero":
        return np.zeros(shape, dtype)
    return _random(shape, dtype)


def _random(shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> Array:
    draw = np.random.default_rng(_SEED)
    if dtype.kind == "f":
        return draw.random(shape, np.float32).astype(dtype)
    return draw.integers(0, 2 if dtype.kind == "b" else 100, shape).astype(dtype)


def _from_bytes(data: bytes, dtype: np.dtype[np.generic], count: int, where: str) -> Array:
    if dtype == DTYPES["BYTES"]:
        return _texts(data, count, where)
    if len(data) != count * dtype.itemsize:
        raise BadModel(f"{where} has a file of {len(data)} bytes, expected {count * dtype.itemsize}")
    return np.frombuffer(data, dtype)


def _texts(data: bytes, count: int, where: str) -> Array:
    """Texts with their length in front, 4 bytes, little-endian."""
    texts = np.empty(count, object)
    at = 0
    for index in range(count):
        size = struct.unpack_from("<I", data, at)[0] if at + 4 <= len(data) else len(data)
        texts[index] = data[at + 4 : at + 4 + size]
        at += 4 + size
        if at > len(data):
            break
    if at != len(data):
        raise BadModel(f"{where} has a file that does not hold {count} texts with their lengths")
    return texts
